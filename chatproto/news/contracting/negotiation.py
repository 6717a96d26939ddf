"""One negotiation, and every other change that a reader asks for: what is said, and when what is tried. Pure.

Neither keeps anything: what was agreed on is in the book, and after each change of the book they `look` at it. So it
does not matter at which server they began, or how often the same was asked for.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from chatproto.news.contracting.acts import AGREE, CANCEL, RENEW, STAND_IN, Change, Opened
from chatproto.news.contracting.book import Account, Book, Contract, Failed, nodes_of
from chatproto.news.contracting.messages import CODES, Declined, Offer, Renewed
from chatproto.news.contracting.policy import Node, Policy, consider
from chatproto.news.terms import REASONS, Terms

ROUNDS_MAX = 50
"""Proposals in one negotiation."""
TRIES_MAX = 5
"""Nodes that are tried for one proposal, and tries of any other change."""


class State(Enum):
    """How far a negotiation is."""

    PROPOSED = "terms are on the table"
    OFFERED = "the reader has the choice"
    PLACING = "the terms are taken, and delivery nodes are asked"
    AGREED = "the contract holds"
    REFUSED = "there is no contract, by the service"
    GIVEN_UP = "there is no contract, by the reader"


class Event(Enum):
    """What can happen."""

    FOUND = "the terms can be had"
    NEARBY = "the terms cannot be had, others can"
    HOPELESS = "neither these terms nor others can be had"
    PICKED = "the reader takes what is on offer"
    COUNTERED = "the reader wants something else"
    PLACED = "the transaction is committed"
    NOT_PLACED = "the transaction has come to nothing"
    ENDED = "the reader gives up"
    LATE = "its time is over"


TRANSITIONS: dict[tuple[State, Event], tuple[State, str]] = {
    (State.PROPOSED, Event.FOUND): (State.PLACING, "a node has room: it is asked before anything is promised"),
    (State.PROPOSED, Event.NEARBY): (State.OFFERED, "the nearest that can be had is offered"),
    (State.PROPOSED, Event.HOPELESS): (State.REFUSED, "nothing like it can be had"),
    (State.PROPOSED, Event.PLACED): (State.AGREED, "repeated: it was agreed on before, maybe at another server"),
    (State.PROPOSED, Event.LATE): (State.REFUSED, "another change of this reader's takes too long"),
    (State.PROPOSED, Event.ENDED): (State.GIVEN_UP, "before anything was offered"),
    (State.OFFERED, Event.PICKED): (State.PROPOSED, "looked at again: others negotiate, too"),
    (State.OFFERED, Event.COUNTERED): (State.PROPOSED, "another wish"),
    (State.OFFERED, Event.ENDED): (State.GIVEN_UP, "nothing on offer was wanted"),
    (State.OFFERED, Event.LATE): (State.REFUSED, "somebody else may be waiting for this place"),
    (State.PLACING, Event.PLACED): (State.AGREED, "all nodes concerned have it, durably"),
    (State.PLACING, Event.NOT_PLACED): (State.PROPOSED, "looked at again, without the node that said no"),
}

OVER = frozenset({State.AGREED, State.REFUSED, State.GIVEN_UP})


@dataclass(frozen=True)
class Submit:
    """Have an act agreed on by the log."""

    act: Change


@dataclass(frozen=True)
class Granted:
    """Answer a request: this holds for the reader now, and it is placed."""

    number: int
    contract: Contract


@dataclass(frozen=True)
class Stands:
    """Answer a request: the reader is a temporary one at its substitute now."""

    number: int
    contract: Contract


Effect = Submit | Granted | Stands | Offer | Declined | Renewed


class Desk(Protocol):
    """What a server knows."""

    @property
    def book(self) -> Book:
        """The replayed state."""

    @property
    def policy(self) -> Policy:
        """The ceilings."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The delivery nodes that are there, by name."""


def declined(number: int, code: str) -> Declined:
    """Return the answer that a request is declined, with the reason in words."""
    return Declined(number, code, CODES.get(code) or REASONS.get(code, ""))


class _Tries:
    """Tries a change until the book has it, or it has come to nothing often enough.

    Attributes:
        left: how many more there may be.
    """

    def __init__(self) -> None:
        self.left = TRIES_MAX
        self._after: int | None = None

    def begin(self, account: Account) -> int:
        """Begin a try; return the version that it comes after."""
        self.left -= 1
        self._after = account.version
        return account.version

    def waits(self, account: Account) -> bool:
        """Whether something goes on already: what was tried, or another change of the same reader's."""
        return bool(account.pending) or self._after == account.version

    def failure(self, account: Account) -> Failed | None:
        """Return how the last try has come to nothing, if it has: another change may have come first as well."""
        failed = account.failed
        tried = self._after is not None and failed is not None and failed.version == self._after + 1
        return failed if tried else None


