"""`chatproto demo news`: a small world of news on this machine, until Ctrl-C.

A registry, a root, a router, two delivery nodes that stand in for each other, the contracts with a slave, and a proxy
with its page; agencies that publish what is invented; and one paid reader that counts whether it misses anything.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import deferLater

from chatproto.cli.deployment import (
    HOST,
    NEWS,
    DemoFailed,
    Deployment,
    Say,
    check_free,
    deployment,
    dialling,
    listening,
)
from chatproto.cli.news.contracting import CONTRACTS
from chatproto.cli.news.invented import AGENCIES, inventions
from chatproto.cli.news.publishing import ROOT, source_line
from chatproto.cli.news.reaching import Reach, on_reactor
from chatproto.cli.news.status import asking
from chatproto.errors import ClientError, ContractError, RegistryError
from chatproto.news.contracting.client import ContractClient
from chatproto.news.items import TOPICS, Item
from chatproto.news.reader import NewsReader, registered
from chatproto.news.source import NewsSource
from chatproto.news.terms import DELAY_S_MAX, PULL, Place, Terms
from chatproto.registry import RegistryClient

START_S_MAX = 30.0
LOOK_EVERY_S = 0.2
PACE_S = 4.0
PASSWORD = "invented"
DESK, PAID, FREE, MOBILE = "desk", "pat", "fay", "mo"
READERS = {
    PAID: Terms(TOPICS, paid=True, exclusives=True, delay_s_max=DELAY_S_MAX),
    FREE: Terms(TOPICS),
    MOBILE: Terms(TOPICS, mode=PULL, mobile=True),
    DESK: Terms(TOPICS, paid=True, exclusives=True, delay_s_max=DELAY_S_MAX),
}
"""Who has which contract; the last of them is this program."""
GUEST = "you"
"""A source that leaves publishing to whoever looks on."""
USES = (
    *("registry", "root", "root peer", "router peer", "east", "east peer", "west", "west peer"),
    *("contracts", "contracts peer", "contracts pair", "deputy", "deputy peer", "deputy pair", "page"),
)
NODES = ("registry", "root", "router", "east", "west", "contracts", "deputy", "proxy")
SERVING = frozenset(NODES) - {"registry", "deputy"}
"""Those that are registered when all is well; the deputy is when it serves."""


class NewsDemoOptions(msgspec.Struct, frozen=True):
    """What can be set of a demonstration.

    Attributes:
        directory: where data and logs are kept; None for a temporary place that goes with it.
        port: of the registry; the ones after it are used too.
        pace_s: seconds between two items.
        for_s: when to end; None for Ctrl-C alone.
    """

    directory: str | None
    port: int
    pace_s: float = PACE_S
    for_s: float | None = None


def news_demo(options: NewsDemoOptions, say: Say) -> None:
    """Run the deployment until interrupted; `say` is called with what to tell.

    Raises:
        DemoFailed: it could not be started.
    """
    with deployment(options.directory, say) as running:
        names = [*USES, *(f"{name} metrics" for name in NODES)]
        ports = dict(zip(names, range(options.port, options.port + len(names)), strict=True))
        check_free(ports.values())
        check_free((ports["east"], ports["west"]), socket.SOCK_DGRAM)
        start(running, ports)
        on_reactor(lambda reactor: World(reactor, options, running, ports, say).show())


def start(running: Deployment, ports: dict[str, int]) -> None:
    """Start all nodes, in any order."""
    known = os.path.join(running.directory, "sources.toml")
    with open(known, "w", encoding="utf-8") as file:
        for name, priority in {**AGENCIES, GUEST: 5}.items():
            file.write(f"{source_line(name, PASSWORD, priority)}\n")

    def node(name: str, role: str, *options: str) -> None:
        at = f"--registry={dialling(ports['registry'])}"
        who = f"--role={role}", f"--name={name}", at
        running.start(name, *who, *options, daemon=NEWS, metrics=ports[f"{name} metrics"])

    def here(name: str) -> tuple[str, str]:
        return f"--listen={listening(ports[name])}", f"--peer-listen={listening(ports[f'{name} peer'])}"

    at = f"--registry-listen={listening(ports['registry'])}"
    running.start("registry", "--role=registry", at, metrics=ports["registry metrics"])
    node("root", "root", f"--sources={known}", *here("root"))
    above = f"--parent={dialling(ports['root peer'])}"
    node("router", "router", above, f"--peer-listen={listening(ports['router peer'])}")
    above = f"--parent={dialling(ports['router peer'])}"
    for name, other, readers_max in (("east", "west", 20000), ("west", "east", 10000)):
        # Readers are placed where there is more room: in the east, from where the proxy reads.
        more = f"--substitute={other}", f"--readers-max={readers_max}", f"--datagrams={HOST}:{ports[name]}"
        node(name, "delivery", above, *here(name), *more)
    parts = (("contracts", "deputy", ()), ("deputy", "contracts", ("--stands-in-for=contracts",)))
    for name, other, stands_in in parts:
        pair = f"--peer={dialling(ports[f'{other} pair'])}", f"--pair-listen={listening(ports[f'{name} pair'])}"
        node(name, "contracts", *here(name), *pair, "--maximum-max=3600", *stands_in)
    node("proxy", "proxy", "--delivery=east", f"--web={listening(ports['page'])}")


class World:
    """The agencies and the readers of a deployment that was started; and what becomes of it."""

    def __init__(
        self, reactor: Any, options: NewsDemoOptions, running: Deployment, ports: dict[str, int], say: Say
    ) -> None:
        """Make one that nobody is in yet."""
        self._reactor = reactor
        self._options = options
        self._running = running
        self._ports = ports
        self._say = say
        self._reach = Reach(registry=f"{HOST}:{ports['registry']}", timeout_s=2.0)
        self._registry = RegistryClient(self._reach.registry_endpoint(reactor), reactor, who="the demonstration")
        self._published = self._twice = 0
        self._got: set[int] = set()
        self._ending: list[Callable[[], Any]] = []

    async def show(self) -> None:
        """Have all of them do what they do, and tell of it, until the end.

        Raises:
            DemoFailed: the deployment does not start.
        """
        # Twisted hears of the other endings.
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._reactor.stop))
        self._begin(self._registry)
        try:
            await self._until_all_serve()
            desk = await self._agree()
            publishing = Deferred.fromCoroutine(self._publish())
            publishing.addErrback(lambda failure: failure.trap(CancelledError, ClientError))
            self._ending.append(publishing.cancel)
            self._tell()
            await self._watch(desk)
        finally:
            while self._ending:
                await maybeDeferred(self._ending.pop())

    def _begin(self, service: Any) -> None:
        service.startService()
        self._ending.append(service.stopService)

    async def _until_all_serve(self) -> None:
        end = self._reactor.seconds() + START_S_MAX
        while missing := SERVING - await self._serving():
            self._running.check()
            if self._reactor.seconds() > end:
                names, where = ", ".join(sorted(missing)), self._running.directory
                raise DemoFailed(f"after {START_S_MAX:g} s these do not serve: {names}; see the logs in {where}")
            await deferLater(self._reactor, LOOK_EVERY_S)

    async def _serving(self) -> set[str]:
        """Return the names of those that say that they serve."""
        try:
            return {found.registration.name for found in await asking(self._registry, self._reach) if found.serves}
        except RegistryError:
            return set()

    # Who reads, and who publishes

    async def _agree(self) -> NewsReader:
        """Make the contracts; return the reader that is told of everything."""
        for name, terms in READERS.items():
            endpoint = self._reach.endpoint(self._reactor, CONTRACTS)
            client = ContractClient(endpoint, self._reactor, name, PASSWORD, opens=True)
            self._begin(client)
            try:
                proposing: Deferred[Any] = client.propose(terms)
                place = await proposing.addTimeout(START_S_MAX, self._reactor)
            except (ContractError, TookTooLong) as error:
                raise DemoFailed(f"{name} gets no contract: {error}") from None
            if not isinstance(place, Place):
                raise DemoFailed(f"{name} is offered another contract than it wants")
        desk = NewsReader(
            place,
            registered(self._registry, partial(clientFromString, self._reactor), self._reach.service),
            self._delivered,
            self._reactor,
            time.time,
            substitute=client.substitute,
        )
        self._begin(desk)
        return desk

    def _delivered(self, item: Item, body: bytes) -> None:
        self._twice += item.number in self._got
        self._got.add(item.number)

    async def _publish(self) -> None:
        sources: dict[str, NewsSource] = {}
        for name in AGENCIES:
            endpoint = self._reach.endpoint(self._reactor, ROOT)
            sources[name] = NewsSource(endpoint, self._reactor, name, PASSWORD, now=time.time)
            self._begin(sources[name])
        for each in inventions():
            publishing: Deferred[int] = sources[each.source].publish(
                each.topic,
                each.title,
                each.body,
                expires=time.time() + each.life_s,
                media_type=each.media_type,
                exclusive=each.exclusive,
            )
            await publishing
            self._published += 1
            await deferLater(self._reactor, self._options.pace_s)

    # What is told

    def _tell(self) -> None:
        at = f"--registry={self._reach.registry}"
        pid = {name: child.process.pid for name, child in self._running.children.items()}
        told = (
            ("read", f"echo {PASSWORD} | chatproto news read --reader={PAID} --password-stdin {at}"),
            ("free", f"echo {PASSWORD} | chatproto news read --reader={FREE} --password-stdin {at}"),
            ("page", f"http://{HOST}:{self._ports['page']}/     (log in as {MOBILE}, with the password {PASSWORD})"),
            ("agree", f"chatproto news contract --reader=NAME --new {at}"),
            (
                "publish",
                f"printf '{PASSWORD}\\nIt rains upwards.' | chatproto news publish - --source={GUEST} "
                f"--topic=chronicle --title=Rain --password-stdin {at}",
            ),
            ("look", f"chatproto news status {at}"),
            ("metrics", self._running.metrics),
            (
                "kill",
                f"kill -9 {pid['east']}     (east: west stands in for paid readers, who miss nothing; others wait)",
            ),
            ("kill", f"kill -9 {pid['contracts']}     (contracts: the deputy takes over; deliveries do not notice)"),
            ("kill", f"kill -9 {pid['router']}     (router: nothing new, until it is started again; then all of it)"),
            ("end", "Ctrl-C"),
        )
        names = ", ".join(AGENCIES)
        self._say(f"A small world of news runs on this machine; data and logs are in {self._running.directory}.")
        self._say(f"{names} publish something every {self._options.pace_s:g} s; {DESK}, a paid reader, counts it.")
        for what, how in told:
            self._say(f"  {what + ':':<9}{how}")

    async def _watch(self, desk: NewsReader) -> None:
        began, home, node, serving = self._reactor.seconds(), desk.place.node, "", set(SERVING)
        gone: set[str] = set()
        try:
            while self._options.for_s is None or self._reactor.seconds() - began < self._options.for_s:
                gone.update(self._running.look())
                if desk.node not in ("", node):
                    stands_in = f", which stands in for {home}" if desk.node != home else ""
                    self._say(f"{desk.node} delivers to {DESK} now{stands_in}.")
                    node = desk.node
                now = await self._serving()
                for name in sorted(now - serving):
                    self._say(f"{name} serves now.")
                for name in sorted(serving - now - gone):
                    self._say(f"{name} does not serve now.")
                gone -= now - serving
                serving = now
                await deferLater(self._reactor, LOOK_EVERY_S)
        finally:
            self._say(
                f"{self._published} items were published; {DESK} has {len(self._got)}, and {self._twice} came twice."
            )
