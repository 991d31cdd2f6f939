"""One user's session: the only place where a connection is taken for users' data.

Every transaction here begins by setting the user's id for its own duration; row-level security compares each row to it.
Statements are pipelined: a read is one round trip, and so is a write of one step.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

import psycopg
from psycopg.errors import DeadlockDetected, SerializationFailure, UniqueViolation
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolTimeout

from runtime.problems import ProblemError
from strict_http.deadline import Deadline
from todos.database.command import Command, Runnable
from todos.database.failures import LostConnectionError, SilentDatabaseError, answering_failures, unavailable
from todos.database.pipeline import PipelinedConnection, Sent
from todos.database.pool import Database, is_closed_by_server

ATTEMPTS = 3
"""How often a transaction is tried that loses against concurrent ones."""

GRACE_SECONDS = 1
"""Seconds that a round trip may take beyond the time-out of one statement before its connection is closed."""

SEEN_BEFORE = "seen_signature_pkey"
"""The constraint that a repeated write violates."""

_BEGIN: Sent = (b"BEGIN", ())
_COMMIT: Sent = (b"COMMIT", ())
_ROLLBACK: Sent = (b"ROLLBACK", ())
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
_SET_USER = b"SELECT set_config('app.user_id', $1, true), set_config('statement_timeout', $2, true)"


class ReplayedError(Exception):
    """The write was received before."""


class Transaction:
    """An open transaction of one user; each call is one round trip.

    A transaction that is still open at the end is rolled back.
    """

    def __init__(
        self,
        connection: PipelinedConnection,
        guard: "_Guard",
        user_id: str,
        statement_timeout: str,
        once: list[Runnable],
    ) -> None:
        """Begins with `once`, which fails if the same request came before.

        A commit clears it, so that another attempt of the request after a commit is not taken for a replay.
        """
        self._connection = connection
        self._guard = guard
        self._user_id = user_id
        self._set_user = (_SET_USER, (user_id, statement_timeout))
        self._once = once
        self._begun = False
        self.was_committing = False
        """Whether a COMMIT was sent."""

    async def send(self, *commands: Runnable) -> None:
        """Run `commands` in their order and fill their rows."""
        await self._run(commands, commit=False)

    async def commit(self, *commands: Runnable) -> None:
        """Run `commands` in their order, fill their rows, and commit."""
        await self._run(commands, commit=True)

    async def read(self, command: Runnable) -> None:
        """Run one command in a transaction of its own, which ends with the round trip."""
        _, rows = await self._connection.round_trip(self._set_user, command.bound_to(self._user_id))
        command.take(rows)

    async def _run(self, commands: Sequence[Runnable], *, commit: bool) -> None:
        opening = () if self._begun else (_BEGIN, self._set_user, *self._first())
        closing = (_COMMIT,) if commit else ()
        bound = [command.bound_to(self._user_id) for command in commands]
        self.was_committing = commit
        self._guard.restart()
        results = await self._connection.round_trip(*opening, *bound, *closing)
        self._begun = True
        if commit:
            self._once.clear()
        for command, rows in zip(commands, results[len(opening) :], strict=False):
            command.take(rows)

    async def undo(self) -> None:
        """Roll back all but the record that the request was received."""
        await self._connection.round_trip(_ROLLBACK, _BEGIN, self._set_user, *self._first(), _COMMIT)

    def _first(self) -> list[Sent]:
        return [command.bound_to(self._user_id) for command in self._once]


type Work[Result] = Callable[[Transaction], Awaitable[Result]]


class UserSession:
    """Runs statements for one user, who reaches no other user's rows."""

    def __init__(
        self, database: Database, user_id: str, once: Callable[[], Runnable], *, is_searching: bool = False
    ) -> None:
        """`once` makes the command that each write begins with; it fails if the request was received before."""
        self._database = database
        self._user_id = user_id
        self._once = once
        self._is_searching = is_searching
        seconds = database.statement_seconds
        if is_searching:
            seconds = min(seconds, database.search_seconds)
        self._statement_timeout = str(int(seconds * 1000))
        self._seconds = seconds + GRACE_SECONDS

    def searching(self) -> "UserSession":
        """The same user's way for statements that search: they hold a third of the pool at most, and end sooner."""
        return UserSession(self._database, self._user_id, self._once, is_searching=True)

    async def read[Row](self, command: Command[Row]) -> Sequence[Row]:
        """Run one statement that changes nothing, and again if the connection breaks.

        Raises:
            ProblemError: `database_unavailable`, `database_timeout`, `overloaded`, `rate_limited`.
        """
        with answering_failures(self._database.url):
            try:
                return await self._read(command)
            except LostConnectionError as lost:
                if isinstance(lost.__cause__, TimeoutError):
                    raise
                return await self._read(command)

    async def _read[Row](self, command: Command[Row]) -> Sequence[Row]:
        await self._in_transaction(lambda transaction: transaction.read(command), [])
        return command.rows

    async def write[Result](self, work: Work[Result]) -> Result:
        """Run `work` in one transaction, and again from its start if it loses against a concurrent one.

        `work` commits; if it raises, nothing is kept but the record that the request was received.

        Raises:
            ProblemError: as `read`, or what `work` raised.
            ReplayedError: the request was received before.
        """
        once = [self._once()]
        with answering_failures(self._database.url):
            for _ in range(ATTEMPTS - 1):
                try:
                    return await self._in_transaction(work, once)
                except (SerializationFailure, DeadlockDetected):
                    continue
            return await self._in_transaction(work, once)

    async def _in_transaction[Result](self, work: Work[Result], once: list[Runnable]) -> Result:
        if not self._database.fit:
            raise unavailable()
        if not self._is_searching:
            return await self._in_place(work, once)
        async with self._database.searches.held(self._user_id):
            return await self._in_place(work, once)

    async def _in_place[Result](self, work: Work[Result], once: list[Runnable]) -> Result:
        await self._take_place()
        try:
            return await self._on_connection(work, once)
        finally:
            self._database.places.give_back(self._user_id)

    async def _take_place(self) -> None:
        try:
            await self._database.places.take(self._user_id)
        except ProblemError:
            if not self._database.is_silent():
                raise
            # those who hold a connection wait for the database
            raise (PoolTimeout if self._database.is_connecting() else SilentDatabaseError) from None

    async def _on_connection[Result](self, work: Work[Result], once: list[Runnable]) -> Result:
        connection = await self._open_connection()
        guard = _Guard(connection, self._seconds)
        transaction = Transaction(connection, guard, self._user_id, self._statement_timeout, once)
        try:
            return await _undoing_the_unfinished(connection, transaction, work)
        except UniqueViolation as error:
            if error.diag.constraint_name == SEEN_BEFORE:
                raise ReplayedError from None
            raise
        except psycopg.OperationalError as error:
            if guard.hung_up or connection.closed:
                cause = TimeoutError() if guard.hung_up else error
                raise LostConnectionError(cause, was_committing=transaction.was_committing) from cause
            raise
        finally:
            guard.end()
            await self._database.pool.putconn(connection)

    async def _open_connection(self) -> PipelinedConnection:
        pool = self._database.pool
        while True:
            connection = await pool.getconn()
            if not is_closed_by_server(connection):
                return connection
            await connection.close()
            await pool.putconn(connection)


