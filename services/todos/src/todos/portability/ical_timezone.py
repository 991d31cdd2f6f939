"""A time zone as a calendar tells it (RFC 5545 section 3.6.5), every change of its clocks by its date.

Our own over the library's components: its `Timezone.from_tzid` misses changes that last for a month, and tells those
forward by the clocks after them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from icalendar import Timezone, TimezoneDaylight, TimezoneStandard

FIRST_YEAR, LAST_YEAR = 1970, 2099
"""Whose changes are told."""
_STEP = timedelta(days=14)
"""Shorter than any time for which clocks were changed."""
_SECOND = timedelta(seconds=1)


class _Clock(NamedTuple):
    offset: timedelta
    name: str
    is_daylight: bool


@lru_cache(maxsize=64)
def vtimezone(name: str) -> bytes:
    """The VTIMEZONE of an IANA zone, good for moments of the years from `FIRST_YEAR` to `LAST_YEAR`."""
    zone = ZoneInfo(name)
    start = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC) - _STEP
    first = _clock(start, zone)
    starts: dict[tuple[_Clock, _Clock], list[datetime]] = {
        (first, first): [datetime.combine(start, datetime.min.time())]
    }
    for moment, before, after in _changes(start, zone):
        starts.setdefault((before, after), []).append(moment.replace(tzinfo=None) + before.offset)
    told = Timezone()
    told.add("tzid", name)
    for (before, after), moments in starts.items():
        change = TimezoneDaylight() if after.is_daylight else TimezoneStandard()
        change.add("dtstart", moments[0])
        change.add("tzoffsetfrom", before.offset)
        change.add("tzoffsetto", after.offset)
        change.add("tzname", after.name)
        if moments[1:]:
            change.add("rdate", moments[1:])
        told.add_component(change)
    return bytes(told.to_ical())


def _changes(start: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, _Clock, _Clock]]:
    while start.year <= LAST_YEAR:
        end = start + _STEP
        before, after = _clock(start, zone), _clock(end, zone)
        if before != after:
            yield _first_second(start, end, zone, after), before, after
        start = end


def _first_second(before: datetime, after: datetime, zone: ZoneInfo, clock: _Clock) -> datetime:
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        before, after = (before, middle) if _clock(middle, zone) == clock else (middle, after)
    return after


def _clock(moment: datetime, zone: ZoneInfo) -> _Clock:
    local = moment.astimezone(zone)
    return _Clock(local.utcoffset() or timedelta(), local.tzname() or "", bool(local.dst()))
