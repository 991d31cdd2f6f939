"""Recurrence rules: read strictly, reckoned as RFC 5545 has it and dateutil agrees, never for long."""

import time
from datetime import UTC, date, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule
from hypothesis import given, settings
from hypothesis import strategies as st

from todos.domain.occurrences import Occurrence, next_occurrence
from todos.domain.recurrence_rule import MAX_LENGTH, WEEKDAYS, Frequency, Rule, canonical, parse

LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *("Pacific/Apia", "Africa/Casablanca", "America/St_Johns", "Africa/Cairo"),
)

intervals = st.integers(1, 14)
month_days = st.lists(st.integers(1, 31).flatmap(lambda day: st.sampled_from([day, -day])), max_size=3)


walls = st.datetimes(datetime.fromisoformat("1990-01-01"), datetime.fromisoformat("2037-01-01")).map(
    lambda moment: moment.replace(microsecond=0)
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    freq = draw(st.sampled_from(get_args(Frequency)))
    weekday = st.integers(0, 6)
    # dateutil takes plain and numbered weekdays together for what both fit
    ordinals = st.just(0) | st.integers(-5, 5).filter(bool) if freq in ("MONTHLY", "YEARLY") else st.just(0)
    by_day = draw(st.lists(st.tuples(weekday, ordinals), max_size=3))
    if any(number for _, number in by_day):
        by_day = [(day, number or 1) for day, number in by_day]
    by_month_day = () if freq == "WEEKLY" else draw(month_days)
    return parse(str(Rule(freq, draw(intervals), tuple(by_day), tuple(by_month_day))))


def first_after(rule: Rule, start: datetime, bound: datetime) -> datetime | None:
    """By dateutil, which is kept from searching to the year 9999 by a look at the next two hundred years alone."""
    rule_with_end = parse(f"{rule};UNTIL={start.year + 200:04}0101T000000Z")
    found = rrule.rrulestr(str(rule_with_end).replace("Z", ""), dtstart=start)
    return next((moment for moment in found if moment > bound and moment > start), None)


@settings(max_examples=60, deadline=None)
@given(rule=rules(), due=st.dates(date(1990, 1, 1), date(2040, 12, 31)), late=st.integers(0, 900))
def test_the_next_day_is_the_one_dateutil_finds(rule: Rule, due: date, late: int) -> None:
    start = datetime.combine(due, datetime.min.time())
    now = start + timedelta(days=late, hours=7)
    found = next_occurrence(rule, due, "UTC", None, now.replace(tzinfo=UTC))
    expected = first_after(rule, start, now)
    if expected is not None:
        assert found == Occurrence(expected.date(), None)
    else:
        assert found is None or (not isinstance(found.due, datetime) and found.due.year >= due.year + 199)


@settings(max_examples=60, deadline=None)
@given(
    rule=rules(),
    wall=walls,
    timezone=st.sampled_from(ZONES),
    length=st.integers(2, 12),
)
def test_a_series_completed_one_by_one_keeps_its_wall_clock_through_years_and_zones(
    rule: Rule, wall: datetime, timezone: str, length: int
) -> None:
    zone = ZoneInfo(timezone)
    due = wall.replace(tzinfo=zone).astimezone(UTC)
    is_skipped = due.astimezone(zone).replace(tzinfo=None) != wall
    expected: list[datetime] = []
    bound = wall
    for _ in range(length):
        later = first_after(rule, wall, bound)
        if later is None or later.year > 2100:
            break
        expected.append(later)
        bound = later
    here = Occurrence(due, wall if is_skipped else None)
    # RFC 5545 section 3.3.5: the first of two, and in a gap the offset before it: what fold=0 means
    moments = sorted({local.replace(tzinfo=zone, fold=0).astimezone(UTC) for local in expected} - {due})
    for moment in moments:
        assert isinstance(here.due, datetime)
        step = next_occurrence(rule, here.due, timezone, here.wall, LONG_AGO)
        assert step is not None
        assert step.due == moment
        here = step


@pytest.mark.parametrize(
    ("timezone", "due", "rule", "expected"),
    [
        # 02:30 does not exist on 2025-03-30, and is 02:30 again on the day after
        ("Europe/Berlin", "2025-03-29T02:30", "FREQ=DAILY", ["2025-03-30T01:30Z", "2025-03-31T00:30Z"]),
        # 02:30 comes twice on 2025-10-26: the first one
        ("Europe/Berlin", "2025-10-25T02:30", "FREQ=DAILY", ["2025-10-26T00:30Z", "2025-10-27T01:30Z"]),
        ("America/New_York", "2025-03-02T02:30", "FREQ=WEEKLY", ["2025-03-09T07:30Z", "2025-03-16T06:30Z"]),
        # half an hour
        ("Australia/Lord_Howe", "2025-10-04T02:15", "FREQ=DAILY", ["2025-10-04T15:45Z", "2025-10-05T15:15Z"]),
        # a whole day that never was, 2011-12-30, and the day after it are one moment
        ("Pacific/Apia", "2011-12-29T10:00", "FREQ=DAILY", ["2011-12-30T20:00Z", "2011-12-31T20:00Z"]),
        # noon stays noon
        ("Europe/Berlin", "2025-01-31T12:00", "FREQ=MONTHLY", ["2025-03-31T10:00Z", "2025-05-31T10:00Z"]),
    ],
)
def test_gaps_and_folds(timezone: str, due: str, rule: str, expected: list[str]) -> None:
    zone = ZoneInfo(timezone)
    here = Occurrence(datetime.fromisoformat(due).replace(tzinfo=zone).astimezone(UTC), None)
    found = []
    for _ in expected:
        assert isinstance(here.due, datetime)
        step = next_occurrence(parse(rule), here.due, timezone, here.wall, LONG_AGO)
        assert step
        here = step
        found.append(here.due)
    assert found == [datetime.fromisoformat(text) for text in expected]


def test_a_moment_in_the_second_of_two_equal_hours_is_followed_by_the_clock_it_shows() -> None:
    second = datetime(2025, 10, 26, 1, 30, tzinfo=UTC)
    found = next_occurrence(parse("FREQ=DAILY"), second, "Europe/Berlin", None, LONG_AGO)
    assert found == Occurrence(datetime(2025, 10, 27, 1, 30, tzinfo=UTC), None)


def test_microseconds_are_kept() -> None:
    found = next_occurrence(parse("FREQ=DAILY"), datetime(2025, 1, 1, 1, 2, 3, 4, tzinfo=UTC), "UTC", None, LONG_AGO)
    assert found == Occurrence(datetime(2025, 1, 2, 1, 2, 3, 4, tzinfo=UTC), None)


@pytest.mark.parametrize(
    ("rule", "due", "expected"),
    [
        ("FREQ=MONTHLY;BYDAY=MO,2TU", "2026-01-01", ["2026-01-05", "2026-01-12", "2026-01-13", "2026-01-19"]),
        ("FREQ=MONTHLY;BYDAY=-1FR", "2026-01-01", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30"]),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "2026-01-01", ["2026-02-13", "2026-03-13", "2026-11-13"]),
        ("FREQ=MONTHLY", "2026-01-31", ["2026-03-31", "2026-05-31", "2026-07-31"]),
        ("FREQ=YEARLY", "2096-02-29", ["2104-02-29", "2108-02-29"]),
        ("FREQ=YEARLY;BYDAY=1MO", "2026-01-01", ["2026-01-05", "2027-01-04", "2028-01-03"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU", "2026-01-05", ["2026-01-11", "2026-01-19", "2026-01-25"]),
        ("FREQ=DAILY;INTERVAL=3;BYDAY=MO", "2026-01-01", ["2026-01-19", "2026-02-09"]),
        ("FREQ=DAILY;BYMONTHDAY=31", "2026-01-31", ["2026-03-31", "2026-05-31"]),
    ],
)
def test_days_that_anyone_can_count(rule: str, due: str, expected: list[str]) -> None:
    here, found = date.fromisoformat(due), []
    for _ in expected:
        step = next_occurrence(parse(rule), here, "UTC", None, LONG_AGO)
        assert step
        here = step.due
        found.append(str(here))
    assert found == expected


def test_an_all_day_date_follows_once_its_midnight_is_after_now() -> None:
    zone, rule = "Asia/Tokyo", parse("FREQ=DAILY")
    before_midnight = datetime(2026, 1, 9, 14, 59, tzinfo=UTC)
    for now, expected in ((before_midnight, 10), (before_midnight + timedelta(minutes=1), 11)):
        assert next_occurrence(rule, date(2026, 1, 1), zone, None, now) == Occurrence(date(2026, 1, expected), None)


@pytest.mark.parametrize(
    ("rule", "due", "expected"),
    [
        ("FREQ=DAILY;UNTIL=20260102", date(2026, 1, 1), date(2026, 1, 2)),
        ("FREQ=DAILY;UNTIL=20260102", date(2026, 1, 2), None),
        ("FREQ=DAILY;UNTIL=20260102T080000Z", datetime(2026, 1, 1, 8, tzinfo=UTC), datetime(2026, 1, 2, 8, tzinfo=UTC)),
        ("FREQ=DAILY;UNTIL=20260102T075959Z", datetime(2026, 1, 1, 8, tzinfo=UTC), None),
        ("FREQ=DAILY", date(9999, 12, 31), None),
        ("FREQ=YEARLY", date(9999, 1, 1), None),
        ("FREQ=WEEKLY", datetime(9999, 12, 30, tzinfo=UTC), None),
        ("FREQ=MONTHLY;INTERVAL=999", date(9990, 1, 1), None),
    ],
)
def test_a_rule_ends(rule: str, due: date, expected: date | None) -> None:
    found = next_occurrence(parse(rule), due, "UTC", None, LONG_AGO)
    assert (found.due if found else None) == expected


def test_no_rule_is_searched_for_long() -> None:
    """Where dateutil alone takes a second and more, and a todo of the year 1 has two thousand years to make up."""
    all_days = ",".join(f"{number}{day}" for day in WEEKDAYS for number in range(1, 12))
    hostile = [
        "FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=31",
        "FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=20",
        "FREQ=MONTHLY;BYDAY=6MO",
        "FREQ=YEARLY;BYDAY=53MO;BYMONTHDAY=20",
        f"FREQ=YEARLY;BYDAY={all_days};BYMONTHDAY=-31",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU;BYMONTHDAY=" + ",".join(str(day) for day in range(1, 32)),
        "FREQ=DAILY;INTERVAL=999;BYDAY=MO;BYMONTHDAY=31",
        "FREQ=DAILY",
        "FREQ=WEEKLY",
    ]
    now = datetime(2026, 11, 23, tzinfo=UTC)
    for text in hostile:
        for due in (date(1, 2, 1), date(2026, 2, 2), date(9990, 2, 1)):
            started = time.process_time()
            next_occurrence(parse(text), due, "Europe/Berlin", None, now)
            assert time.process_time() - started < 0.5, text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FREQ=DAILY", "FREQ=DAILY"),
        ("freq=weekly;byday=su,mo,MO", "FREQ=WEEKLY;BYDAY=MO,SU"),
        ("INTERVAL=1;FREQ=DAILY", "FREQ=DAILY"),
        ("COUNT=05;INTERVAL=02;FREQ=DAILY", "FREQ=DAILY;INTERVAL=2;COUNT=5"),
        ("FREQ=MONTHLY;BYDAY=+1MO,-1FR,2MO", "FREQ=MONTHLY;BYDAY=1MO,2MO,-1FR"),
        ("FREQ=MONTHLY;BYMONTHDAY=+31,-1,1", "FREQ=MONTHLY;BYMONTHDAY=-1,1,31"),
        ("FREQ=DAILY;UNTIL=20260101", "FREQ=DAILY;UNTIL=20260101"),
        ("FREQ=DAILY;UNTIL=20260101t235959z", "FREQ=DAILY;UNTIL=20260101T235959Z"),
        ("FREQ=DAILY;UNTIL=00010101", "FREQ=DAILY;UNTIL=00010101"),
    ],
)
def test_each_rule_has_one_spelling(text: str, expected: str) -> None:
    assert canonical(text) == expected
    assert canonical(expected) == expected


@given(rules())
def test_the_canonical_form_reads_back(rule: Rule) -> None:
    assert parse(str(rule)) == rule
    rrule.rrulestr(str(rule), dtstart=datetime.fromisoformat("2026-01-01"))


@pytest.mark.parametrize(
    "text",
    [
        *("", ";", "FREQ", "FREQ=", "FREQ=HOURLY", "RRULE:FREQ=DAILY", "FREQ=DAILY;", "FREQ=DAILY FREQ=DAILY"),
        *("FREQ=DAILY;FREQ=DAILY", "INTERVAL=2", "FREQ=DAILY;BYHOUR=1", "FREQ=DAILY;WKST=MO", "FREQ=DAILY;BYMONTH=1"),
        *("FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=-1", "FREQ=DAILY;INTERVAL=1000", "FREQ=DAILY;INTERVAL=1.5"),
        *("FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=10000", "FREQ=DAILY;COUNT=1;UNTIL=20260101", "FREQ=DAILY;COUNT="),
        *("FREQ=DAILY;BYDAY=1MO", "FREQ=WEEKLY;BYDAY=-1FR", "FREQ=WEEKLY;BYMONTHDAY=1", "FREQ=MONTHLY;BYDAY=0MO"),
        *("FREQ=MONTHLY;BYDAY=54MO", "FREQ=MONTHLY;BYDAY=XX", "FREQ=MONTHLY;BYDAY=", "FREQ=MONTHLY;BYDAY=MO,"),
        *("FREQ=MONTHLY;BYDAY=+MO", "FREQ=MONTHLY;BYMONTHDAY=0", "FREQ=MONTHLY;BYMONTHDAY=32", "FREQ=DAILY;BYDAY= MO"),
        *("FREQ=DAILY;UNTIL=20260230", "FREQ=DAILY;UNTIL=2026-01-01", "FREQ=DAILY;UNTIL=20260101T000000"),
        *("FREQ=DAILY;UNTIL=20260101T240000Z", "FREQ=DAILY;UNTIL=20260101T000060Z", "FREQ=DAILY;UNTIL=00000101"),
        *("FREQ=DAİLY", "FREQ=DAILY;INTERVAL=\u0662", "FREQ=MONTHLY;BYMONTHDAY=" + ",".join(["1"] * 300)),
    ],
)
def test_what_is_no_rule_of_the_contract_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) "):
        parse(text)


@given(st.text(max_size=MAX_LENGTH + 5) | st.from_regex(r"FREQ=(DAILY|MONTHLY)(;[A-Z]{3,10}=[-+0-9A-Z,]{0,12}){0,3}"))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = parse(text)
    except ValueError:
        return
    assert parse(str(rule)) == rule
    assert len(str(rule)) <= MAX_LENGTH
