"""Entity tags and the conditions on them (RFC 9110 sections 8.8.3 and 13.1)."""

import re
from dataclasses import dataclass

from runtime.problems import ProblemError
from strict_http.asgi import Headers

_TAG = rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rb"[ \t,]*" + _TAG + rb"(?:[ \t]*,[ \t,]*" + _TAG + rb")*[ \t,]*")
_VERSION = re.compile(rb'"([1-9][0-9]{0,17})"')


@dataclass(frozen=True, slots=True)
class Condition:
    """The tags of an `If-Match` or `If-None-Match`, or `*` for any that exists."""

    tags: frozenset[bytes]
    anything: bool

    def holds_strongly(self, tag: bytes) -> bool:
        """Strong comparison: equal, and neither is weak."""
        return self.anything or (tag in self.tags and not tag.startswith(b"W/"))

    def holds_weakly(self, tag: bytes) -> bool:
        """Weak comparison: equal, whether weak or not."""
        return self.anything or tag.removeprefix(b"W/") in {known.removeprefix(b"W/") for known in self.tags}

    @property
    def versions(self) -> list[int]:
        """The versions named by its strong tags."""
        return [int(found[1]) for tag in self.tags if (found := _VERSION.fullmatch(tag))]


def condition(headers: Headers, name: bytes) -> Condition | None:
    """The condition of that header, lines of one name taken together; None where there is none.

    Raises:
        ProblemError: `bad_request`, it is neither `*` nor a list of entity tags.
    """
    lines = [value for key, value in headers if key == name]
    if not lines:
        return None
    text = b",".join(lines).strip(b" \t")
    if text == b"*":
        return Condition(frozenset(), anything=True)
    if not _LIST.fullmatch(text):
        raise ProblemError("bad_request", f"{name.decode().title()} is neither * nor a list of entity tags.")
    return Condition(frozenset(re.findall(_TAG, text)), anything=False)


def strong_tag(version: int) -> bytes:
    """The `ETag` of a todo."""
    return b'"%d"' % version


def weak_tag(number: int) -> bytes:
    """The `ETag` of a list, by the user's latest number."""
    return b'W/"%d"' % number


def precondition_failed(version: int | None) -> ProblemError:
    """412, with the current `ETag` where there is one."""
    headers = [] if version is None else [(b"etag", strong_tag(version))]
    return ProblemError(
        "precondition_failed", "The todo is not in the state that the request expects.", headers=headers
    )
