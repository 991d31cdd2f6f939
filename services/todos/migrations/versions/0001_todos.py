"""Todos, the state of each user, and the wall between users.

Revision: 0001
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ("todo", "user_state")
# Row-level security lets a condition into an index only where nothing in it could leak: coalesce and lower() could,
# by what PostgreSQL knows of them; CASE and a column cannot.
SORTS = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "due_first": "(CASE WHEN due_at IS NULL THEN 'infinity'::timestamptz ELSE due_at END)",
    "due_last": "(CASE WHEN due_at IS NULL THEN '-infinity'::timestamptz ELSE due_at END)",
    "priority": "priority",
    "title": "title_key",
    "order": '"order"',
}


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE user_state (
            user_id text PRIMARY KEY CHECK (user_id <> ''),
            seq bigint NOT NULL CHECK (seq > 0),
            live_count integer NOT NULL CHECK (live_count >= 0)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE todo (
            user_id text NOT NULL CHECK (user_id <> ''),
            id uuid NOT NULL,
            title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
            title_key text COLLATE "C" NOT NULL GENERATED ALWAYS AS (lower(title)) STORED,
            description text NOT NULL CHECK (char_length(description) <= 10000),
            completed boolean NOT NULL,
            priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 4),
            tags text[] NOT NULL CHECK (
                cardinality(tags) <= 20 AND array_position(tags, NULL) IS NULL AND array_position(tags, '') IS NULL
            ),
            due_on date CHECK (due_on IS NULL OR due_at IS NOT NULL),
            due_at timestamptz CHECK (isfinite(due_at)),
            timezone text NOT NULL CHECK (timezone <> ''),
            "order" integer NOT NULL,
            completed_at timestamptz CHECK ((completed_at IS NOT NULL) = completed),
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL CHECK (updated_at >= created_at),
            deleted_at timestamptz,
            version bigint NOT NULL CHECK (version > 0),
            PRIMARY KEY (user_id, id)
        )
        """
    )
    for name, key in SORTS.items():
        for part, condition in (("live", "deleted_at IS NULL"), ("deleted", "deleted_at IS NOT NULL")):
            op.execute(f"CREATE INDEX todo_{part}_by_{name} ON todo (user_id, {key}, id) WHERE {condition}")
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        # after a transaction that set it the setting is empty, not null
        op.execute(
            f"""
            CREATE POLICY own_rows ON {table}
                USING (user_id = nullif(current_setting('app.user_id', true), ''))
                WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''))
            """
        )


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
