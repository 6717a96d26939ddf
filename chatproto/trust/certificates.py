"""A node's certificate, its key, and the authority of its deployment, as a directory has them; read again when told."""

import ipaddress
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey, X509Store, X509StoreContext, X509StoreContextError
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from chatproto.errors import TrustError
from chatproto.trust.proof import Proof

AUTHORITY, CERTIFICATE, KEY = "ca.pem", "node.pem", "node.key"
"""The files of a directory: who is believed; the certificate, with those between it and the authority; its key."""

ENDING_S = 14 * 86400.0
"""A certificate that ends within this time is warned of."""

EXPIRED, NOT_YET_VALID = 10, 9
WRONG_AUTHORITY = frozenset({2, 7, 18, 19, 20, 21})
"""What OpenSSL's verification calls these (`X509_V_ERR_…`)."""


def reason_of(error: int) -> str:
    """Return the code of `REASONS` for what OpenSSL's verification has found wrong."""
    if error == EXPIRED:
        return "expired"
    if error == NOT_YET_VALID:
        return "not-yet-valid"
    return "wrong-authority" if error in WRONG_AUTHORITY else "bad-certificate"


def proof_of(certificate: x509.Certificate) -> Proof:
    """Return what somebody who has a certificate's key is proven to be called."""
    return Proof(tuple(names_of(certificate)[0]))


def names_of(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Return the names that a certificate is for, and the addresses."""
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    return named.get_values_for_type(x509.DNSName), [str(one) for one in named.get_values_for_type(x509.IPAddress)]


def is_address(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_for_host(certificate: x509.Certificate, host: str) -> bool:
    """Whether a server with a certificate is that host, as RFC 6125 has clients check it."""
    verify = verify_certificate_ip_address if is_address(host) else verify_certificate_hostname
    try:
        verify(certificate, host)
    except (VerificationError, CertificateError, ValueError):
        return False
    return True


def read_certificates(path: str) -> list[x509.Certificate]:
    """Return the certificates in a PEM file, one at least, in the order of the file.

    Raises:
        TrustError: it cannot be read, or holds none, or what is none.
    """
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise TrustError(f"{path} holds no certificate: {error}") from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TrustError(f"cannot read {path}: {error.strerror}") from None


def read_key(path: str) -> Any:
    """Return the private key in a PEM file, which has no passphrase.

    Raises:
        TrustError: it cannot be read, or is none.
    """
    try:
        return load_pem_private_key(_read(path), None)
    except (ValueError, TypeError) as error:
        raise TrustError(f"{path} holds no key, or one with a passphrase: {error}") from None


class Held(msgspec.Struct, frozen=True):
    """What was read of a directory at one time.

    Attributes:
        proof: what the certificate proves.
        chain: the certificate, then those between it and the authority.
        key: its key.
        authorities: who is believed.
        ends: until when each file can be used, in Unix seconds, by its name.
    """

    proof: Proof
    chain: Sequence[x509.Certificate]
    key: Any
    authorities: Sequence[x509.Certificate]
    ends: dict[str, float]


def read(directory: str) -> Held:
    """Read a directory, and check that its parts belong together and can be used now.

    Raises:
        TrustError: not so; the message says which file, and why.
    """
    path = os.path.join(directory, CERTIFICATE)
    authorities = read_certificates(os.path.join(directory, AUTHORITY))
    chain = read_certificates(path)
    key = read_key(os.path.join(directory, KEY))
    if key.public_key() != chain[0].public_key():
        raise TrustError(f"{os.path.join(directory, KEY)} is not the key of the certificate in {path}")
    store = X509Store()
    for authority in authorities:
        store.add_cert(X509.from_cryptography(authority))
    between = [X509.from_cryptography(one) for one in chain[1:]]
    try:
        X509StoreContext(store, X509.from_cryptography(chain[0]), between).verify_certificate()
    except X509StoreContextError as error:
        raise TrustError(f"{path} cannot be used with {AUTHORITY} beside it: {error}") from None
    ends = {
        AUTHORITY: min(one.not_valid_after_utc.timestamp() for one in authorities),
        CERTIFICATE: min(one.not_valid_after_utc.timestamp() for one in chain),
    }
    return Held(proof_of(chain[0]), chain, key, authorities, ends)


class Certificates:
    """What a directory holds, taken into use anew when told.

    Attributes:
        held: what is in use.
    """

    def __init__(self, directory: str, name: str, now: Callable[[], float]) -> None:
        """Read a directory.

        Args:
            directory: the one.
            name: of this node, which the certificate has to be for.
            now: the time of day, in Unix seconds.

        Raises:
            TrustError: it cannot be used.
        """
        self._directory = directory
        self._name = name
        self._now = now
        self.held = self._read()

    def _read(self) -> Held:
        held = read(self._directory)
        if not held.proof.covers(self._name):
            names = ", ".join(held.proof.names or ()) or "nobody"
            raise TrustError(
                f"{os.path.join(self._directory, CERTIFICATE)} is for {names}, and this node is called {self._name}: "
                "look at --name and --tls"
            )
        return held

    def read_again(self) -> list[str]:
        """Take into use what the files hold now; what cannot be used is not, and said: a line for each."""
        try:
            self.held = self._read()
        except TrustError as error:
            return [f"{error}; the certificate read before stays in use, {self._until()}"]
        return []

    def _until(self) -> str:
        return f"until {date(min(self.held.ends.values()))}"

    def endings(self) -> list[str]:
        """Return a line for each file whose time ends soon, or is over."""
        return [
            f"{os.path.join(self._directory, name)} ends on {date(end)}: renew it with `chatproto certs`, then SIGHUP"
            for name, end in self.held.ends.items()
            if end - self._now() < ENDING_S
        ]

    def context(self, *, links: bool) -> SSL.Context:
        """Return a context of OpenSSL with what is in use: for links among nodes, or for clients."""
        context = SSL.Context(SSL.TLS_METHOD)
        # Both ends of a link are chatproto; clients may be older.
        context.set_min_proto_version(SSL.TLS1_3_VERSION if links else SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(b"chatproto")
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        held = self.held
        context.use_certificate(X509.from_cryptography(held.chain[0]))
        context.use_privatekey(PKey.from_cryptography_key(held.key))
        for between in held.chain[1:]:
            context.add_extra_chain_cert(X509.from_cryptography(between))
        store = context.get_cert_store()
        assert store is not None
        for authority in held.authorities if links else ():
            store.add_cert(X509.from_cryptography(authority))
        return context


def date(seconds: float) -> str:
    """Return a time, in Unix seconds, as it is told: in UTC, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
