"""What the maintenance role may do: see and delete what is to be purged, and note up to where that went.

It reads no todo's text. Forced row-level security binds it as everybody else; of its two policies on a table one lets
it past `own_rows`, and the other limits it to what may be purged, whichever user it sets.
"""

from typing import NamedTuple

import psycopg
from psycopg import sql

_POLICY, _LIMIT = "maintenance", "maintenance_limit"


class _Access(NamedTuple):
    table: str
    privileges: sql.SQL
    rows: sql.SQL


_ACCESSES = (
    _Access("todo", sql.SQL("SELECT (user_id, id, version, deleted_at), DELETE"), sql.SQL("deleted_at IS NOT NULL")),
    _Access("tombstone", sql.SQL("SELECT (user_id, id, version, deleted_at), DELETE"), sql.SQL("true")),
    _Access("user_state", sql.SQL("SELECT (user_id, purged_seq), UPDATE (purged_seq)"), sql.SQL("true")),
    _Access("seen_signature", sql.SQL("SELECT (user_id, proof, expires), DELETE"), sql.SQL("true")),
    _Access("idempotency", sql.SQL("SELECT (user_id, key, created_at), DELETE"), sql.SQL("true")),
)
_POLICIES_OF = """
SELECT count(*) FROM pg_policies
WHERE schemaname = current_schema() AND policyname = ANY(%s) AND roles = ARRAY[%s]::name[]
"""


def grant(owner: psycopg.Connection, role: str) -> None:
    """Allow `role` to purge, and no other role that was allowed before.

    A policy locks its table, if only for a moment. Each table has a transaction of its own: one that held two such
    locks would block, in another order, a writer that holds what it waits for.
    """
    name = sql.Identifier(role)
    with owner.transaction():
        owner.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(_schema(owner), name))
        granted = is_granted(owner, role)
    for access in _ACCESSES:
        with owner.transaction():
            if not granted:
                _limit(owner, access, name)
            owner.execute(sql.SQL("GRANT {} ON {} TO {}").format(access.privileges, sql.Identifier(access.table), name))


def _limit(owner: psycopg.Connection, access: _Access, role: sql.Identifier) -> None:
    for policy, kind, rows in ((_POLICY, "PERMISSIVE", sql.SQL("true")), (_LIMIT, "RESTRICTIVE", access.rows)):
        table, named = sql.Identifier(access.table), sql.Identifier(policy)
        owner.execute(sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(named, table))
        owner.execute(
            sql.SQL("CREATE POLICY {} ON {} AS {} TO {} USING ({})").format(named, table, sql.SQL(kind), role, rows)
        )


def is_granted(connection: psycopg.Connection, role: str) -> bool:
    """Whether `role` has its policies."""
    found = connection.execute(_POLICIES_OF, [[_POLICY, _LIMIT], role]).fetchone()
    return found == (2 * len(_ACCESSES),)


def _schema(connection: psycopg.Connection) -> sql.Identifier:
    found = connection.execute("SELECT current_schema()").fetchone()
    return sql.Identifier(str(found[0]) if found else "public")
