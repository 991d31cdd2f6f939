"""What is shared is shared fairly: nobody takes it from the others, and nothing of it is lost."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runtime.shares import FairShares, ShareExceededError, SharesExhaustedError

AT_ONCE = 0.0
LONG = 60.0


def shares_of(total: int, share: int) -> FairShares:
    """Shares of which nothing is idle."""
    return FairShares(total, share, lambda _after: None)


async def refused(shares: FairShares, user: str, amount: int = 1) -> type[Exception] | None:
    try:
        await shares.take(user, amount, AT_ONCE)
    except (ShareExceededError, SharesExhaustedError) as error:
        return type(error)
    return None


async def test_a_user_holds_its_share_and_no_more() -> None:
    shares = shares_of(512, 64)
    for _ in range(64):
        await shares.take("hog")
    assert await refused(shares, "hog") is ShareExceededError
    assert await refused(shares, "other") is None
    shares.give_back("hog")
    assert await refused(shares, "hog") is None


@given(total=st.integers(4, 600), part=st.integers(1, 16), hogs=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
async def test_however_many_take_all_they_can_something_is_left_for_the_next(total: int, part: int, hogs: int) -> None:
    shares = shares_of(total, max(1, total // part))
    names = [f"hog {number}" for number in range(min(hogs, total // 2 - 1))]
    for _ in range(total):
        for name in names:
            await refused(shares, name)
    assert await refused(shares, "other") is None


async def test_what_becomes_free_goes_to_who_holds_least_and_waits_longest() -> None:
    shares = shares_of(4, 4)
    for user in ("a", "a", "b", "c"):
        await shares.take(user)
    order: list[str] = []

    async def wait(user: str) -> None:
        await shares.take(user, seconds=LONG)
        order.append(user)

    waiting = []
    for user in ("a", "b", "new", "newer"):
        waiting.append(asyncio.create_task(wait(user)))
        await asyncio.sleep(0)
    for user in ("a", "c", "b", "a"):
        shares.give_back(user)
        for _ in range(3):
            await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order == ["new", "newer", "b", "a"]


async def test_a_wait_that_ends_takes_nothing_and_lets_the_next_pass() -> None:
    shares = shares_of(2, 2)
    await shares.take("a", 2)
    large = asyncio.create_task(shares.take("b", 2, LONG))
    await asyncio.sleep(0)
    small = asyncio.create_task(shares.take("c", 1, LONG))
    await asyncio.sleep(0)
    shares.give_back("a")
    large.cancel()
    await asyncio.gather(large, return_exceptions=True)
    await small
    assert (shares.held("b"), shares.held("c"), shares.taken) == (0, 1, 2)


async def test_who_is_granted_as_it_is_cancelled_gives_back() -> None:
    shares = shares_of(1, 1)
    await shares.take("a")
    waiting = asyncio.create_task(shares.take("b", seconds=LONG))
    await asyncio.sleep(0)
    shares.give_back("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (shares.taken, shares.waiting) == (0, 0)


async def test_the_reason_tells_who_is_to_blame() -> None:
    shares = shares_of(1, 1)
    await shares.take("a")
    assert await refused(shares, "a") is ShareExceededError
    assert await refused(shares, "b") is SharesExhaustedError


async def test_a_user_within_its_fair_part_gets_its_place_although_others_came_first() -> None:
    shares = shares_of(100, 50)
    for user, amount in (("a", 50), ("b", 25), ("c", 10)):
        await shares.take(user, amount)
    await shares.take("late", 8)
    assert await refused(shares, "late", 6) is None, "14 of 100 are within a fifth, and 7 are free"
    assert await refused(shares, "c", 1) is None
    assert shares.taken == 100


async def test_a_user_within_its_fair_part_is_not_blamed_where_others_hold_all() -> None:
    shares = shares_of(100, 50)
    for user, amount in (("a", 50), ("b", 25), ("c", 12), ("late", 13)):
        await shares.take(user, amount)
    assert await refused(shares, "late") is SharesExhaustedError
    assert await refused(shares, "b") is ShareExceededError


async def test_who_is_within_its_part_passes_who_is_not() -> None:
    shares = shares_of(20, 10)
    for user, amount in (("a", 10), ("b", 6), ("c", 4)):
        await shares.take(user, amount)
    over = asyncio.create_task(shares.take("b", 3, LONG))
    await asyncio.sleep(0)
    within = asyncio.create_task(shares.take("c", 1, LONG))
    await asyncio.sleep(0)
    shares.give_back("a", 1)
    await within
    assert not over.done()
    shares.give_back("a", 9)
    await over


async def test_relief_is_asked_for_as_long_as_a_user_within_its_part_waits() -> None:
    asked: asyncio.Queue[int] = asyncio.Queue()
    shares = FairShares(10, 9, asked.put_nowait)
    await shares.take("hog", 9)
    await shares.take("b")
    assert await refused(shares, "hog") is ShareExceededError
    assert asked.empty(), "who holds too much waits for what others give back"
    waiting = asyncio.create_task(shares.take("b", 2, LONG))
    for _ in range(3):
        assert await asked.get() == 3
    shares.give_back("hog", 4)
    await waiting


class Sharing(RuleBasedStateMachine):
    """Any order of takes, waits that end and returns: the sums stay right, and nobody waits beside what fits."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.shares = shares_of(8, 3)
        self.held: list[tuple[str, int]] = []
        self.tasks: dict[asyncio.Task[None], tuple[str, int]] = {}

    async def _settle(self) -> None:
        for _ in range(6):
            await asyncio.sleep(0)
        for task in [task for task in self.tasks if task.done()]:
            user, amount = self.tasks.pop(task)
            if not task.cancelled():
                self.held.append((user, amount))

    def run(self, step: object = None) -> None:
        async def go() -> None:
            if callable(step):
                step()
            await self._settle()

        self.runner.run(go())

    @rule(user=st.sampled_from("abcd"), amount=st.integers(1, 3))
    def take(self, user: str, amount: int) -> None:
        def start() -> None:
            self.tasks[asyncio.create_task(self.shares.take(user, amount, LONG))] = (user, amount)

        self.run(start)

    @rule(number=st.integers(0, 50))
    def give_back(self, number: int) -> None:
        if self.held:
            user, amount = self.held.pop(number % len(self.held))
            self.run(lambda: self.shares.give_back(user, amount))

    @rule(number=st.integers(0, 50))
    def cancel(self, number: int) -> None:
        if self.tasks:
            self.run(list(self.tasks)[number % len(self.tasks)].cancel)

    @rule(number=st.integers(0, 50), other=st.integers(0, 50), cancel_first=st.booleans())
    def give_back_as_another_is_cancelled(self, number: int, other: int, *, cancel_first: bool) -> None:
        if self.held and self.tasks:
            user, amount = self.held.pop(number % len(self.held))
            task = list(self.tasks)[other % len(self.tasks)]

            def both() -> None:
                if cancel_first:
                    task.cancel()
                self.shares.give_back(user, amount)
                task.cancel()

            self.run(both)

    @invariant()
    def the_sums_are_right(self) -> None:
        assert self.shares.taken == sum(amount for _, amount in self.held) <= 8
        for user in "abcd":
            held = [amount for name, amount in self.held if name == user]
            assert self.shares.held(user) == sum(held)
            assert len(held) < 2 or sum(held) <= 3
        assert self.shares.waiting == len({user for user, _ in self.tasks.values()})
        assert self.held or not self.tasks, "nobody waits where all is free"

    def teardown(self) -> None:
        async def end() -> None:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

        self.runner.run(end())
        self.runner.close()


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=60, deadline=None)
