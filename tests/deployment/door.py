"""Lets a test in: passes on what comes to a port to an address that only containers reach.

`python door.py 9001=todos:9001 …` runs until it is told to end.
"""

import asyncio
import contextlib
import sys


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def open_door(listening: int, host: str, port: int) -> None:
    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inside, outside = await asyncio.open_connection(host, port)
            try:
                await asyncio.gather(copy(reader, outside), copy(inside, writer))
            finally:
                outside.close()
        finally:
            writer.close()

    server = await asyncio.start_server(enter, port=listening)
    await server.serve_forever()


async def main(doors: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for door in doors:
            listening, _, target = door.partition("=")
            host, _, port = target.partition(":")
            group.create_task(open_door(int(listening), host, int(port)))


asyncio.run(main(sys.argv[1:]))
