"""Todos in every form that the contract allows, and what must survive a way out and back."""

from typing import Any

from hypothesis import strategies as st

from todos.domain.fields import TodoFields

CLIENT_SET = ("id", *TodoFields.model_fields)


def kept(todos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The part of each todo that an import restores."""
    return [{name: todo[name] for name in CLIENT_SET} for todo in todos]


def lines(alphabet: str | None = None, **size: int) -> st.SearchStrategy[str]:
    """One line of any characters but control characters and lone surrogates."""
    characters = st.characters(exclude_categories=("Cc", "Cs")) if alphabet is None else st.sampled_from(alphabet)
    return st.text(characters, **size)


titles = lines(min_size=1, max_size=60).map(str.strip).filter(bool)
descriptions = st.text(st.characters(exclude_categories=("Cc", "Cs"), include_characters="\t\n"), max_size=120)
tags = st.lists(lines(min_size=1, max_size=12).filter(lambda tag: "," not in tag), max_size=5, unique=True)
dates = st.dates().map(str).filter(lambda day: "0001-01-02" < day < "9999-12-30")
moments = st.datetimes().map(lambda moment: moment.isoformat() + "Z").filter(lambda t: "0001-01-02" < t < "9999-12-30")
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"])
rules = st.sampled_from(["FREQ=DAILY", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR", "FREQ=MONTHLY;BYDAY=-1FR;COUNT=4"])


@st.composite
def todos(draw: st.DrawFn) -> dict[str, Any]:
    due = draw(st.none() | dates | moments)
    return {
        "id": str(draw(st.uuids())),
        "title": draw(titles),
        "description": draw(descriptions),
        "completed": draw(st.booleans()),
        "priority": draw(st.sampled_from(["none", "low", "medium", "high", "urgent"])),
        "tags": draw(tags),
        "due_date": due,
        "timezone": draw(zones),
        "recurrence": draw(st.none() | rules) if due else None,
        "order": draw(st.integers(-(2**31), 2**31 - 1)),
    }


def uniquely(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({todo["id"]: todo for todo in found}.values())
