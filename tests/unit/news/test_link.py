"""Connections of the news system, and whoever keeps one up."""

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.errors import WireError
from chatproto.gate import Limits
from chatproto.link import Turn
from chatproto.news.link import RATE_PAUSE_S, STRANGER_MESSAGES_MAX, NewsDialler, NewsLink, NewsLinkFactory
from chatproto.news.messages import FRAME_BYTES_MAX, Beat, Chunk, Echo, Message, Refused, Taken, decoder, encode
from chatproto.news.tree.messages import ChildHello, SourceHello
from chatproto.tally import Tally
from chatproto.wire import FrameBuffer
from tests.unit.transports import Transport
from tests.unit.turns import TurnClock

BEAT_S, SUSPECT_S = 1.0, 5.0
CHILD, SOURCE = ChildHello(1, "r1", "0f"), SourceHello(1, "ansa", "secret")
decode = decoder(ChildHello, SourceHello, Taken, Chunk)


class Heard:
    """`NewsHeard` that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.refuse = ""

    def link_admitted(self, link: NewsLink) -> None:
        self.heard.append("admitted")

    def link_received(self, link: NewsLink, message: Any) -> None:
        if self.refuse:
            raise WireError(self.refuse)
        self.heard.append(message)

    def link_lost(self, link: NewsLink, reason: str) -> None:
        self.heard.append("lost")


class LinkCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.tally = Tally()
        self.transport = Transport()

    def say(self, link: NewsLink, *messages: Message) -> None:
        link.dataReceived(b"".join(encode(message) for message in messages))

    def sent(self) -> list[Any]:
        self.clock.turn()
        self.clock.turn()
        frames = FrameBuffer(FRAME_BYTES_MAX).feed(b"".join(self.transport.writes))
        self.transport.writes.clear()
        return [decode(frame) for frame in frames]

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / BEAT_S)):
            self.clock.advance(BEAT_S)
            self.clock.turn()


class FactoryTests(LinkCase):
    def setUp(self) -> None:
        super().setUp()
        self.children, self.sources = Heard(), Heard()
        hellos: dict[type[Message], Any] = {ChildHello: self.children, SourceHello: self.sources}
        limits = Limits(strangers_max=1)
        self.factory = NewsLinkFactory(
            "news-child", decode, hellos, Turn(self.clock), self.clock, self.tally, limits=limits
        )
        self.link = self.connect(self.transport)

    def connect(self, transport: Transport) -> NewsLink:
        link = self.factory.buildProtocol(None)
        link.makeConnection(transport)
        return link

    def test_a_hello_finds_whom_it_is_for(self) -> None:
        self.say(self.link, CHILD, Taken(1, 2))
        self.assertEqual(self.children.heard, ["admitted", CHILD, Taken(1, 2)])
        self.assertEqual(self.sources.heard, [])
        self.assertEqual(list(self.factory.links), [self.link])
        self.link.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.children.heard[-1], "lost")
        self.assertEqual(list(self.factory.links), [])

    def test_without_a_hello_nothing_is_heard(self) -> None:
        self.say(self.link, Taken(1, 2))
        self.assertEqual(self.tally.dropped, {("news-child", "stranger"): 1})
        self.assertEqual(self.transport.calls, ["abort"])
        self.link.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.children.heard, self.sources.heard), ([], []))

    def test_garbage_ends_it(self) -> None:
        self.say(self.link, CHILD)
        self.link.introduced()
        self.link.dataReceived(b"\0\0\0\1x")
        self.assertEqual(self.tally.dropped, {("news-child", "bad-frame"): 1})

    def test_a_hello_is_short(self) -> None:
        self.link.dataReceived(b"\0\0\x80\0")
        self.assertEqual(self.tally.dropped, {("news-child", "frame-too-long"): 1})

    def test_what_does_not_belong_there_ends_it(self) -> None:
        self.children.refuse = "no"
        self.say(self.link, CHILD)
        self.assertEqual(self.tally.dropped, {("news-child", "stranger"): 1})

    def test_who_is_refused_is_told_why_and_counted(self) -> None:
        self.say(self.link, SOURCE)
        self.link.refuse("bad-password", "no")
        self.assertEqual(self.sent(), [Refused("bad-password", "no")])
        self.assertEqual(self.transport.calls, ["lose"])
        self.assertEqual(self.tally.dropped, {("news-child", "bad-password"): 1})

    def test_strangers_take_room_from_one_another(self) -> None:
        other = Transport()
        self.connect(other)
        self.assertEqual((self.transport.calls, other.calls), (["abort"], []))
        self.assertEqual(self.tally.dropped, {("news-child", "crowded-out"): 1})

    def test_beats_are_answered_and_measure_the_way(self) -> None:
        self.say(self.link, CHILD, Beat(7.5))
        self.link.introduced()
        self.assertEqual(self.sent(), [Echo(7.5)])
        self.clock.advance(BEAT_S)
        (beat,) = self.sent()
        self.clock.advance(0.5)
        self.say(self.link, Echo(beat.at))
        self.assertEqual(self.link.way_s, 0.25)
        self.say(self.link, Echo(1e9))
        self.assertEqual(self.link.way_s, 0.0, "nobody answers before it was asked")

    def test_a_stranger_may_not_beat_on_and_on(self) -> None:
        self.say(self.link, CHILD, *[Beat(1.0)] * (STRANGER_MESSAGES_MAX - 1))
        self.assertEqual(len(self.sent()), STRANGER_MESSAGES_MAX - 1)
        self.say(self.link, Beat(1.0), Beat(2.0))
        self.assertEqual((self.sent(), self.transport.calls), ([], ["abort"]))
        self.assertEqual(self.tally.dropped, {("news-child", "talkative"): 1})

    def test_who_is_known_may(self) -> None:
        self.say(self.link, CHILD)
        self.link.introduced()
        self.say(self.link, *[Beat(1.0)] * 1000)
        self.assertEqual((len(self.sent()), self.tally.dropped), (1000, {}))

    def test_who_is_silent_is_dropped(self) -> None:
        self.say(self.link, CHILD)
        self.link.introduced()
        self.pass_time(SUSPECT_S + 2)
        self.assertEqual(self.tally.dropped, {("news-child", "silent"): 1})

    def test_all_end_politely_when_it_stops(self) -> None:
        self.say(self.link, CHILD)
        self.factory.stop()
        self.clock.turn()
        self.assertEqual(self.transport.calls, ["lose"])


class RateTests(LinkCase):
    """A door that takes ten messages a second from each connection, and twenty at once."""

    def setUp(self) -> None:
        super().setUp()
        self.heard = Heard()
        limits = Limits(link_lines_a_second=10, link_lines_at_once=20)
        turn = Turn(self.clock)
        factory = NewsLinkFactory(
            "news-child", decode, {ChildHello: self.heard}, turn, self.clock, self.tally, limits=limits
        )
        self.link = factory.buildProtocol(None)
        self.link.makeConnection(self.transport)
        self.say(self.link, CHILD)
        self.link.introduced()
        self.said = [Taken(number, 1) for number in range(50)]

    def test_what_is_above_the_rate_is_heard_later_and_in_order(self) -> None:
        self.say(self.link, *self.said[:40])
        self.assertEqual(self.heard.heard[2:], self.said[:19])
        self.assertTrue(self.link.held)
        self.say(self.link, *self.said[40:])
        self.clock.advance(1)
        self.assertEqual(self.heard.heard[2:], self.said[:29])
        self.clock.pump([RATE_PAUSE_S] * 25)
        self.assertEqual(self.heard.heard[2:], self.said)
        self.assertFalse(self.link.held)
        self.assertEqual(self.tally.dropped, {})

    def test_nonsense_among_it_ends_the_link(self) -> None:
        self.say(self.link, *self.said[:19])
        self.link.dataReceived(b"\0\0\0\1x" + encode(self.said[20]))
        self.assertEqual(self.tally.dropped, {})
        self.clock.pump([RATE_PAUSE_S] * 25)
        self.assertEqual((self.heard.heard[2:], self.transport.calls[-1]), (self.said[:19], "abort"))
        self.assertEqual(self.tally.dropped, {("news-child", "bad-frame"): 1})

    def test_a_link_that_is_lost_is_not_heard_any_more(self) -> None:
        self.say(self.link, *self.said[:40])
        self.link.connectionLost(Failure(ConnectionDone()))
        self.clock.pump([RATE_PAUSE_S] * 25)
        self.assertEqual(self.heard.heard[2:], [*self.said[:19], "lost"])
        self.assertEqual(self.clock.getDelayedCalls(), [])


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Notes each try."""

    def __init__(self) -> None:
        self.tries: list[tuple[Any, Deferred[Any]]] = []

    def connect(self, factory: Any) -> "Deferred[Any]":
        self.tries.append((factory, Deferred()))
        return self.tries[-1][1]


