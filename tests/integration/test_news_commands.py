"""`chatproto news` against a deployment: what an agency, two readers and an operator type, one after another."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.integration.news import NewsDeployment
from tests.integration.nodes import WAIT_S_MAX, Node, environment
from tests.integration.pairs import CHATPROTO, HOST

PASSWORD = "as they type it"


@pytest.fixture
def news(make_node: Callable[..., Node], tmp_path: Path) -> Iterator[NewsDeployment]:
    deployment = NewsDeployment(tmp_path, make_node, ("root", "delivery", "contracts"))
    yield deployment
    pytest_twisted.blockon(Deferred.fromCoroutine(deployment.end()))


@pytest_twisted.ensureDeferred
async def test_from_a_source_to_the_end_of_a_contract(news: NewsDeployment, tmp_path: Path) -> None:
    await news.start()
    at = f"--registry={HOST}:{news.registry_port}"

    def run(*arguments: str, then: str = "", status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CHATPROTO, "news", *arguments],
            input=f"{PASSWORD}\n{then}" if "--password-stdin" in arguments else then,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=WAIT_S_MAX,
            cwd=tmp_path,
        )
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    async def types(*arguments: str, **how: object) -> str:
        running: Deferred[str] = deferToThread(run, *arguments, "--password-stdin", **how)
        return await running

    # The agency is let in once the root has read its file again.
    with (tmp_path / "sources.toml").open("a") as known:
        known.write("\n" + await types("source", "paper-kite", "--priority=7"))
    os.kill(news.nodes["root"].pid, signal.SIGHUP)

    # Two readers agree: one is offered less than it wants, and takes it.
    wanted = ("--new", "--topics=sport,gossip", at)
    paid = ("contract", "--reader=ida", "--pull", "--paid", "--exclusives", "--maximum=70", *wanted)
    assert "no offer was taken" in await types(*paid, status=1)
    contract = json.loads(await types(*paid, "--offers=nearest", "--json"))
    assert (contract["terms"]["maximum"], contract["terms"]["exclusives"]) == (50, True)
    assert "sent; free" in await types("contract", "--reader=leo", *wanted)

    # An item for both, once, however often it is published; an exclusive; one that is for neither.
    (tmp_path / "score.txt").write_text("Three to two.")
    publish = ("publish", "score.txt", "--source=paper-kite", at)
    for _ in range(2):
        assert await types(*publish, "--topic=sport", "--title=Gulls beat Herons", "--id=match-1") == "1\n"
    exclusive = ("publish", "-", "--source=paper-kite", "--exclusive", "--topic=gossip", "--expires-in=1h", at)
    assert await types(*exclusive, then="It was of pears.") == "2\n"
    assert await types(*publish, "--topic=politics") == "3\n"
    assert "unknown-topic" in await types(*publish, "--topic=weather", status=1)

    read = await types("read", "--reader=ida", "--count=2", "--json", "--save=kept", at)
    items = {item["number"]: item for item in map(json.loads, read.splitlines())}
    assert set(items) == {1, 2}
    assert items[2]["exclusive"]
    assert (tmp_path / items[2]["file"]).read_text() == "It was of pears."
    assert await types("read", "--reader=ida", at) == ""
    read = await types("read", "--reader=leo", "--count=1", at)
    assert "Gulls beat Herons\n   Three to two.\n" in read

    # The operator looks; the reader leaves.
    status = json.loads(await deferToThread(run, "status", "--json", at))
    assert status["gets_through"], status["why"]
    assert {node["name"]: node["serving"] for node in status["nodes"]} == dict.fromkeys(news.nodes, True)
    assert await types("contract", "--reader=ida", "--end", at) == "ida has no contract.\n"
    assert "no-contract" in await types("contract", "--reader=ida", "--show", at, status=1)
