"""What readers and the contracting service say to each other: negotiated communication, and questions beside it. Pure.

A connection begins with the reader's `Enter`, answered with `Entered` or `Refused`. Then it asks, one thing at a time;
each request has a number, and its answer the same one. A negotiation is what its `id` says, which the reader draws:
`Propose` terms, and hear that they are `Agreed`, or that others are on `Offer`, or `Declined`; then pick or counter,
which is to propose again under the same id, or `GiveUp`. What was agreed under an id is agreed once: a request may be
repeated, over whatever connection and at whichever server.
"""

from chatproto.errors import WireError
from chatproto.news.items import name_allowed
from chatproto.news.messages import VERSION, Message, decoder
from chatproto.news.terms import Place, Terms

ID_CHARS_MAX = 64
TOPICS_MAX = 64
TOPIC_CHARS_MAX = 64
OPTIONS_MAX = 4
"""Offered at once."""

CODES = {
    "version": "the two sides speak other versions of the protocol: run the same release",
    "bad-name": "a reader's name is letters, digits, dots, hyphens and underscores, 64 at most",
    "bad-password": "a password has 1 to 1024 bytes",
    "login-failed": "there is no such reader, or it has another password",
    "taken": "another reader has that name",
    "slowed": "there were too many tries, or new readers, from this address: wait before the next one",
    "busy": "as many negotiations wait as may, in all or from this address: come again later",
    "not-serving": "this server cannot commit anything now: try the other one",
    "too-many-readers": "there is no room for another reader in this deployment",
    "bad-id": f"the id of a negotiation has 1 to {ID_CHARS_MAX} characters",
    "no-room": "no delivery node has room for such a contract, nor for one like it",
    "too-many-rounds": "there is an end to bargaining",
    "too-slow": "the negotiation took too long",
    "no-contract": "this reader has no contract",
    "paid-only": "only paid contracts have a node that stands in",
    "no-substitute": "the delivery node of this contract has no substitute",
    "not-needed": "the reader's own delivery node is there",
    "moving": "the delivery node of this contract was lost, and another one is looked for: ask again",
    "unavailable": "a delivery node that it takes cannot be reached, or said no: nothing was changed",
    "stopping": "the service takes no more requests: try again",
}
"""Why something is refused, besides `chatproto.news.terms.REASONS`."""


# From the reader


class Enter(Message, frozen=True, tag="enter"):
    """The first message of a connection.

    Attributes:
        version: of the protocol.
        reader: its name.
        password: shown at every connection.
        opens: whether the reader is new; one that exists and has this password is let in all the same, so that it may
            be repeated.
    """

    version: int
    reader: str
    password: str
    opens: bool = False


class Propose(Message, frozen=True, tag="propose"):
    """Asks for a contract with these terms, or picks them from what was on offer, or counters that.

    Attributes:
        number: of the request.
        id: of the negotiation.
        terms: the contract as the reader wants it, all of it.
    """

    number: int
    id: str
    terms: Terms


class GiveUp(Message, frozen=True, tag="giveup"):
    """Ends a negotiation without a contract; the one before it, if any, stays. Answered with `Declined`, `given-up`."""

    number: int
    id: str


class Where(Message, frozen=True, tag="where"):
    """Asks for the contract that holds, and where it is fulfilled; answered with `Agreed` or `Declined`."""

    number: int


class Substitute(Message, frozen=True, tag="substitute"):
    """Says that the reader's node is gone, and asks to be served by its substitute; answered with `Standing`."""

    number: int


class Cancel(Message, frozen=True, tag="cancel"):
    """Ends the contract; answered with `Declined`, `no-contract`, once there is none any more."""

    number: int


class Renew(Message, frozen=True, tag="renew"):
    """Asks for another password; answered with `Renewed`. The ticket is another one then: ask `Where` for it.

    Attributes:
        number: of the request.
        password: which proves the name from then on.
    """

    number: int
    password: str


