"""Why an exchange with the upstream failed."""

from typing import Literal

type Reason = Literal["connect", "timeout", "broken", "garbage"]


class UpstreamError(Exception):
    """The exchange failed.

    Attributes:
        reason: `connect` before anything was sent, `timeout`, `broken` where the connection ended early,
            `garbage` where what came is no HTTP answer.
        written: whether a byte of the request was handed to the connection.
        answered: whether a byte of an answer came.
    """

    def __init__(self, reason: Reason, *, written: bool, answered: bool = False) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.written = written
        self.answered = answered
