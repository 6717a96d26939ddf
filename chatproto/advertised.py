"""Where others reach what is listened on here, as far as that can be told from an endpoint."""

import socket
from collections.abc import Iterable

from chatproto.trust.endpoints import NETWORKS, listens_with_tls, parts_of
from chatproto.wire import address_of
from chatproto.wire.addresses import TLS, without_tls


def advertised_from(listen: str, port: int = 0) -> str | None:
    """Return the `HOST:PORT` that clients elsewhere reach a server endpoint by; None where it does not say.

    The host is the interface that it names, or else the name of this machine.

    Args:
        listen: server endpoint string.
        port: the one that is listened on, where the endpoint leaves that to the system; 0 if it is not known.
    """
    kind, bare, named = parts_of(listen)
    if kind not in NETWORKS:
        return None
    said = named.get("port", bare[0] if bare else "")
    chosen = int(said) or port if said.isdecimal() else 0
    return address_of(reached_by(named.get("interface", "")), chosen) if chosen else None


def place_of(listen: str, port: int = 0) -> str | None:
    """Return the same as `tls:HOST:PORT` where the endpoint speaks TLS."""
    address = advertised_from(listen, port)
    return f"{TLS}{address}" if address is not None and listens_with_tls(listen) else address


def as_listened(place: str, listen: Iterable[str]) -> str:
    """Return a place as `tls:HOST:PORT`, too, if what is listened on at that port speaks TLS.

    Where nothing is listened on there, as behind a forwarded port, it is as it is with all that is.
    """
    known = [(each, advertised_from(each)) for each in listen]
    port = place.rpartition(":")[2]
    same = [each for each, address in known if address is not None and address.rpartition(":")[2] == port]
    of_network = [each for each, address in known if address is not None]
    secure = all(map(listens_with_tls, same or of_network)) and bool(of_network)
    return f"{TLS}{without_tls(place)}" if secure else place


def reached_by(interface: str) -> str:
    """Return what others reach an interface by: the name of this machine, where it is every interface."""
    return socket.gethostname() if interface in ("", "0.0.0.0", "::") else interface
