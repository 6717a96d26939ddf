"""The examples that publish and read news, run as their docstrings say."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.integration.news import PASSWORD, NewsDeployment
from tests.integration.nodes import Node, stop_process
from tests.integration.test_examples_client import example, finished


@pytest.fixture
def news(make_node: Callable[..., Node], tmp_path: Path) -> Iterator[NewsDeployment]:
    deployment = NewsDeployment(tmp_path, make_node, ("root", "delivery", "contracts"))
    yield deployment
    pytest_twisted.blockon(Deferred.fromCoroutine(deployment.end()))


@pytest_twisted.ensureDeferred
async def test_what_one_publishes_the_other_reads(news: NewsDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWS_PASSWORD", PASSWORD)
    await news.start()
    registry = f"tcp:127.0.0.1:{news.registry_port}"
    reader = example("read_news.py", registry, "Anna", "sport", "2")
    try:
        assert reader.stdout is not None
        assert (await deferToThread(reader.stdout.readline)).startswith("delivered by ")
        assert await run("publish_news.py", registry, "agency", "astrology", "Stars", "none") == (
            1,
            "",
            "not published: unknown-topic\n",
        )
        published = await run("publish_news.py", registry, "agency", "sport", "Derby", "one nil")
        assert published[0] == 0
        assert published[1].startswith("published as item ")
        assert await run("publish_news.py", registry, "agency", "sport", "Derby", "one nil") == published
        assert (await run("publish_news.py", registry, "agency", "sport", "Derby", "two nil"))[0] == 0
        status, output, errors = await deferToThread(finished, reader)
    finally:
        stop_process(reader)
    assert (status, errors) == (0, "")
    assert output.splitlines() == ["sport: Derby: one nil", "sport: Derby: two nil"]
    monkeypatch.setenv("NEWS_PASSWORD", "a guess")
    status, output, errors = await run("read_news.py", registry, "Anna", "sport", "1")
    assert (status, output) == (1, "")
    assert errors.startswith("no contract: ")
    assert (await run("publish_news.py", registry, "agency", "sport", "x", "x"))[2] == "not published: bad-password\n"


def run(*arguments: str) -> "Deferred[tuple[int, str, str]]":
    program: subprocess.Popen[str] = example(*arguments)
    return deferToThread(finished, program)
