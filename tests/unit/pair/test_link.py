from typing import Any

import msgspec
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.gate import Gate, Limits
from chatproto.link import Link, Turn
from chatproto.pair.configuration import Configuration
from chatproto.pair.link import HELLO_BYTES_MAX, PeerLink, PeerLinkFactory
from chatproto.pair.messages import (
    FRAME_BYTES_MAX,
    PRIMARY,
    SECONDARY,
    STANDBY,
    VERSION,
    AnyMessage,
    Beat,
    Hello,
    PeerMessage,
    Tell,
    decode,
    encode,
)
from chatproto.tally import Tally
from chatproto.trust.proof import BELIEVED, NOTHING, Proof
from chatproto.wire import FrameBuffer, framed
from tests.unit.transports import Transport
from tests.unit.trust.fakes import Certified
from tests.unit.turns import TurnClock

OURS = Hello(VERSION, "chat", "east", PRIMARY, True, None)
THEIRS = Hello(VERSION, "chat", "west", SECONDARY, True, Configuration(1, "east", ("east",)))
BEAT_S, SUSPECT_S = 0.125, 0.5


class Heard:
    """`LinkHeard` that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.refuse: str = ""

    def hello(self) -> Hello:
        return OURS

    def beat(self) -> PeerMessage:
        return Beat(5)

    def link_up(self, link: PeerLink) -> None:
        self.heard.append("up")

    def link_says(self, link: PeerLink, message: AnyMessage) -> None:
        if self.refuse:
            raise WireError(self.refuse)
        self.heard.append(message)

    def link_down(self, link: PeerLink) -> None:
        self.heard.append("down")


class TCPTransport(Transport):
    no_delay = False

    def setTcpNoDelay(self, wanted: bool) -> None:
        self.no_delay = wanted


class ProvenTests(SynchronousTestCase):
    """Whoever says hello has to have proven the name."""

    def hear(self, proof: Proof, expected: frozenset[str] = frozenset()) -> list[Any]:
        """Have a link hear a hello from somebody who has proven something; return what comes of it."""
        clock, heard, trust, transport, tally = TurnClock(), Heard(), Certified(proof), Transport(), Tally()
        gate: Gate[Link] = Gate("peer", tally)
        link = PeerLink(heard, True, Turn(clock), clock, BEAT_S, SUSPECT_S, gate, trust=trust)
        link.expected = expected
        link.makeConnection(transport)
        link.dataReceived(framed(encode(THEIRS)) + framed(encode(Tell(b"more"))))
        return [*heard.heard, *transport.calls, *(reason for _, reason in tally.dropped)]

    def test_its_own(self) -> None:
        self.assertEqual(self.hear(Proof(("west", "west.example"))), ["up", Tell(b"more")])

    def test_another(self) -> None:
        self.assertEqual(self.hear(Proof(("north",))), ["abort", "wrong-name"])

    def test_none(self) -> None:
        self.assertEqual(self.hear(NOTHING), ["abort", "no-certificate"])

    def test_one_that_is_expected_there(self) -> None:
        self.assertEqual(self.hear(Proof(("west",)), frozenset({"west", "north"})), ["up", Tell(b"more")])
        self.assertEqual(self.hear(Proof(("west",)), frozenset({"north"})), ["abort", "wrong-name"])
        self.assertEqual(self.hear(BELIEVED, frozenset({"north"})), ["up", Tell(b"more")])


class PeerLinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.heard = Heard()
        self.connect()

    def connect(self, transport: Transport | None = None) -> None:
        self.transport = transport or Transport()
        self.link = PeerLink(self.heard, True, Turn(self.clock), self.clock, BEAT_S, SUSPECT_S)
        self.link.makeConnection(self.transport)

    def say(self, *messages: PeerMessage) -> None:
        self.link.dataReceived(b"".join(framed(encode(message)) for message in messages))

    def sent(self) -> list[AnyMessage]:
        self.clock.turn()
        frames = FrameBuffer(FRAME_BYTES_MAX).feed(b"".join(self.transport.writes))
        return [decode(frame) for frame in frames]

    def lose(self) -> None:
        self.link.connectionLost(Failure(ConnectionDone()))

    def test_it_begins_with_hello(self) -> None:
        self.assertEqual(self.sent(), [OURS])
        self.assertEqual((self.link.hello, self.link.name, self.link.epoch, self.heard.heard), (None, "", 0, []))

    def test_small_messages_are_not_held_back_by_tcp(self) -> None:
        transport = TCPTransport()
        self.connect(transport)
        self.assertTrue(transport.no_delay)

    def test_it_is_up_with_the_others_hello_and_then_speaks(self) -> None:
        self.say(THEIRS, Tell(b"a"), Tell(b"b"))
        self.assertEqual((self.heard.heard, self.link.hello), (["up", Tell(b"a"), Tell(b"b")], THEIRS))
        self.assertEqual(self.link.name, "west")
        self.lose()
        self.assertEqual(self.heard.heard[-1], "down")
        self.link.say(Tell(b"late"))
        self.assertEqual(self.transport.writes, [])

    def test_one_that_never_was_up_is_never_down(self) -> None:
        self.lose()
        self.assertEqual(self.heard.heard, [])

    def refusal(self, *messages: PeerMessage) -> str:
        """Return why a link is aborted that begins so."""
        self.connect()
        with self.assertLogsOne() as logged:
            self.say(*messages, Tell(b"more"))
        self.assertEqual((self.transport.calls, self.link.open), (["abort"], False))
        self.assertEqual(self.heard.heard, [])
        return logged[0]

    def assertLogsOne(self) -> Any:
        return _Logged(self)

    def test_every_reason_to_refuse_the_other_is_told(self) -> None:
        for changes, reason in (
            ({"version": 2}, f"version 2 of the peer link, this is {VERSION}"),
            ({"service": "news"}, "it serves 'news', this is 'chat': look at --peer and --service"),
            ({"name": "east"}, "it is called 'east' too: give each node its own --name"),
            ({"role": PRIMARY}, "both nodes are started with --role=primary"),
        ):
            self.assertIn(reason, self.refusal(msgspec.structs.replace(THEIRS, **changes)))
        self.assertIn("does not begin with hello", self.refusal(Beat(5)))

    def test_two_secondaries_are_told_so(self) -> None:
        self.heard.hello = lambda: msgspec.structs.replace(OURS, role=SECONDARY)  # type: ignore[method-assign]
        self.assertIn("--role=secondary", self.refusal(THEIRS))

    def test_any_number_may_stand_by(self) -> None:
        for ours, theirs in ((PRIMARY, STANDBY), (STANDBY, SECONDARY), (STANDBY, STANDBY)):
            self.heard.hello = lambda ours=ours: msgspec.structs.replace(OURS, role=ours)  # type: ignore[method-assign]
            self.connect()
            self.say(msgspec.structs.replace(THEIRS, role=theirs))
            self.assertEqual((self.transport.calls, self.heard.heard.pop()), ([], "up"))

    def test_the_first_reason_that_matters_is_told(self) -> None:
        """Another version may mean something else by all the rest."""
        self.assertIn("version", self.refusal(Hello(VERSION + 1, "news", "east", PRIMARY, True, None)))

    def test_a_stranger_cannot_have_much_held_for_it(self) -> None:
        self.link.dataReceived(framed(b"x" * (HELLO_BYTES_MAX + 1))[:4])
        self.assertEqual((self.transport.calls, self.link._frames.too_long), (["abort"], True))
        self.connect()
        self.say(THEIRS, Tell(b"x" * (HELLO_BYTES_MAX + 1)))
        self.assertEqual((self.transport.calls, len(self.heard.heard)), ([], 2))

    def test_a_stranger_has_so_long_to_say_hello(self) -> None:
        hello = framed(encode(THEIRS))
        for at in range(len(hello)):
            self.link.dataReceived(hello[at : at + 1])
            self.clock.advance(BEAT_S)
        self.assertEqual((self.transport.calls, self.heard.heard), (["abort"], []))

    def test_one_that_is_not_let_in_hears_nothing(self) -> None:
        gate: Gate[Link] = Gate("peer", Tally(), lambda: Limits(strangers_max=0))
        link = PeerLink(self.heard, False, Turn(self.clock), self.clock, BEAT_S, SUSPECT_S, gate)
        transport = Transport()
        link.makeConnection(transport)
        self.clock.advance(10)
        self.assertEqual((transport.calls, transport.writes), (["abort"], []))

    def test_garbage_ends_it(self) -> None:
        self.say(THEIRS)
        self.link.dataReceived(framed(b"garbage"))
        self.assertEqual(self.transport.calls, ["abort"])

    def test_what_makes_no_sense_to_the_node_ends_it(self) -> None:
        self.say(THEIRS)
        self.heard.refuse = "there is no entry 7"
        self.say(Tell(b"a"), Tell(b"b"))
        self.assertEqual((self.transport.calls, self.heard.heard), (["abort"], ["up"]))

    def test_a_second_hello_ends_it(self) -> None:
        self.say(THEIRS)
        self.say(THEIRS)
        self.assertEqual((self.transport.calls, self.heard.heard), (["abort"], ["up"]))

    def test_it_beats_and_one_that_is_silent_is_aborted(self) -> None:
        self.say(THEIRS)
        self.clock.advance(BEAT_S)
        self.assertEqual(self.sent(), [OURS, Beat(5)])
        for _ in range(20):
            self.say(Beat(5))
            self.clock.advance(BEAT_S)
        self.assertEqual(self.transport.calls, [])
        for _ in range(4):
            self.assertEqual(self.transport.calls, [])
            self.clock.advance(BEAT_S)
        self.assertEqual(self.transport.calls, ["abort"])

    def test_one_that_never_says_hello_is_aborted_too(self) -> None:
        for _ in range(5):
            self.clock.advance(BEAT_S)
        self.assertEqual(self.transport.calls, ["abort"])

    def test_the_factory_makes_links_that_the_other_dialled(self) -> None:
        made: list[bool] = []

        def make(dialled: bool) -> PeerLink:
            made.append(dialled)
            return self.link

        self.assertIs(PeerLinkFactory(make, self.link.gate).buildProtocol(None), self.link)
        self.assertEqual(made, [False])


class _Logged:
    """What is logged meanwhile, as text."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.lines: list[str] = []

    def __enter__(self) -> list[str]:
        from twisted.logger import formatEvent, globalLogPublisher

        self._publisher = globalLogPublisher
        self._note = lambda event: self.lines.append(formatEvent(event))
        globalLogPublisher.addObserver(self._note)
        return self.lines

    def __exit__(self, *_: object) -> None:
        self._publisher.removeObserver(self._note)
