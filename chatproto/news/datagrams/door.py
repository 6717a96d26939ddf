"""Who asks a delivery node for free items, proven and from where; what each is answered. Pure."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from chatproto.errors import WireError
from chatproto.news.datagrams.messages import (
    PULL_ITEMS_MAX,
    Challenge,
    Denied,
    FromReader,
    Granted,
    Leave,
    Listen,
    Pull,
    Pulled,
    datagram,
    from_reader,
)
from chatproto.news.datagrams.proof import Address, Cookies, is_signed
from chatproto.news.items import name_allowed
from chatproto.news.terms import PULL, PUSH, Placement
from chatproto.wire import TokenBucket

LEASE_S = 90.0
"""A reader that has not asked for so long is sent nothing any more; renewed three times in it, which also keeps the
way back open through a router that forgets after 30 s (RFC 4787, 4.3)."""

STRANGERS_A_SECOND = 5000.0
STRANGERS_AT_ONCE = 20_000.0
"""So many datagrams that prove nothing are looked at; a flood is not answered, nor paid for with cryptography.
Each that is looked at takes about 15 µs; who enters needs two."""

REQUESTS_A_SECOND = 1.0
REQUESTS_AT_ONCE = 20.0
"""Of one reader."""


@dataclass(frozen=True)
class Answer:
    """A datagram to be sent."""

    data: bytes
    address: Address


@dataclass(frozen=True)
class Listens:
    """A reader has begun to listen."""

    reader: str


@dataclass(frozen=True)
class Silent:
    """A reader listens no more."""

    reader: str


@dataclass(frozen=True)
class Pulls:
    """A reader asks for what there is: `Door.pulled` is to be called when that was sent.

    Attributes:
        reader: who.
        after: what it was sent has stamps up to this.
        count: how many items at most.
    """

    reader: str
    after: int
    count: int


@dataclass(frozen=True)
class Dropped:
    """A datagram was not taken, or a reader not served, for a reason."""

    reason: str


Effect = Answer | Listens | Silent | Pulls | Dropped


class Correspondent:
    """A reader that has proven who and where it is.

    Attributes:
        address: where it is.
        conversation: in all that it is sent.
        listens: whether it is sent what comes.
        pulls: the serial of the pull that is being answered; None if there is none.
        lease_ends: when it is forgotten, unless it asks again.
    """

    __slots__ = ("address", "asked", "bucket", "conversation", "lease_ends", "listens", "pulls")

    def __init__(self, address: Address, conversation: bytes, asked: tuple[int, int]) -> None:
        """Begin with somebody who has asked; `asked` orders what it asks: the cookie's age, and the serial."""
        self.address = address
        self.conversation = conversation
        self.asked = asked
        self.bucket = TokenBucket(REQUESTS_A_SECOND, REQUESTS_AT_ONCE)
        self.listens = False
        self.pulls: int | None = None
        self.lease_ends = 0.0


