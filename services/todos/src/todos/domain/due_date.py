"""Due dates: a whole day in a time zone, or a moment (RFC 3339 section 5.6)."""

import re
from datetime import UTC, date, datetime, time, timedelta
from datetime import timezone as fixed_offset
from zoneinfo import ZoneInfo

_DATE = r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
_FULL_DATE = re.compile(_DATE)
_DATE_TIME = re.compile(
    _DATE + r"[Tt](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2}))"
)
_NO_SUCH_MOMENT = "is not an RFC 3339 date, or date-time with offset, of the years 1 to 9999"


def parse(text: str) -> date | datetime:
    """A full-date as `date`, a date-time as `datetime` in UTC, its fraction cut to microseconds.

    Raises:
        ValueError: neither of the two, a leap second, or outside of the years 1 to 9999 in UTC.
    """
    try:
        if _FULL_DATE.fullmatch(text):
            return date.fromisoformat(text)
        return _moment(text)
    except (ValueError, OverflowError):
        raise ValueError(_NO_SUCH_MOMENT) from None


def _moment(text: str) -> datetime:
    given = _DATE_TIME.fullmatch(text)
    if not given or given["time"] >= "24":
        raise ValueError(_NO_SUCH_MOMENT)
    fraction = int((given["fraction"] or "")[:6].ljust(6, "0"))
    local = datetime.combine(date.fromisoformat(given["date"]), time.fromisoformat(given["time"]))
    return local.replace(microsecond=fraction, tzinfo=_offset(given)).astimezone(UTC)


def _offset(given: re.Match[str]) -> fixed_offset:
    if given["sign"] is None:
        return UTC
    hours, minutes = int(given["hours"]), int(given["minutes"])
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - as RFC 3339 has it
        raise ValueError(_NO_SUCH_MOMENT)
    offset = timedelta(hours=hours, minutes=minutes)
    return fixed_offset(-offset if given["sign"] == "-" else offset)


def resolve(due: date | datetime | None, timezone: str) -> tuple[date | None, datetime | None]:
    """The all-day date, if it is one, and the moment in UTC that it sorts and filters by.

    A whole day begins at midnight in `timezone`: the first of two midnights, or the moment of the change where the
    clocks skip midnight.

    Raises:
        ValueError: midnight lies outside of the years 1 to 9999 in UTC.
    """
    if due is None:
        return None, None
    if isinstance(due, datetime):
        return None, due
    # in a gap, fold=0 reads the clock as it stood before: the moment of the change, where that was midnight
    midnight = datetime.combine(due, time(), ZoneInfo(timezone))
    try:
        return due, midnight.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside of the years 1 to 9999 in UTC") from None


def rfc3339(value: date | datetime) -> str:
    """A full-date, or a date-time with `Z` of a datetime in UTC, with microseconds only where there are some."""
    return value.replace(tzinfo=None).isoformat() + "Z" if isinstance(value, datetime) else value.isoformat()
