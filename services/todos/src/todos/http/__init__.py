"""Requests and responses: parse, run the store, answer."""
