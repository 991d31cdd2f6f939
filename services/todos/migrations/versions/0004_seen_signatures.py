"""Signed writes that were received.

Only adds: the version before goes on without the table.

Revision: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE seen_signature (
            user_id text NOT NULL CHECK (user_id <> ''),
            proof bytea NOT NULL CHECK (octet_length(proof) = 32),
            expires timestamptz NOT NULL,
            PRIMARY KEY (user_id, proof)
        )
        """
    )
    op.execute("CREATE INDEX seen_signature_to_purge ON seen_signature (expires)")
    op.execute("ALTER TABLE seen_signature ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE seen_signature FORCE ROW LEVEL SECURITY")
    op.execute(
        """
        CREATE POLICY own_rows ON seen_signature
            USING (user_id = nullif(current_setting('app.user_id', true), ''))
            WITH CHECK (user_id = nullif(current_setting('app.user_id', true), ''))
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE seen_signature")
