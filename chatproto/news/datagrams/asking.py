"""A free reader's side of the conversation with its node: what it asks, how often, and until when. Pure.

Datagrams get lost: what is not answered is asked again, later each time. A node that has lost its memory, or has
another secret since it was started anew, answers with a challenge, and all goes on.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from chatproto.news.datagrams.messages import (
    NO_COOKIE,
    Challenge,
    Denied,
    FromNode,
    Granted,
    Leave,
    Listen,
    Pull,
    Pulled,
    Request,
    datagram,
)
from chatproto.news.datagrams.proof import signed

RETRY_S_MIN = 0.5
RETRY_S_MAX = 8.0
SILENT_TRIES = 4
"""After so many without an answer the node may be elsewhere by now."""

PULL_TRIES_MAX = 6
AWAIT_S = 2.0
"""For what was sent before the answer of a pull and has not come; what is on its way for longer was lost."""

REFUSED_AGAIN_S_MIN, REFUSED_AGAIN_S_MAX = 0.5, 30.0
"""A refusal is asked about again after so long, twice as long each time, for the contract may be on its way to the
node: a reader is told of it as soon as it is decided."""

CHALLENGES_MAX = 4
"""Answered in a row at once; then it waits."""

FINAL = frozenset({"moved"})
"""Refusals after which asking again would only take from another what it has."""


@dataclass(frozen=True)
class Say:
    """A datagram to be sent to the node."""

    data: bytes


@dataclass(frozen=True)
class Granting:
    """The node has granted what was asked.

    Attributes:
        node: its name.
    """

    node: str


@dataclass(frozen=True)
class Refusing:
    """The node does not serve this reader, by a code of `messages.REASONS`."""

    code: str


@dataclass(frozen=True)
class Unheard:
    """The node does not answer; it may be elsewhere by now. It is still asked."""


@dataclass(frozen=True)
class PullEnded:
    """A pull is over.

    Attributes:
        numbers: of the items that were sent.
        missing: those of them that have not come whole.
        more: whether the node has more already.
        held_back: why less was sent than there is; see `Pulled`.
        failure: empty, or why there is no answer: a code of `messages.REASONS`, or `no-answer`.
    """

    numbers: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    more: bool = False
    held_back: str = ""
    failure: str = ""


Effect = Say | Granting | Refusing | Unheard | PullEnded


class Phase(enum.Enum):
    """Where a reader stands with its node."""

    STILL = "it asks for nothing"
    ASKING = "it has asked, and waits for an answer"
    SERVED = "the node has answered: it sends what comes, or has sent what was pulled"
    REFUSED = "the node has refused"


class Cue(enum.Enum):
    """What moves a reader from one phase to another."""

    START = "it is to ask"
    STOP = "it is to ask no more"
    CHALLENGED = "the node wants to see that it is heard"
    GRANTED = "the node has answered"
    DENIED = "the node has refused"
    DUE = "the time is over that it waits in this phase"
    COMPLETE = "all that was pulled is there"


LISTENING: dict[tuple[Phase, Cue], tuple[Phase, str]] = {
    (Phase.STILL, Cue.START): (Phase.ASKING, "nothing comes before it was asked for"),
    (Phase.STILL, Cue.STOP): (Phase.STILL, "it is"),
    (Phase.ASKING, Cue.CHALLENGED): (Phase.ASKING, "the same again, with the cookie"),
    (Phase.ASKING, Cue.GRANTED): (Phase.SERVED, "until the lease wants to be renewed"),
    (Phase.ASKING, Cue.DENIED): (Phase.REFUSED, "asking again at once would be answered the same"),
    (Phase.ASKING, Cue.DUE): (Phase.ASKING, "a datagram was lost, or the node is"),
    (Phase.ASKING, Cue.STOP): (Phase.STILL, "and says so, for it may have been heard"),
    (Phase.SERVED, Cue.DUE): (Phase.ASKING, "the lease is renewed long before it is over"),
    (Phase.SERVED, Cue.DENIED): (Phase.REFUSED, "the contract is gone from this node"),
    (Phase.SERVED, Cue.STOP): (Phase.STILL, "and says so"),
    (Phase.REFUSED, Cue.DUE): (Phase.ASKING, "what was refused may be cured by now"),
    (Phase.REFUSED, Cue.STOP): (Phase.STILL, "there is nobody to take leave of"),
}
"""Of a push reader."""

PULLING: dict[tuple[Phase, Cue], tuple[Phase, str]] = {
    (Phase.STILL, Cue.START): (Phase.ASKING, "what is there is asked for"),
    (Phase.STILL, Cue.STOP): (Phase.STILL, "it is"),
    (Phase.ASKING, Cue.CHALLENGED): (Phase.ASKING, "the same again, with the cookie"),
    (Phase.ASKING, Cue.GRANTED): (Phase.SERVED, "what was sent may still be on its way"),
    (Phase.ASKING, Cue.DENIED): (Phase.STILL, "whoever has pulled is told, and may pull again"),
    (Phase.ASKING, Cue.DUE): (Phase.ASKING, "a datagram was lost, or the node is"),
    (Phase.ASKING, Cue.STOP): (Phase.STILL, "given up"),
    (Phase.SERVED, Cue.COMPLETE): (Phase.STILL, "nothing is missing"),
    (Phase.SERVED, Cue.DUE): (Phase.STILL, "what is missing was lost"),
    (Phase.SERVED, Cue.STOP): (Phase.STILL, "given up"),
}
"""Of a pull reader, for one pull after the other."""


class Pen:
    """Writes the requests of one conversation.

    Attributes:
        cookie: the last one that the node has given.
        serial: of the last request.
    """

    def __init__(self, reader: str, key: str, conversation: bytes) -> None:
        """Write for a reader; the key is its ticket's hash (`chatproto.chat.passwords.token_hash`)."""
        self.cookie = NO_COOKIE
        self.serial = 0
        self._reader = reader
        self._key = key
        self._conversation = conversation

    def write(self, make: Callable[[str, bytes, int, bytes], Request]) -> Say:
        """Write the next request; `make` is given the fields of `Request`."""
        self.serial += 1
        request = make(self._reader, self.cookie, self.serial, b"")
        return Say(datagram(signed(request, self._key, self._conversation), self._conversation))


