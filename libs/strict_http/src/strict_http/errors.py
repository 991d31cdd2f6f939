"""Responses that no application writes; what they look like is the service's choice."""

from typing import Literal, Protocol

from strict_http.asgi import Headers, Scope

type Code = Literal["bad_request", "request_timeout", "uri_too_long", "request_header_fields_too_large"]
"""400, 408, 414 and 431 (RFC 9110 section 15.5, RFC 6585 section 5)."""

type Response = tuple[int, Headers, bytes]
"""Status, headers with names in lower case, and body; the server adds `content-length` and `connection: close`."""


class RejectedError(Exception):
    """The request never reaches the application.

    Attributes:
        code: the kind of fault.
        detail: one sentence for the client, without anything that the client sent.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(code)
        self.code: Code = code
        self.detail = detail


class ErrorResponses(Protocol):
    """Writes the responses, and logs what an operator needs to know of them."""

    def rejected(self, error: RejectedError, fields: Headers, scope: Scope | None) -> Response:
        """The response to a request that was rejected.

        Args:
            error: why.
            fields: of its head, as far as they could be read; names in lower case.
            scope: of its application, if that had started; the client's disconnection is reported to the application.
        """

    def failed(self, error: BaseException | None) -> Response:
        """The response where the application raised `error`, or returned without a response (None)."""
