"""A write is taken once."""

import pytest

from todos.http.replay_cache import ReplayCache, ReplayCacheFullError, ReplayedError


def test_a_proof_is_taken_once_for_as_long_as_it_holds() -> None:
    memory = ReplayCache()
    memory.admit(b"a", expires=130, now=100)
    for now in (100, 130):
        with pytest.raises(ReplayedError):
            memory.admit(b"a", expires=130, now=now)


def test_expired_proofs_are_forgotten_in_whatever_order_they_came() -> None:
    memory = ReplayCache()
    memory.admit(b"late", expires=200, now=100)
    memory.admit(b"early", expires=110, now=100)
    memory.admit(b"other", expires=250, now=111)
    assert len(memory) == 2


def test_a_full_memory_takes_nothing_until_something_expires() -> None:
    memory = ReplayCache(capacity=2)
    memory.admit(b"a", expires=110, now=100)
    memory.admit(b"b", expires=120, now=100)
    with pytest.raises(ReplayCacheFullError):
        memory.admit(b"c", expires=130, now=110)
    with pytest.raises(ReplayedError):
        memory.admit(b"b", expires=120, now=110)
    memory.admit(b"c", expires=130, now=110.5)
