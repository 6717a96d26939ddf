"""Who is kept out, and from where, until when. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import msgspec

from chatproto.wire import addresses

BANS_MAX = 10_000
"""Bans at once."""


class Ban(msgspec.Struct, frozen=True, array_like=True):
    """Somebody, or an address, is kept out.

    Attributes:
        subject: the identity of an account, or what `network_of` returns.
        until: Unix seconds.
        reason: what they are told, as whoever banned them put it; may be empty.
        by: the identity of whoever did; empty for an operator.
    """

    subject: str
    until: float
    reason: str = ""
    by: str = ""


def network_of(text: str) -> str:
    """Return an address, or a network like `192.0.2.0/24`, in the one form that it is known by.

    Raises:
        ValueError: it is neither.
    """
    network = ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network.network_address, IPv6Address) else None
    if mapped is not None and network.prefixlen >= 96:
        network = ip_network(f"{mapped}/{network.prefixlen - 96}")
    alone = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if alone else str(network)


def address_of_link(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a connection is from; None where it is not from one, as over a Unix socket."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def origin_of(text: str | None) -> str:
    """Return what stands for all that one client's machine may come from; empty where that is not told by addresses.

    See `chatproto.wire.addresses.origin_of`.
    """
    return addresses.origin_of(text) if text and address_of_link(text) is not None else ""


class Bans:
    """Every ban there is, by its subject; one that has ended counts no more."""

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        """Begin with some."""
        self._bans: dict[str, Ban] = {}
        # The addresses and networks among them: by version and length of the prefix, and then by the prefix.
        self._networks: dict[tuple[int, int], dict[int, Ban]] = {}
        for ban in bans:
            self._add(ban)

    def listed(self, time: float) -> list[Ban]:
        """Return those that count at a time in Unix seconds."""
        return [ban for ban in self._bans.values() if time < ban.until]

    def all(self) -> list[Ban]:
        """Return them all."""
        return list(self._bans.values())

    def of(self, identity: str, time: float) -> Ban | None:
        """Return the ban of an account at a time, if there is one."""
        ban = self._bans.get(identity)
        return ban if ban is not None and time < ban.until else None

    def of_address(self, text: str, time: float) -> Ban | None:
        """Return a ban at a time of the address that a connection is from, if there is one."""
        address = address_of_link(text)
        if address is None:
            return None
        version, number, bits = address.version, int(address), address.max_prefixlen
        for (of, length), bans in self._networks.items():
            ban = bans.get(number >> (bits - length)) if of == version else None
            if ban is not None and time < ban.until:
                return ban
        return None

    def add(self, ban: Ban, time: float) -> bool:
        """Ban somebody, from a time on and in place of an earlier ban; return whether there was room for one more."""
        for ended in [known for known in self._bans.values() if known.until <= time]:
            self.lift(ended.subject)
        self.lift(ban.subject)
        if len(self._bans) >= BANS_MAX:
            return False
        self._add(ban)
        return True

    def _add(self, ban: Ban) -> None:
        self._bans[ban.subject] = ban
        if is_address(ban.subject):
            where, prefix = _prefix(ban.subject)
            self._networks.setdefault(where, {})[prefix] = ban

    def lift(self, subject: str) -> bool:
        """Ban somebody no more; return whether they were."""
        ban = self._bans.pop(subject, None)
        if ban is not None and is_address(subject):
            where, prefix = _prefix(subject)
            del self._networks[where][prefix]
            if not self._networks[where]:
                del self._networks[where]
        return ban is not None


def is_address(subject: str) -> bool:
    """Whether what is banned is an address, not an identity."""
    return "." in subject or ":" in subject


def _prefix(subject: str) -> tuple[tuple[int, int], int]:
    network = ip_network(subject)
    length = network.prefixlen
    return (network.version, length), int(network.network_address) >> (network.max_prefixlen - length)
