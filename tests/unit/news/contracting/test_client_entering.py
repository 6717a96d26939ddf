from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.contracting.client import ContractClient
from chatproto.news.contracting.messages import Enter, Entered, Offer, Propose, Where, decode_from_reader
from chatproto.news.messages import encode
from chatproto.news.terms import Terms
from chatproto.wire import FrameBuffer
from tests.unit.transports import Transport


class EnteringTests(SynchronousTestCase):
    def test_what_is_asked_as_soon_as_something_is_answered_is_asked_once(self) -> None:
        reactor = MemoryReactorClock()
        client = ContractClient(TCP4ClientEndpoint(reactor, "clerk", 4848), reactor, "anna", "secret")
        client.startService()
        reactor.advance(0)
        factory = reactor.tcpClients[0][2]
        link = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4848))
        transport = Transport()
        link.makeConnection(transport)

        async def ask() -> None:
            await client.enter()
            await client.propose(Terms(("sport",)))
            await client.where()

        asking: Deferred[Any] = Deferred.fromCoroutine(ask())
        reactor.advance(0)
        link.dataReceived(encode(Entered("clerk")))
        reactor.advance(0)
        link.dataReceived(encode(Offer(1, (Terms(("gossip",)),))))
        reactor.advance(0)
        self.assertNoResult(asking)
        frames = FrameBuffer(1 << 20).feed(b"".join(transport.writes))
        self.assertEqual([type(decode_from_reader(frame)) for frame in frames], [Enter, Propose, Where])
        asking.addErrback(lambda _: None)
        client.stopService()
