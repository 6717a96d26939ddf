import random
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.settings import ChatSettings
from chatproto.link import Turn
from chatproto.registry.messages import Beat, Message, encode
from chatproto.registry.names import Registration
from chatproto.registry.requests import (
    Answer,
    Asked,
    Done,
    Entered,
    Failed,
    Register,
    Reject,
    Withdraw,
    decode_from_anybody,
)
from chatproto.services.registering import (
    WITHDRAW_S_MAX,
    RegisteringService,
    RegisteringSettings,
    register_chat,
    registration_of,
)
from chatproto.world import World
from tests.unit.registry.rig import End, Events
from tests.unit.registry.test_client import FakeEndpoint
from tests.unit.turns import TurnClock


class FakeLog:
    """What a registration says of a log."""

    role = "follower"
    epoch = 3
    redundancy = "paired"


class FakeServer:
    """What a registration needs of a node's chat."""

    def __init__(self) -> None:
        self.settings = ChatSettings(name="east", servers=["east:4444"], capacity=7)
        self.log = FakeLog()
        self.changed: Any = None

    def watch(self, changed: Any) -> None:
        self.changed = changed

    def status_line(self) -> bytes:
        return b'{"type":"status"}\n'


def secret(directory: str) -> str:
    return f"a secret in {directory}"


class RegisteringTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.endpoint = FakeEndpoint(self.clock)
        self.server = FakeServer()
        self.service = self.make()
        self.events = Events()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def make(self, secret: Any = secret, **settings: Any) -> RegisteringService:
        self.world = world = World(
            clock=self.clock,  # type: ignore[arg-type]
            now=self.clock.seconds,
            dice=random.Random(1),
            server=lambda description: None,  # type: ignore[arg-type,return-value]
            client=lambda description: self.endpoint,  # type: ignore[arg-type,return-value]
            store=lambda directory, failed: None,  # type: ignore[arg-type,return-value]
            fatal=self.fail,
            secret=secret,
        )
        chosen = RegisteringSettings("tcp:north:4646", **{"peer": "east:4545", **settings})
        server: Any = self.server
        return register_chat(world, chosen, "data", server, Turn(self.clock))

    def registration(self, **settings: Any) -> Registration:
        server: Any = self.server
        return registration_of(server, RegisteringSettings("tcp:north:4646", **settings))

    def enter(self) -> End:
        end = End(self.endpoint.factories[-1].buildProtocol(None), self.clock, decode_from_anybody)
        self.endpoint.tries[-1].callback(end.link)
        end.sent()
        self.say(end, Entered(0.15, 0.6))
        return end

    def say(self, end: End, *messages: Message) -> None:
        end.link.dataReceived(b"".join(map(encode, messages)))

    def sent(self, end: End) -> list[Any]:
        return [message for message in end.sent() if not isinstance(message, Beat)]

    def registered(self) -> End:
        """Started, and registered."""
        self.service.startService()
        end = self.enter()
        (request,) = self.sent(end)
        self.say(end, Done(request.number))
        return end


class RegistrationTests(RegisteringTestCase):
    def test_a_node_is_registered_as_what_it_is(self) -> None:
        self.service.startService()
        (request,) = self.sent(self.enter())
        attributes = {"redundancy": "paired", "peer": "east:4545"}
        registration = Registration("chat", "east", "chat", "east:4444", "follower", 3, 7, attributes, 3.0)
        self.assertEqual(request, Register(request.number, registration, b"a secret in data", True))

    def test_one_that_nobody_reaches_has_no_address(self) -> None:
        self.server.settings = ChatSettings(name="east")
        registration = self.registration(peer="")
        self.assertEqual((registration.address, registration.attributes), ("", {"redundancy": "paired"}))

    def test_one_that_speaks_tls_with_clients(self) -> None:
        self.server.settings = ChatSettings(name="east", servers=["tls:east:4444"])
        registration = self.registration(peer="")
        self.assertEqual((registration.address, registration.attributes["tls"]), ("east:4444", "yes"))
        self.assertEqual(registration.place, "tls:east:4444")

    def test_its_page_can_be_found_too(self) -> None:
        self.server.settings = ChatSettings(name="east", pages=["https://east", "https://other"])
        self.assertEqual(self.registration(peer="").attributes["page"], "https://east")

    def test_a_token_that_was_given_is_used(self) -> None:
        self.service = self.make(token="ours", secret=None)
        self.service.startService()
        (request,) = self.sent(self.enter())
        self.assertEqual(request.token, b"ours")

    def test_changes_are_registered_and_nothing_else_is(self) -> None:
        end = self.registered()
        self.server.changed()
        self.assertEqual(self.sent(end), [])
        self.server.log.role, self.server.log.epoch = "leader", 4
        self.server.changed()
        (request,) = self.sent(end)
        self.assertEqual((request.registration.role, request.registration.epoch), ("leader", 4))

    def test_before_it_starts_and_after_it_stops_nothing_is(self) -> None:
        self.server.changed()
        self.assertEqual(self.endpoint.times, [])
        self.service.startService()
        self.service.stopService()
        self.server.log.role = "leader"
        self.server.changed()
        self.assertEqual((len(self.endpoint.times), self.clock.getDelayedCalls()), (1, []))

    def test_a_refusal_is_logged_and_the_node_serves_on(self) -> None:
        self.service.startService()
        end = self.enter()
        (request,) = self.sent(end)
        self.say(end, Failed(request.number, "taken"))
        self.assertEqual(self.events.count("the registry does not take this node (taken: "), 1)

    def test_a_secret_that_cannot_be_read_is_logged_and_the_node_serves_on(self) -> None:
        def secret(directory: str) -> str:
            raise PermissionError(13, "Permission denied", f"{directory}/secret")

        self.service = self.make(secret=secret)
        self.service.startService()
        self.server.changed()
        self.assertEqual(self.events.count("this node is not registered: [Errno 13] Permission denied"), 1)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.endpoint.times, [])


