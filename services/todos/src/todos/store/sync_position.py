"""How far a client has followed the changes."""

from typing import NamedTuple


class SyncPosition(NamedTuple):
    """The client has seen every change up to `number`.

    During an initial sync, `began` is the user's latest number when it started: up to there only live todos are listed,
    since the client holds nothing that could have been deleted.
    """

    number: int
    began: int | None = None

    @property
    def needs(self) -> int:
        """The number after which no tombstone may be missing."""
        return max(self.number, self.began or 0)


BEGINNING = SyncPosition(0)
"""The position of a client that holds nothing."""
