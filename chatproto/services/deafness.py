"""A port that does not hear some addresses: Linux drops their packets before its queue, at next to no cost.

By a classic BPF program at the listening socket (Linux, Documentation/networking/filter.rst), which any process may
attach. Connections that are there already, of these addresses too, are not affected.
"""

import ctypes
import socket
import struct
import sys
from collections.abc import Iterable
from ipaddress import ip_network

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_MEMINFO = 55
"""Of a socket (Linux, include/uapi/asm-generic/socket.h)."""
MEMINFO_DROPS = 8
MEMINFO = struct.Struct("@9I")
"""What `SO_MEMINFO` answers, and which of it are the packets dropped (include/uapi/linux/sock_diag.h)."""

LOAD_BYTE, LOAD_WORD, SHIFT_RIGHT, JUMP, JUMP_IF_EQUAL, RETURN = 0x30, 0x20, 0x74, 0x05, 0x15, 0x06
NETWORK_HEADER = 0xFFF00000
IPV4_SOURCE, IPV6_SOURCE = NETWORK_HEADER + 12, NETWORK_HEADER + 8
DROP, PASS = 0, 0xFFFFFFFF
"""How much of a packet is kept."""

Instruction = tuple[int, int, int, int]
"""Code, jumps if true and if false, counted from the next instruction, and a constant (`struct sock_filter`)."""


def program(origins: Iterable[str]) -> list[Instruction]:
    """Return the program that drops what comes from origins (see `chatproto.wire.addresses.origin_of`)."""
    ours: list[Instruction] = [(LOAD_WORD, 0, 0, IPV4_SOURCE)]
    theirs: list[Instruction] = []
    for network in map(ip_network, origins):
        first = network.network_address.packed
        if network.version == 4:
            ours += [(JUMP_IF_EQUAL, 0, 1, int.from_bytes(first)), (RETURN, 0, 0, DROP)]
        else:
            high, low = struct.unpack_from("!II", first)
            theirs += [
                (LOAD_WORD, 0, 0, IPV6_SOURCE),
                (JUMP_IF_EQUAL, 0, 3, high),
                (LOAD_WORD, 0, 0, IPV6_SOURCE + 4),
                (JUMP_IF_EQUAL, 0, 1, low),
                (RETURN, 0, 0, DROP),
            ]
    passed: Instruction = (RETURN, 0, 0, PASS)
    version: list[Instruction] = [
        (LOAD_BYTE, 0, 0, NETWORK_HEADER),
        (SHIFT_RIGHT, 0, 0, 4),
        (JUMP_IF_EQUAL, 1, 0, 4),
        # A conditional jump reaches 255 instructions, this one any number.
        (JUMP, 0, 0, len(ours) + 1),
    ]
    return [*version, *ours, passed, *theirs, passed]


class Deafness:
    """Which origins a listening socket does not hear.

    Attributes:
        possible: whether the system can do this; known after the first attempt.
    """

    def __init__(self, listening: socket.socket) -> None:
        """Hear everybody as yet."""
        self.possible = sys.platform == "linux"
        self._socket = listening
        self._dropped = 0

    def to(self, origins: Iterable[str]) -> None:
        """Hear none of these, and everybody else."""
        code = b"".join(struct.pack("@HBBI", *instruction) for instruction in program(origins))
        held = ctypes.create_string_buffer(code, len(code))
        described = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
        self._change(SO_ATTACH_FILTER, described)

    def end(self) -> None:
        """Hear everybody again."""
        self._change(SO_DETACH_FILTER, struct.pack("@i", 0))

    def _change(self, option: int, value: bytes) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, option, value)
        except OSError:
            # Or the socket is closed by now.
            self.possible = False

    def dropped(self) -> int:
        """Return how many packets the kernel has dropped at the socket since this was asked last."""
        try:
            answer = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
            before, self._dropped = self._dropped, MEMINFO.unpack(answer)[MEMINFO_DROPS]
        except (OSError, struct.error):
            return 0
        return (self._dropped - before) % (1 << 32)
