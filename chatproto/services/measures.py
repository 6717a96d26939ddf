"""What can be measured of a process: read from its state when somebody asks, so that it costs nothing before.

Names are as Prometheus has them: a unit at the end, `_total` for what only grows. Labels have few values: no identity,
no room and no address is one.
"""

import os
from collections.abc import Callable, Iterable, Iterator

import msgspec

from chatproto.chat.protocol import ClientLinkFactory
from chatproto.chat.server import ChatServer
from chatproto.monitor import MonitorService
from chatproto.monitor.watch import State
from chatproto.news.link import NewsLinkFactory
from chatproto.pair.log import PairLog
from chatproto.registry import RegistryClient
from chatproto.registry.names import Names
from chatproto.registry.protocol import RegistryLinkFactory
from chatproto.release import RELEASE
from chatproto.services.search import SearchService
from chatproto.services.systemd import Health
from chatproto.tally import Histogram, Tally

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"
ROLES = ("leader", "follower", "standby")
REDUNDANCIES = ("single", "paired", "alone", "isolated")

Labels = dict[str, str]


class Measure(msgspec.Struct, frozen=True):
    """One thing that is measured.

    Attributes:
        kind: `GAUGE`, `COUNTER` or `HISTOGRAM`.
        name: whole.
        meaning: in one sentence.
        values: one for each set of labels; none for a histogram.
        histogram: what was observed; None for the other kinds.
    """

    kind: str
    name: str
    meaning: str
    values: list[tuple[Labels, float]] = []
    histogram: Histogram | None = None


Measures = Callable[[], Iterable[Measure]]
"""Measures when it is called."""


def together(*parts: Measures) -> Measures:
    """Measure several things."""
    return lambda: (measure for part in parts for measure in part())


def of_process(role: str, health: Callable[[], Health], tally: Tally) -> Measures:
    """Measure what every role has."""

    def measure() -> Iterator[Measure]:
        now = health()
        labels = {"version": RELEASE, "role": role}
        yield Measure(GAUGE, "chatproto_build_info", "Always 1; what runs is in the labels.", [(labels, 1)])
        yield _gauge("chatproto_healthy", "1 if the process gets on with what it does, as /healthz says.", now.sane())
        yield _gauge("chatproto_serving", "1 if it does now what it is there for, as /readyz says.", now.serving)
        yield Measure(
            COUNTER,
            "chatproto_dropped_total",
            "Connections that were refused, or ended by this side before the other wanted it.",
            [({"door": door, "reason": reason}, count) for (door, reason), count in sorted(tally.dropped.items())],
        )

    return measure


def of_chat(
    server: ChatServer,
    factory: ClientLinkFactory,
    pair: PairLog | None,
    search: SearchService | None,
    data: str,
) -> Measures:
    """Measure a node: its chat, the links of its clients, its log, its search, and its data directory."""

    def measure() -> Iterator[Measure]:
        yield from _clients(server, factory)
        yield from _counted(server.tally)
        yield from _log(server, pair)
        if search is not None and search.behind is not None:
            meaning = "Committed entries that searches do not find yet."
            yield _gauge("chatproto_search_behind_entries", meaning, search.behind)
        yield from _disk(data)

    return measure


def _clients(server: ChatServer, factory: ClientLinkFactory) -> Iterator[Measure]:
    rooms, seats = server.hall.rooms.values(), server.seats.values()
    backlogs = [link.backlog_bytes for link in factory.links]
    yield _gauge("chatproto_clients", "Sessions served here, those included whose client is away.", len(seats))
    away = sum(seat.link is None for seat in seats)
    yield _gauge("chatproto_clients_away", "Sessions kept for a client whose connection broke.", away)
    yield _gauge("chatproto_clients_max", "Sessions before newcomers are sent elsewhere.", server.settings.capacity)
    yield _gauge("chatproto_connections", "Connections to the ports for clients.", len(factory.links))
    in_flight = sum(seat.session.in_flight for seat in seats)
    yield _gauge("chatproto_requests_in_flight", "Requests of clients that are not answered yet.", in_flight)
    yield _gauge(
        "chatproto_backlog_bytes", "Held for clients that do not read as fast as they are sent.", sum(backlogs)
    )
    yield _gauge("chatproto_backlog_largest_bytes", "The same, for the slowest client.", max(backlogs, default=0))
    yield _gauge("chatproto_backlog_max_bytes", "What one client may not pass.", server.settings.backlog_bytes_max)
    yield _gauge("chatproto_rooms", "Rooms of the deployment.", len(rooms))
    yield _gauge("chatproto_members", "Sessions of the deployment, on all servers.", len(server.hall.members))
    kept = sum(room.last - room.first + 1 for room in rooms)
    yield _gauge("chatproto_archive_messages", "Messages that the archives hold.", kept)


