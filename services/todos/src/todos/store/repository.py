"""What can be done with one user's todos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.errors import SerializationFailure

from runtime.identifiers import new_uuid
from runtime.problems import Fault, ProblemError
from todos.database.command import Command, Value
from todos.database.user_session import Transaction, UserSession
from todos.domain import due_date, recurrence_rule
from todos.domain.faults import invalid_body
from todos.domain.fields import PRIORITIES, RANKS, TodoFields
from todos.domain.preconditions import Condition, precondition_failed, strong_tag
from todos.schema.limits import QUOTA
from todos.store import statements, successor
from todos.store.idempotency import IdempotentRequest, mismatch
from todos.store.json_columns import ShownRow
from todos.store.list_query import ListQuery, session_for
from todos.store.list_statements import ListedRow, list_statement
from todos.store.statements import KnownRow, StateRow, TodoRow


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, the user's latest number with it, and the row to go on after."""

    rows: Sequence[ShownRow]
    number: int
    last: ListedRow[ShownRow] | None


class TodoRepository:
    """The todos of one user. Every method raises `database_unavailable` while the database is."""

    def __init__(self, session: UserSession) -> None:
        self._session = session

    async def page(self, query: ListQuery) -> Page:
        session = session_for(self._session, query.shape.filters)
        listed = await session.read(Command(list_statement(query.shape), query.values))
        found = [row for row in listed if row.todo is not None]
        shown = found[: query.limit]
        return Page(
            rows=[row.todo for row in shown if row.todo is not None],
            number=listed[0].seq if listed else 0,
            last=shown[-1] if len(found) > query.limit else None,
        )

    async def get(self, todo_id: str) -> ShownRow:
        """Raises `not_found` where there is none, it is deleted, or it is somebody else's."""
        rows = await self._session.read(Command(statements.get, {"id": todo_id}))
        if not rows:
            raise not_found()
        return rows[0]

    async def create(self, fields: TodoFields) -> ShownRow:
        """Raises `quota`."""
        create = Command(statements.create, {"id": new_uuid(), **column_values(fields)})

        async def work(transaction: Transaction) -> ShownRow:
            await transaction.commit(create)
            if not create.rows:
                raise quota_used_up()
            return create.rows[0]

        return await self._session.write(work)

    async def create_once(
        self, fields: TodoFields, request: IdempotentRequest, draw: Callable[[TodoRow], str]
    ) -> KnownRow:
        """Create, or find what was created under the same key; one at a time, as each writer of a user is.

        `draw` makes the answer to keep, without what the database gives: version and times.

        Raises `idempotency_mismatch`, `quota`.
        """
        values = {"id": new_uuid(), **column_values(fields)}
        kept: dict[str, Value] = {"key": request.key, "digest": request.digest, "answer": draw(_draft(values))}
        once = Command(statements.create_once, {**values, **kept})

        async def work(transaction: Transaction) -> None:
            state = Command(statements.lock_state)
            await transaction.commit(Command(statements.begin_state), state, once)
            locked(state)

        await self._session.write(work)
        if not once.rows:
            raise quota_used_up()
        if once.rows[0].digest != request.digest:
            raise mismatch()
        return once.rows[0]

    async def put(
        self, todo_id: str, fields: TodoFields, if_match: Condition | None, if_none_match: Condition | None
    ) -> tuple[ShownRow, bool]:
        """Replace, or create where there is none; the second item says which: true for created.

        Raises `deleted`, `precondition_failed`, `quota`.
        """
        values = {"id": todo_id, **column_values(fields)}

        async def work(transaction: Transaction) -> tuple[ShownRow, bool]:
            state, found = Command(statements.lock_state), Command(statements.find, {"id": todo_id})
            await transaction.send(Command(statements.begin_state), state, found)
            live_count = locked(state).live_count
            if found.rows:
                if found.rows[0].deleted_at is not None:
                    raise ProblemError(
                        "deleted", "The todo was deleted; restore it first, by a POST to its address + /restore."
                    )
                _check(found.rows[0].version, if_match, if_none_match)
            elif if_match:
                raise precondition_failed(None)
            elif live_count >= QUOTA:
                raise quota_used_up()
            if found.rows:
                return await _replace(transaction, found.rows[0], values), False
            create = Command(statements.create, values)
            await transaction.commit(create)
            return create.rows[0], True

        return await self._session.write(work)

    async def patch(self, todo_id: str, changes: Mapping[str, object], if_match: Condition | None) -> ShownRow:
        """Change some fields. Raises `not_found`, `precondition_failed`."""

        async def work(transaction: Transaction) -> ShownRow:
            found = Command(statements.find, {"id": todo_id})
            await transaction.send(Command(statements.lock_state), found)
            if not found.rows or found.rows[0].deleted_at is not None:
                raise not_found()
            _check(found.rows[0].version, if_match, None)
            fields = _fields(found.rows[0]).model_copy(update=changes)
            return await _replace(transaction, found.rows[0], {"id": todo_id, **column_values(fields)})

        return await self._session.write(work)

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

        await self._session.write(work)
        if not delete.rows:
            raise not_found()
        if delete.rows[0].new_version is None:
            raise precondition_failed(delete.rows[0].found_version)

    async def restore(self, todo_id: str) -> ShownRow:
        """Undo a delete; what is not deleted stays as it is. Raises `not_found`, `quota`."""
        values = {"id": todo_id}
        restore, found = Command(statements.restore, values), Command(statements.show, values)

        async def work(transaction: Transaction) -> None:
            await transaction.commit(Command(statements.lock_state), restore, found)

        await self._session.write(work)
        if not found.rows:
            raise not_found()
        if found.rows[0].deleted_at is not None:
            raise quota_used_up()
        return found.rows[0]


