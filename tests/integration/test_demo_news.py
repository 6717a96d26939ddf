"""`chatproto demo news`: a world of news from one command, in which a delivery node is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from chatproto.cli.main import NEWS_PORTS
from chatproto.cli.news.demo import MOBILE, PASSWORD
from tests.integration.browsers import SCREENSHOTS, chromium
from tests.integration.demos import Demo, neighbouring_ports, run
from tests.integration.nodes import PROJECT, TROUBLE, WAIT_S_MAX, environment, wait_until
from tests.integration.pairs import CHATPROTO


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path, f"--port={neighbouring_ports(NEWS_PORTS)}", "--pace=0.3", subject="news")
    yield demo
    demo.end()
    texts = [demo.said(), *(path.read_text() for path in (tmp_path / "data").glob("*.log"))]
    assert not any(word in text for text in texts for word in TROUBLE)


@pytest.fixture
def readers() -> "Iterator[list[subprocess.Popen[str]]]":
    started: list[subprocess.Popen[str]] = []
    yield started
    for reading in started:
        reading.kill()
        reading.wait(WAIT_S_MAX)


def without_gap(numbers: list[int]) -> int:
    """Return the last number up to which none is missing."""
    last, found = min(numbers), set(numbers)
    while last + 1 in found:
        last += 1
    return last


def test_whoever_looks_at_it_sees_the_news_survive_a_delivery_node(
    demo: Demo, readers: "list[subprocess.Popen[str]]", tmp_path: Path
) -> None:
    demo.says("end:     Ctrl-C")
    assert len(demo.children()) == 8
    commands = dict(re.findall(r"^  (\w+): +(.*)$", demo.said(), re.MULTILINE))
    killed = {name: int(pid) for pid, name in re.findall(r"kill -9 (\d+) +\((\w+):", demo.said())}

    def read(what: str, *more: str) -> "subprocess.Popen[str]":
        password, command = re.fullmatch(r"echo (\w+) \| chatproto (.*)", commands[what]).groups()  # type: ignore[union-attr]
        said = (tmp_path / what).open("w")
        arguments = [sys.executable, "-c", CHATPROTO, *command.split(), "--json", *more]
        reading = subprocess.Popen(arguments, env=environment(), stdin=subprocess.PIPE, stdout=said, text=True)
        readers.append(reading)
        assert reading.stdin is not None
        reading.stdin.write(f"{password}\n")
        reading.stdin.close()
        return reading

    def numbers(what: str) -> list[int]:
        return [json.loads(line)["number"] for line in (tmp_path / what).read_text().splitlines(keepends=True)[:-1]]

    read("read")
    free = read("free", "--count=4")
    with urllib.request.urlopen(commands["page"].split()[0], timeout=WAIT_S_MAX) as page:
        assert "Log in" in page.read().decode()
    demo.says("east delivers to desk now.")
    assert free.wait(WAIT_S_MAX) == 0
    assert len(set(numbers("free"))) == 3
    wait_until(lambda: len(numbers("read")) > 3, "the paid reader has some")
    os.kill(killed["east"], signal.SIGKILL)
    demo.says("east is gone.")
    before = max(numbers("read"))
    demo.says("west delivers to desk now, which stands in for east.")
    wait_until(lambda: without_gap(numbers("read")) > before + 2, "the paid reader goes on")
    assert len(set(numbers("read"))) == len(numbers("read"))
    status = json.loads(run(commands["look"], "--json"))
    assert {node["name"] for node in status["nodes"] if node.get("serving")} == {
        *("root", "router", "west", "contracts", "proxy")
    }
    demo.interrupt()
    *_, counted, last = demo.said().splitlines()
    published, had, twice = map(int, re.findall(r"\d+", counted))
    assert 6 < had <= published + 1
    assert twice == 0
    assert last == "Ending the deployment."


def test_whoever_logs_in_at_its_page_sees_pictures(demo: Demo, tmp_path: Path) -> None:
    demo.says("end:     Ctrl-C")
    home = re.findall(r"page: +(\S+)", demo.said())[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 800}, device_scale_factor=2)
        page.goto(home)
        page.get_by_label("Name").fill(MOBILE)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()

        def shows_a_picture() -> bool:
            page.goto(home)
            return page.locator("article img").count() > 0

        wait_until(shows_a_picture, "a picture is there")
        page.screenshot(path=(PROJECT / "docs" if SCREENSHOTS in os.environ else tmp_path) / "news-mobile.png")
        browser.close()
