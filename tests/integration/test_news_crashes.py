"""Nodes of the news that are killed, or whose disk is full, while items flow: nothing is lost, nothing comes twice."""

import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from chatproto.news.items import BODY_BYTES_MAX
from chatproto.news.source import NewsSource
from chatproto.news.terms import PULL, PUSH, Terms
from chatproto.news.tree.outlet import WINDOW_BYTES_MAX
from chatproto.news.tree.records import PIECE_BYTES
from tests.integration.news import PASSWORD, NewsDeployment, Subscriber
from tests.integration.nodes import Node, environment, stop_process
from tests.integration.pairs import CHATPROTO, HOST, Forwarder, moment

LIFE_S = 600
MIB = 1024 * 1024
AGAIN_BYTES_MAX = 2 * WINDOW_BYTES_MAX + 16 * 1024
"""What a link may carry beside what was missing: hellos, headers of items and chunks, beats; and whatever was on its
way each time it was given up, as on a machine that has too much to do."""
MakeNode = Callable[..., Node]


@asynccontextmanager
async def deployed(
    folder: Path, make_node: MakeNode, *roles: str, options: Mapping[str, Iterable[str]] | None = None
) -> AsyncIterator[NewsDeployment]:
    deployment = NewsDeployment(folder, make_node, roles, options=options)
    try:
        yield deployment
    finally:
        await deployment.end()


def publish(source: NewsSource, title: str, body: bytes, id: str | None = None) -> "Deferred[int]":
    return source.publish("politics", title, body, expires=time.time() + LIFE_S, id=id)


class Agency:
    """Publishes small items, one after the other, and large ones in a burst; keeps them."""

    EVERY_S = 0.05
    ITEMS_MAX = 1000
    BURST = 20

    def __init__(self, source: NewsSource, seed: int) -> None:
        self.bodies: dict[str, bytes] = {}
        self._source = source
        self._dice = random.Random(seed)
        self._going = True
        self._run = Deferred.fromCoroutine(self._publish())

    async def _publish(self) -> None:
        while self._going and len(self.bodies) < self.ITEMS_MAX:
            await self._publish_one(self._dice.choice((10, 1000, 20_000)))
            await moment(self.EVERY_S)

    def _publish_one(self, size: int) -> "Deferred[int]":
        title = f"item {len(self.bodies) + 1}"
        body = self.bodies[title] = self._dice.randbytes(size)
        return publish(self._source, title, body)

    async def burst(self) -> set[str]:
        """Publish many at once; return their titles when all are accepted."""
        there = set(self.bodies)
        accepted = [self._publish_one(40_000) for _ in range(self.BURST)]
        titles = set(self.bodies) - there
        await gatherResults(accepted)
        return titles

    async def finish(self) -> None:
        """Publish no more; return when all of it is accepted."""
        self._going = False
        await self._run


@pytest_twisted.ensureDeferred
async def test_a_delivery_node_is_killed_while_items_flow(tmp_path: Path, make_node: MakeNode) -> None:
    """Readers that are pushed to, and readers that pull, go on at the substitute and go home: all, and each once."""
    options = {"contracts": ("--maximum-max=3600",), "east": ("--send-rate=1000000",), "west": ("--send-rate=1000000",)}
    async with deployed(tmp_path, make_node, "root", "router", "delivery", "contracts", options=options) as news:
        await news.start()
        readers: list[Subscriber] = []
        for name, mode in (("anna", PUSH), ("bert", PUSH), ("cleo", PULL), ("dora", PULL)):
            readers.append(news.subscriber(name))
            await readers[-1].subscribe(mode=mode, maximum=3600)
        home = readers[0].place.node
        abroad = readers[0].place.substitute
        moving = [reader for reader in readers if reader.place.node == home]
        assert {reader.place.terms.mode for reader in moving} == {PUSH, PULL}, "one of each is there"
        agency = Agency(news.source(), 1)
        burst = await agency.burst()
        await news.until(
            lambda: all(0 < len(burst.intersection(reader.got)) < len(burst) for reader in moving),
            "some have come, and some are on their way",
        )

        news.nodes[home].kill()
        counts = [len(reader.got) for reader in moving]
        await news.until(lambda: {reader.reader.node for reader in moving} == {abroad}, "the substitute delivers")
        assert all(reader.reader.temporary for reader in moving)
        await news.until(
            lambda: all(len(reader.got) > count + 5 for reader, count in zip(moving, counts, strict=True)),
            "items flow there",
        )

        news.nodes[home].launch()
        await news.until(lambda: {reader.reader.node for reader in moving} == {home}, "all are at home again")
        counts = [len(reader.got) for reader in moving]
        await news.until(
            lambda: all(len(reader.got) > count for reader, count in zip(moving, counts, strict=True)),
            "items flow at home",
        )
        await agency.finish()
        await news.until(lambda: all(len(reader.got) >= len(agency.bodies) for reader in readers), "all have all")
        for reader in readers:
            assert sorted(reader.got) == sorted(agency.bodies), f"{reader.name} has each once"
            assert reader.bodies == agency.bodies


