"""Placing readers with real processes, delivery nodes and the contracting service killed meanwhile: all or nothing."""

import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint

from chatproto.client import RegistryEndpoint
from chatproto.errors import ContractRefused, RegistryError
from chatproto.keyvalue.sqlite import TABLE
from chatproto.news.contracting.client import ContractClient
from chatproto.news.delivery.table import PLACEMENT
from chatproto.news.placing.participant import PREFIX, TERM
from chatproto.news.terms import Place, Placement, Terms
from chatproto.registry import RegistryClient
from chatproto.services.news.contracts import KIND
from chatproto.wire import host_and_port
from tests.integration.news import SERVICE, NewsDeployment
from tests.integration.nodes import Node
from tests.integration.pairs import HOST, moment, reactor

READERS = 6
PAID = Terms(("politics", "sport"), paid=True, maximum=50)
FREE = Terms(("finance",), mode="pull")
VICTIMS = ("east", "contracts", "west", "contracts", "east")


@asynccontextmanager
async def deployed(folder: Path, make_node: Callable[..., Node]) -> AsyncIterator[NewsDeployment]:
    deployment = NewsDeployment(folder, make_node, ("delivery", "contracts"))
    deployment.registry.launch()
    for node in deployment.nodes.values():
        node.launch()
    deployment.client = RegistryClient(HostnameEndpoint(reactor, HOST, deployment.registry_port), reactor, who="test")
    deployment.client.startService()
    await until_registered(deployment)
    try:
        yield deployment
    finally:
        await deployment.end()


async def until_registered(deployment: NewsDeployment) -> None:
    """Wait until every node is, whether it gets any news or not."""

    async def are_registered() -> bool:
        with suppress(RegistryError):
            return set(await deployment.registered()) == set(deployment.nodes)
        return False

    await deployment.until(are_registered, "all are registered")


class Reader:
    """Changes its contract again and again, and keeps what it was told last."""

    def __init__(self, deployment: NewsDeployment, name: str, dice: random.Random) -> None:
        registry = TCP4ClientEndpoint(reactor, HOST, deployment.registry_port)
        endpoint = RegistryEndpoint(
            registry, reactor, self.connector, service=SERVICE, kind=KIND, dice=random.Random(name)
        )
        self.name = name
        self.client = ContractClient(endpoint, reactor, name, "a password", opens=True, heartbeat_s=0.3, suspect_s=2.0)
        self.place: Place | None = None
        self.changes = 0
        self.ends = False
        self.dice = dice

    @staticmethod
    def connector(address: str) -> Any:
        host, port = host_and_port(address) or ("", 0)
        return HostnameEndpoint(reactor, host, port)

    async def run(self) -> None:
        self.client.startService()
        while not self.ends:
            try:
                if self.dice.random() < 0.15:
                    await self.client.cancel()
                    self.place = None
                else:
                    place = await self.client.propose(self.dice.choice((PAID, FREE)))
                    assert isinstance(place, Place), place
                    self.place = place
                self.changes += 1
            except ContractRefused as error:
                # A node that it takes is away: what held before holds.
                assert error.code in ("unavailable", "no-room", "not-serving"), error
            await moment(0.02)
        self.client.stopService()


def kept(node: Node, prefix: bytes) -> dict[bytes, bytes]:
    """Return what the disk of a node has now under keys that begin so."""
    with closing(sqlite3.connect(f"file:{TABLE.path_in(str(node.data))}?mode=ro", uri=True, timeout=30)) as database:
        rows = database.execute("SELECT key, value FROM held").fetchall()
    return {key: value for key, value in rows if key.startswith(prefix)}


def placed(node: Node) -> dict[str, tuple[Terms, int]]:
    """Return what a delivery node has agreed on, by reader."""
    rows = [msgspec.msgpack.decode(row, type=Placement) for row in kept(node, PLACEMENT).values()]
    return {row.reader: (row.terms, row.version) for row in rows}


@pytest_twisted.ensureDeferred
async def test_kills(tmp_path: Path, make_node: Callable[..., Node]) -> None:
    """Readers change their contracts while nodes are killed; in the end nodes have what readers were told, no more."""
    dice = random.Random(1)
    async with deployed(tmp_path, make_node) as deployment:
        readers = [Reader(deployment, f"reader-{number}", dice) for number in range(READERS)]
        runs: list[Deferred[None]] = [ensureDeferred(reader.run()) for reader in readers]
        await deployment.until(lambda: all(reader.changes for reader in readers), "every reader has a contract")
        for victim in VICTIMS:
            before = [reader.changes for reader in readers]
            await moment(dice.uniform(0.1, 0.3))
            deployment.nodes[victim].kill()
            await moment(dice.uniform(0.0, 0.5))
            deployment.nodes[victim].launch()
            await deployment.until(
                lambda before=before: all(
                    reader.changes > count for reader, count in zip(readers, before, strict=True)
                ),
                f"contracts are changed again, after {victim} was killed",
            )
        for reader in readers:
            reader.ends = True
        for run in runs:
            await run

        for name in ("east", "west"):
            node = deployment.nodes[name]
            expected = {
                reader.name: (reader.place.terms, reader.place.version)
                for reader in readers
                if reader.place is not None and reader.place.node == name
            }
            await deployment.until(
                lambda node=node, expected=expected: placed(node) == expected and kept(node, PREFIX).keys() <= {TERM},
                f"{name} has what readers were told, and nothing else",
            )


@pytest_twisted.ensureDeferred
async def test_a_substitute(tmp_path: Path, make_node: Callable[..., Node]) -> None:
    """A paid reader whose node is killed is placed at its substitute, and goes home when the node is back."""
    async with deployed(tmp_path, make_node) as deployment:
        client = Reader(deployment, "ada", random.Random(1)).client
        client.startService()
        place = await client.propose(PAID)
        assert isinstance(place, Place)
        home, away = deployment.nodes[place.node], deployment.nodes[place.substitute]
        home.kill()

        async def is_stood_in_for() -> bool:
            try:
                return bool(await client.substitute() == place.substitute)
            except ContractRefused as error:
                assert error.code == "not-needed", error
                return False

        await deployment.until(is_stood_in_for, "another node stands in")
        # It is decided when that is answered, and done a moment later.
        await deployment.until(lambda: placed(away), "the reader is placed there")
        (row,) = kept(away, PLACEMENT).values()
        guest = msgspec.msgpack.decode(row, type=Placement)
        assert (guest.reader, guest.terms, guest.home) == ("ada", PAID, place.node)
        home.launch()
        await deployment.until(lambda: not placed(away), "the reader has gone home")
        assert placed(home) == {"ada": (PAID, place.version)}
        client.stopService()
