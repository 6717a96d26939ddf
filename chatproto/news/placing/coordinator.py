"""The coordinator of the two-phase commit. Pure.

It says nothing that is not in the log: a transaction is prepared once it is begun there, and committed or aborted once
that is decided there. So it may end at any moment, and another process goes on with the same log: what is decided is
told again, what is not is asked again. Whoever asks about a transaction that the log does not know, or not any more, is
told that it is aborted: nobody forgets one that is committed before all nodes have done their part, those apart that an
operator has given up.

A delivery node that is away holds up only the transactions that it has a part in.
"""

from typing import NamedTuple

from chatproto.news.placing.actions import Steps, readers_of, steps_allowed
from chatproto.news.placing.ledger import Act, Begun, Completed, Decided, Ledger, Lost, Took, Transaction, without
from chatproto.news.placing.messages import (
    Abort,
    Commit,
    Done,
    FromCoordinator,
    FromParticipant,
    Prepare,
    Ready,
    Refuse,
)

VOTES_S_MAX = 10.0
"""After so long without the answer of a delivery node a transaction is aborted."""

AGAIN_S = 1.0
"""A delivery node that is there and has not answered is told again."""


class Record(NamedTuple):
    """Have an act agreed on by the log; when it is, `Ledger.take` it, then call `recorded`."""

    act: Act


class Lead(NamedTuple):
    """Say hello to the delivery nodes, with this term; each is `up` when it has answered."""

    term: int


class Tell(NamedTuple):
    """Say something to a delivery node that is up."""

    node: str
    message: FromCoordinator


class Settled(NamedTuple):
    """Tell whoever wanted a transaction what became of it.

    Attributes:
        name: of the transaction.
        committed: whether it is, durably; the nodes may still have to do their parts.
        code: why not, of `REFUSALS` or a node's own.
        node: which node was the reason.
    """

    name: str
    committed: bool
    code: str = ""
    node: str = ""


class Superseded(NamedTuple):
    """Another process coordinates: end the links. What comes of the transactions is in the log, and not told here.

    Whoever is to coordinate all the same, because the other one is gone, has this one `start` again.
    """


CoordinatorEffect = Record | Lead | Tell | Settled | Superseded


class _Round:
    """A transaction, and who has answered what they are told now."""

    __slots__ = ("again_at", "answered", "committed", "name", "number", "readers", "steps", "until")

    def __init__(self, transaction: Transaction, now: float, votes_s_max: float, again_s: float) -> None:
        self.number = transaction.number
        self.name = transaction.name
        self.steps = transaction.steps
        self.readers = readers_of(transaction.steps)
        self.committed = transaction.committed
        self.answered: set[str] = set()
        self.again_at = now + again_s
        # None once it is, or is about to be, decided.
        self.until = None if self.committed else now + votes_s_max

    @property
    def missing(self) -> list[str]:
        """The nodes that have not answered."""
        return [node for node in self.steps if node not in self.answered]

    @property
    def waiting(self) -> bool:
        """Whether it is the nodes that it waits for, and not the log."""
        return self.committed or self.until is not None

    def message(self, node: str) -> FromCoordinator:
        """Return what a node is told."""
        return Commit(self.number) if self.committed else Prepare(self.number, self.steps[node])


