from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chatproto.link import Turn
from chatproto.pair.configuration import Configuration
from chatproto.registry.desk import Desk
from chatproto.registry.messages import (
    FRAME_BYTES_MAX,
    Beat,
    Claim,
    Denied,
    Hello,
    Holds,
    Message,
    Propose,
    Refused,
    Welcome,
    decode_from_registry,
    encode,
    encode_state,
)
from chatproto.registry.names import Names
from chatproto.registry.protocol import LIMITS, RegistryLinkFactory
from chatproto.registry.shelf import Shelf
from chatproto.registry.witness import Witness
from chatproto.tally import Tally
from chatproto.wire import framed
from tests.unit.registry.rig import Disk, End, Events
from tests.unit.turns import TurnClock

LEASE = 0.9
HEARTBEAT = 0.15
SUSPECT = 0.6

PAIR = Configuration(3, "east", ("east", "west"))


class RegistryLinkTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.disk = Disk()
        self.tally = Tally()
        self.factory = RegistryLinkFactory(Turn(self.clock), self.clock, HEARTBEAT, SUSPECT, self.tally)
        self.dials = 0
        self.begin()
        self.events = Events()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def begin(self, **held: Configuration) -> None:
        self.witness = Witness(LEASE, held, self.clock.seconds())
        self.names = Names()
        self.desk = Desk(self.names, HEARTBEAT, SUSPECT)
        self.shelf = Shelf(encode_state(held), [])
        self.factory.serve(self.witness, self.desk, self.shelf, self.disk.keep)

    def connect(self, host: str = "127.0.0.1") -> End:
        link = self.factory.buildProtocol(None)
        assert link is not None
        return End(link, self.clock, decode_from_registry, host)

    def hello(self, name: str, claim: Configuration | None = None, **more: Any) -> Hello:
        self.dials += 1
        fields = {"version": 1, "service": "chat", "founder": False, "life": 1, "dial": self.dials, **more}
        return Hello(node=name, claim=claim, **fields)

    def come(self, name: str, claim: Configuration | None = None, **more: Any) -> End:
        end = self.connect()
        self.say(end, self.hello(name, claim, **more))
        return end

    def pair(self) -> tuple[End, End]:
        self.begin(chat=PAIR)
        ends = self.come("east", PAIR), self.come("west", PAIR)
        for end in ends:
            self.assertEqual(end.sent(), [Welcome(PAIR)])
        self.wait(2 * LEASE, *ends)
        for end in ends:
            end.sent()
        return ends

    def say(self, end: End, *messages: Message) -> None:
        end.link.dataReceived(b"".join(map(encode, messages)))

    def wait(self, seconds: float, *beating: End) -> None:
        """Let time pass; those named beat."""
        for _ in range(round(seconds / HEARTBEAT)):
            for end in beating:
                self.say(end, Beat())
            self.clock.advance(HEARTBEAT)

    def told(self, text: str) -> int:
        """Return how often something was logged."""
        return self.events.count(text)


class ConversationTests(RegistryLinkTestCase):
    def test_a_node_is_welcomed(self) -> None:
        self.assertEqual(self.come("east").sent(), [Welcome(None)])
        self.begin(chat=PAIR)
        self.assertEqual(self.come("east").sent(), [Welcome(PAIR)])

    def test_a_change_is_told_to_all_once_it_is_durable(self) -> None:
        east, west = self.pair()
        alone = Configuration(4, "east", ("east",))
        self.say(east, Propose(alone, False))
        self.assertEqual((east.sent(), west.sent(), len(self.disk.asked)), ([], [], 1))
        self.disk.done()
        self.assertEqual((east.sent(), west.sent()), ([Holds(alone)], [Holds(alone)]))
        self.assertEqual(self.witness.held("chat"), alone)
        self.assertEqual(self.told("chat has epoch 4 now: east leads, members are east"), 1)

    def test_a_denial_is_told_to_the_asker(self) -> None:
        east, west = self.pair()
        self.say(west, Propose(Configuration(4, "west", ("west",)), False))
        self.assertEqual((east.sent(), west.sent()), ([], [Denied(4, "leader-heard", PAIR)]))
        self.assertEqual(self.disk.asked, [])

    def test_a_denial_that_is_asked_for_again_is_logged_once(self) -> None:
        _, west = self.pair()
        for _ in range(5):
            self.say(west, Propose(Configuration(4, "west", ("west",)), False))
        self.assertEqual(len(west.sent()), 5)
        self.assertEqual(self.told("chat/west is denied epoch 4: the witness hears the leader"), 1)
        self.say(west, Propose(Configuration(9, "west", ("west",)), False))
        self.assertEqual(self.told("chat/west is denied"), 2)

    def test_a_witness_that_has_forgotten_warns(self) -> None:
        east = self.come("east", PAIR)
        self.say(east, Propose(Configuration(4, "east", ("east",)), False))
        self.assertEqual(self.events.at(LogLevel.warn), 1)
        self.assertEqual(self.told("a node holds a newer configuration than the witness"), 1)

    def test_claims_of_both_are_adopted(self) -> None:
        east, west = self.come("east", PAIR), self.come("west")
        self.assertEqual((east.sent(), west.sent()), ([Welcome(None)], [Welcome(None)]))
        self.say(west, Claim(PAIR))
        self.disk.done()
        self.assertEqual((east.sent(), west.sent()), ([Holds(PAIR)], [Holds(PAIR)]))

    def test_a_change_outlives_the_link_that_asked_for_it(self) -> None:
        east, west = self.pair()
        alone = Configuration(4, "east", ("east",))
        self.say(east, Propose(alone, False))
        east.lose()
        again = self.come("east", PAIR)
        self.assertEqual(again.sent(), [])
        self.disk.done()
        self.assertEqual((again.sent(), west.sent()), ([Welcome(alone)], [Holds(alone)]))

    def test_another_version_is_refused_politely(self) -> None:
        end = self.come("east", version=2)
        self.assertEqual(end.sent(), [Refused("version")])
        self.assertEqual(end.calls, ["lose"])
        self.assertEqual(self.told("chat/east is refused: the registry speaks another version"), 1)
        end.lose()
        self.assertEqual(self.factory.links, {})


