"""`chatproto chat` as a child, in pipes and on a terminal, with a real server."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.nodes import WAIT_S_MAX, Node, environment, free_port, wait_until

COMMAND = "import sys; from chatproto.cli import main; sys.exit(main())"
WITHOUT_TEXTUAL = "import sys; sys.modules['textual'] = None; from chatproto.cli import main; sys.exit(main())"
CELLS = (120, 30)
LEAVE_ALTERNATE_SCREEN = b"\x1b[?1049l"
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])")

StartNode = Callable[..., Node]


class PlainChat:
    """A chat in lines: its standard streams are pipes."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "chat", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        self.lines: list[str] = []
        self.times: list[float] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.times.append(time.monotonic())
            self.lines.append(line.rstrip("\n"))

    def type(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def wrote(self, start: str) -> str:
        """Return the first line that starts so, once it was written."""
        found: str = wait_until(
            lambda: next((line for line in list(self.lines) if line.startswith(start)), ""), f"a line {start!r}"
        )
        return found

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ended(self) -> tuple[int, str]:
        """Return the exit status and what was written to standard error, once it has ended."""
        with contextlib.suppress(OSError):
            self.end_input()
        status = self.process.wait(WAIT_S_MAX)
        self._reading.join(WAIT_S_MAX)
        assert self.process.stderr is not None
        return status, self.process.stderr.read()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S_MAX)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()


