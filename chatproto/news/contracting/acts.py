"""What the contracting service has its log agree on: acts, each one line of JSON. Pure."""

import msgspec

from chatproto.news.placing import ledger
from chatproto.news.terms import Terms

AGREE, CANCEL, STAND_IN, RETURN = "agree", "cancel", "stand-in", "return"
RENEW, CLOSE, TELL = "renew", "close", "tell"


class Opened(msgspec.Struct, frozen=True, array_like=True, tag="opened"):
    """There is another reader; nothing, where there is one of that name.

    Attributes:
        reader: its name.
        secret: of its password, see `chatproto.chat.passwords`.
        salt: from which, and from the password, its ticket is made.
        ticket: the hash of that.
    """

    reader: str
    secret: str
    salt: bytes
    ticket: str


class Change(msgspec.Struct, frozen=True, array_like=True, tag="change"):
    """What a reader has is about to be changed: the transaction that does it can begin, and no other one.

    Nothing, where `after` is not so any more, or another change goes on.

    Attributes:
        reader: its name.
        after: the version before this change, so that whoever has decided on it knew what there was.
        purpose: `AGREE`, `CANCEL`, `STAND_IN`, `RETURN`; `RENEW` for another password, `CLOSE` for no account any more,
            `TELL` to have nodes hear of it that were gone.
        proposal: to agree: the id of the negotiation.
        terms: to agree: which.
        node: to agree: the delivery node.
        substitute: to agree: the one that stands in for it; empty for none.
        gone: nodes that are not there now: what they are to be told can wait, as long as nobody is to be placed there.
        opened: to renew: what proves who the reader is from then on.
    """

    reader: str
    after: int
    purpose: str
    proposal: str = ""
    terms: Terms | None = None
    node: str = ""
    substitute: str = ""
    gone: tuple[str, ...] = ()
    opened: Opened | None = None


Act = Opened | Change | ledger.Act

_decoder = msgspec.json.Decoder(Act)
_encoder = msgspec.json.Encoder()


def encode_act(act: Act) -> bytes:
    """Return the body of an entry."""
    return _encoder.encode(act)


def decode_act(body: bytes) -> Act:
    """Read the body of an entry.

    Raises:
        msgspec.MsgspecError: it is of another program, or of a newer release.
    """
    act: Act = _decoder.decode(body)
    return act
