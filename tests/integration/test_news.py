"""The news, as processes: from an agency to readers, and what becomes of them when a node is killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from chatproto.cli.certs import make_certificates
from chatproto.cli.check import check
from chatproto.news.source import NewsSource
from chatproto.release import RELEASE
from tests.integration.news import NewsDeployment, NewsProcess
from tests.integration.nodes import Node, wait_until
from tests.integration.pairs import HOST, lasting_ports

LIFE_S = 600


@pytest.fixture
def news(make_node: Callable[..., Node], tmp_path: Path) -> Iterator[NewsDeployment]:
    deployment = NewsDeployment(tmp_path, make_node)
    yield deployment
    pytest_twisted.blockon(Deferred.fromCoroutine(deployment.end()))


def publish(source: NewsSource, title: str, body: bytes = b"", topic: str = "politics") -> "Deferred[int]":
    return source.publish(topic, title, body or title.encode(), expires=time.time() + LIFE_S)


@pytest_twisted.ensureDeferred
async def test_from_an_agency_to_a_reader_whatever_is_killed_between(news: NewsDeployment) -> None:
    await news.start()
    registered = await news.registered()
    assert {name: found.kind for name, found in registered.items()} == {
        "root": "news-root",
        "router": "news-router",
        "east": "news-delivery",
        "west": "news-delivery",
        "contracts": "news-contracts",
        "proxy": "news-proxy",
    }
    for name, found in registered.items():
        measured = await news.measured(name)
        assert measured["chatproto_serving",] == 1, name
        assert measured["chatproto_build_info", found.kind.removeprefix("news-"), RELEASE] == 1
    source, reader = news.source(), news.subscriber("anna")
    place = await reader.subscribe()
    assert reader.reader is not None
    first = await publish(source, "one")
    await news.until(lambda: reader.got == ["one"], "the first item is delivered")

    # The router: what is published meanwhile comes when it is back.
    news.nodes["router"].kill()
    picture = bytes(range(256)) * 4096
    assert await publish(source, "two", picture) == first + 1
    news.nodes["router"].launch()
    await news.until(lambda: reader.got == ["one", "two"], "the second item is delivered")
    assert reader.bodies["two"] == picture

    # The reader's delivery node: another one stands in, and it goes home.
    home, other = place.node, place.substitute
    news.nodes[home].kill()
    assert await publish(source, "three") == first + 2
    await news.until(lambda: reader.reader.node == other, f"{other} stands in for {home}")
    await news.until(lambda: reader.got == ["one", "two", "three"], "the third item is delivered")
    news.nodes[home].launch()
    await news.until(lambda: reader.reader.node == home, "the reader is at home again")
    assert await publish(source, "four") == first + 3
    await news.until(lambda: reader.got == ["one", "two", "three", "four"], "the fourth item is delivered")

    # A polite end: nothing is left in the registry.
    await reader.end()
    news.terminate()
    for node in news.nodes.values():
        assert node.wait() == -signal.SIGTERM, node.log()[-2000:]
    assert await news.registered() == {}


def test_certificates_and_sources_are_read_again(make_node: Callable[..., Node], tmp_path: Path) -> None:
    folder, sources = tmp_path / "certificates", tmp_path / "sources.toml"
    make_certificates(str(folder), ["root", "router"], [HOST], 13, print)
    sources.write_text("")
    above, below = lasting_ports(2)
    root, router = (
        make_node(
            *(f"--role={name}", f"--tls={folder / name}", f"--peer-listen=tcp:{port}:interface={HOST}", option),
            name=name,
            kind=NewsProcess,
            listen=None,
        )
        for name, port, option in (
            ("root", above, f"--sources={sources}"),
            ("router", below, f"--parent=tcp:{HOST}:{above}"),
        )
    )
    root.options.append(f"--listen=tcp:0:interface={HOST}")
    root.launch()
    router.launch()
    root.wait_for_log("child router is here")
    make_certificates(str(folder), ["root", "router"], [HOST], 30, print)
    sources.write_text("[sources.agency]\nsecret = 'none'\n")
    for node in (root, router):
        os.kill(node.pid, signal.SIGHUP)
        node.wait_for_log("read again: certificates, options")
    root.wait_for_log("not changed: sources: ")
    assert "scrypt" in root.log()
    # With the new ones, too, each side proves who it is.
    router.kill()
    router.launch()
    wait_until(lambda: root.log().count("child router is here") == 2, "the router is back")
    for option, problem in ((f"--sources={sources}", "scrypt"), (f"--tls={folder / 'router'}", "is for router")):
        _, problems = check(["newsserver", *root.options, f"--data={tmp_path / 'new'}", option])
        assert problem in problems[0]
