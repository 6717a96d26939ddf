import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import CallRejected, RegistryRefused, RegistryStopped, RegistryUnanswered
from chatproto.registry.asking import PATIENCE_S, REQUESTS, RETRY_S_MAX, STOP_S_MAX
from chatproto.registry.desk import TOPICS_PER_VISITOR_MAX
from chatproto.registry.keeping import RENEWALS_PER_LEASE
from chatproto.registry.messages import Beat, Hello, Message, Refused, encode
from chatproto.registry.names import PAYLOAD_BYTES_MAX, Registration
from chatproto.registry.requests import (
    Answer,
    Answered,
    Asked,
    Call,
    Changed,
    Done,
    Enter,
    Entered,
    Failed,
    Find,
    Found,
    Join,
    Leave,
    Notify,
    Register,
    Reject,
    Renew,
    Resolve,
    Told,
    Watch,
    Withdraw,
    decode_from_anybody,
)
from chatproto.registry.visitor import SERVING_MAX, TIMEOUT_S, RegistryClient
from tests.unit.registry.rig import End, Events
from tests.unit.registry.test_client import FakeEndpoint
from tests.unit.turns import TurnClock

HEARTBEAT, SUSPECT = 0.15, 0.6
EAST = Registration("chat", "east", address="east:4444", role="leader", lease_s=3.0)
WEST = Registration("chat", "west", address="west:4444", role="follower", lease_s=3.0)


