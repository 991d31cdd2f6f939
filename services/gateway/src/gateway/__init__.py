"""The public gateway: checks a request, authenticates it, limits it, forwards it."""
