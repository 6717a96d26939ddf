"""Tests for chatproto.cli.control: a command to a node over the socket in its data directory."""

import os
import socket
import threading
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli import control
from chatproto.cli.control import ControlFailed, command


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.heard: list[bytes] = []
        self.ended = threading.Event()

    def answer(self, *answer: bytes, pause_s: float = 0.0, **how: Any) -> str:
        """Ask a node that answers so, in these pieces, and then ends; return what the command says."""
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(os.path.join(self.directory, "control"))
            listening.listen()
            listening.settimeout(10)

            def node() -> None:
                connection, _ = listening.accept()
                with connection:
                    self.heard.append(connection.recv(1000))
                    for piece in answer:
                        connection.sendall(piece)
                    self.ended.wait(pause_s)
                    self.heard.append(b"it ends")

            thread = threading.Thread(target=node)
            thread.start()
            try:
                return command(self.directory, "switchover", **how)
            finally:
                self.before = list(self.heard)
                self.ended.set()
                thread.join(10)

    def check_failed(self, why: str, *answer: bytes) -> None:
        error = self.assertRaises(ControlFailed, self.answer, *answer)
        self.assertEqual(str(error), why)

    def test_done(self) -> None:
        self.assertEqual(self.answer(b"done: west leads: since epoch 4\n"), "west leads: since epoch 4")
        self.assertEqual(self.before[0], b"switchover\n")

    def test_an_answer_in_pieces(self) -> None:
        self.assertEqual(self.answer(b"do", b"ne: west ", b"leads\nmore\n"), "west leads")

    def test_what_is_told_before_the_last_line(self) -> None:
        told: list[str] = []
        self.assertEqual(self.answer(b"not changed: a\nnot changed: b\n", b"done: all\n", tell=told.append), "all")
        self.assertEqual(told, ["not changed: a", "not changed: b"])

    def test_an_end_before_the_last_line(self) -> None:
        error = self.assertRaises(ControlFailed, self.answer, b"not changed: a\n", tell=str)
        self.assertEqual(str(error), "the node ended before it answered")

    def test_refused(self) -> None:
        self.check_failed("west leads", b"refused: west leads\n")

    def test_the_end_of_a_node_is_waited_for(self) -> None:
        self.assertEqual(self.answer(b"done: 2 went\n", pause_s=0.05, ends=True), "2 went")
        self.assertEqual(self.before, [b"switchover\n", b"it ends"])

    def test_a_node_that_stays_is_not_waited_for(self) -> None:
        self.assertEqual(self.answer(b"done: west leads\n", pause_s=10), "west leads")
        self.assertEqual(self.before, [b"switchover\n"])

    def test_a_node_that_refuses_to_end(self) -> None:
        error = self.assertRaises(ControlFailed, self.answer, b"refused: not now\n", pause_s=10, ends=True)
        self.assertEqual(str(error), "not now")

    def test_a_node_that_ends_meanwhile(self) -> None:
        self.check_failed("the node ended before it answered")

    def test_no_node(self) -> None:
        nowhere = os.path.join(self.directory, "nowhere")
        for directory, more in ((self.directory, ""), (nowhere, ", which is no directory")):
            error = self.assertRaises(ControlFailed, command, directory, "switchover")
            self.assertEqual(str(error), f"no node runs on {directory}{more}")

    def test_a_node_that_was_killed(self) -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(os.path.join(self.directory, "control"))
        error = self.assertRaises(ControlFailed, command, self.directory, "switchover")
        self.assertEqual(str(error), f"no node runs on {self.directory}")

    def test_a_node_that_does_not_answer(self) -> None:
        with socket.socket(socket.AF_UNIX) as listening, mock.patch.object(control, "ANSWER_S_MAX", 0.05):
            listening.bind(os.path.join(self.directory, "control"))
            listening.listen()
            error = self.assertRaises(ControlFailed, command, self.directory, "switchover")
        self.assertIn("timed out", str(error))

    def test_a_path_that_no_socket_can_have(self) -> None:
        error = self.assertRaises(ControlFailed, command, os.path.join(self.directory, "x" * 200), "switchover")
        self.assertIn("control", str(error))
