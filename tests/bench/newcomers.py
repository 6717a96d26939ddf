"""Newcomers: how long do those wait who connect, from addresses of their own, while a server is flooded?"""

import asyncio
import time

LANES = 10
EACH_S = 0.2
WAIT_S_MAX = 30.0
HELLO = b'{"type":"hello","version":1,"history":"none"}\n'


def elsewhere(lane: int) -> str:
    """Return the address of somebody who does no harm."""
    return f"127.0.2.{1 + lane}"


async def _welcomed(host: str, port: int, lane: int) -> None:
    reader, writer = await asyncio.open_connection(host, port, local_addr=(elsewhere(lane), 0))
    try:
        writer.write(HELLO)
        if b'"welcome"' not in await reader.readline():
            raise ConnectionError("not welcomed")
    finally:
        writer.close()


async def _lane(host: str, port: int, lane: int, end: float, waits: list[float]) -> None:
    await asyncio.sleep(EACH_S * lane / LANES)
    while (begin := time.monotonic()) < end:
        try:
            await asyncio.wait_for(_welcomed(host, port, lane), WAIT_S_MAX)
            waits.append(time.monotonic() - begin)
        except (OSError, TimeoutError):
            waits.append(WAIT_S_MAX)
        await asyncio.sleep(EACH_S)


def newcomers(host: str, port: int, seconds: float) -> list[float]:
    """Have ten at a time come, for so many seconds; return how long each waited for its `welcome`, sorted.

    Who is turned away, or waits longer than 30 s, counts as 30 s.
    """

    async def come() -> list[float]:
        waits: list[float] = []
        end = time.monotonic() + seconds
        await asyncio.gather(*(_lane(host, port, lane, end, waits) for lane in range(LANES)))
        return sorted(waits)

    return asyncio.run(come())
