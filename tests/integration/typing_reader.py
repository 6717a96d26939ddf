"""Somebody who types what stands on a page of the documents."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.nodes import PROJECT, TROUBLE, WAIT_S_MAX, environment, wait_until
from tests.integration.pairs import lasting_ports

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
    """Somebody who types what is on a page, into one terminal after another, in a folder of their own.

    Ports are replaced by free ones, and what would listen on every interface listens on 127.0.0.1.
    """

    def __init__(self, page: str, home: Path, *ports: str) -> None:
        """Begin with a page of the documents, in which there are these ports."""
        self.page = (PROJECT / "docs" / page).read_text(encoding="utf-8")
        self.home = home
        self.ports = dict(zip(ports, map(str, lasting_ports(len(ports))), strict=True))
        self.foreground: subprocess.Popen[bytes] | None = None
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**environment(), "HOME": str(home), "PATH": path}
        self.environment.pop("XDG_STATE_HOME", None)

    def ours(self, text: str) -> str:
        """Return a text with the ports of this test in it."""
        return re.sub("|".join(self.ports), lambda found: self.ports[found[0]], text)

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

    def types_all(self) -> int:
        """Type all that is to be typed; return how much that was."""
        blocks = list(re.finditer(r"(?:as `(\S+)`:\n\n)?^```(\w+)\n(.*?)^```", self.page, re.DOTALL | re.MULTILINE))
        typed = 0
        for block in blocks:
            name, kind, text = block.groups()
            if kind == "python":
                assert name, text
                (self.home / name).write_text(self.ours(text), encoding="utf-8")
            elif kind == "console":
                commands = COMMAND.findall(text)
                assert "".join(f"$ {command}\n{shown}" for command, shown in commands) == text
                for command, shown in commands:
                    if "| nc " in command and shutil.which("nc") is None:
                        continue
                    self.types(command, shown)
                    typed += 1
        return typed

    def has_ended(self) -> None:
        """Wait until everything that was started has ended, without any trouble."""
        wait_until(lambda: not self.daemons(), "all of it has ended")
        for log in self.home.glob("*.log"):
            said = log.read_text()
            assert not any(word in said for word in TROUBLE), said[-4000:]

    def starts(self, command: str, shown: re.Pattern[str]) -> None:
        """Start what stays in its terminal, and wait until it says what is shown."""
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
        """Return the processes that run in the background."""
        return [int(path.read_text()) for path in self.home.glob("*.pid")]

    def goes(self) -> None:
        """End what is left."""
        if self.foreground is not None:
            self.foreground.kill()
            self.foreground.wait(WAIT_S_MAX)
        for pid in self.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
