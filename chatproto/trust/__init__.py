"""How a link between nodes, or to the registry, knows who is at its other end: by certificates, or by a shared secret.

Public: `Trust`, the seam, of which `World` has one, and `RegistryClient` takes one. `BELIEVING` asks nobody for a
proof; `Certified` is mutual TLS with `Certificates`, which `CertificateWatch` keeps up to date and `Authority` makes;
`SharedSecret` has both sides prove that they know one, which `read_secret` takes from a file. `Proof` is what somebody
has proven, at one of the doors `PEER` and `REGISTRY`; `REASONS` says why that may not be enough (`LinkRefused`).
"""

from chatproto.trust.authority import Authority
from chatproto.trust.certificates import Certificates
from chatproto.trust.certified import Certified
from chatproto.trust.interface import BELIEVING, Exchange, Trust
from chatproto.trust.proof import PEER, REASONS, REGISTRY, LinkRefused, Proof
from chatproto.trust.sharing import SharedSecret, read_secret
from chatproto.trust.watch import CertificateWatch

__all__ = [
    "BELIEVING",
    "PEER",
    "REASONS",
    "REGISTRY",
    "Authority",
    "CertificateWatch",
    "Certificates",
    "Certified",
    "Exchange",
    "LinkRefused",
    "Proof",
    "SharedSecret",
    "Trust",
    "read_secret",
]
