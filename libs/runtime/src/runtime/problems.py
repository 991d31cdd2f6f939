"""Every error that a client can get, as problem+json (RFC 9457)."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Literal, TypedDict, get_args

from strict_http.asgi import Headers

Code = Literal[
    "bad_request",
    "invalid_authorization",
    "unauthenticated",
    "invalid_token",
    "revoked",
    "insufficient_scope",
    "not_found",
    "method_not_allowed",
    "not_acceptable",
    "request_timeout",
    "content_too_large",
    "uri_too_long",
    "unsupported_media_type",
    "quota",
    "deleted",
    "sync_reset",
    "precondition_failed",
    "invalid",
    "idempotency_mismatch",
    "rate_limited",
    "request_header_fields_too_large",
    "internal",
    "upstream_failed",
    "identity_refused",
    "upstream_timeout",
    "keys_unavailable",
    "database_unavailable",
    "database_timeout",
    "overloaded",
    "limits_unavailable",
]

STATUS: dict[Code, int] = {
    "bad_request": 400,
    "invalid_authorization": 400,
    "unauthenticated": 401,
    "invalid_token": 401,
    "revoked": 401,
    "insufficient_scope": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "request_timeout": 408,
    "content_too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "quota": 409,
    "deleted": 409,
    "sync_reset": 410,
    "precondition_failed": 412,
    "invalid": 422,
    "idempotency_mismatch": 422,
    "rate_limited": 429,
    "request_header_fields_too_large": 431,
    "internal": 500,
    "upstream_failed": 502,
    "identity_refused": 502,
    "upstream_timeout": 504,
    "keys_unavailable": 503,
    "database_unavailable": 503,
    "database_timeout": 503,
    "overloaded": 503,
    "limits_unavailable": 503,
}
assert set(STATUS) == set(get_args(Code))  # noqa: S101 - the type and the table are one list

MEDIA_TYPE = b"application/problem+json"


class Fault(TypedDict, total=False):
    """One violation of the contract: `pointer` into the body (RFC 6901) or the name of a `parameter`."""

    pointer: str
    parameter: str
    detail: str


class ProblemError(Exception):
    """Ends the request with this problem as its response.

    Attributes:
        code: the row of the table; it decides the status.
        detail: one sentence for a person; never a token, the value of a claim, or a message of the database.
        headers: further headers of the response, with names in lower case.
        faults: the violations of the contract; with `invalid` only.
        violated_policies: the names of the limits that were exceeded; with `rate_limited` only.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        headers: Headers = (),
        faults: Sequence[Fault] = (),
        violated_policies: Sequence[str] = (),
    ) -> None:
        super().__init__(code)
        self.code: Code = code
        self.detail = detail
        self.headers = tuple(headers)
        self.faults = faults
        self.violated_policies = violated_policies

    @property
    def status(self) -> int:
        return STATUS[self.code]


def internal_error() -> ProblemError:
    """Hides the fault: the log has it under the request id."""
    return ProblemError("internal", "Something went wrong. Quote the X-Request-Id when you report it.")


def render(problem: ProblemError, request_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the response; `request_id` is a UUID in canonical form."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:uuid:{request_id}",
        "code": problem.code,
    }
    if problem.faults:
        document["errors"] = problem.faults
    if problem.violated_policies:
        document["violated-policies"] = problem.violated_policies
    headers = [
        (b"content-type", MEDIA_TYPE),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode()),
        *problem.headers,
    ]
    return problem.status, headers, json.dumps(document, ensure_ascii=False).encode(errors="replace")


def retry_after(seconds: int) -> tuple[bytes, bytes]:
    """The `Retry-After` header (RFC 9110 section 10.2.3)."""
    return b"retry-after", b"%d" % seconds
