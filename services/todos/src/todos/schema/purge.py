"""`todos purge`: deletes for good what can no longer be restored or repeated."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict

from todos.database.pool import CONNECT_SECONDS
from todos.database.reachability import fault_of
from todos.schema.limits import IDEMPOTENCY_HOURS, SIGNATURE_MARGIN_SECONDS
from todos.schema.maintenance_role import is_granted
from todos.settings import PurgeSettings

BATCH_ROWS = 1000
"""Rows of one transaction at most, so that no writer waits for longer than a few milliseconds."""

_ADVISORY_LOCK = 7_305_160_212_734_002

_CUTOFFS = """
SELECT now() - make_interval(days => %s), now() - make_interval(hours => %s), now() - make_interval(secs => %s)
"""
_TIME_OUT = "SET LOCAL statement_timeout = '60s'"
_TURN = "SELECT pg_advisory_xact_lock(%s)"
# lock users first, in the order of every writer; after the wait we see their committed changes
_LOCK_USERS = """
SELECT user_id FROM user_state
WHERE user_id IN (SELECT user_id FROM {table} WHERE deleted_at < %(before)s ORDER BY deleted_at LIMIT %(rows)s)
ORDER BY user_id
FOR UPDATE
"""
_PURGE_DELETED = """
WITH gone AS (
    DELETE FROM {table}
    WHERE deleted_at < %(before)s AND (user_id, id) IN (
        SELECT user_id, id FROM {table}
        WHERE user_id = ANY(%(users)s) AND deleted_at < %(before)s
        ORDER BY deleted_at LIMIT %(rows)s
    )
    RETURNING user_id, version
), raised AS (
    UPDATE user_state SET purged_seq = greatest(purged_seq, highest.version)
    FROM (SELECT user_id, max(version) AS version FROM gone GROUP BY user_id) AS highest
    WHERE user_state.user_id = highest.user_id
)
SELECT count(*) FROM gone
"""
_PURGE_RECORDS = """
WITH gone AS (
    DELETE FROM idempotency
    WHERE created_at < %(before)s AND (user_id, key) IN (
        SELECT user_id, key FROM idempotency WHERE created_at < %(before)s ORDER BY created_at LIMIT %(rows)s
    )
    RETURNING 1
)
SELECT count(*) FROM gone
"""
_PURGE_SIGNATURES = """
WITH gone AS (
    DELETE FROM seen_signature
    WHERE expires < %(before)s AND (user_id, proof) IN (
        SELECT user_id, proof FROM seen_signature WHERE expires < %(before)s ORDER BY expires LIMIT %(rows)s
    )
    RETURNING 1
)
SELECT count(*) FROM gone
"""

type Batch = Callable[[psycopg.Connection, datetime, int], int | None]


class PurgeError(Exception):
    """The job could not go on; the message says why, for a person. What it did so far stays done."""


def purge(settings: PurgeSettings, batch_rows: int = BATCH_ROWS) -> Iterator[str]:
    """Delete expired tombstones, idempotency records and signatures, in batches of one transaction each.

    Yields a line for each batch and a total.

    Any number may run at once: their batches take turns.

    Raises:
        PurgeError: it may be run again.
    """
    url = settings.maintenance_database_url.get_secret_value()
    role = str(conninfo_to_dict(url)["user"])
    try:
        with psycopg.connect(
            url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=CONNECT_SECONDS,
            application_name="todos purge",
        ) as connection:
            if not is_granted(connection, role):
                raise PurgeError("the role has no policies of its own: todos migrate, with this setting")
            ages = [settings.tombstone_days, IDEMPOTENCY_HOURS, SIGNATURE_MARGIN_SECONDS]
            found = connection.execute(_CUTOFFS, ages).fetchone()
            assert found  # noqa: S101 - a SELECT without FROM
            for name, batch, before in (
                ("tombstones", partial(_deleted, "todo"), found[0]),
                ("emptied todos", partial(_deleted, "tombstone"), found[0]),
                ("idempotency records", partial(_records, _PURGE_RECORDS), found[1]),
                ("seen signatures", partial(_records, _PURGE_SIGNATURES), found[2]),
            ):
                yield from _in_batches(connection, name, batch, before, batch_rows)
    except psycopg.Error as error:
        raise PurgeError(_REASONS.get(str(error.sqlstate)) or f"database at {fault_of(error, url)}") from None


def _in_batches(connection: psycopg.Connection, name: str, batch: Batch, before: datetime, rows: int) -> Iterator[str]:
    total = 0
    while True:
        with connection.transaction():
            connection.execute(_TURN, [_ADVISORY_LOCK])
            # after the wait for its turn: the time limit is that of one batch, however many others wait
            connection.execute(_TIME_OUT)
            deleted = batch(connection, before, rows)
        if deleted is None:
            break
        total += deleted
        yield f"{name}: {total} so far"
    yield f"{name}: {total} purged, of before {before:%Y-%m-%d %H:%M:%S%z}"


def _deleted(table: LiteralString, connection: psycopg.Connection, before: datetime, rows: int) -> int | None:
    lock, purge_rows = _LOCK_USERS.format(table=table), _PURGE_DELETED.format(table=table)
    users = [user for (user,) in connection.execute(lock, {"before": before, "rows": rows})]
    if not users:
        return None
    found = connection.execute(purge_rows, {"before": before, "rows": rows, "users": users}).fetchone()
    return int(found[0]) if found else 0


def _records(statement: LiteralString, connection: psycopg.Connection, before: datetime, rows: int) -> int | None:
    found = connection.execute(statement, {"before": before, "rows": rows}).fetchone()
    return int(found[0]) or None if found else None


_REASONS = {
    "42501": "the role may not do that: todos migrate, with this setting",
    "42P01": "the schema is not there: todos migrate",
}
