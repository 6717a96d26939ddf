"""Where a server is: what may be typed for it, and the endpoint that this means."""

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, clientFromString, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from chatproto.client import SRVEndpoint
from chatproto.client.reaching import ATTEMPT_DELAY_S
from chatproto.errors import ChatprotoError
from chatproto.registry.zone import name_allowed
from chatproto.wire.addresses import TLS, speaks_tls

DEFAULT_PORT = 4444
REGISTRY_PORT = 4646
DEFAULT_SERVER = f"127.0.0.1:{DEFAULT_PORT}"
SRV = "srv:"


class Misuse(ChatprotoError):
    """What was typed on the command line cannot be meant."""


def host_and_port(server: str, default_port: int = DEFAULT_PORT) -> tuple[str, int] | None:
    """Return what `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT` says; None for an endpoint description.

    Raises:
        Misuse: the port is none.
    """
    host, colon, port = server.rpartition(":")
    if server.startswith("[") and server.endswith("]"):
        host, port = server[1:-1], ""
    elif not colon:
        host, port = server, ""
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        # Two colons or more: an IPv6 address without brackets has no letters beyond f, a description has.
        if any(character not in "0123456789abcdefABCDEF:." for character in server):
            return None
        host, port = server, ""
    elif host in ("tcp", "tls", "ssl", "unix") or not host:
        return None
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise Misuse(f"{server!r} has no port from 1 to 65535")
    return host, int(port or default_port)


def endpoint(
    reactor: Any,
    server: str,
    *,
    tls: bool = False,
    ca: str | None = None,
    dns: tuple[str, int] | None = None,
    default_port: int = DEFAULT_PORT,
) -> IStreamClientEndpoint:
    """Return the endpoint that a server is reached by.

    Args:
        reactor: the reactor.
        server: as typed: what `host_and_port` reads, the same after `tls:`, the description of an endpoint, or
            `srv:DOMAIN`.
        tls: whether a host and a port mean TLS.
        ca: a PEM file of the authorities to trust instead of the system's.
        dns: address and port of the DNS server that knows the domain; the system's where it is not given.
        default_port: where a host alone is reached.

    Raises:
        Misuse: there is none like that.
    """
    if server.startswith(SRV):
        return _found(reactor, server.removeprefix(SRV), tls, ca, dns)
    address = host_and_port(server, default_port)
    if address is None and speaks_tls(server) and "=" not in server:
        address, tls = host_and_port(server.removeprefix(TLS), default_port), True
    if address is None:
        try:
            described: IStreamClientEndpoint = clientFromString(reactor, server)
            return described
        except Exception:
            # Each parser of endpoints raises what it likes, and says little that helps.
            raise Misuse(f"{server!r} is neither HOST:PORT nor a Twisted client endpoint like tls:HOST:PORT") from None
    host, port = address
    plain: IStreamClientEndpoint = HostnameEndpoint(reactor, host, port, attemptDelay=ATTEMPT_DELAY_S)
    if tls:
        plain = wrapClientTLS(_tls(host, ca), plain)
    return plain


def _found(reactor: Any, domain: str, tls: bool, ca: str | None, dns: tuple[str, int] | None) -> IStreamClientEndpoint:
    if not name_allowed(domain):
        raise Misuse(f"{SRV}{domain} is no name of the DNS, like srv:chat.example")
    if not tls:
        return SRVEndpoint(reactor, domain, dns=dns)
    # Whoever answers for the DNS may name any host: a certificate has to be the domain's that was typed (RFC 6125).
    options = _tls(domain, ca)
    return SRVEndpoint(
        reactor, domain, dns=dns, connector=lambda address: wrapClientTLS(options, endpoint(reactor, address))
    )


def registry_endpoint(reactor: Any, registry: str, ca: str | None = None) -> IStreamClientEndpoint:
    """Return the endpoint that a registry is reached by: with TLS as `tls:HOST:PORT`, believing `ca`.

    Raises:
        Misuse: there is none like that.
    """
    return endpoint(reactor, registry, ca=ca, default_port=REGISTRY_PORT)


def _tls(host: str, ca: str | None) -> Any:
    try:
        from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
    except ImportError as error:
        raise Misuse(f"TLS cannot be used here: {error}") from None
    if ca is None:
        return optionsForClientTLS(host, trustRoot=platformTrust())
    try:
        with open(ca, "rb") as file:
            text = file.read()
        end = b"-----END CERTIFICATE-----"
        certificates = [Certificate.loadPEM(part + end) for part in text.split(end)[:-1]]
    except Exception as error:
        # Reading raises OSError, pyOpenSSL its own.
        raise Misuse(f"cannot read certificates from {ca}: {error}") from None
    if not certificates:
        raise Misuse(f"{ca} holds no certificate")
    return optionsForClientTLS(host, trustRoot=trustRootFromCertificates(certificates))
