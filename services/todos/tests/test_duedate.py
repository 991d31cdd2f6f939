"""Due dates are whole days somewhere, or moments."""

from datetime import UTC, date, datetime, timedelta
from datetime import timezone as fixed_offset
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todos.domain import due_date, fields

ZONES = sorted(available_timezones())
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: fixed_offset(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29))  # noqa: DTZ001 - the zone comes with offsets


@given(st.dates())
def test_every_full_date_is_read_as_that_day(day: date) -> None:
    assert due_date.parse(day.isoformat()) == day


@given(moments, offsets)
def test_every_date_time_with_offset_is_read_as_that_moment(local: datetime, offset: fixed_offset) -> None:
    moment = local.replace(tzinfo=offset)
    found = due_date.parse(moment.isoformat())
    assert isinstance(found, datetime)
    assert found == moment
    assert found.tzinfo is UTC
    assert due_date.parse(due_date.rfc3339(found)) == found


@pytest.mark.parametrize(
    ("given_text", "written"),
    [
        ("2026-03-01t09:30:00z", "2026-03-01T09:30:00Z"),
        ("2026-03-01T09:30:00.5+02:00", "2026-03-01T07:30:00.500000Z"),
        ("2026-03-01T09:30:00.123456789Z", "2026-03-01T09:30:00.123456Z"),
        ("2026-03-01T00:00:00-00:00", "2026-03-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_moment_is_written_in_utc_with_a_fraction_only_where_there_is_one(given_text: str, written: str) -> None:
    found = due_date.parse(given_text)
    assert isinstance(found, datetime)
    assert due_date.rfc3339(found) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-02-30",
        "2026-13-01",
        "0000-01-01",
        "20260301",
        "2026-W09-7",
        "2026-060",
        " 2026-03-01",
        "2026-03-01 ",
        "2026-03-01\n",
        "\uff12026-03-01",
        "2026-03-01T09:30:00",
        "2026-03-01 09:30:00Z",
        "2026-03-01T09:30Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T09:60:00Z",
        "2026-06-30T23:59:60Z",
        "2026-03-01T09:30:00,5Z",
        "2026-03-01T09:30:00.Z",
        "2026-03-01T09:30:00+0200",
        "2026-03-01T09:30:00+02",
        "2026-03-01T09:30:00+24:00",
        "2026-03-01T09:30:00+02:60",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_what_rfc_3339_does_not_know_is_no_due_date(text: str) -> None:
    with pytest.raises(ValueError, match="is not an RFC 3339 date"):
        due_date.parse(text)


@given(st.dates(date(2, 1, 1), date(9998, 12, 31)), st.sampled_from(ZONES))
def test_a_whole_day_begins_at_the_first_moment_of_that_date_there(day: date, zone: str) -> None:
    on, at = due_date.resolve(day, zone)
    assert on == day
    assert at is not None
    assert at.astimezone(ZoneInfo(zone)).date() >= day
    assert (at - timedelta(hours=3)).astimezone(ZoneInfo(zone)).date() < day


def test_a_midnight_that_the_clocks_skip_is_the_moment_they_do() -> None:
    assert due_date.resolve(date(2018, 11, 4), "America/Sao_Paulo")[1] == datetime(2018, 11, 4, 3, tzinfo=UTC)


def test_of_two_midnights_the_first_counts() -> None:
    assert due_date.resolve(date(2021, 11, 7), "America/Havana")[1] == datetime(2021, 11, 7, 4, tzinfo=UTC)


@pytest.mark.parametrize(("day", "zone"), [(date.min, "Asia/Tokyo"), (date.max, "Etc/GMT+12")])
def test_a_day_that_python_can_say_is_taken_where_its_midnight_can_be_said_too(day: date, zone: str) -> None:
    if day == date.min:
        with pytest.raises(ValueError, match="years 1 to 9999"):
            due_date.resolve(day, zone)
    else:
        assert due_date.resolve(day, zone)[1] == datetime(9999, 12, 31, 12, tzinfo=UTC)


def test_time_zones_are_those_of_the_pinned_package() -> None:
    assert {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"} <= fields._timezones()
    assert not {"localtime", "posixrules", "right/UTC", "posix/UTC"} & fields._timezones()