class TerminalChat:
    """A chat on a terminal that we hold the other end of.

    Attributes:
        written: all that was written to the terminal, escapes and all.
    """

    def __init__(self, *arguments: str, command: str = COMMAND) -> None:
        self.written = b""
        self.status: int | None = None
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.execve(
                sys.executable,
                [sys.executable, "-c", command, "chat", *arguments],
                {**environment(), "TERM": "xterm-256color"},
            )
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", CELLS[1], CELLS[0], 0, 0))

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def read(self) -> bool:
        """Read what there is, if anything comes within a moment; return whether the terminal is still open."""
        if not select.select([self.terminal], [], [], 0.05)[0]:
            return True
        try:
            data = os.read(self.terminal, 65536)
        except OSError:
            return False
        self.written += data
        return bool(data)

    def shows(self, text: str) -> None:
        """Wait until a text has been written, from where the last one was found on."""

        def written() -> bool:
            self.read()
            plain = _ESCAPES.sub(b"", self.written)
            at = plain.find(text.encode(), self._seen)
            if at >= 0:
                self._seen = at + len(text.encode())
            return at >= 0

        try:
            wait_until(written, f"the terminal shows {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {_ESCAPES.sub(b'', self.written)[-3000:]!r}") from None

    _seen = 0

    def ended(self) -> int:
        """Return the exit status, once it has ended."""
        end = time.monotonic() + WAIT_S_MAX
        while self.read() and time.monotonic() < end:
            pass
        return self.wait()

    def wait(self) -> int:
        """Return the exit status, once it has ended, without reading what it writes."""

        def reaped() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            return bool(pid)

        wait_until(reaped, "the chat has ended")
        assert self.status is not None
        return self.status

    def hang_up(self) -> None:
        """Take the terminal away."""
        os.close(self.terminal)
        self.terminal = -1

    def end(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.terminal >= 0:
            os.close(self.terminal)


@pytest.fixture
def node(start_node: StartNode) -> Node:
    """A node that keeps the session of whoever just disappears: that somebody left is heard of those who said so."""
    return start_node("--session-grace=3600")


@pytest.fixture
def chats() -> Iterator[list[Any]]:
    """What is put in here is ended with the test."""
    made: list[Any] = []
    yield made
    for chat in made:
        chat.end()


@pytest.fixture
def plain(node: Node, chats: list[Any]) -> Callable[..., PlainChat]:
    """Starts chats in lines."""

    def start(*arguments: str) -> PlainChat:
        chats.append(PlainChat(f"127.0.0.1:{node.port}", *arguments))
        return chats[-1]  # type: ignore[no-any-return]

    return start


@pytest.fixture
def terminal(node: Node, chats: list[Any]) -> Callable[..., TerminalChat]:
    """Starts chats on a terminal."""

    def start(*arguments: str, command: str = COMMAND) -> TerminalChat:
        chats.append(TerminalChat(f"127.0.0.1:{node.port}", *arguments, command=command))
        return chats[-1]  # type: ignore[no-any-return]

    return start


def contents(node: Node, room: str) -> list[tuple[str, str]]:
    return [(said["identity"], said["content"]) for said in node.archive(room)]


# In lines


def test_what_is_piped_in_is_acknowledged_before_it_leaves(node: Node, plain: Callable[..., PlainChat]) -> None:
    chat = plain("--name", "alice")
    chat.type("hello", "##not a command", "déjà vu")
    assert chat.ended() == (0, "")
    assert contents(node, "MainHall") == [("alice", "hello"), ("alice", "#not a command"), ("alice", "déjà vu")]
    assert [line for line in chat.lines if line.startswith("sent ")] == [
        f"sent MainHall {index}" for index in (1, 2, 3)
    ]
    said = [line.split(" ", 4) for line in chat.lines if line.startswith("message ")]
    assert [(room, index, rest) for _, room, index, _, rest in said] == [
        ("MainHall", "1", "alice hello"),
        ("MainHall", "2", "alice #not a command"),
        ("MainHall", "3", "alice déjà vu"),
    ]


def test_commands_and_messages_take_effect_in_the_order_written(node: Node, plain: Callable[..., PlainChat]) -> None:
    # A room goes with the last who could be interested in it, so somebody is in this one.
    bob = node.base("bob")
    chat = plain("--name", "alice")
    chat.type("in the hall", "#createroom Den")
    chat.wrote("done #createroom Den")
    bob.send("join", roomid="Den")
    bob.until("roomchange", identity="bob", roomid="Den")
    chat.type("still in the hall", "#join Den", "in the den", "#identitychange carol", "by another name")
    assert chat.ended() == (0, "")
    assert contents(node, "MainHall") == [("alice", "in the hall"), ("alice", "still in the hall")]
    assert contents(node, "Den") == [("alice", "in the den"), ("carol", "by another name")]


def test_two_hear_each_other(plain: Callable[..., PlainChat]) -> None:
    alice, bob = plain("--name", "alice"), plain("--name", "bob")
    alice.wrote("identity alice")
    bob.wrote("identity bob")
    alice.type("hello bob", "#private bob psst")
    assert re.fullmatch(r"message MainHall 1 \S+ alice hello bob", bob.wrote("message "))
    assert re.fullmatch(r"private \S+ alice psst", bob.wrote("private "))
    assert alice.wrote("delivered") == "delivered bob 1 relayed"
    assert bob.ended()[0] == 0
    alice.wrote("moved bob MainHall -")


def test_two_talk_directly_if_one_has_opened_a_port(plain: Callable[..., PlainChat]) -> None:
    """Whoever only calls needs none, and can be answered."""
    alice, bob = plain("--name", "alice"), plain("--name", "bob", "--direct", "127.0.0.1:0")
    alice.wrote("identity alice")
    bob.wrote("moved bob - MainHall")
    alice.type("#private bob psst")
    assert re.fullmatch(r"private \S+ alice psst", bob.wrote("private "))
    assert alice.wrote("delivered") == "delivered bob 1 direct"
    bob.type("#private alice what?")
    assert re.fullmatch(r"private \S+ bob what\?", alice.wrote("private "))
    assert bob.wrote("delivered") == "delivered alice 1 direct"
    for chat in (alice, bob):
        assert chat.ended() == (0, "")


def test_a_port_that_cannot_be_had_is_one_line_and_status_1(node: Node, plain: Callable[..., PlainChat]) -> None:
    status, error = plain("--direct", f"127.0.0.1:{node.port}").ended()
    assert status == 1
    assert re.fullmatch(r"chatproto: cannot take direct connections: [^\n]*in use[^\n]*\n", error)


def test_refused_lines_are_told_and_fail_in_the_end(plain: Callable[..., PlainChat]) -> None:
    chat = plain()
    chat.type("#join Nowhere", "#jion Den", "hello")
    status, error = chat.ended()
    assert (status, error) == (1, "chatproto: 2 lines were not carried out: there is no room Nowhere\n")
    chat.wrote("refused no-such-room there is no room Nowhere")
    chat.wrote("mistake There is no command #jion")
    chat.wrote("sent MainHall 1")


@pytest.mark.parametrize("arguments", [(), ("--room", "Den")])
def test_no_server_is_one_line_and_status_1(chats: list[Any], arguments: tuple[str, ...]) -> None:
    chat = PlainChat(f"127.0.0.1:{free_port()}", "--connect-timeout", "0.5", *arguments)
    chats.append(chat)
    chat.type("hello")
    status, error = chat.ended()
    assert status == 1
    assert re.fullmatch(r"chatproto: no server let us in within 0\.5 s: [^\n]*refused[^\n]*\n", error)


def test_a_name_that_is_taken_says_nothing(node: Node, plain: Callable[..., PlainChat]) -> None:
    plain("--name", "alice").wrote("identity alice")
    chat = plain("--name", "alice")
    chat.type("not from alice")
    assert chat.ended() == (1, "chatproto: somebody else is alice\n")
    assert contents(node, "MainHall") == []


def test_a_room_that_does_not_exist_says_nothing(node: Node, plain: Callable[..., PlainChat]) -> None:
    chat = plain("--room", "Nowhere")
    chat.type("not for the hall")
    assert chat.ended() == (1, "chatproto: there is no room Nowhere\n")
    assert contents(node, "MainHall") == []


def test_a_server_that_is_killed_and_comes_back_makes_no_difference(make_node: StartNode, chats: list[Any]) -> None:
    node = make_node(listen=f"tcp:{free_port()}:interface=127.0.0.1").start()
    chat = PlainChat(f"127.0.0.1:{node.port}", "--name", "alice")
    chats.append(chat)
    chat.type("one")
    chat.wrote("sent MainHall 1")
    node.kill()
    chat.wrote("state waiting")
    chat.type("two", "three")
    chat.end_input()
    node.start()
    assert chat.ended() == (0, "")
    assert contents(node, "MainHall") == [("alice", "one"), ("alice", "two"), ("alice", "three")]


def test_one_of_two_servers_is_dead(node: Node, chats: list[Any]) -> None:
    chat = PlainChat(f"127.0.0.1:{free_port()}", f"127.0.0.1:{node.port}", "--name", "alice")
    chats.append(chat)
    chat.wrote("state online primary single")
    at = {line.split()[1]: when for line, when in zip(chat.lines, chat.times, strict=False) if line[:5] == "state"}
    assert at["online"] - at["connecting"] < 1
    chat.type("hello")
    chat.wrote("sent MainHall 1")


def test_one_of_two_servers_stands_still(start_node: StartNode, chats: list[Any]) -> None:
    """It takes connections and says nothing: the next one is asked."""
    still, west = start_node("--name=east"), start_node("--name=west")
    os.kill(still.pid, signal.SIGSTOP)
    try:
        chat = PlainChat(f"127.0.0.1:{still.port}", f"127.0.0.1:{west.port}")
        chats.append(chat)
        chat.wrote("state online west single")
        at = {line.split()[1]: when for line, when in zip(chat.lines, chat.times, strict=False) if line[:5] == "state"}
        assert at["online"] - at["connecting"] < 2
    finally:
        os.kill(still.pid, signal.SIGCONT)


def test_the_first_of_two_servers_dies(start_node: StartNode, chats: list[Any]) -> None:
    east, west = start_node("--name=east"), start_node("--name=west")
    where = [f"127.0.0.1:{node.port}" for node in (east, west)]
    plain, screen = PlainChat(*where, "--name", "alice"), TerminalChat(*where, "--name", "bob")
    chats += [plain, screen]
    plain.wrote("state online east single")
    screen.shows("online at east │ single │ bob in MainHall")
    east.kill()
    found = plain.wrote("failover east west ")
    assert re.fullmatch(r"failover east west 0\.\d\d (the connection broke|it closed the connection)", found), found
    screen.shows("east is gone")
    screen.shows("online at west │ single")
    plain.type("still here")
    screen.shows("still here")


def test_a_server_that_does_not_come_back_is_given_up(node: Node, plain: Callable[..., PlainChat]) -> None:
    chat = plain("--connect-timeout", "1")
    chat.type("one")
    chat.wrote("sent MainHall 1")
    node.kill()
    chat.type("two")
    status, error = chat.ended()
    assert status == 1
    assert error.startswith("chatproto: no server let us in within 1 s"), error


def test_a_long_input_arrives_whole_and_in_order(start_node: StartNode, chats: list[Any]) -> None:
    node = start_node("--rate-limit=0")
    said = [f"line {number}" for number in range(3000)]
    chat = PlainChat(f"127.0.0.1:{node.port}", "--name", "alice", "--history", "none")
    chats.append(chat)
    chat.type(*said)
    assert chat.ended() == (0, "")
    assert contents(node, "MainHall") == [("alice", text) for text in said]
    assert [line.split(" ", 5)[5] for line in chat.lines if line.startswith("message ")] == said


def test_files_for_pipes(node: Node, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("hello\nno newline at the end")
    with (tmp_path / "in").open() as file, (tmp_path / "out").open("w") as out:
        run = subprocess.run(
            [sys.executable, "-c", COMMAND, "chat", f"127.0.0.1:{node.port}", "--name", "alice"],
            stdin=file,
            stdout=out,
            env=environment(),
            timeout=WAIT_S_MAX,
            check=False,
        )
    assert run.returncode == 0
    assert contents(node, "MainHall") == [("alice", "hello"), ("alice", "no newline at the end")]
    assert "sent MainHall 2\n" in (tmp_path / "out").read_text()


def test_closed_standard_streams(node: Node) -> None:
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", COMMAND, "chat", f"127.0.0.1:{node.port}"],
        env=environment(),
        timeout=WAIT_S_MAX,
        check=False,
    )
    assert run.returncode == 0


def test_nobody_reads_what_it_writes(node: Node) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "chat", f"127.0.0.1:{node.port}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert child.stdout is not None
    child.stdout.close()
    try:
        _, error = child.communicate(timeout=WAIT_S_MAX)
    finally:
        child.kill()
    assert (child.returncode, error) == (1, b"chatproto: cannot write to standard output: Broken pipe\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_politely(plain: Callable[..., PlainChat], number: int) -> None:
    alice, bob = plain("--name", "alice"), plain("--name", "bob")
    alice.wrote("identity alice")
    bob.wrote("identity bob")
    bob.process.send_signal(number)
    assert bob.process.wait(WAIT_S_MAX) == 0
    alice.wrote("moved bob MainHall -")


# On a terminal


def test_typing_and_leaving_on_a_terminal(node: Node, terminal: Callable[..., TerminalChat]) -> None:
    chat = terminal("--name", "alice")
    chat.shows("alice in MainHall")
    bob = node.extended("bob")
    chat.shows("bob came.")
    chat.type("hello\x7f\x7fp me")
    bob.send("message", content="interrupting", id="b1")
    chat.shows("interrupting")
    chat.type(" bob\r")
    assert bob.until("message", identity="alice")["content"] == "help me bob"
    chat.type("\x03")
    assert chat.ended() == 0
    assert bob.until("roomchange", identity="alice")["roomid"] == ""
    assert LEAVE_ALTERNATE_SCREEN in chat.written
    assert contents(node, "MainHall") == [("bob", "interrupting"), ("alice", "help me bob")]


def test_what_others_write_does_nothing_to_the_terminal(node: Node, terminal: Callable[..., TerminalChat]) -> None:
    chat = terminal("--name", "alice")
    chat.shows("alice in MainHall")
    bob = node.extended("bob")
    bob.send("message", content="\x1b]0;owned\x07\x1b[6n[bold]x[/bold]\x9b31mend", id="b1")
    chat.shows("␛]0;owned␇␛[6n[bold]x[/bold]<U+009B>31mend")
    assert b"\x1b]0;owned" not in chat.written
    assert b"\x1b[6n" not in chat.written
    chat.type("#quit\r")
    assert chat.ended() == 0


def test_typing_while_the_server_is_away(make_node: StartNode, chats: list[Any]) -> None:
    node = make_node(listen=f"tcp:{free_port()}:interface=127.0.0.1").start()
    chat = TerminalChat(f"127.0.0.1:{node.port}", "--name", "alice")
    chats.append(chat)
    chat.shows("alice in MainHall")
    node.kill()
    chat.shows("waiting")
    chat.type("are you there?\r")
    chat.shows("1 not acknowledged yet")
    node.start()
    wait_until(lambda: contents(node, "MainHall") == [("alice", "are you there?")], "it was said after all")
    chat.shows("online")
    chat.type("\x04")
    assert chat.ended() == 0


def test_a_signal_on_a_terminal(node: Node, terminal: Callable[..., TerminalChat]) -> None:
    chat = terminal("--name", "alice")
    chat.shows("alice in MainHall")
    bob = node.extended("bob")
    os.kill(chat.pid, signal.SIGTERM)
    assert chat.ended() == 0
    assert bob.until("roomchange", identity="alice")["roomid"] == ""
    assert LEAVE_ALTERNATE_SCREEN in chat.written


def test_a_terminal_that_goes_away_is_left_politely(node: Node, terminal: Callable[..., TerminalChat]) -> None:
    chat = terminal("--name", "alice")
    chat.shows("alice in MainHall")
    bob = node.extended("bob")
    chat.hang_up()
    assert bob.until("roomchange", identity="alice")["roomid"] == ""
    chat.wait()


def test_lines_on_a_terminal(terminal: Callable[..., TerminalChat]) -> None:
    chat = terminal("--name", "alice", "--plain")
    chat.shows("members MainHall - alice")
    chat.type("hello\n")
    chat.shows("sent MainHall 1")
    chat.type("\x04")
    assert chat.ended() == 0
    assert b"\x1b" not in chat.written


def test_without_textual_it_goes_on_in_lines(terminal: Callable[..., TerminalChat]) -> None:
    chat = terminal("--name", "alice", command=WITHOUT_TEXTUAL)
    chat.shows("pip install 'chatproto[terminal]'")
    chat.shows("members MainHall - alice")
    chat.type("\x04")
    assert chat.ended() == 0
