"""Recurrence rules (RFC 5545 section 3.3.10): the parts that the contract has, read strictly."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal, cast, get_args

Frequency = Literal["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
MAX_LENGTH = 500
MAX_INTERVAL = 999
MAX_COUNT = 9999

_BY_DAY = re.compile(rf"([+-]?[0-9]{{1,2}})?({'|'.join(WEEKDAYS)})")
_SIGNED_NUMBER = re.compile(r"[+-]?[0-9]{1,3}")
_NUMBER = re.compile(r"[0-9]{1,6}")
_UNTIL_DATE = re.compile(r"[0-9]{8}")
_UNTIL_MOMENT = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_WEEKS_OF_A_YEAR = 53
_DAYS_OF_A_MONTH = 31
_DAYS_OF_A_YEAR = 366


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule; `str` gives its canonical form.

    Attributes:
        by_month: months from 1 for January.
        by_day: pairs of a weekday, 0 for Monday, and its ordinal in the period, 0 for each.
        by_month_day: days of the month, negative ones from its end.
        by_set_pos: which of the days of one period, negative ones from its end.
        week_start: the weekday that a week begins with, 0 for Monday.
        count: how many todos it still makes, the one that carries it included.
        until: the last day, or the last moment in UTC, that it may reach.
    """

    freq: Frequency
    interval: int = 1
    by_month: tuple[int, ...] = ()
    by_day: tuple[tuple[int, int], ...] = ()
    by_month_day: tuple[int, ...] = ()
    by_set_pos: tuple[int, ...] = ()
    week_start: int = 0
    count: int | None = None
    until: date | datetime | None = None

    def __str__(self) -> str:
        parts = [f"FREQ={self.freq}"]
        if self.interval != 1:
            parts.append(f"INTERVAL={self.interval}")
        if self.by_month:
            parts.append("BYMONTH=" + ",".join(map(str, self.by_month)))
        if self.by_day:
            parts.append("BYDAY=" + ",".join(f"{ordinal or ''}{WEEKDAYS[day]}" for day, ordinal in self.by_day))
        if self.by_month_day:
            parts.append("BYMONTHDAY=" + ",".join(map(str, self.by_month_day)))
        if self.by_set_pos:
            parts.append("BYSETPOS=" + ",".join(map(str, self.by_set_pos)))
        if self.week_start:
            parts.append(f"WKST={WEEKDAYS[self.week_start]}")
        if self.count is not None:
            parts.append(f"COUNT={self.count}")
        if isinstance(self.until, datetime):
            parts.append(f"UNTIL={self.until.replace(tzinfo=None).isoformat().translate(_BASIC_FORMAT)}Z")
        elif self.until is not None:
            parts.append(f"UNTIL={self.until.isoformat().translate(_BASIC_FORMAT)}")
        return ";".join(parts)

    def after_completion(self) -> "Rule | None":
        """The rule of the next todo; None if this one was the last."""
        if self.count is None:
            return self
        return replace(self, count=self.count - 1) if self.count > 1 else None

    def check_due(self, due: date | datetime | None) -> None:
        """Check that a todo with this due date may have this rule.

        Raises:
            ValueError: it has no due date, or one of the other kind than `UNTIL`.
        """
        if due is None:
            raise ValueError("needs a due_date")
        if self.until is not None and isinstance(due, datetime) != isinstance(self.until, datetime):
            kind = "a date-time in UTC" if isinstance(due, datetime) else "a date"
            raise ValueError(f"has an UNTIL that is not {kind}, as the due_date is")


