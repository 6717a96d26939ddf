"""What two nodes tell each other about their clients, beside the log: nothing that has to be agreed on, or survive.

A note is one msgpack object. It may be lost with the link between the nodes; nothing is sent twice.
"""

import msgspec

from chatproto.errors import WireError


class Note(msgspec.Struct, frozen=True, tag_field="note", gc=False):
    """What every note is."""


class Here(Note, frozen=True, tag="here"):
    """How a node is.

    Attributes:
        servers: `HOST:PORT` of its client links.
        sessions: that it serves, those in their grace included.
        capacity: how many it takes before it turns newcomers away.
        serving: whether it can have anything agreed on.
        name: of the node.
        pages: addresses of its page.
        tls: those of `servers` that speak TLS.
    """

    servers: list[str]
    sessions: int
    capacity: int
    serving: bool
    name: str = ""
    pages: list[str] = []
    tls: list[str] = []


class Whisper(Note, frozen=True, tag="whisper"):
    """Asks the node to tell one of its sessions something private.

    Attributes:
        number: of the question; its answer has the same.
        session: the key of the session that is to hear it.
        identity: who says it.
        content: what is said.
        id: as the sender gave it.
        time: Unix seconds.
    """

    number: int
    session: str
    identity: str
    content: str
    id: str
    time: float


class Heard(Note, frozen=True, tag="heard"):
    """Answers `Whisper`: so many sessions were reached."""

    number: int
    delivered: int


class Call(Note, frozen=True, tag="call"):
    """Asks where one of the node's sessions accepts direct connections, for somebody called `identity`."""

    number: int
    session: str
    identity: str


class Called(Note, frozen=True, tag="called"):
    """Answers `Call`: the address, and the token that both sides know now; None where it accepts none."""

    number: int
    address: str | None
    token: str | None


Question = Whisper | Call
Answer = Heard | Called
AnyNote = Here | Question | Answer

encode_note = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(AnyNote)


def decode_note(note: bytes) -> AnyNote:
    """Read a note.

    Raises:
        WireError: it is none.
    """
    try:
        decoded: AnyNote = _decoder.decode(note)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(str(error)) from None
    return decoded
