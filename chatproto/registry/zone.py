"""What the registry answers to the questions of the DNS, from what is registered. Pure.

In the zone, here `chat.example`, for the service `chat` that it is the home of:

| name | records |
| --- | --- |
| `chat.example` | SOA and NS; A or AAAA of the server that leads |
| `_chat._tcp.chat.example` | SRV of every server that serves, the one that leads first |
| `NAME.chat.example` | A or AAAA of the server of that name |
| `_S._tcp.chat.example`, `NAME.S.chat.example` | the same of any other service S |

A server that registered a host name instead of an address is the target of its SRV record by that name, and has no
name here. Nor has one whose own name cannot be a name of the DNS: labels of 1 to 63 characters, 253 in all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import groupby
from operator import attrgetter

from chatproto.registry.names import Registration
from chatproto.registry.targets import Target
from chatproto.wire import host_and_port

TTL_S = 1
"""How long an answer may be kept, also one that there is no such name: a failover is over sooner than most retries."""

LEADS, FOLLOWS = 0, 10
"""Priorities of SRV records."""

UNBOUNDED_WEIGHT = 65535
"""The weight of a server that takes any number of clients, and the highest there is."""

NAME_CHARS_MAX = 253
LABEL_CHARS_MAX = 63
INTERNET, ANY_CLASS = 1, 255
NAME_SERVER = "ns"


class Kind(IntEnum):
    """What a record is, or a question asks for, as far as anything is decided by it."""

    A = 1
    NS = 2
    SOA = 6
    AAAA = 28
    SRV = 33
    IXFR = 251
    AXFR = 252
    ANY = 255


class Code(IntEnum):
    """How a question is answered."""

    DONE = 0
    MALFORMED = 1
    NO_SUCH_NAME = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5


@dataclass(frozen=True)
class Question:
    """What is asked for.

    Attributes:
        name: as it was asked, in whatever case, without a dot at its end; the root is empty.
        kind: the type of records wanted: a number, which `Kind` need not know.
        cls: the class; the Internet is 1.
    """

    name: str
    kind: int
    cls: int = INTERNET


@dataclass(frozen=True)
class Authority:
    """An NS record: who answers for the zone."""

    host: str


@dataclass(frozen=True)
class Start:
    """An SOA record: where the zone begins."""

    host: str
    mailbox: str


Data = IPv4Address | IPv6Address | Authority | Start | Target


@dataclass(frozen=True)
class Record:
    """One record of an answer, to be kept for `TTL_S`.

    Attributes:
        name: its owner, in the case it was asked in.
        data: what it says.
    """

    name: str
    data: Data

    @property
    def kind(self) -> Kind:
        """The type of the record."""
        return _KINDS[type(self.data)]


_KINDS: Mapping[type, Kind] = {
    IPv4Address: Kind.A,
    IPv6Address: Kind.AAAA,
    Authority: Kind.NS,
    Start: Kind.SOA,
    Target: Kind.SRV,
}


@dataclass(frozen=True)
class Answer:
    """What is answered. All but a refusal speaks with authority."""

    code: Code
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()

    @property
    def authoritative(self) -> bool:
        """Whether the zone is ours to speak of."""
        return self.code in (Code.DONE, Code.NO_SUCH_NAME)


def name_fits(name: str) -> bool:
    """Whether a name has the lengths of the DNS: labels of 1 to 63 characters, 253 in all."""
    return len(name) <= NAME_CHARS_MAX and all(0 < len(label) <= LABEL_CHARS_MAX for label in name.split("."))


def name_allowed(name: str) -> bool:
    """Whether a name is taken into a zone: ASCII, in the lengths of the DNS."""
    return name.isascii() and name_fits(name)


class Zone:
    """A zone, and who answers for it.

    Attributes:
        origin: its name, in small letters.
    """

    def __init__(self, origin: str, name_server: str, service: str = "chat") -> None:
        """Make a zone.

        Args:
            origin: its name, without a dot at its end.
            name_server: address or host name of the machine that answers for it.
            service: whose leader its own name means, and whose servers have their names right under it.

        Raises:
            ValueError: one of them can be no name of the DNS.
        """
        for name in (origin, name_server):
            if _address(name) is None and not name_allowed(name):
                raise ValueError(f"{name} can be no name of the DNS")
        self.origin = origin.lower()
        self._service = service
        address = _address(name_server)
        self._name_server = name_server if address is None else f"{NAME_SERVER}.{self.origin}"
        self._own: dict[str, list[Data]] = {
            self.origin: [Start(self._name_server, f"hostmaster.{self.origin}"), Authority(self._name_server)]
        }
        if address is not None:
            self._own[self._name_server] = [address]

    def answer(self, question: Question, registered: Iterable[Registration]) -> Answer:
        """Return the answer to a question, where this is what is registered."""
        name = question.name.lower()
        if question.cls not in (INTERNET, ANY_CLASS) or question.kind in (Kind.AXFR, Kind.IXFR):
            return Answer(Code.REFUSED)
        if not self._is_within(name):
            return Answer(Code.REFUSED)
        zone = self._records(registered)
        found = tuple(
            record
            for record in (Record(question.name, data) for data in zone.get(name, ()))
            if question.kind in (record.kind, Kind.ANY)
        )
        if found:
            return Answer(Code.DONE, found, additional=_addresses(found, zone))
        # A name with others below it is there, if only for their sake (RFC 8020).
        there = name in zone or any(other.endswith(f".{name}") for other in zone)
        start = Record(self.origin, self._own[self.origin][0])
        return Answer(Code.DONE if there else Code.NO_SUCH_NAME, authority=(start,))

    def _is_within(self, name: str) -> bool:
        return name == self.origin or name.endswith(f".{self.origin}")

    def _records(self, registered: Iterable[Registration]) -> dict[str, list[Data]]:
        """Return everything in the zone, by name in small letters."""
        zone = {name: list(data) for name, data in self._own.items()}
        by_service = attrgetter("service")
        for service, servers in groupby(sorted(registered, key=by_service), by_service):
            self._add_service(zone, service, list(servers))
        return zone

    def _add_service(self, zone: dict[str, list[Data]], service: str, servers: list[Registration]) -> None:
        # Whoever led before, and is registered so until its lease ends, has a lower epoch.
        epoch = max((server.epoch for server in servers if server.role == "leader"), default=0)
        targets: list[Data] = []
        for server in servers:
            where = host_and_port(server.address)
            if where is None:
                continue
            host, port = where[0].removesuffix("."), where[1]
            address = _address(host)
            # Where there are no roles, each of them is as good as the others.
            leads = server.role in ("leader", "") and server.epoch >= epoch
            if address is not None:
                host = self._host_name(server)
                if not name_allowed(host) or host in self._own:
                    continue
                zone.setdefault(host, []).append(address)
                if leads and service == self._service:
                    zone[self.origin].append(address)
            elif not name_allowed(host):
                continue
            if server.role in ("leader", "follower", ""):
                weight = min(server.capacity, UNBOUNDED_WEIGHT) or UNBOUNDED_WEIGHT
                targets.append(Target(LEADS if leads else FOLLOWS, weight, port, host))
        name = f"_{service}._tcp.{self.origin}".lower()
        if targets and name_allowed(name):
            zone[name] = targets

    def _host_name(self, server: Registration) -> str:
        # Names are unique in a service only.
        below = self.origin if server.service == self._service else f"{server.service}.{self.origin}"
        return f"{server.name}.{below}".lower()


def _addresses(records: Iterable[Record], zone: Mapping[str, list[Data]]) -> tuple[Record, ...]:
    """Return the addresses of the hosts that records speak of, as far as they are in the zone."""
    hosts = dict.fromkeys(record.data.host for record in records if isinstance(record.data, Target | Authority))
    return tuple(
        Record(host, data)
        for host in hosts
        for data in zone.get(host.lower(), ())
        if isinstance(data, IPv4Address | IPv6Address)
    )


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
