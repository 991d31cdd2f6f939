"""The version that a successor was made with, so that taking a completion back deletes it only where it is unchanged.

Only adds: of what the version before completes, the column is null.

Revision: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE todo ADD COLUMN next_version bigint")


def downgrade() -> None:
    op.execute("ALTER TABLE todo DROP COLUMN next_version")
