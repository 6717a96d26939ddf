"""Who the other side of a link has proven to be, and why that may not be enough. Pure."""

from collections.abc import Iterator
from contextlib import suppress

import msgspec
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, DNSPattern, verify_service_identity

PEER, REGISTRY = "peer", "registry"
"""The doors that links are guarded at, as they are called in the log and in `Tally.dropped`."""

REASONS = {
    "no-certificate": "it shows no certificate: give it --tls",
    "wrong-authority": "its certificate is of another authority: were both made by the same `chatproto certs`?",
    "wrong-name": "it has proven another name than it says",
    "expired": "its certificate has expired: renew it with `chatproto certs`",
    "not-yet-valid": "its certificate is not valid yet: look at the clocks of both machines",
    "bad-certificate": "its certificate cannot be used",
    "no-tls": "it does not speak TLS as this node does: give it --tls, or none of them",
    "no-secret": "it proves no secret: give it --secret-file, or none of them",
    "wrong-secret": "its secret is another one: look at --secret-file on both machines",
    "too-slow": "it has not proven who it is in time",
}
"""Why a link is refused, by the code that the log and `Tally.dropped` have."""


class Proof(msgspec.Struct, frozen=True):
    """Who somebody has proven to be.

    Attributes:
        names: each of which it may call itself; none where it has proven nothing; None where whatever it says is to be
            believed.
    """

    names: tuple[str, ...] | None

    @property
    def proven(self) -> bool:
        """Whether it is one of ours at all, whatever it is called."""
        return self.names is None or bool(self.names)

    def covers(self, name: str) -> bool:
        """Whether it may call itself so.

        Names are compared as those of the DNS are (RFC 6125, by service-identity): case does not count. One that
        stands for many, like `*.example`, is nobody's.
        """
        if self.names is None or name in self.names:
            return True
        try:
            verify_service_identity([*_patterns(self.names)], [DNS_ID(name)], [])
        except (VerificationError, CertificateError, ValueError):
            # The last of a name that reads as an address, which only its like is equal to.
            return False
        return True


def _patterns(names: tuple[str, ...]) -> Iterator[DNSPattern]:
    for name in names:
        # A certificate may name what means nobody, such as a number.
        with suppress(CertificateError):
            if "*" not in name:
                yield DNSPattern.from_bytes(name.encode())


class LinkRefused(msgspec.Struct, frozen=True):
    """That a link has ended because one side does not believe the other.

    Attributes:
        reason: a code of `REASONS`.
        why: the same in words, of the side that is refused.
        told: whether the other side has refused this one, and not the other way round.
    """

    reason: str
    why: str
    told: bool = False


BELIEVED = Proof(None)
"""Of somebody of whom no proof is asked."""
NOTHING = Proof(())
"""Of somebody who was asked, and has shown nothing."""
