"""A delivery node as a process that is to send twice what its line takes, and what its operator is told of it."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.threads import deferToThread

from chatproto.chat.passwords import token_hash
from chatproto.keyvalue.sqlite import SQLiteTable
from chatproto.news.datagrams.reader import DatagramReader
from chatproto.news.delivery.table import Table
from chatproto.news.items import TOPICS, Item
from chatproto.news.placing.actions import Place as PlaceReader
from chatproto.news.reader import NewsReader
from chatproto.news.terms import Place, Placement, Terms
from tests.integration.news import HOST, NewsDeployment
from tests.integration.nodes import WAIT_S_MAX, Node

reactor: Any = installed

BYTES_A_SECOND = 300_000
PAID, FREE = 4, 12
HURRIED, DELAY_S_MAX = "paid0", 5.0
# To paid readers alone it takes longer than nine tenths of that delay, if they are sent to in turn.
LARGE = b"x" * 380_000


class Readers:
    """Readers of a node, who are on its disk before it is started, and what came to them."""

    def __init__(self) -> None:
        self.came: dict[str, list[tuple[float, Item]]] = {}
        self.places = [self._place(f"paid{at}") for at in range(PAID)] + [
            self._place(f"free{at}") for at in range(FREE)
        ]
        self._readers: list[Any] = []

    def _place(self, name: str) -> Place:
        self.came[name] = []
        terms = Terms(("politics",))
        if name.startswith("paid"):
            delay_s = DELAY_S_MAX if name == HURRIED else 60.0
            terms = Terms(("politics",), paid=True, minimum=1, maximum=2, delay_s_max=delay_s)
        return Place(name, terms, "east", "", f"the ticket of {name}")

    async def write(self, directory: str) -> None:
        """Have them on a disk."""
        failed: Deferred[None] = Deferred()
        store = SQLiteTable(directory, failed.errback, reactor)
        table = Table(frozenset(TOPICS))
        for place in self.places:
            action = PlaceReader(Placement(place.reader, place.terms, token_hash(place.ticket)))
            assert not table.refusal(action)
            store.write(table.changes(action), lambda: None)
        await store.close()

    def start(self, port: int) -> None:
        """Have them come."""
        endpoint = HostnameEndpoint(reactor, HOST, port)
        for place in self.places:
            delivered = self._delivered(place.reader)
            if place.terms.paid:
                reader: Any = NewsReader(place, lambda node: endpoint, delivered, reactor, time.time)
            else:
                find = lambda node: succeed((HOST, port))  # noqa: E731
                reader = DatagramReader(place, find, delivered, reactor, time.time, reactor.listenUDP)
            reader.startService()
            self._readers.append(reader)

    def _delivered(self, name: str) -> Callable[[Item, bytes], None]:
        return lambda item, body: self.came[name].append((time.time(), item))

    async def end(self) -> None:
        """Have them leave."""
        await gatherResults([maybeDeferred(reader.stopService) for reader in self._readers])

    def when(self, title: str, kind: str) -> list[float]:
        """Return when an item came to the readers of a kind."""
        return sorted(
            at for name, came in self.came.items() if name.startswith(kind) for at, item in came if item.title == title
        )


@pytest_twisted.async_yield_fixture
async def overloaded(make_node: Callable[..., Node], tmp_path: Path) -> AsyncIterator[tuple[NewsDeployment, Readers]]:
    options = {"east": [f"--send-rate={BYTES_A_SECOND}"]}
    deployment = NewsDeployment(tmp_path, make_node, ("root", "delivery"), options=options)
    readers = Readers()
    await readers.write(str(deployment.nodes["east"].data))
    try:
        await deployment.start()
        readers.start(deployment.ports["east"])
        yield deployment, readers
    finally:
        await readers.end()
        await deployment.end()


async def told(deployment: NewsDeployment, *options: str) -> dict[str, Any]:
    """Return what `chatproto news status` says of the node that has too much to send."""
    command = [
        str(Path(sys.executable).parent / "chatproto"),
        "news",
        "status",
        f"--registry={HOST}:{deployment.registry_port}",
    ]

    def run() -> str:
        ran = subprocess.run([*command, *options, "--json"], capture_output=True, timeout=WAIT_S_MAX, check=True)
        return ran.stdout.decode()

    (node,) = json.loads(await deferToThread(run))["nodes"]
    return dict(node)


@pytest_twisted.ensureDeferred
async def test_what_is_promised_holds_and_free_readers_wait_their_turn(
    overloaded: tuple[NewsDeployment, Readers],
) -> None:
    deployment, readers = overloaded
    source = deployment.source()

    def publish(title: str, body: bytes, life_s: float) -> "Deferred[int]":
        return source.publish("politics", title, body, expires=time.time() + life_s)

    async def figures() -> dict[str, float]:
        status = await deployment.status("east")
        assert status is not None
        return status.figures

    async def suspended() -> bool:
        return bool((await figures())["chatproto_news_suspended"])

    async def resumed() -> bool:
        return not await suspended()

    async def all_here() -> bool:
        found = await deployment.measured("east")
        here = "chatproto_news_readers_here"
        return (found[here, "paid"], found[here, "free"]) == (PAID, FREE)

    await deployment.until(all_here, "all readers are there")
    await publish("first", b"x", 600)
    await deployment.until(lambda: len(readers.when("first", "")) == PAID + FREE, "all have the first")
    await publish("large", LARGE, 600)
    await publish("short-lived", b"x", 3)
    await deployment.until(suspended, "free deliveries are suspended")
    assert readers.when("large", "free") == []
    await deployment.until(lambda: len(readers.when("large", "paid")) == PAID, "all who pay have the large one")
    await deployment.until(resumed, "free deliveries are resumed")
    await deployment.until(lambda: readers.when("large", "free"), "the large one comes to free readers, too")
    assert readers.when("large", "free")[0] > readers.when("large", "paid")[-1]
    assert (await figures())["chatproto_news_suspensions_total"] == 1
    assert readers.when("short-lived", "") == [], "what has expired is delivered to nobody"
    # What an operator sees of it.
    asking = [Deferred.fromCoroutine(told(deployment, f"--{what}=east")) for what in ("contracts", "undelivered")]
    records, undelivered = await gatherResults(asking)
    contracts = records["contracts"]
    assert [contract["reader"] for contract in contracts] == [f"paid{at}" for at in range(PAID)]
    for contract in contracts:
        made: Counter[str] = Counter()
        for hour in contract["hours"]:
            made.update({count: hour[count] for count in ("delivered", "late", "held")})
        assert (made["delivered"], made["late"]) == (2, 0), contract
        assert made["held"] >= 1, "the maximum holds"
        assert {hour["verdict"] for hour in contract["hours"]} == {"met"}, contract
    (missed,) = undelivered["undelivered"]
    assert (missed["title"], missed["why"], missed["readers"]) == ("short-lived", "maximum", PAID)
    assert (await deployment.measured("east"))["chatproto_news_undelivered_total", "maximum"] == PAID
