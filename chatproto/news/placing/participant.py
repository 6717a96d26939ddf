"""A delivery node's side of the two-phase commit. Pure.

What it has promised is among its keys and values, and so is what it has done: each in one write. A promise is kept
whatever happens: it ends with the coordinator's word only. Without a promise there is nothing to be kept, so a node
that refuses forgets at once.
"""

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from chatproto.errors import StoreCorrupt
from chatproto.news.placing.actions import Action
from chatproto.news.placing.messages import (
    Abort,
    Commit,
    Coordinate,
    Done,
    FromCoordinator,
    FromParticipant,
    Participate,
    Prepare,
    Ready,
    Refuse,
)

if TYPE_CHECKING:
    from chatproto.keyvalue.interface import Change
    from chatproto.news.placing.interface import ITable

PREFIX = b"placing/"
"""Of every key of a participant."""

TERM = b"placing/term"
IN_DOUBT_MAX = 4096
"""Transactions of which the outcome is waited for, at once."""


class Stage(Enum):
    """How far a transaction is at a node."""

    UNKNOWN = "unknown"
    PROMISING = "promising"
    READY = "ready"
    DOING = "doing"
    DROPPING = "dropping"


class Cue(Enum):
    """What moves it on."""

    ASKED = "prepare-to-commit"
    COMMITTED = "commit"
    ABORTED = "abort"
    WRITTEN = "it is on the disk"


TRANSITIONS: dict[tuple[Stage, Cue], tuple[Stage, str]] = {
    (Stage.UNKNOWN, Cue.ASKED): (Stage.PROMISING, "it can be done, and that is being written"),
    (Stage.UNKNOWN, Cue.COMMITTED): (Stage.UNKNOWN, "it was promised, so it is done: that is said again"),
    (Stage.UNKNOWN, Cue.ABORTED): (Stage.UNKNOWN, "it was refused, or is dropped already"),
    (Stage.PROMISING, Cue.ASKED): (Stage.PROMISING, "the answer comes when the promise is on the disk"),
    (Stage.PROMISING, Cue.COMMITTED): (Stage.PROMISING, "ready-to-commit comes first: it will be said again"),
    (Stage.PROMISING, Cue.ABORTED): (Stage.DROPPING, "another node has refused, or was too slow"),
    (Stage.PROMISING, Cue.WRITTEN): (Stage.READY, "ready-to-commit: it waits for the outcome, however long"),
    (Stage.READY, Cue.ASKED): (Stage.READY, "ready-to-commit was lost: it is said again"),
    (Stage.READY, Cue.COMMITTED): (Stage.DOING, "all can: what it does is being written, and the promise with it"),
    (Stage.READY, Cue.ABORTED): (Stage.DROPPING, "another node has refused, or was too slow"),
    (Stage.DOING, Cue.ASKED): (Stage.DOING, "asked late: it is decided"),
    (Stage.DOING, Cue.COMMITTED): (Stage.DOING, "commit-completed comes when it is on the disk"),
    (Stage.DOING, Cue.ABORTED): (Stage.DOING, "it is decided, and otherwise"),
    (Stage.DOING, Cue.WRITTEN): (Stage.UNKNOWN, "commit-completed: nothing is to be remembered"),
    (Stage.DROPPING, Cue.ASKED): (Stage.DROPPING, "asked late: it is decided"),
    (Stage.DROPPING, Cue.COMMITTED): (Stage.DROPPING, "it is decided, and otherwise"),
    (Stage.DROPPING, Cue.ABORTED): (Stage.DROPPING, "the promise is being taken from the disk"),
    (Stage.DROPPING, Cue.WRITTEN): (Stage.UNKNOWN, "nothing is to be remembered"),
}


class Say(NamedTuple):
    """Tell the coordinator at a link."""

    at: int
    message: FromParticipant


class TurnAway(NamedTuple):
    """End a link: another process coordinates."""

    at: int


class Write(NamedTuple):
    """Make changes durable, all or none, in the order in which they are asked for; then call `written`.

    Attributes:
        number: of the transaction.
        stage: in which it is written.
        changes: of keys and values.
    """

    number: int
    stage: Stage
    changes: "tuple[Change, ...]"


ParticipantEffect = Say | TurnAway | Write

_actions = msgspec.msgpack.Decoder(tuple[Action, ...])


