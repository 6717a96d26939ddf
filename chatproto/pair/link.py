"""The connections between the nodes of a pair."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from chatproto.errors import Unproven, WireError
from chatproto.gate import Gate, Limits
from chatproto.link import Link, Turn
from chatproto.pair.messages import FRAME_BYTES_MAX, STANDBY, VERSION, AnyMessage, Hello, PeerMessage, decode, encode
from chatproto.trust.interface import BELIEVING, Trust
from chatproto.trust.link import GuardedLink
from chatproto.trust.proof import PEER
from chatproto.wire import framed

BACKLOG_BYTES_MAX = 2 * FRAME_BYTES_MAX
"""A feed waits for its link to be clear, so only one snapshot and what was forwarded can pile up."""
HELLO_BYTES_MAX = 4096
"""Before a stranger has said who it is, not even a node's longest name needs more."""
LIMITS = Limits(connections_max=288, strangers_max=256, arrivals_a_second=50, arrivals_at_once=300)
"""More strangers than the reactor takes in at once, as a flood is: the other node, among them, has said who it is
before it would have to go."""


class LinkHeard(Protocol):
    """Who hears the links."""

    def hello(self) -> Hello:
        """Return what this node says first."""

    def link_up(self, link: "PeerLink") -> None:
        """Hear that the other node has said hello."""

    def link_says(self, link: "PeerLink", message: AnyMessage) -> None:
        """Take a message.

        Raises:
            WireError: it makes no sense.
        """

    def link_down(self, link: "PeerLink") -> None:
        """Hear that a link, which was up, is gone."""

    def beat(self) -> PeerMessage:
        """Return what says that this node lives."""


class PeerLink(GuardedLink):
    """One connection to the other node.

    Attributes:
        dialled: whether this node has dialled it: then it may ask and follow over it, otherwise lead.
        address: where this node has dialled it; see `chatproto.pair.neighbours`.
        expected: who may be there, as far as the registry said; empty for whoever it is. Others are refused if they
            have to prove their names.
        hello: what the other node said first; None until it did.
        epoch: of the configuration that the other node has, as far as it said.
        said_epoch: of the one in this node's hello.
        when_lost: called when the connection is gone, with whether the other node has greeted over it.
    """

    def __init__(
        self,
        heard: LinkHeard,
        dialled: bool,
        turn: Turn,
        clock: IReactorTime,
        heartbeat_s: float,
        suspect_s: float,
        gate: Gate[Link] | None = None,
        trust: Trust = BELIEVING,
    ) -> None:
        """Make a link for `heard`, with a heartbeat, that is dropped after a silence of `suspect_s`."""
        super().__init__(PEER, dialled, trust, turn, clock, BACKLOG_BYTES_MAX, FRAME_BYTES_MAX, gate, HELLO_BYTES_MAX)
        self.dialled = dialled
        self.address = ""
        self.expected: frozenset[str] = frozenset()
        self.hello: Hello | None = None
        self.epoch = self.said_epoch = 0
        self.when_lost: Callable[[bool], None] | None = None
        self._heard_by = heard
        self._beat_s = heartbeat_s, suspect_s

    @property
    def name(self) -> str:
        """Who is at the other end; empty before it has said hello."""
        return self.hello.name if self.hello is not None else ""

    def admitted(self) -> None:
        """Say hello, and begin to beat."""
        hello = self._heard_by.hello()
        self.said_epoch = hello.configuration.epoch if hello.configuration is not None else 0
        self.say(hello)
        self.start_heartbeat(*self._beat_s)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever hears this link."""
        super().connectionLost(reason)
        if self.hello is not None:
            self._heard_by.link_down(self)
        if self.when_lost is not None:
            self.when_lost(self.hello is not None)

    def say(self, message: PeerMessage) -> None:
        """Send a message, with all else of this turn."""
        if self.open:
            self.send(framed(encode(message)))

    def ping(self) -> None:
        """Beat."""
        self.say(self._heard_by.beat())

    def messageReceived(self, frame: bytes) -> None:
        """Take a message; the first is a hello that fits, of whoever may say it."""
        message = decode(frame)
        if self.hello is not None:
            if isinstance(message, Hello):
                raise WireError("it says hello twice")
            self._heard_by.link_says(self, message)
            return
        self._check(message)
        assert isinstance(message, Hello)
        self.hello = message
        self.introduced()
        self._heard_by.link_up(self)

    def _check(self, hello: AnyMessage) -> None:
        mine = self._heard_by.hello()
        if not isinstance(hello, Hello):
            raise WireError("it does not begin with hello")
        if hello.version != VERSION:
            raise WireError(f"it speaks version {hello.version} of the peer link, this is {VERSION}")
        if hello.service != mine.service:
            raise WireError(f"it serves {hello.service!r}, this is {mine.service!r}: look at --peer and --service")
        if hello.name == mine.name:
            raise WireError(f"it is called {hello.name!r} too: give each node its own --name")
        self.check_name(hello.name)
        if self.expected and hello.name not in self.expected and self.proof.names is not None:
            expected = " or ".join(sorted(self.expected))
            raise Unproven("wrong-name", f"{expected} is expected there, this is {hello.name}")
        if hello.role == mine.role != STANDBY:
            raise WireError(f"both nodes are started with --role={mine.role}: one has to be the other")


class PeerLinkFactory(Factory):
    """Makes the links that the other node dials."""

    noisy = False

    def __init__(self, make: Callable[[bool], PeerLink], gate: Gate[Link]) -> None:
        """Take what makes a link, given whether this node has dialled it, and the gate of those that others dial."""
        self.gate = gate
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> PeerLink:
        """Make the link of a connection."""
        return self._make(False)
