"""A news deployment as processes: registry, root, router, two delivery nodes, contracts, proxy.

All here runs on the reactor of the test, so nothing in it may block for long. Everything is on 127.0.0.1; ports are
those that a node was first given, so that it is found again after it was killed.
"""

import os
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.threads import deferToThread

from chatproto.chat.passwords import secret_of
from chatproto.cli.servers import registry_endpoint
from chatproto.errors import ClientStopped, RegistryError
from chatproto.keyvalue.prefixes import end_of
from chatproto.keyvalue.sqlite import TABLE
from chatproto.news.contracting.client import ContractClient
from chatproto.news.items import Item
from chatproto.news.reader import NewsReader
from chatproto.news.reader import registered as reader_registered
from chatproto.news.source import NewsSource
from chatproto.news.terms import PULL, Place, Terms
from chatproto.news.tree import records
from chatproto.registry import Registration, RegistryClient
from chatproto.services.news import NewsStatus
from chatproto.services.news.status import decode_status
from chatproto.services.registering import STATUS
from tests.exposition import check_exposition
from tests.integration.nodes import WAIT_S_MAX, Node
from tests.integration.pairs import HOST, lasting_ports, moment

reactor: Any = installed
SERVICE = "news"
REGISTRY = "registry"
HERE = f"interface={HOST}"
PASSWORD = "as everybody here"
PULL_ITEMS = 5
CHEAP_COST_LOG2 = 4
"""A secret that is quickly checked, for the machine has more to do."""


class NewsProcess(Node):
    """A `twistd -n newsserver` child."""

    daemon = ("newsserver",)
    _meant = False

    @property
    def name(self) -> str:
        """What it is called in the deployment."""
        return self.folder.name

    def launch(self) -> None:
        """Start the child; return at once."""
        self._meant = False
        super().launch()

    def kill(self) -> None:
        """`kill -9`."""
        self._meant = True
        super().kill()

    def may_end(self) -> None:
        """Expect this life to end by itself."""
        self._meant = True

    def terminate(self) -> int:
        """SIGTERM, and what comes of it."""
        self.ask_to_end()
        return self.wait()

    def ask_to_end(self) -> None:
        """SIGTERM."""
        assert self.process is not None
        self._meant = True
        self.process.terminate()

    def ended_by_itself(self) -> bool:
        """Whether it has ended, and nobody wanted that."""
        return self.process is not None and not self.alive() and not self._meant

    # What its disk has

    def items(self) -> dict[int, records.Record]:
        """Return what its disk has of items, by number."""
        rows = self._rows(records.ITEM)
        return {records.number_in(key, records.ITEM)[0]: records.decode_record(value) for key, value in rows}

    def whole(self) -> set[int]:
        """Return the numbers of the items that it has had whole."""
        return {number for number, record in self.items().items() if record.phase != records.PARTIAL}

    def pieces(self) -> int:
        """Return how many pieces of bodies it has."""
        return len(self._rows(records.BODY))

    def _rows(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        path = TABLE.path_in(str(self.data))
        if not os.path.exists(path):
            return []
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=WAIT_S_MAX)
        try:
            return database.execute(
                "SELECT key, value FROM held WHERE key >= ? AND key < ?", (prefix, end_of(prefix))
            ).fetchall()
        finally:
            database.close()


def write_sources(path: Path, priorities: Mapping[str, int] | None = None, **passwords: str) -> Path:
    """Write a file for `--sources`, with cheap secrets; a source's priority is 5 unless given."""
    tables = [
        f'[sources.{name}]\nsecret = "{secret_of(password, bytes(16), CHEAP_COST_LOG2)}"\n'
        f"priority = {(priorities or {}).get(name, 5)}\n"
        for name, password in passwords.items()
    ]
    path.write_text("\n".join(tables))
    return path


