"""What the server itself answers, as problem+json with a request id."""

import logging
from collections.abc import Callable

from runtime import logs
from runtime.identifiers import new_uuid
from runtime.problems import ProblemError, internal_error, render
from strict_http import RejectedError, Response
from strict_http.asgi import Headers, Scope

type OnRejected = Callable[[int, Headers, Scope | None], Headers]
"""Called with the status of the response, the fields of the request as far as they could be read, and the scope of the
application if that had started; returns further headers of the response."""

REJECTED = "runtime.rejected"
"""The key in the scope of an application whose request was rejected while it ran: the status of the response."""

log = logging.getLogger("runtime.http")


def nothing_more(_status: int, _fields: Headers, _scope: Scope | None) -> Headers:
    return ()


class ProblemResponses:
    """Implements `strict_http.ErrorResponses`; each response is logged under the id that it carries."""

    def __init__(self, on_rejected: OnRejected) -> None:
        self._on_rejected = on_rejected

    def rejected(self, error: RejectedError, fields: Headers, scope: Scope | None) -> Response:
        """Logged at `info`, without anything that the client sent."""
        problem, request_id = ProblemError(error.code, error.detail), new_uuid()
        extra = logs.fields(request_id=request_id, status=problem.status, code=problem.code, reason=problem.detail)
        log.info("malformed request rejected", extra=extra)
        status, headers, body = render(problem, request_id)
        if scope is not None:
            scope[REJECTED] = status
        return status, [*headers, *self._on_rejected(status, fields, scope)], body

    def failed(self, error: BaseException | None) -> Response:
        request_id = new_uuid()
        message = "the application sent no response" if error is None else "unhandled exception"
        log.error(message, exc_info=error, extra=logs.fields(request_id=request_id))
        return render(internal_error(), request_id)
