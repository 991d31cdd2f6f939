"""Which of several media types a client prefers (RFC 9110 section 12.5.1)."""

import re
from collections.abc import Sequence

from runtime.problems import ProblemError
from strict_http.asgi import Headers

_MEMBER = re.compile(r"\s*([!#$%&'*+.^_`|~\w-]+)/([!#$%&'*+.^_`|~\w-]+)\s*((?:;[^,]*)?)", re.ASCII)
_QUALITY = re.compile(r";\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)", re.IGNORECASE)
_ANY_QUALITY = re.compile(r";\s*q\s*=", re.IGNORECASE)


def preferred(headers: Headers, offered: Sequence[str]) -> str:
    """The offered type of the highest quality, the earlier of equals; the first if the client states none.

    Of the ranges that a type fits, the most specific one decides; parameters other than `q` are ignored.

    Raises:
        ProblemError: `not_acceptable`.
    """
    lines = [value.decode("latin-1") for name, value in headers if name == b"accept"]
    if not lines:
        return offered[0]
    ranges = _ranges(",".join(lines))
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    if not _quality(best, ranges):
        raise ProblemError("not_acceptable", f"This can be given as {', '.join(offered)}.")
    return best


def _ranges(text: str) -> dict[str, float]:
    ranges: dict[str, float] = {}
    for member in text.split(","):
        found = _MEMBER.fullmatch(member)
        if not found:
            continue
        quality = _QUALITY.search(found[3])
        if quality or not _ANY_QUALITY.search(found[3]):
            name = f"{found[1]}/{found[2]}".lower()
            ranges[name] = max(ranges.get(name, 0), float(quality[1]) if quality else 1)
    return ranges


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    kind = media_type.partition("/")[0]
    return next((ranges[name] for name in (media_type, f"{kind}/*", "*/*") if name in ranges), 0)
