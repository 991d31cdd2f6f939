"""A bounded memory of what holds for a while."""

import time
from collections.abc import Callable

from cachetools import LRUCache


class ExpiringLRU[Key, Value]:
    """At most `size` values, each for its own time; where there are more, the least recently used is forgotten."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds since some instant."""
        self._clock = clock
        self._entries: LRUCache[Key, tuple[Value, float]] = LRUCache(size)

    def __len__(self) -> int:
        """How many values are held, those that expired and were not looked up since included."""
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """The value of `key`, if it is held and has not expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, until = entry
        if self._clock() < until:
            return value
        del self._entries[key]
        return None

    def put(self, key: Key, value: Value, seconds: float) -> None:
        """Hold `value` for so long from now, in place of the value that `key` had."""
        self._entries[key] = value, self._clock() + seconds

    def held_keys(self) -> list[Key]:
        """The keys of all values that are held, those that expired and were not looked up since included."""
        return list(self._entries)

    def clear(self) -> None:
        self._entries.clear()
