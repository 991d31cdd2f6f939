"""What is remembered is bounded, and holds for its own time and no longer."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from gateway.expiring_lru import ExpiringLRU

SIZE = 3
keys = st.integers(0, 4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.integers(-1, 5)),
        st.tuples(st.just("get"), keys, st.just(0)),
        st.tuples(st.just("pass"), st.just(0), st.integers(0, 3)),
    ),
    max_size=60,
)


@dataclass
class Model:
    """The same promise in its slowest form: a list, the least recently used first."""

    now: float = 0
    entries: list[tuple[int, int, float]] = field(default_factory=list)

    def put(self, key: int, value: int, seconds: float) -> None:
        self.entries = [entry for entry in self.entries if entry[0] != key]
        self.entries = [*self.entries, (key, value, self.now + seconds)][-SIZE:]

    def get(self, key: int) -> int | None:
        found = [entry for entry in self.entries if entry[0] == key]
        self.entries = [entry for entry in self.entries if entry[0] != key]
        if not found or found[0][2] <= self.now:
            return None
        self.entries += found
        return found[0][1]


@given(steps)
def test_a_value_is_held_for_its_time_unless_more_than_the_size_were_used_since(
    steps: list[tuple[str, int, int]],
) -> None:
    model = Model()
    memory: ExpiringLRU[int, int] = ExpiringLRU(SIZE, clock=lambda: model.now)
    for number, (step, key, seconds) in enumerate(steps):
        match step:
            case "put":
                model.put(key, number, seconds)
                memory.put(key, number, seconds)
            case "get":
                assert memory.get(key) == model.get(key)
            case _:
                model.now += seconds
        assert len(memory) == len(model.entries) <= SIZE


def test_the_keys_held_are_those_in_memory_and_looking_at_them_uses_none() -> None:
    memory: ExpiringLRU[int, int] = ExpiringLRU(2)
    for key in (1, 2):
        memory.put(key, key, 60)
    assert memory.held_keys() == [1, 2]
    memory.put(3, 3, 60)
    assert memory.held_keys() == [2, 3]


def test_a_cleared_memory_holds_nothing() -> None:
    memory: ExpiringLRU[int, int] = ExpiringLRU(SIZE)
    memory.put(1, 1, 60)
    memory.clear()
    assert (memory.get(1), len(memory)) == (None, 0)
