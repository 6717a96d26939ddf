"""What a WebSocket client writes, by hand."""

import struct

MASK = b"\x12\x34\x56\x78"


def masked(opcode: int, payload: bytes = b"", *, final: bool = True, bits: int = 0, mask: bytes = MASK) -> bytes:
    """Return a frame as a client writes it; `bits` are the reserved ones."""
    size = len(payload)
    first = (0x80 if final else 0) | bits << 4 | opcode
    if size < 126:
        header = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        header = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", first, 0x80 | 127, size)
    return header + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def unframed(data: bytes) -> list[tuple[int, bytes]]:
    """Return the frames that a server wrote: opcodes and payloads."""
    found = []
    while data:
        assert data[0] & 0x80 and not data[1] & 0x80, "whole, and not masked"
        size, at = data[1], 2
        if size == 126:
            size, at = struct.unpack("!H", data[2:4])[0], 4
        elif size == 127:
            size, at = struct.unpack("!Q", data[2:10])[0], 10
        found.append((data[0] & 0x0F, data[at : at + size]))
        data = data[at + size :]
    return found
