"""The book: readers, their contracts and where these are fulfilled, and the changes of them that go on. Pure.

It is replayed state: whoever applies the same acts in the same order has the same book. What a reader has is changed by
a transaction over delivery nodes, see `chatproto.news.placing`. A reader has one change at a time; each raises the
version of what the reader has, also where it comes to nothing. A node that is gone holds up no change but one that
places somebody there: it is owed what it has to hear, and told when it is there again.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from chatproto.news.contracting.acts import AGREE, CANCEL, CLOSE, RENEW, RETURN, STAND_IN, TELL, Act, Change, Opened
from chatproto.news.placing.actions import Action, Place, Remove, Steps
from chatproto.news.placing.ledger import Begun, Decided, Kept, Ledger, Lost, Transaction, without
from chatproto.news.terms import Placement, Terms

READERS_MAX = 2_000_000


class Contract(msgspec.Struct, frozen=True, array_like=True):
    """What holds for a reader.

    Attributes:
        proposal: the id of the negotiation in which it was agreed on.
        terms: those agreed on.
        node: the reader's delivery node; empty where that was lost, and there is no other yet.
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
        secret: of its password; empty for an account that is closed, of which some node has not heard.
        salt: from which, and from the password, its ticket is made.
        ticket: the hash of that.
        version: counts the changes of what it has, those that came to nothing included.
        contract: what holds; None for none.
        pending: the name of the change that goes on; empty for none.
        failed: see `Failed`; None where there was none.
        owed: nodes that have not heard what holds, sorted.
    """

    secret: str
    salt: bytes
    ticket: str
    version: int = 0
    contract: Contract | None = None
    pending: str = ""
    failed: Failed | None = None
    owed: tuple[str, ...] = ()


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """A change that goes on.

    Attributes:
        reader: whose.
        contract: what holds if it is committed.
        steps: of the transaction that does it.
        owed: nodes that have not heard of it if it is committed, sorted.
        opened: what proves who the reader is then; None for what did before.
        closes: whether there is no such reader then.
    """

    reader: str
    contract: Contract | None
    steps: Steps
    owed: tuple[str, ...] = ()
    opened: Opened | None = None
    closes: bool = False


class _State(msgspec.Struct, array_like=True):
    accounts: dict[str, Account]
    pending: dict[str, Pending]
    ledger: Kept
    floor: int = 0


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
        floor: the version that new accounts begin with: none that is closed had a higher one.
        adrift: readers whose delivery node was lost, and who have no other yet.
        losses: how many nodes were lost since this was made.
    """

    def __init__(self) -> None:
        """Be empty."""
        self.losses = 0
        self.restore(None)

    def restore(self, state: bytes | None) -> None:
        """Become what `capture` gave; None for empty."""
        held = _State({}, {}, Kept()) if state is None else _decoder.decode(state)
        self.accounts, self.pending, self.ledger = held.accounts, held.pending, Ledger(held.ledger)
        self.floor = held.floor
        self.adrift: set[str] = set()
        self.taken: defaultdict[str, Room] = defaultdict(Room)
        self._mobile: defaultdict[str, list[str]] = defaultdict(list)
        self._guests: defaultdict[str, set[str]] = defaultdict(set)
        self._owing: defaultdict[str, set[str]] = defaultdict(set)
        for name, account in self.accounts.items():
            self._note(name, account, 1)
        for change in self.pending.values():
            self._take(change.contract, 1)

    def capture(self) -> bytes:
        """Return all of it."""
        return _encoder.encode(_State(self.accounts, self.pending, self.ledger.capture(), self.floor))

    # Questions

    @property
    def full(self) -> bool:
        """Whether there are as many readers as may be."""
        return len(self.accounts) >= READERS_MAX

    def knows(self, reader: str) -> bool:
        """Whether there is such a reader; one that is about to be forgotten is none any more."""
        account = self.accounts.get(reader)
        return account is not None and bool(account.secret)

    def owing(self, node: str) -> list[str]:
        """Return the readers of whom a node has not heard what holds, and that are not about to be something else."""
        return sorted(name for name in self._owing.get(node, ()) if not self.accounts[name].pending)

    def names(self, node: str) -> bool:
        """Whether a contract is fulfilled at a delivery node, or something waits for it. It takes its time."""
        return (
            any(node in nodes_of(account.contract) or node in account.owed for account in self.accounts.values())
            or any(node in change.steps for change in self.pending.values())
            or any(node in transaction.steps for transaction in self.ledger.open.values())
        )

    def homeless(self) -> list[str]:
        """Return the readers whose delivery node was lost, and that are not about to have another one."""
        return sorted(name for name in self.adrift if not self.accounts[name].pending)

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
                self.accounts[act.reader] = Account(act.secret, act.salt, act.ticket, self.floor)
            return None
        if isinstance(act, Change):
            self._change(act)
            return None
        if isinstance(act, Begun) and act.name not in self.pending:
            # It comes from a coordinator that was cut off, after another one has ended what this would begin again.
            return None
        transaction = self.ledger.take(act)
        if isinstance(act, Lost):
            self._lost(act.node)
        elif transaction is not None and isinstance(act, Decided):
            self._decided(transaction.name, act)
        return transaction

    def _change(self, act: Change) -> None:
        account = self.accounts.get(act.reader)
        if account is None or account.pending or account.version != act.after:
            return
        if not account.secret and act.purpose != TELL:
            return
        outcome = _CHANGES[act.purpose](act, account)
        if outcome is None:
            return
        ticket = act.opened.ticket if act.opened is not None else account.ticket
        contract, placed, told = outcome
        version = account.version + 1
        later = [node for node in told if node in act.gone]
        now = dict.fromkeys(node for node in (*placed, *told) if node not in later)
        if contract is not None and act.purpose == AGREE:
            contract = msgspec.structs.replace(contract, version=version)
        steps: Steps = {node: (_told(node, act.reader, contract, ticket, version),) for node in now}
        owed = tuple(sorted({*account.owed, *later} - now.keys()))
        account.version, account.pending = version, f"{act.reader}/{version}"
        closes = act.purpose == CLOSE or not account.secret
        self.pending[account.pending] = Pending(act.reader, contract, steps, owed, act.opened, closes)
        self._take(contract, 1)
        if not steps:
            self._decided(account.pending, Decided(0, True))

    def _decided(self, name: str, act: Decided) -> None:
        change = self.pending.pop(name, None)
        if change is None:
            return
        account = self.accounts[change.reader]
        account.pending = ""
        self._take(change.contract, -1)
        if not act.committed:
            account.failed = Failed(account.version, act.node, act.code)
            return
        self._hold(change.reader, change.contract, change.owed)
        if change.opened is not None:
            account.secret, account.salt, account.ticket = (
                change.opened.secret,
                change.opened.salt,
                change.opened.ticket,
            )
        if change.closes:
            account.secret = ""
            self._forget_if_closed(change.reader)

    def _forget_if_closed(self, reader: str) -> None:
        # Nobody else has the name before every node has heard of the end, or is given up.
        account = self.accounts[reader]
        if not (account.secret or account.owed or account.pending):
            del self.accounts[reader]
            # What is still said of the old one is not about a new one of that name.
            self.floor = max(self.floor, account.version)

    def _lost(self, node: str) -> None:
        self.losses += 1
        for name, change in list(self.pending.items()):
            left = without(change.steps, node)
            self._take(change.contract, -1)
            contract, owed = _without(change.contract, node), _but(change.owed, node)
            self.pending[name] = msgspec.structs.replace(change, contract=contract, steps=left, owed=owed)
            self._take(contract, 1)
            if not left and self.ledger.named(name) is None:
                self._decided(name, Decided(0, True))
        for reader, account in list(self.accounts.items()):
            self._hold(reader, _without(account.contract, node), _but(account.owed, node))
            self._forget_if_closed(reader)

    # What is counted

    def _take(self, contract: Contract | None, count: int) -> None:
        if contract is not None and contract.node:
            room = self.taken[contract.node]
            room.readers += count
            room.paid += count if contract.terms.paid else 0

    def _hold(self, reader: str, contract: Contract | None, owed: tuple[str, ...]) -> None:
        account = self.accounts[reader]
        if (account.contract, account.owed) != (contract, owed):
            self._note(reader, account, -1)
            account.contract, account.owed = contract, owed
            self._note(reader, account, 1)

    def _note(self, reader: str, account: Account, count: int) -> None:
        note = set[str].add if count > 0 else set[str].discard
        contract = account.contract
        for node in account.owed:
            note(self._owing[node], reader)
        self._take(contract, count)
        if contract is None:
            return
        if contract.terms.mobile and count > 0:
            insort(self._mobile[contract.node], reader)
        elif contract.terms.mobile:
            names = self._mobile[contract.node]
            del names[bisect_left(names, reader)]
        if contract.standing:
            note(self._guests[contract.node], reader)
        if not contract.node:
            note(self.adrift, reader)


