"""Links with mutual TLS: each side shows a certificate of the deployment's own authority, with its name."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from chatproto.trust.certificates import Certificates, Held, is_address, is_for_host, proof_of, reason_of
from chatproto.trust.ending import said_by_tls
from chatproto.trust.interface import Exchange
from chatproto.trust.proof import NOTHING, PEER, REASONS, REGISTRY, LinkRefused, Proof

ALERTS = {
    "certificate required": "no-certificate",
    "unknown ca": "wrong-authority",
    "certificate expired": "expired",
    "bad certificate": "bad-certificate",
    "certificate unknown": "bad-certificate",
}
"""How OpenSSL calls what the other side says of this one's certificate, in part; and the codes for it."""

log = Logger()


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes connections of OpenSSL, each with the certificates in use at that moment."""

    def __init__(
        self, certificates: Certificates, prepare: Callable[[SSL.Context], None], *, links: bool, host: str = ""
    ) -> None:
        self._host = host
        self._certificates = certificates
        self._prepare = prepare
        self._links = links
        self._made: tuple[Held, SSL.Context] | None = None

    def _connection(self) -> SSL.Connection:
        if self._made is None or self._made[0] is not self._certificates.held:
            context = self._certificates.context(links=self._links)
            self._prepare(context)
            self._made = self._certificates.held, context
        return SSL.Connection(self._made[1], None)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See `IOpenSSLServerConnectionCreator`."""
        return self._connection()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See `IOpenSSLClientConnectionCreator`."""
        connection = self._connection()
        if self._host and not is_address(self._host):
            # Whoever answers for several hosts has to know which is meant.
            connection.set_tlsext_host_name(self._host.encode("idna"))
        return connection


@implementer(IStreamServerEndpoint)
class _Server:
    def __init__(self, creator: _Creator, endpoint: IStreamServerEndpoint) -> None:
        self._creator = creator
        self._endpoint = endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Any:
        """Listen, with TLS in between."""
        return self._endpoint.listen(TLSMemoryBIOFactory(self._creator, False, protocolFactory))


class Certified:
    """`Trust` in certificates.

    At the registry's door whoever shows none is let in as such: it may look, and change nothing.
    """

    missing = "no-certificate"

    def __init__(self, certificates: Certificates, registry: str = "registry") -> None:
        """Take this node's certificates, and the name that the registry's certificate has to have."""
        self._certificates = certificates
        self._registry = registry
        # Why this side is about to end a connection.
        self._refused: WeakKeyDictionary[SSL.Connection, LinkRefused] = WeakKeyDictionary()

    # Endpoints

    def server(self, endpoint: IStreamServerEndpoint, door: str) -> IStreamServerEndpoint:
        """Return one with mutual TLS."""
        must = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if door == PEER else 0

        def prepare(context: SSL.Context) -> None:
            context.set_verify(SSL.VERIFY_PEER | must, self._verify)

        return _Server(_Creator(self._certificates, prepare, links=True), endpoint)

    def client(self, endpoint: IStreamClientEndpoint, door: str) -> IStreamClientEndpoint:
        """Return one with mutual TLS; who answers for the registry has to have its name."""
        expected = self._registry if door == REGISTRY else ""

        def verify(connection: SSL.Connection, certificate: X509, error: int, depth: int, good: int) -> bool:
            proven = self._verify(connection, certificate, error, depth, good)
            if not proven or depth or not expected:
                return proven
            proof = proof_of(certificate.to_cryptography())
            if not proof.covers(expected):
                names = ", ".join(proof.names or ()) or "nobody"
                self._refused[connection] = LinkRefused("wrong-name", f"{expected} is expected there, this is {names}")
                return False
            return True

        def prepare(context: SSL.Context) -> None:
            context.set_verify(SSL.VERIFY_PEER, verify)

        return wrapClientTLS(_Creator(self._certificates, prepare, links=True), endpoint)

    def for_clients(self, endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
        """Return one with the same certificate, that asks nobody for theirs: for the client link, and the page."""
        return _Server(_Creator(self._certificates, lambda context: None, links=False), endpoint)

    def as_client(self, endpoint: IStreamClientEndpoint, host: str) -> IStreamClientEndpoint:
        """Return one with TLS as clients speak it, to a host: the authority of this deployment is believed as well."""

        def verify(connection: SSL.Connection, certificate: X509, error: int, depth: int, good: int) -> bool:
            return bool(good) and (depth > 0 or is_for_host(certificate.to_cryptography(), host))

        def prepare(context: SSL.Context) -> None:
            context.set_default_verify_paths()
            store = context.get_cert_store()
            assert store is not None
            for authority in self._certificates.held.authorities:
                store.add_cert(X509.from_cryptography(authority))
            context.set_verify(SSL.VERIFY_PEER, verify)

        return wrapClientTLS(_Creator(self._certificates, prepare, links=False, host=host), endpoint)

    # Links

    def exchange(self, door: str, *, dialled: bool) -> Exchange | None:
        """Return nothing: TLS has said it all."""
        return None

    def proof(self, transport: Any) -> Proof:
        """Return what the certificate proves that the other end has shown."""
        certificate = transport.getPeerCertificate()
        return NOTHING if certificate is None else proof_of(certificate.to_cryptography())

    def ended(self, transport: Any, reason: Failure) -> LinkRefused | None:
        """Return why TLS has ended a connection, if it has."""
        said = said_by_tls(reason)
        if said is None:
            return None
        refused = self._refused.pop(transport.getHandle(), None)
        if refused is not None:
            return refused
        for words, code in ALERTS.items():
            if f"alert {words}" in said:
                return LinkRefused(code, REASONS[code], told=True)
        if "did not return a certificate" in said:
            return LinkRefused("no-certificate", REASONS["no-certificate"])
        return LinkRefused("no-tls", f"{REASONS['no-tls']} ({said})")

    def _verify(self, connection: SSL.Connection, certificate: X509, error: int, depth: int, good: int) -> bool:
        if not good:
            reason = reason_of(error)
            self._refused[connection] = LinkRefused(reason, REASONS[reason])
        return bool(good)
