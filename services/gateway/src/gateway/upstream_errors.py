"""Why an exchange with the upstream failed."""

from typing import Literal

type Reason = Literal["connect", "timeout", "broken", "garbage"]


class UpstreamError(Exception):
    """The upstream gave no complete response.

    Attributes:
        reason: `connect` before anything was sent, `timeout`, `broken` if the connection ended early,
            `garbage` if the bytes are not an HTTP response.
        written: whether a byte of the request was handed to the connection.
        answered: whether a byte of a response arrived.
    """

    def __init__(self, reason: Reason, *, written: bool, answered: bool = False) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.written = written
        self.answered = answered
