"""Event loops that are held up at the worst moment."""

import asyncio
import socket
import time
from collections.abc import Callable


async def hold_up(seconds: float, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Keep the loop from turning, as if the process had been stopped; call it under uvloop.

    It happens behind the loop's look at its sockets and before its timers: what `meanwhile` causes to be sent is
    still unread when a timer that is due by then runs. asyncio's own loop would read it first.
    """
    loop = asyncio.get_running_loop()
    held = loop.create_future()
    reading, writing = socket.socketpair()

    def stall() -> None:
        loop.remove_reader(reading)
        meanwhile()
        time.sleep(seconds)
        held.set_result(None)

    with reading, writing:
        loop.add_reader(reading, stall)
        writing.send(b"now")
        await held
