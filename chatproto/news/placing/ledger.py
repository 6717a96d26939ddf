"""What is durable of transactions, as replaying the log gives it. Pure.

The coordinator hands acts out and goes on when they come back from the log, so every node of the contracting service
knows the same, and any of them can coordinate. Two may believe that they do: the first of their acts in the log counts.
"""

import msgspec

from chatproto.news.placing.actions import Steps


class Took(msgspec.Struct, frozen=True, array_like=True, tag="took"):
    """A process coordinates from now on.

    Attributes:
        term: one more than the last; delivery nodes do not listen to a lower one any more.
        life: names the coordinator, and no other one.
    """

    term: int
    life: str


class Begun(msgspec.Struct, frozen=True, array_like=True, tag="begun"):
    """A transaction is begun. It takes the next number.

    Attributes:
        name: given by whoever wants it; no two with one name are under way.
        steps: what it does.
    """

    name: str
    steps: Steps


class Decided(msgspec.Struct, frozen=True, array_like=True, tag="decided"):
    """A transaction is committed, or aborted: then it is forgotten, for what nobody knows is aborted.

    Attributes:
        number: of the transaction.
        committed: which of both.
        code: why not, of `REFUSALS` or a node's own.
        node: which node was the reason.
    """

    number: int
    committed: bool
    code: str = ""
    node: str = ""


class Completed(msgspec.Struct, frozen=True, array_like=True, tag="completed"):
    """All nodes have done their part of a transaction that was committed; it is forgotten."""

    number: int


class Lost(msgspec.Struct, frozen=True, array_like=True, tag="lost"):
    """A delivery node will never do its part of anything: an operator has said that its disk is gone.

    Attributes:
        node: its name; another one may have it from then on.
    """

    node: str


Act = Took | Begun | Decided | Completed | Lost


class Transaction(msgspec.Struct, frozen=True, array_like=True):
    """A transaction that is not forgotten yet.

    Attributes:
        number: 1, 2, 3, …, in the order of the log; never that of another one.
        name: given by whoever wants it.
        steps: what it does at each node.
        committed: whether it is; else it is not decided.
    """

    number: int
    name: str
    steps: Steps
    committed: bool = False


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A ledger as it is kept in a snapshot."""

    term: int = 0
    life: str = ""
    last: int = 0
    open: tuple[Transaction, ...] = ()


class Ledger:
    """The transactions of the contracting service, on each of its nodes.

    Attributes:
        term: how many coordinators there were.
        life: the coordinator's.
        open: the transactions that are not forgotten, by number.
    """

    def __init__(self, kept: Kept | None = None) -> None:
        """Begin as `capture` gave it; None: without anything."""
        kept = kept if kept is not None else Kept()
        self.term = kept.term
        self.life = kept.life
        self.open = {transaction.number: transaction for transaction in kept.open}
        self._last = kept.last
        self._numbers = {transaction.name: number for number, transaction in self.open.items()}

    def capture(self) -> Kept:
        """Return what is known, for a snapshot."""
        return Kept(self.term, self.life, self._last, tuple(self.open.values()))

    def named(self, name: str) -> Transaction | None:
        """Return the transaction of this name that is not forgotten, if there is one."""
        number = self._numbers.get(name)
        return self.open[number] if number is not None else None

    def take(self, act: Act) -> Transaction | None:
        """Take an act from the log.

        Returns:
            The transaction that it is about, as it is now; None for `Took`, `Lost`, and an act that does not count.
        """
        if isinstance(act, Took):
            # Two may have meant to take over from the same one: the first in the log has.
            if act.term > self.term:
                self.term, self.life = act.term, act.life
            return None
        if isinstance(act, Begun):
            return self._begin(act)
        if isinstance(act, Lost):
            self._lost(act.node)
            return None
        transaction = self.open.get(act.number)
        if transaction is None or transaction.committed == isinstance(act, Decided):
            return None
        if isinstance(act, Decided) and act.committed:
            transaction = self.open[act.number] = msgspec.structs.replace(transaction, committed=True)
        else:
            del self.open[act.number], self._numbers[transaction.name]
        return transaction

    def _begin(self, act: Begun) -> Transaction | None:
        if act.name in self._numbers:
            return None
        number = self._last = self._numbers[act.name] = self._last + 1
        transaction = self.open[number] = Transaction(number, act.name, act.steps)
        return transaction

    def _lost(self, node: str) -> None:
        for number, transaction in self.open.items():
            if node in transaction.steps:
                self.open[number] = msgspec.structs.replace(transaction, steps=without(transaction.steps, node))


def without(steps: Steps, node: str) -> Steps:
    """Return what a transaction does elsewhere than at a node."""
    return {name: actions for name, actions in steps.items() if name != node}
