"""Look up all servers of a kind, pick one, and ask that one.

    python examples/yellow_pages.py tcp:localhost:4646 shouter "who is there?"

asks the largest of the servers of `forwarding_broker.py`, however many are registered, and whatever they are called.
"""

import sys

from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from chatproto.errors import RegistryError
from chatproto.registry import RegistryClient


async def look_up(registry: RegistryClient, kind: str, text: str) -> None:
    servers = await registry.list(kind=kind)
    for server in servers:
        print(f"{server.service}/{server.name} has capacity {server.capacity}")
    if not servers:
        raise SystemExit(f"there is no {kind}")
    picked = max(servers, key=lambda server: server.capacity)
    answer = await registry.call(picked.service, picked.name, text.encode())
    print(f"{picked.name}: {answer.decode()}")


async def run(reactor, endpoint: str, kind: str, text: str) -> None:
    registry = RegistryClient(clientFromString(reactor, endpoint), reactor)
    registry.startService()
    try:
        await look_up(registry, kind, text)
    except RegistryError as error:
        raise SystemExit(f"no answer: {error}") from None
    finally:
        await registry.stopService()


if __name__ == "__main__":
    react(lambda reactor, *arguments: ensureDeferred(run(reactor, *arguments)), sys.argv[1:])
