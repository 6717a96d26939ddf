"""What docs/getting-started.md has people type works, in that order, and says what stands there.

Ports are replaced by free ones, and what would listen on every interface listens on 127.0.0.1.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nodes import PROJECT, TROUBLE, WAIT_S_MAX, environment, wait_until
from tests.integration.pairs import lasting_ports

PAGE = (PROJECT / "docs" / "getting-started.md").read_text(encoding="utf-8")
PORTS = ("4444", "4445", "4545", "4546", "4646")
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
"""A command, over several lines where they end with a backslash, and what it prints."""


def pattern(shown: str) -> re.Pattern[str]:
    """Return what matches an output as it is shown: `…` is anything within a line; alone, any lines.

    Columns may be wider, as ports are of five digits here.
    """
    lines = []
    for line in shown.splitlines():
        words = re.sub(r"(?:\\ )+", " +", re.escape(line)).replace("…", ".*")
        lines.append(r"(?:.*\n)*?" if line == "…" else f"{words} *\n")
    return re.compile("".join(lines))


class Reader:
    """Somebody who types what is on the page, into one terminal after another, in a folder of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = dict(zip(PORTS, map(str, lasting_ports(len(PORTS))), strict=True))
        self.foreground: subprocess.Popen[bytes] | None = None
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**environment(), "HOME": str(home), "PATH": path}
        self.environment.pop("XDG_STATE_HOME", None)

    def ours(self, text: str) -> str:
        """Return a text with the ports of this test in it."""
        return re.sub("|".join(PORTS), lambda found: self.ports[found[0]], text)

    def types(self, command: str, shown: str) -> None:
        """Run a command, and check what it prints, if that is shown."""
        if "twistd " in command and "--listen=" not in command and "registry" not in command:
            command += " --listen=tcp:4444:interface=127.0.0.1"
        if command.startswith("twistd -n"):
            self.starts(self.ours(command), pattern(self.ours(shown)))
            return
        if command.startswith("twistd "):
            self.interrupts()
        done = subprocess.run(
            ["bash", "-c", self.ours(command)],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * WAIT_S_MAX,
        )
        if shown and not pattern(self.ours(shown)).fullmatch(done.stdout):
            raise AssertionError(f"$ {command}\n{done.stdout}\nis not\n{self.ours(shown)}")
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"

    def starts(self, command: str, shown: re.Pattern[str]) -> None:
        log = self.home / "foreground.log"
        with log.open("wb") as output:
            self.foreground = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # As a terminal starts it: whoever runs tests in the background has its children ignore interrupts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        wait_until(lambda: shown.match(log.read_text()), f"{command} says what is shown")

    def interrupts(self) -> None:
        """Press Ctrl-C where a server stays in its terminal."""
        if self.foreground is not None:
            self.foreground.send_signal(signal.SIGINT)
            self.foreground.wait(WAIT_S_MAX)
            self.foreground = None

    def daemons(self) -> list[int]:
        return [int(path.read_text()) for path in self.home.glob("*.pid")]

    def goes(self) -> None:
        if self.foreground is not None:
            self.foreground.kill()
            self.foreground.wait(WAIT_S_MAX)
        for pid in self.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.goes()


def test_everything_that_is_to_be_typed(reader: Reader) -> None:
    blocks = list(re.finditer(r"(?:as `(\S+)`:\n\n)?^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    typed = 0
    for block in blocks:
        name, kind, text = block.groups()
        if kind == "python":
            assert name, text
            (reader.home / name).write_text(reader.ours(text), encoding="utf-8")
        elif kind == "console":
            commands = COMMAND.findall(text)
            assert "".join(f"$ {command}\n{shown}" for command, shown in commands) == text
            for command, shown in commands:
                if "| nc " in command and shutil.which("nc") is None:
                    continue
                reader.types(command, shown)
                typed += 1
    assert typed > 10
    wait_until(lambda: not reader.daemons(), "all of it has ended")
    for log in reader.home.glob("*.log"):
        said = log.read_text()
        assert not any(word in said for word in TROUBLE), said[-4000:]
