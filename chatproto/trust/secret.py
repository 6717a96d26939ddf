"""The proof that both sides of a link know one secret, before anything else is said. Pure.

| | says | |
| --- | --- | --- |
| who dialled | `Open` | its name, and a number used once |
| who was dialled | `Challenge` | likewise |
| who dialled | `Prove` | HMAC-SHA256, under the secret, of names and numbers: a stranger learns nothing to guess at |
| who was dialled | `Proven` | another such: now each knows the other |

What is said after that is neither encrypted nor signed: whoever can change packets on the way can still lie.
"""

import hmac

import msgspec

from chatproto.errors import WireError
from chatproto.trust.proof import NOTHING, PEER, REASONS, Proof

VERSION = 1
SECRET_BYTES_MIN = 16
NONCE_BYTES = 32
FRAME_BYTES_MAX = 4096
"""Of the frames of an exchange, and so of what a stranger can have this side hold."""
NAME_CHARS_MAX = 64
_LABEL = "chatproto link 1"


class _Word(msgspec.Struct, frozen=True, array_like=True):
    """What both sides say."""


class Open(_Word, frozen=True, tag="open"):
    """The dialling side would prove who it is; `name` is empty for a program that is no node."""

    version: int
    name: str
    nonce: bytes


class Challenge(_Word, frozen=True, tag="challenge"):
    """The other side would know."""

    name: str
    nonce: bytes


class Prove(_Word, frozen=True, tag="prove"):
    """The dialling side knows the secret."""

    mac: bytes


class Proven(_Word, frozen=True, tag="proven"):
    """The other side believes it, and knows it, too."""

    mac: bytes


class No(_Word, frozen=True, tag="no"):
    """The other side does not believe it, for a reason of `REASONS`; the connection ends."""

    reason: str


class Step(msgspec.Struct, frozen=True):
    """What is to be done, in this order.

    Attributes:
        send: the payload of a frame to send; empty for none.
        refusal: the code of `REASONS` for which the link is to end; empty for none.
        told: whether the other side has refused this one, and not the other way round.
        proof: what the other side has proven: the exchange is over; None before.
        unread: a frame that is no part of the exchange, and to be heard after it; None for none.
    """

    send: bytes = b""
    refusal: str = ""
    told: bool = False
    proof: Proof | None = None
    unread: bytes | None = None


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Open | Challenge | Prove | Proven | No)


def _decode(frame: bytes) -> Open | Challenge | Prove | Proven | No | None:
    """Read a frame; None if it is no part of an exchange."""
    try:
        word: Open | Challenge | Prove | Proven | No = _decoder.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return word


def _checked(name: str, nonce: bytes) -> None:
    if len(nonce) != NONCE_BYTES or len(name) > NAME_CHARS_MAX:
        raise WireError("a number or a name that is none")


class _Exchange:
    """What both sides have in common: the secret, and what is proven of it."""

    def __init__(self, secret: bytes, door: str, name: str, nonce: bytes) -> None:
        """Begin.

        Args:
            secret: known to both.
            door: which link it is: a proof for one is none for another.
            name: of this side.
            nonce: `NONCE_BYTES` that nobody can foresee, and never used again.
        """
        self._secret = secret
        self._door = door
        self._name = name
        self._nonce = nonce

    def _mac(self, side: str, dialler: tuple[str, bytes], dialled: tuple[str, bytes]) -> bytes:
        said = _encode((_LABEL, side, self._door, *dialler, *dialled))
        return hmac.digest(self._secret, said, "sha256")


class Dialling(_Exchange):
    """The side that dialled."""

    _other: tuple[str, bytes] | None = None

    def begin(self) -> Step:
        """Return what is said first."""
        return Step(send=_encode(Open(VERSION, self._name, self._nonce)))

    def received(self, frame: bytes) -> Step:
        """Take a frame.

        Raises:
            WireError: it does not belong there.
        """
        mine = self._name, self._nonce
        match _decode(frame):
            case None:
                # It speaks already, so it asks for no secret: and this side tells nobody anything who has none.
                return Step(refusal="no-secret")
            case No(reason):
                return Step(refusal=reason if reason in REASONS else "wrong-secret", told=True)
            case Challenge(name, nonce) if self._other is None:
                _checked(name, nonce)
                self._other = name, nonce
                return Step(send=_encode(Prove(self._mac("dialler", mine, self._other))))
            case Proven(mac) if self._other is not None:
                if not hmac.compare_digest(mac, self._mac("dialled", mine, self._other)):
                    return Step(refusal="wrong-secret")
                return Step(proof=_proof(self._other[0]))
            case _:
                raise WireError("a word of an exchange that comes at the wrong time")


class Dialled(_Exchange):
    """The side that was dialled; at any door but that of peers, who proves nothing is let in as such."""

    _other: tuple[str, bytes] | None = None

    def begin(self) -> Step:
        """Return what is said first: nothing."""
        return Step()

    def received(self, frame: bytes) -> Step:
        """Take a frame.

        Raises:
            WireError: it does not belong there.
        """
        mine = self._name, self._nonce
        match _decode(frame):
            case None if self._other is None:
                if self._door == PEER:
                    return Step(refusal="no-secret")
                return Step(proof=NOTHING, unread=frame)
            case Open(version, name, nonce) if self._other is None:
                _checked(name, nonce)
                if version != VERSION:
                    raise WireError(f"it proves its secret as version {version} says, this is {VERSION}")
                self._other = name, nonce
                return Step(send=_encode(Challenge(self._name, self._nonce)))
            case Prove(mac) if self._other is not None:
                if not hmac.compare_digest(mac, self._mac("dialler", self._other, mine)):
                    return Step(send=_encode(No("wrong-secret")), refusal="wrong-secret")
                proven = _encode(Proven(self._mac("dialled", self._other, mine)))
                return Step(send=proven, proof=_proof(self._other[0]))
            case _:
                raise WireError("a word of an exchange that comes at the wrong time")


def _proof(name: str) -> Proof:
    """Return what is proven by whoever knows the secret, and calls itself so; a program may call itself anything."""
    return Proof((name,) if name else None)
