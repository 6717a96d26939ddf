"""The contracting service on its log: the book, kept by replaying; whoever looks at it; and who places readers."""

import random
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatproto.errors import Rejected
from chatproto.log.entry import ACT, Entry, Run
from chatproto.log.interface import ILog
from chatproto.messaging.admission import Access, Admission
from chatproto.news.contracting.acts import AGREE, RETURN, TELL, Act, Change, Opened, decode_act, encode_act
from chatproto.news.contracting.book import Book
from chatproto.news.contracting.entrance import Entrance
from chatproto.news.contracting.negotiation import gone_of
from chatproto.news.contracting.nodes import DeliveryNodes
from chatproto.news.contracting.policy import Node, Policy, haven
from chatproto.news.placing import ledger
from chatproto.news.placing.actions import Steps
from chatproto.tally import Tally

DOOR = "news-contract"
NEGOTIATIONS_MAX = 10
"""At once (the seed's sizing)."""
WAITING_MAX = 100
"""Negotiations that may wait besides."""
WAITING_PER_ORIGIN_MAX = 20
"""Of those, from one address: nobody else is to be kept out by it."""
AT_ONCE_MAX = 10
"""Readers of one node that go home together, or of whom it hears together; readers that are given another node."""

log = Logger()


class Placer(Protocol):
    """Coordinates the transactions of a ledger while it runs, as `chatproto.news.placing.coordinating.Placing` does."""

    def startService(self) -> None:
        """Take over."""

    def stopService(self) -> object:
        """Let go: another process coordinates, or another one of these does."""

    def begin(self, name: str, steps: Steps) -> None:
        """Begin a transaction, unless one of this name is under way, or this process does not coordinate yet."""

    def recorded(self, act: ledger.Act, transaction: ledger.Transaction | None) -> None:
        """Hear of an act in the log, and what the ledger said to it."""


MakePlacer = Callable[[ledger.Ledger, Callable[[ledger.Act], None]], Placer]
"""Makes one for a ledger, which has acts agreed on by the log; they come back by `recorded`."""


class Negotiator(Protocol):
    """Somebody who negotiates here."""

    @property
    def origin(self) -> str:
        """Where it is: see `chatproto.wire.addresses.origin_of`; empty for this machine."""

    def begun(self) -> None:
        """Hear that it is their turn."""


class Looks(Protocol):
    """Looks at the book."""

    def look(self) -> None:
        """Hear that the book may have changed."""


