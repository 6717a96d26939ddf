"""The conversations in the documents are what is really said: each is replayed in simulation, word for word."""

import ast
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from unittest import mock

import msgspec
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.acts import Enroll
from chatproto.chat.messages import Contact, ContactAsked
from chatproto.chat.passwords import SALT_BYTES, secret_of
from chatproto.client import ChatClient
from chatproto.options import Options
from chatproto.registry.requests import VISITOR_FRAME_BYTES_MAX
from chatproto.services import NodeSettings, RegistrySettings
from chatproto.testing import SimDeployment, SimHost
from chatproto.testing.search import SimSearch
from chatproto.wire import FrameBuffer, framed
from chatproto.world import World
from tests.conversations import REGISTRY, Conversation, Placeholders, Step, all_conversations
from tests.simulation.hand import Hand

MOMENT_S = 0.3
"""Whatever is answered at once is there by then, and a silent connection has been greeted."""
DISCONNECTED = "is disconnected"
RECEIVED = ("←", DISCONNECTED)


class Mouth(Protocol):
    """A client's connection.

    Attributes:
        heard: what came and was not looked at yet, as plain values.
        open: whether the server has not closed it.
    """

    transport: Any

    def __init__(self) -> None:
        self.heard: deque[Any] = deque()
        self.open = True
        self._rest = b""

    def say(self, line: str) -> None:
        self.transport.write(line.encode() + b"\n")

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.heard.extend(map(msgspec.json.decode, lines))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.open = False


