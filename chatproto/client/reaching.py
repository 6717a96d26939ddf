"""Endpoints of the servers that others tell of: over TCP, and with TLS where it is said that they want it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTCP, IStreamClientEndpoint

from chatproto.wire import host_and_port
from chatproto.wire.addresses import speaks_tls, without_tls

ATTEMPT_DELAY_S = 0.1
"""Between the addresses of one name; also what a refusal of the only one takes to be noticed, by default 0.3 s."""

Connector = Callable[[str], IStreamClientEndpoint]
"""Makes the endpoint of `HOST:PORT`."""


def endpoint_of(reactor: Any, address: str) -> IStreamClientEndpoint:
    """Return the endpoint of `HOST:PORT`, over TCP."""
    where = host_and_port(address)
    assert where is not None
    return HostnameEndpoint(reactor, *where, attemptDelay=ATTEMPT_DELAY_S)


def tls_endpoint_of(reactor: Any, address: str, authorities: Any = None) -> IStreamClientEndpoint:
    """Return the endpoint of `HOST:PORT` with TLS, whose certificate has to be for HOST.

    Args:
        reactor: the reactor.
        address: where.
        authorities: who is believed, as Twisted's `trustRootFromCertificates` makes it; the system's by default.
    """
    from twisted.internet.ssl import optionsForClientTLS

    where = host_and_port(address)
    assert where is not None
    return wrapClientTLS(optionsForClientTLS(where[0], trustRoot=authorities), endpoint_of(reactor, address))


def reaching(clock: Any, connector: Connector | None, tls_connector: Connector | None) -> Connector | None:
    """Return what makes the endpoint of a server that is told of: of `HOST:PORT`, or the same after `tls:`.

    Args:
        clock: the reactor, if it is one.
        connector: for those without TLS; over TCP, where it is not given and `clock` is a reactor.
        tls_connector: for those with TLS; where it is not given, `connector`, which may well know about it, or else
            what `tls_endpoint_of` makes.

    Returns:
        None where nobody can be reached.
    """
    if connector is None:
        if not IReactorTCP.providedBy(clock):
            return None
        connector = partial(endpoint_of, clock)
        tls_connector = tls_connector or partial(tls_endpoint_of, clock)
    plain, secure = connector, tls_connector or connector
    return lambda place: (secure if speaks_tls(place) else plain)(without_tls(place))
