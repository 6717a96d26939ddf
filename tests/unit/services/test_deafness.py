import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.services.deafness import (
    DROP,
    JUMP,
    JUMP_IF_EQUAL,
    LOAD_BYTE,
    LOAD_WORD,
    NETWORK_HEADER,
    PASS,
    RETURN,
    SHIFT_RIGHT,
    Deafness,
    Instruction,
    program,
)
from chatproto.wire.addresses import origin_of


def packet(source: str) -> bytes:
    """Return the header of an IP packet, as far as it matters."""
    address = ip_address(source)
    if address.version == 4:
        return b"\x45" + bytes(11) + address.packed + bytes(4)
    return b"\x60" + bytes(7) + address.packed + bytes(16)


def run(instructions: Sequence[Instruction], header: bytes) -> int:
    """Do what the kernel does with a program, which only goes forward."""
    at, held = 0, 0
    while True:
        code, if_true, if_false, constant = instructions[at]
        at += 1
        if code == RETURN:
            return constant
        elif code == LOAD_BYTE:
            held = header[constant - NETWORK_HEADER]
        elif code == LOAD_WORD:
            (held,) = struct.unpack_from("!I", header, constant - NETWORK_HEADER)
        elif code == SHIFT_RIGHT:
            held >>= constant
        elif code == JUMP:
            at += constant
        elif code == JUMP_IF_EQUAL:
            at += if_true if held == constant else if_false
        else:
            raise AssertionError(f"no such instruction: {code}")


V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None).map(str)


class ProgramTests(SynchronousTestCase):
    @given(st.lists(V4 | V6, max_size=80), V4 | V6)
    def test_drops_what_comes_from_these_and_nothing_else(self, unheard: list[str], other: str) -> None:
        origins = [origin_of(host) for host in unheard]
        made = program(origins)
        for host in [*unheard, other]:
            self.assertEqual(run(made, packet(host)), DROP if origin_of(host) in origins else PASS, host)

    def test_of_ipv6_it_is_the_network(self) -> None:
        made = program([origin_of("2001:db8::1")])
        found = [run(made, packet(host)) for host in ("2001:db8::ffff:1", "2001:db8:0:1::1", "2002:db8::1")]
        self.assertEqual(found, [DROP, PASS, PASS])


class DeafnessTests(SynchronousTestCase):
    """With a real socket: packets to this machine have arrived when the sending of them ends."""

    def setUp(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        self.deafness = Deafness(self.listening)

    def connects(self, host: str) -> bool:
        """Whether a connection comes about at once."""
        link = socket.socket()
        self.addCleanup(link.close)
        link.bind((host, 0))
        link.setblocking(False)
        link.connect_ex(self.listening.getsockname())
        try:
            return bool(link.getpeername())
        except OSError:
            return False

    def test_who_is_not_heard_does_not_come_in_and_is_counted(self) -> None:
        self.assertTrue(self.connects("127.0.0.2"))
        self.deafness.to(["127.0.0.3", "2001:db8::/64"])
        self.assertEqual([self.connects(f"127.0.0.{number}") for number in (2, 3, 3)], [True, False, False])
        self.assertEqual([self.deafness.dropped(), self.deafness.dropped()], [2, 0])
        self.deafness.to(["127.0.0.3", "127.0.0.2"])
        self.assertEqual([self.connects(f"127.0.0.{number}") for number in (2, 3, 4)], [False, False, True])
        self.deafness.end()
        self.assertTrue(self.connects("127.0.0.2"))
        self.assertTrue(self.deafness.possible)

    def test_a_hundred_at_once(self) -> None:
        """As many as a listener asks for, and of the longer kind."""
        self.deafness.to([f"2001:db8:{number:x}::/64" for number in range(99)] + ["127.0.0.3"])
        self.assertTrue(self.deafness.possible)
        self.assertEqual([self.connects(f"127.0.0.{number}") for number in (2, 3)], [True, False])

    def test_a_connection_that_is_there_goes_on(self) -> None:
        link = socket.create_connection(self.listening.getsockname(), source_address=("127.0.0.3", 0))
        self.addCleanup(link.close)
        accepted, _ = self.listening.accept()
        self.addCleanup(accepted.close)
        self.deafness.to(["127.0.0.3"])
        link.sendall(b"still here")
        self.assertEqual(accepted.recv(100), b"still here")

    def test_a_socket_that_is_closed(self) -> None:
        self.listening.close()
        self.deafness.to(["127.0.0.3"])
        self.assertFalse(self.deafness.possible)
        self.assertEqual(self.deafness.dropped(), 0)
