"""Long work leaves the loop to everything else again and again."""

import asyncio
from collections.abc import Generator

import pytest

from runtime.slices import SLICE_SECONDS, Slices


def working(steps: int) -> Generator[None, None, int]:
    """Each step takes a whole slice."""
    loop = asyncio.get_running_loop()
    for _ in range(steps):
        end = loop.time() + SLICE_SECONDS
        while loop.time() < end:
            pass
        yield
    return steps


async def test_the_result_is_that_of_the_work() -> None:
    assert await Slices().run(working(3)) == 3


async def test_whatever_else_is_ready_runs_between_any_two_slices_of_many_works() -> None:
    slices = Slices()
    running = [asyncio.create_task(slices.run(working(5))) for _ in range(4)]
    turns = 0
    while not all(task.done() for task in running):
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 4 * 5


async def test_short_work_does_not_wait_for_the_end_of_long_work() -> None:
    slices = Slices()
    long = asyncio.create_task(slices.run(working(1000)))
    assert await slices.run(working(2)) == 2
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_cancelled_work_is_closed_and_leaves_the_turn_to_others() -> None:
    closed = asyncio.Event()

    def endless() -> Generator[None, None, int]:
        try:
            while True:
                yield from working(1)
        finally:
            closed.set()

    slices = Slices()
    task = asyncio.create_task(slices.run(endless()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
    assert await slices.run(working(1)) == 1


async def test_what_the_work_raises_is_raised() -> None:
    def failing() -> Generator[None, None, int]:
        yield
        raise KeyError

    with pytest.raises(KeyError):
        await Slices().run(failing())