Outcome = tuple[Contract | None, Iterable[str], Iterable[str]] | None
"""What holds then; the nodes where the reader is to be placed for that; those that are to hear of it besides."""


def _agree(act: Change, account: Account) -> Outcome:
    if act.terms is None:
        return None
    contract = Contract(act.proposal, act.terms, act.node, act.substitute, 0)
    return contract, [act.node], [node for node in nodes_of(account.contract) if node != act.node]


def _cancel(act: Change, account: Account) -> Outcome:
    return (None, (), nodes_of(account.contract)) if account.contract is not None else None


def _stand_in(act: Change, account: Account) -> Outcome:
    contract = account.contract
    if contract is None or not contract.terms.paid or not contract.substitute or contract.standing:
        return None
    return msgspec.structs.replace(contract, standing=contract.substitute), [contract.substitute], ()


def _return(act: Change, account: Account) -> Outcome:
    contract = account.contract
    if contract is None or not contract.standing:
        return None
    return msgspec.structs.replace(contract, standing=""), (), [contract.standing]


def _renew(act: Change, account: Account) -> Outcome:
    return (account.contract, (), nodes_of(account.contract)) if act.opened is not None else None


def _close(act: Change, account: Account) -> Outcome:
    return None, (), nodes_of(account.contract)


def _tell(act: Change, account: Account) -> Outcome:
    told = [node for node in account.owed if node not in act.gone]
    return (account.contract, (), told) if told else None


def _told(node: str, reader: str, contract: Contract | None, ticket: str, version: int) -> Action:
    """Return what a node does, so that it has what holds."""
    if contract is not None and node == contract.node:
        return Place(Placement(reader, contract.terms, ticket, version))
    if contract is not None and node == contract.standing:
        return Place(Placement(reader, contract.terms, ticket, version, home=contract.node))
    return Remove(reader, version)


def _without(contract: Contract | None, node: str) -> Contract | None:
    if contract is None or node not in nodes_of(contract):
        return contract
    if node == contract.node:
        return msgspec.structs.replace(contract, node="")
    return msgspec.structs.replace(contract, standing="")


def _but(nodes: tuple[str, ...], node: str) -> tuple[str, ...]:
    return tuple(one for one in nodes if one != node)


def nodes_of(contract: Contract | None) -> list[str]:
    """Return the nodes that have something of a contract, each once."""
    return [] if contract is None else list(dict.fromkeys(filter(None, (contract.node, contract.standing))))


_CHANGES = {
    AGREE: _agree,
    CANCEL: _cancel,
    STAND_IN: _stand_in,
    RETURN: _return,
    RENEW: _renew,
    CLOSE: _close,
    TELL: _tell,
}
