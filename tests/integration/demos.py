"""A running `chatproto demo`, from the outside."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.nodes import WAIT_S_MAX, environment, wait_until
from tests.integration.pairs import CHATPROTO, lasting_ports


class Demo:
    """A running `chatproto demo`."""

    def __init__(self, folder: Path, *options: str, subject: str = "chat") -> None:
        """Start one, whose data and logs are in `data` under a folder."""
        self.folder = folder
        self.out = folder / "out"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CHATPROTO, "demo", subject, f"--data={folder / 'data'}", *options],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                # As a terminal starts it: whoever runs tests in the background has its children ignore interrupts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        self.pid = self.process.pid

    def said(self) -> str:
        """Return all that it has said."""
        return self.out.read_text()

    def says(self, text: str) -> None:
        """Wait until it has said something."""

        def found() -> bool:
            assert text in self.said() or self.process.poll() is None, self.said()
            return text in self.said()

        wait_until(found, f"it says {text!r}")

    def children(self) -> set[int]:
        """Return the processes of the deployment that run, whoever is their parent now."""
        found = set()
        for path in Path("/proc").iterdir():
            if path.name.isdecimal() and int(path.name) != self.pid:
                with contextlib.suppress(OSError):
                    line = (path / "cmdline").read_bytes()
                    state = (path / "stat").read_text().rpartition(")")[2].split()[0]
                    if str(self.folder / "data").encode() + b"/" in line and state != "Z":
                        found.add(int(path.name))
        return found

    def interrupt(self) -> None:
        """End it as Ctrl-C does; it takes everything with it."""
        os.kill(self.pid, signal.SIGINT)
        assert self.process.wait(WAIT_S_MAX) == 0
        assert self.children() == set()

    def end(self) -> None:
        """End what is left of it."""
        for pid in [self.pid, *self.children()] if self.process.poll() is None else self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(WAIT_S_MAX)


def run(command: str, *more: str, given: str = "") -> str:
    """Do what it says to type, and a little more; return what that has said."""
    name, *arguments = command.split()
    assert name == "chatproto"
    done = subprocess.run(
        [sys.executable, "-c", CHATPROTO, *arguments, *more],
        input=given,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_S_MAX,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def neighbouring_ports(count: int = 10) -> int:
    """Return the first of some ports in a row that are free."""
    (first,) = lasting_ports(1, in_a_row=count)
    return first
