"""What two nodes of a pair say to each other: msgpack, one message a frame. Pure.

Each node dials the other. Over the connection that it dialled, a node asks and, where the other leads, follows:

| in the words of two-phase commit | message |
| --- | --- |
| prepare to commit | `Append` |
| ready to commit | `Appended` |
| refuse to commit | `State` with a higher epoch, in place of `Appended` |
| commit | `Append.commit`, `Commit` |
| commit completed | the next `Appended` |
"""

import msgspec

from chatproto.errors import WireError
from chatproto.log.entry import MESSAGE, Entry, Run, Snapshot
from chatproto.pair.configuration import Configuration, configuration_allowed, name_allowed
from chatproto.wire import address_allowed

VERSION = 1
PRIMARY, SECONDARY, STANDBY = "primary", "secondary", "standby"
"""What a node is started as."""
FRAME_BYTES_MAX = 256 * 1024 * 1024
"""A snapshot is one frame: the state of a hundred thousand clients takes a tenth of this."""


class PeerMessage(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What every message is."""


class Hello(PeerMessage, frozen=True, tag="hello"):
    """The first message, both ways.

    Attributes:
        version: of this protocol.
        service: the name of the deployment.
        name: the node's name.
        role: what it was started as: `primary`, `secondary` or `standby`.
        paired: whether it was started as one of a pair, so that it wants another member.
        configuration: the one on its disk.
    """

    version: int
    service: str
    name: str
    role: str
    paired: bool
    configuration: Configuration | None


class State(PeerMessage, frozen=True, tag="state"):
    """Another configuration holds at the sender's. A lower epoch is answered with this one."""

    configuration: Configuration


class Beat(PeerMessage, frozen=True, tag="beat"):
    """The sender lives."""

    epoch: int


class Meet(PeerMessage, frozen=True, tag="meet"):
    """A node is to be found at an address, `HOST:PORT` of its peer link: it is about to take the sender's place."""

    name: str
    address: str


class Follow(PeerMessage, frozen=True, tag="follow"):
    """The sender wants the log of the leader it dialled.

    Attributes:
        number: of this asking over this link; the answer has it.
        epoch: the one in which the other leads.
        end: the last index of the sender's log.
        epochs: the epochs in it, each with its first index.
        snapshot: the index of its newest snapshot, below which its log has holes.
        counts: whether it wants to be a member, or else to be let go.
    """

    number: int
    epoch: int
    end: int
    epochs: list[tuple[int, int]]
    snapshot: int
    counts: bool = True


class Invite(PeerMessage, frozen=True, tag="invite"):
    """The sender wants the other, which stands by, to learn its log, and then to lead in its place.

    Attributes:
        address: `HOST:PORT` where the sender's peer link is listened for.
        expected: the other member of the sender's pair, which is to be one of the new leader's; empty for none.
    """

    address: str
    expected: str


class Begin(PeerMessage, frozen=True, tag="begin"):
    """The log follows.

    Attributes:
        number: of the asking that this answers: what answers an earlier one does not count.
        epoch: of the leader.
        common: up to here both have the same; the follower parts from what it has beyond.
        durable: what the leader has durable now: with all of that, the follower holds all that is committed.
        end: the leader's last index now: what had been forwarded earlier is in the log up to there, or nowhere.
    """

    number: int
    epoch: int
    common: int
    durable: int
    end: int


class Install(PeerMessage, frozen=True, tag="install"):
    """The log follows, with holes up to the snapshot's index: the follower is too far behind.

    Attributes:
        number: as in `Begin`.
        epoch: of the leader.
        common: as in `Begin`.
        after: what the follower has up to here stays; 0 or `common`.
        durable: as in `Begin`.
        end: as in `Begin`.
        snapshot: the state that stands for what is left out.
    """

    number: int
    epoch: int
    common: int
    after: int
    durable: int
    end: int
    snapshot: Snapshot


class Ids(PeerMessage, frozen=True, tag="ids"):
    """Ids that clients chose, each with its entry's index and a time: entries with them may be among the holes."""

    epoch: int
    ids: list[tuple[str, int, float]]


class Installed(PeerMessage, frozen=True, tag="installed"):
    """All up to the snapshot's index was sent."""

    epoch: int


class SentRun(msgspec.Struct, array_like=True, gc=False):
    """A run as it is sent; see `Run`."""

    index: int
    epoch: int
    kind: str
    room: str
    position: int
    time: float
    ids: list[str]
    body: bytes
    retriable: list[int]


class Dismissed(PeerMessage, frozen=True, tag="dismissed"):
    """Whoever asked to follow without being a member is none, and is not about to be: it may forget what it has.

    Attributes:
        epoch: of the leader.
        number: of the asking.
    """

    epoch: int
    number: int


class Append(PeerMessage, frozen=True, tag="append"):
    """Runs that follow one another, durable at the leader's; and up to where the log is committed."""

    epoch: int
    commit: int
    runs: list[SentRun]


class Commit(PeerMessage, frozen=True, tag="commit"):
    """The log is committed up to an index."""

    epoch: int
    index: int


class Appended(PeerMessage, frozen=True, tag="appended"):
    """The sender has the log durable up to an index."""

    epoch: int
    index: int


class SentEntry(msgspec.Struct, array_like=True, gc=False):
    """An entry as it is sent, or kept as an orphan; see `Entry`."""

    kind: str
    room: str
    id: str
    time: float
    head: bytes
    tail: bytes
    retriable: bool


class Forward(PeerMessage, frozen=True, tag="forward"):
    """Entries submitted at the follower's, for the leader to number."""

    epoch: int
    entries: list[SentEntry]


class Tell(PeerMessage, frozen=True, tag="tell"):
    """A note from whoever stands on one log to whoever stands on the other."""

    note: bytes


AnyMessage = (
    Hello
    | State
    | Beat
    | Invite
    | Meet
    | Follow
    | Begin
    | Install
    | Ids
    | Installed
    | Dismissed
    | Append
    | Commit
    | Appended
    | Forward
    | Tell
)

encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(AnyMessage)
_entry = msgspec.msgpack.Decoder(SentEntry)


def decode(frame: bytes) -> AnyMessage:
    """Read a frame.

    Raises:
        WireError: it is not of the protocol.
    """
    try:
        message: AnyMessage = _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a message of the peer link: {error}") from None
    if isinstance(message, Hello) and not (name_allowed(message.name) and name_allowed(message.service)):
        raise WireError("a name that is not allowed")
    if isinstance(message, Hello) and message.role not in (PRIMARY, SECONDARY, STANDBY):
        raise WireError(f"a role that there is not: {message.role!r}")
    if isinstance(message, Invite | Meet):
        named = name_allowed(message.name) if isinstance(message, Meet) else _nobody_or_allowed(message.expected)
        if not (named and address_allowed(message.address)):
            raise WireError("an address where nobody can be, or a name that is not allowed")
    if isinstance(message, Hello | State):
        told = message.configuration
        if told is not None and not configuration_allowed(told):
            raise WireError("a configuration that is not allowed")
    return message


def _nobody_or_allowed(name: str) -> bool:
    return not name or name_allowed(name)


def sent_run(run: Run) -> SentRun:
    """Return a run as it is sent."""
    return SentRun(run.index, run.epoch, run.kind, run.room, run.position, run.time, run.ids, run.body, run.retriable)


def received_run(run: SentRun) -> Run:
    """Return a run as it was.

    Raises:
        WireError: its parts contradict each other.
    """
    count = len(run.ids)
    whole = count and run.body.count(b"\n") + 1 == count and all(0 <= at < count for at in run.retriable)
    placed = run.index >= 1 and (run.position >= 1 if run.kind == MESSAGE else run.position == 0)
    if not (whole and placed):
        raise WireError(f"the parts of the run at {run.index} contradict each other")
    return Run(run.index, run.epoch, run.kind, run.room, run.position, run.time, run.ids, run.body, run.retriable)


def sent_entry(entry: Entry) -> SentEntry:
    """Return an entry as it is sent."""
    return SentEntry(entry.kind, entry.room, entry.id, entry.time, entry.head, entry.tail, entry.retriable)


def received_entry(sent: SentEntry) -> Entry:
    """Return an entry as it was, without an origin."""
    return Entry(sent.kind, sent.room, sent.id, sent.time, sent.head, sent.tail, sent.retriable)


def encode_entry(entry: Entry) -> bytes:
    """Return an entry as it is kept among the orphans."""
    return encode(sent_entry(entry))


def decode_entry(data: bytes) -> Entry:
    """Return an entry that was kept among the orphans."""
    return received_entry(_entry.decode(data))