class ContractingServer:
    """A contracting server, which stands on a log (`Replayed`).

    Attributes:
        name: the server's.
        log: the log.
        book: the replayed state.
        policy: the ceilings.
        entrance: knows who is who.
        delivery: the delivery nodes that are there.
        tally: counts what is refused.
        looking: told whenever the book may have changed.
    """

    def __init__(
        self,
        name: str,
        contract_log: ILog,
        policy: Policy,
        place: MakePlacer,
        clock: IReactorTime,
        time: Callable[[], float],
        dice: random.Random,
        tally: Tally,
        entrance: Callable[[Book], Entrance],
        negotiations_max: int = NEGOTIATIONS_MAX,
    ) -> None:
        """Make one whose log is not open yet.

        Args:
            name: the server's.
            contract_log: the log.
            policy: the ceilings.
            place: makes what coordinates transactions while this server's node leads.
            clock: the reactor, as far as time goes.
            time: that of the day, in Unix seconds.
            dice: names entries.
            tally: counts what is refused.
            entrance: makes what knows who is who of the book.
            negotiations_max: at once.
        """
        self.name = name
        self.log = contract_log
        self.book = Book()
        self.policy = policy
        self.entrance = entrance(self.book)
        self.delivery = DeliveryNodes(self.put_right)
        self.tally = tally
        self.looking: dict[Looks, None] = {}
        self.clock = clock
        self._place = place
        self._placer: Placer | None = None
        self._time = time
        self._dice = dice
        self._open = False
        self._admission: Admission[Any] = Admission(negotiations_max, WAITING_MAX)

    @property
    def nodes(self) -> dict[str, Node]:
        """The delivery nodes that are there, by name."""
        return self.delivery.there

    @property
    def serving(self) -> bool:
        """Whether what is asked of this server can be committed."""
        return self._open and self.log.serving

    @property
    def crowded(self) -> bool:
        """Whether anybody waits for a turn to negotiate."""
        return bool(self._admission.waiting)

    @property
    def negotiations(self) -> int:
        """How many are under way or wait."""
        return len(self._admission)

    # Life

    def start(self) -> None:
        """Bring the book to where the log is.

        Raises:
            StoreError: the log cannot be opened.
        """
        self.log.open(self)
        self._open = True
        self.changed()

    def stop(self) -> None:
        """Coordinate no more; the log is closed next."""
        self._open = False
        self._lead(False)

    # Negotiations

    def admit(self, negotiator: Negotiator) -> int:
        """Have somebody negotiate, at once or in their turn; return how many come before.

        Raises:
            Rejected: `busy`, as many wait as may, in all or from there.
        """
        waiting: list[Negotiator] = self._admission.waiting
        if sum(other.origin == negotiator.origin for other in waiting) >= WAITING_PER_ORIGIN_MAX:
            raise Rejected("busy")
        self._admission.ask(negotiator, Access.READ)
        before = len(self._admission.waiting) - 1
        self._begin()
        return before if negotiator in self._admission.waiting else 0

    def leave(self, negotiator: Negotiator) -> None:
        """Hear that somebody who was admitted negotiates no more, or waits no more."""
        if not self._admission.withdraw(negotiator):
            self._admission.ended(negotiator)
        self._begin()

    def allow(self, negotiations_max: int) -> None:
        """Let so many negotiate at once from now on; those under way go on."""
        self._admission.at_once_max = negotiations_max
        self._begin()

    def _begin(self) -> None:
        while (negotiator := self._admission.begin()) is not None:
            negotiator.begun()

    # The log

    def submit(self, act: Act) -> None:
        """Have an act agreed on; whoever waits for it looks at the book."""
        self.log.submit(Entry(ACT, "", f"{self._dice.getrandbits(128):032x}", self._time(), encode_act(act)))

    def restore(self, state: bytes | None) -> None:
        """See `Replayed.restore`."""
        self._lead(False)
        self.book.restore(state)

    def rewound(self, first: dict[str, int]) -> None:
        """See `Replayed.rewound`: there are no messages here."""

    def replay(self, run: Run) -> None:
        """See `Replayed.replay`."""
        for line in run.lines():
            self.book.apply(decode_act(line))

    def commit(self, runs: list[Run]) -> None:
        """See `Replayed.commit`."""
        for run in runs:
            for line in run.lines():
                self._committed(line)
        self.changed()

    def _committed(self, line: bytes) -> None:
        try:
            act = decode_act(line)
        except msgspec.MsgspecError:
            log.failure("an entry of the log is not of this release: run the same one everywhere")
            raise
        transaction = self.book.apply(act)
        if self._placer is not None and not isinstance(act, Opened | Change):
            self._placer.recorded(act, transaction)

    def repeated(self, entry: Entry, run: Run | None, offset: int) -> None:
        """See `Replayed.repeated`: no entry here is submitted twice."""

    def capture(self) -> tuple[bytes, dict[str, int]]:
        """See `Replayed.capture`."""
        return self.book.capture(), {}

    def changed(self) -> None:
        """See `Replayed.changed`: who leads coordinates."""
        self._lead(self.serving and self.log.role == "leader")
        self._look()

    def told(self, note: bytes) -> None:
        """See `Replayed.told`: nothing is told here."""

    # Placing

    def _lead(self, leads: bool) -> None:
        if leads == (self._placer is not None):
            return
        placer, self._placer = self._placer, None
        if placer is not None:
            placer.stopService()
        else:
            self._placer = self._place(self.book.ledger, self.submit)
            self._placer.startService()

    def _look(self) -> None:
        placer = self._placer
        if placer is not None:
            for name, change in list(self.book.pending.items()):
                if self.book.ledger.named(name) is None:
                    placer.begin(name, change.steps)
        for looking in list(self.looking):
            looking.look()

    def put_right(self) -> None:
        """Have done what is overdue, some of it; to be called now and then, and when nodes come or go.

        Temporary readers go home whose own nodes are there again; those whose node is lost have another one; nodes
        that were gone hear what they have missed.
        """
        if self._placer is None:
            return
        for node in list(self.nodes):
            for reader in self.book.guests(node)[:AT_ONCE_MAX]:
                self.change(reader, RETURN)
            for reader in self.book.owing(node)[:AT_ONCE_MAX]:
                self.change(reader, TELL)
        for reader in self.book.homeless()[:AT_ONCE_MAX]:
            contract = self.book.accounts[reader].contract
            assert contract is not None
            there = haven(contract, self.nodes, self.book)
            if there is not None:
                self.change(reader, AGREE, contract.proposal, contract.terms, there.name, there.substitute)

    def change(self, reader: str, purpose: str, *agreed: Any) -> None:
        """Submit a change of what a reader has, after what it has now; see `Change` for `agreed`."""
        account = self.book.accounts[reader]
        change = Change(reader, account.version, purpose, *agreed)
        self.submit(msgspec.structs.replace(change, gone=gone_of(account, self.nodes)))

    def refused(self, code: str) -> None:
        """Count what was declined."""
        self.tally.drop(DOOR, code)
