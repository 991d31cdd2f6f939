"""Writes are taken once."""

import heapq

CAPACITY = 131_072
"""Proofs held at once, about 35 MB: 30 seconds of more writes than one process can take."""


class ReplayedError(Exception):
    """The proof was seen before."""


class ReplayCacheFullError(Exception):
    """No proof can be taken until some have expired."""


class ReplayCache:
    """The proofs of writes, each held until it would be refused for its age anyway.

    `admit` looks and remembers without a pause in between, so that of two equal requests one passes.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._held: set[bytes] = set()
        self._by_expiry: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, proof: bytes, expires: int, now: float) -> None:
        """Remember `proof` until `expires`; times are Unix seconds.

        Raises:
            ReplayedError: it is remembered already.
            ReplayCacheFullError: as many as there is room for are remembered.
        """
        while self._by_expiry and self._by_expiry[0][0] < now:
            self._held.remove(heapq.heappop(self._by_expiry)[1])
        if proof in self._held:
            raise ReplayedError
        if len(self._held) >= self._capacity:
            raise ReplayCacheFullError
        self._held.add(proof)
        heapq.heappush(self._by_expiry, (expires, proof))
