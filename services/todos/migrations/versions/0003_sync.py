"""Sync, idempotency and erasure.

Only adds. The indexes of the large table are built beside readers and writers, outside of a transaction; where
that was interrupted, an invalid one is dropped and built again.

Revision: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = {
    "todo_by_version": "todo (user_id, version)",
    "todo_to_purge": "todo (deleted_at) WHERE deleted_at IS NOT NULL",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, on in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {on}")
    op.execute("ALTER TABLE user_state ADD COLUMN purged_seq bigint NOT NULL DEFAULT 0")
    op.execute(
        """
        CREATE TABLE idempotency (
            user_id text NOT NULL CHECK (user_id <> ''),
            key text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
            digest bytea NOT NULL CHECK (octet_length(digest) = 32),
            answer text NOT NULL,
            version bigint NOT NULL CHECK (version > 0),
            created_at timestamptz NOT NULL,
            PRIMARY KEY (user_id, key)
        )
        """
    )
    op.execute("CREATE INDEX idempotency_to_purge ON idempotency (created_at)")
    op.execute("ALTER TABLE idempotency ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE idempotency FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        CREATE POLICY own_rows ON idempotency
            USING (user_id = nullif(current_setting('app.user_id', true), ''))
            WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''))
        """
    )
    _never_reuse_numbers()


def _never_reuse_numbers() -> None:
    """One number for all: the highest that an erased user had, and nothing about whose it was."""
    op.execute(
        """
        CREATE TABLE erasure (
            only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
            highest bigint NOT NULL
        )
        """
    )
    op.execute("INSERT INTO erasure (highest) VALUES (-1)")
    # a first number is reckoned before its row waits for an erasure to end; the trigger looks after that
    op.execute(
        """
        CREATE FUNCTION refuse_reused_number() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            IF NEW.seq < (SELECT highest + 2 FROM erasure) THEN
                RAISE EXCEPTION 'a number would be used again' USING ERRCODE = 'serialization_failure';
            END IF;
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER refuse_reused_number AFTER INSERT ON user_state
            FOR EACH ROW EXECUTE FUNCTION refuse_reused_number()
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER refuse_reused_number ON user_state")
    op.execute("DROP FUNCTION refuse_reused_number")
    op.execute("DROP TABLE erasure")
    op.execute("DROP TABLE idempotency")
    op.execute("ALTER TABLE user_state DROP COLUMN purged_seq")
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
