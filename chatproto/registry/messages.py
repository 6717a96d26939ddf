"""What a node and the registry, its witness, say to each other: typed msgpack arrays, one in a frame. Pure.

A connection begins with the node's `Hello`, which the registry answers with `Welcome` or `Refused`. From then on both
sides beat, the node claims and proposes, and the registry tells of every change. Fields that a newer release adds to
the end of a message are passed over. Connections that begin with `Enter` are in `chatproto.registry.requests`.
"""

import msgspec

from chatproto.errors import WireError
from chatproto.pair.configuration import Configuration, configuration_allowed, name_allowed
from chatproto.wire import framed

VERSION = 1
"""The version that `Hello` speaks of."""

FRAME_BYTES_MAX = 4096
"""No message comes near to it: names are bounded, and a configuration has few members."""

REFUSALS = {
    "version": "the registry speaks another version of the protocol: run the same release everywhere",
    "full": "the registry knows as many services or nodes as it may: use fewer names",
    "crowded": "the registry has as many connections as it may",
    "unproven": "this node has not proven its name: look at --tls or --secret-file here, and at the registry's log",
}
"""Why a hello, or an `Enter`, is refused, by the code that `Refused` carries."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What every message is."""


# From nodes


class Hello(Message, frozen=True, tag="hello"):
    """The first message of a connection.

    Attributes:
        version: of the protocol.
        service: the name of the deployment.
        node: the name of the node.
        founder: whether the node may make the first configuration.
        claim: the configuration that the node has on its disk; None if it has none.
        life: a number that the node's process has drawn.
        dial: the number of the connection within that life: a connection that was dialled earlier may come later.
    """

    version: int
    service: str
    node: str
    founder: bool
    claim: Configuration | None
    life: int
    dial: int


class Claim(Message, frozen=True, tag="claim"):
    """The node has another configuration on its disk."""

    configuration: Configuration


class Propose(Message, frozen=True, tag="propose"):
    """The node asks for a configuration; `lossy`: although it is no member, at the operator's word."""

    configuration: Configuration
    lossy: bool


# From the registry


class Welcome(Message, frozen=True, tag="welcome"):
    """The answer to a hello: what the witness holds; None if it has never held anything."""

    configuration: Configuration | None


class Refused(Message, frozen=True, tag="refused"):
    """The answer to a first message that cannot be welcomed, with a code of `REFUSALS`; the connection ends."""

    reason: str


class Holds(Message, frozen=True, tag="holds"):
    """The witness holds another configuration now, durably: whoever proposed it."""

    configuration: Configuration


class Denied(Message, frozen=True, tag="denied"):
    """A proposal is refused.

    Attributes:
        epoch: of what was proposed.
        reason: a code of `chatproto.registry.rules.DENIALS`.
        configuration: what the witness holds.
    """

    epoch: int
    reason: str
    configuration: Configuration | None


# From both


class Beat(Message, frozen=True, tag="beat"):
    """Says that the sender lives."""


FromNode = Hello | Claim | Propose | Beat
FromRegistry = Welcome | Refused | Holds | Denied | Beat

NONSENSE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises: text that is no UTF-8, and depth beyond Python's stack, have exceptions of their own."""

_encoder = msgspec.msgpack.Encoder()
_from_node = msgspec.msgpack.Decoder(FromNode)
_from_registry = msgspec.msgpack.Decoder(FromRegistry)
_state = msgspec.msgpack.Decoder(dict[str, Configuration])


def encode(message: Message) -> bytes:
    """Return the frame of a message."""
    return framed(_encoder.encode(message))


def decode_from_node(frame: bytes) -> FromNode:
    """Read what a node sent.

    What a proposal asks for is not looked at: the witness does, and says no.

    Raises:
        WireError: it is not of the protocol.
    """
    try:
        message: FromNode = _from_node.decode(frame)
    except NONSENSE as error:
        raise WireError(f"not a message of a node: {error}") from None
    check_from_node(message)
    return message


def check_from_node(message: FromNode) -> None:
    """Check what the types of a message do not say.

    Raises:
        WireError: it is not of the protocol.
    """
    if isinstance(message, Hello):
        if not (name_allowed(message.service) and name_allowed(message.node)):
            raise WireError("a name that is not allowed")
        _check(message.claim)
    elif isinstance(message, Claim):
        _check(message.configuration)


def decode_from_registry(frame: bytes) -> FromRegistry:
    """Read what the registry sent.

    Raises:
        WireError: it is not of the protocol.
    """
    try:
        message: FromRegistry = _from_registry.decode(frame)
    except NONSENSE as error:
        raise WireError(f"not a message of a registry: {error}") from None
    if isinstance(message, Welcome | Holds | Denied):
        _check(message.configuration)
    return message


def _check(configuration: Configuration | None) -> None:
    if configuration is not None and not configuration_allowed(configuration):
        raise WireError("a configuration that is not allowed")


def encode_state(held: dict[str, Configuration]) -> bytes:
    """Return what a witness keeps on its disk: the configuration of each service."""
    return _encoder.encode(held)


def decode_state(state: bytes) -> dict[str, Configuration]:
    """Read what `encode_state` gave.

    Raises:
        WireError: it is something else.
    """
    try:
        held = _state.decode(state)
    except NONSENSE as error:
        raise WireError(f"not the state of a witness: {error}") from None
    for service, configuration in held.items():
        if not name_allowed(service):
            raise WireError("a name that is not allowed")
        _check(configuration)
    return held
