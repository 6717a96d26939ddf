"""A desk where contracts are made, and a stand-in for it: the same program, by what it is given.

python stand_in.py REGISTRY PORT          the master
python stand_in.py REGISTRY PORT MASTER   serves while nothing at port MASTER says that it is alive
"""

import sys

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from zope.interface import implementer

from chatproto.monitor import IAlive, IPlace, IStandIn, MonitorService
from chatproto.registry import Registration, RegistryClient

HOST = "127.0.0.1"


class Customer(LineOnlyReceiver):
    """Says `alive?`, or `open` and, in its own time, `sign`."""

    def connectionMade(self):
        self.gone = Deferred()

    def lineReceived(self, line):
        if line == b"open":
            self.factory.open.add(self)
        self.sendLine({b"alive?": b"alive", b"open": b"opened", b"sign": b"signed"}.get(line, b"what?"))
        if line == b"sign":
            self.transport.loseConnection()

    def connectionLost(self, reason):
        self.factory.open.discard(self)
        self.gone.callback(None)


class Question(LineOnlyReceiver):
    def connectionMade(self):
        self.answered = Deferred(lambda _: self.transport.abortConnection())
        self.sendLine(b"alive?")

    def lineReceived(self, line):
        self.transport.loseConnection()
        self.answered.callback(line)

    def connectionLost(self, reason):
        if not self.answered.called:
            self.answered.errback(reason)


@implementer(IAlive, IStandIn, IPlace)
class Desk:
    def __init__(self, reactor, registry, name, port, master=0):
        self.reactor, self.registry, self.name, self.port, self.master = reactor, registry, name, port, master
        self.customers = Factory.forProtocol(Customer)
        self.customers.open = set()

    def ask(self):
        asking = connectProtocol(TCP4ClientEndpoint(self.reactor, HOST, self.master), Question())
        return asking.addCallback(lambda question: question.answered)

    @inlineCallbacks
    def activate(self):
        self.listening = yield TCP4ServerEndpoint(self.reactor, self.port, interface=HOST).listen(self.customers)

    def stand_down(self):  # nobody new, and whoever has begun goes on to the end
        stopping = [self.listening.stopListening(), *(customer.gone for customer in self.customers.open)]
        return gatherResults([waiting for waiting in stopping if waiting is not None])

    def take(self):
        epoch = 2 if self.master else 1  # the stand-in is found first
        found = Registration("contracts", self.name, "desk", f"{HOST}:{self.port}", "leader", epoch)
        return self.registry.register(found, self.name.encode())

    def give_back(self):
        return self.registry.withdraw("contracts", self.name)


def main(reactor, registry, port, master="0"):
    client = RegistryClient(TCP4ClientEndpoint(reactor, HOST, int(registry)), reactor)
    client.startService()
    if int(master):
        desk = Desk(reactor, client, "stand-in", int(port), int(master))
        monitor = MonitorService(reactor, desk, desk, desk, ask_every_s=0.2, dead_after_s=1.0)
        monitor.heard = lambda change: print(change.state.name, flush=True)
        monitor.startService()
    else:
        desk = Desk(reactor, client, "master", int(port))
        desk.activate().addCallback(lambda _: desk.take()).addErrback(lambda failure: failure.printTraceback())
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
