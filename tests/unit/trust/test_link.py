from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import Unproven, WireError
from chatproto.gate import TOLD_BURST, Gate
from chatproto.link import Link, Turn
from chatproto.tally import Tally
from chatproto.trust.interface import BELIEVING, Trust
from chatproto.trust.link import PROOF_S_MAX, GuardedLink
from chatproto.trust.proof import NOTHING, PEER, REGISTRY, LinkRefused, Proof
from chatproto.trust.secret import FRAME_BYTES_MAX
from chatproto.trust.sharing import SharedSecret
from chatproto.wire import framed
from tests.unit.registry.rig import Events
from tests.unit.transports import Transport
from tests.unit.trust.fakes import Certified
from tests.unit.turns import TurnClock

SECRET = b"correct horse battery staple"


class NotingLink(GuardedLink):
    """A link that notes what it hears, and lets those in who may call themselves as they do."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.heard: list[Any] = []
        self.gives_up = False

    def linked(self) -> None:
        self.heard.append("linked")
        if self.gives_up:
            self.abort()

    def admitted(self) -> None:
        self.heard.append("admitted")

    def messageReceived(self, frame: bytes) -> None:
        if frame == b"nonsense":
            raise WireError("nonsense")
        self.check_name(frame.decode())
        self.heard.append(frame)


class GuardedLinkTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.tally = Tally()

    def link(self, trust: Trust, *, dialled: bool = False, door: str = PEER) -> NotingLink:
        return NotingLink(door, dialled, trust, Turn(self.clock), self.clock, 10_000, 10_000, Gate(door, self.tally))

    def connected(self, trust: Trust, **how: Any) -> NotingLink:
        link = self.link(trust, **how)
        link.makeConnection(Transport())
        return link


class CertificateTests(GuardedLinkTestCase):
    def test_who_is_believed_speaks_at_once(self) -> None:
        link = self.connected(BELIEVING)
        self.assertTrue(link.cleared)
        link.dataReceived(framed(b"east"))
        self.assertEqual(link.heard, ["linked", "admitted", b"east"])
        link.connectionLost(Failure(ConnectionDone()))
        self.assertFalse(link.cleared)

    def test_one_that_was_given_up_meanwhile_says_nothing(self) -> None:
        link = self.link(BELIEVING)
        link.gives_up = True
        link.makeConnection(Transport())
        self.assertEqual((link.heard, link.transport.calls), (["linked"], ["abort"]))

    def test_a_name_that_is_proven(self) -> None:
        trust = Certified(Proof(("east",)))
        link = self.connected(trust)
        link.dataReceived(framed(b"east"))
        self.assertEqual((link.heard[-1], self.tally.dropped), (b"east", {}))

    def test_another_name_than_the_one_proven(self) -> None:
        trust = Certified(Proof(("east",)))
        link = self.connected(trust)
        link.dataReceived(framed(b"west") + framed(b"east"))
        self.assertEqual((link.heard, link.transport.calls), (["linked", "admitted"], ["abort"]))
        self.assertEqual(self.tally.dropped, {("peer", "wrong-name"): 1})

    def test_no_certificate(self) -> None:
        trust = Certified(NOTHING)
        link = self.connected(trust, door=REGISTRY)
        link.dataReceived(framed(b"east"))
        self.assertEqual((link.transport.calls, self.tally.dropped), (["abort"], {("registry", "no-certificate"): 1}))

    def test_what_is_not_of_the_protocol_is_no_refusal(self) -> None:
        trust = Certified(NOTHING)
        link = self.connected(trust)
        link.dataReceived(framed(b"nonsense"))
        self.assertEqual((link.transport.calls, self.tally.dropped), (["abort"], {("peer", "stranger"): 1}))

    def test_what_the_transport_knows_of_its_end_is_told(self) -> None:
        trust = Certified(NOTHING)
        why = Failure(ConnectionDone())
        self.connected(trust).connectionLost(why)
        self.assertEqual(trust.over, [why])
        self.assertIsNone(BELIEVING.ended(None, why))


class SecretTests(GuardedLinkTestCase):
    def share(self, secret: bytes = SECRET, name: str = "east") -> SharedSecret:
        return SharedSecret(secret, name, lambda count: name[:1].encode() * count)

    def pair(self, one: Trust, other: Trust, door: str = PEER) -> tuple[NotingLink, NotingLink]:
        """Connect two, and carry what they say until they are silent."""
        links = self.connected(one, dialled=True, door=door), self.connected(other, door=door)
        for _ in range(10):
            self.clock.turn()
            for link, far in (links, links[::-1]):
                said, link.transport.writes[:] = b"".join(link.transport.writes), []
                if said:
                    far.dataReceived(said)
        return links

    def test_both_are_admitted_when_each_has_proven_itself(self) -> None:
        east, west = self.pair(self.share(), self.share(name="west"))
        self.assertEqual((east.heard, west.heard), (["linked", "admitted"], ["linked", "admitted"]))
        self.assertEqual((east.proof, west.proof), (Proof(("west",)), Proof(("east",))))
        west.dataReceived(framed(b"east"))
        self.assertEqual(west.heard[-1], b"east")
        west.dataReceived(framed(b"south"))
        self.assertEqual(self.tally.dropped, {("peer", "wrong-name"): 1})

    def test_their_time_is_not_over_then(self) -> None:
        east, west = self.pair(self.share(), self.share(name="west"))
        self.clock.advance(PROOF_S_MAX + 1)
        self.assertEqual(east.transport.calls + west.transport.calls, [])

    def test_frames_are_short_until_then(self) -> None:
        link = self.connected(self.share())
        link.dataReceived((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        self.assertEqual(link.transport.calls, ["abort"])
        east, _ = self.pair(self.share(), self.share(name="west"))
        east.dataReceived(framed(b"x" * (FRAME_BYTES_MAX + 1)))
        self.assertEqual(self.tally.dropped, {("peer", "frame-too-long"): 1, ("peer", "wrong-name"): 1})

    def test_another_secret(self) -> None:
        events = Events()
        globalLogPublisher.addObserver(events)
        self.addCleanup(globalLogPublisher.removeObserver, events)
        east, west = self.pair(self.share(b"another one, which is long enough"), self.share(name="west"))
        self.assertEqual((east.heard, west.heard), (["linked"], ["linked"]))
        self.assertEqual(self.tally.dropped, {("peer", "wrong-secret"): 1}, "who is refused refuses nobody")
        self.assertEqual(
            (events.count("dropped at peer: wrong-secret"), events.count("refused at peer: wrong-secret")), (1, 1)
        )
        self.assertEqual((east.open, west.open), (False, False))

    def test_who_says_nothing_is_given_up(self) -> None:
        link = self.connected(self.share())
        self.assertFalse(link.cleared)
        self.clock.advance(PROOF_S_MAX)
        self.assertEqual((link.transport.calls, self.tally.dropped), (["abort"], {("peer", "too-slow"): 1}))

    def test_at_the_registry_who_proves_nothing_is_heard(self) -> None:
        link = self.connected(self.share(), door=REGISTRY)
        link.dataReceived(framed(b"nonsense"))
        self.assertEqual((link.heard, link.proof, link.transport.calls), (["linked", "admitted"], NOTHING, ["abort"]))
        link = self.connected(self.share(), door=REGISTRY)
        link.dataReceived(framed(b"east"))
        self.assertEqual(self.tally.dropped, {("registry", "stranger"): 1, ("registry", "no-secret"): 1})

    def test_transports_and_endpoints_are_left_alone(self) -> None:
        trust = self.share()
        endpoint: Any = object()
        for same in (trust, BELIEVING):
            self.assertIs(same.server(endpoint, PEER), endpoint)
            self.assertIs(same.client(endpoint, PEER), endpoint)
        self.assertEqual(trust.proof(None), NOTHING)


class RefusalTests(GuardedLinkTestCase):
    """What a transport knows of its end."""

    def setUp(self) -> None:
        super().setUp()
        self.events = Events()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)
        self.gate: Gate[Link] = Gate(PEER, self.tally)

    def end(self, *, told: bool = False, dropped: bool = False) -> None:
        trust = Certified(NOTHING)
        trust.refusal = LinkRefused("expired", "its time is over", told)
        link = NotingLink(PEER, False, trust, Turn(self.clock), self.clock, 10_000, 10_000, self.gate)
        link.makeConnection(Transport())
        if dropped:
            link.drop("silent")
        link.connectionLost(Failure(ConnectionDone()))

    def test_each_is_counted_and_a_flood_is_not_told_one_by_one(self) -> None:
        for _ in range(TOLD_BURST + 5):
            self.end()
        self.assertEqual(self.tally.dropped, {("peer", "expired"): TOLD_BURST + 5})
        self.assertEqual(self.events.count("dropped at peer: expired"), TOLD_BURST)

    def test_those_of_the_other_side_are_told_and_not_counted(self) -> None:
        for _ in range(TOLD_BURST + 5):
            self.end(told=True)
        self.assertEqual(self.tally.dropped, {})
        self.assertEqual(self.events.count("of this node it is said, its time is over"), TOLD_BURST)

    def test_what_was_dropped_before_is_not_counted_again(self) -> None:
        self.end(dropped=True)
        self.end(dropped=True, told=True)
        self.assertEqual(self.tally.dropped, {("peer", "silent"): 2})
        self.assertEqual(self.events.count("its time is over"), 0)


class UnprovenTests(SynchronousTestCase):
    def test_it_says_why(self) -> None:
        error = Unproven("expired", "its time is over")
        self.assertEqual((error.reason, str(error)), ("expired", "its time is over"))