@pytest_twisted.ensureDeferred
async def test_a_router_is_killed_in_the_middle_of_an_item(tmp_path: Path, make_node: MakeNode) -> None:
    """What is on its disk, and on that of its child, is not sent again; nor is it lost if the root is killed next."""
    async with deployed(tmp_path, make_node, "root", "router", "delivery") as news:
        root, router, east = (news.nodes[name] for name in ("root", "router", "east"))
        above, below = Forwarder(news.root_peer), Forwarder(news.router_peer)
        for line, child in ((above, router), (below, east)):
            await line.open()
            child.options.append(f"--parent=tcp:{HOST}:{line.port}")
        try:
            await news.start()
            source = news.source()
            small = await publish(source, "small", b"small")
            await news.until(lambda: east.whole() == {small} and not router.pieces(), "the first item is at all leaves")

            start = above.carried["out"]
            above.hold_after("out", MIB)
            publishing = publish(source, "large", os.urandom(BODY_BYTES_MAX))

            def all_is_kept() -> bool:
                carried = above.carried["out"] - start
                # What was carried last may be a part of a chunk.
                return carried >= MIB and east.pieces() - 1 == router.pieces() >= carried // PIECE_BYTES - 1

            await news.until(all_is_kept, "half of it is there")
            router.kill()
            large = await publishing
            # The delivery node has the one of the first item, too.
            here = {above: router.pieces(), below: east.pieces() - 1}
            assert max(here.values()) < BODY_BYTES_MAX // PIECE_BYTES - 32, "it was in the middle"
            before = {line: line.carried["out"] for line in here}
            above.release()
            router.launch()
            await news.until(lambda: east.whole() == {small, large}, "all of it is there")
            for line, pieces in here.items():
                again = line.carried["out"] - before[line] - (BODY_BYTES_MAX - pieces * PIECE_BYTES)
                assert again < AGAIN_BYTES_MAX, f"{again} bytes came again"

            # As soon as an item is accepted it is safe, though nobody else has it.
            above.hold("in", "out")
            accepted: list[int] = []

            def kill(number: int) -> None:
                accepted.append(number)
                root.kill()

            publish(source, "next", os.urandom(100_000), id="next").addCallback(kill)
            await news.until(lambda: accepted, "it is accepted")
            assert router.whole() == {small, large}
            root.launch()
            above.release()
            await news.until(lambda: east.whole() == {small, large, *accepted}, "it has come, all the same")
            (kept,) = accepted
            assert await publish(source, "more", b"", id="other") > kept
        finally:
            above.close()
            below.close()


@pytest_twisted.ensureDeferred
async def test_full_disks(tmp_path: Path, make_node: MakeNode) -> None:
    """A node whose disk is full ends, and says why; nothing that was accepted is lost, and what waited goes on."""
    limits = {"root": 4 * MIB, "east": 100 * MIB}

    def make(*options: str, name: str, **how: Any) -> Node:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limits[name], limits[name]))

        return make_node(*options, name=name, prepare=limit if name in limits else None, **how)

    async with deployed(tmp_path, make, "root", "delivery") as news:
        await news.start()
        root, east, west = (news.nodes[name] for name in ("root", "east", "west"))
        source = news.source()
        bodies = {f"item {number}": random.Random(number).randbytes(MIB) for number in range(1, 9)}

        def waiting(titles: Iterable[str]) -> dict[str, "Deferred[int]"]:
            return {title: publish(source, title, bodies[title]) for title in titles}

        # The delivery nodes are away, so that the root holds all of it.
        for node in (east, west):
            node.kill()
        root.may_end()
        publishing = waiting(list(bodies)[:6])
        await news.until(lambda: not root.alive(), "the root's disk is full")
        assert root.wait() == 1
        assert "cannot write" in root.log() and "#critical]" in root.log()
        accepted = sum(waits.called for waits in publishing.values())
        assert 0 < accepted < len(publishing)
        limits["root"] = 100 * MIB
        root.launch()
        numbers = {title: await waits for title, waits in publishing.items()}
        assert len(set(numbers.values())) == len(numbers) == len(root.whole())

        east.launch()
        west.launch()
        await news.until(lambda: east.whole() >= set(numbers.values()), "they are at the delivery node")
        east.ask_to_end()
        await news.until(lambda: not east.alive(), "the delivery node has ended")
        # Of each file that it writes; what it has written until now is in the one that it reads.
        limits["east"] = MIB
        east.launch()
        numbers |= {title: await waits for title, waits in waiting(list(bodies)[6:]).items()}
        await news.until(lambda: not east.alive(), "the disk of the delivery node is full")
        assert east.wait() == 1
        assert "cannot write" in east.log() and "#critical]" in east.log()
        limits["east"] = 100 * MIB
        east.launch()
        for node in (east, west):
            await news.until(lambda node=node: node.whole() == set(numbers.values()), f"all is at {node.name}")
            assert sorted(record.item.title for record in node.items().values()) == sorted(bodies)


