"""The public gateway: shape, token, limits, forward."""
