"""A connection on which several statements are one round trip: libpq's pipeline mode, without cursors."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Self, override

import psycopg
from psycopg import AsyncConnection
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import TupleRow

from runtime.logs import fields
from todos.database.reachability import fault_of

type Sent = tuple[bytes, Sequence[object]]
"""A statement with `$n` parameters, and their values in order."""

log = logging.getLogger("todos.database")


class PipelinedConnection(AsyncConnection[TupleRow]):
    """psycopg's connection without psycopg's own pipeline, which takes three times the CPU for the same bytes."""

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self._transformer = Transformer(self)
        self.note_answer = nothing_to_note

    @classmethod
    @override
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:  # as the pool calls it
        """Connect, or log why that failed: the pool does not pass it on to those who wait for a connection."""
        try:
            return await super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            fault = await asyncio.to_thread(fault_of, error, conninfo)
            log.warning("cannot connect to the database", extra=fields(**fault._asdict()))
            raise

    async def round_trip(self, *statements: Sent) -> list[list[TupleRow]]:
        """Send `statements` at once and return the rows of each.

        They share an implicit transaction, unless one of them begins an explicit one. If the call is cancelled or fails
        locally, the connection is closed, because unread results would be taken for those of the next request.

        Raises:
            psycopg.Error: of the first statement that failed; those after it did not run.
        """
        pgconn = self.pgconn
        results: list[PGresult] = []
        try:
            pgconn.enter_pipeline_mode()
            for sql, values in statements:
                self._send(sql, values)
            pgconn.pipeline_sync()
            while pgconn.flush():
                await self._ready(to_write=True)
                pgconn.consume_input()  # a server that nobody listens to stops listening too
            for _ in statements:
                results.append(await self._result())  # noqa: PERF401 - what came before a failure counts
            _expect(await self._next(), ExecStatus.PIPELINE_SYNC)
            pgconn.exit_pipeline_mode()
        except psycopg.OperationalError as lost:
            reported = self._failure(results)
            pgconn.finish()
            raise (reported if isinstance(reported, psycopg.OperationalError) else lost) from None
        except BaseException:
            pgconn.finish()
            raise
        if failure := self._failure(results):
            raise failure
        return [self._rows(result) for result in results]

    def _send(self, sql: bytes, values: Sequence[object]) -> None:
        if not values:
            self.pgconn.send_query_params(sql, None)
            return
        transformer = self._transformer
        parameters = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
        self.pgconn.send_query_params(sql, parameters, transformer.types, transformer.formats)

    async def _result(self) -> PGresult:
        result = await self._next()
        if result is None or await self._next() is not None:
            raise psycopg.OperationalError("not one result for one statement")
        return result

    async def _next(self) -> PGresult | None:
        while self.pgconn.is_busy():
            await self._ready()
            self.pgconn.consume_input()
            self.note_answer()
        return self.pgconn.get_result()

    async def _ready(self, *, to_write: bool = False) -> None:
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        socket = self.pgconn.socket
        loop.add_reader(socket, _wake, waiter)
        if to_write:
            loop.add_writer(socket, _wake, waiter)
        try:
            await waiter
        finally:
            loop.remove_reader(socket)
            if to_write:
                loop.remove_writer(socket)

    def _failure(self, results: Sequence[PGresult]) -> psycopg.Error | None:
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                return error_from_result(result, encoding=self.info.encoding)
        return None

    def _rows(self, result: PGresult) -> list[TupleRow]:
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(0, result.ntuples, tuple)
        self._transformer.set_pgresult(None)
        return rows


def nothing_to_note() -> None:
    """For a connection outside a pool."""


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _expect(result: PGresult | None, status: ExecStatus) -> None:
    if result is None or result.status != status:
        raise psycopg.OperationalError("the pipeline does not end as it should")
