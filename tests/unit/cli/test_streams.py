"""Tests for chatproto.cli.streams, on pipes."""

import os
import signal
from typing import Any

from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.streams import LINE_BYTES_MAX, LineInput, LineOutput


class Readers:
    """The part of a reactor that is asked to read."""

    def __init__(self) -> None:
        self.reading: list[Any] = []

    def addReader(self, reader: Any) -> None:
        if reader not in self.reading:
            self.reading.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.reading:
            self.reading.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        pass


class PipeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.far_out, self.far_in = os.pipe()
        self.open = {self.far_out, self.far_in}
        self.addCleanup(lambda: self.close(*self.open))

    def close(self, *descriptors: int) -> None:
        for descriptor in descriptors:
            self.open.remove(descriptor)
            os.close(descriptor)


class Reading(PipeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = Readers()
        self.heard: list[str] = []
        self.ends: list[str] = []
        self.input = LineInput(self.reactor, self.far_out, self.heard.append, self.ends.append)  # type: ignore[arg-type]
        self.input.startReading()

    def write(self, data: bytes) -> None:
        """Write, and let all that was written be read."""
        while data:
            data = data[os.write(self.far_in, data[:4096]) :]
            self.assertIsNone(self.input.doRead())

    def test_whole_lines_come_out(self) -> None:
        self.write(b"one\ntwo\nthr")
        self.assertEqual(self.heard, ["one", "two"])
        self.write(b"ee\n")
        self.assertEqual(self.heard, ["one", "two", "three"])

    def test_what_is_not_utf8_is_replaced(self) -> None:
        self.write("é\n".encode() + b"\xff\n")
        self.assertEqual(self.heard, ["é", "\ufffd"])

    def test_the_last_line_needs_no_newline(self) -> None:
        self.write(b"one\ntwo")
        self.close(self.far_in)
        self.assertIs(self.input.doRead(), CONNECTION_DONE)
        self.input.connectionLost(Failure(CONNECTION_DONE))
        self.assertEqual((self.heard, self.ends), (["one", "two"], [""]))
        self.assertEqual(self.reactor.reading, [])

    def test_a_terminal_that_has_gone_is_the_end(self) -> None:
        self.close(self.far_out)
        self.assertIs(self.input.doRead(), CONNECTION_DONE)

    def test_nothing_to_read_after_all(self) -> None:
        os.set_blocking(self.far_out, False)
        self.assertIsNone(self.input.doRead())

    def test_reading_is_held_and_goes_on(self) -> None:
        self.input.hold(True)
        self.assertEqual(self.reactor.reading, [])
        self.input.hold(False)
        self.assertEqual(self.reactor.reading, [self.input])

    def test_after_the_end_nothing_goes_on(self) -> None:
        self.input.connectionLost(Failure(CONNECTION_DONE))
        self.input.hold(False)
        self.assertEqual(self.reactor.reading, [])

    def test_a_line_too_long_ends_it_once(self) -> None:
        self.write(b"one\n" + b"x" * (LINE_BYTES_MAX + 1))
        self.assertEqual(self.heard, ["one"])
        self.assertEqual(self.ends, [f"a line longer than {LINE_BYTES_MAX} bytes was read"])
        self.input.connectionLost(Failure(CONNECTION_DONE))
        self.assertEqual(len(self.ends), 1)

    def test_the_descriptor_stays_as_it_was(self) -> None:
        self.assertTrue(os.get_blocking(self.far_out))


class Writing(PipeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.lost: list[str] = []
        self.output = LineOutput(self.far_in, self.lost.append)

    def test_lines(self) -> None:
        self.output.write("one")
        self.output.write("é\ud800")
        self.assertEqual(os.read(self.far_out, 100), "one\né?\n".encode())

    def test_nobody_reads_any_more(self) -> None:
        former = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGPIPE, former)
        self.close(self.far_out)
        self.output.write("one")
        self.output.write("two")
        self.assertEqual(self.lost, ["cannot write to standard output: Broken pipe"])
