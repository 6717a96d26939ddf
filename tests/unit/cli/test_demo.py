"""Tests for chatproto.cli.demo: what needs no deployment; one is started in the integration tests."""

import os
import signal
import socket
import threading
import time
from contextlib import closing
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import Status, encode
from chatproto.cli import demo
from chatproto.cli.demo import HOST, Child, DemoFailed, DemoOptions
from chatproto.disk.directory import lock


class PortTests(SynchronousTestCase):
    def test_a_port_that_is_taken_is_named(self) -> None:
        with closing(socket.socket()) as taken:
            taken.bind((HOST, 0))
            taken.listen()
            port = taken.getsockname()[1]
            error = self.assertRaises(DemoFailed, demo._check_free, [port])
        self.assertIn(f"port {port} cannot be used", str(error))
        self.assertIn("--port", str(error))
        demo._check_free([port])

    def test_nothing_is_started_then(self) -> None:
        for signal_number in (signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, signal_number, signal.getsignal(signal_number))
        with closing(socket.socket()) as taken, mock.patch.object(demo, "Child") as child:
            taken.bind((HOST, 0))
            taken.listen()
            options = DemoOptions(self.mktemp(), taken.getsockname()[1], None)
            self.assertRaises(DemoFailed, demo.demo, options, self.fail)
        child.assert_not_called()


class ClearTests(SynchronousTestCase):
    def test_what_somebody_has_a_node_run_on_stays(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        held = lock(os.path.join(directory, "primary"))
        os.mkdir(os.path.join(directory, "secondary"))
        Path(directory, "primary.log").touch()
        said: list[str] = []
        demo._clear(directory, said.append)
        self.assertEqual(sorted(os.listdir(directory)), ["primary", "primary.log", "secondary"])
        self.assertIn("primary was started by hand", "".join(said))
        self.assertNotIn("secondary", "".join(said))
        os.close(held)
        demo._clear(directory, self.fail)
        self.assertFalse(os.path.exists(directory))
        demo._clear(directory, self.fail)


class RedundancyTests(SynchronousTestCase):
    def answer(self, answer: bytes | None) -> str | None:
        with closing(socket.socket()) as listening:
            listening.bind((HOST, 0))
            listening.listen()
            listening.settimeout(10)
            heard: list[bytes] = []

            def server() -> None:
                connection, _ = listening.accept()
                with connection:
                    heard.append(connection.recv(1000))
                    for start in range(0, len(answer or b""), 7):
                        connection.sendall((answer or b"")[start : start + 7])

            thread = threading.Thread(target=server)
            thread.start()
            said = demo._redundancy(f"{HOST}:{listening.getsockname()[1]}")
            thread.join(10)
            self.assertEqual(heard, [b'{"type":"status"}\n'])
            return said

    def test_what_a_server_says(self) -> None:
        for serving, said in ((True, "paired"), (False, "not serving")):
            status = Status([], 0, 0, 4, "leader", "paired", [], "east", 1, 100, serving)
            self.assertEqual(self.answer(encode(status)), said)

    def test_what_makes_no_sense(self) -> None:
        for answer in (b"", b"paired", b"paired\n", b'{"type":"status"}\n', b"[]\n", b'{"serving":true}\n'):
            self.assertIsNone(self.answer(answer), answer)

    def test_nobody_is_there(self) -> None:
        with closing(socket.socket()) as taken:
            taken.bind((HOST, 0))
            self.assertIsNone(demo._redundancy(f"{HOST}:{taken.getsockname()[1]}"))


class ChildTests(SynchronousTestCase):
    def start(self, code: str) -> Child:
        directory = self.mktemp()
        os.mkdir(directory)
        with mock.patch.object(demo, "TWISTD", code):
            child = Child("east", ["--role=primary"], directory)
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
        with mock.patch.object(demo, "STOP_S_MAX", 0.1):
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
