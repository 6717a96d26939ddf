"""A server that is found by its name, wherever it runs: ask the registry where it is, then talk to it directly.

twistd -n chatserver --role=registry
python examples/name_service.py tcp:localhost:4646 serve Ada
python examples/name_service.py tcp:localhost:4646 visit Ada
"""

import sys

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, clientFromString, connectProtocol
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from chatproto.errors import RegistryError
from chatproto.registry import Registration, RegistryClient


class Host(LineOnlyReceiver):
    def connectionMade(self):
        self.sendLine(f"{self.factory.name} says hello".encode())
        self.transport.loseConnection()


class Visitor(LineOnlyReceiver):
    def __init__(self):
        self.heard = Deferred()

    def lineReceived(self, line):
        self.heard.callback(line.decode())


async def serve(reactor, registry, name):
    factory = Factory.forProtocol(Host)
    factory.name = name
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    where = Registration("greeting", name, kind="greeter", address=f"127.0.0.1:{port.getHost().port}")
    await registry.register(where, token=b"a secret of the server's")
    print(f"{name} is at {where.address}", flush=True)
    await Deferred()  # The registration is renewed until the program ends, and for a lease it outlives that.


async def visit(reactor, registry, name):
    found = await registry.resolve("greeting", name)
    print(await (await connectProtocol(clientFromString(reactor, f"tcp:{found.address}"), Visitor())).heard)


async def run(reactor, endpoint, act, name):
    registry = RegistryClient(clientFromString(reactor, endpoint), reactor)
    registry.startService()
    try:
        await {"serve": serve, "visit": visit}[act](reactor, registry, name)
    except RegistryError as error:
        raise SystemExit(f"{name} is not there: {error}") from None


if __name__ == "__main__":
    react(lambda reactor, *arguments: ensureDeferred(run(reactor, *arguments)), sys.argv[1:])
