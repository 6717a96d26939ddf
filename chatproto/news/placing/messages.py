"""What the coordinator of transactions and a delivery node say to each other. Pure.

The coordinator dials, and says `Coordinate`; the node answers `Participate`, then `Ready` for each transaction whose
outcome it waits for. `Prepare` is the seed's prepare-to-commit, `Ready` ready-to-commit, `Refuse` refuse-to-commit,
`Done` commit-completed.
"""

from typing import Annotated

import msgspec

from chatproto.news.items import NAME_CHARS_MAX
from chatproto.news.messages import VERSION, Message
from chatproto.news.placing.actions import Action

Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Word = Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)]


class Coordinate(Message, frozen=True, tag="coordinate"):
    """The coordinator's hello.

    Attributes:
        who: the name of its process.
        term: counts the coordinators that there were; whoever has heard a higher one refuses this, as `superseded`.
        version: of the protocol.
    """

    who: Word
    term: Number
    version: int = VERSION


class Participate(Message, frozen=True, tag="participate"):
    """The delivery node's answer to the hello: its name, for an address may be another one's by now."""

    node: Word


class Prepare(Message, frozen=True, tag="prepare"):
    """Asks the node whether it can do its part, and to be able to from then on, whatever happens.

    Attributes:
        number: of the transaction; never that of another one.
        actions: the node's part.
    """

    number: Number
    actions: tuple[Action, ...]


class Ready(Message, frozen=True, tag="ready"):
    """The node can: that is on its disk, and it waits for the outcome."""

    number: Number


class Refuse(Message, frozen=True, tag="refuse"):
    """The node cannot, with a code; it waits for nothing."""

    number: Number
    code: Word


class Commit(Message, frozen=True, tag="commit"):
    """All nodes can, and that is decided: the node does its part."""

    number: Number


class Abort(Message, frozen=True, tag="abort"):
    """It is not to be done: the node forgets it."""

    number: Number


class Done(Message, frozen=True, tag="done"):
    """The node has done its part: that is on its disk."""

    number: Number


FromCoordinator = Coordinate | Prepare | Commit | Abort
FromParticipant = Participate | Ready | Refuse | Done
