"""A port of UDP in a flood."""

from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.udp import DATAGRAMS_A_TURN_MAX, ModestPort, listening_by

FLOOD = 10 * DATAGRAMS_A_TURN_MAX


class Socket:
    """Has datagrams."""

    def __init__(self, *datagrams: bytes) -> None:
        self.datagrams = list(datagrams)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int, int, int]]:
        if not self.datagrams:
            raise BlockingIOError
        return self.datagrams.pop(0)[:size], ("::1", 7, 0, 0)


class Heard(DatagramProtocol):
    """Notes what comes."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        if datagram == b"bad":
            raise RuntimeError("a datagram that cannot be taken")
        assert addr == ("::1", 7)
        self.heard.append(datagram)


class ModestPortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard = Heard()
        self.port = ModestPort(0, self.heard, reactor=Clock())

    def flood(self, *datagrams: bytes) -> Socket:
        self.port.socket = socket = Socket(*datagrams)
        return socket

    def test_empty_ones_do_not_keep_it(self) -> None:
        """Twisted's own port would read them as long as they come: it counts bytes."""
        socket = self.flood(*[b""] * FLOOD)
        self.port.doRead()
        self.assertEqual(len(socket.datagrams), FLOOD - DATAGRAMS_A_TURN_MAX)

    def test_short_ones_neither_and_none_is_lost(self) -> None:
        sent = [b"%d" % number for number in range(FLOOD)]
        self.flood(*sent)
        self.port.doRead()
        self.assertEqual(self.heard.heard, sent[:DATAGRAMS_A_TURN_MAX])
        for _ in range(FLOOD // DATAGRAMS_A_TURN_MAX):
            self.port.doRead()
        self.assertEqual(self.heard.heard, sent)

    def test_one_that_cannot_be_taken_does_not_keep_the_others(self) -> None:
        self.flood(b"one", b"bad", b"two")
        self.port.doRead()
        self.assertEqual(self.heard.heard, [b"one", b"two"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_it_is_what_a_daemon_listens_by(self) -> None:
        from twisted.internet import reactor

        port = listening_by(reactor)(0, self.heard, "127.0.0.1")
        self.assertIsInstance(port, ModestPort)
        self.assertEqual(port.getHost().host, "127.0.0.1")
        port.stopListening()
