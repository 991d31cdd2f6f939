"""What the server itself answers, as problem+json with a request id."""

import logging

from runtime.identifiers import new_uuid
from runtime.logs import fields
from runtime.problems import ProblemError, internal_error, render
from strict_http import RejectedError, Response

log = logging.getLogger("runtime.http")


class ProblemResponses:
    """Implements `strict_http.ErrorResponses`; each response is logged under the id that it carries."""

    def rejected(self, error: RejectedError) -> Response:
        """Logged at `info`, without anything that the client sent."""
        problem, request_id = ProblemError(error.code, error.detail), new_uuid()
        extra = fields(request_id=request_id, status=problem.status, code=problem.code, reason=problem.detail)
        log.info("malformed request rejected", extra=extra)
        return render(problem, request_id)

    def failed(self, error: BaseException | None) -> Response:
        request_id = new_uuid()
        message = "the application sent no response" if error is None else "unhandled exception"
        log.error(message, exc_info=error, extra=fields(request_id=request_id))
        return render(internal_error(), request_id)
