"""One side of a direct connection, as a state machine: who is there, what is said, what becomes of it. Pure."""

import enum
from collections.abc import Callable
from typing import ClassVar

import msgspec

from chatproto.client.direct.expected import Expected
from chatproto.client.direct.messages import (
    VERSION,
    Accepted,
    Ack,
    Call,
    DirectMessage,
    Error,
    Nack,
    Private,
    encode,
)
from chatproto.client.once import Once
from chatproto.wire.fields import ID_CHARS_MAX


class Stage(enum.Enum):
    """Where a side stands."""

    CALLED = enum.auto()
    SHOWN = enum.auto()
    CALLING = enum.auto()
    OPEN = enum.auto()
    ENDED = enum.auto()


class Cue(enum.Enum):
    """What moves a side from one stage to another."""

    SHOWS = enum.auto()
    PROVED = enum.auto()
    ACCEPTED = enum.auto()
    SPEAKS = enum.auto()
    ANSWERS = enum.auto()
    REFUSES = enum.auto()
    FAILS = enum.auto()


TRANSITIONS: dict[tuple[Stage, Cue], tuple[Stage, str]] = {
    (Stage.CALLED, Cue.SHOWS): (Stage.SHOWN, "the server's announcement may still be under way to us"),
    (Stage.CALLED, Cue.FAILS): (Stage.ENDED, "a stranger has nothing to say to us"),
    (Stage.SHOWN, Cue.PROVED): (Stage.OPEN, "only whom the server named knows the token"),
    (Stage.SHOWN, Cue.FAILS): (Stage.ENDED, "the token is another's, or too old, or nobody's"),
    (Stage.CALLING, Cue.ACCEPTED): (Stage.OPEN, "whom the server sent us to takes us in"),
    (Stage.CALLING, Cue.REFUSES): (Stage.ENDED, "there may still be the way over the server"),
    (Stage.CALLING, Cue.FAILS): (Stage.ENDED, "that is no client of ours"),
    (Stage.OPEN, Cue.SPEAKS): (Stage.OPEN, "shown, and then acknowledged"),
    (Stage.OPEN, Cue.ANSWERS): (Stage.OPEN, "something of ours has arrived"),
    (Stage.OPEN, Cue.REFUSES): (Stage.ENDED, "it takes nothing more"),
    (Stage.OPEN, Cue.FAILS): (Stage.ENDED, "nothing after it could be understood, or taken in order"),
}
"""Every transition there is, each with its reason; the other side does what it likes, and any other is FAILS."""


class Send(msgspec.Struct, frozen=True):
    """Send a line."""

    line: bytes


class Opened(msgspec.Struct, frozen=True):
    """The other side is who it says it is: messages may be sent, and come."""


class Heard(msgspec.Struct, frozen=True):
    """A message that was not heard before."""

    content: str
    id: str


class Answered(msgspec.Struct, frozen=True):
    """The other side has a message of ours; with a `code`, it does not take it."""

    id: str
    code: str = ""


class End(msgspec.Struct, frozen=True):
    """Close the connection, after a last line."""

    reason: str
    line: bytes = b""


Effect = Send | Opened | Heard | Answered | End


class Side:
    """One side of a direct connection.

    Attributes:
        stage: where it stands.
        identity: who the other side is; when we are called, who it says it is until it is open, and at first nobody.
    """

    def __init__(
        self, me: Callable[[], str], expected: Expected, once: Once, content_chars_max: int, *, to: str = ""
    ) -> None:
        """Make a side that is called or, where `to` is given, calls that identity.

        Args:
            me: tells our identity.
            expected: the tokens that callers are to show.
            once: what was heard on either way.
            content_chars_max: the longest message taken.
            to: whom we call; empty where we are called.
        """
        self.stage = Stage.CALLING if to else Stage.CALLED
        self.identity = to
        self._me = me
        self._expected = expected
        self._once = once
        self._content_chars_max = content_chars_max
        self._token = ""

    def call(self, token: str) -> list[Effect]:
        """Say who calls."""
        return [Send(encode(Call(VERSION, self._me(), self.identity, token)))]

    def received(self, message: DirectMessage, now: float) -> list[Effect]:
        """Take what the other side says; `now` is in seconds of the clock of `Expected`."""
        cue = self._CUES[type(message)]
        if (self.stage, cue) not in TRANSITIONS:
            return self.fail("out-of-turn", "that line is not for now")
        if isinstance(message, Call):
            return self._shows(message, now)
        if isinstance(message, Private):
            return self._speaks(message)
        self._go(cue)
        if isinstance(message, Accepted):
            return [Opened()]
        if isinstance(message, Ack):
            return [Answered(message.id)]
        if isinstance(message, Nack):
            return [Answered(message.id, message.code), End(message.code)]
        return [End(message.code)]

    def announced(self, now: float) -> list[Effect]:
        """Look whether the token that was shown is expected by now."""
        if self.stage is not Stage.SHOWN or not self._expected.knows(self._token):
            return []
        if not self._expected.shown(self.identity, self._token, now):
            return self.not_expected()
        self._go(Cue.PROVED)
        return [Send(encode(Accepted())), Opened()]

    def not_expected(self) -> list[Effect]:
        """Give up waiting for a proof."""
        return self.fail("not-expected", "the server has not announced you, or not with this token")

    def fail(self, code: str, text: str) -> list[Effect]:
        """End, for a reason that the other side is told."""
        self._go(Cue.FAILS)
        return [End(code, encode(Error(code, text)))]

    def _go(self, cue: Cue) -> None:
        self.stage, _ = TRANSITIONS[self.stage, cue]

    def _shows(self, call: Call, now: float) -> list[Effect]:
        if call.version != VERSION:
            return self.fail("version", f"this client speaks version {VERSION} of direct connections")
        if call.to != self._me():
            return self.fail("not-me", "nobody is called so here")
        self._go(Cue.SHOWS)
        self.identity, self._token = call.identity, call.token
        return self.announced(now)

    def _speaks(self, private: Private) -> list[Effect]:
        refusal = ""
        if not 1 <= len(private.id) <= ID_CHARS_MAX:
            refusal = "id-invalid"
        elif len(private.content) > self._content_chars_max:
            refusal = "content-too-long"
        if refusal:
            self._go(Cue.FAILS)
            # What comes after it is not taken either: it is relayed, too, and so in order.
            return [End(refusal, encode(Nack(private.id[:ID_CHARS_MAX], refusal)))]
        self._go(Cue.SPEAKS)
        ack = Send(encode(Ack(private.id)))
        # It leaves at the end of this turn, when the message has been heard; whoever hears it may end the connection.
        return [ack, Heard(private.content, private.id)] if self._once.direct(private.id) else [ack]

    _CUES: ClassVar[dict[type[object], Cue]] = {
        Call: Cue.SHOWS,
        Accepted: Cue.ACCEPTED,
        Private: Cue.SPEAKS,
        Ack: Cue.ANSWERS,
        Nack: Cue.REFUSES,
        Error: Cue.REFUSES,
    }
