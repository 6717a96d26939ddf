"""Ask a server through the registry, which passes the request on, and its answer back: no address is needed.

    twistd -n chatserver --role=registry
    python examples/forwarding_broker.py tcp:localhost:4646 serve Ada
    python examples/forwarding_broker.py tcp:localhost:4646 call Ada "who is there?"

Where the server is not there, refuses, or dies before it has answered, the answer is a negative one, at once.
"""

import sys

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import react

from chatproto.errors import RegistryError, Rejected
from chatproto.messaging import SequentialServer
from chatproto.registry import Registration, RegistryClient


def shout(payload: bytes) -> bytes:
    """Answer a request; whatever this raises is told to the caller as `rejected`."""
    if not payload:
        raise Rejected("nothing-to-say")
    return payload.upper()


async def serve(registry: RegistryClient, name: str, capacity: str = "1") -> None:
    shouting = SequentialServer(shout, waiting_max=10)
    what = Registration("shouting", name, kind="shouter", capacity=int(capacity))
    await registry.register(what, token=name.encode(), serve=shouting.serve)
    print(f"{name} takes calls", flush=True)
    await Deferred()


async def call(registry: RegistryClient, name: str, text: str) -> None:
    answer = await registry.call("shouting", name, text.encode())
    print(f"{name}: {answer.decode()}")


async def run(reactor, endpoint: str, act: str, *arguments: str) -> None:
    registry = RegistryClient(clientFromString(reactor, endpoint), reactor)
    registry.startService()
    try:
        await {"serve": serve, "call": call}[act](registry, *arguments)
    except RegistryError as error:
        raise SystemExit(f"no answer: {error}") from None


if __name__ == "__main__":
    react(lambda reactor, *arguments: ensureDeferred(run(reactor, *arguments)), sys.argv[1:])
