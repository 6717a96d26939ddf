"""Makes a deployment's own authority, and certificates for its nodes and hosts."""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chatproto.errors import TrustError
from chatproto.files import write_whole
from chatproto.trust.certificates import AUTHORITY, CERTIFICATE, KEY, read_certificates, read_key

AUTHORITY_KEY = "ca.key"
AUTHORITY_DAYS = 3650
EARLIER = timedelta(hours=1)
"""A certificate is good from a while ago: the clock of another machine may be behind."""


class Authority:
    """Signs certificates of nodes; its key never leaves its directory.

    Attributes:
        made: whether it was made now, and not found.
    """

    def __init__(self, directory: str) -> None:
        """Take the authority in a directory, or make one there where neither certificate nor key is.

        Raises:
            TrustError: there is one of both only, or it cannot be read or written.
        """
        self._directory = directory
        path, key_path = os.path.join(directory, AUTHORITY), os.path.join(directory, AUTHORITY_KEY)
        there = [os.path.lexists(each) for each in (path, key_path)]
        self.made = not any(there)
        if self.made:
            self._make(path, key_path)
        elif not all(there):
            lacking = key_path if there[0] else path
            raise TrustError(
                f"{lacking} is not there, and what is beside it is not replaced: put it back, or use another DIR"
            )
        self.certificate = read_certificates(path)[0]
        self._key = read_key(key_path)
        if self._key.public_key() != self.certificate.public_key():
            raise TrustError(f"{key_path} is not the key of the certificate in {path}")
        if self.certificate.not_valid_after_utc <= datetime.now(UTC):
            raise TrustError(
                f"{path} has expired: make an authority in another DIR, and a certificate of it for each node"
            )

    def _make(self, path: str, key_path: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"chatproto authority {now:%Y-%m-%d %H:%M:%S}")])
        made = (
            _begun(name, name, key, now, now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _make_directory(self._directory)
        _write(key_path, _pem(key), secret=True)
        _write(path, made.public_bytes(Encoding.PEM))

    def sign(self, name: str, hosts: Sequence[str] = (), days: int = 397) -> str:
        """Make a certificate with a new key for a node; return the directory where they are, ready to be copied.

        Args:
            name: of the node.
            hosts: names and addresses by which clients reach it, beside its name.
            days: how long it is good, the authority's own time at most.

        Raises:
            TrustError: it cannot be written.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        authority = self.certificate
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        made = (
            _begun(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
                authority.subject,
                key,
                now,
                min(now + timedelta(days=days), authority.not_valid_after_utc),
            )
            .add_extension(x509.SubjectAlternativeName(_alternatives(name, hosts)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        directory = os.path.join(self._directory, name)
        _make_directory(directory)
        _write(os.path.join(directory, KEY), _pem(key), secret=True)
        _write(os.path.join(directory, CERTIFICATE), made.public_bytes(Encoding.PEM))
        _write(os.path.join(directory, AUTHORITY), authority.public_bytes(Encoding.PEM))
        return directory


def _begun(subject: x509.Name, issuer: x509.Name, key: Any, now: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(end)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(name: str, hosts: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [x509.DNSName(name)]
    for host in hosts:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            found.append(x509.DNSName(host))
    return list(dict.fromkeys(found))


def _pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _make_directory(directory: str) -> None:
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise TrustError(f"cannot make {directory}: {error.strerror}") from None


def _write(path: str, data: bytes, *, secret: bool = False) -> None:
    # A node may read what was there before at any moment.
    try:
        write_whole(path, data, 0o600 if secret else 0o644)
    except OSError as error:
        raise TrustError(f"cannot write {path}: {error.strerror}") from None
