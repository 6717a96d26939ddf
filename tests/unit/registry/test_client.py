import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.link import Turn
from chatproto.pair.configuration import Configuration
from chatproto.pair.witness import AskedWitness
from chatproto.registry.client import RETRY_S_MAX, RETRY_S_MIN, RegistryWitness
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
    decode_from_node,
    encode,
)
from chatproto.trust.interface import BELIEVING, Trust
from chatproto.trust.proof import REGISTRY
from chatproto.trust.secret import Dialled
from chatproto.trust.sharing import SharedSecret
from chatproto.wire import FrameBuffer, framed
from tests.unit.registry.rig import End, Events
from tests.unit.turns import TurnClock

HEARTBEAT = 0.15
SUSPECT = 0.6

PAIR = Configuration(3, "east", ("east", "west"))
ALONE = Configuration(4, "east", ("east",))
TAKEN = Configuration(4, "west", ("west",))


@implementer(IStreamClientEndpoint)
class FakeEndpoint:
    """Notes each try; what becomes of it a test says."""

    def __init__(self, clock: TurnClock) -> None:
        self.clock = clock
        self.times: list[float] = []
        self.tries: list[Deferred[Any]] = []
        self.factories: list[Any] = []
        self.cancelled = 0
        self.answer: Callable[[], Deferred[Any]] = lambda: Deferred(self.cancel)

    def connect(self, factory: Any) -> "Deferred[Any]":
        self.times.append(self.clock.seconds())
        self.factories.append(factory)
        self.tries.append(self.answer())
        return self.tries[-1]

    def cancel(self, _: object) -> None:
        self.cancelled += 1


