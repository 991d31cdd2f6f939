"""What a user may hold, and for how long."""

QUOTA = 10_000
"""Live todos of a user."""

IDEMPOTENCY_HOURS = 24
"""How long an idempotency record counts."""

SIGNATURE_MARGIN_SECONDS = 120
"""How long a signature is kept after it expires: longer than the clocks of two replicas behind one gateway can
differ, since each of them takes a signature for 30 s and 5 s before it was made, and a write may then take, which is
recorded a minute after its signature was checked at most."""
