"""`twistd chatserver` as an operator meets it: help, mistakes, a configuration file, signals, a daemon."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.nodes import (
    TROUBLE,
    WAIT_S_MAX,
    Client,
    Node,
    environment,
    free_port,
    line,
    message,
    settle,
    twistd,
    wait_until,
)

HALL = "MainHall"
StartNode = Callable[..., Node]

FIXED_NAMES = ["role", "name", "data", "listen", "advertise", "capacity", "history", "retain", "rate-limit"]
FIXED_NAMES += ["greet-after", "session-grace", "config"]


SHORT_S = 10.0


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*twistd(), *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SHORT_S,
    )


# Help


def test_twistd_lists_chatserver_from_any_folder(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    (listed,) = (one for one in done.stdout.splitlines() if one.split()[:1] == ["chatserver"])
    assert "chat" in listed.lower()


def test_help_explains_every_option(tmp_path: Path) -> None:
    from chatproto.options import Options

    done = run(tmp_path, "chatserver", "--help")
    assert done.returncode == 0
    names = [row[0] for row in Options.rows()[0]] + FIXED_NAMES
    missing = [name for name in names if f"--{name}=" not in done.stdout]
    assert missing == []
    assert len(done.stdout) > 1000
    for default in ("4444", "100", "primary", "all", "200", "0.1", "15", "XDG_STATE_HOME"):
        assert default in done.stdout


# Mistakes


MISTAKES = [
    (["--capacity=many"], "capacity"),
    (["--capacity=0"], "capacity"),
    (["--capacity=-5"], "capacity"),
    (["--capacity="], "capacity"),
    (["--history=some"], "history"),
    (["--history=-1"], "history"),
    (["--retain=forever"], "retain"),
    (["--retain=5x"], "retain"),
    (["--retain=1d,2d"], "retain"),
    (["--retain=0"], "retain"),
    (["--role=king"], "role"),
    (["--name=a/b"], "name"),
    (["--name="], "name"),
    (["--rate-limit=-1"], "rate-limit"),
    (["--rate-limit=nan"], "rate-limit"),
    (["--greet-after=soon"], "greet-after"),
    (["--greet-after=nan"], "greet-after"),
    (["--session-grace=inf"], "session-grace"),
    (["--ping-every=10", "--silence-max=5"], "silence-max"),
    (["--ping-every=0"], "ping-every"),
    (["--nonsense"], "nonsense"),
    (["--data"], "data"),
    (["somewhere"], "arguments"),
    (["--listen=nonsense"], "nonsense"),
    (["--listen=nonsense:4444"], "nonsense"),
    (["--listen=tcp:nonsense"], "nonsense"),
    (["--listen=tcp:99999"], "99999"),
    (["--listen=tcp"], "tcp"),
    (["--listen="], "listen"),
    (["--listen=ssl:0:interface=127.0.0.1:privateKey=nowhere.pem"], "nowhere.pem"),
    (["--config=nowhere.toml"], "nowhere.toml"),
]


def mistakes(folder: Path, *options: str) -> str:
    """Return the last line that a node says that cannot run; Twisted prints the whole usage before it."""
    try:
        done = run(folder, "-n", "--pidfile=", "chatserver", f"--data={folder / 'data'}", *options)
    except subprocess.TimeoutExpired:
        return "it runs"
    said = done.stdout + done.stderr
    if any(word in said for word in TROUBLE):
        return "a traceback"
    return said.strip().splitlines()[-1] if done.returncode in (1, 2) else f"exit status {done.returncode}"


def test_a_mistake_is_named_in_one_line(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda row: mistakes(tmp_path, *row[0]), MISTAKES))
    answers = zip(MISTAKES, said, strict=True)
    assert {" ".join(options): last for (options, named), last in answers if named not in last} == {}


# A configuration file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "chat.toml"


def test_a_configuration_file_says_what_options_do(start_node: StartNode, config: Path) -> None:
    config.write_text(
        'name = "east"\ncapacity = 2\nhistory = 1\ngreet-after = 0.05\nmessage-chars-max = 5\nretain = "30d,1GB"\n'
    )
    node = start_node(f"--config={config}")
    client = node.extended("alice")
    assert client.welcome["server"] == "east"
    client.send("message", content="123456", id="id-1")
    assert client.until("error")["code"] == "content-too-long"
    client.say("1", "2")
    settle(client)
    assert node.base().greeting[4:] == [message("alice", "2")]
    assert b"full" in node.connect().read_to_end()


def test_the_command_line_wins_wherever_it_stands(start_node: StartNode, config: Path) -> None:
    config.write_text('name = "east"\ncapacity = 1\n')
    node = start_node("--name=west", f"--config={config}", "--capacity=2")
    assert node.extended().welcome["server"] == "west"
    node.base()


def test_endpoints_of_a_configuration_file(make_node: StartNode, config: Path, tmp_path: Path) -> None:
    config.write_text(f'listen = ["tcp:0:interface=127.0.0.1", "unix:{tmp_path / "s"}"]\n')
    node = make_node(f"--config={config}", listen=None)
    node.start()
    wait_until(lambda: node.log().count("listening on ") == 2, "both listen")
    assert (tmp_path / "s").is_socket()
    node.base()
    node.terminate()
    node.listen = "tcp:0:interface=127.0.0.1"
    node.start()
    assert not (tmp_path / "s").exists(), "endpoints of the command line replace those of the file"


BAD_CONFIGS = {
    'nmae = "east"': "nmae",
    "capacity = 0": "capacity",
    'capacity = "many"': "capacity",
    "capacity = [1]": "capacity",
    "capacity = true": "capacity",
    "capacity = 1.5": "capacity",
    "listen = 4444": "listen",
    "[node]\nname = 'east'": "node",
    'history = "some"': "history",
    "ping-every = 0": "ping-every",
    "this is no TOML": "chat.toml",
    'config = "other.toml"': "config",
    "rate_limit = 5": "rate_limit",
}


def test_a_mistake_in_a_configuration_file_is_named(tmp_path: Path, config: Path) -> None:
    files = [tmp_path / str(number) / "chat.toml" for number, _ in enumerate(BAD_CONFIGS)]
    for file, text in zip(files, BAD_CONFIGS, strict=True):
        file.parent.mkdir()
        file.write_text(text)
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda file: mistakes(file.parent, f"--config={file}"), files))
    answers = zip(BAD_CONFIGS.items(), files, said, strict=True)
    assert {text: last for (text, named), file, last in answers if named not in last or str(file) not in last} == {}


# Signals


def test_sigterm_tells_clients_and_keeps_everything(start_node: StartNode) -> None:
    node = start_node()
    base, extended = node.base("base"), node.extended("extended")
    settle(base)
    extended.send("message", content="before", id="id-1")
    extended.until("ack")
    settle(extended, base)
    started = time.monotonic()
    status = node.terminate()
    assert time.monotonic() - started < 3
    assert status == -signal.SIGTERM, "as twistd has it"
    (told,) = extended.lines_to_end()
    assert b'"type":"notice","code":"shutting-down"' in told
    assert base.lines_to_end() == [message("server", "primary is shutting down; try again later")]
    assert not (node.data / "log.sqlite-wal").exists()
    assert [said["content"] for said in node.archive()] == ["before"]
    assert not any(word in node.log() for word in TROUBLE)
    node.start()
    again = node.connect()
    assert again.hello(session=extended.token)["identity"] == "extended"


def test_sigint_is_as_good(start_node: StartNode) -> None:
    node = start_node()
    extended = node.extended()
    os.kill(node.pid, signal.SIGINT)
    node.wait()
    assert b'"shutting-down"' in extended.read_to_end()


def test_sigterm_under_load_loses_nothing_acknowledged(start_node: StartNode) -> None:
    node = start_node("--rate-limit=0")
    acknowledged: dict[str, int] = {}
    for round in range(5):
        clients = [node.extended(history="none") for _ in range(3)]
        for client in clients:
            client.write(
                *(
                    line("message", content="x", id=f"{round}-{client.welcome['identity']}-{number}")
                    for number in range(500)
                )
            )
        for _ in range(20 * round):
            take(clients[0], acknowledged)
        node.terminate()
        for client in clients:
            try:
                while True:
                    take(client, acknowledged)
            except (EOFError, ConnectionError):
                client.close()
        archived = {said["id"]: said["index"] for said in node.archive()}
        assert acknowledged.items() <= archived.items()
        assert sorted(archived.values()) == list(range(1, len(archived) + 1))
        node.start()
    assert len(acknowledged) > 50


def take(client: Client, acknowledged: dict[str, int]) -> None:
    told = client.read()
    if told["type"] == "ack":
        acknowledged[told["id"]] = told["index"]


def test_a_client_that_does_not_read_does_not_hold_up_the_end(start_node: StartNode) -> None:
    node = start_node("--rate-limit=0")
    deaf = node.connect(4096)
    deaf.send("identitychange", identity="deaf")
    speaker = node.extended("speaker", history="none")
    for number in range(100):
        speaker.send("message", content="x" * 15_000, id=f"id-{number}")
        speaker.until("ack")
    started = time.monotonic()
    assert node.terminate() == -signal.SIGTERM
    assert time.monotonic() - started < 10
    assert len(node.archive()) == 100


def test_no_message_gets_into_the_log_and_no_token_onto_the_disk(start_node: StartNode) -> None:
    node = start_node("--nonsense-max=3", "--message-chars-max=100")
    client, other = node.extended("alice"), node.extended("bob")
    client.send("message", content="secret-1", id="id-1")
    client.until("ack")
    client.send("message", content="secret-2" * 50, id="id-2")
    client.send("private", to="bob", content="secret-3", id="id-3")
    client.write(*[b'{"type":"message","content":"secret-4"\n'] * 5)
    client.read_to_end()
    other.write(b'{"type":"message","content":"secret-5' + b"x" * 70_000 + b"\n")
    other.read_to_end()
    again = node.connect()
    again.hello(session=client.token)
    node.terminate()
    assert "secret" not in node.whole_log()
    stored = b"".join(path.read_bytes() for path in node.data.iterdir())
    assert b"secret-1" in stored
    assert b"secret-3" not in stored, "what is private is not kept"
    for token in (client.token, other.token):
        assert token not in node.whole_log()
        assert token.encode() not in stored
        assert bytes.fromhex(token) not in stored


# A daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts daemons; returns the process id. They are ended by it."""
    pids: list[int] = []

    def start(*options: str) -> int:
        done = run(
            tmp_path,
            f"--pidfile={tmp_path / 'node.pid'}",
            f"--logfile={tmp_path / 'node.log'}",
            "chatserver",
            f"--data={tmp_path / 'data'}",
            *options,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        pid = int(wait_until(lambda: (tmp_path / "node.pid").read_text(), "there is a pidfile"))
        pids.append(pid)
        return pid

    yield start
    for pid in pids:
        if running(pid):
            os.kill(pid, signal.SIGKILL)


def running(pid: int) -> bool:
    """Whether a process that is no child of ours runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_daemon_goes_to_the_background_and_ends_cleanly(tmp_path: Path, daemon: Callable[..., int]) -> None:
    port = free_port()
    pid = daemon(f"--listen=tcp:{port}:interface=127.0.0.1")
    log = tmp_path / "node.log"
    wait_until(lambda: "listening on" in log.read_text(), "it listens")
    with socket.create_connection(("127.0.0.1", port), WAIT_S_MAX) as connection:
        client = Client(connection)
        client.drain()
        client.say("to a daemon")
        assert client.drain() == [message("guest1", "to a daemon")]
        second = run(tmp_path, f"--pidfile={tmp_path / 'node.pid'}", "chatserver")
        assert second.returncode == 1
        assert "nother twistd server is running" in second.stdout + second.stderr
        os.kill(pid, signal.SIGTERM)
        assert client.lines_to_end() == [message("server", "primary is shutting down; try again later")]
    wait_until(lambda: not running(pid), "it is gone")
    assert not (tmp_path / "node.pid").exists()
    assert not any(word in log.read_text() for word in TROUBLE)


def test_a_daemon_that_cannot_start_says_why_in_its_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run(
            tmp_path,
            f"--pidfile={tmp_path / 'node.pid'}",
            f"--logfile={tmp_path / 'node.log'}",
            "chatserver",
            f"--data={tmp_path / 'data'}",
            f"--listen=tcp:{taken.getsockname()[1]}:interface=127.0.0.1",
        )
        log = tmp_path / "node.log"
        wait_until(lambda: log.exists() and "this process ends" in log.read_text(), "it says why")
    assert "cannot listen" in log.read_text()
    assert not any(word in log.read_text() for word in TROUBLE)


def test_defaults_alone_run(tmp_path: Path) -> None:
    """`twistd -n chatserver` alone: port 4444 of this machine may be taken, which it then says; all else works."""
    env = {**environment(), "XDG_STATE_HOME": str(tmp_path / "state")}
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [*twistd(), "-n", "--pidfile=", "chatserver", "--role=primary", "--listen=tcp:0:interface=127.0.0.1"],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: b"listening on" in (tmp_path / "out").read_bytes(), "it listens")
        assert (tmp_path / "state" / "chatproto" / "primary" / "log.sqlite").exists()
    finally:
        process.kill()
        process.wait(WAIT_S_MAX)
