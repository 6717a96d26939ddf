"""Tests for chatproto.cli.demo: what needs no deployment; one is started in the integration tests."""

import signal
import socket
import threading
from contextlib import closing
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import Status, encode
from chatproto.cli import demo, deployment
from chatproto.cli.demo import DemoOptions
from chatproto.cli.deployment import HOST, DemoFailed


class PortTests(SynchronousTestCase):
    def test_nothing_is_started_then(self) -> None:
        for signal_number in (signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, signal_number, signal.getsignal(signal_number))
        with closing(socket.socket()) as taken, mock.patch.object(deployment, "Child") as child:
            taken.bind((HOST, 0))
            taken.listen()
            options = DemoOptions(self.mktemp(), taken.getsockname()[1], None)
            self.assertRaises(DemoFailed, demo.demo, options, self.fail)
        child.assert_not_called()


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