class NewsDeployment:
    """A deployment of the news.

    Attributes:
        nodes: by name: `root`, `router`, `east` and `west` (delivery nodes, each the other's substitute),
            `contracts`, `proxy`; as many of them as were asked for.
        registry: finds all of them.
        ports: public ones, by the name of the node.
        registry_port: of the registry.
        web: the port of the proxy's page.
        client: of the registry, while the deployment runs.
    """

    def __init__(
        self,
        folder: Path,
        make_node: Callable[..., Node],
        roles: Iterable[str] = ("root", "router", "delivery", "contracts", "proxy"),
        *,
        sources: Mapping[str, int] | None = None,
        options: Mapping[str, Iterable[str]] | None = None,
        certificates: Path | None = None,
        secret: Path | None = None,
    ) -> None:
        """Make one that is not started yet.

        Args:
            folder: where its files are.
            make_node: makes nodes, which are ended elsewhere.
            roles: those that there are to be.
            sources: the priority of each source, whose password is `PASSWORD`; `agency` and `urgent` unless given.
            options: more of them, by the name of the node; those of `""` are for all.
            certificates: where the certificate of each node is, by its name; None for links without TLS.
            secret: a file with a secret that all share, the registry included; None for none.
        """
        self.folder = folder
        self.nodes: dict[str, NewsProcess] = {}
        self.ports: dict[str, int] = {}
        self.client: RegistryClient | None = None
        self._roles = set(roles)
        self._more = dict(options or {})
        self._certificates = certificates
        self._secret = secret
        self._make_node = make_node
        self._visitors: list[Callable[[], Any]] = []
        self._probes: dict[str, int] = {}
        (registry, self.root_peer, self.router_peer, self.web) = lasting_ports(4)
        self.registry_port = registry
        listening = f"--registry-listen=tcp:{registry}:interface={HOST}"
        self.registry = make_node("--role=registry", listening, *self._guard(REGISTRY), name=REGISTRY, listen=None)
        priorities = sources or {"agency": 3, "urgent": 9}
        known = write_sources(folder / "sources.toml", priorities, **dict.fromkeys(priorities, PASSWORD))
        root = f"--sources={known}", "--first-number=1", self._listen("root"), self._peer(self.root_peer)
        self._add("root", "root", *root)
        above = self.root_peer
        if "router" in self._roles:
            parent = f"--parent=tcp:{HOST}:{above}"
            above = self.router_peer
            self._add("router", "router", parent, self._peer(above))
        for name, other in (("east", "west"), ("west", "east")):
            parent, (peer,) = f"--parent=tcp:{HOST}:{above}", lasting_ports(1)
            listening = self._listen(name)
            # The same number for both: one is of TCP, the other one of UDP.
            datagrams = f"--datagrams={HOST}:{self.ports[name]}"
            self._add(name, "delivery", parent, f"--substitute={other}", listening, self._peer(peer), datagrams)
        (peer,) = lasting_ports(1)
        self._add("contracts", "contracts", self._listen("contracts"), self._peer(peer))
        self._add("proxy", "proxy", "--delivery=east", f"--web=tcp:{self.web}:interface={HOST}")

    def _add(self, name: str, role: str, *options: str) -> None:
        if role not in self._roles:
            self.ports.pop(name, None)
            return
        more = [*self._more.get("", ()), *self._more.get(name, ())]
        registry = f"--registry=tcp:{HOST}:{self.registry_port}"
        (self._probes[name],) = lasting_ports(1)
        who = f"--name={name}", f"--role={role}", registry, f"--metrics=tcp:{self._probes[name]}:interface={HOST}"
        options = *who, *self._guard(name), *options, *more
        self.nodes[name] = self._make_node(*options, name=name, kind=NewsProcess, listen=None)

    def _guard(self, name: str) -> list[str]:
        """Return the options by which a node proves to others who it is."""
        if self._certificates is not None:
            return [f"--tls={self._certificates / name}"]
        return [f"--secret-file={self._secret}"] if self._secret is not None else []

    def _listen(self, name: str) -> str:
        (self.ports[name],) = lasting_ports(1)
        return f"--listen=tcp:{self.ports[name]}:interface={HOST}"

    @staticmethod
    def _peer(port: int) -> str:
        return f"--peer-listen=tcp:{port}:interface={HOST}"

    # Life

    async def start(self) -> "NewsDeployment":
        """Start all of it; return when every node is registered and serves."""
        self.registry.launch()
        for node in self.nodes.values():
            node.launch()
        authority = str(self._certificates / "ca.pem") if self._certificates is not None else None
        place = f"{HOST}:{self.registry_port}"
        endpoint = registry_endpoint(reactor, f"tls:{place}" if authority else place, authority)
        self.client = RegistryClient(endpoint, reactor, who="test")
        self.client.startService()
        await self.until_serving(*self.nodes)
        return self

    def terminate(self) -> None:
        """SIGTERM for every node of the news, at once."""
        for node in self.nodes.values():
            node.ask_to_end()

    async def end(self) -> None:
        """Have everybody who talks to it leave; its processes are ended elsewhere."""
        while self._visitors:
            await maybeDeferred(self._visitors.pop())
        client, self.client = self.client, None
        if client is not None:
            await client.stopService()

    def whole_log(self) -> str:
        """Return what all nodes have said, in all their lives."""
        return "\n".join(node.whole_log() for node in self.nodes.values())

    # Who talks to it

    def source(self, name: str = "agency") -> NewsSource:
        """Return a source that begins to dial the root; it ends with the deployment."""
        endpoint = HostnameEndpoint(reactor, HOST, self.ports["root"])
        source = NewsSource(endpoint, reactor, name, PASSWORD, now=time.time)
        source.startService()
        self._visitors.append(source.stopService)
        return source

    def subscriber(self, name: str) -> "Subscriber":
        """Return a reader without a contract; it ends with the deployment."""
        subscriber = Subscriber(self, name)
        self._visitors.append(lambda: Deferred.fromCoroutine(subscriber.end()))
        return subscriber

    # Looking

    async def until_serving(self, *names: str) -> None:
        """Wait until some nodes are registered, and say that they serve."""
        for name in names:
            await self.until(lambda name=name: self._serves(name), f"{name} serves")

    async def _serves(self, name: str) -> bool:
        status = await self.status(name)
        return status is not None and status.serving

    async def status(self, name: str) -> NewsStatus | None:
        """Return how a node says that it is; None if it does not."""
        assert self.client is not None, "it runs"
        try:
            calling: Deferred[bytes] = self.client.call(SERVICE, name, STATUS)
            return decode_status(await calling)
        except RegistryError:
            return None

    async def measured(self, name: str) -> dict[tuple[str, ...], float]:
        """Return each sample of a node by its name and the values of its labels; all is as Prometheus wants it."""
        url = f"http://{HOST}:{self._probes[name]}/metrics"

        def scrape() -> str:
            with urllib.request.urlopen(url, timeout=WAIT_S_MAX) as answer:
                return str(answer.read().decode())

        families = check_exposition(await deferToThread(scrape))
        return {(sample.name, *sample.labels.values()): sample.value for found in families.values() for sample in found}

    async def registered(self) -> dict[str, Registration]:
        """Return what is registered now, by name."""
        assert self.client is not None, "it runs"
        listing: Deferred[list[Registration]] = self.client.list(service=SERVICE)
        return {found.name: found for found in await listing}

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = WAIT_S_MAX) -> None:
        """Wait until something is so; what it has to be awaited for may be asked, too."""
        end = reactor.seconds() + seconds
        while True:
            found = condition()
            if await found if hasattr(found, "__await__") else found:
                return
            ended = [f"{node.name}: {node.log()[-3000:]}" for node in self.nodes.values() if node.ended_by_itself()]
            assert not ended, f"while waiting until {what}, ended:\n" + "\n".join(ended)
            assert reactor.seconds() < end, f"not within {seconds} s: {what}\n{self.whole_log()[-8000:]}"
            await moment(0.02)