async def _undoing_the_unfinished[Result](
    connection: PipelinedConnection, transaction: Transaction, work: Work[Result]
) -> Result:
    try:
        return await work(transaction)
    except ProblemError:
        if connection.pgconn.transaction_status in _OPEN:
            await transaction.undo()
        raise
    finally:
        # here, as the pool would wait for a silent server without end
        if connection.pgconn.transaction_status in _OPEN:
            with contextlib.suppress(psycopg.OperationalError):
                await connection.round_trip(_ROLLBACK)


class _Guard:
    """Closes the connection to a server that has not answered in time, so that the waiting task continues at once.

    A cancelled task would instead spend seconds on a request to that server to cancel the statement.
    """

    def __init__(self, connection: PipelinedConnection, seconds: float) -> None:
        self.hung_up = False
        self._connection = connection
        self._seconds = seconds
        self._deadline = Deadline(asyncio.get_running_loop(), self._hang_up)
        self._deadline.set(seconds)

    def restart(self) -> None:
        """Give the server the whole time again, for another round trip."""
        self._deadline.set(self._seconds)

    def end(self) -> None:
        self._deadline.stop()

    def _hang_up(self) -> None:
        self.hung_up = True
        with (
            contextlib.suppress(psycopg.OperationalError, OSError),  # it is closed already
            socket.socket(fileno=os.dup(self._connection.fileno())) as same_socket,
        ):
            same_socket.shutdown(socket.SHUT_RDWR)