class CallTests(RegisteringTestCase):
    def test_it_says_how_it_is(self) -> None:
        end = self.registered()
        self.say(end, Asked(5, "chat", "east", b"status"))
        self.assertEqual(self.sent(end), [Answer(5, b'{"type":"status"}\n')])

    def test_it_is_asked_for_nothing_else(self) -> None:
        end = self.registered()
        self.say(end, Asked(5, "chat", "east", b"dance"))
        self.assertEqual(self.sent(end), [Reject(5)])
        self.assertEqual(self.events.count("is rejected: a node is asked for its status, not b'dance'"), 1)


class StopTests(RegisteringTestCase):
    def test_it_is_withdrawn(self) -> None:
        end = self.registered()
        stopping = self.service.stopService()
        (request,) = self.sent(end)
        self.assertEqual(request, Withdraw(request.number, "chat", "east", b"a secret in data"))
        self.assertNoResult(stopping)
        # As when it hands leadership over on its way out.
        self.server.log.role = "leader"
        self.server.changed()
        self.assertEqual(self.sent(end), [])
        self.say(end, Done(request.number))
        end.sent()
        self.assertEqual(end.calls, ["lose"])
        end.lose()
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_registry_that_does_not_answer_is_not_waited_for(self) -> None:
        end = self.registered()
        stopping = self.service.stopService()
        for _ in range(12):
            self.say(end, Beat())
            self.clock.advance(WITHDRAW_S_MAX / 10)
        end.sent()
        end.lose()
        self.successResultOf(stopping)
        self.assertEqual(self.events.count("was not withdrawn"), 1)

    def test_nor_one_that_is_not_reached(self) -> None:
        self.service.startService()
        self.successResultOf(self.service.stopService())


class OtherwiseTests(RegisteringTestCase):
    """A node that is to be found at times only, or under another name."""

    def make(self, secret: Any = secret, **settings: Any) -> RegisteringService:
        super().make(secret, **settings)
        self.now: Registration | None = None
        chosen = RegisteringSettings("tcp:north:4646", token="ours")
        return RegisteringService(
            self.world, chosen, "data", "west", Turn(self.clock), lambda: self.now, lambda: b"well", {b"echo": bytes}
        )

    def test_it_answers_what_it_can(self) -> None:
        self.now = Registration("chat", "west")
        self.service.startService()
        end = self.enter()
        (request,) = self.sent(end)
        self.say(end, Done(request.number))
        for number, said in enumerate((b"echo who is there?", b"echo", b"status")):
            self.say(end, Asked(number, "chat", "west", said))
        self.say(end, Asked(3, "chat", "west", b"dance"))
        answers = [Answer(0, b"who is there?"), Answer(1, b""), Answer(2, b"well"), Reject(3)]
        self.assertEqual(self.sent(end), answers)
        self.assertEqual(self.events.count("a node is asked for its echo or status, not b'dance'"), 1)

    def test_it_is_found_as_long_as_it_is_something(self) -> None:
        self.service.startService()
        end = self.enter()
        self.assertEqual(self.sent(end), [])
        self.now = Registration("chat", "west")
        self.service.changed()
        (request,) = self.sent(end)
        self.assertEqual(request.registration, self.now)
        self.say(end, Done(request.number))
        self.now = None
        self.service.changed()
        (request,) = self.sent(end)
        self.assertEqual(request, Withdraw(request.number, "chat", "west", b"ours"))
        self.say(end, Done(request.number))
        self.service.stopService()
        self.assertEqual(self.sent(end), [])

    def test_under_another_name_it_is_not_found_under_the_old_one(self) -> None:
        self.now = Registration("chat", "west")
        end = self.registered()
        self.now = Registration("chat", "east")
        self.service.changed()
        first, second = self.sent(end)
        self.assertEqual((first.name, second.registration.name), ("west", "east"))