class Watcher:
    """`NamesHeard` that notes."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def names_listed(self, registrations: list[Registration]) -> None:
        self.heard.append(("listed", registrations))

    def name_registered(self, registration: Registration) -> None:
        self.heard.append(("registered", registration))

    def name_gone(self, registration: Registration) -> None:
        self.heard.append(("gone", registration))

    def take(self) -> list[tuple[str, Any]]:
        heard, self.heard = self.heard, []
        return heard


class RegistryClientTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.endpoint = FakeEndpoint(self.clock)
        self.client = RegistryClient(self.endpoint, self.clock, random.Random(1), who="test")
        self.events = Events()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)
        self.client.startService()

    def connect(self) -> End:
        """The try that is under way succeeds."""
        end = End(self.endpoint.factories[-1].buildProtocol(None), self.clock, decode_from_anybody)
        self.endpoint.tries[-1].callback(end.link)
        return end

    def enter(self) -> End:
        """Connected, and let in."""
        end = self.connect()
        self.assertEqual(end.sent(), [Enter(1, "test")])
        self.say(end, Entered(HEARTBEAT, SUSPECT))
        return end

    def say(self, end: End, *messages: Message) -> None:
        end.link.dataReceived(b"".join(map(encode, messages)))

    def sent(self, end: End) -> list[Any]:
        """Return what was sent but beats."""
        return [message for message in end.sent() if not isinstance(message, Beat)]

    def asked(self, end: End) -> Any:
        """Return the one request that was sent."""
        (request,) = self.sent(end)
        return request

    def wait(self, seconds: float, end: End | None = None) -> None:
        """Let time pass, the registry beating over a link."""
        for _ in range(round(seconds / 0.1)):
            if end is not None and end.link.open:
                self.say(end, Beat())
            self.clock.advance(0.1)

    def next_try(self) -> None:
        count = len(self.endpoint.times)
        while len(self.endpoint.times) == count:
            self.clock.advance(0.01)
            self.assertLess(self.clock.seconds(), 1000)

    def again(self, end: End) -> End:
        """The link is lost, and there is another."""
        end.lose()
        self.next_try()
        return self.enter()

    def refused(self, answer: "Deferred[Any]") -> str:
        failure = self.failureResultOf(answer, RegistryRefused)
        return str(failure.value.code)


class EnterTests(RegistryClientTestCase):
    def test_nothing_is_dialled_before_it_is_started(self) -> None:
        endpoint = FakeEndpoint(self.clock)
        client = RegistryClient(endpoint, self.clock)
        self.clock.advance(10)
        self.assertEqual(endpoint.times, [])
        self.failureResultOf(client.list(), RegistryStopped)

    def test_it_asks_once_it_is_let_in(self) -> None:
        listing = self.client.list(service="chat")
        end = self.connect()
        self.assertEqual((end.sent(), self.client.up), ([Enter(1, "test")], False))
        self.say(end, Entered(HEARTBEAT, SUSPECT))
        request = self.asked(end)
        self.assertEqual((request, self.client.up), (Find(request.number, "chat", "", ""), True))
        self.say(end, Found(request.number, [EAST], True), Found(request.number, [WEST], False))
        self.assertEqual(self.successResultOf(listing), [EAST, WEST])

    def test_it_beats_as_the_registry_says(self) -> None:
        end = self.enter()
        for _ in range(3):
            self.clock.advance(HEARTBEAT)
        self.assertEqual(end.sent(), [Beat()] * 3)

    def test_a_silent_registry_is_aborted(self) -> None:
        end = self.enter()
        while not end.aborted():
            self.clock.advance(HEARTBEAT)
        self.assertTrue(SUSPECT <= self.clock.seconds() <= SUSPECT + HEARTBEAT)
        self.assertFalse(self.client.up)
        self.next_try()

    def test_one_that_never_lets_in_is_aborted(self) -> None:
        end = self.connect()
        while not end.aborted():
            self.clock.advance(0.1)
            self.assertLessEqual(self.clock.seconds(), PATIENCE_S + 0.2)

    def test_a_refusal_is_logged_and_tried_again(self) -> None:
        end = self.connect()
        self.say(end, Refused("crowded"))
        self.assertTrue(end.aborted())
        self.assertEqual(self.events.count("lets nobody in: the registry has as many"), 1)
        self.next_try()

    def test_an_outage_is_logged_once(self) -> None:
        for _ in range(5):
            self.endpoint.tries[-1].errback(ConnectionRefusedError())
            self.next_try()
        self.assertEqual(self.events.count("no link to the registry"), 1)

    def test_what_does_not_belong_there_ends_the_link(self) -> None:
        for message in (Done(1), Entered(0.0, 0.6), Entered(1.0, 0.5), Hello(1, "chat", "east", True, None, 1, 1)):
            self.setUp()
            end = self.connect()
            self.say(end, message)
            self.assertTrue(end.aborted(), message)
        self.setUp()
        end = self.enter()
        self.say(end, Entered(HEARTBEAT, SUSPECT))
        self.assertTrue(end.aborted())

    def test_a_try_that_was_given_up_and_comes_through_is_aborted(self) -> None:
        self.clock.advance(PATIENCE_S)
        late = End(self.endpoint.factories[0].buildProtocol(None), self.clock, decode_from_anybody)
        self.assertEqual((late.calls, late.sent()), (["abort"], []))
        late.lose()


class RequestTests(RegistryClientTestCase):
    def test_resolved(self) -> None:
        end = self.enter()
        resolving = self.client.resolve("chat", "east")
        request = self.asked(end)
        self.assertEqual(request, Resolve(request.number, "chat", "east"))
        self.say(end, Found(request.number, [EAST], False))
        self.assertEqual(self.successResultOf(resolving), EAST)

    def test_refused_with_its_code_and_what_it_means(self) -> None:
        end = self.enter()
        resolving = self.client.resolve("chat")
        self.say(end, Failed(self.asked(end).number, "no-leader"))
        failure = self.failureResultOf(resolving, RegistryRefused)
        self.assertEqual(str(failure.value), "no-leader: none of the service's registrations is its leader")

    def test_refused_by_a_newer_registry(self) -> None:
        end = self.enter()
        resolving = self.client.resolve("chat")
        self.say(end, Failed(self.asked(end).number, "full-moon"))
        self.assertEqual(self.refused(resolving), "full-moon")

    def test_unanswered(self) -> None:
        end = self.enter()
        resolving = self.client.resolve("chat")
        self.wait(TIMEOUT_S - 0.2, end)
        self.assertNoResult(resolving)
        self.wait(0.4, end)
        self.failureResultOf(resolving, RegistryUnanswered)
        self.say(end, Found(self.asked(end).number, [EAST], False))

    def test_asked_again_where_the_link_breaks(self) -> None:
        end = self.enter()
        listing = self.client.list()
        request = self.asked(end)
        self.say(end, Found(request.number, [EAST], True))
        end = self.again(end)
        self.assertEqual(self.sent(end), [request])
        self.say(end, Found(request.number, [WEST], False))
        self.assertEqual(self.successResultOf(listing), [WEST])

    def test_cancelled(self) -> None:
        end = self.enter()
        listing = self.client.list()
        number = self.asked(end).number
        self.say(end, Found(number, [EAST], True))
        listing.cancel()
        self.failureResultOf(listing, CancelledError)
        self.say(end, Found(number, [WEST], False))
        self.assertEqual((len(self.client._asking._requests), self.client._asking._pages), (0, {}))

    def test_so_many_at_once_and_no_more(self) -> None:
        waiting = [self.client.list() for _ in range(REQUESTS.queue_max)]
        self.assertEqual(self.refused(self.client.list()), "busy")
        self.client.stopService()
        for each in waiting:
            self.failureResultOf(each, RegistryStopped)


class RegisterTests(RegistryClientTestCase):
    def wait_for_renewal(self, end: End) -> None:
        self.wait(EAST.lease_s / RENEWALS_PER_LEASE + 0.1, end)

    def registered(self, end: End, registration: Registration = EAST, serve: Any = None) -> None:
        registering = self.client.register(registration, b"token", serve)
        self.say(end, Done(self.asked(end).number))
        self.assertIsNone(self.successResultOf(registering))

    def test_registered(self) -> None:
        end = self.enter()
        registering = self.client.register(EAST, b"token")
        request = self.asked(end)
        self.assertEqual(request, Register(request.number, EAST, b"token", False))
        self.assertNoResult(registering)
        self.say(end, Done(request.number))
        self.assertIsNone(self.successResultOf(registering))

    def test_renewed_again_and_again(self) -> None:
        end = self.enter()
        self.registered(end)
        for _ in range(5):
            self.wait_for_renewal(end)
            request = self.asked(end)
            self.assertEqual(request, Renew(request.number, "chat", "east", b"token"))
            self.say(end, Done(request.number))

    def test_updated(self) -> None:
        end = self.enter()
        self.registered(end)
        follows = Registration("chat", "east", role="follower")
        self.registered(end, follows)
        self.wait_for_renewal(end)
        self.asked(end)
        end = self.again(end)
        self.assertEqual(self.asked(end).registration, follows)

    def test_registered_again_on_the_next_link(self) -> None:
        end = self.enter()
        self.registered(end)
        for _ in range(2):
            end = self.again(end)
            request = self.asked(end)
            self.assertEqual(request, Register(request.number, EAST, b"token", False))
            self.say(end, Done(request.number))

    def test_once_where_it_was_not_answered_before(self) -> None:
        end = self.enter()
        registering = self.client.register(EAST, b"token")
        request = self.asked(end)
        end = self.again(end)
        self.assertEqual(self.sent(end), [request])
        self.say(end, Done(request.number))
        self.successResultOf(registering)

    def test_registered_again_when_its_lease_was_over(self) -> None:
        end = self.enter()
        self.registered(end)
        self.wait_for_renewal(end)
        self.say(end, Failed(self.asked(end).number, "lease-over"))
        self.assertIsInstance(self.asked(end), Register)

    def test_a_taken_name_is_tried_again_and_said_once(self) -> None:
        end = self.enter()
        registering = self.client.register(EAST, b"token")
        self.say(end, Failed(self.asked(end).number, "taken"))
        self.assertEqual(self.refused(registering), "taken")
        for _ in range(3):
            self.wait_for_renewal(end)
            self.say(end, Failed(self.asked(end).number, "taken"))
        self.assertEqual(self.events.count("chat/east is not registered (taken"), 1)
        self.wait_for_renewal(end)
        self.say(end, Done(self.asked(end).number))
        self.wait_for_renewal(end)
        self.assertIsInstance(self.asked(end), Renew)

    def test_what_can_never_be_is_not_tried_again(self) -> None:
        end = self.enter()
        registering = self.client.register(Registration("chat", "a b"), b"token")
        self.say(end, Failed(self.asked(end).number, "bad-name"))
        self.assertEqual(self.refused(registering), "bad-name")
        self.wait(5, end)
        self.assertEqual(self.sent(end), [])

    def test_unanswered_it_is_registered_when_there_is_a_link(self) -> None:
        registering = self.client.register(EAST, b"token")
        self.endpoint.answer = lambda: fail(ConnectionRefusedError())
        self.endpoint.tries[-1].errback(ConnectionRefusedError())
        self.wait(TIMEOUT_S + 1)
        failure = self.failureResultOf(registering, RegistryUnanswered)
        self.assertIn("Connection was refused by other side", failure.getErrorMessage())
        self.endpoint.answer = Deferred
        self.next_try()
        self.assertEqual(self.asked(self.enter()).registration, EAST)

    def test_of_one_that_hangs_up_without_a_word_it_is_said_what_that_may_be(self) -> None:
        """A registry that speaks TLS ends what is none, and cannot say why."""
        self.assertIn("as one that speaks TLS does", self.hung_up_on(self.connect))
        self.assertIn("closed cleanly", self.hung_up_on(self.enter))

    def hung_up_on(self, connect: Callable[[], End]) -> str:
        """Lose every link until a request has run out of time; return what is said of that."""
        listing = self.client.list()
        end = self.clock.seconds() + TIMEOUT_S
        while self.clock.seconds() < end:
            connect().lose()
            self.next_try()
        return self.failureResultOf(listing, RegistryUnanswered).getErrorMessage()

    def test_withdrawn(self) -> None:
        end = self.enter()
        self.registered(end)
        withdrawing = self.client.withdraw("chat", "east")
        request = self.asked(end)
        self.assertEqual(request, Withdraw(request.number, "chat", "east", b"token"))
        self.say(end, Done(request.number))
        self.assertIsNone(self.successResultOf(withdrawing))
        self.wait(5, end)
        self.assertEqual(self.sent(end), [])

    def test_withdrawn_where_it_is_gone_already(self) -> None:
        for code, ends_well in (("no-such-name", True), ("wrong-token", False)):
            self.setUp()
            end = self.enter()
            self.registered(end)
            withdrawing = self.client.withdraw("chat", "east")
            self.say(end, Failed(self.asked(end).number, code))
            if ends_well:
                self.assertIsNone(self.successResultOf(withdrawing))
            else:
                self.assertEqual(self.refused(withdrawing), code)

    def test_not_what_it_does_not_keep(self) -> None:
        self.assertEqual(self.refused(self.client.withdraw("chat", "east")), "no-such-name")

    def test_a_renewal_that_is_lost_with_its_link(self) -> None:
        end = self.enter()
        self.registered(end)
        self.wait_for_renewal(end)
        self.assertIsInstance(self.asked(end), Renew)
        self.assertIsInstance(self.asked(self.again(end)), Register)
        self.assertEqual(self.events.at(LogLevel.error), 0)

    def test_a_renewal_that_comes_due_while_there_is_no_link(self) -> None:
        end = self.enter()
        self.registered(end)
        end.lose()
        self.wait(EAST.lease_s)
        self.assertIsInstance(self.asked(self.enter()), Register)

    def test_before_it_is_started_nothing_is_kept(self) -> None:
        client = RegistryClient(self.endpoint, self.clock)
        self.failureResultOf(client.register(EAST, b"token"), RegistryStopped)
        self.failureResultOf(client.withdraw("chat", "east"), RegistryRefused)


class WatchTests(RegistryClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.watcher = Watcher()

    def test_the_whole_list_then_changes(self) -> None:
        end = self.enter()
        self.client.watch(self.watcher, "chat")
        request = self.asked(end)
        self.assertEqual(request, Watch(request.number, "chat"))
        number = request.number
        self.say(end, Found(number, [EAST], True), Found(number, [WEST], False))
        self.say(end, Changed(number, WEST, False), Changed(number, WEST, True))
        self.assertEqual(self.watcher.take(), [("listed", [EAST, WEST]), ("gone", WEST), ("registered", WEST)])

    def test_resumed_on_the_next_link(self) -> None:
        self.client.watch(self.watcher)
        end = self.enter()
        request = self.asked(end)
        self.say(end, Found(request.number, [EAST], True))
        end = self.again(end)
        self.assertEqual(self.sent(end), [request])
        self.say(end, Found(request.number, [WEST], False))
        self.assertEqual(self.watcher.take(), [("listed", [WEST])])

    def test_ended(self) -> None:
        end = self.enter()
        stop = self.client.watch(self.watcher)
        number = self.asked(end).number
        stop()
        stop()
        request = self.asked(end)
        self.assertEqual(request, Leave(request.number, number))
        self.say(end, Found(number, [EAST], False), Changed(number, EAST, True), Done(request.number))
        self.assertEqual(self.watcher.take(), [])
        self.assertEqual(self.sent(self.again(end)), [])

    def test_one_that_fails_is_logged_and_the_others_go_on(self) -> None:
        end = self.enter()
        self.client.join("", lambda payload: {}["missing"])
        heard: list[bytes] = []
        self.client.join("", heard.append)
        self.say(end, Told(0, b"fire"))
        self.assertEqual((len(self.flushLoggedErrors(KeyError)), heard), (1, [b"fire"]))

    def test_so_many_and_no_more(self) -> None:
        for _ in range(TOPICS_PER_VISITOR_MAX):
            self.client.watch(self.watcher)
        self.assertRaises(RegistryRefused, self.client.watch, self.watcher)
        self.assertRaises(RegistryRefused, self.client.join, "cooks", self.watcher)


class GroupTests(RegistryClientTestCase):
    def test_what_a_group_is_told(self) -> None:
        end = self.enter()
        heard: list[bytes] = []
        leave = self.client.join("cooks", heard.append)
        request = self.asked(end)
        self.assertEqual(request, Join(request.number, "cooks"))
        self.say(end, Done(request.number), Told(request.number, b"dinner"), Told(99, b"other"), Told(0, b"fire"))
        self.assertEqual(heard, [b"dinner"])
        end = self.again(end)
        self.assertEqual(self.sent(end), [request])
        leave()
        self.assertEqual(self.asked(end).of, request.number)

    def test_what_everybody_is_told(self) -> None:
        end = self.enter()
        heard: list[bytes] = []
        self.client.join("", heard.append)
        self.say(end, Told(0, b"fire"))
        self.assertEqual((heard, self.sent(end)), ([b"fire"], []))
        self.assertEqual(self.sent(self.again(end)), [])

    def test_telling_others(self) -> None:
        end = self.enter()
        for group in ("cooks", ""):
            telling = self.client.notify(group, b"now") if group else self.client.broadcast(b"now")
            request = self.asked(end)
            self.assertEqual(request, Notify(request.number, group, b"now"))
            self.say(end, Done(request.number, 3))
            self.assertEqual(self.successResultOf(telling), 3)

    def test_what_was_told_when_the_link_broke_is_not_told_twice(self) -> None:
        end = self.enter()
        telling = self.client.notify("cooks", b"now")
        end = self.again(end)
        self.assertEqual(self.sent(end), [])
        self.failureResultOf(telling, RegistryUnanswered)

    def test_a_bad_name(self) -> None:
        self.assertRaises(RegistryRefused, self.client.join, "a b", print)


class CallTests(RegistryClientTestCase):
    def test_called(self) -> None:
        end = self.enter()
        calling = self.client.call("chat", "east", b"status", 2.0)
        request = self.asked(end)
        self.assertEqual(request, Call(request.number, "chat", "east", b"status", 2.0))
        self.say(end, Answered(request.number, b"well"))
        self.assertEqual(self.successResultOf(calling), b"well")

    def test_refused(self) -> None:
        end = self.enter()
        calling = self.client.call("chat", "east", b"status")
        self.say(end, Failed(self.asked(end).number, "gone"))
        self.assertEqual(self.refused(calling), "gone")

    def test_made_once(self) -> None:
        end = self.enter()
        calling = self.client.call("chat", "east", b"status")
        end = self.again(end)
        self.assertEqual(self.sent(end), [])
        self.failureResultOf(calling, RegistryUnanswered)

    def test_what_was_not_sent_waits_for_a_link(self) -> None:
        calling = self.client.call("chat", "east", b"status")
        end = self.enter()
        self.say(end, Answered(self.asked(end).number, b"well"))
        self.assertEqual(self.successResultOf(calling), b"well")

    def test_a_server_that_takes_too_long(self) -> None:
        end = self.enter()
        calling = self.client.call("chat", "east", b"status", 0.5)
        self.wait(0.6, end)
        self.failureResultOf(calling, RegistryUnanswered)


class ServeTests(RegistryClientTestCase):
    def serve(self, serve: Callable[[bytes], Any]) -> End:
        end = self.enter()
        self.client.register(EAST, b"token", serve)
        request = self.asked(end)
        self.assertTrue(request.serves)
        self.say(end, Done(request.number))
        return end

    def test_answered_at_once(self) -> None:
        end = self.serve(lambda payload: b"you said " + payload)
        self.say(end, Asked(77, "chat", "east", b"hello"))
        self.assertEqual(self.sent(end), [Answer(77, b"you said hello")])

    def test_answered_later_and_out_of_order(self) -> None:
        answers: list[Deferred[bytes]] = []

        def later(payload: bytes) -> "Deferred[bytes]":
            answers.append(Deferred())
            return answers[-1]

        end = self.serve(later)
        self.say(end, Asked(77, "chat", "east", b""), Asked(78, "chat", "east", b""))
        answers[1].callback(b"second")
        answers[0].callback(b"first")
        self.assertEqual(self.sent(end), [Answer(78, b"second"), Answer(77, b"first")])

    def test_a_failure_is_logged_and_rejected(self) -> None:
        for serve in (lambda payload: {}["missing"], lambda payload: fail(KeyError("missing"))):
            self.setUp()
            end = self.serve(serve)
            self.say(end, Asked(77, "chat", "east", b""))
            self.assertEqual(self.sent(end), [Reject(77)])
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_one_that_is_not_taken_is_rejected_and_no_failure(self) -> None:
        def reject(payload: bytes) -> bytes:
            raise CallRejected("not this one")

        end = self.serve(reject)
        self.say(end, Asked(77, "chat", "east", b""))
        self.assertEqual(self.sent(end), [Reject(77)])
        self.assertEqual((self.events.count("is rejected: not this one"), self.events.at(LogLevel.warn)), (1, 0))

    def test_an_answer_that_is_too_large_is_a_failure(self) -> None:
        end = self.serve(lambda payload: bytes(PAYLOAD_BYTES_MAX + 1))
        self.say(end, Asked(77, "chat", "east", b""))
        self.assertEqual(self.sent(end), [Reject(77)])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_calls_to_what_is_not_served_are_rejected(self) -> None:
        end = self.enter()
        self.client.register(EAST, b"token")
        self.asked(end)
        self.say(end, Asked(77, "chat", "east", b""), Asked(78, "chat", "west", b""))
        self.assertEqual(self.sent(end), [Reject(77), Reject(78)])

    def test_so_many_at_once_and_no_more(self) -> None:
        answers: list[Deferred[bytes]] = []

        def later(payload: bytes) -> "Deferred[bytes]":
            answers.append(Deferred())
            return answers[-1]

        end = self.serve(later)
        self.say(end, *(Asked(number, "chat", "east", b"") for number in range(SERVING_MAX + 1)))
        self.assertEqual(self.sent(end), [Reject(SERVING_MAX)])
        answers[0].callback(b"")
        self.say(end, Asked(99, "chat", "east", b""))
        self.assertEqual((self.sent(end), len(answers)), ([Answer(0, b"")], SERVING_MAX + 1))

    def test_an_answer_does_not_go_over_another_link(self) -> None:
        """Its number means another call there, or none."""
        answer: Deferred[bytes] = Deferred()
        end = self.serve(lambda payload: answer)
        self.say(end, Asked(77, "chat", "east", b""))
        end = self.again(end)
        self.sent(end)
        answer.callback(b"late")
        self.assertEqual(self.sent(end), [])


class StopTests(RegistryClientTestCase):
    def quiet(self) -> None:
        dialled = len(self.endpoint.times)
        self.clock.pump([0.1] * 50)
        self.assertEqual((len(self.endpoint.times), self.clock.getDelayedCalls()), (dialled, []))

    def test_while_it_dials(self) -> None:
        listing = self.client.list()
        self.successResultOf(self.client.stopService())
        self.failureResultOf(listing, RegistryStopped)
        self.assertEqual(self.endpoint.cancelled, 1)
        self.quiet()

    def test_while_it_is_up(self) -> None:
        end = self.enter()
        registering = self.client.register(EAST, b"token")
        stopping = self.client.stopService()
        self.failureResultOf(registering, RegistryStopped)
        self.assertEqual([type(message) for message in end.sent()], [Register])
        self.assertEqual(end.calls, ["lose"])
        self.assertNoResult(stopping)
        self.say(end, Done(1))
        end.lose()
        self.successResultOf(stopping)
        self.quiet()

    def test_a_registry_that_does_not_let_go_is_aborted(self) -> None:
        end = self.enter()
        stopping = self.client.stopService()
        end.sent()
        self.clock.advance(STOP_S_MAX)
        self.assertTrue(end.aborted())
        self.successResultOf(stopping)
        self.quiet()

    def test_started_again(self) -> None:
        self.successResultOf(self.client.stopService())
        self.client.startService()
        self.assertEqual(len(self.endpoint.times), 2)
        self.enter()

    def test_pauses_have_an_end(self) -> None:
        for _ in range(10):
            self.endpoint.tries[-1].errback(ConnectionRefusedError())
            before = self.clock.seconds()
            self.next_try()
            self.assertLessEqual(self.clock.seconds() - before, RETRY_S_MAX + 0.02)
