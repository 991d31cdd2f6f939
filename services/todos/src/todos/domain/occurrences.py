"""When a recurring todo is due next: dateutil expands a period of the rule, and no rule is searched for long."""

import calendar
from collections.abc import Iterator, Sequence
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from itertools import count
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dateutil import rrule

from todos.domain import due_date
from todos.domain.recurrence_rule import Rule

LONGEST_SEARCH = 4800
"""Periods looked at before a rule counts as used up: the months after which the Gregorian calendar repeats."""

_BEYOND_THE_CALENDAR = 12 * MAXYEAR
_WEEKS_OF = {"MONTHLY": 5, "YEARLY": 53}
_CLOCKS_MARGIN = timedelta(days=2)
"""No change of clocks skips more than a day."""


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
    """The first occurrence after both `due` and `now`; None where the rule has none left.

    Occurrences are reckoned on the clocks of `timezone`: a local time that comes twice is the first of the two, and
    one that is skipped is read with the offset before the gap (RFC 5545 section 3.3.5).

    Args:
        rule: whose `count` is not looked at.
        due: where the series has come to, a date or a moment in UTC.
        timezone: an IANA name.
        wall: of the occurrence that `due` is.
        now: with its zone.
    """
    zone = ZoneInfo(timezone)
    try:
        local = None if not isinstance(due, datetime) else wall or due.astimezone(zone).replace(tzinfo=None)
        earliest = (now.astimezone(zone).replace(tzinfo=None) - _CLOCKS_MARGIN).date()
        for day in _days(rule, local.date() if local else due, earliest):
            found = _on(day, local.time() if local else None, zone)
            moment = due_date.resolve(found.due, timezone)[1]
            if rule.until is not None and found.due > rule.until:
                return None
            if moment is not None and moment > now and found.due > due:
                return found
    except (OverflowError, ValueError):  # beyond the years 1 to 9999
        return None
    return None


def _on(day: date, at: time | None, zone: ZoneInfo) -> Occurrence:
    if at is None:
        return Occurrence(day, None)
    local = datetime.combine(day, at)
    moment = local.replace(tzinfo=zone).astimezone(UTC)
    is_skipped = moment.astimezone(zone).replace(tzinfo=None) != local
    return Occurrence(moment, local if is_skipped else None)


def _days(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    """The days of the series that `base` belongs to, after it and not before `earliest`, in order."""
    if rule.freq == "DAILY":
        days = _by_the_day(rule, base, earliest)
    elif rule.freq == "WEEKLY":
        days = _by_the_week(rule, base, earliest)
    elif rule.freq == "MONTHLY":
        days = _by_the_month(rule, base, earliest)
    else:
        days = _by_the_year(rule, base, earliest)
    return (day for day in days if day > base and day >= earliest)


def _by_the_day(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    if not (rule.by_day or rule.by_month_day):
        skipped = max(0, (earliest - base).days // rule.interval) * rule.interval
        for ahead in count(skipped, rule.interval):
            yield base + timedelta(days=ahead)
    every = Rule("MONTHLY", by_day=rule.by_day, by_month_day=rule.by_month_day)
    for day in _by_the_month(every, base, earliest):
        if (day - base).days % rule.interval == 0:
            yield day


def _by_the_week(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    steps = max(0, (earliest - base).days // 7 // rule.interval)
    start = base + timedelta(weeks=steps * rule.interval)
    series = rrule.rrule(
        rrule.WEEKLY,
        dtstart=_midnight(start),
        interval=rule.interval,
        byweekday=[day for day, _ in rule.by_day] or None,
    )
    return (day.date() for day in series)


def _by_the_month(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    if not (rule.by_day or rule.by_month_day):
        rule = Rule("MONTHLY", rule.interval, by_month_day=(base.day,))
    known: dict[tuple[int, int], Sequence[int]] = {}
    first = base.year * 12 + base.month - 1
    ahead = earliest.year * 12 + earliest.month - 1 - first
    for step in range(LONGEST_SEARCH):
        year, month = divmod(first + (max(0, ahead // rule.interval) + step) * rule.interval, 12)
        if year > MAXYEAR:
            return
        start = date(year, month + 1, 1)
        kind = calendar.monthrange(year, month + 1)
        if kind not in known:
            known[kind] = _expanded(rule, start, None)
        yield from (start + timedelta(days=offset) for offset in known[kind])


def _by_the_year(rule: Rule, base: date, earliest: date) -> Iterator[date]:
    by_month = None
    if not (rule.by_day or rule.by_month_day):
        rule, by_month = Rule("YEARLY", rule.interval, by_month_day=(base.day,)), base.month
    known: dict[tuple[int, bool], Sequence[int]] = {}
    skipped = max(0, (earliest.year - base.year) // rule.interval) * rule.interval
    for year in range(base.year + skipped, MAXYEAR + 1, rule.interval):
        start = date(year, 1, 1)
        kind = start.weekday(), calendar.isleap(year)
        if kind not in known:
            known[kind] = _expanded(rule, start, by_month)
        yield from (start + timedelta(days=offset) for offset in known[kind])


def _expanded(rule: Rule, start: date, by_month: int | None) -> Sequence[int]:
    """The days of the one period that begins at `start`, counted from there."""
    # by itself dateutil would go on until the year 9999 for a rule without occurrences, for a second or more
    period = rrule.rrule(
        rrule.MONTHLY if rule.freq == "MONTHLY" else rrule.YEARLY,
        dtstart=_midnight(start),
        interval=_BEYOND_THE_CALENDAR,
        bymonth=by_month,
        bymonthday=rule.by_month_day or None,
        byweekday=_weekdays(rule) or None,
    )
    return [(day.date() - start).days for day in period]


def _weekdays(rule: Rule) -> list[rrule.weekday]:
    """`BYDAY` for dateutil, which takes plain and numbered days together for their intersection, not their union."""
    every = range(1, _WEEKS_OF[rule.freq] + 1) if any(ordinal for _, ordinal in rule.by_day) else (None,)
    return [rrule.weekday(day, number) for day, ordinal in rule.by_day for number in ((ordinal,) if ordinal else every)]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())
