"""Nobody misses a deadline because this process did not run."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import cast

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from strict_http.deadline import LEAST_SECONDS, Deadline, time_limit


class FakeLoop:
    """A loop whose clock a test moves: `pass_once` runs what is due by then, as one iteration would."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None], FakeHandle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> "FakeHandle":
        handle = FakeHandle()
        self.timers.append((when, callback, handle))
        return handle

    def pass_once(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, callback, handle in due:
            if not handle.cancelled:
                callback()


class FakeHandle:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def deadline_on(loop: FakeLoop) -> tuple[Deadline, list[float]]:
    missed: list[float] = []
    return Deadline(cast(asyncio.AbstractEventLoop, loop), lambda: missed.append(loop.now)), missed


@given(st.floats(0.01, 20), st.lists(st.floats(0.0001, 30), min_size=1, max_size=40))
def test_a_deadline_that_comes_late_gives_that_time_back_once_and_is_missed_after_one_more_pass(
    seconds: float, iterations: list[float]
) -> None:
    loop = FakeLoop()
    deadline, missed = deadline_on(loop)
    deadline.set(seconds)
    due, looks = seconds, 0
    for passed in iterations:
        loop.pass_once(passed)
        if loop.now < due:
            assert missed == []
            continue
        late, looks = loop.now - due, looks + 1
        if looks == 3 or (looks == 2 and late <= LEAST_SECONDS):
            assert missed == [loop.now]
            return
        assert missed == []
        due = loop.now + max(LEAST_SECONDS, min(late, seconds) if looks == 1 else 0)


@given(st.lists(st.tuples(st.sampled_from(["set", "clear", "stop"]), st.floats(0.01, 5), st.floats(0, 9)), max_size=30))
def test_only_the_last_time_that_was_allowed_counts(steps: list[tuple[str, float, float]]) -> None:
    loop = FakeLoop()
    deadline, missed = deadline_on(loop)
    due = float("inf")
    for step, seconds, passed in steps:
        match step:
            case "set":
                deadline.set(seconds)
                due = loop.now + seconds
            case "clear":
                deadline.clear()
                due = float("inf")
            case _:
                deadline.stop()
                due = float("inf")
        loop.pass_once(passed)
        loop.pass_once(0.0)
        assert not missed or missed[-1] >= due
        missed.clear()
    deadline.stop()
    assert all(handle.cancelled for _, _, handle in loop.timers)


def test_without_a_stall_it_is_missed_at_its_time() -> None:
    loop = FakeLoop()
    deadline, missed = deadline_on(loop)
    deadline.set(1)
    while not missed:
        loop.pass_once(LEAST_SECONDS)
    assert 1 <= missed[0] <= 1 + 4 * LEAST_SECONDS


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_came_while_the_loop_was_held_up_is_read_before_the_time_is_over(
    run: Callable[[Coroutine[None, None, None]], None],
) -> None:
    async def read_behind_a_stall() -> None:
        reading, writing = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=reading)
        for _ in range(10):
            async with time_limit(0.02):
                arriving = asyncio.ensure_future(reader.readexactly(2))
                await asyncio.sleep(0)
                writing.send(b"ok")
                time.sleep(0.05)  # noqa: ASYNC251 - it is the loop that must not turn
                assert await arriving == b"ok"
        writing.close()
        writer.close()
        await writer.wait_closed()

    run(read_behind_a_stall())


async def test_what_does_not_come_in_time_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        async with time_limit(0.01):
            await never()
    assert cancelled.is_set()


async def test_a_block_that_is_cancelled_from_outside_is_not_timed_out() -> None:
    async def limited() -> None:
        async with time_limit(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(limited())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