class Participant:
    """The part that a delivery node takes in transactions.

    Attributes:
        term: the highest that was heard of a coordinator.
    """

    def __init__(
        self, name: str, table: "ITable", rows: "list[tuple[bytes, bytes]]", *, in_doubt_max: int = IN_DOUBT_MAX
    ) -> None:
        """Begin where the disk is.

        Args:
            name: the node's.
            table: its readers.
            rows: the keys that begin with `PREFIX`, and their values.
            in_doubt_max: so many transactions may wait for their outcome; one more is refused.

        Raises:
            StoreCorrupt: they are not what a participant has written.
        """
        self.term = 0
        self._name = name
        self._table = table
        self._in_doubt_max = in_doubt_max
        self._stages: dict[int, Stage] = {}
        self._actions: dict[int, tuple[Action, ...]] = {}
        # Which transaction has which reader.
        self._locks: dict[str, int] = {}
        self._term_kept = 0
        self._at: int | None = None
        for key, value in rows:
            try:
                self._recover(key, value)
            except (ValueError, msgspec.MsgspecError) as error:
                raise StoreCorrupt(f"{key!r} is not what a participant keeps: {error}") from None

    def _recover(self, key: bytes, value: bytes) -> None:
        if key == TERM:
            self.term = self._term_kept = int(value)
        else:
            actions = _actions.decode(value)
            self._lock(int(key.removeprefix(PREFIX)), actions, Stage.READY)
            for action in actions:
                self._table.reserve(action)

    @property
    def in_doubt(self) -> int:
        """How many transactions wait for their outcome, or for the disk."""
        return len(self._stages)

    def entered(self, at: int, hello: Coordinate) -> list[ParticipantEffect]:
        """Hear the hello of a coordinator, at a link with this number, which no other link had."""
        if hello.term < self.term:
            return [TurnAway(at)]
        effects: list[ParticipantEffect] = []
        if self._at is not None:
            # What is still to come from there may be older than what comes from here.
            effects.append(TurnAway(self._at))
        self._at, self.term = at, hello.term
        effects.append(Say(at, Participate(self._name)))
        effects += [Say(at, Ready(number)) for number, stage in self._stages.items() if stage is Stage.READY]
        return effects

    def left(self, at: int) -> None:
        """Hear that a link is gone."""
        if at == self._at:
            self._at = None

    def received(self, at: int, message: FromCoordinator) -> list[ParticipantEffect]:
        """Hear what a coordinator says after its hello; one that was turned away is not listened to."""
        if at != self._at:
            return []
        match message:
            case Prepare(number, actions):
                return self._asked(number, actions)
            case Commit(number):
                return self._moved(number, Cue.COMMITTED)
            case Abort(number):
                return self._moved(number, Cue.ABORTED)
        return []

    def written(self, number: int, stage: Stage) -> list[ParticipantEffect]:
        """Hear that a `Write` is durable."""
        # A promise that was dropped while it was being written is dropped when that is written, too.
        return self._moved(number, Cue.WRITTEN) if self._stages.get(number) is stage else []

    def _asked(self, number: int, actions: tuple[Action, ...]) -> list[ParticipantEffect]:
        if number in self._stages:
            return self._moved(number, Cue.ASKED)
        if any(action.reader in self._locks for action in actions):
            # Not refused: whoever has the reader may be about to be done with it, and the coordinator asks again.
            return []
        if self.in_doubt >= self._in_doubt_max:
            return self._say(Refuse(number, "in-doubt"))
        for at, action in enumerate(actions):
            code = self._table.refusal(action)
            if code:
                for reserved in actions[:at]:
                    self._table.release(reserved)
                return self._say(Refuse(number, code))
            # One after the other: each may want the last room that there is.
            self._table.reserve(action)
        self._actions[number] = actions
        return self._moved(number, Cue.ASKED)

    def _moved(self, number: int, cue: Cue) -> list[ParticipantEffect]:
        before = self._stages.get(number, Stage.UNKNOWN)
        after, _ = TRANSITIONS[before, cue]
        if after is Stage.READY:
            self._stages[number] = after
            return self._say(Ready(number))
        if after is before:
            return self._say(Done(number)) if (before, cue) == (Stage.UNKNOWN, Cue.COMMITTED) else []
        if after is Stage.UNKNOWN:
            return self._finished(number, before)
        actions = self._actions[number]
        key = PREFIX + b"%d" % number
        if after is Stage.PROMISING:
            self._lock(number, actions, after)
            promise: list[Change] = [(key, msgspec.msgpack.encode(actions))]
            if self.term > self._term_kept:
                # With the promise, which an older coordinator, that may know nothing of it, is not to end.
                self._term_kept = self.term
                promise.append((TERM, b"%d" % self.term))
            return [Write(number, after, tuple(promise))]
        self._stages[number] = after
        done = [change for action in actions for change in self._table.changes(action)] if after is Stage.DOING else []
        return [Write(number, after, (*done, (key, None)))]

    def _lock(self, number: int, actions: tuple[Action, ...], stage: Stage) -> None:
        self._stages[number] = stage
        self._actions[number] = actions
        for action in actions:
            self._locks[action.reader] = number

    def _finished(self, number: int, stage: Stage) -> list[ParticipantEffect]:
        del self._stages[number]
        actions = self._actions.pop(number)
        for action in actions:
            del self._locks[action.reader]
            self._table.release(action)
        if stage is Stage.DROPPING:
            return []
        for action in actions:
            self._table.done(action)
        return self._say(Done(number))

    def _say(self, message: FromParticipant) -> list[ParticipantEffect]:
        return [Say(self._at, message)] if self._at is not None else []


def describe() -> str:
    """Return the table of transitions as text, one a line, for the documents."""
    lines = []
    for (before, cue), (after, reason) in TRANSITIONS.items():
        arrow = f"{before.name} -> {after.name}" if after is not before else before.name
        lines.append(f"{cue.name:<10} {arrow:<22} {reason}")
    return "\n".join(lines) + "\n"
