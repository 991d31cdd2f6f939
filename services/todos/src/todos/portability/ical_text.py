"""Content lines of iCalendar (RFC 5545 section 3.1).

Our own, since the library's components cost ten times what the JSON of the same todos does.
"""

from datetime import date, datetime

_LINE_OCTETS = 75
_SECONDS = len("2026-01-01T00:00:00")


def escape(text: str) -> str:
    """A TEXT value (section 3.3.11); tab and newline are the only control characters in it."""
    return text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def local(moment: datetime) -> str:
    """A DATE-TIME on some clock (section 3.3.5), without fractions of a second, which iCalendar lacks."""
    return moment.isoformat()[:_SECONDS].replace("-", "").replace(":", "")


def utc(moment: datetime) -> str:
    """A DATE-TIME in UTC, of a datetime in UTC."""
    return f"{local(moment)}Z"


def day(value: date) -> str:
    """A DATE (section 3.3.4)."""
    return value.isoformat().replace("-", "")


def lines(*unfolded: str) -> bytes:
    """The lines, each ended by CRLF and folded to 75 octets, no character of UTF-8 cut."""
    folded = [line if len(line) <= _LINE_OCTETS and line.isascii() else _folded(line.encode()) for line in unfolded]
    return "\r\n".join([*folded, ""]).encode()


def _folded(line: bytes) -> str:
    pieces: list[bytes] = []
    start, room = 0, _LINE_OCTETS
    while len(line) - start > room:
        end = start + room
        while line[end] & 0xC0 == 0x80:  # noqa: PLR2004 - a byte inside a character
            end -= 1
        pieces.append(line[start:end])
        start, room = end, _LINE_OCTETS - 1
    pieces.append(line[start:])
    return b"\r\n ".join(pieces).decode()