def parse(text: str) -> Rule:
    """Read a rule; names and values in any case, as RFC 5545 section 2 has it.

    Raises:
        ValueError: with what is wrong, for a person.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters")
    parts = [part.partition("=") for part in text.upper().split(";")] if text.isascii() else []
    values = {name: value for name, _, value in parts}
    if not parts or not all(equals for _, equals, _ in parts):
        raise ValueError("is not an RRULE: NAME=value, joined by semicolons")
    if len(values) != len(parts):
        raise ValueError("has a part twice")
    if unknown := values.keys() - _READERS.keys():
        raise ValueError(f"has {min(unknown)}, which is none of {', '.join(_READERS)}")
    if "FREQ" not in values:
        raise ValueError("has no FREQ")
    read = {_FIELDS[name]: _READERS[name](value) for name, value in values.items()}
    return _consistent(Rule(**read))  # type: ignore[arg-type]  # each reader gives what its field takes


def canonical(text: str) -> str:
    """The one spelling of a rule. Raises as `parse`."""
    return str(parse(text))


def _consistent(rule: Rule) -> Rule:
    if rule.count is not None and rule.until is not None:
        raise ValueError("has both COUNT and UNTIL")
    if rule.freq == "WEEKLY" and rule.by_month_day:
        raise ValueError("has BYMONTHDAY, which FREQ=WEEKLY does not take")
    if rule.by_set_pos and not (rule.by_month or rule.by_day or rule.by_month_day):
        raise ValueError("has BYSETPOS without another BY part to pick from")
    if rule.freq in ("DAILY", "WEEKLY") and any(ordinal for _, ordinal in rule.by_day):
        raise ValueError("has a numbered BYDAY, which only FREQ=MONTHLY and FREQ=YEARLY take")
    return rule


def _frequency(text: str) -> Frequency:
    if text not in get_args(Frequency):
        raise ValueError(f"has a FREQ that is none of {', '.join(get_args(Frequency))}")
    return cast(Frequency, text)


def _number(name: str, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= highest:
            raise ValueError(f"has {name} that is not a number from 1 to {highest}")
        return int(text)

    return read


def _by_day(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({_weekday(item) for item in text.split(",")}))


def _weekday(text: str) -> tuple[int, int]:
    found = _BY_DAY.fullmatch(text)
    if not found or (found[1] and not 1 <= abs(int(found[1])) <= _WEEKS_OF_A_YEAR):
        raise ValueError("has a BYDAY that is no list of weekdays")
    return WEEKDAYS.index(found[2]), int(found[1] or 0)


def _numbers(name: str, allowed: range, described: str) -> Callable[[str], tuple[int, ...]]:
    def read(text: str) -> tuple[int, ...]:
        items = text.split(",")
        if not all(_SIGNED_NUMBER.fullmatch(item) and int(item) in allowed and int(item) for item in items):
            raise ValueError(f"has a {name} that is no list of {described}")
        return tuple(sorted({int(item) for item in items}))

    return read


def _week_start(text: str) -> int:
    if text not in WEEKDAYS:
        raise ValueError("has a WKST that is no weekday")
    return WEEKDAYS.index(text)


def _until(text: str) -> date | datetime:
    try:
        if _UNTIL_DATE.fullmatch(text):
            return date.fromisoformat(text)
        if _UNTIL_MOMENT.fullmatch(text) and text[9:11] != "24":
            return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        pass
    raise ValueError("has an UNTIL that is neither a date, YYYYMMDD, nor a date-time in UTC, YYYYMMDDTHHMMSSZ")


_BASIC_FORMAT = str.maketrans("", "", "-:")
_READERS: dict[str, Callable[[str], object]] = {
    "FREQ": _frequency,
    "INTERVAL": _number("an INTERVAL", MAX_INTERVAL),
    "BYMONTH": _numbers("BYMONTH", range(1, 13), "months from 1 to 12"),
    "BYDAY": _by_day,
    "BYMONTHDAY": _numbers(
        "BYMONTHDAY", range(-_DAYS_OF_A_MONTH, _DAYS_OF_A_MONTH + 1), "days from 1 to 31 or -31 to -1"
    ),
    "BYSETPOS": _numbers(
        "BYSETPOS", range(-_DAYS_OF_A_YEAR, _DAYS_OF_A_YEAR + 1), "numbers from 1 to 366 or -366 to -1"
    ),
    "WKST": _week_start,
    "COUNT": _number("a COUNT", MAX_COUNT),
    "UNTIL": _until,
}
_FIELDS = {
    "FREQ": "freq",
    "INTERVAL": "interval",
    "BYMONTH": "by_month",
    "BYDAY": "by_day",
    "BYMONTHDAY": "by_month_day",
    "BYSETPOS": "by_set_pos",
    "WKST": "week_start",
    "COUNT": "count",
    "UNTIL": "until",
}
