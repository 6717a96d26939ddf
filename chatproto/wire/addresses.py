"""Where something listens, as text: `HOST:PORT`, an IPv6 address in brackets; and whom a connection is from. Pure.

A place is such an address, or `tls:HOST:PORT` where clients have to speak TLS. Whoever knows no places is told
addresses, and in a field that it ignores which of them want TLS: `split_tls` and `join_tls`.
"""

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv6Address

TLS = "tls:"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255}):[0-9]{1,5}")


def host_and_port(address: str) -> tuple[str, int] | None:
    """Read `HOST:PORT`, an IPv6 address in brackets; None if it is not of that form."""
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port[:6]) < 65536:
        return None
    return host, int(port)


def address_allowed(address: str) -> bool:
    """Whether somebody can be told to connect there: ASCII, and neither its host nor its port is out of bounds."""
    return _ADDRESS.fullmatch(address) is not None and host_and_port(address) is not None


def speaks_tls(place: str) -> bool:
    """Whether TLS is spoken at `HOST:PORT` or `tls:HOST:PORT`."""
    return place.startswith(TLS)


def without_tls(place: str) -> str:
    """Return `HOST:PORT` of the same or of `tls:HOST:PORT`."""
    return place.removeprefix(TLS)


def split_tls(places: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return `HOST:PORT` of places, and of those of them where TLS is spoken."""
    known = list(places)
    return [without_tls(place) for place in known], [without_tls(place) for place in known if speaks_tls(place)]


def join_tls(addresses: Iterable[str], secure: Collection[str]) -> list[str]:
    """Return the places of which `split_tls` has made these."""
    return [f"{TLS}{address}" if address in secure else address for address in addresses]


def address_of(host: str, port: int) -> str:
    """Write `HOST:PORT`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def origin_of(host: str) -> str:
    """Return whom an address counts for: itself, or the network of 64 bits that an IPv6 address is one of billions in.

    An IPv4 address in the clothes of IPv6, which a socket for both gives, counts as what it is.
    """
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
