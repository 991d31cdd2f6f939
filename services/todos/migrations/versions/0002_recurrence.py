"""Recurrence: the rule, the todo that followed, and the wall-clock time that the rule keeps.

Only adds, and holds the table for no longer than it takes to note the columns: the scan that validates the
checks runs beside readers and writers, in a transaction of its own. Interrupted there, it can be run again.

Revision: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CHECKS = {
    "todo_recurrence_length": "char_length(recurrence) BETWEEN 1 AND 500",
    "todo_recurrence_needs_due": "recurrence IS NULL OR due_at IS NOT NULL",
    "todo_next_is_another": "next_id <> id",
    "todo_due_wall_finite": "isfinite(due_wall)",
}


def upgrade() -> None:
    changes = [
        "ADD COLUMN IF NOT EXISTS recurrence text",
        "ADD COLUMN IF NOT EXISTS next_id uuid",
        "ADD COLUMN IF NOT EXISTS due_wall timestamp",
        *(f"DROP CONSTRAINT IF EXISTS {name}" for name in CHECKS),
        *(f"ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID" for name, condition in CHECKS.items()),
    ]
    op.execute(f"ALTER TABLE todo {', '.join(changes)}")
    with op.get_context().autocommit_block():
        for name in CHECKS:
            op.execute(f"ALTER TABLE todo VALIDATE CONSTRAINT {name}")


def downgrade() -> None:
    op.execute("ALTER TABLE todo DROP COLUMN recurrence, DROP COLUMN next_id, DROP COLUMN due_wall")
