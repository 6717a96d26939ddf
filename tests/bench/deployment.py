"""The pair that the benchmarks start: a registry and two nodes, each of which may be killed and come back."""

import json
import random
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from chatproto.cli.archive import archive
from tests.bench.servers import (
    FOLLOWER_CORES,
    SERVER_CORES,
    START_S_MAX,
    UNLIMITED,
    BenchError,
    Daemon,
    Ours,
    Running,
    data_directory,
)

HOST = "127.0.0.1"
NODES = ("primary", "secondary")
PAIRED_S_MAX = 120.0
SAME_S_MAX = 15.0
STATUS_S_MAX = 1.0
LOOK_EVERY_S = 0.01
PORTS_FROM = 15_000


def lasting_ports(count: int) -> list[int]:
    """Return free ports which no outgoing connection is given while whoever listens on them is away."""
    outgoing_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if outgoing_from <= PORTS_FROM + count:
        raise BenchError(f"outgoing connections use ports from {outgoing_from} on: too few below")
    found: list[int] = []
    for port in random.sample(range(PORTS_FROM, outgoing_from), min(1000, outgoing_from - PORTS_FROM)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            found.append(port)
        if len(found) == count:
            return found
    raise BenchError(f"no {count} free ports between {PORTS_FROM} and {outgoing_from}")


class Pair:
    """Two nodes, with a registry as their witness or without.

    Attributes:
        nodes: primary and secondary, by name.
        ports: where each takes clients, by name.
        data: where each has its data, by name.
        others: where the primary takes its peer, and the registry whoever asks it, by door.
    """

    def __init__(
        self,
        folder: Path,
        options: Sequence[str] = (),
        *,
        witness: bool = True,
        cores: Mapping[str, set[int]] | None = None,
        of_primary: Sequence[str] = (),
    ) -> None:
        """Make one that is not started yet, with more options for both nodes or the primary, and cores by name."""
        *client_ports, peer_1, peer_2, registry_port = lasting_ports(5)
        cores = cores or {}
        self.ports = dict(zip(NODES, client_ports, strict=True))
        self.data = {name: folder / name for name in NODES}
        self.nodes: dict[str, Daemon] = {}
        self.others = {"peer": peer_1} | ({"registry": registry_port} if witness else {})
        self.registry: Daemon | None = None
        shared = list(options)
        if witness:
            listen = f"--registry-listen=tcp:{registry_port}:interface={HOST}"
            self.registry = _daemon(folder, "registry", [listen], cores.get("registry"))
            shared.append(f"--registry=tcp:{HOST}:{registry_port}")
        for name, own, other in ((NODES[0], peer_1, peer_2), (NODES[1], peer_2, peer_1)):
            ends = [
                f"--listen=tcp:{self.ports[name]}:interface={HOST}",
                f"--peer-listen=tcp:{own}:interface={HOST}",
                f"--peer=tcp:{HOST}:{other}",
            ]
            more = of_primary if name == NODES[0] else ()
            self.nodes[name] = _daemon(folder, name, [*ends, *shared, *more], cores.get(name))

    @property
    def daemons(self) -> list[Daemon]:
        return [*([self.registry] if self.registry is not None else []), *self.nodes.values()]

    @contextmanager
    def running(self) -> Iterator["Pair"]:
        """Start all and wait until they are a pair; end all."""
        with ExitStack() as stack:
            for daemon in self.daemons:
                stack.callback(daemon.stop)
                daemon.start()
            self.wait_until_paired(START_S_MAX)
            yield self

    def status(self, name: str) -> dict[str, Any] | None:
        """Ask a node how it stands; None if it does not say."""
        try:
            with socket.create_connection((HOST, self.ports[name]), STATUS_S_MAX) as link:
                link.settimeout(STATUS_S_MAX)
                link.sendall(b'{"type":"status"}\n')
                with link.makefile("rb") as lines:
                    answer: dict[str, Any] = json.loads(lines.readline())
                    return answer
        except (OSError, ValueError):
            return None

    def is_paired(self) -> bool:
        found = [self.status(name) for name in NODES]
        return all(status is not None and status["serving"] and status["redundancy"] == "paired" for status in found)

    def wait_until_paired(self, seconds: float = PAIRED_S_MAX) -> None:
        end = time.monotonic() + seconds
        while not self.is_paired():
            for daemon in self.daemons:
                if not daemon.alive():
                    raise BenchError(f"{daemon.name} ended: {daemon.last_words()}")
            if time.monotonic() > end:
                raise BenchError(f"no pair within {seconds:g} s: {self.standing()}")
            time.sleep(LOOK_EVERY_S)

    def standing(self) -> str:
        """How each node stands, in words."""
        words = []
        for name in NODES:
            status = self.status(name)
            words.append(f"{name} " + (f"{status['role']}, {status['redundancy']}" if status else "does not answer"))
        return "; ".join(words)

    def leader(self) -> str:
        """The name of the node that leads."""
        for name in NODES:
            status = self.status(name)
            if status is not None and status["role"] == "leader":
                return name
        raise BenchError(f"nobody leads: {self.standing()}")

    def lose_data(self, name: str) -> None:
        """Do to a node that has ended what a new disk does."""
        shutil.rmtree(self.data[name])

    def check_archives(self, acknowledged: Mapping[str, tuple[str, int]] | None = None) -> int:
        """Compare the archives, when nobody talks any more; return the messages in each.

        Args:
            acknowledged: room and index of each message known to be acknowledged, by its content.

        Raises:
            BenchError: they differ, or a message is not where it was acknowledged, or there more than once.
        """
        end = time.monotonic() + SAME_S_MAX
        while True:
            first, second = (_Archive(self.data[name]) for name in NODES)
            if first.hash == second.hash:
                break
            if time.monotonic() > end:
                raise BenchError(f"ARCHIVES DIFFER: {first.count} and {second.count} messages")
        wrong = [text for text, place in (acknowledged or {}).items() if first.places.get(text) != [place]]
        if wrong:
            at = first.places.get(wrong[0])
            raise BenchError(f"LOST OR MOVED: {len(wrong)} acknowledged messages, among them {wrong[0]!r}, at {at}")
        return first.count


class _Archive:
    def __init__(self, data: Path) -> None:
        self.count = 0
        self.places: dict[str, list[tuple[str, int]]] = {}
        self._hash = sha256()
        archive(str(data), None, self._take)

    @property
    def hash(self) -> bytes:
        return self._hash.digest()

    def _take(self, line: str) -> None:
        said = json.loads(line)
        self.count += 1
        self.places.setdefault(said["content"], []).append((said["room"], said["index"]))
        self._hash.update(line.encode())


def _daemon(folder: Path, name: str, options: Sequence[str], cores: set[int] | None) -> Daemon:
    twistd = str(Path(sys.executable).with_name("twistd"))
    # `twistd` tells whole seconds only.
    log = "--logger=tests.bench.finelog.observer"
    command = [twistd, "--nodaemon", "--pidfile=", log, "chatserver", f"--role={name}", f"--data={folder / name}"]
    return Daemon(name, [*command, *options], folder, cores)


# ---- beside the other servers -------------------------------------------------------------


@dataclass
class RunningPair(Running):
    """The pair as a server to put load on: its leader, and what the follower spends on it."""

    pair: Pair

    @property
    def followers(self) -> list[int]:
        return [self.pair.nodes[NODES[1]].pid]

    def fault(self) -> str:
        ended = [daemon for daemon in self.pair.daemons if not daemon.alive()]
        if ended:
            return f"{ended[0].name} ended: {ended[0].last_words()}"
        if not self.pair.is_paired() or self.pair.leader() != NODES[0]:
            return f"the pair came apart: {self.pair.standing()}"
        return ""


class OurPair(Ours):
    """A registry and two nodes, every message on both disks before anybody sees it; the load is on the leader."""

    def __init__(self, extra: Sequence[str] = ()) -> None:
        super().__init__(extra)
        self.name = "pair"

    @contextmanager
    def running(self) -> Iterator[Running]:
        """See `Server.running`."""
        cores = {NODES[0]: SERVER_CORES, NODES[1]: FOLLOWER_CORES, "registry": FOLLOWER_CORES}
        with data_directory() as folder, Pair(folder, [*UNLIMITED, *self.extra], cores=cores).running() as pair:
            leader = NODES[0]
            server = RunningPair(self.name, self.dialect, pair.ports[leader], pair.nodes[leader], pair)
            server.wait_until_quiet()
            if server.fault():
                raise BenchError(server.fault())
            yield server
