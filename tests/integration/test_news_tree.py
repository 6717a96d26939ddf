"""The distribution tree as real processes, which are killed in the middle of pictures."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater

from chatproto import NewsSource
from chatproto.errors import Rejected
from chatproto.news.items import BODY_BYTES_MAX
from tests.integration.news import HERE, NewsProcess, write_sources
from tests.integration.nodes import WAIT_S_MAX, Node, free_port
from tests.integration.pairs import run_chatproto

reactor: Any = installed


async def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < end, f"not within {WAIT_S_MAX} s: {what}"
        await deferLater(reactor, 0.01)


async def chatproto(*arguments: str) -> tuple[int, str, str]:
    done = await run_chatproto(*arguments)
    return done.returncode, done.stdout, done.stderr


class Tree:
    """A root, a router, and a router below that which stands for a leaf."""

    def __init__(self, make: Callable[..., Node], folder: Path) -> None:
        public, above, below = free_port(), free_port(), free_port()
        self.public = public
        sources = write_sources(folder / "sources.toml", agency="secret")
        self.root = self.make(
            make, "root", f"--sources={sources}", f"--peer-listen=tcp:{above}:{HERE}", listen=f"tcp:{public}:{HERE}"
        )
        self.router = self.make(
            make, "router", f"--parent=tcp:127.0.0.1:{above}", f"--peer-listen=tcp:{below}:{HERE}", name="north"
        )
        end = f"--peer-listen=tcp:{free_port()}:{HERE}"
        self.leaf = self.make(make, "router", f"--parent=tcp:127.0.0.1:{below}", end, name="leaf")
        for node in (self.root, self.router, self.leaf):
            node.start()
        self.source = self.connect("secret")

    @staticmethod
    def make(
        make: Callable[..., Node], role: str, *options: str, name: str = "", listen: str | None = None
    ) -> NewsProcess:
        name = name or role
        node = make(f"--role={role}", f"--name={name}", *options, name=name, kind=NewsProcess, listen=listen)
        assert isinstance(node, NewsProcess)
        return node

    def connect(self, password: str) -> NewsSource:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.public)
        source = NewsSource(endpoint, reactor, "agency", password, now=time.time)
        source.startService()
        return source

    def publish(self, *bodies: bytes) -> "Deferred[list[int]]":
        expires = time.time() + 3600
        return gatherResults([self.source.publish("sport", "x", body, expires=expires) for body in bodies])


@pytest.fixture
def tree(make_node: Callable[..., Node], tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(make_node, tmp_path)
    yield tree
    tree.source.stopService()


@pytest_twisted.ensureDeferred
async def test_whoever_is_killed_in_the_middle_everything_accepted_arrives_once(tree: Tree) -> None:
    bodies = [os.urandom(BODY_BYTES_MAX) for _ in range(3)]
    all_pieces = 3 * BODY_BYTES_MAX // (16 * 1024)
    (first,) = await tree.publish(b"first")
    await until(lambda: tree.leaf.whole() == {first}, "the first item is at the leaf")

    publishing = tree.publish(*bodies, b"small")
    await until(lambda: tree.leaf.pieces() > 5, "pictures are on their way")
    tree.router.kill()
    assert tree.leaf.pieces() < all_pieces, "it was in the middle"
    tree.router.start()
    numbers = await publishing
    await until(lambda: tree.leaf.whole() == {first, *numbers}, "the pictures are at the leaf")
    assert sorted(numbers) == [first + 1, first + 2, first + 3, first + 4]

    publishing = tree.publish(*bodies, b"small")
    await until(lambda: tree.root.pieces() > 5, "more are on their way")
    tree.root.kill()
    tree.root.start()
    more = await publishing
    await until(lambda: tree.leaf.whole() == {first, *numbers, *more}, "these are at the leaf, too")
    assert len(more) == 4
    items = tree.leaf.items().values()
    assert len({(record.item.source, record.item.id) for record in items}) == len(items) == 9
    assert sorted(record.stamp for record in items) == list(range(1, 10))
    # Bodies are let go where all children have them.
    await until(lambda: tree.root.pieces() == tree.router.pieces() == 0, "nothing is held that nobody needs")
    assert tree.leaf.pieces() == 2 * all_pieces + 3


@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_refused_and_not_stored(tree: Tree) -> None:
    now = time.time()
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("too-large", {"body": bytes(BODY_BYTES_MAX + 1)}),
        ("unknown-topic", {"topic": "astrology"}),
        ("bad-expiry", {"expires": now - 1}),
        ("bad-expiry", {"expires": -1.0}),
    ]
    for reason, fields in wrong:
        with pytest.raises(Rejected) as refused:
            await tree.source.publish(**{"topic": "sport", "title": "x", "body": b"x", "expires": now + 60, **fields})
        assert refused.value.reason == reason
    stranger = tree.connect("guess")
    with pytest.raises(Rejected) as refused:
        await stranger.publish("sport", "x", b"x", expires=now + 60)
    assert refused.value.reason == "bad-password"
    stranger.stopService()
    assert tree.root.items() == {}


@pytest_twisted.ensureDeferred
async def test_a_child_that_never_comes_back_is_forgotten_at_the_command_of_an_operator(tree: Tree) -> None:
    await tree.publish(b"first")
    await until(lambda: len(tree.leaf.whole()) == 1, "the first item is at the leaf")
    router = str(tree.router.data)
    assert await chatproto("reload", router) == (0, "read again\n", "")
    status, _, why = await chatproto("news", "children", router, "--forget=leaf")
    assert (status, why) == (1, "chatproto: leaf is connected; stop it first, or it would be known again\n")
    tree.leaf.kill()
    await until(lambda: "child leaf is gone" in tree.router.log(), "the router has noticed")
    await tree.publish(b"second")
    await until(lambda: len(tree.router.whole()) == 2, "the second item is at the router")
    status, table, _ = await chatproto("news", "children", router)
    assert [line.split() for line in table.splitlines()] == [
        ["CHILD", "HERE", "ITEMS", "BYTES"],
        ["leaf", "no", "1", "6"],
    ]
    _, lines, _ = await chatproto("news", "children", router, "--json")
    assert json.loads(lines) == {"name": "leaf", "connected": False, "items": 1, "bytes": 6}
    _, _, why = await chatproto("news", "children", router, "--forget=nobody")
    assert why == "chatproto: no child is called nobody; known are leaf\n"
    status, said, _ = await chatproto("news", "children", router, "--forget=leaf")
    assert (status, said) == (0, "leaf is forgotten, and nothing is held for it\n")
    tree.leaf.start()
    await until(lambda: len(tree.leaf.whole()) == 2, "it is known again, and has what was held")
