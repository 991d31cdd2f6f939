"""The identity provider's keys: fetched, checked and cached."""
