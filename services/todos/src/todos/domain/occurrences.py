"""When a recurring todo is due next (RFC 5545 section 3.3.10), by a search that is bounded for every rule.

Our own, since a rule of whole days is a filter over the days of one period, and dateutil searches to the year 9999
where no day passes the filter, and reads plain and numbered weekdays together as their intersection.
"""

import calendar
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import count
from typing import NamedTuple
from zoneinfo import ZoneInfo

from todos.domain import due_date
from todos.domain.recurrence_rule import Rule

_CYCLE_YEARS, _CYCLE_MONTHS, _CYCLE_WEEKS = 400, 4800, 20_871
"""The Gregorian calendar repeats after this many periods: a rule without an occurrence by then has none."""

_CLOCKS_MARGIN = timedelta(days=2)
"""No change of clocks skips more than a day."""

_WEEK = 7
_LAST_ORDINAL = date.max.toordinal()


class Occurrence(NamedTuple):
    """A due date of a series.

    Attributes:
        due: as the todo has it, a date or a moment in UTC.
        wall: the local time the series keeps, where the clocks skip it on that day; null elsewhere.
    """

    due: date | datetime
    wall: datetime | None


def next_occurrence(
    rule: Rule, due: date | datetime, timezone: str, wall: datetime | None, now: datetime
) -> Occurrence | None:
    """The first occurrence after `due` that is not overdue at `now`; None where the rule has none left.

    A moment is overdue once it has come, a day once it is over in `timezone`. Occurrences follow the clocks of
    `timezone`: a local time that comes twice is the first of the two, and one that is skipped is read with the
    offset before the gap (RFC 5545 section 3.3.5).

    Args:
        rule: its `count` is ignored.
        due: the current occurrence of the series, a date or a moment in UTC.
        timezone: an IANA name.
        wall: the local time of the occurrence `due`, as `Occurrence.wall`.
        now: with its zone.
    """
    zone = ZoneInfo(timezone)
    try:
        local = None if not isinstance(due, datetime) else wall or due.astimezone(zone).replace(tzinfo=None)
        earliest = (now.astimezone(zone).replace(tzinfo=None) - _CLOCKS_MARGIN).date()
        for day in _days(rule, local.date() if local else due, earliest):
            found = _on(day, local.time() if local else None, zone)
            if rule.until is not None and found.due > rule.until:
                return None
            if found.due > due and not _is_overdue(found.due, timezone, now):
                return found
    except (OverflowError, ValueError):  # beyond the years 1 to 9999
        return None
    return None


def _is_overdue(due: date | datetime, timezone: str, now: datetime) -> bool:
    if isinstance(due, datetime):
        return due <= now
    if due == date.max:
        return False
    _, midnight = due_date.resolve(due + timedelta(days=1), timezone)
    return midnight is not None and midnight <= now


def _on(day: date, at: time | None, zone: ZoneInfo) -> Occurrence:
    if at is None:
        return Occurrence(day, None)
    local = datetime.combine(day, at)
    moment = local.replace(tzinfo=zone).astimezone(UTC)
    is_skipped = moment.astimezone(zone).replace(tzinfo=None) != local
    return Occurrence(moment, local if is_skipped else None)


