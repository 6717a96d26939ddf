"""What all clients in the simulation share: a host of their own, a dice, connections made again and again."""

import random
from collections.abc import Callable
from itertools import cycle
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from chatproto.chat.messages import HistoryWanted
from chatproto.testing import SimDeployment, SimHost
from chatproto.world import World

ROOMS = ("alpha", "beta", "gamma", "delta")
IDENTITIES = ("adel", "bram", "chen", "dita", "emre", "fay", "guest2", "guest3", "x", "not good")
RETRY_S = (0.05, 0.6)
SILENCE_S_MAX = 1.5
QUESTION_EVERY_S = 0.5
FINISH_EVERY_S = 0.4

# Such as could be taken for a line's end, a field's end, or the end of a base line.
PADS = ("", "x" * 200, '","roomid":"alpha","index":1', "\\", "ä€😀", "a\nb\r\n", "\x00\x7f", "y" * 900)

Actions = tuple[tuple[int, Callable[[Any], None]], ...]


class Lines(Protocol):
    """A connection of a `TalkingClient`."""

    def __init__(self, client: "TalkingClient") -> None:
        self._client = client
        self._rest = b""

    def connectionMade(self) -> None:
        self._client.made(self)

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._client.link is self:
                self._client.came(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._client.gone(self)


class SimClient:
    """A client on a host of its own; each life of the host begins it anew.

    Attributes:
        acting: whether it does what its dice say.
        finishing: whether it is to say one last thing and look whether it is current.
    """

    def __init__(self, deployment: SimDeployment, name: str, history: HistoryWanted, act_every_s: float) -> None:
        self.deployment = deployment
        self.name = name
        self.history = history
        self.acting = True
        self.finishing = False
        self.dice = random.Random(f"{deployment.seed} {name}")
        self.world: World
        self._act_every_s = act_every_s
        self._said = 0
        self.host = deployment.network.host(name)
        self.host.runs(self._boot)

    def _boot(self, host: SimHost) -> None:
        self.world = host.world()
        self.begin()
        self.world.clock.callLater(self.dice.uniform(0, 1), self._act)
        self.world.clock.callLater(FINISH_EVERY_S, self._finish)

    def _act(self) -> None:
        if self.acting:
            self.act()
        self.world.clock.callLater(self.dice.expovariate(1 / self._act_every_s), self._act)

    def _finish(self) -> None:
        if self.finishing:
            self.finish()
        self.world.clock.callLater(FINISH_EVERY_S, self._finish)

    def servers(self) -> list[IStreamClientEndpoint]:
        """Return an endpoint of each node."""
        return [self.world.client(f"tcp:{name}:4444:timeout=2") for name in self.deployment.nodes]

    def content(self) -> str:
        """Make something to say that nobody ever said."""
        self._said += 1
        return f"{self.name}.{self._said} {self.dice.choice(PADS)}"

    def draw(self, actions: Actions) -> Callable[[Any], None]:
        """Draw an action."""
        (action,) = self.dice.choices([action for _, action in actions], [weight for weight, _ in actions])
        return action

    def draw_somebody(self) -> str:
        """Draw a name, often that of somebody present."""
        present = list(self.deployment.chronicle.hall.identities)
        return self.dice.choice(present if present and self.dice.random() < 0.7 else IDENTITIES)

    def draw_victim(self, identity: str) -> tuple[str, str]:
        """Draw a room and somebody to put out of it, mostly such that it works."""
        me = self.deployment.chronicle.hall.identities.get(identity)
        owned = [self.deployment.chronicle.hall.rooms[name] for name in sorted(me.owned)] if me is not None else []
        members = [(room.name, member.identity) for room in owned for member in room.members.values()]
        if members and self.dice.random() < 0.9:
            return self.dice.choice(members)
        return self.draw_room(), self.draw_somebody()

    def draw_room(self) -> str:
        return self.dice.choice((*ROOMS, "MainHall"))

    def begin(self) -> None:
        """Begin a life."""
        raise NotImplementedError

    def act(self) -> None:
        """Do something."""
        raise NotImplementedError

    def finish(self) -> None:
        """Say the last thing, if it is not said, and ask what has to be asked."""
        raise NotImplementedError

    def unsettled(self) -> list[str]:
        """Return why it is not online with everything acknowledged; nothing if it is."""
        raise NotImplementedError

    def unfinished(self) -> list[str]:
        """Return what it does not know yet of what is so; nothing if it is current."""
        raise NotImplementedError


class TalkingClient(SimClient):
    """A client that speaks lines, connects again whenever its connection ends, and ends a silent one.

    Attributes:
        link: the connection; None while there is none.
    """

    link: Lines | None = None

    def begin(self) -> None:
        self.link = None
        self._heard_at = 0.0
        self._servers = cycle(self.servers())
        self.reset()
        self._dial()
        self.world.clock.callLater(QUESTION_EVERY_S, self._beat)

    def reset(self) -> None:
        """Know nothing: a new life."""
        raise NotImplementedError

    def greet(self) -> None:
        """A connection begins."""
        raise NotImplementedError

    def hear(self, line: bytes) -> None:
        """A line came."""
        raise NotImplementedError

    def ask(self) -> None:
        """Send something that a server answers."""
        raise NotImplementedError

    def lost(self) -> None:
        """A connection has ended."""

    def send(self, line: bytes) -> None:
        """Send a line, if there is a connection."""
        if self.link is not None and self.link.transport is not None:
            self.link.transport.write(line)

    def _dial(self) -> None:
        factory = Factory.forProtocol(lambda: Lines(self))  # type: ignore[arg-type]
        factory.noisy = False
        dialing: Any = next(self._servers).connect(factory)
        dialing.addErrback(lambda _: self._dial_later())

    def _dial_later(self) -> None:
        self.world.clock.callLater(self.dice.uniform(*RETRY_S), self._dial)

    def made(self, link: Lines) -> None:
        self.link = link
        self._heard_at = self.world.clock.seconds()
        self.greet()

    def came(self, line: bytes) -> None:
        self._heard_at = self.world.clock.seconds()
        with self.deployment.watching():
            self.hear(line)

    def gone(self, link: Lines) -> None:
        if link is self.link:
            self.end()

    def end(self) -> None:
        """Have no connection any more, and get another."""
        self.link = None
        self.lost()
        self._dial_later()

    def _beat(self) -> None:
        self.world.clock.callLater(QUESTION_EVERY_S, self._beat)
        if self.link is not None and self.world.clock.seconds() - self._heard_at > SILENCE_S_MAX:
            self.link.transport.abortConnection()  # type: ignore[union-attr]
        else:
            self.ask()
