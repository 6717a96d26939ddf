"""A node's side of its link to the registry: the witness, asked over a connection that is dialled again and again."""

import random

from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from chatproto.dialler import Backoff, Dialler
from chatproto.errors import WireError
from chatproto.gate import Gate
from chatproto.link import Link, Turn
from chatproto.pair.configuration import Configuration
from chatproto.pair.witness import WitnessHeard
from chatproto.registry.link import DialledLink
from chatproto.registry.messages import (
    FRAME_BYTES_MAX,
    REFUSALS,
    VERSION,
    Beat,
    Claim,
    Denied,
    FromRegistry,
    Hello,
    Holds,
    Propose,
    Refused,
    Welcome,
    decode_from_registry,
    encode,
)
from chatproto.tally import Tally
from chatproto.trust.interface import BELIEVING, Trust

RETRY_S_MIN = 0.05
RETRY_S_MAX = 1.0
BACKLOG_BYTES_MAX = 64 * 1024

WitnessLink = DialledLink[FromRegistry]

log = Logger()


class RegistryWitness:
    """`AskedWitness` over a registry's link.

    What the registry says is handed on in order, on the reactor's thread, and nothing more once it is closed.

    Attributes:
        up: whether the registry has answered the hello of the present connection.
        heartbeat_s: after so long each side says that it lives.
        suspect_s: a link that is silent for so long is aborted; a try that takes so long is given up.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        dice: random.Random,
        turn: Turn,
        *,
        service: str,
        node: str,
        heartbeat_s: float = 0.15,
        suspect_s: float = 0.6,
        trust: Trust = BELIEVING,
        tally: Tally | None = None,
    ) -> None:
        """Make a link that is not dialled before `open`.

        Args:
            endpoint: of the registry.
            clock: the reactor, as far as time goes.
            dice: spreads the waits between tries, and draws the number of this life.
            turn: batches what is sent.
            service: the name of the deployment.
            node: the name of this node, which no other node of the service has.
            heartbeat_s: as the registry has it.
            suspect_s: as the registry has it.
            trust: what proves to the registry who this is.
            tally: counts the links that this side drops.
        """
        self.up = False
        self.heartbeat_s = heartbeat_s
        self.suspect_s = suspect_s
        self._clock = clock
        self._turn = turn
        self._service = service
        self._node = node
        self._trust = trust
        self._gate: Gate[Link] = Gate("registry", tally if tally is not None else Tally())
        self._life = dice.getrandbits(63)
        self._heard: WitnessHeard | None = None
        self._claim: Configuration | None = None
        self._founder = False
        self._backoff = Backoff(RETRY_S_MIN, RETRY_S_MAX)
        self._dialler = Dialler(endpoint, self._make_link, self._failed, clock, dice, suspect_s, self._backoff)
        self._link: WitnessLink | None = None
        self._up_since = 0.0
        self._proposed: int | None = None

    # AskedWitness

    def open(self, heard: WitnessHeard, claim: Configuration | None, founder: bool) -> None:
        """See `AskedWitness.open`."""
        assert not self._dialler.tries, "it is opened once"
        self._heard, self._claim, self._founder = heard, claim, founder
        self._dialler.start()

    def claim(self, configuration: Configuration) -> None:
        """See `AskedWitness.claim`."""
        self._claim = configuration
        # Until the link may be spoken on, the hello is still to come, and will say so.
        if self._link is not None and self._link.cleared:
            self._link.send(encode(Claim(configuration)))

    def propose(self, configuration: Configuration, *, lossy: bool = False) -> None:
        """See `AskedWitness.propose`."""
        assert self.up and self._link is not None, "there is nobody to ask"
        assert self._proposed is None, "one proposal at a time"
        self._proposed = configuration.epoch
        self._link.send(encode(Propose(configuration, lossy)))

    def close(self) -> None:
        """See `AskedWitness.close`."""
        self.up, self._heard = False, None
        self._dialler.stop()
        link, self._link = self._link, None
        if link is not None:
            link.close()

    # Dialling

    def _make_link(self, number: int) -> WitnessLink:
        limits = BACKLOG_BYTES_MAX, FRAME_BYTES_MAX
        guarded = self._gate, self._trust
        return DialledLink(number, self, decode_from_registry, self._turn, self._clock, *limits, *guarded)

    def _failed(self, reason: str, *, refused: bool = False) -> None:
        if self._backoff.failures == 1:
            log.warn("no link to the registry ({reason}): trying again and again", reason=reason)

    # From the link

    def link_made(self, link: WitnessLink) -> None:
        """Hear that a link is connected."""
        if not self._dialler.made_by(link.number):
            link.abort()
            return
        self._link = link

    def link_admitted(self, link: WitnessLink) -> None:
        """Hear that a link may be spoken on."""
        hello = Hello(VERSION, self._service, self._node, self._founder, self._claim, self._life, link.number)
        link.send(encode(hello))

    def link_lost(self, link: WitnessLink, reason: str) -> None:
        """Hear that a link is connected no longer."""
        if link is not self._link:
            return
        was_up, self.up = self.up, False
        self._link = self._proposed = None
        # A link that does not last, as when two processes have one name, is not dialled as soon as one that did.
        if was_up:
            self._backoff.lasted(self._clock.seconds() - self._up_since)
        # Before it is told, for whoever hears it may close this.
        self._dialler.again(self._backoff())
        self._failed(reason)
        if was_up and self._heard is not None:
            self._heard.witness_down()

    def link_received(self, link: WitnessLink, message: FromRegistry) -> None:
        """Hear what came.

        Raises:
            WireError: it does not belong there.
        """
        if isinstance(message, Beat) or self._heard is None:
            return
        if isinstance(message, Refused):
            log.warn("the registry refuses this node: {why}", why=REFUSALS.get(message.reason, message.reason))
            link.abort()
        elif isinstance(message, Welcome) == self.up:
            raise WireError("a welcome comes first, and only then")
        elif isinstance(message, Welcome):
            self.up, self._up_since = True, self._clock.seconds()
            held = message.configuration
            log.info("the registry is reached, and holds epoch {epoch}", epoch=held.epoch if held is not None else 0)
            self._heard.witness_up(message.configuration)
        elif isinstance(message, Holds):
            self._hold(self._heard, message.configuration)
        else:
            self._deny(self._heard, message)

    def _hold(self, heard: WitnessHeard, configuration: Configuration) -> None:
        if self._proposed is not None and configuration.epoch >= self._proposed:
            # Granted, or too late: another has its epoch.
            self._proposed = None
        heard.witness_holds(configuration)

    def _deny(self, heard: WitnessHeard, denied: Denied) -> None:
        # Where another change was told of meanwhile, that was the answer, and what is proposed now has a higher epoch.
        if denied.epoch == self._proposed:
            self._proposed = None
            heard.witness_denied(denied.reason, denied.configuration)
