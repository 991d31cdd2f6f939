"""How far a client has followed the changes."""

from typing import NamedTuple


class SyncPosition(NamedTuple):
    """Everything up to `number` was told; while a first sync goes on, also where the numbers were as it began.

    Up to there a first sync is told of live todos alone: its client holds nothing that could have been deleted.
    """

    number: int
    began: int | None = None

    @property
    def needs(self) -> int:
        """The number after which no tombstone may be missing."""
        return max(self.number, self.began or 0)


BEGINNING = SyncPosition(0)
"""Of a client that holds nothing."""
