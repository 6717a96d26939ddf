"""Where something listens, as text: `HOST:PORT`, an IPv6 address in brackets; and whom a connection is from. Pure."""

import re
from ipaddress import IPv6Address

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
