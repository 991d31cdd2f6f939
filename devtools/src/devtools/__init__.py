"""The local stack, its identity provider and the checks of the workspace."""
