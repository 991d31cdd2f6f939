"""Recurrence rules: read strictly, reckoned as RFC 5545 has it and dateutil agrees, never for long."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from todos.domain.fields import TodoFields
from todos.domain.occurrences import Occurrence, can_occur, next_occurrence
from todos.domain.recurrence_rule import MAX_LENGTH, WEEKDAYS, Frequency, Rule, canonical, parse

YEARS = 12
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
    """Any rule without an end, but for plain beside numbered weekdays: dateutil takes those for what both fit."""
    freq = draw(st.sampled_from(get_args(Frequency)))
    weekday = st.integers(0, 6)
    ordinals = st.just(0) | st.integers(-5, 5).filter(bool) if freq in ("MONTHLY", "YEARLY") else st.just(0)
    by_day = draw(st.lists(st.tuples(weekday, ordinals), max_size=3))
    if any(number for _, number in by_day):
        by_day = [(day, number or 1) for day, number in by_day]
    by_month_day = () if freq == "WEEKLY" else draw(month_days)
    by_month = draw(st.lists(st.integers(1, 12), max_size=3))
    positions = (
        st.lists(st.integers(-4, 4).filter(bool), max_size=2) if by_day or by_month or by_month_day else st.just([])
    )
    rule = Rule(
        freq,
        draw(intervals),
        tuple(by_month),
        tuple(by_day),
        tuple(by_month_day),
        tuple(draw(positions)),
        draw(weekday),
    )
    assume(can_occur(rule))  # where nothing occurs dateutil looks no earlier than in the year 9999 at its UNTIL
    return parse(str(rule))


def todo(**fields: Any) -> TodoFields:
    return TodoFields.model_validate(fields)


def by_dateutil(rule: Rule, start: datetime) -> Iterator[datetime]:
    """Its occurrences within `YEARS`."""
    rule_with_end = parse(f"{rule};UNTIL={start.year + YEARS:04}0101T000000Z")
    # dateutil picks BYSETPOS of the days of the first week that are left, RFC 5545 of all days of a week
    into_week = (start.weekday() - rule.week_start) % 7 if rule.freq == "WEEKLY" and rule.by_day else 0
    found = rrule.rrulestr(str(rule_with_end).replace("Z", ""), dtstart=start - timedelta(days=into_week))
    return (moment for moment in found if moment > start)


@settings(max_examples=40, deadline=None)
@given(rule=rules(), due=st.dates(date(1990, 1, 1), date(2040, 12, 31)), late=st.integers(0, 900))
def test_the_next_day_is_the_one_dateutil_finds(rule: Rule, due: date, late: int) -> None:
    start = datetime.combine(due, datetime.min.time())
    now = start + timedelta(days=late, hours=7)
    found = next_occurrence(rule, due, "UTC", None, now.replace(tzinfo=UTC))
    expected = next((moment for moment in by_dateutil(rule, start) if moment.date() >= now.date()), None)
    if expected is not None:
        assert found == Occurrence(expected.date(), None)
    else:
        assert found is None or (not isinstance(found.due, datetime) and found.due.year >= due.year + YEARS)


@settings(max_examples=40, deadline=None)
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
    here = Occurrence(due, wall if is_skipped else None)
    expected = list(islice(by_dateutil(rule, wall), length))
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
        # RFC 5545 section 3.8.5.3, by its examples
        ("FREQ=YEARLY;BYMONTH=6,7", "1997-06-10", ["1997-07-10", "1998-06-10", "1998-07-10"]),
        ("FREQ=YEARLY;BYDAY=20MO", "1997-05-19", ["1998-05-18", "1999-05-17"]),
        ("FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "1997-03-13", ["1997-03-20", "1997-03-27", "1998-03-05"]),
        (
            "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
            "1996-11-05",
            ["2000-11-07", "2004-11-02"],
        ),
        ("FREQ=MONTHLY;BYDAY=TU,WE,TH;BYSETPOS=3", "1997-09-04", ["1997-10-07", "1997-11-06"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "1997-09-29", ["1997-10-30", "1997-11-27", "1997-12-30"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO", "1997-08-05", ["1997-08-10", "1997-08-19", "1997-08-24"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "1997-08-05", ["1997-08-17", "1997-08-19", "1997-08-31"]),
        ("FREQ=DAILY;BYMONTH=1", "1998-01-31", ["1999-01-01", "1999-01-02"]),
        ("FREQ=WEEKLY;BYMONTH=2,3;BYDAY=MO,FR;BYSETPOS=-1;WKST=WE", "2026-02-23", ["2026-03-02", "2026-03-09"]),
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


def test_a_day_that_is_not_over_is_not_missed() -> None:
    zone, rule = "Asia/Tokyo", parse("FREQ=DAILY")
    before_midnight = datetime(2026, 1, 9, 14, 59, tzinfo=UTC)
    for now, expected in ((before_midnight, 9), (before_midnight + timedelta(minutes=1), 10)):
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


@st.composite
def rule_texts(draw: st.DrawFn) -> str:
    """Whatever the parts of a rule can say, whether it makes sense or not."""
    weekday = st.sampled_from(WEEKDAYS)
    ordinal = st.sampled_from(["", "1", "2", "4", "5", "6", "53", "-1", "-5", "-53"])
    parts = {
        "FREQ": st.sampled_from(get_args(Frequency)),
        "INTERVAL": st.integers(1, 6) | st.sampled_from([12, 27, 773, 999]),
        "BYMONTH": numbers(st.integers(1, 12)),
        "BYDAY": numbers(st.tuples(ordinal, weekday).map("".join)),
        "BYMONTHDAY": numbers(st.sampled_from([1, 13, 28, 29, 30, 31, -1, -29, -31])),
        "BYSETPOS": numbers(st.sampled_from([1, 2, 5, 7, 31, 366, -1, -2, -6, -366])),
        "WKST": weekday,
    }
    optional = [name for name in parts if name != "FREQ" and draw(st.booleans())]
    return ";".join(f"{name}={draw(parts[name])}" for name in ("FREQ", *optional))


def numbers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return st.lists(items, min_size=1, max_size=4).map(lambda found: ",".join(map(str, found)))


@settings(max_examples=300, deadline=None)
@given(text=rule_texts(), due=st.dates(date(1900, 1, 1), date(2100, 12, 31)), late=st.integers(0, 40_000))
def test_every_rule_that_is_accepted_can_be_completed(text: str, due: date, late: int) -> None:
    try:
        fields = todo(title="x", due_date=due.isoformat(), recurrence=text)
    except ValueError:
        return
    rule = parse(fields.recurrence or "")
    now = datetime.combine(due, datetime.min.time(), UTC) + timedelta(days=late)
    found = next_occurrence(rule, due, "UTC", None, now)
    assert rule.interval > 1 or found is not None, "a rule without an end goes on"
    if found is not None:
        assert found.due > due
        assert not isinstance(found.due, datetime)
        assert found.due >= now.date()


@pytest.mark.parametrize(
    "text",
    [
        *("FREQ=MONTHLY;BYDAY=53MO", "FREQ=MONTHLY;BYDAY=6MO,-6TU", "FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=20"),
        *(
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
            "FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31",
            "FREQ=YEARLY;BYMONTH=1;BYDAY=6MO",
        ),
        *(
            "FREQ=DAILY;BYDAY=MO;BYSETPOS=2",
            "FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=3",
            "FREQ=MONTHLY;BYMONTHDAY=1;BYSETPOS=-2",
        ),
        *("FREQ=YEARLY;BYDAY=53MO;BYMONTHDAY=20", "FREQ=WEEKLY;BYMONTH=1;BYSETPOS=2"),
    ],
)
def test_a_rule_that_can_never_occur_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names days that never occur"):
        todo(title="x", due_date="2026-01-01", recurrence=text)


@pytest.mark.parametrize(
    "text",
    [
        *("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "FREQ=YEARLY;BYDAY=53MO", "FREQ=MONTHLY;BYDAY=5MO"),
        *("FREQ=DAILY;BYMONTHDAY=31;BYSETPOS=-1,2", "FREQ=YEARLY;BYSETPOS=366;BYDAY=MO,TU,WE,TH,FR,SA,SU"),
        *("FREQ=WEEKLY;BYDAY=MO,SU;BYSETPOS=2", "FREQ=MONTHLY;BYMONTHDAY=-31"),
    ],
)
def test_a_rule_that_occurs_seldom_is_taken(text: str) -> None:
    assert todo(title="x", due_date="2026-01-01", recurrence=text).recurrence


def test_no_rule_is_searched_for_long() -> None:
    """Where dateutil alone takes a second and more, and a todo of the year 1 has two thousand years to make up."""
    all_days = ",".join(f"{number}{day}" for day in WEEKDAYS for number in range(1, 12))
    hostile = [
        "FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=31",
        "FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=20",
        "FREQ=MONTHLY;BYDAY=6MO",
        "FREQ=YEARLY;BYDAY=53MO;BYMONTHDAY=20",
        f"FREQ=YEARLY;BYDAY={all_days};BYMONTHDAY=-31",
        "FREQ=WEEKLY;INTERVAL=773;BYMONTH=2;BYDAY=MO",
        "FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO,TU,WE,TH,FR,SA,SU",
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
        ("FREQ=WEEKLY;WKST=MO", "FREQ=WEEKLY"),
        (
            "WKST=su;BYSETPOS=2,-1;BYMONTHDAY=1;BYDAY=MO;BYMONTH=12,1;FREQ=MONTHLY",
            "FREQ=MONTHLY;BYMONTH=1,12;BYDAY=MO;BYMONTHDAY=1;BYSETPOS=-1,2;WKST=SU",
        ),
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
        *("FREQ=DAILY;FREQ=DAILY", "INTERVAL=2", "FREQ=DAILY;BYHOUR=1", "FREQ=DAILY;WKST=XX", "FREQ=DAILY;BYMONTH=13"),
        *("FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=-1", "FREQ=DAILY;INTERVAL=1000", "FREQ=DAILY;INTERVAL=1.5"),
        *("FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=10000", "FREQ=DAILY;COUNT=1;UNTIL=20260101", "FREQ=DAILY;COUNT="),
        *("FREQ=DAILY;BYDAY=1MO", "FREQ=WEEKLY;BYDAY=-1FR", "FREQ=WEEKLY;BYMONTHDAY=1", "FREQ=MONTHLY;BYDAY=0MO"),
        *("FREQ=MONTHLY;BYDAY=54MO", "FREQ=MONTHLY;BYDAY=XX", "FREQ=MONTHLY;BYDAY=", "FREQ=MONTHLY;BYDAY=MO,"),
        *("FREQ=MONTHLY;BYDAY=+MO", "FREQ=MONTHLY;BYMONTHDAY=0", "FREQ=MONTHLY;BYMONTHDAY=32", "FREQ=DAILY;BYDAY= MO"),
        *("FREQ=DAILY;UNTIL=20260230", "FREQ=DAILY;UNTIL=2026-01-01", "FREQ=DAILY;UNTIL=20260101T000000"),
        *("FREQ=DAILY;UNTIL=20260101T240000Z", "FREQ=DAILY;UNTIL=20260101T000060Z", "FREQ=DAILY;UNTIL=00000101"),
        *(
            "FREQ=WEEKLY;BYSETPOS=1",
            "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0",
            "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=367",
            "FREQ=DAILY;BYMONTH=-1",
        ),
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
