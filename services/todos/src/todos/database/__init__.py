"""Connections, pipelines and one user's session."""
