"""Servers that a test can script: an HTTP server that answers any bytes, a provider that signs any token."""