class NonsenseTests(RegistryLinkTestCase):
    def drop(self, end: End) -> None:
        self.assertEqual(end.calls, ["abort"])
        end.sent()
        self.say(end, self.hello("east"), Beat())
        self.assertEqual((end.calls, end.sent()), (["abort"], []))

    def test_garbage(self) -> None:
        for payload in (b"", b"\xc1", b"{}", b"\x91" * 100, b"GET / HTTP/1.0"):
            end = self.connect()
            end.link.dataReceived(framed(payload))
            self.drop(end)

    def test_what_follows_garbage_is_not_taken(self) -> None:
        east, _ = self.pair()
        alone = Propose(Configuration(4, "east", ("east",)), False)
        east.link.dataReceived(framed(b"garbage") + encode(alone))
        self.drop(east)
        self.assertEqual(self.disk.asked, [])

    def test_a_frame_that_is_too_long(self) -> None:
        end = self.connect()
        end.link.dataReceived((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        self.drop(end)
        end = self.connect()
        end.link.dataReceived(b"GET / HTTP/1.0\r\n\r\n")
        self.drop(end)

    def test_a_frame_as_long_as_allowed_is_looked_at(self) -> None:
        end = self.connect()
        end.link.dataReceived(framed(b"\x00" * FRAME_BYTES_MAX)[:-1])
        self.assertEqual(end.calls, [])

    def test_anything_before_a_hello(self) -> None:
        for message in (Beat(), Claim(PAIR), Propose(PAIR, False)):
            end = self.connect()
            self.say(end, message)
            self.drop(end)

    def test_a_second_hello(self) -> None:
        end = self.come("east")
        self.say(end, self.hello("west"))
        self.drop(end)

    def test_what_the_registry_says(self) -> None:
        end = self.come("east")
        self.say(end, Welcome(None))
        self.drop(end)

    def test_every_byte_alone(self) -> None:
        east, west = self.pair()
        alone = Configuration(4, "east", ("east",))
        for byte in encode(Beat()) + encode(Propose(alone, False)):
            east.link.dataReceived(bytes([byte]))
        self.disk.done()
        self.assertEqual(west.sent(), [Holds(alone)])


class HeartbeatTests(RegistryLinkTestCase):
    def test_the_registry_beats(self) -> None:
        end = self.come("east")
        end.sent()
        self.wait(3 * HEARTBEAT, end)
        self.assertEqual(end.sent(), [Beat()] * 3)

    def test_a_silent_node_is_aborted(self) -> None:
        east, west = self.pair()
        self.wait(2 * SUSPECT, east)
        self.assertEqual((east.calls, west.calls), ([], ["abort"]))

    def test_whoever_says_no_hello_is_aborted(self) -> None:
        """Even one that keeps sending the beginning of something."""
        end = self.connect()
        for byte in encode(self.hello("east"))[:20]:
            end.link.dataReceived(bytes([byte]))
            self.clock.advance(HEARTBEAT / 2)
        self.assertEqual(end.calls, ["abort"])
        self.assertEqual(self.told("no-hello"), 1)

    def test_a_node_that_does_not_read_is_aborted(self) -> None:
        _, west = self.pair()
        west.link.pauseProducing()
        for _ in range(20_000):
            self.say(west, Propose(Configuration(4, "west", ("west",)), False))
            if west.calls:
                break
        self.assertEqual(west.calls, ["abort"])


class LossTests(RegistryLinkTestCase):
    """What the end of a leader's link says depends on who has ended it."""

    TAKEOVER = Propose(Configuration(4, "west", ("west",)), False)

    def granted(self, west: End) -> bool:
        west.sent()
        self.say(west, self.TAKEOVER)
        return bool(self.disk.asked)

    def test_a_leader_that_closed_is_gone(self) -> None:
        east, west = self.pair()
        self.assertFalse(self.granted(west))
        east.lose(ConnectionLost)
        self.assertTrue(self.granted(west))

    def test_a_leader_that_was_hung_up_on_for_silence_has_a_lease(self) -> None:
        east, west = self.pair()
        self.say(east, Beat())
        heard = self.clock.seconds()
        while not east.aborted():
            self.wait(HEARTBEAT, west)
        self.assertLess(self.clock.seconds() - heard, LEASE)
        self.assertFalse(self.granted(west))
        self.wait(LEASE - (self.clock.seconds() - heard), west)
        self.clock.advance(0.001)
        self.assertTrue(self.granted(west))

    def test_a_leader_that_was_hung_up_on_for_nonsense_has_a_lease(self) -> None:
        east, west = self.pair()
        east.link.dataReceived(framed(b"nonsense"))
        self.assertTrue(east.aborted())
        self.assertFalse(self.granted(west))

    def test_a_leader_that_has_connected_again_is_there(self) -> None:
        for reason in (ConnectionLost, ConnectionAborted):
            east, west = self.pair()
            again = self.come("east", PAIR)
            self.assertEqual(east.calls, ["abort"])
            self.assertEqual(again.sent(), [Welcome(PAIR)])
            east.lose(reason)
            self.assertFalse(self.granted(west))

    def test_nothing_is_taken_from_a_link_that_is_superseded(self) -> None:
        east, west = self.pair()
        alone = Configuration(4, "east", ("east",))
        frames = encode(Propose(alone, False))
        east.link.dataReceived(frames[:-1])
        self.come("east", PAIR)
        east.link.dataReceived(frames[-1:] + frames)
        self.assertEqual((self.disk.asked, west.sent()), ([], []))
        self.assertEqual(self.told("chat/east has connected again"), 1)

    def test_a_link_that_was_dialled_earlier_does_not_supersede(self) -> None:
        early = self.hello("east", PAIR)
        east, _ = self.pair()
        late = self.connect()
        self.say(late, early)
        self.assertEqual((late.calls, late.sent(), east.calls), (["abort"], [], []))


class RoomTests(RegistryLinkTestCase):
    def test_so_many_links_and_no_more(self) -> None:
        nodes = []
        for number in range(LIMITS.connections_max):
            nodes.append(self.connect(host=f"10.0.0.{number % 200}"))
            nodes[-1].link.introduced()
        late = self.connect()
        self.assertEqual((late.calls, self.tally.dropped), (["abort"], {("registry", "full"): 1}))
        late.lose(ConnectionAborted)
        nodes[0].lose()
        self.assertEqual((self.connect().calls, len(self.factory.links)), ([], LIMITS.connections_max))

    def test_strangers_make_room_for_who_comes_after_them(self) -> None:
        """Whoever holds connections open and says nothing keeps no node out."""
        assert LIMITS.strangers_max is not None
        strangers = [self.connect(host=f"10.0.0.{number % 200}") for number in range(LIMITS.strangers_max)]
        node = self.connect()
        self.say(node, self.hello("east"))
        self.assertEqual((len(node.sent()), node.calls), (1, []))
        more = [self.connect() for _ in range(3)]
        gone = [stranger for stranger in strangers if stranger.calls]
        self.assertEqual((gone, [end.calls for end in more]), (strangers[:3], [[]] * 3))
        self.assertEqual(self.tally.dropped, {("registry", "crowded-out"): 3})
        self.assertEqual(self.told("crowded-out"), 3)

    def test_one_address_has_so_many(self) -> None:
        for _ in range(LIMITS.per_address_max):
            self.connect()
        self.assertEqual((self.connect().calls, self.connect(host="10.0.0.1").calls), (["abort"], []))
        self.assertEqual(self.tally.dropped, {("registry", "too-many-from-address"): 1})


class ServingTests(RegistryLinkTestCase):
    def test_nobody_is_let_in_before_the_disk_is_read(self) -> None:
        factory = RegistryLinkFactory(Turn(self.clock), self.clock, HEARTBEAT, SUSPECT, self.tally)
        self.assertIsNone(factory.buildProtocol(None))

    def test_nobody_is_heard_any_more_once_it_stops(self) -> None:
        east, west = self.pair()
        self.say(east, Propose(Configuration(4, "east", ("east",)), False))
        self.factory.stop()
        self.clock.turn()
        self.assertEqual((east.calls, west.calls), (["lose"], ["lose"]))
        self.say(west, Propose(Configuration(4, "west", ("west",)), False))
        self.disk.done()
        self.assertEqual((len(self.disk.asked), east.sent(), west.sent()), (0, [], []))
        for end in (east, west):
            end.lose()
        self.assertEqual(self.factory.links, {})
        self.assertIsNone(self.factory.buildProtocol(None))

    def test_a_message_that_comes_as_it_stops_is_not_answered(self) -> None:
        end = self.connect()
        link: Any = end.link
        self.factory._witness = None
        self.factory.received(link, self.hello("east"))
        self.assertEqual(end.sent(), [])

    def test_failures_are_not_logged(self) -> None:
        self.pair()
        self.assertEqual(self.events.at(LogLevel.error), 0)