class Asking:
    """What listening and pulling have in common: one request, said until it is answered.

    Attributes:
        phase: where the reader stands.
    """

    transitions: dict[tuple[Phase, Cue], tuple[Phase, str]]

    def __init__(self, pen: Pen, spread: float) -> None:
        """Ask for nothing yet; `spread` from 0 to 1 sets readers apart that would ask in step."""
        self.phase = Phase.STILL
        self._pen = pen
        self._spread = spread
        self._due_at: float | None = None
        self._since_serial = 0
        self._tries = 0
        self._challenges = 0

    def next_wakeup(self) -> float | None:
        """Return when `wake` is due; None if nothing is waited for."""
        return self._due_at

    def heard(self, now: float) -> None:
        """Hear that something of the node came, whatever it was: it lives, and is asked again no sooner."""
        if self.phase is Phase.ASKING and self._due_at is not None:
            self._due_at = max(self._due_at, now + RETRY_S_MIN)

    def again(self, now: float) -> list[Effect]:
        """Ask at once, for the node is somewhere else: there everything begins anew."""
        self._pen.cookie = NO_COOKIE
        return self._ask(now, anew=True) if self.phase is Phase.ASKING else []

    def _request(self) -> Callable[[str, bytes, int, bytes], Request]:
        raise NotImplementedError

    def _move(self, cue: Cue) -> Phase:
        self.phase, _ = self.transitions[self.phase, cue]
        return self.phase

    def _ask(self, now: float, *, anew: bool = False) -> list[Effect]:
        if anew:
            self._tries = self._challenges = 0
            self._since_serial = self._pen.serial + 1
        wait_s = min(RETRY_S_MIN * 2.0 ** min(self._tries, 64), RETRY_S_MAX)
        self._tries += 1
        self._due_at = now + wait_s * (1 + self._spread / 2)
        return [self._pen.write(self._request())]

    def _challenged(self, challenge: Challenge, now: float) -> list[Effect]:
        if self.phase is not Phase.ASKING or challenge.cookie == self._pen.cookie:
            return []
        self._move(Cue.CHALLENGED)
        self._pen.cookie = challenge.cookie
        self._challenges += 1
        # It has answered, so it is there; but who is challenged again and again must not answer each time.
        return self._ask(now) if self._challenges <= CHALLENGES_MAX else []

    def _is_answer(self, serial: int) -> bool:
        return self.phase is Phase.ASKING and self._since_serial <= serial <= self._pen.serial