class Heard:
    """`WitnessHeard` that notes, and does something on hearing something."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.then: dict[str, Callable[[], object]] = {}

    def _note(self, what: str, *details: Any) -> None:
        self.heard.append((what, *details))
        if what in self.then:
            self.then.pop(what)()

    def witness_up(self, configuration: Configuration | None) -> None:
        self._note("up", configuration)

    def witness_down(self) -> None:
        self._note("down")

    def witness_holds(self, configuration: Configuration) -> None:
        self._note("holds", configuration)

    def witness_denied(self, reason: str, configuration: Configuration | None) -> None:
        self._note("denied", reason, configuration)

    def take(self) -> list[tuple[Any, ...]]:
        heard, self.heard = self.heard, []
        return heard


class RegistryWitnessTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.endpoint = FakeEndpoint(self.clock)
        self.heard = Heard()
        self.witness = self.make()
        self.events = Events()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def make(self, seed: int = 1, trust: Trust = BELIEVING) -> RegistryWitness:
        return RegistryWitness(
            self.endpoint,
            self.clock,
            random.Random(seed),
            Turn(self.clock),
            service="chat",
            node="east",
            heartbeat_s=HEARTBEAT,
            suspect_s=SUSPECT,
            trust=trust,
        )

    def open(self, claim: Configuration | None = None, *, founder: bool = False) -> None:
        self.witness.open(self.heard, claim, founder)

    def connect(self) -> End:
        """The try that is under way succeeds."""
        end = End(self.endpoint.factories[-1].buildProtocol(None), self.clock, decode_from_node)
        self.endpoint.tries[-1].callback(end.link)
        return end

    def say(self, end: End, *messages: Message) -> None:
        end.link.dataReceived(b"".join(map(encode, messages)))

    def up(self, configuration: Configuration | None = PAIR) -> End:
        """Connected, and welcomed."""
        self.open(PAIR)
        end = self.connect()
        self.say(end, Welcome(configuration))
        end.sent()
        self.heard.take()
        return end

    def next_try(self) -> float:
        """Let time pass until the next try; return how long it took."""
        before, count = self.clock.seconds(), len(self.endpoint.times)
        while len(self.endpoint.times) == count:
            self.clock.advance(0.001)
            self.assertLess(self.clock.seconds() - before, 2 * RETRY_S_MAX)
        return self.clock.seconds() - before

    def refuse(self) -> None:
        self.endpoint.tries[-1].errback(ConnectionRefusedError())

    def told(self, text: str) -> int:
        """Return how often something was logged."""
        return self.events.count(text)


class HelloTests(RegistryWitnessTestCase):
    def test_is_an_asked_witness(self) -> None:
        asked: AskedWitness = self.witness
        self.assertFalse(asked.up)

    def test_nothing_is_dialled_before_it_is_opened(self) -> None:
        self.clock.advance(10)
        self.assertEqual(self.endpoint.times, [])

    def test_says_hello_and_is_up_once_that_is_answered(self) -> None:
        self.open(PAIR, founder=True)
        end = self.connect()
        (hello,) = end.sent()
        assert isinstance(hello, Hello)
        self.assertEqual(hello, Hello(1, "chat", "east", True, PAIR, hello.life, 1))
        self.assertEqual((self.witness.up, self.heard.take()), (False, []))
        self.say(end, Beat(), Welcome(PAIR))
        self.assertEqual((self.witness.up, self.heard.take()), (True, [("up", PAIR)]))

    def test_a_registry_that_holds_nothing(self) -> None:
        self.open()
        self.say(self.connect(), Welcome(None))
        self.assertEqual(self.heard.take(), [("up", None)])

    def test_each_connection_says_what_was_claimed_last_and_its_number(self) -> None:
        self.open()
        first = self.connect()
        (before,) = first.sent()
        self.witness.claim(PAIR)
        self.assertEqual(first.sent(), [Claim(PAIR)])
        first.lose()
        self.witness.claim(ALONE)
        self.next_try()
        (after,) = self.connect().sent()
        assert isinstance(before, Hello) and isinstance(after, Hello)
        self.assertEqual((before.claim, before.dial, after.claim, after.dial), (None, 1, ALONE, 2))
        self.assertEqual(before.life, after.life)

    def test_each_life_has_a_number_of_its_own(self) -> None:
        lives = set()
        for seed in range(5):
            self.witness = self.make(seed)
            self.open()
            (hello,) = self.connect().sent()
            assert isinstance(hello, Hello)
            lives.add(hello.life)
        self.assertEqual(len(lives), 5)

    def test_a_refusal_is_logged_and_tried_again(self) -> None:
        self.open()
        end = self.connect()
        self.say(end, Refused("full"), Welcome(PAIR))
        self.assertEqual((end.calls, self.witness.up, self.heard.take()), (["abort"], False, []))
        self.assertEqual(self.told("refuses this node: the registry knows as many"), 1)
        end.lose()
        self.next_try()

    def test_a_refusal_of_a_newer_registry(self) -> None:
        self.open()
        self.say(self.connect(), Refused("full-moon"))
        self.assertEqual(self.told("refuses this node: full-moon"), 1)

    def test_it_is_opened_once(self) -> None:
        self.open()
        self.assertRaises(AssertionError, self.open)


class ProposalTests(RegistryWitnessTestCase):
    def test_granted(self) -> None:
        end = self.up()
        self.witness.propose(ALONE)
        self.assertEqual(end.sent(), [Propose(ALONE, False)])
        self.say(end, Holds(ALONE))
        self.assertEqual(self.heard.take(), [("holds", ALONE)])
        self.witness.propose(Configuration(5, "east", ("east", "west")))

    def test_denied(self) -> None:
        end = self.up()
        self.witness.propose(ALONE, lossy=True)
        self.assertEqual(end.sent(), [Propose(ALONE, True)])
        self.say(end, Denied(4, "leader-heard", PAIR))
        self.assertEqual(self.heard.take(), [("denied", "leader-heard", PAIR)])
        self.witness.propose(ALONE)

    def test_lost_with_its_connection(self) -> None:
        end = self.up()
        self.witness.propose(ALONE)
        end.lose()
        self.assertEqual((self.witness.up, self.heard.take()), (False, [("down",)]))
        self.next_try()
        end = self.connect()
        self.say(end, Welcome(ALONE))
        self.assertEqual(self.heard.take(), [("up", ALONE)])
        # Nothing is sent again: whoever asked has heard what became of it.
        self.assertEqual([type(message) for message in end.sent()], [Hello])
        self.witness.propose(Configuration(5, "east", ("east", "west")))

    def test_a_change_that_is_told_of_answers_a_proposal_for_the_same_epoch(self) -> None:
        """Its denial comes after, and may not be taken for that of the next one."""
        end = self.up()
        self.witness.propose(ALONE)
        self.say(end, Holds(TAKEN))
        following = Configuration(5, "east", ("east",))
        self.witness.propose(following)
        self.say(end, Denied(4, "stale", TAKEN))
        self.assertEqual(self.heard.take(), [("holds", TAKEN)])
        self.say(end, Denied(5, "not-a-member", TAKEN))
        self.assertEqual(self.heard.take(), [("denied", "not-a-member", TAKEN)])

    def test_a_denial_that_comes_after_the_change_is_passed_over(self) -> None:
        end = self.up()
        self.witness.propose(ALONE)
        self.say(end, Holds(TAKEN), Denied(4, "stale", TAKEN))
        self.assertEqual(self.heard.take(), [("holds", TAKEN)])

    def test_an_earlier_change_is_no_answer(self) -> None:
        end = self.up(None)
        self.witness.propose(ALONE)
        self.say(end, Holds(PAIR))
        self.assertRaises(AssertionError, self.witness.propose, ALONE)
        self.say(end, Denied(4, "busy", PAIR))
        self.assertEqual(self.heard.take(), [("holds", PAIR), ("denied", "busy", PAIR)])

    def test_a_change_of_somebody_else(self) -> None:
        end = self.up()
        self.say(end, Holds(TAKEN))
        self.assertEqual(self.heard.take(), [("holds", TAKEN)])

    def test_not_while_it_is_not_up(self) -> None:
        self.assertRaises(AssertionError, self.witness.propose, ALONE)
        self.open()
        self.connect()
        self.assertRaises(AssertionError, self.witness.propose, ALONE)

    def test_one_at_a_time(self) -> None:
        self.up()
        self.witness.propose(ALONE)
        self.assertRaises(AssertionError, self.witness.propose, ALONE)

    def test_what_is_asked_on_hearing_an_answer(self) -> None:
        end = self.up()
        self.heard.then = {
            "denied": lambda: self.witness.propose(ALONE),
            "holds": lambda: self.witness.propose(Configuration(5, "east", ("east",))),
        }
        self.witness.propose(ALONE)
        self.say(end, Denied(4, "busy", PAIR), Holds(ALONE))
        self.assertEqual([message.configuration.epoch for message in end.sent()], [4, 4, 5])  # type: ignore[attr-defined]


class DialTests(RegistryWitnessTestCase):
    def test_the_first_retry_is_quick_and_later_ones_ever_less(self) -> None:
        self.open()
        waits = []
        for _ in range(12):
            self.refuse()
            waits.append(self.next_try())
        for number, wait in enumerate(waits):
            most = min(RETRY_S_MAX, RETRY_S_MIN * 2**number)
            self.assertTrue(most / 2 <= wait <= most + 0.002, (number, wait))
        self.assertEqual(len(set(waits[6:])), 6, "there is no jitter")
        self.assertEqual(self.told("no link to the registry"), 1)

    def test_the_same_dice_give_the_same_waits(self) -> None:
        def waits(seed: int) -> list[float]:
            self.setUp()
            self.witness = self.make(seed)
            self.open()
            found = []
            for _ in range(5):
                self.refuse()
                found.append(self.next_try())
            return [round(wait, 3) for wait in found]

        self.assertEqual(waits(3), waits(3))
        self.assertNotEqual(waits(3), waits(4))

    def test_a_try_that_fails_at_once(self) -> None:
        self.endpoint.answer = lambda: fail(ConnectionRefusedError())
        self.open()
        for _ in range(3):
            self.next_try()
        self.assertEqual(self.heard.take(), [])

    def test_an_endpoint_that_raises(self) -> None:
        def refuse() -> "Deferred[Any]":
            raise ValueError("no such file")

        self.endpoint.answer = refuse
        self.open()
        self.next_try()
        self.assertEqual(self.told("no link to the registry (no such file)"), 1)

    def test_a_try_that_hangs_is_given_up(self) -> None:
        self.open()
        self.assertTrue(SUSPECT < self.next_try() <= SUSPECT + RETRY_S_MIN + 0.002)
        self.assertEqual(self.endpoint.cancelled, 1)
        self.assertEqual(self.heard.take(), [])
        self.say(self.connect(), Welcome(None))
        self.assertEqual(self.heard.take(), [("up", None)])

    def test_a_try_that_was_given_up_and_comes_through_is_aborted(self) -> None:
        self.open()
        self.clock.advance(SUSPECT)
        late = End(self.endpoint.factories[0].buildProtocol(None), self.clock, decode_from_node)
        self.assertEqual((late.calls, late.sent()), (["abort"], []))
        late.lose()
        self.next_try()
        later = End(self.endpoint.factories[0].buildProtocol(None), self.clock, decode_from_node)
        self.assertEqual((later.calls, later.sent()), (["abort"], []))
        later.lose()
        self.say(self.connect(), Welcome(None))
        self.assertEqual(self.heard.take(), [("up", None)])
        self.assertEqual(len(self.endpoint.times), 2)

    def test_a_try_that_fails_after_it_was_given_up_changes_nothing(self) -> None:
        self.endpoint.answer = Deferred
        self.open()
        first = self.endpoint.tries[0]
        self.next_try()
        self.assertTrue(first.called)
        self.connect()
        self.clock.advance(2 * HEARTBEAT)
        self.assertEqual(len(self.endpoint.times), 2)

    def test_a_connection_that_is_made_at_once(self) -> None:
        ends: list[End] = []

        def connected() -> "Deferred[Any]":
            ends.append(End(self.endpoint.factories[-1].buildProtocol(None), self.clock, decode_from_node))
            return succeed(ends[-1].link)

        self.endpoint.answer = connected
        self.open()
        self.say(ends[0], Welcome(None))
        self.clock.advance(SUSPECT / 2)
        self.assertEqual((self.heard.take(), ends[0].calls), ([("up", None)], []))

    def test_a_link_that_was_up_for_long_is_dialled_again_at_once(self) -> None:
        self.open()
        for _ in range(8):
            self.refuse()
            self.next_try()
        end = self.connect()
        self.say(end, Welcome(None))
        while self.clock.seconds() < self.endpoint.times[-1] + RETRY_S_MAX:
            self.say(end, Beat())
            self.clock.advance(HEARTBEAT)
        end.lose()
        self.assertLess(self.next_try(), RETRY_S_MIN + 0.002)

    def test_a_link_that_does_not_last_is_not(self) -> None:
        """Two processes of one name, each of which ends the link of the other."""
        self.open()
        waits = []
        for _ in range(8):
            end = self.connect()
            self.say(end, Welcome(None))
            end.lose()
            waits.append(self.next_try())
        self.assertGreater(min(waits[5:]), RETRY_S_MAX / 2)
        self.assertEqual(self.heard.take(), [("up", None), ("down",)] * 8)

    def test_a_registry_that_was_never_reached_is_not_lost(self) -> None:
        self.open()
        self.refuse()
        self.next_try()
        self.connect().lose()
        self.next_try()
        self.assertEqual(self.heard.take(), [])


class SilenceTests(RegistryWitnessTestCase):
    def test_a_silent_registry_is_aborted_and_reported(self) -> None:
        end = self.up()
        while not end.aborted():
            self.clock.advance(HEARTBEAT)
        self.assertTrue(SUSPECT <= self.clock.seconds() <= SUSPECT + HEARTBEAT)
        self.assertEqual((self.witness.up, self.heard.take()), (False, [("down",)]))
        self.next_try()

    def test_one_that_never_answers_is_aborted_and_tried_again(self) -> None:
        self.open()
        end = self.connect()
        while not end.aborted():
            self.clock.advance(HEARTBEAT)
        self.next_try()
        self.assertEqual(self.heard.take(), [])

    def test_one_that_beats_may_take_its_time_to_welcome(self) -> None:
        """Its disk may be slow."""
        self.open()
        end = self.connect()
        for _ in range(20):
            self.say(end, Beat())
            self.clock.advance(HEARTBEAT)
        self.say(end, Welcome(PAIR))
        self.assertEqual((end.calls, self.heard.take()), ([], [("up", PAIR)]))

    def test_the_node_beats(self) -> None:
        end = self.up()
        for _ in range(3):
            self.clock.advance(HEARTBEAT)
        self.assertEqual(end.sent(), [Beat()] * 3)


class NonsenseTests(RegistryWitnessTestCase):
    def test_what_is_not_of_the_protocol_ends_the_link(self) -> None:
        for data in (
            framed(b"garbage"),
            framed(b""),
            (FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            encode(Claim(PAIR)),
            encode(Welcome(PAIR)),
            encode(Holds(Configuration(1, "nobody", ("east",)))),
        ):
            self.setUp()
            end = self.up()
            end.link.dataReceived(data)
            self.assertTrue(end.aborted(), data)
            self.assertEqual(self.heard.take(), [("down",)])
            self.next_try()

    def test_what_comes_before_the_welcome_ends_the_link(self) -> None:
        for message in (Holds(PAIR), Denied(1, "stale", PAIR)):
            self.setUp()
            self.open()
            end = self.connect()
            self.say(end, message, Welcome(PAIR))
            self.assertTrue(end.aborted())
            self.assertEqual(self.heard.take(), [])


class CloseTests(RegistryWitnessTestCase):
    def quiet(self) -> None:
        """Nothing is heard and nothing dialled any more."""
        dialled = len(self.endpoint.times)
        self.clock.pump([0.1] * 50)
        self.assertEqual((self.heard.take(), len(self.endpoint.times)), ([], dialled))
        self.assertFalse(self.witness.up)

    def test_before_it_is_opened(self) -> None:
        self.witness.close()
        self.quiet()

    def test_while_it_dials(self) -> None:
        self.open()
        self.witness.close()
        self.assertEqual(self.endpoint.cancelled, 1)
        late = End(self.endpoint.factories[0].buildProtocol(None), self.clock, decode_from_node)
        self.assertEqual((late.calls, late.sent()), (["abort"], []))
        late.lose()
        self.quiet()

    def test_between_two_tries(self) -> None:
        self.open()
        self.refuse()
        self.witness.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.quiet()

    def test_while_it_is_up(self) -> None:
        end = self.up()
        self.witness.propose(ALONE)
        self.witness.close()
        # Politely: what was asked for before is asked for.
        self.assertEqual((end.sent(), end.calls), ([Propose(ALONE, False)], ["lose"]))
        self.say(end, Holds(ALONE), Denied(4, "busy", PAIR))
        end.lose()
        self.quiet()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_on_hearing_anything(self) -> None:
        for what, message in (
            ("up", Welcome(PAIR)),
            ("holds", Holds(ALONE)),
            ("denied", Denied(4, "stale", PAIR)),
        ):
            self.setUp()
            if what == "up":
                self.open()
                end = self.connect()
            else:
                end = self.up()
            if what == "denied":
                self.witness.propose(ALONE)
            self.heard.then = {what: self.witness.close}
            self.say(end, message, Holds(TAKEN))
            self.assertEqual([heard[0] for heard in self.heard.take()], [what])
            end.lose()
            self.quiet()

    def test_on_hearing_that_it_is_down(self) -> None:
        end = self.up()
        self.heard.then = {"down": self.witness.close}
        end.lose()
        self.assertEqual(self.heard.take(), [("down",)])
        self.quiet()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_claim_after_it_is_not_sent(self) -> None:
        end = self.up()
        self.witness.close()
        self.witness.claim(ALONE)
        self.assertEqual(end.sent(), [])

    def test_what_a_link_hears_afterwards_is_passed_over(self) -> None:
        end = self.up()
        link: Any = end.link
        self.witness.close()
        self.witness.link_received(link, Holds(ALONE))
        self.quiet()


class SecretTests(RegistryWitnessTestCase):
    """A registry that wants a proof first."""

    def setUp(self) -> None:
        super().setUp()
        secret = b"correct horse battery staple"
        self.witness = self.make(trust=SharedSecret(secret, "east", lambda count: b"e" * count))
        self.registry = Dialled(secret, REGISTRY, "registry", b"r" * 32)
        self.open(PAIR)

    def said(self, end: End) -> list[bytes]:
        self.clock.turn()
        data, end.transport.writes[:] = b"".join(end.transport.writes), []
        return FrameBuffer(FRAME_BYTES_MAX).feed(data)

    def prove(self, end: End) -> None:
        """Answer what the node says, until each knows the other."""
        for _ in range(2):
            for frame in self.said(end):
                end.link.dataReceived(framed(self.registry.received(frame).send))

    def test_what_is_claimed_meanwhile_is_in_the_hello(self) -> None:
        end = self.connect()
        self.witness.claim(ALONE)
        self.prove(end)
        (hello,) = map(decode_from_node, self.said(end))
        assert isinstance(hello, Hello)
        self.assertEqual((hello.node, hello.claim), ("east", ALONE))
        self.witness.claim(PAIR)
        self.assertEqual([decode_from_node(frame) for frame in self.said(end)], [Claim(PAIR)])

    def test_a_link_that_is_lost_meanwhile_is_dialled_again(self) -> None:
        end = self.connect()
        end.lose()
        self.assertGreater(self.next_try(), 0)
        end = self.connect()
        self.prove(end)
        self.assertEqual(len(self.said(end)), 1)
        self.say(end, Welcome(PAIR))
        self.assertEqual(self.heard.take(), [("up", PAIR)])

    def test_closed_meanwhile_it_says_no_more(self) -> None:
        end = self.connect()
        self.said(end)
        self.witness.close()
        self.clock.turn()
        self.assertEqual(end.calls, ["lose"])
