"""Which limits there are."""

import re
from dataclasses import dataclass
from functools import cached_property

USER, USER_WRITE, AUTH_FAILURE = "user", "user-write", "auth-failure"
NAMES = (USER, USER_WRITE, AUTH_FAILURE)
MAX_PER_SECOND = 1_000_000
"""The arithmetic counts whole microseconds."""
_ENTRY = re.compile(r"(?P<name>[a-z-]+)=(?P<limit>[0-9]{1,9})/(?P<window>[0-9]{1,6})s")


@dataclass(frozen=True)
class Policy:
    """At most `limit` requests at once, refilled evenly over `window` seconds."""

    name: str
    limit: int
    window: int

    @cached_property
    def label(self) -> bytes:
        """The name in a header."""
        return self.name.encode()

    @cached_property
    def header(self) -> bytes:
        """The item of `RateLimit-Policy`."""
        return b'"%b";q=%d;w=%d' % (self.label, self.limit, self.window)


def parse_policy(text: str) -> tuple[str, Policy]:
    """Read `name=limit/window` with the window in seconds, as `user=600/60s`; returns the name and the policy.

    Raises:
        ValueError: it is not of this form, unknown, has a zero, or is more than 1 000 000 a second.
    """
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise ValueError("is not of the form name=600/60s")
    name, limit, window = match["name"], int(match["limit"]), int(match["window"])
    if name not in NAMES:
        raise ValueError(f"has a name that is none of {', '.join(NAMES)}")
    if not limit or not window:
        raise ValueError("has a zero")
    if limit > window * MAX_PER_SECOND:
        raise ValueError(f"is more than {MAX_PER_SECOND} a second")
    return name, Policy(name, limit, window)