class Negotiation:
    """A negotiation between a reader and a server.

    Attributes:
        state: how far it is.
        id: the reader's.
    """

    def __init__(self, reader: str, id: str) -> None:
        """Begin one, at which `proposed` is next."""
        self.state = State.PROPOSED
        self.id = id
        self._reader = reader
        self._number = 0
        self._terms: Terms | None = None
        self._offered: tuple[Terms, ...] = ()
        self._rounds = 0
        self._tries = _Tries()
        self._without: set[str] = set()

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self.state in OVER

    def proposed(self, number: int, terms: Terms, desk: Desk) -> list[Effect]:
        """Hear what the reader wants: first, or from what is on offer, or instead of it."""
        if self.state is State.OFFERED:
            self._happened(Event.PICKED if terms in self._offered else Event.COUNTERED)
        self._number, self._terms = number, terms
        self._rounds += 1
        self._without.clear()
        self._tries = _Tries()
        if self._rounds > ROUNDS_MAX:
            return self._refused("too-many-rounds")
        return self.look(desk)

    def look(self, desk: Desk) -> list[Effect]:
        """Look at the book, which may have changed."""
        if self._terms is None or self.over or self.state is State.OFFERED:
            return []
        account = desk.book.accounts[self._reader]
        contract = account.contract
        if contract is not None and contract.proposal == self.id and contract.node:
            self._happened(Event.PLACED)
            return [Granted(self._number, contract)]
        if self._tries.waits(account):
            return []
        if self.state is State.PLACING:
            self._happened(Event.NOT_PLACED)
            if (failed := self._tries.failure(account)) is not None:
                self._without.add(failed.node)
        return self._consider(self._terms, account, desk)

    def _consider(self, terms: Terms, account: Account, desk: Desk) -> list[Effect]:
        if not self._tries.left:
            return self._refused("unavailable")
        choice = consider(terms, desk.policy, desk.nodes, desk.book, self._reader, self._without)
        node = choice.node
        if node is not None:
            self._happened(Event.FOUND)
            after, gone = self._tries.begin(account), gone_of(account, desk.nodes)
            return [Submit(Change(self._reader, after, AGREE, self.id, terms, node.name, node.substitute, gone))]
        if choice.options:
            self._happened(Event.NEARBY)
            self._offered = choice.options
            return [Offer(self._number, choice.options)]
        return self._refused(choice.refusal)

    def _refused(self, code: str) -> list[Effect]:
        self._happened(Event.HOPELESS)
        return [declined(self._number, code)]

    def gave_up(self) -> None:
        """Hear that the reader does not want a contract, or is gone; what is being placed is placed all the same."""
        if not self.over and self.state is not State.PLACING:
            self._happened(Event.ENDED)

    def late(self) -> list[Effect]:
        """Hear that its time is over; the answer, if one is owed."""
        if self.over or self.state is State.PLACING:
            return []
        owed = self.state is State.PROPOSED and self._terms is not None
        self._happened(Event.LATE)
        return [declined(self._number, "too-slow")] if owed else []

    def _happened(self, event: Event) -> None:
        self.state, _ = TRANSITIONS[self.state, event]


class Errand:
    """Another change that a reader asks for: to cancel its contract, to be served by the substitute, ….

    Attributes:
        over: whether it was answered.
    """

    def __init__(self, reader: str, number: int, purpose: str, opened: Opened | None = None) -> None:
        """Begin one: `CANCEL`, `STAND_IN`, `CLOSE` or `RENEW`, by the request with this number; `look` is next.

        Nothing is to be looked at once there is no such reader any more; that is the end of closing.

        Args:
            reader: whose.
            number: of the request.
            purpose: of the change.
            opened: to renew: what proves from then on who the reader is.
        """
        self.over = False
        self._reader = reader
        self._number = number
        self._purpose = purpose
        self._opened = opened
        self._tries = _Tries()

    def look(self, desk: Desk) -> list[Effect]:
        """Look at the book, which may have changed."""
        account = desk.book.accounts[self._reader]
        if self.over:
            return []
        if not account.pending and (end := self._end(account, desk)) is not None:
            self.over = True
            return [end]
        if self._tries.waits(account):
            return []
        if self._tries.failure(account) is not None or not self._tries.left:
            self.over = True
            return [declined(self._number, "unavailable")]
        after, gone = self._tries.begin(account), gone_of(account, desk.nodes)
        return [Submit(Change(self._reader, after, self._purpose, gone=gone, opened=self._opened))]

    def _end(self, account: Account, desk: Desk) -> Effect | None:
        contract = account.contract
        if self._purpose == RENEW:
            renewed = self._opened is not None and account.ticket == self._opened.ticket
            return Renewed(self._number) if renewed else None
        if self._purpose not in (CANCEL, STAND_IN):
            return None
        if contract is None:
            return declined(self._number, "no-contract")
        if self._purpose == CANCEL:
            return None
        if contract.standing:
            return Stands(self._number, contract)
        code = stand_in_refusal(contract, desk)
        return declined(self._number, code) if code else None


def gone_of(account: Account, nodes: Collection[str]) -> tuple[str, ...]:
    """Return the nodes which have something of a reader, and are not among those that are there."""
    return tuple(node for node in dict.fromkeys((*nodes_of(account.contract), *account.owed)) if node not in nodes)


def stand_in_refusal(contract: Contract, desk: Desk) -> str:
    """Return why a reader cannot be served by its substitute, as a code; empty if it can."""
    if not contract.terms.paid:
        return "paid-only"
    if contract.node in desk.nodes:
        return "not-needed"
    return "" if contract.substitute else "no-substitute"


def describe() -> str:
    """Return the table of transitions as text, one a line, for the documents."""
    lines = [
        f"{event.name:<10} {before.name + ' -> ' + after.name:<21} {reason}"
        for (before, event), (after, reason) in TRANSITIONS.items()
    ]
    return "\n".join(lines) + "\n"
