"""What can be done with one user's todos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

from runtime.identifiers import new_uuid
from runtime.problems import Fault, ProblemError
from todos import duedate, statements
from todos.bodies import invalid
from todos.database import Database
from todos.fields import PRIORITIES, RANKS, TodoFields
from todos.listing import ListedRow, list_statement
from todos.parameters import ListQuery
from todos.preconditions import Condition, precondition_failed, strong_tag
from todos.scope import Scope, Transaction
from todos.statements import QUOTA, Command, TodoRow, Value


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, the user's latest number with it, and the row to go on after."""

    rows: Sequence[TodoRow]
    number: int
    last: ListedRow | None


class Todos:
    """The todos of one user. Every method raises `database_unavailable` while the database is."""

    def __init__(self, database: Database, user_id: str) -> None:
        self._scope = Scope(database, user_id)

    async def page(self, query: ListQuery) -> Page:
        listed = await self._scope.read(Command(list_statement(query.shape), query.values))
        found = [row for row in listed if row.todo is not None]
        shown = found[: query.limit]
        return Page(
            rows=[row.todo for row in shown if row.todo is not None],
            number=listed[0].seq if listed else 0,
            last=shown[-1] if len(found) > query.limit else None,
        )

    async def get(self, todo_id: str) -> TodoRow:
        """Raises `not_found` where there is none, it is deleted, or it is somebody else's."""
        rows = await self._scope.read(Command(statements.get, {"id": todo_id}))
        if not rows:
            raise not_found()
        return rows[0]

    async def create(self, fields: TodoFields) -> TodoRow:
        """Raises `quota`."""
        create = Command(statements.create, {"id": new_uuid(), **_values(fields)})

        async def work(transaction: Transaction) -> TodoRow:
            await transaction.commit(create)
            if not create.rows:
                raise _quota_used_up()
            return create.rows[0]

        return await self._scope.write(work)

    async def put(
        self, todo_id: str, fields: TodoFields, if_match: Condition | None, if_none_match: Condition | None
    ) -> tuple[TodoRow, bool]:
        """Replace, or create where there is none; the second item says which: true for created.

        Raises `deleted`, `precondition_failed`, `quota`.
        """
        values = {"id": todo_id, **_values(fields)}

        async def work(transaction: Transaction) -> tuple[TodoRow, bool]:
            state, found = Command(statements.lock_state), Command(statements.find, {"id": todo_id})
            await transaction.send(Command(statements.begin_state), state, found)
            if found.rows:
                if found.rows[0].deleted_at is not None:
                    raise ProblemError("deleted", "The todo was deleted; its id cannot be used again.")
                _check(found.rows[0].version, if_match, if_none_match)
            elif if_match:
                raise precondition_failed(None)
            elif state.rows[0].live_count >= QUOTA:
                raise _quota_used_up()
            change = Command(statements.replace if found.rows else statements.create, values)
            await transaction.commit(change)
            return change.rows[0], not found.rows

        return await self._scope.write(work)

    async def patch(self, todo_id: str, changes: Mapping[str, object], if_match: Condition | None) -> TodoRow:
        """Change some fields. Raises `not_found`, `precondition_failed`."""

        async def work(transaction: Transaction) -> TodoRow:
            found = Command(statements.find, {"id": todo_id})
            await transaction.send(Command(statements.lock_state), found)
            if not found.rows or found.rows[0].deleted_at is not None:
                raise not_found()
            _check(found.rows[0].version, if_match, None)
            fields = _fields(found.rows[0]).model_copy(update=changes)
            replace = Command(statements.replace, {"id": todo_id, **_values(fields)})
            await transaction.commit(replace)
            return replace.rows[0]

        return await self._scope.write(work)

    async def delete(self, todo_id: str, if_match: Condition | None) -> None:
        """Delete so that it can be undone. Raises `not_found`, `precondition_failed`."""
        values: dict[str, Value] = {
            "id": todo_id,
            "any_version": if_match is None or if_match.anything,
            "versions": if_match.versions if if_match else [],
        }
        delete = Command(statements.delete, values)

        async def work(transaction: Transaction) -> None:
            await transaction.commit(Command(statements.lock_state), delete)

        await self._scope.write(work)
        if not delete.rows:
            raise not_found()
        if delete.rows[0].new_version is None:
            raise precondition_failed(delete.rows[0].found_version)


def not_found() -> ProblemError:
    """The same for what is not there, was deleted, or is somebody else's."""
    return ProblemError("not_found", "There is no such todo.")


def _quota_used_up() -> ProblemError:
    return ProblemError("quota", f"There are {QUOTA} todos already; delete some first.")


def _check(version: int, if_match: Condition | None, if_none_match: Condition | None) -> None:
    tag = strong_tag(version)
    if (if_match and not if_match.holds_strongly(tag)) or (if_none_match and if_none_match.holds_weakly(tag)):
        raise precondition_failed(version)


def _values(fields: TodoFields) -> dict[str, Value]:
    try:
        due_on, due_at = duedate.reckon(fields.due_date, fields.timezone)
    except ValueError as error:
        raise invalid([Fault(pointer="/due_date", detail=str(error))]) from None
    return {
        "title": fields.title,
        "description": fields.description,
        "completed": fields.completed,
        "priority": RANKS[fields.priority],
        "tags": fields.tags,
        "due_on": due_on,
        "due_at": due_at,
        "timezone": fields.timezone,
        "recurrence": fields.recurrence,
        "order": fields.order,
    }


def _fields(row: TodoRow) -> TodoFields:
    moment = row.due_at.replace(tzinfo=UTC) if row.due_at else None
    return TodoFields.model_construct(
        title=row.title,
        description=row.description,
        completed=row.completed,
        priority=PRIORITIES[row.priority],
        tags=row.tags,
        due_date=row.due_on or moment,
        timezone=row.timezone,
        recurrence=row.recurrence,
        order=row.order,
    )