class FrameMouth(Mouth):
    """A connection to a registry; beats, by which both sides live, go without saying."""

    BEAT = ["beat"]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._frames = FrameBuffer(VISITOR_FRAME_BYTES_MAX)

    def say(self, line: str) -> None:
        self._send(ast.literal_eval(line))

    def _send(self, message: list[Any]) -> None:
        self.transport.write(framed(msgspec.msgpack.encode(message)))

    def dataReceived(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            message = msgspec.msgpack.decode(frame)
            if message == self.BEAT:
                self._send(message)
            else:
                self.heard.append(message)


_world = SimHost.world


def searching_world(host: SimHost) -> World:
    """Return the world of a host on which nodes search."""
    return replace(_world(host), search=lambda directory: SimSearch(host.disk, directory))


class Play:
    """One conversation, played with servers of its own."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.steps = deque(conversation.steps)
        self.placeholders = Placeholders()
        self.mouths: dict[str, Mouth] = {}
        self.skipping: set[str] = set()
        self.hosts: dict[str, SimHost] = {}

        def settings(name: str) -> NodeSettings:
            options = Options()
            options.parseOptions([f"--name={name}", *conversation.options])
            return replace(options.settings(), data=name, control="")

        self.where = "tcp:{}:4444"
        self.mouth = Mouth
        if conversation.kind == "pair":
            self.deployment = SimDeployment.pair(1, settings=settings)
            self.deployment.run_until_paired()
        elif conversation.kind == "standby":
            self.deployment = SimDeployment.movable(1, standbys=("north",), settings=settings)
            self.deployment.settle(lambda: self.deployment.unplaced(1), 10)
        elif conversation.kind == REGISTRY:
            self.deployment = SimDeployment(1, {}, RegistrySettings("registry", ("tcp:4646",)))
            self.where, self.mouth = "tcp:registry:4646", FrameMouth
        else:
            with mock.patch.object(SimHost, "world", searching_world):
                self.deployment = SimDeployment(1, {"primary": settings("primary")})
        if conversation.kind == "direct":
            self.introduce("ada", "eve")

    def introduce(self, caller: str, called: str) -> None:
        """Have a client take direct connections, and the server make the token by which another may call it."""
        world = self.deployment.network.host(called).world()
        client = ChatClient(world.clock, [world.client("tcp:primary:4444")], identity=called, dice=world.dice)
        client.startService()
        accepting = client.accept_direct(serverFromString(world.clock, "tcp:7000"), called)
        self.deployment.run_until(lambda: accepting.called and client.state == "online", 5)
        hand = Hand(self.deployment, caller).hello(identity=caller)
        hand.send(ContactAsked(identity=called))
        self.deployment.run_until(lambda: hand.all(Contact), 5)
        (token,) = (told.token for told in hand.all(Contact))
        assert self.placeholders.fits("5ba2…", token)
        self.hosts[caller] = self.deployment.network.host(caller)
        self.where = f"tcp:{called}:7000"

    def run(self) -> None:
        """Play it.

        Raises:
            AssertionError: what happens is not what is written.
        """
        while self.steps:
            step = self.steps.popleft()
            if step.act in RECEIVED:
                self.hears(step)
                continue
            self.nothing_else()
            (self.says if step.act == "→" else self.happens)(step)
            # A client that goes on sending waits neither for an answer, nor for a greeting.
            if not (self.steps and (self.steps[0].who, self.steps[0].act) == (step.who, "→")):
                self.deployment.run(MOMENT_S)
        self.nothing_else()

    def says(self, step: Step) -> None:
        if step.who not in self.mouths:
            self.connect(step.who)
        self.mouths[step.who].say(self.placeholders.filled(step.line))

    def hears(self, step: Step) -> None:
        mouth = self.mouths[step.who]
        if step.act == DISCONNECTED:
            self.no_more(step.who)
            assert not self.mouths.pop(step.who).open, f"{step.who} is still connected"
        elif step.line == "…":
            self.skipping.add(step.who)
        else:
            passed, shown = [], self.conversation.read(step.line)
            while mouth.heard and (step.who in self.skipping or not passed):
                passed.append(mouth.heard.popleft())
                if self.placeholders.fits(shown, passed[-1]):
                    self.skipping.discard(step.who)
                    return
            raise AssertionError(
                f"{step.text}\nis not what comes:\n{self.as_written(step.who, [*passed, *mouth.heard])}"
            )

    def nothing_else(self) -> None:
        for who in self.mouths:
            self.no_more(who)

    def no_more(self, who: str) -> None:
        """Check that somebody was sent no more than is written."""
        heard = self.mouths[who].heard
        if who in self.skipping:
            heard.clear()
        assert not heard, f"this comes, and is not there:\n{self.as_written(who, heard)}"
        self.skipping.discard(who)

    def as_written(self, who: str, heard: Iterable[Any]) -> str:
        """Return what somebody was sent as a document would have it, to be copied from there."""
        return "\n".join(f"{who} ← {self.conversation.written(message)}" for message in heard) or "(nothing)"

    def happens(self, step: Step) -> None:
        match step.act.split():
            case ["connects"]:
                self.connect(step.who)
            case ["connects", "to", "the", node]:
                self.connect(step.who, node)
            case ["loses", "its", "connection"]:
                self.mouths.pop(step.who).transport.abortConnection()
            case ["gets", "an", "account,", "password", password, *roles]:
                secret = secret_of(password, bytes(SALT_BYTES), 1)
                roles = [role for role in roles if role != "role"]
                self.deployment.nodes["primary"].server.decree(Enroll(name=step.who, secret=secret, roles=roles))
            case [count, "seconds", "pass"]:
                self.deployment.run(float(count))
            case ["the", node, "is", "killed"]:
                self.deployment.nodes[node].host.crash()
            case _:
                raise AssertionError(f"nobody knows what to do: {step.text}")

    def connect(self, who: str, node: str = "primary") -> None:
        host = self.hosts.setdefault(who, self.deployment.network.host(who))
        factory = Factory.forProtocol(self.mouth)
        factory.noisy = False
        dialing: Any = host.world().client(self.where.format(node)).connect(factory)
        self.deployment.run_until(lambda: dialing.called, 5)
        self.mouths[who] = dialing.result


class ConversationTests(SynchronousTestCase):
    def test_every_conversation_goes_as_it_is_written(self) -> None:
        found = all_conversations()
        self.assertGreater(len(found), 10)
        wrong = []
        for conversation in found:
            try:
                Play(conversation).run()
            except Exception as error:
                wrong.append(f"{conversation.place}: {error}")
        self.assertEqual(wrong, [], "\n\n" + "\n\n".join(wrong))
