"""Request bodies, read whole, because their digest goes ahead of them in a header."""

from gateway.forward.client_disconnect import ClientDisconnectedError
from gateway.forward.client_shares import ClientShares
from gateway.forward.client_waits import ClientIdleError
from runtime.problems import ProblemError
from strict_http.asgi import Message, Receive

_CLOSE = (b"connection", b"close")


class BodyBuffers:
    """Reads bodies within a limit for each, a share for each user and a limit for all together, in bytes."""

    def __init__(self, max_body: int, shares: ClientShares) -> None:
        self._max_body = max_body
        self._shares = shares

    async def read(self, user_id: str, receive: Receive, content_length: int | None, *, times: int = 1) -> bytes:
        """Read to the end, `times` the usual limit at most; the user holds it until `release`.

        Of a body of no length nothing is awaited.

        Raises:
            ProblemError: `content_too_large`; what `ClientShares.take` raises; `request_timeout` where the client
                stalls while others lack the room.
            ClientDisconnectedError: the client went away.
        """
        if content_length == 0:
            return b""
        limit = self._max_body * times
        if content_length is not None and content_length > limit:
            raise _too_large()
        chunks: list[bytes] = []
        held = 0
        try:
            while True:
                message = await (self._receive_more(user_id, receive) if held else receive())
                if message["type"] == "http.disconnect":
                    raise ClientDisconnectedError
                chunk = message.get("body", b"")
                if held + len(chunk) > limit:
                    raise _too_large()
                if chunk:
                    await self._shares.take(user_id, len(chunk))
                    held += len(chunk)
                    chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
        except BaseException:
            self._shares.give_back(user_id, held)
            raise

    async def _receive_more(self, user_id: str, receive: Receive) -> Message:
        try:
            async with self._shares.wait_for_client(user_id):
                return await receive()
        except ClientIdleError:
            detail = "The body stalled while others waited for the room that it held."
            raise ProblemError("request_timeout", detail, headers=[_CLOSE]) from None

    def release(self, user_id: str, body: bytes) -> None:
        self._shares.give_back(user_id, len(body))


def _too_large() -> ProblemError:
    return ProblemError("content_too_large", "The body is larger than this API takes.", headers=[_CLOSE])
