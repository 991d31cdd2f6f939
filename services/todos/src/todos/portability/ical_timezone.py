"""A time zone as a VTIMEZONE (RFC 5545 section 3.6.5), with every change of its clocks.

Our own, since the library's `Timezone.from_tzid` misses changes that last for a month and gives the onset of those
that go forward by the clocks after them.
"""

import calendar
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from todos.domain.recurrence_rule import WEEKDAYS
from todos.portability import ical_text

FIRST_YEAR, LAST_YEAR = 1970, 2099
"""The years whose changes are looked at; a yearly change that still happens in the last of them goes on."""
_STEP = timedelta(days=21)
"""Shorter than any time for which clocks were changed."""
_SECOND = timedelta(seconds=1)
_FEWEST_YEARS = 3
"""Of a yearly change that is written as a rule."""


class _Clock(NamedTuple):
    offset: timedelta
    name: str
    is_daylight: bool


@lru_cache(maxsize=1024)
def vtimezone(name: str) -> bytes:
    """The VTIMEZONE of an IANA zone, good for moments from the year `FIRST_YEAR`."""
    zone = ZoneInfo(name)
    start = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC) - _STEP
    first = _clock(start, zone)
    onsets: dict[tuple[_Clock, _Clock], list[datetime]] = {
        (first, first): [datetime.combine(start, datetime.min.time())]
    }
    for moment, before, after in _changes(start, zone):
        onsets.setdefault((before, after), []).append(moment.replace(tzinfo=None) + before.offset)
    lines = ["BEGIN:VTIMEZONE", f"TZID:{ical_text.escape(name)}"]
    for (before, after), moments in onsets.items():
        single, yearly = _split(moments)
        if single:
            dates = [f"RDATE:{ical_text.local(moment)}" for moment in single[1:]]
            lines += _observance(before, after, single[0], dates)
        if yearly:
            lines += _observance(before, after, yearly.first, [f"RRULE:{yearly.rule}"])
    return ical_text.lines(*lines, "END:VTIMEZONE")


def _observance(before: _Clock, after: _Clock, first: datetime, repeats: Sequence[str]) -> list[str]:
    kind = "DAYLIGHT" if after.is_daylight else "STANDARD"
    return [
        f"BEGIN:{kind}",
        f"DTSTART:{ical_text.local(first)}",
        f"TZOFFSETFROM:{_offset(before.offset)}",
        f"TZOFFSETTO:{_offset(after.offset)}",
        f"TZNAME:{ical_text.escape(after.name)}",
        *repeats,
        f"END:{kind}",
    ]


def _offset(offset: timedelta) -> str:
    sign = "-" if offset < timedelta() else "+"
    minutes, seconds = divmod(abs(offset) // _SECOND, 60)
    return f"{sign}{minutes // 60:02}{minutes % 60:02}" + (f"{seconds:02}" if seconds else "")


class _Yearly(NamedTuple):
    first: datetime
    rule: str


def _split(moments: Sequence[datetime]) -> tuple[Sequence[datetime], _Yearly | None]:
    """The moments that go by their dates, and the yearly rule of the others, which go on."""
    if moments[-1].year < LAST_YEAR:
        return moments, None
    last = moments[-1]
    weekday = WEEKDAYS[last.weekday()]
    window = _window(moments)
    days = range(min(moment.day for moment in window), max(moment.day for moment in window) + 1)
    best, by_day = max(
        (_tail(moments, _from_start), f"{_from_start(last)}{weekday}"),
        (_tail(moments, _from_end), f"{_from_end(last)}{weekday}"),
        (window, f"{weekday};BYMONTHDAY={','.join(map(str, days))}"),
        key=lambda candidate: len(candidate[0]),
    )
    if len(best) < _FEWEST_YEARS:
        return moments, None
    rule = f"FREQ=YEARLY;BYMONTH={last.month};BYDAY={by_day}"
    return moments[: len(moments) - len(best)], _Yearly(best[0], rule)


def _from_start(moment: datetime) -> int:
    return (moment.day - 1) // 7 + 1


def _from_end(moment: datetime) -> int:
    return -((calendar.monthrange(moment.year, moment.month)[1] - moment.day) // 7) - 1


def _tail(moments: Sequence[datetime], ordinal: Callable[[datetime], int]) -> Sequence[datetime]:
    """The last of them that come each year in the same month, on the same weekday by `ordinal`, at the same time."""
    last = moments[-1]
    wanted = last.month, last.weekday(), ordinal(last), last.time()
    begin = len(moments)
    for back, moment in enumerate(reversed(moments)):
        if (
            moment.month,
            moment.weekday(),
            ordinal(moment),
            moment.time(),
        ) != wanted or moment.year != last.year - back:
            break
        begin -= 1
    return moments[begin:]


def _window(moments: Sequence[datetime]) -> Sequence[datetime]:
    """As `_tail`, of those that come on the same weekday of the same seven days of the month."""
    last = moments[-1]
    begin, earliest, latest = len(moments), last.day, last.day
    for back, moment in enumerate(reversed(moments)):
        earliest, latest = min(earliest, moment.day), max(latest, moment.day)
        same = (moment.month, moment.weekday(), moment.time()) == (last.month, last.weekday(), last.time())
        if not same or moment.year != last.year - back or latest - earliest >= 7:  # noqa: PLR2004 - a week
            break
        begin -= 1
    return moments[begin:]


def _changes(start: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, _Clock, _Clock]]:
    before = _clock(start, zone)
    while start.year <= LAST_YEAR:
        end = start + _STEP
        after = _clock(end, zone)
        if before != after:
            yield _first_second(start, end, zone, after), before, after
        start, before = end, after


def _first_second(before: datetime, after: datetime, zone: ZoneInfo, clock: _Clock) -> datetime:
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        before, after = (before, middle) if _clock(middle, zone) == clock else (middle, after)
    return after


def _clock(moment: datetime, zone: ZoneInfo) -> _Clock:
    local = moment.astimezone(zone)
    return _Clock(local.utcoffset() or timedelta(), local.tzname() or "", bool(local.dst()))
