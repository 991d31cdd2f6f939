"""What can be done with one user's todos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg.errors import SerializationFailure

from runtime.identifiers import new_uuid
from runtime.problems import ProblemError
from todos.database.command import Command, Runnable, Value
from todos.database.user_session import Transaction, UserSession
from todos.domain.fields import TodoFields
from todos.domain.preconditions import Condition, precondition_failed, strong_tag
from todos.domain.successor import successor
from todos.schema.limits import QUOTA
from todos.store import statements
from todos.store.columns import TodoRow, column_values
from todos.store.idempotency import IdempotentRequest, mismatch
from todos.store.json_columns import ShownRow
from todos.store.list_query import ListQuery, session_for
from todos.store.list_statements import ListedRow, list_statement
from todos.store.statements import KnownRow, StateRow, SuccessorRow
from todos.store.todo_json import draft


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, the user's latest number, and the row after which the next page begins."""

    rows: Sequence[ShownRow]
    number: int
    last: ListedRow[ShownRow] | None


class TodoRepository:
    """The todos of one user. Every method raises `database_unavailable` while the database is unavailable."""

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
        """Raises `not_found` if it does not exist, is deleted, or belongs to another user."""
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

    async def create_once(self, fields: TodoFields, request: IdempotentRequest, base: str) -> KnownRow:
        """Create, or find what was created under the same key; one at a time, as each writer of a user is.

        `base` is the base URL of this API as the caller used it, kept for the answer.

        Raises `idempotency_mismatch`, `quota`.
        """
        todo_id = new_uuid()
        answer = draft(todo_id, fields, base)
        kept: dict[str, Value] = {"key": request.key, "digest": request.digest, "answer": answer}
        once = Command(statements.create_once, {"id": todo_id, **column_values(fields), **kept})

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
        create = Command(statements.create, {"id": todo_id, **column_values(fields)})

        async def work(transaction: Transaction) -> tuple[ShownRow, bool]:
            state, found = Command(statements.lock_state), Command(statements.find, {"id": todo_id})
            following = Command(statements.find_successor, {"id": todo_id})
            await transaction.send(Command(statements.begin_state), state, found, following)
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
                return await _replace(transaction, found.rows[0], following.rows, fields), False
            await transaction.commit(create)
            return create.rows[0], True

        return await self._session.write(work)

    async def patch(self, todo_id: str, changes: Mapping[str, object], if_match: Condition | None) -> ShownRow:
        """Change some fields. Raises `not_found`, `precondition_failed`."""

        async def work(transaction: Transaction) -> ShownRow:
            found = Command(statements.find, {"id": todo_id})
            following = Command(statements.find_successor, {"id": todo_id})
            await transaction.send(Command(statements.lock_state), found, following)
            if not found.rows or found.rows[0].deleted_at is not None:
                raise not_found()
            _check(found.rows[0].version, if_match, None)
            fields = found.rows[0].fields.model_copy(update=changes)
            return await _replace(transaction, found.rows[0], following.rows, fields)

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
        """Undo a delete; a todo that is not deleted stays as it is. Raises `not_found`, `quota`."""
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


async def _replace(
    transaction: Transaction, found: TodoRow, following: Sequence[SuccessorRow], fields: TodoFields
) -> ShownRow:
    """Write the whole todo, and its successor: made where this completes it, deleted where this takes that back.

    `following` is its live successor, where there is one.
    """
    values = column_values(fields)  # first: only fields that go together can have a successor
    next_id = found.next_id
    commands: list[Runnable] = []
    if fields.completed and not found.fields.completed and not following:
        made = successor(found.fields, found.due_wall, fields, datetime.now(UTC))
        next_id = new_uuid() if made else None
        if made:
            next_values = {"id": next_id, **column_values(made.fields), "due_wall": made.wall}
            commands.append(Command(statements.succeed, next_values))
    elif found.fields.completed and not fields.completed and following and following[0].is_as_made:
        next_id = None
        commands.append(Command(statements.delete, {"id": following[0].id, "any_version": True, "versions": []}))
    replace = Command(statements.replace, {"id": found.id, **values, "next_id": next_id})
    await transaction.commit(replace, *commands)
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
    """The same 404 for a todo that does not exist, is deleted, or belongs to another user."""
    return ProblemError("not_found", "There is no such todo.")


def quota_used_up() -> ProblemError:
    """409: the quota would be exceeded."""
    return ProblemError("quota", f"There are {QUOTA} todos already; delete some first.")


def _check(version: int, if_match: Condition | None, if_none_match: Condition | None) -> None:
    tag = strong_tag(version)
    if (if_match and not if_match.holds_strongly(tag)) or (if_none_match and if_none_match.holds_weakly(tag)):
        raise precondition_failed(version)