class Door:
    """Takes the datagrams of readers.

    Attributes:
        correspondents: those whose lease is not over, by name, the one whose ends first coming first.
    """

    def __init__(
        self,
        node: str,
        secret: bytes,
        placement_of: Callable[[str], Placement | None],
        lease_s: float = LEASE_S,
    ) -> None:
        """Make a door.

        Args:
            node: the name of this delivery node.
            secret: of this life, drawn at its beginning.
            placement_of: returns what the node knows of a reader, asked each time.
            lease_s: how long a reader is served that does not ask again.
        """
        # Not a plain one, which takes the longer to find its first the more were taken out there.
        self.correspondents: OrderedDict[str, Correspondent] = OrderedDict()
        self._node = node
        self._cookies = Cookies(secret)
        self._placement_of = placement_of
        self._lease_s = lease_s
        self._strangers = TokenBucket(STRANGERS_A_SECOND, STRANGERS_AT_ONCE)

    @property
    def listening(self) -> int:
        """How many readers are sent what comes."""
        return sum(correspondent.listens for correspondent in self.correspondents.values())

    def received(self, data: bytes, address: Address, now: float) -> list[Effect]:
        """Take a datagram."""
        try:
            request, conversation, _ = from_reader(data)
        except WireError:
            return [Dropped("nonsense")]
        known = self.correspondents.get(request.reader)
        stranger = known is None or known.address != address
        if stranger and not self._strangers.spare(1, now):
            return [Dropped("flood")]
        issued = self._cookies.issued_at(request.cookie, address, now)
        if issued is None:
            if not stranger and not self._strangers.spare(1, now):
                # Somebody else may have written the address of a reader on it.
                return [Dropped("flood")]
            challenge = datagram(Challenge(self._cookies.issue(address, now)), conversation)
            # By the length of `NO_COOKIE` it never is, unless somebody wants it so.
            return [Answer(challenge, address)] if len(challenge) <= len(data) else [Dropped("too-short")]
        return self._proven(request, conversation, address, issued, now)

    def next_wakeup(self) -> float | None:
        """Return when `wake` is due; None if nobody has a lease."""
        return next((first.lease_ends for first in self.correspondents.values()), None)

    def wake(self, now: float) -> list[Effect]:
        """Forget whose lease is over."""
        effects: list[Effect] = []
        while (due := self.next_wakeup()) is not None and due <= now:
            effects += self._forget(next(iter(self.correspondents)))
        return effects

    def pulled(self, reader: str, upto: int, numbers: tuple[int, ...], more: bool, held_back: str = "") -> list[Effect]:
        """Hear that all is sent that a pull is answered with; see `Pulled`."""
        known = self.correspondents.get(reader)
        if known is None or known.pulls is None:
            return []
        serial, known.pulls = known.pulls, None
        message = Pulled(serial, self._node, upto, numbers[:PULL_ITEMS_MAX], more, held_back)
        return [Answer(datagram(message, known.conversation), known.address)]

    def gone(self, reader: str) -> list[Effect]:
        """Hear that a reader's contract is not fulfilled here any more, or is another one."""
        known = self.correspondents.get(reader)
        if known is None:
            return []
        return [
            *self._forget(reader),
            Answer(datagram(Denied(0, "gone"), known.conversation), known.address),
        ]

    def _proven(
        self, request: FromReader, conversation: bytes, address: Address, issued: int, now: float
    ) -> list[Effect]:
        def denied(code: str) -> list[Effect]:
            return [Dropped(code), Answer(datagram(Denied(request.serial, code), conversation), address)]

        reader = request.reader
        placement = self._placement_of(reader) if name_allowed(reader) else None
        if placement is None or not is_signed(request, placement.ticket, conversation):
            return denied("unknown-reader")
        known = self.correspondents.get(reader)
        asked = issued, request.serial
        if known is not None and asked <= known.asked:
            # Whoever forges nothing is told; what the network repeats is not worth an answer.
            elsewhere = issued < known.asked[0] and conversation != known.conversation
            return denied("moved") if elsewhere else [Dropped("repeated")]
        refusal = _refusal_of(request, placement)
        if refusal:
            return denied(refusal)
        if known is None:
            known = Correspondent(address, conversation, asked)
        if not known.bucket.spare(1, now):
            return [Dropped("too-often")]
        return self._granted(request, known, conversation, address, asked, now)

    def _granted(
        self,
        request: FromReader,
        known: Correspondent,
        conversation: bytes,
        address: Address,
        asked: tuple[int, int],
        now: float,
    ) -> list[Effect]:
        reader = request.reader
        if isinstance(request, Leave):
            return self._forget(reader)
        if known.conversation != conversation:
            # Another life of the reader: what the one before has asked for is nothing to this one.
            known.pulls = None
        known.address, known.conversation, known.asked = address, conversation, asked
        known.lease_ends = now + self._lease_s
        self.correspondents[reader] = known
        self.correspondents.move_to_end(reader)
        if isinstance(request, Pull):
            impatient, known.pulls = known.pulls is not None, request.serial
            return [Dropped("impatient")] if impatient else [Pulls(reader, request.after, request.count)]
        begins: list[Effect] = [] if known.listens else [Listens(reader)]
        known.listens = True
        granted = datagram(Granted(request.serial, self._node, self._lease_s), conversation)
        return [*begins, Answer(granted, address)]

    def _forget(self, reader: str) -> list[Effect]:
        known = self.correspondents.pop(reader, None)
        return [Silent(reader)] if known is not None and known.listens else []


def _refusal_of(request: FromReader, placement: Placement) -> str:
    terms = placement.terms
    if terms.paid:
        return "paid"
    if terms.mobile:
        return "mobile"
    if isinstance(request, Listen) and terms.mode != PUSH:
        return "wrong-mode"
    if isinstance(request, Pull):
        if terms.mode != PULL:
            return "wrong-mode"
        if request.after < 0 or not 1 <= request.count <= PULL_ITEMS_MAX:
            return "bad-pull"
    return ""
