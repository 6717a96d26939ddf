"""How a node knows who asks, and from where, before it sends anything to speak of. Pure.

A source address is easily forged: whoever answers it with more than was asked is a weapon in others' hands. So a
request counts only with a *cookie* that was sent to the address it comes from before, as in RFC 9000 (8.1) and RFC
7873. Nothing is kept for it: the node knows its own cookies by its secret.

The ticket itself is not sent, as anybody on the way would have it then: the node has its hash, the reader can make
that, and each request is signed with it (HMAC-SHA256), its conversation and its cookie included.
"""

import hmac

import msgspec

from chatproto.news.datagrams.messages import COOKIE_BYTES, PROOF_BYTES, Request, encode

COOKIE_S_MAX = 3600.0
"""A cookie is good for so long, at the address that it was sent to."""

Address = tuple[str, int]
"""Of this machine's idea of who sent a datagram: an IP address, and a port."""

_ISSUED_BYTES = 8


class Cookies:
    """Makes the cookies of one life of a node, and knows them again."""

    def __init__(self, secret: bytes) -> None:
        """Take a secret of this life, drawn at its beginning."""
        self._secret = secret

    def issue(self, address: Address, now: float) -> bytes:
        """Return a cookie for an address; `now` in seconds of this life's clock."""
        issued = int(now * 1_000_000).to_bytes(_ISSUED_BYTES)
        return issued + self._seal(issued, address)

    def issued_at(self, cookie: bytes, address: Address, now: float) -> int | None:
        """Return when a cookie was made, in microseconds; None if it was not made for this address, or is too old."""
        if len(cookie) != COOKIE_BYTES:
            return None
        issued, seal = cookie[:_ISSUED_BYTES], cookie[_ISSUED_BYTES:]
        at = int.from_bytes(issued)
        if at / 1_000_000 < now - COOKIE_S_MAX or not hmac.compare_digest(seal, self._seal(issued, address)):
            return None
        return at

    def _seal(self, issued: bytes, address: Address) -> bytes:
        host, port = address
        sealed = b"%b %b %d" % (issued, host.encode(), port)
        return hmac.digest(self._secret, sealed, "sha256")[: COOKIE_BYTES - _ISSUED_BYTES]


def signed(request: Request, key: str, conversation: bytes) -> Request:
    """Return a request with its proof; the key is the ticket's hash, `chatproto.chat.passwords.token_hash`."""
    return msgspec.structs.replace(request, proof=_proof(request, key, conversation))


def is_signed(request: Request, key: str, conversation: bytes) -> bool:
    """Whether a request was signed, as it is, by whoever has the ticket with this hash."""
    return hmac.compare_digest(request.proof, _proof(request, key, conversation))


def _proof(request: Request, key: str, conversation: bytes) -> bytes:
    bare = msgspec.structs.replace(request, proof=b"")
    return hmac.digest(key.encode(), conversation + encode(bare), "sha256")[:PROOF_BYTES]