VICTIMS = ("router", "east", "root", "contracts", "west", "router", "east")


@pytest_twisted.ensureDeferred
async def test_a_storm(tmp_path: Path, make_node: MakeNode) -> None:
    """Whatever is killed, two of them at a time for a while: every reader has every item, and each once."""
    dice = random.Random(1)
    options = {"contracts": ("--maximum-max=3600",)}
    async with deployed(tmp_path, make_node, "root", "router", "delivery", "contracts", options=options) as news:
        await news.start()
        readers: list[Subscriber] = []
        for name, mode in (("anna", PUSH), ("bert", PULL), ("cleo", PULL), ("dora", PUSH)):
            readers.append(news.subscriber(name))
            await readers[-1].subscribe(mode=mode, maximum=3600)
        agency = Agency(news.source(), 2)
        down: list[str] = []
        for victim in VICTIMS:
            await agency.burst() if "root" not in down else None
            await moment(dice.uniform(0.0, 0.3))
            if victim not in down:
                news.nodes[victim].kill()
                down.append(victim)
            if len(down) == 2:
                news.nodes[down.pop(0)].launch()
        for victim in down:
            news.nodes[victim].launch()
        await agency.finish()
        await news.until(lambda: all(len(reader.got) >= len(agency.bodies) for reader in readers), "all have all")
        for reader in readers:
            assert sorted(reader.got) == sorted(agency.bodies), f"{reader.name} has each once"
            assert reader.bodies == agency.bodies
        await news.until(
            lambda: all(reader.reader.node == reader.place.node for reader in readers), "all are at home again"
        )


@pytest_twisted.ensureDeferred
async def test_the_command_reads_on_at_the_substitute(tmp_path: Path, make_node: MakeNode) -> None:
    """`chatproto news read` shows each item once, whichever node delivers, and ends when it has what it was to read."""
    async with deployed(tmp_path, make_node, "root", "delivery", "contracts") as news:
        await news.start()
        source, client = news.source(), news.subscriber("anna").client
        proposing: Deferred[Any] = client.propose(Terms(("politics",), paid=True, maximum=50, delay_s_max=200.0))
        home = news.nodes[(await proposing).node]
        out = tmp_path / "out"

        reading = [sys.executable, "-c", CHATPROTO, "news", "read", "--reader=anna", "--json", "--password-stdin"]
        process = subprocess.Popen(
            [*reading, "--count=3", f"--registry={HOST}:{news.registry_port}"],
            stdin=subprocess.PIPE,
            stdout=out.open("wb"),
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        try:
            assert process.stdin is not None
            process.stdin.write(PASSWORD.encode())
            process.stdin.close()
            await publish(source, "at home", b"1")
            await news.until(lambda: "at home" in out.read_text(), "it is shown")
            home.kill()
            await publish(source, "abroad", b"2")
            await news.until(lambda: "abroad" in out.read_text(), "it is shown, too")
            home.launch()
            await publish(source, "in the end", b"3")
            await news.until(lambda: process.poll() is not None, "all was read")
        finally:
            stop_process(process)
        said = out.read_text().splitlines()
        assert process.returncode == 0, said
        items = [json.loads(line)["title"] for line in said if line.startswith("{")]
        assert items == ["at home", "abroad", "in the end"]
