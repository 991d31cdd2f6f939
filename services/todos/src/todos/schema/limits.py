"""What a user may hold, and for how long."""

QUOTA = 10_000
"""Live todos of a user."""

IDEMPOTENCY_HOURS = 24
"""How long an idempotency record counts."""
