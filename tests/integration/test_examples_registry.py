"""The examples of the registry's patterns, run as their docstrings say."""

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.integration.nodes import WAIT_S_MAX, Node, stop_process
from tests.integration.test_examples_client import example, finished

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def registry(start_node: Callable[..., Node]) -> str:
    """The endpoint of a registry."""
    port = start_node("--role=registry", "--registry-listen=tcp:0:interface=127.0.0.1", listen=None).port
    return f"tcp:127.0.0.1:{port}"


@pytest.fixture
def serving(registry: str) -> Iterator[Start]:
    """Starts servers; returns when they have said that they are registered."""
    servers: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: str) -> "subprocess.Popen[str]":
        servers.append(example(name, registry, "serve", *arguments))
        assert servers[-1].stdout is not None
        assert servers[-1].stdout.readline().startswith(arguments[0])
        return servers[-1]

    yield start
    for server in servers:
        stop_process(server)


def test_name_service(registry: str, serving: Start) -> None:
    assert finished(example("name_service.py", registry, "visit", "Ada")) == (
        1,
        "",
        "Ada is not there: no-such-name: nothing is registered under that name\n",
    )
    serving("name_service.py", "Ada")
    serving("name_service.py", "Ben")
    for name in ("Ada", "Ben"):
        assert finished(example("name_service.py", registry, "visit", name)) == (0, f"{name} says hello\n", "")


def test_forwarding_broker(registry: str, serving: Start) -> None:
    ada = serving("forwarding_broker.py", "Ada")
    asked = ("forwarding_broker.py", registry, "call", "Ada")
    assert finished(example(*asked, "who is there?")) == (0, "Ada: WHO IS THERE?\n", "")
    status, output, errors = finished(example(*asked, ""))
    assert (status, output) == (1, "")
    assert errors.startswith("no answer: rejected: ")
    ada.kill()
    ada.wait(WAIT_S_MAX)
    status, output, errors = finished(example(*asked, "still there?"))
    assert (status, output) == (1, "")
    assert errors.startswith("no answer: not-there: ")


def test_yellow_pages(registry: str, serving: Start) -> None:
    asked = ("yellow_pages.py", registry, "shouter", "hi")
    assert finished(example(*asked)) == (1, "", "there is no shouter\n")
    serving("forwarding_broker.py", "Small", "10")
    serving("forwarding_broker.py", "Large", "200")
    serving("name_service.py", "Other")
    assert finished(example(*asked)) == (
        0,
        "shouting/Large has capacity 200\nshouting/Small has capacity 10\nLarge: HI\n",
        "",
    )
