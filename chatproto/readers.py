"""What the values of options mean: numbers, names, addresses, endpoints. A `ValueError` says why one means nothing."""

import os
import re
import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.python.usage import UsageError

from chatproto.registry.names import TOKEN_BYTES_MAX
from chatproto.trust.endpoints import NETWORKS, listens_with_tls, parts_of
from chatproto.wire import address_allowed, address_of
from chatproto.wire.addresses import TLS, without_tls

ENDPOINT_ERRORS = (ValueError, TypeError, KeyError, OSError)
"""In these, Twisted's parsers of endpoints say what they do not understand."""
LOG_FORMATS = ("text", "json")


def read_number(value: str) -> float:
    """Read a number."""
    try:
        return float(value)
    except ValueError:
        raise ValueError("must be a number") from None


def read_whole(value: str) -> int:
    """Read a whole number."""
    if not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ValueError("must be a whole number")
    return int(value)


def read_positive(value: str) -> int:
    """Read a whole number, 1 or more."""
    number = read_whole(value)
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def read_count(value: str) -> int:
    """Read a whole number, 0 or more."""
    number = read_whole(value)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def read_seconds(value: str) -> float:
    """Read seconds, 0 or more."""
    number = read_number(value)
    if not 0 <= number < 10**9:
        raise ValueError("must be a number of seconds")
    return number


def read_some_seconds(value: str) -> float:
    """Read seconds, more than 0."""
    if not read_seconds(value):
        raise ValueError("must be more than 0 seconds")
    return float(value)


def read_rate(value: str) -> float:
    """Read how many a second, 0 or more."""
    number = read_number(value)
    if not 0 <= number < 10**12:
        raise ValueError("must be a number of lines")
    return number


def read_name(value: str) -> str:
    """Read a name that a node, or a service, may have."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("must be letters, digits, dots, hyphens and underscores, 64 at most")
    return value


def read_interface(value: str) -> tuple[str, int]:
    """Read `HOST:PORT` to be listened on: the port may be 0, and of a name its first address is taken."""
    matched = re.fullmatch(r"(?:\[([^]]+)\]|([^:]+)):([0-9]{1,5})", value)
    if matched is None or int(matched[3]) > 65535:
        raise ValueError("must be HOST:PORT, an IPv6 address in brackets")
    try:
        found = socket.getaddrinfo(matched[1] or matched[2], int(matched[3]), type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"there is no such host: {error}") from None
    host, port = found[0][4][:2]
    return str(host), int(port)


def read_address(value: str) -> str:
    """Read `HOST:PORT`."""
    if not address_allowed(value):
        raise ValueError("must be HOST:PORT, an IPv6 address in brackets")
    return value


def read_place(value: str) -> str:
    """Read `HOST:PORT` or `tls:HOST:PORT`."""
    if not address_allowed(without_tls(value)):
        raise ValueError("must be HOST:PORT or tls:HOST:PORT, an IPv6 address in brackets")
    return value


def read_token(value: str) -> str:
    """Read what protects a name in the registry."""
    if not 0 < len(value.encode()) <= TOKEN_BYTES_MAX:
        raise ValueError(f"must be from 1 to {TOKEN_BYTES_MAX} bytes")
    return value


def read_log_format(value: str) -> str:
    """Read how the log is written."""
    if value not in LOG_FORMATS:
        raise ValueError(f"must be {' or '.join(LOG_FORMATS)}")
    return value


def default_data_directory(name: str) -> str:
    """Return where a node keeps its data unless told: under `$XDG_STATE_HOME`, by its name."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "chatproto", name)


def named(option: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader that says which option it could not read."""

    def read_or_say(value: str) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise UsageError(f"{option}={value}: {error}") from None

    return read_or_say


def advertised_from(listen: str) -> str | None:
    """Return the `HOST:PORT` that clients elsewhere reach a server endpoint by; None where it does not say.

    The host is the interface that it names, or else the name of this machine.
    """
    kind, bare, named = parts_of(listen)
    if kind not in NETWORKS:
        return None
    port = named.get("port", bare[0] if bare else "")
    if not port.isdecimal() or int(port) == 0:
        return None
    return address_of(reached_by(named.get("interface", "")), int(port))


def place_of(listen: str) -> str | None:
    """Return the same as `tls:HOST:PORT` where the endpoint speaks TLS."""
    address = advertised_from(listen)
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