class Subscriber:
    """A paid reader of a deployment: negotiates its contract, then keeps the books of what it is delivered.

    One that pulls does so again and again.

    Attributes:
        client: of the contracting service.
        place: what is agreed on; None before `subscribe`.
        reader: is delivered to; None before `subscribe`.
        got: titles, in the order in which they came.
        bodies: by title.
    """

    def __init__(self, deployment: NewsDeployment, name: str) -> None:
        """Make one that has no contract yet."""
        self.name = name
        self.reader: Any = None
        self.place: Any = None
        self.got: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self._deployment = deployment
        self._pulling: Deferred[None] = succeed(None)
        endpoint = HostnameEndpoint(reactor, HOST, deployment.ports["contracts"])
        self.client = ContractClient(endpoint, reactor, name, PASSWORD, opens=True)
        self.client.startService()

    async def subscribe(self, topics: tuple[str, ...] = ("politics",), **terms: Any) -> Place:
        """Agree on a paid contract, or the nearest that is on offer; return its place once the reader is let in."""
        found: Any = (Terms(topics, **{"paid": True, "delay_s_max": 200.0, **terms}),)
        while not isinstance(found, Place):
            proposing: Deferred[Any] = self.client.propose(found[0])
            found = await proposing
        place = self.place = found
        assert self._deployment.client is not None
        reach = reader_registered(self._deployment.client, partial(clientFromString, reactor), SERVICE)
        reader = self.reader = NewsReader(
            place, reach, self._delivered, reactor, time.time, substitute=self.client.substitute, away_s=1.0
        )
        reader.startService()
        await self._deployment.until(lambda: reader.node == place.node, f"{self.name} is at {place.node}")
        if place.terms.mode == PULL:
            self._pulling = Deferred.fromCoroutine(self._pull(reader))
        return place

    async def _pull(self, reader: NewsReader) -> None:
        with suppress(ClientStopped):
            while reader.running:
                pulling: Deferred[bool] = reader.pull(PULL_ITEMS)
                if not await pulling:
                    await moment(0.02)

    def _delivered(self, item: Item, body: bytes) -> None:
        self.got.append(item.title)
        self.bodies[item.title] = body

    async def end(self) -> None:
        """Leave."""
        for service in (self.reader, self.client):
            if service is not None and service.running:
                await maybeDeferred(service.stopService)
        await self._pulling
