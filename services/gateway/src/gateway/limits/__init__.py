"""Step 3: rate limits, shared through Redis, and kept in the process while Redis is unavailable."""
