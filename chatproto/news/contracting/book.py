"""The book: readers, their contracts and where these are fulfilled, and the changes of them that go on. Pure.

It is replayed state: whoever applies the same acts in the same order has the same book. What a reader has is changed by
a transaction over delivery nodes, see `chatproto.news.placing`. A reader has one change at a time; each raises the
version of what the reader has, also where it comes to nothing.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict

import msgspec

from chatproto.news.contracting.acts import AGREE, CANCEL, RETURN, STAND_IN, Act, Change, Opened
from chatproto.news.placing.actions import Place, Remove, Steps
from chatproto.news.placing.ledger import Begun, Decided, Kept, Ledger, Transaction
from chatproto.news.terms import Placement, Terms

READERS_MAX = 2_000_000


class Contract(msgspec.Struct, frozen=True, array_like=True):
    """What holds for a reader.

    Attributes:
        proposal: the id of the negotiation in which it was agreed on.
        terms: those agreed on.
        node: the reader's delivery node.
        substitute: the node that stands in for that one; empty for none.
        version: of the change that has placed it.
        standing: the node where the reader is a temporary one now; empty for nowhere.
    """

    proposal: str
    terms: Terms
    node: str
    substitute: str
    version: int
    standing: str = ""


class Failed(msgspec.Struct, frozen=True, array_like=True):
    """The last change of what a reader has that came to nothing.

    Attributes:
        version: that it would have had.
        node: which was the reason.
        code: the reason.
    """

    version: int
    node: str
    code: str


class Account(msgspec.Struct, array_like=True):
    """A reader.

    Attributes:
        secret: of its password.
        salt: from which, and from the password, its ticket is made.
        ticket: the hash of that.
        version: counts the changes of what it has, those that came to nothing included.
        contract: what holds; None for none.
        pending: the name of the change that goes on; empty for none.
        failed: see `Failed`; None where there was none.
    """

    secret: str
    salt: bytes
    ticket: str
    version: int = 0
    contract: Contract | None = None
    pending: str = ""
    failed: Failed | None = None


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """A change that goes on.

    Attributes:
        reader: whose.
        contract: what holds if it is committed.
        steps: of the transaction that does it.
    """

    reader: str
    contract: Contract | None
    steps: Steps


class _State(msgspec.Struct, array_like=True):
    accounts: dict[str, Account]
    pending: dict[str, Pending]
    ledger: Kept


class Room(msgspec.Struct):
    """How many contracts are fulfilled at a node, those about to be included."""

    readers: int = 0
    paid: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_State)


class Book:
    """The replayed state.

    Attributes:
        accounts: readers by name.
        pending: changes that are not decided, by name, the oldest first; that is the name of the transaction, too.
        ledger: of the transactions.
        taken: how much of each node is, by its name.
    """

    def __init__(self) -> None:
        """Be empty."""
        self.restore(None)

    def restore(self, state: bytes | None) -> None:
        """Become what `capture` gave; None for empty."""
        held = _State({}, {}, Kept()) if state is None else _decoder.decode(state)
        self.accounts, self.pending, self.ledger = held.accounts, held.pending, Ledger(held.ledger)
        self.taken: defaultdict[str, Room] = defaultdict(Room)
        self._mobile: defaultdict[str, list[str]] = defaultdict(list)
        self._guests: defaultdict[str, set[str]] = defaultdict(set)
        for name, account in self.accounts.items():
            self._note(name, None, account.contract)
        for change in self.pending.values():
            self._take(change.contract, 1)

    def capture(self) -> bytes:
        """Return all of it."""
        return _encoder.encode(_State(self.accounts, self.pending, self.ledger.capture()))

    # Questions

    @property
    def full(self) -> bool:
        """Whether there are as many readers as may be."""
        return len(self.accounts) >= READERS_MAX

    def mobile(self, node: str, after: str, count_max: int) -> list[str]:
        """Return mobile readers of a node, sorted, those after a name."""
        names = self._mobile.get(node, [])
        begin = bisect_right(names, after)
        return names[begin : begin + count_max]

    def guests(self, home: str) -> list[str]:
        """Return the readers of a node who are temporary ones elsewhere, and are not about to be something else."""
        return sorted(name for name in self._guests.get(home, ()) if not self.accounts[name].pending)

    # Acts

    def apply(self, act: Act) -> Transaction | None:
        """Take what was agreed on; what does not fit in with what there is changes nothing.

        Returns:
            What `Ledger.take` does of an act that is the ledger's.
        """
        if isinstance(act, Opened):
            if act.reader not in self.accounts and not self.full:
                self.accounts[act.reader] = Account(act.secret, act.salt, act.ticket)
            return None
        if isinstance(act, Change):
            self._change(act)
            return None
        if isinstance(act, Begun) and act.name not in self.pending:
            # It comes from a coordinator that was cut off, after another one has ended what this would begin again.
            return None
        transaction = self.ledger.take(act)
        if transaction is not None and isinstance(act, Decided):
            self._decided(transaction.name, act)
        return transaction

    def _change(self, act: Change) -> None:
        account = self.accounts.get(act.reader)
        if account is None or account.pending or account.version != act.after:
            return
        version = account.version + 1
        outcome = _CHANGES[act.purpose](act, account, version)
        if outcome is None:
            return
        contract, steps = outcome
        account.version, account.pending = version, f"{act.reader}/{version}"
        self.pending[account.pending] = Pending(act.reader, contract, steps)
        self._take(contract, 1)

    def _decided(self, name: str, act: Decided) -> None:
        change = self.pending.pop(name, None)
        if change is None:
            return
        account = self.accounts[change.reader]
        account.pending = ""
        self._take(change.contract, -1)
        if act.committed:
            self._note(change.reader, account.contract, change.contract)
            account.contract = change.contract
        else:
            account.failed = Failed(account.version, act.node, act.code)

    # What is counted

    def _take(self, contract: Contract | None, count: int) -> None:
        if contract is not None:
            room = self.taken[contract.node]
            room.readers += count
            room.paid += count if contract.terms.paid else 0

    def _note(self, reader: str, before: Contract | None, after: Contract | None) -> None:
        self._take(before, -1)
        self._take(after, 1)
        if before is not None:
            self._guests[before.node].discard(reader)
        if before is not None and before.terms.mobile:
            names = self._mobile[before.node]
            del names[bisect_left(names, reader)]
        if after is not None and after.terms.mobile:
            insort(self._mobile[after.node], reader)
        if after is not None and after.standing:
            self._guests[after.node].add(reader)


Outcome = tuple[Contract | None, Steps] | None


def _agree(act: Change, account: Account, version: int) -> Outcome:
    if act.terms is None:
        return None
    contract = Contract(act.proposal, act.terms, act.node, act.substitute, version)
    steps: Steps = {act.node: (Place(Placement(act.reader, act.terms, account.ticket, version)),)}
    for node in _nodes(account.contract):
        steps.setdefault(node, (Remove(act.reader, version),))
    return contract, steps


def _cancel(act: Change, account: Account, version: int) -> Outcome:
    if account.contract is None:
        return None
    return None, {node: (Remove(act.reader, version),) for node in _nodes(account.contract)}


def _stand_in(act: Change, account: Account, version: int) -> Outcome:
    contract = account.contract
    if contract is None or not contract.terms.paid or not contract.substitute or contract.standing:
        return None
    placement = Placement(act.reader, contract.terms, account.ticket, version, home=contract.node)
    standing = msgspec.structs.replace(contract, standing=contract.substitute)
    return standing, {contract.substitute: (Place(placement),)}


def _return(act: Change, account: Account, version: int) -> Outcome:
    contract = account.contract
    if contract is None or not contract.standing:
        return None
    home = msgspec.structs.replace(contract, standing="")
    return home, {contract.standing: (Remove(act.reader, version),)}


def _nodes(contract: Contract | None) -> list[str]:
    """Return the nodes that have something of a contract, each once."""
    return [] if contract is None else list(dict.fromkeys(filter(None, (contract.node, contract.standing))))


_CHANGES = {AGREE: _agree, CANCEL: _cancel, STAND_IN: _stand_in, RETURN: _return}
