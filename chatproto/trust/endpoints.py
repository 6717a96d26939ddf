"""What descriptions of endpoints say: which are of this machine alone, which want this node's certificate. Pure."""

import ipaddress

NETWORKS = ("tcp", "tcp6", "ssl", "tls")
"""Kinds of endpoints that other machines can reach."""


def of_this_machine(host: str) -> bool:
    """Whether a host can only be this machine, whoever asks."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listens_beyond(description: str) -> bool:
    """Whether others than this machine may reach a server endpoint; so it is of one whose kind is not known here."""
    kind, _, named = parts_of(description)
    return kind != "unix" and not (kind in NETWORKS and of_this_machine(named.get("interface", "")))


def dials_beyond(description: str) -> bool:
    """Whether a client endpoint may lead to another machine than this; so it is of one whose kind is not known here."""
    kind, bare, named = parts_of(description)
    return kind != "unix" and not (kind in NETWORKS and of_this_machine(named.get("host", bare[0] if bare else "")))


def listens_with_tls(description: str) -> bool:
    """Whether a server endpoint speaks TLS."""
    return parts_of(description)[0] in ("ssl", "tls")


def host_for_tls(description: str) -> str | None:
    """Return whom a client endpoint leads to, if it is `tls:HOST:PORT` and does not say who is believed: else None."""
    kind, bare, named = parts_of(description)
    host = named.get("host", bare[0] if bare else "")
    return host if kind == "tls" and host and named.keys() <= {"host", "port", "timeout", "bindAddress"} else None


def plain(description: str) -> str | None:
    """Return what a server endpoint is without its TLS, if it is `ssl:` and names no key: else None."""
    kind, _, named = parts_of(description)
    if kind != "ssl" or "privateKey" in named or "certKey" in named:
        return None
    return "tcp" + description.removeprefix("ssl")


def parts_of(description: str) -> tuple[str, list[str], dict[str, str]]:
    """Return the kind of an endpoint's description, and what stands after it: without and with a name."""
    kind, *rest = (part.replace("\0", ":") for part in description.replace("\\:", "\0").split(":"))
    pairs = [part.partition("=") for part in rest]
    return kind, [key for key, equals, _ in pairs if not equals], {key: value for key, equals, value in pairs if equals}
