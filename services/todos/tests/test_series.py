"""Whatever is done to the todos of a series, it goes on as the contract says: by a model of completions."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from services.todos.tests.serving import Client, Running

Step = Literal["tick", "untick", "edit", "delete", "restore"]
BOUNDED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
STEPS = st.lists(st.tuples(st.sampled_from(get_args(Step)), st.integers(0, 5)), min_size=4, max_size=14)


@dataclass
class Modelled:
    """A todo of the series as the contract has it."""

    is_done: bool = False
    is_deleted: bool = False
    following: "Modelled | None" = None
    is_as_made: bool = True

    def step(self, step: Step) -> "Modelled | None":
        """Take the step; returns the successor that it makes."""
        if step == "restore":
            self.is_as_made &= not self.is_deleted
            self.is_deleted = False
        if step == "restore" or self.is_deleted:
            return None
        match step:
            case "delete":
                self.is_deleted = True
            case "tick" if not self.is_done:
                self.is_done, self.is_as_made = True, False
                if self.following is None or self.following.is_deleted:
                    self.following = Modelled()
                    return self.following
            case "untick" if self.is_done:
                self.is_done, self.is_as_made = False, False
                if self.following and not self.following.is_deleted and self.following.is_as_made:
                    self.following.is_deleted = True
                    self.following = None
            case "edit":
                self.is_as_made = False
        return None


async def take(client: Client, todo_id: str, step: Step, title: str) -> dict[str, Any] | None:
    """The todo as the answer shows it; null where there is none."""
    at = f"/v1/todos/{todo_id}"
    if step == "delete":
        await client.send("DELETE", at)
        return None
    if step == "restore":
        answer = await client.send("POST", f"{at}/restore")
    else:
        changes = {"title": title} if step == "edit" else {"completed": step == "tick"}
        answer = await client.send("PATCH", at, json_body=changes)
    assert answer.status_code in (200, 404), answer.text
    found: dict[str, Any] = answer.json()
    return found if answer.status_code == 200 else None


@BOUNDED
@given(steps=STEPS)
async def test_a_series_is_as_its_model_whatever_is_done_to_its_todos(
    service: Running, steps: list[tuple[Step, int]]
) -> None:
    client = service.user()
    todo = await client.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    series = {todo["id"]: Modelled()}
    for number, (step, pick) in enumerate(steps):
        todo_id = list(series)[pick % len(series)]
        if step in ("tick", "untick") and series[todo_id].is_done == (step == "tick"):
            continue
        answered = await take(client, todo_id, step, f"edited {number}")
        if made := series[todo_id].step(step):
            assert answered
            series[answered["next_id"]] = made
        ids = {id(modelled): todo_id for todo_id, modelled in series.items()}
        expected = {
            todo_id: (modelled.is_done, ids[id(modelled.following)] if modelled.following else None)
            for todo_id, modelled in series.items()
            if not modelled.is_deleted
        }
        listed = (await client.get("/v1/todos?limit=200")).json()
        note(f"{step} {pick}")
        assert {todo["id"]: (todo["completed"], todo["next_id"]) for todo in listed} == expected


@BOUNDED
@given(steps=st.lists(st.sampled_from(["tick", "untick", "edit"]), max_size=10))
async def test_ticks_and_unticks_of_a_todo_leave_its_series_exactly_one_that_is_open(
    service: Running, steps: list[Step]
) -> None:
    client = service.user()
    todo = await client.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    for number, step in enumerate(steps):
        await take(client, todo["id"], step, f"edited {number}")
        listed = (await client.get("/v1/todos?completed=false")).json()
        assert len(listed) == 1