class Listening(Asking):
    """A push reader: asks to be sent what comes, and goes on asking while the lease lasts."""

    transitions = LISTENING

    def __init__(self, pen: Pen, spread: float) -> None:
        """Ask for nothing yet."""
        super().__init__(pen, spread)
        self._refusals = 0

    def start(self, now: float) -> list[Effect]:
        """Begin to listen."""
        self._move(Cue.START)
        self._refusals = 0
        return self._ask(now, anew=True)

    def stop(self) -> list[Effect]:
        """Listen no more; said once, for a lease that is not renewed ends by itself."""
        heard = self.phase in (Phase.ASKING, Phase.SERVED)
        self._move(Cue.STOP)
        self._due_at = None
        return [self._pen.write(Leave)] if heard else []

    def received(self, message: FromNode, now: float) -> list[Effect]:
        """Take an answer; what answers nothing that was asked is passed over."""
        match message:
            case Challenge():
                return self._challenged(message, now)
            case Granted() if self._is_answer(message.serial) and message.lease_s > 0:
                self._move(Cue.GRANTED)
                self._refusals = 0
                self._due_at = now + message.lease_s / 3 * (1 - self._spread / 4)
                return [Granting(message.node)]
            case Denied() if self._is_answer(message.serial) or (
                message.serial == 0 and self.phase in (Phase.ASKING, Phase.SERVED)
            ):
                self._move(Cue.DENIED)
                wait_s = min(REFUSED_AGAIN_S_MIN * 2.0 ** min(self._refusals, 64), REFUSED_AGAIN_S_MAX)
                self._refusals += 1
                self._due_at = None if message.code in FINAL else now + wait_s * (1 + self._spread)
                return [Refusing(message.code)]
            case _:
                return []

    def wake(self, now: float) -> list[Effect]:
        """Ask again, or renew."""
        if self._due_at is None or now < self._due_at:
            return []
        unheard: list[Effect] = []
        if self.phase is Phase.ASKING and self._tries >= SILENT_TRIES:
            unheard = [Unheard()]
        anew = self.phase is not Phase.ASKING
        self._move(Cue.DUE)
        return [*self._ask(now, anew=anew), *unheard]

    def _request(self) -> Callable[[str, bytes, int, bytes], Request]:
        return Listen


class Pulling(Asking):
    """A pull reader: asks for what is there after a stamp.

    Attributes:
        after: the highest stamp that was answered with.
    """

    transitions = PULLING

    def __init__(self, pen: Pen, spread: float, after: int = 0) -> None:
        """Ask for nothing yet."""
        super().__init__(pen, spread)
        self.after = after
        self._count = 0
        self._answer: Pulled | None = None
        self._missing: dict[int, None] = {}

    def start(self, count: int, now: float) -> list[Effect]:
        """Pull so many items at most; nothing is being pulled."""
        self._move(Cue.START)
        self._count = count
        return self._ask(now, anew=True)

    def stop(self) -> list[Effect]:
        """Pull no more."""
        self._move(Cue.STOP)
        self._due_at = None
        return []

    def received(self, message: FromNode, now: float, delivered: Callable[[int], bool]) -> list[Effect]:
        """Take an answer; what answers nothing that was asked is passed over.

        Args:
            message: what came.
            now: seconds.
            delivered: whether the item of a number has come whole.
        """
        match message:
            case Challenge():
                return self._challenged(message, now)
            case Pulled() if self._is_answer(message.serial):
                self._move(Cue.GRANTED)
                self._answer = message
                # A node that has begun anew has lower stamps than before.
                self.after = max(0, message.upto)
                self._missing = {number: None for number in message.numbers if not delivered(number)}
                self._due_at = now + AWAIT_S
                return [Granting(message.node), *self._ended_if_complete()]
            case Denied() if self._is_answer(message.serial):
                self._move(Cue.DENIED)
                self._due_at = None
                return [Refusing(message.code), PullEnded(failure=message.code)]
            case _:
                return []

    def arrived(self, number: int) -> list[Effect]:
        """Hear that an item has come whole."""
        self._missing.pop(number, None)
        return self._ended_if_complete() if self.phase is Phase.SERVED else []

    def wake(self, now: float) -> list[Effect]:
        """Ask again, or wait no longer for what is missing."""
        if self._due_at is None or now < self._due_at:
            return []
        if self.phase is Phase.SERVED:
            return self._ended(Cue.DUE)
        if self._tries >= PULL_TRIES_MAX:
            self.stop()
            return [Unheard(), PullEnded(failure="no-answer")]
        self._move(Cue.DUE)
        return self._ask(now)

    def _request(self) -> Callable[[str, bytes, int, bytes], Request]:
        return lambda reader, cookie, serial, proof: Pull(reader, cookie, serial, proof, self.after, self._count)

    def _ended_if_complete(self) -> list[Effect]:
        return [] if self._missing else self._ended(Cue.COMPLETE)

    def _ended(self, cue: Cue) -> list[Effect]:
        assert self._answer is not None
        self._move(cue)
        self._due_at = None
        answer, self._answer = self._answer, None
        missing, self._missing = tuple(self._missing), {}
        return [PullEnded(answer.numbers, missing, answer.more, answer.held_back)]
