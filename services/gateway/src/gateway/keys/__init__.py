"""The identity provider's keys: which are taken, and how they are kept."""
