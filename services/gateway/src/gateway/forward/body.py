"""Request bodies, read whole, because their digest goes ahead of them in a header."""

from gateway.forward.client_disconnect import ClientDisconnectedError
from gateway.metrics import Metrics
from runtime.problems import ProblemError, retry_after
from strict_http.asgi import Receive

_CLOSE = (b"connection", b"close")
OVERLOADED_RETRY_SECONDS = 1


def overloaded() -> ProblemError:
    detail = "Too much is under way; try again shortly."
    return ProblemError("overloaded", detail, headers=[retry_after(OVERLOADED_RETRY_SECONDS)])


class BodyBuffers:
    """Reads bodies within a limit for each and a limit for all together, in bytes."""

    def __init__(self, max_body: int, max_total: int, metrics: Metrics) -> None:
        self._max_body = max_body
        self._max_total = max_total
        self._held = 0
        metrics.buffered_bytes.set_function(lambda: self._held)

    async def read(self, receive: Receive, content_length: int | None, *, times: int = 1) -> bytes:
        """Read to the end, `times` the usual limit at most; the bytes count as held until `release`.

        Of a body of no length nothing is awaited.

        Raises:
            ProblemError: `content_too_large`, `overloaded` where all requests together hold too much.
            ClientDisconnectedError: the client went away.
        """
        if content_length == 0:
            return b""
        limit = self._max_body * times
        if content_length is not None and content_length > limit:
            raise _too_large()
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnectedError
                chunk = message.get("body", b"")
                size += len(chunk)
                self._held += len(chunk)
                chunks.append(chunk)
                if size > limit:
                    raise _too_large()
                if self._held > self._max_total:
                    raise overloaded()
                if not message.get("more_body", False):
                    return b"".join(chunks)
        except BaseException:
            self._held -= size
            raise

    def release(self, body: bytes) -> None:
        self._held -= len(body)


def _too_large() -> ProblemError:
    return ProblemError("content_too_large", "The body is larger than this API takes.", headers=[_CLOSE])
