"""Accounts of readers with real processes: a delivery node that is lost, a password, the end; ceilings that change."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from chatproto.errors import ContractRefused
from chatproto.news.terms import Terms
from tests.integration.news import PASSWORD, NewsDeployment
from tests.integration.nodes import Node
from tests.integration.pairs import run_chatproto


@pytest.fixture
def news(make_node: Callable[..., Node], tmp_path: Path) -> Iterator[NewsDeployment]:
    (tmp_path / "contracts.toml").write_text("maximum-max = 50\n")
    options = {"contracts": [f"--config={tmp_path / 'contracts.toml'}"]}
    deployment = NewsDeployment(tmp_path, make_node, ("root", "delivery", "contracts"), options=options)
    yield deployment
    pytest_twisted.blockon(Deferred.fromCoroutine(deployment.end()))


async def operate(*arguments: str, typed: str = "", status: int = 0) -> str:
    """Run `chatproto news`; return what it says."""
    done = await run_chatproto("news", *arguments, typed=typed)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout + done.stderr


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_lost_another_password_and_the_end(news: NewsDeployment, tmp_path: Path) -> None:
    await news.start()
    source, reader = news.source(), news.subscriber("anna")
    place = await reader.subscribe()
    assert reader.reader is not None
    data = str(news.nodes["contracts"].data)
    assert "is registered" in await operate("lost", data, place.node, status=1)

    # The node's disk is gone: an operator says so, and the reader goes where it is led.
    news.nodes[place.node].kill()
    await news.until(lambda: is_gone(news, place.node), f"{place.node} is gone")
    assert "is given up" in await operate("lost", data, place.node)
    client: Any = reader.client
    moved = await until_placed(news, client)
    assert (moved.node, moved.terms) == (place.substitute, place.terms)
    reader.reader.move(moved)
    await news.until(lambda: reader.reader is not None and reader.reader.node == moved.node, "it is let in there")
    publishing: Any = source.publish("politics", "one", b"one", expires=time.time() + 600)
    await publishing
    await news.until(lambda: reader.got == ["one"], "it is delivered to")

    # Another password, by the command, as anybody has it; whoever is there under the one before is let go.
    who = "account", "--reader=anna", "--password-stdin", f"--registry={news.registry_place}"
    said = await operate(*who, "--change-password", typed=f"{PASSWORD}\nanother\n")
    assert "another password" in said
    try:
        await client.where()
    except ContractRefused as error:
        assert error.code == "login-failed"
    else:
        raise AssertionError("let in with the password of before")

    # Another ceiling, without a restart.
    bob: Any = news.subscriber("bob").client
    wish = Terms(("politics",), paid=True, maximum=80, delay_s_max=200.0)
    assert isinstance(await bob.propose(wish), tuple)
    (tmp_path / "contracts.toml").write_text("maximum-max = 90\n")
    os.kill(news.nodes["contracts"].pid, signal.SIGHUP)
    await news.until(lambda: "read again: options" in news.nodes["contracts"].log(), "the options are read again")
    assert (await bob.propose(wish)).terms == wish

    # The end: by the reader, and by an operator.
    assert "no account" in await operate(*who, "--delete", typed="another\n")
    assert "bob is deleted" in await operate("delete", data, "bob")
    assert "no reader" in await operate("delete", data, "bob", status=1)
    await news.until(lambda: nobody(news, moved.node), "the node has heard of it")


async def is_gone(news: NewsDeployment, node: str) -> bool:
    return (
        node not in await news.registered()
        and (await news.measured("contracts"))["chatproto_news_contracts_nodes",] == 1
    )


async def until_placed(news: NewsDeployment, client: Any) -> Any:
    found: list[Any] = []

    async def looks() -> bool:
        try:
            found.append(await client.where())
        except ContractRefused as error:
            assert error.code == "moving"
        return bool(found)

    await news.until(looks, "another node is found")
    return found[0]


async def nobody(news: NewsDeployment, node: str) -> bool:
    return (await news.measured(node))["chatproto_news_readers", "paid"] == 0
