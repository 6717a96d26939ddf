"""A news deployment as processes: registry, root, router, two delivery nodes, contracts, proxy.

All here runs on the reactor of the test, so nothing in it may block for long. Everything is on 127.0.0.1; ports are
those that a node was first given, so that it is found again after it was killed.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint

from chatproto.chat.passwords import secret_of
from chatproto.errors import RegistryError
from chatproto.registry import Registration, RegistryClient
from chatproto.services.news import NewsStatus
from chatproto.services.news.status import decode_status
from chatproto.services.registering import STATUS
from tests.integration.nodes import WAIT_S_MAX, Node
from tests.integration.pairs import HOST, lasting_ports, moment

reactor: Any = installed
SERVICE = "news"
REGISTRY = "registry"
PASSWORD = "as everybody here"
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

    def terminate(self) -> int:
        """SIGTERM, and what comes of it."""
        self._meant = True
        return super().terminate()

    def ended_by_itself(self) -> bool:
        """Whether it has ended, and nobody wanted that."""
        return self.process is not None and not self.alive() and not self._meant


class NewsDeployment:
    """A deployment of the news.

    Attributes:
        nodes: by name: `root`, `router`, `east` and `west` (delivery nodes, each the other's substitute),
            `contracts`, `proxy`; as many of them as were asked for.
        registry: finds all of them.
        ports: public ones, by the name of the node.
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
    ) -> None:
        """Make one that is not started yet.

        Args:
            folder: where its files are.
            make_node: makes nodes, which are ended elsewhere.
            roles: those that there are to be.
            sources: the priority of each source, whose password is `PASSWORD`; `agency` and `urgent` unless given.
            options: more of them, by the name of the node; those of `""` are for all.
        """
        self.folder = folder
        self.nodes: dict[str, NewsProcess] = {}
        self.ports: dict[str, int] = {}
        self.client: RegistryClient | None = None
        self._roles = set(roles)
        self._more = dict(options or {})
        self._make_node = make_node
        (registry, self.root_peer, self.router_peer, self.web) = lasting_ports(4)
        self._taken = {registry, self.root_peer, self.router_peer, self.web}
        self._registry_port = registry
        listening = f"--registry-listen=tcp:{registry}:interface={HOST}"
        self.registry = make_node("--role=registry", listening, name=REGISTRY, listen=None)
        self._sources = folder / "sources.toml"
        self._write_sources(sources or {"agency": 3, "urgent": 9})
        self._add("root", "root", f"--sources={self._sources}", self._listen("root"), self._peer(self.root_peer))
        above = self.root_peer
        if "router" in self._roles:
            parent = f"--parent=tcp:{HOST}:{above}"
            above = self.router_peer
            self._add("router", "router", parent, self._peer(above))
        for name, other in (("east", "west"), ("west", "east")):
            parent, (peer,) = f"--parent=tcp:{HOST}:{above}", self._fresh(1)
            listening = self._listen(name)
            # The same number for both: one is of TCP, the other one of UDP.
            datagrams = f"--datagrams={HOST}:{self.ports[name]}"
            self._add(name, "delivery", parent, f"--substitute={other}", listening, self._peer(peer), datagrams)
        (peer,) = self._fresh(1)
        self._add("contracts", "contracts", self._listen("contracts"), self._peer(peer))
        self._add("proxy", "proxy", "--delivery=east", f"--web=tcp:{self.web}:interface={HOST}")

    def _add(self, name: str, role: str, *options: str) -> None:
        if role not in self._roles:
            self.ports.pop(name, None)
            return
        more = [*self._more.get("", ()), *self._more.get(name, ())]
        registry = f"--registry=tcp:{HOST}:{self._registry_port}"
        who = f"--name={name}", f"--role={role}", registry
        self.nodes[name] = self._make_node(*who, *options, *more, name=name, kind=NewsProcess, listen=None)

    def _listen(self, name: str) -> str:
        (self.ports[name],) = self._fresh(1)
        return f"--listen=tcp:{self.ports[name]}:interface={HOST}"

    @staticmethod
    def _peer(port: int) -> str:
        return f"--peer-listen=tcp:{port}:interface={HOST}"

    def _fresh(self, count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            found += [port for port in lasting_ports(count - len(found)) if port not in self._taken]
            self._taken.update(found)
        return found

    def _write_sources(self, priorities: Mapping[str, int]) -> None:
        secret = secret_of(PASSWORD, bytes(16), CHEAP_COST_LOG2)
        tables = [f'[sources.{name}]\nsecret = "{secret}"\npriority = {each}\n' for name, each in priorities.items()]
        self._sources.write_text("\n".join(tables))

    # Life

    async def start(self) -> "NewsDeployment":
        """Start all of it; return when every node is registered and serves."""
        self.registry.launch()
        for node in self.nodes.values():
            node.launch()
        self.client = RegistryClient(HostnameEndpoint(reactor, HOST, self._registry_port), reactor, who="test")
        self.client.startService()
        await self.until_serving(*self.nodes)
        return self

    async def end(self) -> None:
        """Let go of the registry."""
        client, self.client = self.client, None
        if client is not None:
            await client.stopService()

    def whole_log(self) -> str:
        """Return what all nodes have said, in all their lives."""
        return "\n".join(node.whole_log() for node in self.nodes.values())

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
