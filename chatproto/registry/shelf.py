"""What the registry keeps on its disk: what the witness holds, and what is registered. Pure."""

import msgspec

from chatproto.errors import WireError
from chatproto.registry.messages import NONSENSE
from chatproto.registry.names import KeptName, Refusal, check


class _State(msgspec.Struct, frozen=True, array_like=True):
    witness: bytes
    names: list[KeptName]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_State).decode


def join_state(witness: bytes, names: list[KeptName]) -> bytes:
    """Return what is kept of both; where nothing is registered, what releases kept that knew no names."""
    return _encode(_State(witness, names)) if names else witness


def split_state(state: bytes) -> tuple[bytes, list[KeptName]]:
    """Read what `join_state` gave, or what such a release kept: the witness's part, and what is registered.

    Raises:
        WireError: it is something else. The witness's part is not looked at.
    """
    # The state of a witness is a map, and so is that of older releases.
    if (state[:1] and state[0] & 0xF0 == 0x80) or state[:1] in (b"\xde", b"\xdf"):
        return state, []
    try:
        found = _decode(state)
        for kept in found.names:
            check(kept.registration)
    except (*NONSENSE, Refusal) as error:
        raise WireError(f"not the state of a registry: {error}") from None
    return found.witness, found.names


class Shelf:
    """Joins what either part asks to be kept with what the other asked last: later writes undo none before."""

    def __init__(self, witness: bytes, names: list[KeptName]) -> None:
        """Begin with what is on the disk."""
        self._witness = witness
        self._names = names

    def put_witness(self, state: bytes) -> bytes:
        """Return what is to be kept when the witness keeps something."""
        self._witness = state
        return join_state(self._witness, self._names)

    def put_names(self, names: list[KeptName]) -> bytes:
        """Return what is to be kept when a registration has changed."""
        self._names = names
        return join_state(self._witness, self._names)
