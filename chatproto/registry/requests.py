"""What whoever uses the registry's names says to it, and hears: typed msgpack arrays, one in a frame. Pure.

A connection that begins with `Enter` is a visitor's; one that begins with `Hello` is a node's, and the witness hears
it. Whatever a visitor asks has a number of its own choice, which the answer has, too. `Watch` and `Join` are answered,
and from then on what they ask for comes under their number, until `Leave`.
"""

import msgspec

from chatproto.errors import WireError
from chatproto.registry.messages import NONSENSE, Beat, FromNode, Message, Refused, check_from_node
from chatproto.registry.names import PAYLOAD_BYTES_MAX, Registration

VISITOR_FRAME_BYTES_MAX = PAYLOAD_BYTES_MAX + 4096
"""A payload, and beside it names that are bounded."""

PAGE_MAX = 16
"""Registrations in one `Found`: however long each of them is, that fits in a frame."""

WHO_CHARS_MAX = 160


# From visitors


class Enter(Message, frozen=True, tag="enter"):
    """The first message of a connection; nothing more is said before it is answered.

    Attributes:
        version: of the protocol; see `chatproto.registry.messages.VERSION`.
        who: asks, for the registry's log.
    """

    version: int
    who: str


class Register(Message, frozen=True, tag="register"):
    """Hold a registration, or another one under its name and token; answered with `Done` once that is durable.

    Attributes:
        number: of the request.
        registration: what is to be held.
        token: protects it; chosen by whoever registers.
        serves: whether calls to it are to come over this connection.
    """

    number: int
    registration: Registration
    token: bytes
    serves: bool


class Renew(Message, frozen=True, tag="renew"):
    """Begin a lease anew; answered with `Done`."""

    number: int
    service: str
    name: str
    token: bytes


class Withdraw(Message, frozen=True, tag="withdraw"):
    """Drop a registration; answered with `Done` once that is durable."""

    number: int
    service: str
    name: str
    token: bytes


class Resolve(Message, frozen=True, tag="resolve"):
    """Find one registration, the leader's where `name` is empty; answered with `Found`."""

    number: int
    service: str
    name: str


class Find(Message, frozen=True, tag="find"):
    """Find all registrations that fit; what is empty is left open. Answered with `Found`, once or more."""

    number: int
    service: str
    kind: str
    role: str


class Watch(Message, frozen=True, tag="watch"):
    """Find all registrations of a service (empty: of any), and hear of changes, as `Changed`, from then on."""

    number: int
    service: str


class Join(Message, frozen=True, tag="join"):
    """Hear what a group is told, as `Told`; answered with `Done`."""

    number: int
    group: str


class Leave(Message, frozen=True, tag="leave"):
    """Hear no more of the `Watch` or the `Join` with the number `of`; answered with `Done`."""

    number: int
    of: int


class Notify(Message, frozen=True, tag="notify"):
    """Tell something to everybody else in a group (empty: to every other visitor); `Done` says to how many."""

    number: int
    group: str
    payload: bytes


class Call(Message, frozen=True, tag="call"):
    """Have a server asked, the leader where `name` is empty; answered with `Answered` or `Failed` within the time."""

    number: int
    service: str
    name: str
    payload: bytes
    timeout_s: float


class Answer(Message, frozen=True, tag="answer"):
    """A server's answer to the `Asked` of that number."""

    number: int
    payload: bytes


class Reject(Message, frozen=True, tag="reject"):
    """A server's no to the `Asked` of that number."""

    number: int


# From the registry


class Entered(Message, frozen=True, tag="entered"):
    """The answer to `Enter`: how often to beat, and after which silence either side gives the other up, in seconds."""

    heartbeat_s: float
    suspect_s: float


class Done(Message, frozen=True, tag="done"):
    """What was asked is done; `count` is how many a `Notify` has reached."""

    number: int
    count: int = 0


class Found(Message, frozen=True, tag="found"):
    """What was found, `PAGE_MAX` at most; with `more`, another one follows."""

    number: int
    registrations: list[Registration]
    more: bool


class Failed(Message, frozen=True, tag="failed"):
    """What was asked is refused, or has failed, with a code of `chatproto.registry.names.REASONS`."""

    number: int
    code: str


class Answered(Message, frozen=True, tag="answered"):
    """What the server called has answered."""

    number: int
    payload: bytes


class Asked(Message, frozen=True, tag="asked"):
    """To a server: somebody calls it under this name. The number is the registry's."""

    number: int
    service: str
    name: str
    payload: bytes


class Changed(Message, frozen=True, tag="changed"):
    """What the `Watch` of that number watches has changed: something is registered so now, or is there no more."""

    number: int
    registration: Registration
    there: bool


class Told(Message, frozen=True, tag="told"):
    """What the group was told that the `Join` of that number is in; 0 for what every visitor was told."""

    number: int
    payload: bytes


Request = Register | Renew | Withdraw | Resolve | Find | Watch | Join | Leave | Notify | Call
FromVisitor = Enter | Request | Answer | Reject | Beat
ToVisitor = Entered | Refused | Done | Found | Failed | Answered | Asked | Changed | Told | Beat

_from_anybody = msgspec.msgpack.Decoder(FromNode | FromVisitor)
_to_visitor = msgspec.msgpack.Decoder(ToVisitor)


def decode_from_anybody(frame: bytes) -> FromNode | FromVisitor:
    """Read what a node or a visitor sent.

    What a visitor asks for is not looked at: that is refused, where it must be, with a reason.

    Raises:
        WireError: it is not of the protocol.
    """
    try:
        message: FromNode | FromVisitor = _from_anybody.decode(frame)
    except NONSENSE as error:
        raise WireError(f"neither of a node nor of a visitor: {error}") from None
    if isinstance(message, Enter):
        if not (len(message.who) <= WHO_CHARS_MAX and message.who.isprintable()):
            raise WireError("a name for the log that is none")
    elif isinstance(message, FromNode):
        check_from_node(message)
    return message


def decode_to_visitor(frame: bytes) -> ToVisitor:
    """Read what the registry sent to a visitor.

    Raises:
        WireError: it is not of the protocol.
    """
    try:
        message: ToVisitor = _to_visitor.decode(frame)
    except NONSENSE as error:
        raise WireError(f"not a registry's message to a visitor: {error}") from None
    return message
