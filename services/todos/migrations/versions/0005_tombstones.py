"""Tombstones: what stays of a todo that was emptied from the bin.

Only adds: the version before goes on without the table.

Revision: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE tombstone (
            user_id text NOT NULL CHECK (user_id <> ''),
            id uuid NOT NULL,
            deleted_at timestamptz NOT NULL,
            version bigint NOT NULL,
            PRIMARY KEY (user_id, id)
        )
        """
    )
    op.execute("CREATE INDEX tombstone_by_version ON tombstone (user_id, version)")
    op.execute("CREATE INDEX tombstone_to_purge ON tombstone (deleted_at)")
    op.execute("ALTER TABLE tombstone ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tombstone FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        CREATE POLICY own_rows ON tombstone
            USING (user_id = nullif(current_setting('app.user_id', true), ''))
            WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''))
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE tombstone")
