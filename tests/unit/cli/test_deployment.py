"""Tests for chatproto.cli.deployment: what needs no deployment; one is started in the integration tests."""

import os
import signal
import socket
import time
from contextlib import closing
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli import deployment
from chatproto.cli.deployment import CHAT, HOST, Child, DemoFailed, check_free, clear
from chatproto.disk.directory import lock


class PortTests(SynchronousTestCase):
    def test_a_port_that_is_taken_is_named(self) -> None:
        with closing(socket.socket()) as taken:
            taken.bind((HOST, 0))
            taken.listen()
            port = taken.getsockname()[1]
            error = self.assertRaises(DemoFailed, check_free, [port])
        self.assertIn(f"port {port} cannot be used", str(error))
        self.assertIn("--port", str(error))
        check_free([port])


class ClearTests(SynchronousTestCase):
    def test_what_somebody_has_a_node_run_on_stays(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        held = lock(os.path.join(directory, "primary"))
        os.mkdir(os.path.join(directory, "secondary"))
        Path(directory, "primary.log").touch()
        said: list[str] = []
        clear(directory, said.append)
        self.assertEqual(sorted(os.listdir(directory)), ["primary", "primary.log", "secondary"])
        self.assertIn("primary was started by hand", "".join(said))
        self.assertNotIn("secondary", "".join(said))
        os.close(held)
        clear(directory, self.fail)
        self.assertFalse(os.path.exists(directory))
        clear(directory, self.fail)


class ChildTests(SynchronousTestCase):
    def start(self, code: str) -> Child:
        directory = self.mktemp()
        os.mkdir(directory)
        with mock.patch.object(deployment, "TWISTD", code):
            child = Child("east", CHAT, ["--role=primary"], directory)
        self.addCleanup(child.process.wait)
        self.addCleanup(child.process.kill)
        return child

    def test_it_is_given_its_name_data_and_log(self) -> None:
        child = self.start("import sys; print(*sys.argv[1:], file=open(sys.argv[2].partition('=')[2], 'w'))")
        self.assertEqual(child.process.wait(20), 0)
        directory = os.path.dirname(child.log)
        self.assertEqual(
            child.why(),
            f"--nodaemon --logfile={child.log} --pidfile= chatserver "
            f"--data={os.path.join(directory, 'east')} --role=primary",
        )

    def test_one_that_said_nothing(self) -> None:
        child = self.start("")
        child.process.wait(20)
        self.assertEqual(child.why(), "it said nothing")
        child.end()

    def test_one_that_ends_when_asked(self) -> None:
        child = self.start("import time; time.sleep(60)")
        child.end()
        self.assertEqual(child.process.returncode, -signal.SIGTERM)

    def test_one_that_does_not_is_killed(self) -> None:
        ready = self.mktemp()
        child = self.start(
            f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({ready!r}, 'w'); time.sleep(60)"
        )
        wait_for(ready)
        with mock.patch.object(deployment, "STOP_S_MAX", 0.1):
            child.end()
        self.assertEqual(child.process.returncode, -signal.SIGKILL)

    def test_an_interrupt_typed_is_not_for_it(self) -> None:
        child = self.start("import time; time.sleep(60)")
        self.assertNotEqual(os.getsid(child.process.pid), os.getsid(0))


def wait_for(path: str) -> None:
    end = time.monotonic() + 20
    while not os.path.exists(path):
        assert time.monotonic() < end, f"{path} is not there"
        time.sleep(0.01)