class Close(Message, frozen=True, tag="close"):
    """Asks that there be no such reader any more, nor its contract; answered with `Closed`, the end of the link."""

    number: int


# From the service


class Entered(Message, frozen=True, tag="entered"):
    """The answer to `Enter`.

    Attributes:
        server: its name.
    """

    server: str


class Waits(Message, frozen=True, tag="waits"):
    """As many negotiate as may: the request is answered later.

    Attributes:
        number: of the request.
        before: how many come first.
    """

    number: int
    before: int


class Offer(Message, frozen=True, tag="offer"):
    """The terms cannot be had; these can, now, the nearest first."""

    number: int
    options: tuple[Terms, ...]


class Agreed(Message, frozen=True, tag="agreed"):
    """The contract holds, and its reader is placed, durably."""

    number: int
    place: Place


class Declined(Message, frozen=True, tag="declined"):
    """The request has another end: a code of `CODES` or of the terms' `REASONS`, or `given-up`."""

    number: int
    code: str
    why: str = ""


class Standing(Message, frozen=True, tag="standing"):
    """The reader is a temporary one at a node that stands in for its own."""

    number: int
    node: str


class Renewed(Message, frozen=True, tag="renewed"):
    """The other password is the reader's, durably."""

    number: int


class Closed(Message, frozen=True, tag="closed"):
    """There is no such reader any more; a delivery node that is gone hears of it when it is there again."""

    number: int


# Over the guarded link: from other parts of the system


class Ask(Message, frozen=True, tag="ask"):
    """The first message of a connection of another part of the system, which may be repeated: does this server live?"""


class Alive(Message, frozen=True, tag="alive"):
    """The answer to `Ask`.

    Attributes:
        server: its name.
        serving: whether what is asked of it can be committed.
    """

    server: str
    serving: bool


class Readers(Message, frozen=True, tag="readers"):
    """Asks, after `Ask`, for the mobile readers of a delivery node whose names come after one, in order."""

    node: str
    after: str = ""


class Mobile(Message, frozen=True, tag="mobile"):
    """The answer to `Readers`: names with the hashes of their tickets and the topics of their contracts.

    Attributes:
        readers: in the order of their names.
        more: whether there are further ones.
    """

    readers: tuple[tuple[str, str, tuple[str, ...]], ...]
    more: bool


class Check(Message, frozen=True, tag="check"):
    """Asks, after `Ask`, whether a mobile reader's password is right, so that the page may let it in.

    Attributes:
        number: of the question.
        reader: its name.
        password: as it was typed.
        host: the address of whoever typed it; failures are slowed by it.
    """

    number: int
    reader: str
    password: str
    host: str


class Checked(Message, frozen=True, tag="checked"):
    """The answer to `Check`.

    Attributes:
        number: of the question.
        code: empty, or why not: one of `CODES`.
        place: of the reader's contract; None where it has none, or is not let in.
    """

    number: int
    code: str
    place: Place | None = None


Request = Propose | GiveUp | Where | Substitute | Cancel | Renew | Close
FromReader = Enter | Request
ToReader = Entered | Waits | Offer | Agreed | Declined | Standing | Renewed | Closed
FromPart = Ask | Readers | Check
ToPart = Alive | Mobile | Checked

decode_from_reader = decoder(FromReader)
decode_to_reader = decoder(ToReader)
decode_from_part = decoder(FromPart)
decode_to_part = decoder(ToPart)


def refusal_of(enter: Enter) -> str:
    """Return why nobody may enter so, whatever the password, as a code of `CODES`; empty if they may."""
    if enter.version != VERSION:
        return "version"
    return "" if name_allowed(enter.reader) else "bad-name"


def checked(terms: Terms) -> Terms:
    """Return terms as they are compared and kept: topics sorted, each once.

    Raises:
        WireError: they name more than a contract may.
    """
    if len(terms.topics) > TOPICS_MAX or any(len(topic) > TOPIC_CHARS_MAX for topic in terms.topics):
        raise WireError("more topics, or longer ones, than a contract has")
    return terms.about(terms.topics)