def _days(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    """The days of the series that `base` belongs to, after it and not before `earliest`, in order."""
    periods: dict[str, Callable[[Rule, date, date], Iterator[date]]] = {
        "DAILY": _by_the_day,
        "WEEKLY": _by_the_week,
        "MONTHLY": _by_the_month,
        "YEARLY": _by_the_year,
    }
    return (day for day in periods[rule.freq](_explicit(rule, base), base, earliest) if day > base and day >= earliest)


def _explicit(rule: Rule, base: date) -> Rule:
    """The rule completed with what it takes from its start (RFC 5545 section 3.3.10, the part before its examples)."""
    if rule.by_day or rule.by_month_day or rule.freq == "DAILY":
        return rule
    if rule.freq == "WEEKLY":
        return replace(rule, by_day=((base.weekday(), 0),))
    if rule.freq == "YEARLY":
        rule = replace(rule, by_month=rule.by_month or (base.month,))
    return replace(rule, by_month_day=(base.day,))


def _by_the_day(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    if not (rule.by_month or rule.by_day or rule.by_month_day):
        skipped = max(0, (earliest - base).days // rule.interval) * rule.interval
        for ahead in count(skipped, rule.interval):
            yield base + timedelta(days=ahead)
    every_day = replace(rule, freq="MONTHLY", interval=1, by_set_pos=())
    for day in _by_the_month(every_day, base, earliest):
        if (day - base).days % rule.interval == 0:
            yield day


def _by_the_week(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    start = base.toordinal() - (base.weekday() - rule.week_start) % _WEEK
    step = _WEEK * rule.interval
    start += max(0, (earliest.toordinal() - start) // step) * step
    for first in range(start, start + step * _periods(_CYCLE_WEEKS, rule), step):
        ordinals = range(max(1, first), min(first + _WEEK, _LAST_ORDINAL + 1))
        yield from _picked(rule, [date.fromordinal(ordinal) for ordinal in ordinals])
        if first > _LAST_ORDINAL:
            return


def _by_the_month(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    known: dict[tuple[int, int, int], Sequence[int]] = {}
    first = base.year * 12 + base.month - 1
    skipped = max(0, (earliest.year * 12 + earliest.month - 1 - first) // rule.interval)
    for step in range(skipped, skipped + _periods(_CYCLE_MONTHS, rule)):
        year, month = divmod(first + step * rule.interval, 12)
        if year > MAXYEAR:
            return
        start = date(year, month + 1, 1)
        kind = (month, *calendar.monthrange(year, month + 1))
        if kind not in known:
            known[kind] = _offsets(rule, start, kind[-1])
        yield from (start + timedelta(days=offset) for offset in known[kind])


def _by_the_year(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    known: dict[tuple[int, bool], Sequence[int]] = {}
    first = base.year + max(0, (earliest.year - base.year) // rule.interval) * rule.interval
    for year in range(first, min(MAXYEAR + 1, first + _periods(_CYCLE_YEARS, rule) * rule.interval), rule.interval):
        start = date(year, 1, 1)
        kind = start.weekday(), calendar.isleap(year)
        if kind not in known:
            known[kind] = _offsets(rule, start, 365 + kind[1])
        yield from (start + timedelta(days=offset) for offset in known[kind])


def _periods(cycle: int, rule: Rule) -> int:
    """How many periods of the rule there are before the calendar repeats; one more, as the first may be begun."""
    return cycle // math.gcd(cycle, rule.interval) + 1


def _offsets(rule: Rule, start: date, length: int) -> Sequence[int]:
    days = [date.fromordinal(ordinal) for ordinal in range(start.toordinal(), start.toordinal() + length)]
    return [(day - start).days for day in _picked(rule, days)]


def _picked(rule: Rule, period: Iterable[date]) -> Sequence[date]:
    """The days of one period that the rule picks."""
    weekdays: dict[int, set[int]] = {}
    for weekday, ordinal in rule.by_day:
        weekdays.setdefault(weekday, set()).add(ordinal)
    days = [day for day in period if _fits(rule, weekdays, day)]
    if not rule.by_set_pos:
        return days
    indices = {position - 1 if position > 0 else len(days) + position for position in rule.by_set_pos}
    return [days[index] for index in sorted(indices) if 0 <= index < len(days)]


def _fits(rule: Rule, weekdays: dict[int, set[int]], day: date) -> bool:
    if rule.by_month and day.month not in rule.by_month:
        return False
    if rule.by_month_day:
        from_end = day.day - calendar.monthrange(day.year, day.month)[1] - 1
        if day.day not in rule.by_month_day and from_end not in rule.by_month_day:
            return False
    if not weekdays:
        return True
    ordinals = weekdays.get(day.weekday())
    return ordinals is not None and (0 in ordinals or not ordinals.isdisjoint(_ordinals(rule, day)))


def _ordinals(rule: Rule, day: date) -> tuple[int, int]:
    """The ordinal of a day among the same weekdays of its month or year, counted from the start and from the end."""
    if rule.freq == "YEARLY" and not rule.by_month:
        index, length = day.timetuple().tm_yday - 1, 365 + calendar.isleap(day.year)
    else:
        index, length = day.day - 1, calendar.monthrange(day.year, day.month)[1]
    return index // _WEEK + 1, -((length - 1 - index) // _WEEK) - 1


@lru_cache(maxsize=1024)
def can_occur(rule: Rule) -> bool:
    """Whether the rule picks any day from any start; its `interval` and end are ignored."""
    if not (rule.by_day or rule.by_month_day or rule.by_set_pos):
        return True
    if rule.freq == "WEEKLY":
        largest = len({weekday for weekday, _ in rule.by_day}) or 1
        return not rule.by_set_pos or min(map(abs, rule.by_set_pos)) <= largest
    if rule.freq == "DAILY":
        if rule.by_set_pos and {1, -1}.isdisjoint(rule.by_set_pos):
            return False
        rule = replace(rule, freq="MONTHLY", by_set_pos=())
    endless = _explicit(replace(rule, interval=1, count=None, until=None), date(2000, 1, 1))
    search = _by_the_year if rule.freq == "YEARLY" else _by_the_month
    return next(search(endless, date(2000, 1, 1), date(2000, 1, 1)), None) is not None
