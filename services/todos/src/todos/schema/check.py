"""Checks that the database is ready to serve from. A role that row-level security does not bind is refused."""

import asyncio
import logging
from typing import NamedTuple

import psycopg
from psycopg import AsyncConnection
from pydantic import SecretStr
from sqlmodel import SQLModel

from runtime.logs import fields
from runtime.reachability import ServerFault
from runtime.serve import StartRefusedError
from todos.database.pool import CONNECT_SECONDS, Database
from todos.database.reachability import fault_of, target_of
from todos.schema.models import PRIVILEGES, TABLES

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0

log = logging.getLogger("todos.database")

# both names of the session: what it acts as, and what it could become again
_ROLE = """
SELECT coalesce(bool_or(r.rolsuper), false), coalesce(bool_or(r.rolbypassrls), false)
FROM pg_roles r
WHERE (r.rolsuper OR r.rolbypassrls)
  AND (pg_has_role(session_user, r.oid, 'MEMBER') OR pg_has_role(current_user, r.oid, 'MEMBER'))
"""
_TABLES = """
SELECT c.relname,
       pg_has_role(session_user, c.relowner, 'MEMBER') OR pg_has_role(current_user, c.relowner, 'MEMBER'),
       pg_has_role(session_user, n.nspowner, 'MEMBER') OR pg_has_role(current_user, n.nspowner, 'MEMBER'),
       c.relrowsecurity AND c.relforcerowsecurity,
       ARRAY(SELECT privilege FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege
             WHERE has_table_privilege(c.oid, privilege)),
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)
FROM unnest(%s::text[]) AS wanted(name)
JOIN pg_class c ON c.oid = to_regclass(wanted.name)
JOIN pg_namespace n ON n.oid = c.relnamespace
"""


class _Table(NamedTuple):
    name: str
    owned: bool
    schema_owned: bool
    secured: bool
    privileges: list[str]
    columns: list[str]


async def check(url: SecretStr) -> ServerFault | None:
    """Check the role and the schema that `url` leads to.

    Returns:
        None if all is well, or what is missing and may still be created.

    Raises:
        StartRefusedError: the role could get around row-level security, or a table has none.
    """
    text = url.get_secret_value()
    try:
        missing = await _missing(text)
    except psycopg.OperationalError as error:
        return await asyncio.to_thread(fault_of, error, text)
    target = target_of(text)
    return ServerFault(target.host, target.port, missing) if missing else None


async def _missing(url: str) -> str | None:
    connection = await AsyncConnection.connect(
        url, autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_SECONDS
    )
    async with connection:
        role = await (await connection.execute(_ROLE)).fetchone()
        rows = await (await connection.execute(_TABLES, [list(PRIVILEGES)])).fetchall()
    if role:
        _refuse_role(is_superuser=role[0], bypasses=role[1])
    return _judge_tables([_Table(*row) for row in rows])


def _refuse_role(*, is_superuser: bool, bypasses: bool) -> None:
    if is_superuser:
        raise StartRefusedError("the role of TODOS_DATABASE_URL is a superuser, or a member of one")
    if bypasses:
        raise StartRefusedError("the role of TODOS_DATABASE_URL has BYPASSRLS, or is a member of a role that has it")


def _judge_tables(tables: list[_Table]) -> str | None:
    for table in tables:
        if table.owned:
            raise StartRefusedError(
                f"the role of TODOS_DATABASE_URL owns the table {table.name}, or is a member of its owner"
            )
        if table.schema_owned:
            raise StartRefusedError(
                f"the role of TODOS_DATABASE_URL owns the schema of {table.name}, or is a member of its owner"
            )
        if not table.secured and table.name in TABLES:
            raise StartRefusedError(f"row-level security is not enabled and forced on the table {table.name}")
    by_name = {table.name: table for table in tables}
    for name, needed in PRIVILEGES.items():
        found = by_name.get(name)
        if found is None or not set(SQLModel.metadata.tables[name].columns.keys()) <= set(found.columns):
            return "the schema is not there, or older than this version: todos migrate"
        if not needed <= set(found.privileges):
            return f"the role may not read and write the table {name}: todos migrate"
    return None


async def open_when_fit(database: Database, url: SecretStr) -> None:
    """Check again and again until the database is ready, then open the pool.

    Raises:
        StartRefusedError: as `check`.
    """
    pause = FIRST_PAUSE_SECONDS
    while (fault := await check(url)) is not None:
        log.warning("waiting for the database", extra=fields(**fault._asdict()))
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    await database.pool.open()
    database.fit = True
    log.info("database ready")
