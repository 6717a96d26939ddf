"""A client moved by hand: it does what a test says, and keeps all it hears."""

from typing import Any, TypeVar

import msgspec
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from chatproto.chat.messages import (
    Hello,
    Message,
    Ping,
    Pong,
    Resume,
    Said,
    SaidExtended,
    SayExtended,
    Welcome,
    decode_server_line,
    encode,
)
from chatproto.testing import SimDeployment

M = TypeVar("M", bound=Message)

_said = msgspec.json.Decoder(Said)


class Connection(Protocol):
    """One connection of a client.

    Attributes:
        heard: what came, in order.
        open: whether it stands.
    """

    transport: Any

    def __init__(self, extended: bool) -> None:
        self.heard: list[Message] = []
        self.open = False
        self._extended = extended
        self._rest = b""

    def connectionMade(self) -> None:
        self.open = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.open = False

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            base = not self._extended and line.startswith(b'{"type":"message"')
            self.heard.append(_said.decode(line) if base else decode_server_line(line))
            if isinstance(self.heard[-1], Ping):
                self.send(Pong())

    def send(self, *messages: Message) -> None:
        """Send lines in one go."""
        self.transport.write(b"".join(map(encode, messages)))

    def all(self, kind: type[M]) -> list[M]:
        """Return what came of a kind."""
        return [message for message in self.heard if isinstance(message, kind)]

    def last(self, kind: type[M]) -> M:
        """Return the last that came of a kind."""
        return self.all(kind)[-1]

    @property
    def indexes(self) -> list[int]:
        """The indexes of the messages that came."""
        return [said.index for said in self.all(SaidExtended)]

    @property
    def token(self) -> str:
        """The token of the session."""
        return self.last(Welcome).session


class Hand:
    """A client on a host of its own.

    Attributes:
        server: the name of the node that it dials.
    """

    def __init__(self, deployment: SimDeployment, name: str, server: str = "primary") -> None:
        self.deployment = deployment
        self.name = name
        self.server = server
        self.host = deployment.network.host(name)

    def dial(self, extended: bool = True) -> Connection:
        """Connect, and say nothing."""
        factory = Factory.forProtocol(lambda: Connection(extended))  # type: ignore[arg-type]
        factory.noisy = False
        dialing: Any = self.host.world().client(f"tcp:{self.server}:4444").connect(factory)
        self.deployment.run_until(lambda: dialing.called, 5)
        connection: Connection = dialing.result
        return connection

    def enter(self, identity: str | None = None) -> Connection:
        """Connect as a base client."""
        connection = self.dial(extended=False)
        self.deployment.run(0.2)
        return connection

    def hello(self, session: str | None = None, resume: tuple[tuple[str, int], ...] = (), **fields: Any) -> Connection:
        """Connect as an extended client, perhaps again; wait until it is welcome."""
        connection = self.dial()
        wanted = [Resume(room, index) for room, index in resume]
        connection.send(Hello(1, session=session, resume=wanted, **fields))
        self.deployment.run_until(lambda: connection.all(Welcome), 5)
        self.deployment.run(0.2)
        return connection


def say(id: str, content: str = "", room: str | None = None) -> SayExtended:
    """Return a message whose content, unless given, is its id."""
    return SayExtended(content or id, id, room)