class Coordinator:
    """Coordinates the transactions of a ledger, from `start` until it is superseded or let go.

    Times are `now` in seconds of any clock that only goes forward. Every call returns what is to be done, in order.

    Attributes:
        leads: whether it coordinates now.
        up: the delivery nodes that are up.
    """

    def __init__(
        self, ledger: Ledger, life: str, *, votes_s_max: float = VOTES_S_MAX, again_s: float = AGAIN_S
    ) -> None:
        """Make one.

        Args:
            ledger: what is durable; it takes every act before `recorded` hears it.
            life: names this coordinator, and no other one that ever was.
            votes_s_max: so long the nodes may take to say whether they can.
            again_s: a node that has not answered is told again after so long.
        """
        self.leads = False
        self.up: set[str] = set()
        self._taking_over = False
        self._ledger = ledger
        self._life = life
        self._votes_s_max = votes_s_max
        self._again_s = again_s
        self._rounds: dict[int, _Round] = {}
        # Begun, as far as this coordinator goes, and not recorded yet.
        self._beginning: dict[str, Steps] = {}
        # Whose change is not decided.
        self._busy: set[str] = set()
        self._wake_at: float | None = None

    def start(self) -> list[CoordinatorEffect]:
        """Take over, from whoever coordinates, once that is in the log."""
        self._taking_over = True
        return [Record(Took(self._ledger.term + 1, self._life))]

    def begin(self, name: str, steps: Steps) -> list[CoordinatorEffect]:
        """Begin a transaction, unless one of this name is under way; how it ends is told by `Settled`.

        Args:
            name: says which it is; it may be used again once that one is over.
            steps: what is to be done; see `steps_allowed`.

        Raises:
            ValueError: a transaction may not consist of this.
        """
        if not steps_allowed(steps):
            raise ValueError("a transaction has at least one action, and not too many; one for a reader at a node")
        if not self.leads:
            return [Settled(name, False, "superseded")]
        known = self._ledger.named(name)
        if known is not None and known.committed:
            return [Settled(name, True)]
        if known is not None or name in self._beginning:
            return []
        readers = readers_of(steps)
        if not readers.isdisjoint(self._busy):
            return [Settled(name, False, "busy")]
        self._busy |= readers
        self._beginning[name] = steps
        return [Record(Begun(name, steps))]

    def recorded(self, act: Act, transaction: Transaction | None, now: float) -> list[CoordinatorEffect]:
        """Hear of an act in the log, and what the ledger said to it."""
        if isinstance(act, Took):
            return self._took(now)
        if isinstance(act, Lost):
            return self._lost(act.node)
        if isinstance(act, Begun):
            self._busy -= readers_of(self._beginning.pop(act.name, {}))
        if not self.leads or transaction is None:
            return []
        if isinstance(act, Begun):
            return self._go(transaction, now)
        if isinstance(act, Completed):
            del self._rounds[act.number]
            return []
        self._busy -= self._rounds[act.number].readers
        settled = Settled(transaction.name, act.committed, act.code, act.node)
        if act.committed:
            return [settled, *self._go(transaction, now)]
        del self._rounds[act.number]
        return [settled, *(Tell(node, Abort(act.number)) for node in transaction.steps if node in self.up)]

    def _took(self, now: float) -> list[CoordinatorEffect]:
        if self._ledger.life == self._life:
            return self._lead(now) if self._taking_over else []
        if not (self.leads or self._taking_over):
            return []
        # The other one goes on with what is in the log.
        self.leads, self._taking_over, self._wake_at = False, False, None
        for forgotten in (self.up, self._rounds, self._beginning, self._busy):
            forgotten.clear()
        return [Superseded()]

    def _lead(self, now: float) -> list[CoordinatorEffect]:
        self.leads, self._taking_over = True, False
        effects: list[CoordinatorEffect] = [Lead(self._ledger.term)]
        for transaction in self._ledger.open.values():
            effects += self._go(transaction, now)
        return effects

    def _go(self, transaction: Transaction, now: float) -> list[CoordinatorEffect]:
        round = self._rounds[transaction.number] = _Round(transaction, now, self._votes_s_max, self._again_s)
        if not round.committed:
            self._busy |= round.readers
        if self._wake_at is None:
            self._wake_at = now + self._again_s
        return self._tell(round) if round.missing else self._all_answered(round)

    def _tell(self, round: _Round) -> list[CoordinatorEffect]:
        return [Tell(node, round.message(node)) for node in round.missing if node in self.up] if round.waiting else []

    # Delivery nodes

    def came_up(self, node: str) -> list[CoordinatorEffect]:
        """Hear that a delivery node has answered the hello of a new link."""
        if not self.leads:
            return []
        self.up.add(node)
        # In the order of the log: what is committed comes before what depends on it.
        return [
            Tell(node, round.message(node))
            for round in self._rounds.values()
            if round.waiting and node in round.missing
        ]

    def went_down(self, node: str) -> None:
        """Hear that the link to a delivery node is gone."""
        self.up.discard(node)

    def received(self, node: str, message: FromParticipant) -> list[CoordinatorEffect]:
        """Hear a delivery node."""
        if node not in self.up:
            return []
        match message:
            case Ready(number):
                return self._ready(node, number)
            case Refuse(number, code):
                return self._refused(node, number, code)
            case Done(number):
                return self._done(node, number)
        return []

    def _ready(self, node: str, number: int) -> list[CoordinatorEffect]:
        round = self._rounds.get(number)
        if round is None or node not in round.steps:
            return [Tell(node, Abort(number))]
        if round.committed:
            return [Tell(node, Commit(number))]
        round.answered.add(node)
        return self._all_answered(round)

    def _refused(self, node: str, number: int, code: str) -> list[CoordinatorEffect]:
        round = self._rounds.get(number)
        if round is None or round.until is None or node not in round.steps:
            return []
        return self._decide(round, False, code, node)

    def _done(self, node: str, number: int) -> list[CoordinatorEffect]:
        round = self._rounds.get(number)
        if round is None or not round.committed or node not in round.missing:
            return []
        round.answered.add(node)
        return self._all_answered(round)

    def _lost(self, node: str) -> list[CoordinatorEffect]:
        effects: list[CoordinatorEffect] = []
        for round in self._rounds.values():
            if node in round.missing:
                round.steps = without(round.steps, node)
                effects += self._all_answered(round)
        return effects

    def _all_answered(self, round: _Round) -> list[CoordinatorEffect]:
        if round.missing or not round.waiting:
            return []
        return [Record(Completed(round.number))] if round.committed else self._decide(round, True)

    def _decide(self, round: _Round, committed: bool, code: str = "", node: str = "") -> list[CoordinatorEffect]:
        round.until = None
        return [Record(Decided(round.number, committed, code, node))]

    # Time

    def next_wakeup(self) -> float | None:
        """Return when `due` is to be called next; None as long as there is nothing to wait for."""
        return self._wake_at

    def due(self, now: float) -> list[CoordinatorEffect]:
        """Do what time has come for."""
        if self._wake_at is None or now < self._wake_at:
            return []
        self._wake_at = now + self._again_s if self._rounds else None
        effects: list[CoordinatorEffect] = []
        for round in self._rounds.values():
            if round.until is not None and now >= round.until:
                effects += self._decide(round, False, "no-answer", round.missing[0])
            elif now >= round.again_at:
                effects += self._tell(round)
        return effects
