"""A connection of the news system, of either side; and whoever keeps one up."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.dialler import Backoff, Dialler
from chatproto.errors import WireError
from chatproto.gate import UNLIMITED, Gate, Limits
from chatproto.link import Link, Turn
from chatproto.news.lateness import Lateness
from chatproto.news.messages import FRAME_BYTES_MAX, HELLO_BYTES_MAX, Beat, Echo, Message, Refused, encode
from chatproto.tally import Tally
from chatproto.trust.ending import tls_trouble
from chatproto.trust.interface import BELIEVING, Trust
from chatproto.trust.link import GuardedLink
from chatproto.trust.proof import PEER
from chatproto.wire import TokenBucket

BACKLOG_BYTES_MAX = 1024 * 1024
HEARTBEAT_S = 1.0
SUSPECT_S = 5.0
RETRY_S_MIN = 0.05
RETRY_S_MAX = 1.0
STRANGER_MESSAGES_MAX = 32
"""A hello, and beats while that is thought about: to answer more of them would hold up those who belong here."""
RATE_PAUSE_S = 0.1
"""How long a link is not read that has brought more than it may."""

Decode = Callable[[bytes], Any]

log = Logger()


class NewsHeard(Protocol):
    """Who hears a link."""

    def link_admitted(self, link: "NewsLink") -> None:
        """Hear that a link may be spoken on: whoever has dialled says hello."""

    def link_received(self, link: "NewsLink", message: Any) -> None:
        """Hear what came, beats apart.

        Raises:
            WireError: it does not belong there.
        """

    def link_lost(self, link: "NewsLink", reason: str) -> None:
        """Hear that a link is connected no longer, admitted or not."""


class NewsLink(GuardedLink):
    """One connection of the news system.

    Attributes:
        heard_by: hears it; may be another one once a hello has said what this is.
        number: counts the connections that its maker has made.
        way_s: how long a message needs to the other side, as far as is known, in seconds.
        lateness: how much longer than others a message from the other side was on its way.
    """

    def __init__(
        self,
        heard_by: NewsHeard,
        decode: Decode,
        turn: Turn,
        clock: IReactorTime,
        *,
        dialled: bool,
        number: int = 0,
        trust: Trust = BELIEVING,
        gate: Gate[Link] | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        suspect_s: float = SUSPECT_S,
        limits: Limits = UNLIMITED,
    ) -> None:
        """Make a link that is not connected yet."""
        hello_bytes_max = None if dialled else HELLO_BYTES_MAX
        super().__init__(PEER, dialled, trust, turn, clock, BACKLOG_BYTES_MAX, FRAME_BYTES_MAX, gate, hello_bytes_max)
        self.heard_by = heard_by
        self.number = number
        self.way_s = 0.0
        self.lateness = Lateness()
        self._decode = decode
        self._spans_s = heartbeat_s, suspect_s
        self._bucket = TokenBucket(limits.link_lines_a_second, limits.link_lines_at_once)
        # What may still come of a stranger; whoever was dialled is none.
        self._patience = None if dialled else STRANGER_MESSAGES_MAX
        # Frames that have come and are above the rate.
        self._above: deque[bytes] = deque()

    def say(self, message: Message) -> None:
        """Send a message, with all else of this turn."""
        self.send(encode(message))

    def refuse(self, code: str, why: str = "") -> None:
        """Say why the other side is not welcome, count it, and end the connection."""
        self.drop(code, why, last=encode(Refused(code, why)))

    def admitted(self) -> None:
        """Begin to speak, and to watch over the other side."""
        self.heard_by.link_admitted(self)
        if self.open:
            self.start_heartbeat(*self._spans_s)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell."""
        super().connectionLost(reason)
        self.heard_by.link_lost(self, tls_trouble(reason) or reason.getErrorMessage())

    def messageReceived(self, frame: bytes) -> None:
        """Hand a message on, or have it wait, and read nothing more, if this one brings more than it may."""
        if self._above:
            self._above.append(frame)
        elif self._bucket.spare(1, self.clock.seconds()):
            self._hear(frame)
        else:
            self._above.append(frame)
            self.hold_reading("rate")
            self.clock.callLater(RATE_PAUSE_S, self._go_on_above)

    def _go_on_above(self) -> None:
        now = self.clock.seconds()
        while self._above and self.open and self._bucket.spare(1, now):
            self.take(self._above.popleft(), self._hear)
        if self._above and self.open:
            self.clock.callLater(RATE_PAUSE_S, self._go_on_above)
        else:
            self._above.clear()
            self.release_reading("rate")

    def _hear(self, frame: bytes) -> None:
        if self._patience is not None and not self.gate.knows(self):
            if not self._patience:
                self.drop("talkative")
                return
            self._patience -= 1
        message = self._decode(frame)
        if isinstance(message, Beat):
            self.lateness.heard(message.at, self.clock.seconds())
            self.say(Echo(message.at))
        elif isinstance(message, Echo):
            self.way_s = max(0.0, (self.clock.seconds() - message.at) / 2)
        else:
            self.heard_by.link_received(self, message)

    def ping(self) -> None:
        """Say that this side lives, and ask how long the way is."""
        self.say(Beat(self.clock.seconds()))


