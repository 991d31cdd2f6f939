"""Several statements in one round trip, and what ends one."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg.errors import AdminShutdown, DivisionByZero

from todos.database.pipeline import PipelinedConnection
from todos.database.pool import connection_options

PID = (b"SELECT pg_backend_pid()", ())


async def connect(url: str) -> PipelinedConnection:
    return await PipelinedConnection.connect(url, **connection_options(5))


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[PipelinedConnection]:
    opened = await connect(database_url)
    yield opened
    await opened.close()


async def test_each_statement_gives_its_rows_in_order(connection: PipelinedConnection) -> None:
    assert await connection.round_trip(
        (b"SELECT $1::int, $2::text[]", (7, ["ä", "b"])),
        (b"BEGIN", ()),
        (b"SELECT n FROM generate_series(1, 3) n", ()),
        (b"SELECT 1 WHERE false", ()),
        (b"COMMIT", ()),
    ) == [[(7, ["ä", "b"])], [], [(1,), (2,), (3,)], [], []]
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def test_more_than_any_buffer_holds_goes_both_ways_at_once(connection: PipelinedConnection) -> None:
    texts = [letter * 3_000_000 for letter in "abcdef"]
    echoed = await connection.round_trip(*((b"SELECT $1::text", (text,)) for text in texts))
    assert echoed == [[(text,)] for text in texts]


async def test_an_error_of_the_server_undoes_what_was_before_and_leaves_the_connection(
    connection: PipelinedConnection,
) -> None:
    pid = await connection.round_trip(PID)
    with pytest.raises(DivisionByZero):
        await connection.round_trip(
            (b"SELECT set_config('app.user_id', 'alice', false)", ()),
            (b"SELECT 1 / $1::int", (0,)),
            (b"SELECT set_config('app.user_id', 'bob', false)", ()),
        )
    assert await connection.round_trip(PID) == pid
    assert await connection.round_trip((b"SELECT nullif(current_setting('app.user_id', true), '')", ())) == [[(None,)]]


async def test_a_value_that_cannot_be_sent_closes_the_connection(connection: PipelinedConnection) -> None:
    with pytest.raises(psycopg.DataError):
        await connection.round_trip((b"SELECT $1::text", ("\0",)))
    assert connection.closed


async def test_a_cancelled_round_trip_closes_the_connection(
    connection: PipelinedConnection, superuser: psycopg.Connection
) -> None:
    (((pid,),),) = await connection.round_trip(PID)
    waiting = asyncio.create_task(connection.round_trip((b"SELECT pg_sleep(30)", ())))
    running = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    while not superuser.execute(running, [pid]).rowcount:  # noqa: ASYNC110 - only the server knows
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert connection.closed
    superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


async def test_psycopg_may_use_the_connection_in_between(connection: PipelinedConnection) -> None:
    pid = await connection.round_trip(PID)
    await connection.round_trip((b"BEGIN", ()))
    await connection.rollback()
    assert await connection.round_trip(PID) == pid
    assert [await (await connection.execute(b"SELECT pg_backend_pid()")).fetchall()] == pid
    assert await connection.round_trip(PID) == pid


async def test_a_round_trip_to_a_server_that_has_hung_up_ends_at_once(
    connection: PipelinedConnection, superuser: psycopg.Connection
) -> None:
    (((pid,),),) = await connection.round_trip(PID)
    superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(psycopg.OperationalError):
        await connection.round_trip(PID)
    assert connection.closed


async def test_a_server_that_hangs_up_during_a_round_trip_is_asked_for_its_reason(
    connection: PipelinedConnection, superuser: psycopg.Connection
) -> None:
    (((pid,),),) = await connection.round_trip(PID)
    waiting = asyncio.create_task(connection.round_trip((b"BEGIN", ()), (b"SELECT pg_sleep(30)", ()), (b"COMMIT", ())))
    running = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    while not superuser.execute(running, [pid]).rowcount:  # noqa: ASYNC110 - only the server knows
        await asyncio.sleep(0)
    superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(AdminShutdown):
        await waiting
    assert connection.closed


async def test_a_transaction_that_the_server_ended_for_idling_is_a_lost_connection(
    connection: PipelinedConnection, superuser: psycopg.Connection
) -> None:
    (((pid,),),) = await connection.round_trip(PID)
    await connection.round_trip((b"BEGIN", ()), (b"SET LOCAL idle_in_transaction_session_timeout = 1", ()))
    while superuser.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).rowcount:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    with pytest.raises(psycopg.OperationalError):
        await connection.round_trip(PID, (b"COMMIT", ()))
    assert connection.closed


async def test_connections_come_and_go_on_the_same_socket_numbers(
    database_url: str, superuser: psycopg.Connection
) -> None:
    numbers = set()
    for turn in range(6):
        connection = await connect(database_url)
        numbers.add(connection.fileno())
        (((pid,),),) = await connection.round_trip(PID)
        if turn % 2:
            superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            with pytest.raises(psycopg.OperationalError):
                await connection.round_trip(PID)
        await connection.close()
    assert len(numbers) < 6
