"""What a paid reader and its delivery node say to each other, besides items on their way. Pure."""

from chatproto.news.messages import Announce, Chunk, Message, Taken, Withdrawn, decoder

GOT_RANGES_MAX = 900
"""In a hello: the latest ones. What is before them is known to the node, or refused by the reader as it comes."""

PARTIAL_MAX = 32
"""In a hello: more is never under way. All of it is within `chatproto.news.messages.HELLO_BYTES_MAX`."""

PULL_ITEMS_MAX = 1000
"""Asked for at once."""

REASONS = {
    "version": "the node speaks another version",
    "unknown-reader": "no such reader is placed at this node, or the ticket is not its",
    "free": "free readers are delivered to by datagrams, mobile ones by the proxy",
    "moved": "a later connection of the same reader is there",
    "ended": "the contract is not fulfilled here any more, or is another one now",
    "bad-hello": "what the hello says of items and times makes no sense",
    "closing": "the node ends",
}
"""Why a reader is not, or no longer, welcome, by code."""


class ReaderHello(Message, frozen=True, tag="reader"):
    """From a paid reader: who it is, and what it has.

    Attributes:
        version: `chatproto.news.messages.VERSION`.
        reader: its name.
        ticket: what the contracting service has given it.
        got: first and last of ranges of item numbers that it has and that have not expired.
        partial: item numbers of which it has the beginning, and how many bytes of that.
        recent: for each delivery of the last hour, the latest first, how many seconds it was before the one after it;
            the latest, before now. In whole seconds: each delivery is said to be a little later than it was, if at all.
    """

    version: int
    reader: str
    ticket: str
    got: tuple[tuple[int, int], ...] = ()
    partial: tuple[tuple[int, int], ...] = ()
    recent: tuple[int, ...] = ()


class ReaderWelcome(Message, frozen=True, tag="reader-welcome"):
    """From the node: items come, or may be asked for.

    Attributes:
        node: its name; the keys of items on this link are its stamps.
        temporary: whether it stands in for the reader's own.
    """

    node: str
    temporary: bool = False


class Pull(Message, frozen=True, tag="reader-pull"):
    """From a reader that pulls: give me as many items as there are, `count` at most (1 to `PULL_ITEMS_MAX`)."""

    count: int


class Pulled(Message, frozen=True, tag="reader-pulled"):
    """From the node, after all items of a pull were taken: that was it.

    Attributes:
        more: whether there is more, which it did not ask for, or may not have within this hour.
    """

    more: bool


from_reader = decoder(ReaderHello, Pull, Taken)
from_node = decoder(ReaderWelcome, Pulled, Announce, Chunk, Withdrawn)
