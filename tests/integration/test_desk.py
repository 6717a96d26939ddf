"""The operator's desk with real processes: metrics, health, logs as JSON, options that are read again."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatproto.cli.check import check
from chatproto.cli.control import ControlFailed, command
from tests.exposition import check_exposition
from tests.integration.nodes import WAIT_S_MAX, Node, environment, free_port, twistd, wait_until
from tests.integration.pairs import HOST, lasting_ports


class Desk:
    """Where a process answers an operator's questions."""

    def __init__(self) -> None:
        self.port = free_port()
        self.option = f"--metrics=tcp:{self.port}:interface={HOST}"

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=WAIT_S_MAX) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def answers(self) -> bool:
        try:
            return self.ask("/healthz")[0] == 200
        except OSError:
            return False

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Return each sample by its name and the values of its labels, once all is as Prometheus wants it."""
        status, text = self.ask("/metrics")
        assert status == 200
        families = check_exposition(text)
        return {(sample.name, *sample.labels.values()): sample.value for found in families.values() for sample in found}

    def until(self, *sample: str, is_: float) -> None:
        wait_until(lambda: self.metrics().get(sample) == is_, f"{sample} is {is_}")


def test_a_node_is_measured(start_node: Callable[..., Node]) -> None:
    desk = Desk()
    node = start_node(desk.option, "--capacity=7")
    assert desk.ask("/readyz") == (200, "leader, single, 0 of 7 clients\n")
    alice, bob = node.extended("alice"), node.extended("bob")
    before = desk.metrics()
    for number in range(5):
        alice.send("message", content="x", id=f"desk-{number}")
        alice.until("ack", id=f"desk-{number}")
        bob.until("message", id=f"desk-{number}")
    after = desk.metrics()
    assert after["chatproto_clients",] == 2
    assert after["chatproto_clients_max",] == 7
    assert after["chatproto_archive_messages",] == 5

    def grown(*sample: str) -> float:
        return after[sample] - before[sample]

    assert grown("chatproto_deliveries_total") == 10
    assert grown("chatproto_committed_entries_total", "message") == 5
    assert grown("chatproto_commit_seconds_count") == grown("chatproto_batch_entries_count") == 5
    assert 0 < grown("chatproto_commit_seconds_sum") < WAIT_S_MAX
    assert after["chatproto_data_bytes",] > 0
    desk.until("chatproto_search_behind_entries", is_=0)
    alice.reset()
    desk.until("chatproto_clients_away", is_=1)


@pytest.fixture
def pair(make_node: Callable[..., Node]) -> dict[str, tuple[Node, Desk]]:
    """A registry, a pair and a monitor, which are not started."""
    registry, one, two, *clients = lasting_ports(6)
    desks = {name: Desk() for name in ("registry", "primary", "secondary", "monitor")}
    at = f"--registry=tcp:{HOST}:{registry}"
    options = {
        "registry": [f"--registry-listen=tcp:{registry}:interface={HOST}"],
        "primary": [at, f"--peer-listen=tcp:{one}:interface={HOST}", f"--peer=tcp:{HOST}:{two}"],
        "secondary": [at, f"--peer-listen=tcp:{two}:interface={HOST}", f"--peer=tcp:{HOST}:{one}"],
        "monitor": [at, "--watch=chat", "--name=standin", "--same-host"],
    }
    listens = dict(zip(("primary", "secondary", "monitor"), clients, strict=True))
    return {
        name: (
            make_node(
                f"--role={name}",
                desk.option,
                *options[name],
                name=name,
                listen=f"tcp:{listens[name]}:interface={HOST}" if name in listens else None,
            ),
            desk,
        )
        for name, desk in desks.items()
    }


def test_every_role_is_measured_and_says_whether_it_serves(pair: dict[str, tuple[Node, Desk]]) -> None:
    follower, of_follower = pair["secondary"]
    follower.launch()
    wait_until(of_follower.answers, "the process gets on")
    status, line = of_follower.ask("/readyz")
    assert (status, line.count("\n")) == (503, 1), line
    for name in ("registry", "primary", "monitor"):
        pair[name][0].launch()
    _, of_leader = pair["primary"]
    for name, (_, desk) in pair.items():
        wait_until(desk.answers, "it answers")
        wait_until(lambda desk=desk: desk.ask("/readyz")[0] == 200, f"{name} serves", 8)
    of_leader.until("chatproto_redundancy", "paired", is_=1)
    of_follower.until("chatproto_role", "follower", is_=1)
    of_leader.until("chatproto_lag_entries", "secondary", is_=0)
    assert of_leader.metrics()["chatproto_witness_reached",] == 1
    pair["monitor"][1].until("chatproto_monitor_state", "watching", is_=1)
    assert pair["registry"][1].metrics()["chatproto_registry_names",] == 2
    for name, (_, desk) in pair.items():
        wanted = ("chatproto_build_info", name)
        assert [sample for sample in desk.metrics() if sample[0] == wanted[0] and name in sample]
    follower.kill()
    of_leader.until("chatproto_redundancy", "alone", is_=1)
    assert ("chatproto_lag_entries", "secondary") not in of_leader.metrics()


def test_what_can_change_changes_and_what_cannot_is_said(start_node: Callable[..., Node], tmp_path: Path) -> None:
    options = tmp_path / "options.toml"
    options.write_text('capacity = 7\nservice = "one"\n')
    desk = Desk()
    node = start_node(desk.option, f"--config={options}")
    client = node.extended("alice")

    options.write_text('capacity = 9\nservice = "two"\n')
    os.kill(node.pid, signal.SIGHUP)
    node.wait_for_log("not changed: options: --service takes a restart; until then it is one")
    assert desk.ask("/readyz") == (200, "leader, single, 1 of 9 clients\n")

    told: list[str] = []
    options.write_text("capacity = 1\nkapacity = 5\n")
    with pytest.raises(ControlFailed, match="not all of it could be changed"):
        command(str(node.data), "reload", tell=told.append)
    assert len(told) == 1 and "kapacity" in told[0]
    assert desk.metrics()["chatproto_clients_max",] == 9, "a file with a mistake changes nothing"

    options.write_text('announcement = "we move tonight"\nservice = "one"\n')
    assert command(str(node.data), "reload") == "read again"
    newcomer = node.connect()
    newcomer.hello()
    newcomer.until("notice", code="announcement", content="we move tonight")
    client.say("still here")
    client.until("message", content="still here")


def test_logs_as_json(start_node: Callable[..., Node]) -> None:
    node = start_node("--log-format=json")
    client = node.base("alice")
    client.say("this is in no log")
    client.until("message", content="this is in no log")
    node.terminate()
    lines = [json.loads(line) for line in node.log().splitlines()]
    assert {"time", "level", "namespace", "event", "text"} <= set(lines[0])
    (listening,) = [line for line in lines if line["text"].startswith("listening on tcp:0")]
    assert listening["namespace"] == "chatproto.services.listener"
    assert listening["fields"]["description"].startswith("tcp:0")
    assert "this is in no log" not in node.log()


def test_a_daemon_logs_as_json_where_it_is_told(tmp_path: Path) -> None:
    """A process that leaves its terminal writes to its file, and says there, too, why it cannot start."""
    log, data = tmp_path / "log.json", tmp_path / "data"
    data.write_text("not a directory")
    arguments = [f"--logfile={log}", f"--pidfile={tmp_path / 'pid'}"]
    done = subprocess.run(
        [*twistd(), *arguments, "chatserver", f"--data={data}", "--listen=tcp:0", "--log-format=json"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=WAIT_S_MAX,
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(line["level"] == "critical" and str(data) in line["text"] for line in lines)


def test_without_the_library_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['prometheus_client'] = None; from twisted.scripts.twistd import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "-n", "--pidfile=", "chatserver", f"--data={tmp_path}", "--metrics=tcp:0"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_S_MAX,
    )
    assert done.returncode == 1
    assert "pip install chatproto[metrics]" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_checking_beside_a_daemon_that_runs(start_node: Callable[..., Node]) -> None:
    node = start_node()
    found, problems = check([f"--data={node.data}", f"--listen=tcp:{node.port}"])
    assert problems == []
    assert found[-1].endswith("in use by a running daemon")
    client: Any = node.extended("alice")
    assert client.welcome["identity"] == "alice"
