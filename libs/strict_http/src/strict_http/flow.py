"""Back-pressure on one connection, in both directions."""

import asyncio

MAX_BUFFERED_BYTES = 64 * 1024
"""Of a request that nobody has read yet; beyond it the connection is not read from."""


class Flow:
    """Pauses reading and writing.

    Attributes:
        held: reading stays paused even if something else resumes it.
        write_paused: the client takes less than is written; see `drain`.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.held = False
        self.write_paused = False
        self._transport = transport
        self._read_paused = False
        self._writable = asyncio.Event()

    @property
    def read_paused(self) -> bool:
        return self._read_paused

    def pause_reading(self) -> None:
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._read_paused and not self.held:
            self._read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._writable.set()

    async def drain(self) -> None:
        """Wait until the client has taken enough; for use while `write_paused`."""
        await self._writable.wait()