def _counted(tally: Tally) -> Iterator[Measure]:
    yield Measure(
        COUNTER,
        "chatproto_committed_entries_total",
        "Entries of the log that were committed here: messages, and acts such as joining a room.",
        [({"kind": "message"}, tally.messages), ({"kind": "act"}, tally.acts)],
    )
    said = "Messages handed to clients as they were said, one for each that hears it."
    yield Measure(COUNTER, "chatproto_deliveries_total", said, [({}, tally.deliveries)])
    waited = "From what a client of this server said to its commit: one observation a batch."
    yield Measure(HISTOGRAM, "chatproto_commit_seconds", waited, histogram=tally.commit_s)
    batches = "Entries that were committed in one go."
    yield Measure(HISTOGRAM, "chatproto_batch_entries", batches, histogram=tally.batch_entries)


def _log(server: ChatServer, pair: PairLog | None) -> Iterator[Measure]:
    node_log = server.log
    yield _gauge("chatproto_epoch", "The epoch; it grows with each change of who leads or who counts.", node_log.epoch)
    yield _gauge("chatproto_log_position_entries", "The last entry that is committed and applied.", node_log.position)
    yield _gauge("chatproto_copies", "Servers that hold what is committed now.", node_log.durable)
    yield _state("chatproto_role", "1 for what this server is now.", "role", ROLES, node_log.role)
    meaning = "1 for how many hold every message: see `redundancy` of the protocol."
    yield _state("chatproto_redundancy", meaning, "state", REDUNDANCIES, node_log.redundancy)
    if node_log.witness is not None:
        yield _gauge("chatproto_witness_reached", "1 if the registry, the witness, is reached.", node_log.witness)
    if pair is not None:
        waiting = max(0, pair.replica.end - node_log.position)
        yield _gauge("chatproto_uncommitted_entries", "Entries of this server's log that are not committed.", waiting)
        peers = [peer for peer in node_log.peers if peer.name]
        yield _gauge("chatproto_peers", "Other servers with a link to this one.", len(peers))
        if node_log.role == "leader":
            lags: list[tuple[Labels, float]] = [({"peer": peer.name}, peer.lag) for peer in peers]
            yield Measure(GAUGE, "chatproto_lag_entries", "Entries that the other server is behind.", lags)


def _disk(data: str) -> Iterator[Measure]:
    try:
        with os.scandir(data) as files:
            size = sum(file.stat().st_size for file in files if file.is_file())
        disk = os.statvfs(data)
    except OSError:
        return  # What cannot be read is not measured.
    yield _gauge("chatproto_data_bytes", "Size of the files in the data directory.", size)
    free = disk.f_bavail * disk.f_frsize
    yield _gauge("chatproto_disk_free_bytes", "Left for this process on the disk of the data directory.", free)
    yield _gauge("chatproto_disk_bytes", "Size of that disk.", disk.f_blocks * disk.f_frsize)


def of_registry(factory: RegistryLinkFactory, names: Names, data: str) -> Measures:
    """Measure a registry."""

    def measure() -> Iterator[Measure]:
        yield _gauge("chatproto_registry_names", "Names that are registered.", len(names.list()))
        yield _gauge("chatproto_registry_connections", "Connections of nodes and visitors.", len(factory.links))
        yield from _disk(data)

    return measure


def of_news(
    factories: Callable[[], Iterable[NewsLinkFactory]], registry: Callable[[], RegistryClient | None], data: str
) -> Measures:
    """Measure what every node of the news system has: its links, its name in the registry, its data directory."""

    def measure() -> Iterator[Measure]:
        links: list[tuple[Labels, float]] = []
        backlogs: list[tuple[Labels, float]] = []
        for factory in factories():
            door = {"door": factory.gate.door}
            links.append((door, len(factory.links)))
            backlogs.append((door, sum(link.backlog_bytes for link in factory.links)))
        yield Measure(GAUGE, "chatproto_news_links", "Connections of others to this node.", links)
        meaning = "Held for those that do not read as fast as they are sent."
        yield Measure(GAUGE, "chatproto_news_backlog_bytes", meaning, backlogs)
        client = registry()
        if client is not None:
            yield _gauge("chatproto_registry_reached", "1 if the registry is reached.", client.up)
        yield from _disk(data)

    return measure


def of_monitor(monitor: MonitorService, client: RegistryClient, standing_in: Callable[[], Measures | None]) -> Measures:
    """Measure a monitor, and its stand-in while that serves."""

    def measure() -> Iterator[Measure]:
        states = tuple(state.name.lower() for state in State)
        meaning = "1 for what the monitor does now."
        yield _state("chatproto_monitor_state", meaning, "state", states, monitor.watch.state.name.lower())
        yield _gauge("chatproto_registry_reached", "1 if the registry is reached.", client.up)
        stand_in = standing_in()
        if stand_in is not None:
            yield from stand_in()

    return measure


def _gauge(name: str, meaning: str, value: float) -> Measure:
    return Measure(GAUGE, name, meaning, [({}, value)])


def _state(name: str, meaning: str, label: str, states: tuple[str, ...], state: str) -> Measure:
    return Measure(GAUGE, name, meaning, [({label: each}, each == state) for each in states])