class NewsLinkFactory(Factory):
    """Makes the links of whoever comes to a port of the news system; each is a stranger's until its hello.

    Attributes:
        links: those that are connected.
        gate: bounds how many there are, and counts who is dropped.
    """

    noisy = False

    def __init__(
        self,
        door: str,
        decode: Decode,
        hellos: dict[type[Message], NewsHeard],
        turn: Turn,
        clock: IReactorTime,
        tally: Tally,
        *,
        limits: Limits = UNLIMITED,
        trust: Trust = BELIEVING,
        heartbeat_s: float = HEARTBEAT_S,
        suspect_s: float = SUSPECT_S,
    ) -> None:
        """Make a factory.

        Args:
            door: its name in the tally.
            decode: reads what may come.
            hellos: who hears the links that begin with a kind of hello, that first message included.
            turn: batches what is sent.
            clock: the reactor, as far as time goes.
            tally: counts who is dropped, and why.
            limits: how many may come.
            trust: how it is known who they are.
            heartbeat_s: after so long each side says that it lives.
            suspect_s: a link that is silent for so long is aborted.
        """
        self.links: dict[NewsLink, None] = {}
        self.gate: Gate[Link] = Gate(door, tally, lambda: limits)
        self._limits = limits
        self._decode = decode
        self._hellos = hellos
        self._turn = turn
        self._clock = clock
        self._trust = trust
        self._spans_s = heartbeat_s, suspect_s
        self._numbers = 0

    def buildProtocol(self, addr: IAddress | None) -> NewsLink:
        """Make the link of a connection."""
        self._numbers += 1
        heartbeat_s, suspect_s = self._spans_s
        return NewsLink(
            self,
            self._decode,
            self._turn,
            self._clock,
            dialled=False,
            number=self._numbers,
            trust=self._trust,
            gate=self.gate,
            heartbeat_s=heartbeat_s,
            suspect_s=suspect_s,
            limits=self._limits,
        )

    def stop(self) -> None:
        """End every link, politely."""
        for link in list(self.links):
            link.close()

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`."""
        self.links[link] = None

    def link_received(self, link: NewsLink, message: Any) -> None:
        """Hand a link on to whoever hears such hellos; nobody else hears it again."""
        heard_by = self._hellos.get(type(message))
        if heard_by is None:
            raise WireError("no hello that is known here")
        link.heard_by = _Heard(self, heard_by)
        heard_by.link_admitted(link)
        heard_by.link_received(link, message)

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """Forget a link."""
        self.links.pop(link, None)


class _Heard:
    """Hears a link on behalf of two: of whoever its hello was for, and of the factory that counts it."""

    def __init__(self, factory: NewsLinkFactory, heard_by: NewsHeard) -> None:
        self._factory = factory
        self._heard_by = heard_by
        self.link_admitted = heard_by.link_admitted
        self.link_received = heard_by.link_received

    def link_lost(self, link: NewsLink, reason: str) -> None:
        self._factory.link_lost(link, reason)
        self._heard_by.link_lost(link, reason)


class _DialledLink(NewsLink):
    def linked(self) -> None:
        # Whoever dials knows whom it has reached.
        self.introduced()
        assert isinstance(self.heard_by, NewsDialler)
        self.heard_by.link_made(self)


class NewsDialler:
    """Keeps a connection to a port of the news system up, one at a time.

    Attributes:
        link: the connection that is admitted; None while there is none.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        heard_by: NewsHeard,
        decode: Decode,
        turn: Turn,
        clock: IReactorTime,
        dice: random.Random,
        *,
        what: str,
        trust: Trust = BELIEVING,
        tally: Tally | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        suspect_s: float = SUSPECT_S,
        failed: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Make one that does not dial yet.

        Args:
            endpoint: of the other side.
            heard_by: says hello when a link is admitted.
            decode: reads what may come.
            turn: batches what is sent.
            clock: the reactor, as far as time goes.
            dice: spreads the tries.
            what: the other side, for the log.
            trust: how each side knows the other.
            tally: counts the links that this side drops.
            heartbeat_s: after so long this side says that it lives.
            suspect_s: a link that is silent for so long is aborted, and a try that takes so long given up.
            failed: told, with the reason, of every try that has failed and every link that was lost.
        """
        self.link: NewsLink | None = None
        self._made: NewsLink | None = None
        self._heard_by = heard_by
        self._decode = decode
        self._turn = turn
        self._clock = clock
        self._what = what
        self._trust = trust
        self._gate: Gate[Link] = Gate("news", tally if tally is not None else Tally())
        self._spans_s = heartbeat_s, suspect_s
        self._told = failed
        self._since = 0.0
        self._running = False
        self._backoff = Backoff(RETRY_S_MIN, RETRY_S_MAX)
        self._dialler = Dialler(endpoint, self._make, self._failed, clock, dice, suspect_s, self._backoff)

    def start(self) -> None:
        """Begin to dial."""
        self._running = True
        self._dialler.start()

    def stop(self) -> None:
        """Dial no more, and end the connection politely; nothing is heard of it any more."""
        self._running = False
        self._dialler.stop()
        link, self._made, self.link = self._made, None, None
        if link is not None:
            link.close()

    def _make(self, number: int) -> NewsLink:
        heartbeat_s, suspect_s = self._spans_s
        return _DialledLink(
            self,
            self._decode,
            self._turn,
            self._clock,
            dialled=True,
            number=number,
            trust=self._trust,
            gate=self._gate,
            heartbeat_s=heartbeat_s,
            suspect_s=suspect_s,
        )

    def _failed(self, reason: str, *, refused: bool = False) -> None:
        if self._backoff.failures == 1:
            log.warn("no link to {what} ({reason}): trying again and again", what=self._what, reason=reason)
        self._told(reason)

    def link_made(self, link: NewsLink) -> None:
        """Hear that a link is connected; nothing may be said on it yet."""
        if self._running and self._dialler.made_by(link.number):
            self._made = link
        else:
            link.abort()

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`."""
        self.link, self._since = link, self._clock.seconds()
        self._heard_by.link_admitted(link)

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        if link is self.link:
            self._heard_by.link_received(link, message)

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """Dial again."""
        if link is not self._made:
            return
        was_up = self.link is not None
        self._made = self.link = None
        if was_up:
            self._backoff.lasted(self._clock.seconds() - self._since)
        # Before it is told, for whoever hears it may stop this.
        self._dialler.again(self._backoff())
        self._failed(reason)
        if was_up:
            self._heard_by.link_lost(link, reason)
