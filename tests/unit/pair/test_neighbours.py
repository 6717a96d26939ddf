import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.link import Turn
from chatproto.pair.link import PeerLink
from chatproto.pair.messages import SECONDARY, VERSION, Hello, encode
from chatproto.pair.neighbours import PEER, RETRY_S, RETRY_SOON_S, RETRY_STRANGER_S, Neighbours
from chatproto.wire import framed
from tests.unit.pair.test_link import BEAT_S, SUSPECT_S, Heard
from tests.unit.transports import Transport
from tests.unit.turns import TurnClock

WEST, NORTH = "west.example:4545", "north.example:4545"


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Remembers each try; the test says how it ends."""

    def __init__(self, clock: TurnClock) -> None:
        self.clock = clock
        self.tries: list[tuple[Any, Deferred[Any]]] = []
        self.times: list[float] = []
        self.at_once: Exception | None = None

    def connect(self, factory: Any) -> "Deferred[Any]":
        trying: Deferred[Any] = Deferred()
        self.tries.append((factory, trying))
        self.times.append(self.clock.seconds())
        if self.at_once is not None:
            trying.errback(self.at_once)
        return trying

    @property
    def trying(self) -> bool:
        return bool(self.tries) and not self.tries[-1][1].called

    def connected(self, name: str = "") -> Any:
        """Have the last try succeed, and somebody greet who has this name."""
        factory, trying = self.tries[-1]
        link = factory.buildProtocol(None)
        link.makeConnection(Transport())
        trying.callback(link)
        if name:
            link.dataReceived(framed(encode(Hello(VERSION, "chat", name, SECONDARY, True, None))))
        return link

    def failed(self, error: Exception) -> None:
        self.tries[-1][1].errback(error)


class NeighboursTestCase(SynchronousTestCase):
    """`--peer` is an endpoint, and so is each address."""

    with_peer = True

    def setUp(self) -> None:
        self.clock = TurnClock()
        self.heard = Heard()
        self.unreached: list[tuple[str, str]] = []
        self.hear: Callable[[], None] = lambda: None
        self.endpoints: dict[str, Endpoint] = {}
        self.peer = self.reach(PEER)
        self.neighbours = Neighbours(
            self.peer if self.with_peer else None,
            self.reach,
            self.make,
            self.not_reached,
            self.clock,
            random.Random(1),
            SUSPECT_S,
        )

    def reach(self, address: str) -> Endpoint:
        self.endpoints[address] = Endpoint(self.clock)
        return self.endpoints[address]

    def make(self, dialled: bool) -> PeerLink:
        self.assertTrue(dialled)
        return PeerLink(self.heard, dialled, Turn(self.clock), self.clock, BEAT_S, SUSPECT_S)

    def not_reached(self, name: str, reason: str, *, refused: bool) -> None:
        self.unreached.append((name, "refused" if refused else "failed"))
        self.hear()

    @property
    def trying(self) -> set[str]:
        """The addresses that are dialled at this moment."""
        return {address for address, endpoint in self.endpoints.items() if endpoint.trying}


class WantTests(NeighboursTestCase):
    def test_nobody_is_dialled_at_first(self) -> None:
        self.assertEqual((self.trying, self.neighbours.wanted), (set(), set()))

    def test_whoever_is_at_peer(self) -> None:
        self.neighbours.want((), anybody=True)
        self.assertEqual((self.trying, self.neighbours.wanted), ({PEER}, {PEER}))

    def test_a_name_may_be_that_of_whoever_is_at_peer_before_that_is_known(self) -> None:
        self.neighbours.want(["west"])
        self.assertEqual(self.trying, {PEER})

    def test_or_of_somebody_elsewhere(self) -> None:
        self.neighbours.addresses["west"] = WEST
        self.neighbours.want(["west"])
        self.assertEqual(self.trying, {PEER, WEST})

    def test_who_is_known_to_be_at_peer_is_dialled_there_alone(self) -> None:
        self.neighbours.addresses["west"] = WEST
        self.neighbours.at_peer = "west"
        self.neighbours.want(["west"])
        self.assertEqual(self.trying, {PEER})

    def test_who_is_known_not_to_be_there_is_dialled_where_it_is(self) -> None:
        self.neighbours.addresses["north"] = NORTH
        self.neighbours.at_peer = "west"
        self.neighbours.want(["north"])
        self.assertEqual(self.trying, {NORTH})

    def test_of_whom_nothing_is_known_cannot_be_dialled(self) -> None:
        self.neighbours.at_peer = "west"
        self.neighbours.want(["north"])
        self.assertEqual(self.trying, set())

    def test_until_it_is(self) -> None:
        self.neighbours.at_peer = "west"
        self.neighbours.want(["west", "north"])
        self.neighbours.addresses["north"] = NORTH
        self.neighbours.want(["west", "north"])
        self.assertEqual((self.trying, len(self.peer.tries)), ({PEER, NORTH}, 1))

    def test_several_are_dialled_at_once(self) -> None:
        self.neighbours.addresses.update(west=WEST, north=NORTH)
        self.neighbours.at_peer = "south"
        self.neighbours.want(["west", "north"], anybody=True)
        self.assertEqual(self.trying, {PEER, WEST, NORTH})

    def test_who_is_wanted_no_more_is_not_dialled_any_more(self) -> None:
        self.neighbours.addresses.update(west=WEST, north=NORTH)
        self.neighbours.at_peer = "south"
        self.neighbours.want(["west", "north"])
        self.neighbours.want(["north"])
        self.assertEqual((self.trying, self.unreached), ({NORTH}, []))
        self.clock.advance(60)
        self.assertEqual(len(self.endpoints[WEST].tries), 1)
        self.neighbours.want(["west"])
        self.assertEqual(self.trying, {WEST})

    def test_a_connection_outlives_that(self) -> None:
        self.neighbours.want((), anybody=True)
        link = self.peer.connected("west")
        self.neighbours.stop()
        self.assertEqual((link.open, self.neighbours.wanted), (True, set()))
        link.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(60)
        self.assertEqual((len(self.peer.tries), self.clock.getDelayedCalls()), (1, []))

    def test_a_link_says_where_it_was_dialled(self) -> None:
        self.neighbours.addresses["north"] = NORTH
        self.neighbours.want(["north"])
        self.assertEqual(self.peer.connected("west").address, PEER)
        self.assertEqual(self.endpoints[NORTH].connected("north").address, NORTH)

    def test_whoever_hears_of_a_try_that_fails_in_the_call_may_want_others(self) -> None:
        self.neighbours.addresses.update(west=WEST, north=NORTH)
        self.peer.at_once = ConnectionRefusedError()
        self.neighbours.at_peer = "south"
        for then, dialled in ((["north"], {NORTH}), (["west", "north"], {WEST, NORTH}), ([], set())):
            self.hear = lambda then=then: self.neighbours.want(then)
            self.neighbours.want(["west", "north"], anybody=True)
            self.assertEqual((self.trying, self.neighbours.wanted), (dialled, dialled))
            self.neighbours.stop()
            self.assertEqual((self.trying, self.clock.getDelayedCalls()), (set(), []))


class NoPeerTests(NeighboursTestCase):
    """A node that is not one of a pair."""

    with_peer = False

    def test_only_addresses_are_dialled(self) -> None:
        self.neighbours.want(["west"], anybody=True)
        self.assertEqual((self.trying, self.neighbours.wanted), (set(), set()))
        self.neighbours.addresses["west"] = WEST
        self.neighbours.want(["west"], anybody=True)
        self.assertEqual(self.trying, {WEST})


class UnreachedTests(NeighboursTestCase):
    def test_who_was_not_reached_is_told_as_far_as_it_is_known(self) -> None:
        self.neighbours.addresses.update(west=WEST, north=NORTH)
        self.neighbours.want(["north"])
        for endpoint in (self.peer, self.endpoints[NORTH]):
            endpoint.failed(ConnectionRefusedError())
        self.assertEqual(self.unreached, [("", "refused"), ("north", "refused")])
        self.neighbours.at_peer = "west"
        self.clock.advance(RETRY_S[1])
        self.peer.failed(ConnectionLost())
        self.assertEqual(self.unreached[2:], [("west", "failed")])

    def test_an_address_that_is_nobodys_any_more(self) -> None:
        self.neighbours.addresses["north"] = NORTH
        self.neighbours.want(["north"])
        self.neighbours.addresses["north"] = WEST
        self.endpoints[NORTH].failed(ConnectionRefusedError())
        self.assertEqual(self.unreached, [("", "refused")])


class DialTests(NeighboursTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.neighbours.want((), anybody=True)

    def assertTriedAgain(self, within: tuple[float, float]) -> None:
        before, now = len(self.peer.tries), self.clock.seconds()
        while len(self.peer.tries) == before and self.clock.seconds() < now + 10:
            self.clock.advance(0.001)
        pause_s = self.peer.times[-1] - now
        self.assertTrue(within[0] - 0.002 <= pause_s <= within[1] + 0.002, pause_s)

    def test_it_dials_at_once_and_a_connection_is_kept(self) -> None:
        self.assertEqual(self.peer.times, [0.0])
        self.peer.connected()
        self.clock.advance(BEAT_S)
        self.assertEqual((len(self.peer.tries), self.unreached), (1, []))

    def test_a_refused_try_is_news_and_tried_again_soon(self) -> None:
        self.peer.failed(ConnectionRefusedError())
        self.assertEqual(self.unreached, [("", "refused")])
        self.assertTriedAgain(RETRY_S)
        self.peer.failed(ConnectionRefusedError())
        self.assertEqual(self.unreached, [("", "refused")] * 2)

    def test_any_other_failure_says_nothing_of_the_other_node(self) -> None:
        for error in (TimeoutError(), ConnectionLost(), CancelledError()):
            self.peer.failed(error)
            self.assertTriedAgain(RETRY_S)
        self.assertEqual(self.unreached, [("", "failed")] * 3)

    def test_an_endpoint_that_fails_in_the_call(self) -> None:
        self.peer.at_once = ConnectionRefusedError()
        self.peer.failed(ConnectionRefusedError())
        for _ in range(3):
            self.assertTriedAgain(RETRY_S)
        self.assertEqual(self.unreached, [("", "refused")] * 4)

    def test_a_try_that_hangs_is_given_up(self) -> None:
        self.clock.advance(SUSPECT_S - 0.01)
        self.assertTrue(self.peer.trying)
        self.clock.advance(0.01)
        self.assertFalse(self.peer.trying)
        self.assertTriedAgain(RETRY_S)

    def test_a_connection_that_is_lost_is_dialled_again(self) -> None:
        self.peer.connected("west").connectionLost(Failure(ConnectionDone()))
        self.assertTriedAgain(RETRY_SOON_S)

    def test_somebody_who_never_greeted_is_dialled_again_at_leisure(self) -> None:
        self.peer.connected().connectionLost(Failure(ConnectionDone()))
        self.assertTriedAgain(RETRY_STRANGER_S)

    def test_stopped_while_it_tries(self) -> None:
        self.ends()
        self.assertFalse(self.peer.trying)
        self.assertEqual(self.unreached, [])

    def test_stopped_while_it_waits(self) -> None:
        self.peer.failed(ConnectionRefusedError())
        self.ends()

    def ends(self) -> None:
        """Check that nothing is dialled after a stop."""
        tries = len(self.peer.tries)
        self.neighbours.stop()
        self.clock.advance(60)
        self.assertEqual((len(self.peer.tries), self.clock.getDelayedCalls()), (tries, []))

    def test_what_fails_in_hearing_of_a_refusal_is_logged_and_it_goes_on(self) -> None:
        def fails() -> None:
            raise KeyError

        self.hear = fails
        self.peer.failed(ConnectionRefusedError())
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertTriedAgain(RETRY_S)