class DiallerTests(LinkCase):
    def setUp(self) -> None:
        super().setUp()
        self.endpoint, self.heard = Endpoint(), Heard()
        self.failures: list[str] = []
        self.dialler = NewsDialler(
            self.endpoint,
            self.heard,
            decode,
            Turn(self.clock),
            self.clock,
            random.Random(1),
            what="somebody",
            tally=self.tally,
            failed=self.failures.append,
        )

    def connect(self) -> NewsLink:
        factory, trying = self.endpoint.tries[-1]
        link: NewsLink = factory.buildProtocol(None)
        self.transport = Transport()
        link.makeConnection(self.transport)
        if not trying.called:
            trying.callback(link)
        return link

    def wait_for(self, predicate: Callable[[], object]) -> None:
        for _ in range(100):
            if predicate():
                return
            self.clock.advance(0.1)
        self.fail("it never happened")

    def test_a_link_is_there_once_it_may_be_spoken_on(self) -> None:
        self.dialler.start()
        self.assertIsNone(self.dialler.link)
        link = self.connect()
        self.assertIs(self.dialler.link, link)
        self.say(link, Taken(1, 2))
        self.assertEqual(self.heard.heard, ["admitted", Taken(1, 2)])

    def test_it_dials_again_and_says_why(self) -> None:
        self.dialler.start()
        link = self.connect()
        link.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.dialler.link)
        self.assertEqual(self.heard.heard, ["admitted", "lost"])
        self.assertEqual(len(self.failures), 1)
        self.wait_for(lambda: len(self.endpoint.tries) == 2)
        self.endpoint.tries[-1][1].errback(Failure(ConnectionRefusedError()))
        self.assertEqual(len(self.failures), 2)
        self.wait_for(lambda: len(self.endpoint.tries) == 3)
        self.connect()
        self.assertEqual(self.heard.heard, ["admitted", "lost", "admitted"])

    def test_a_silent_other_side_is_given_up(self) -> None:
        self.dialler.start()
        self.connect()
        self.pass_time(SUSPECT_S + 2)
        self.assertEqual(self.transport.calls, ["abort"])
        self.assertEqual(self.tally.dropped, {("news", "silent"): 1})

    def test_stopped_it_hears_nothing_and_dials_no_more(self) -> None:
        self.dialler.start()
        link = self.connect()
        self.dialler.stop()
        self.clock.turn()
        self.assertEqual(self.transport.calls, ["lose"])
        self.say(link, Taken(1, 2))
        link.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(60)
        self.assertEqual((self.heard.heard, len(self.endpoint.tries)), (["admitted"], 1))

    def test_a_try_that_comes_through_after_it_was_given_up_is_ended(self) -> None:
        self.dialler.start()
        factory, _ = self.endpoint.tries[0]
        self.wait_for(lambda: len(self.endpoint.tries) == 2)
        late = factory.buildProtocol(None)
        transport = Transport()
        late.makeConnection(transport)
        self.assertEqual(transport.calls, ["abort"])
        self.assertIsNone(self.dialler.link)
