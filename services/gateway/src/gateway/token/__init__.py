"""Step 2: the bearer token."""
