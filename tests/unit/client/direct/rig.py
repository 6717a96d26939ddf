"""A client's direct connections between transports that remember, and a home that answers when the test says so."""

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.client.direct.link import DirectLink
from chatproto.client.direct.messages import Call, DirectMessage, decode_line, encode
from chatproto.client.direct.service import DirectMessages
from chatproto.client.direct.settings import DirectSettings
from chatproto.client.events import ContactExpected, ContactFound, Delivered, Event, PrivateSaid, Welcomed
from chatproto.client.once import Once
from chatproto.link import Turn
from chatproto.tally import Tally
from tests.unit.transports import Transport
from tests.unit.turns import TurnClock

NOW = 1700000000.0


class FakeHome:
    """A client without a server.

    Attributes:
        asked: whose address was asked for, and not answered yet.
        relays: what was to be relayed, and was not yet: id, to whom, what.
        told: what listeners heard.
        at_relay: called, once, when something is to be relayed.
        at_tell: called, once, when listeners hear something.
    """

    def __init__(self) -> None:
        self.identity = ""
        self.asked: list[tuple[str, Deferred[ContactFound]]] = []
        self.relays: list[tuple[str, str, str, Deferred[int]]] = []
        self.told: list[Event] = []
        self.at_relay: Callable[[], None] | None = None
        self.at_tell: Callable[[], object] | None = None

    def contact(self, identity: str) -> "Deferred[ContactFound]":
        answer: Deferred[ContactFound] = Deferred()
        self.asked.append((identity, answer))
        return answer

    def relay(self, id: str, to: str, content: str) -> "Deferred[int]":
        answer: Deferred[int] = Deferred()
        if self.at_relay is not None:
            call, self.at_relay = self.at_relay, None
            call()
        self.relays.append((id, to, content, answer))
        return answer

    def tell(self, event: Event) -> None:
        self.told.append(event)
        if self.at_tell is not None:
            call, self.at_tell = self.at_tell, None
            call()


@implementer(IStreamClientEndpoint)
class FakeEndpoint:
    """Connects when the test says so."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.factory: Any = None
        self.connecting: Deferred[Any] = Deferred()

    def connect(self, factory: Any) -> "Deferred[Any]":
        self.factory = factory
        return self.connecting


class FakePort:
    def __init__(self, number: int) -> None:
        self.number = number
        self.stopped = 0

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "0.0.0.0", self.number)

    def stopListening(self) -> None:
        self.stopped += 1


@implementer(IStreamServerEndpoint)
class FakeListening:
    def __init__(self, number: int = 7000) -> None:
        self.port = FakePort(number)
        self.factory: Any = None

    def listen(self, factory: Any) -> "Deferred[Any]":
        self.factory = factory
        return succeed(self.port)


class End:
    """The test's end of a connection: what the other side said, and whether it still listens."""

    def __init__(self, link: DirectLink, turn: "DirectTestCase") -> None:
        self.link = link
        self.case = turn
        self.transport = Transport()
        self._read = 0
        link.makeConnection(self.transport)  # type: ignore[arg-type]

    def said(self) -> list[DirectMessage]:
        """Return what it said since this was asked last."""
        self.case.clock.turn()
        data = b"".join(self.transport.writes)
        fresh, self._read = data[self._read :], len(data)
        return [decode_line(line) for line in fresh.split(b"\n")[:-1]]

    def say(self, *messages: DirectMessage) -> None:
        self.link.dataReceived(b"".join(map(encode, messages)))
        self.case.clock.turn()

    @property
    def ended(self) -> str:
        """How: not at all, `lose` or `abort`."""
        self.case.clock.turn()
        return next((call for call in self.transport.calls if call in ("lose", "abort")), "")

    def lose(self) -> None:
        """The connection breaks."""
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.link.connectionLost(Failure(ConnectionLost()))
        self.case.clock.turn()


class DirectTestCase(SynchronousTestCase):
    """The direct connections of `eve`."""

    settings = DirectSettings()

    def setUp(self) -> None:
        self.clock = TurnClock()
        self.home = FakeHome()
        self.once = Once(1000)
        self.endpoints: list[FakeEndpoint] = []
        self.tally = Tally()
        self.direct = DirectMessages(
            self.home, self.once, Turn(self.clock), self.clock, lambda: NOW, self._endpoint, self.settings, self.tally
        )
        self.listening = FakeListening()
        self.assertEqual(self.successResultOf(self.direct.listen(self.listening, "eve.example")), "eve.example:7000")
        self.be("eve")

    def _endpoint(self, address: str) -> FakeEndpoint:
        self.endpoints.append(FakeEndpoint(address))
        return self.endpoints[-1]

    def hear(self, event: Event) -> None:
        """Have the server say something."""
        self.direct.heard(event)
        self.clock.turn()

    def be(self, identity: str, *, resumed: bool = False) -> None:
        self.home.identity = identity
        self.hear(Welcomed(identity, resumed))

    def expect(self, identity: str = "ada", token: str = "t1") -> None:
        self.hear(ContactExpected(identity, token))

    def heard(self) -> list[tuple[str, str]]:
        """Return who said what to the client."""
        assert all(isinstance(event, PrivateSaid) and event.direct and event.time == NOW for event in self.home.told)
        return [(event.identity, event.content) for event in self.home.told]  # type: ignore[attr-defined]

    # Called

    def connect(self) -> End:
        """Have a stranger connect."""
        return End(self.listening.factory.buildProtocol(None), self)

    def called(self, identity: str = "ada", token: str = "t1", me: str = "eve") -> End:
        """Have somebody expected call, and be accepted."""
        self.expect(identity, token)
        end = self.connect()
        end.say(Call(1, identity, me, token))
        self.assertEqual([type(message).__name__ for message in end.said()], ["Accepted"])
        return end

    # Calling

    def send(self, to: str, *contents: str) -> "list[Deferred[Delivered]]":
        return [self.direct.send(f"id {content}", to, content) for content in contents]

    def found(self, address: str = "ada.example:7000", token: str = "t2") -> None:
        """Have the server answer where somebody is."""
        identity, answer = self.home.asked.pop(0)
        answer.callback(ContactFound(identity, address, token))

    def connected(self) -> End:
        """Have the endpoint connect that was asked last."""
        endpoint = self.endpoints[-1]
        end = End(endpoint.factory.buildProtocol(None), self)
        endpoint.connecting.callback(end.link)
        return end

    def relayed(self) -> list[str]:
        """Return what is to be relayed, and is not yet."""
        self.clock.turn()
        return [content for _, _, content, _ in self.home.relays]

    def relay(self, sessions: int = 1) -> None:
        """Have all of it relayed."""
        relays, self.home.relays = self.home.relays, []
        for _, _, _, answer in relays:
            answer.callback(sessions)