async def _replace(transaction: Transaction, found: TodoRow, values: Mapping[str, Value]) -> ShownRow:
    """Write the whole todo, and with it the one that follows, where this completes a recurring one."""
    following = successor.successor(found, values, datetime.now(UTC))
    next_id = following["id"] if following else None
    replace = Command(statements.replace, {**values, "next_id": next_id})
    succeed = [Command(statements.succeed, following)] if following else []
    await transaction.commit(replace, *succeed)
    return replace.rows[0]


def locked(state: Command[StateRow]) -> StateRow:
    """The user's state, which was there or was begun just before.

    Raises:
        SerializationFailure: an erasure came between the two; the transaction is to be tried again.
    """
    if not state.rows:
        raise SerializationFailure
    return state.rows[0]


def not_found() -> ProblemError:
    """The same for what is not there, was deleted, or is somebody else's."""
    return ProblemError("not_found", "There is no such todo.")


def quota_used_up() -> ProblemError:
    """409, for what would be one todo too many, or more."""
    return ProblemError("quota", f"There are {QUOTA} todos already; delete some first.")


def _check(version: int, if_match: Condition | None, if_none_match: Condition | None) -> None:
    tag = strong_tag(version)
    if (if_match and not if_match.holds_strongly(tag)) or (if_none_match and if_none_match.holds_weakly(tag)):
        raise precondition_failed(version)


def column_values(fields: TodoFields) -> dict[str, Value]:
    """The columns of what a client sets.

    Raises:
        ProblemError: `invalid`, fields do not go together.
    """
    try:
        due_on, due_at = due_date.resolve(fields.due_date, fields.timezone)
    except ValueError as error:
        raise invalid_body([Fault(pointer="/due_date", detail=str(error))]) from None
    if fields.recurrence is not None:
        try:
            recurrence_rule.parse(fields.recurrence).check_due(fields.due_date)
        except ValueError as error:
            raise invalid_body([Fault(pointer="/recurrence", detail=str(error))]) from None
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


def _draft(values: Mapping[str, Value]) -> TodoRow:
    """The row that will be, but for what the database gives."""
    stamps = {"created_at": datetime.fromtimestamp(0, UTC), "updated_at": datetime.fromtimestamp(0, UTC), "version": 0}
    columns: dict[str, Any] = {**dict.fromkeys(TodoRow._fields), **values, **stamps}
    return TodoRow(**columns)


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
