"""The fields that a client sets, and their limits."""

import re
from datetime import date, datetime
from functools import cache
from typing import Annotated, Literal, get_args
from zoneinfo import available_timezones, reset_tzpath

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from todos.domain import due_date, recurrence_rule
from todos.domain.occurrences import can_occur

reset_tzpath(to=[])  # every replica uses the tzdata package, not the time zones of its image

Priority = Literal["none", "low", "medium", "high", "urgent"]
RANKS: dict[Priority, int] = {name: rank for rank, name in enumerate(get_args(Priority))}
PRIORITIES: tuple[Priority, ...] = get_args(Priority)

MAX_TAGS = 20
INT32 = range(-(2**31), 2**31)
STAMPS = ("completed_at", "created_at", "updated_at", "deleted_at", "next_id", "version")
"""The fields that the server sets, in the contract's order."""
SERVER_SET = frozenset({"id", "url", *STAMPS})
"""Accepted in a body and ignored, so that what was read can be written back."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_TAB_AND_NEWLINE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def has_control_characters(text: str) -> bool:
    """Whether `text` holds a character of the Unicode category Cc."""
    return _CONTROL.search(text) is not None


def _trimmed(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _single_line(text: str) -> str:
    if has_control_characters(text):
        raise ValueError("holds a control character")
    return text


def _multi_line(text: str) -> str:
    if _CONTROL_BUT_TAB_AND_NEWLINE.search(text):
        raise ValueError("holds a control character other than tab and newline")
    return text


def _without_comma(text: str) -> str:
    if "," in text:
        raise ValueError("holds a comma")
    return text


def _few(tags: object) -> object:
    if isinstance(tags, list) and len(tags) > MAX_TAGS:
        raise ValueError(f"holds more than {MAX_TAGS} tags")
    return tags


def _distinct(tags: list[str]) -> list[str]:
    if len(set(tags)) != len(tags):
        raise ValueError("holds the same tag twice")
    return tags


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def _known_timezone(name: str) -> str:
    if name not in _timezones():
        raise ValueError("is not an IANA time zone name")
    return name


def _due_date(value: object) -> date | datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("should be a string or null")  # noqa: TRY004 - pydantic turns no TypeError into a fault
    return due_date.parse(value)


def _recurrence(text: str) -> str:
    rule = recurrence_rule.parse(text)
    if not can_occur(rule):
        raise ValueError("names days that never occur")
    return str(rule)


Title = Annotated[str, BeforeValidator(_trimmed), Field(min_length=1, max_length=200), AfterValidator(_single_line)]
Description = Annotated[str, Field(max_length=10_000), AfterValidator(_multi_line)]
Tag = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_single_line), AfterValidator(_without_comma)]
Tags = Annotated[list[Tag], BeforeValidator(_few), AfterValidator(_distinct)]
DueDate = Annotated[date | datetime | None, PlainValidator(_due_date)]
Timezone = Annotated[str, AfterValidator(_known_timezone)]
Recurrence = Annotated[str, AfterValidator(_recurrence)] | None
Order = Annotated[int, Field(ge=INT32.start, lt=INT32.stop)]


class TodoFields(BaseModel):
    """A todo as a client writes it, after validation; `due_date` is a date, or a moment in UTC."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    title: Title
    description: Description = ""
    completed: bool = False
    priority: Priority = "none"
    tags: Tags = []
    due_date: DueDate = None
    timezone: Timezone = "UTC"
    recurrence: Recurrence = None
    order: Order = 0
