"""Long work on the event loop, in slices between which everything else has its turn."""

import asyncio
from collections.abc import Generator
from time import perf_counter

SLICE_SECONDS = 0.002


class Slices:
    """Work that is under way at once takes turns: one slice of one piece of work in each turn of the loop.

    In threads it would compete with the loop for the interpreter's lock, a hundredth of a second at a time.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run[Result](self, work: Generator[None, None, Result]) -> Result:
        """Run `work` to its end; each step of it takes a small part of 2 ms. Cancelled, it ends at the next step."""
        try:
            while True:
                async with self._turn:
                    end = perf_counter() + SLICE_SECONDS
                    while perf_counter() < end:
                        next(work)
                    await asyncio.sleep(0)
        except StopIteration as finished:
            result: Result = finished.value
            return result
        finally:
            work.close()
