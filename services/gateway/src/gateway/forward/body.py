"""Request bodies, read whole, because their digest goes ahead of them in a header."""

from gateway.forward.client_disconnect import ClientDisconnectedError
from gateway.forward.user_shares import UserShares
from runtime.problems import ProblemError
from strict_http.asgi import Receive

_CLOSE = (b"connection", b"close")


class BodyBuffers:
    """Reads bodies within a limit for each, a share for each user and a limit for all together, in bytes."""

    def __init__(self, max_body: int, shares: UserShares) -> None:
        self._max_body = max_body
        self._shares = shares

    async def read(self, user_id: str, receive: Receive, content_length: int | None, *, times: int = 1) -> bytes:
        """Read to the end, `times` the usual limit at most; the user holds it until `release`.

        Of a body of no length nothing is awaited.

        Raises:
            ProblemError: `content_too_large`, `rate_limited` where the user holds its share of bytes, `overloaded`
                where others hold all of them.
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
                message = await receive()
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

    def release(self, user_id: str, body: bytes) -> None:
        self._shares.give_back(user_id, len(body))


def _too_large() -> ProblemError:
    return ProblemError("content_too_large", "The body is larger than this API takes.", headers=[_CLOSE])
