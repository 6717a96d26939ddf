"""The frames of a WebSocket (RFC 6455), as a server reads and writes them. Pure.

Nothing is held that has not been allowed: a message that would be too long is refused by the header that says so,
before its bytes are there, and of empty fragments nothing is kept. Text is checked while it comes, to the byte.
There are no extensions: a compressed frame is a breach of the protocol, and costs no more than any other.
"""

import codecs
import struct
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
OPCODES = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)

NORMAL, GOING_AWAY, PROTOCOL_ERROR, UNSUPPORTED, NOT_UTF8, TOO_BIG = 1000, 1001, 1002, 1003, 1007, 1009

CONTROL_BYTES_MAX = 125


@dataclass(frozen=True)
class Message:
    """A whole message; `text` is false for a binary one. That text is UTF-8 has been checked."""

    data: bytes
    text: bool = True


@dataclass(frozen=True)
class Ping:
    """Wants a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True)
class Closed:
    """The other side ends, for a reason of its own; `code` is None where it gave none. Nothing follows."""

    code: int | None


@dataclass(frozen=True)
class Failed:
    """The other side broke the protocol, or a ceiling: it is to be told this code, and ended. Nothing follows."""

    code: int
    reason: str


Event = Message | Ping | Closed | Failed


class _Breach(Exception):
    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(code, reason)
        self.failed = Failed(code, reason)


class FrameReader:
    """Turns a client's bytes, however they are chopped, into messages.

    Attributes:
        frames: how many have begun, for whoever limits them.
    """

    def __init__(self, message_bytes_max: int) -> None:
        """Read messages of at most so many bytes, all their fragments together."""
        self.frames = 0
        self._message_bytes_max = message_bytes_max
        self._over = False
        self._header = b""
        # The frame under way: its opcode, whether its message ends with it, its mask, and how much is to come.
        self._opcode = -1
        self._final = False
        self._mask = b""
        self._left = 0
        self._control = b""
        # The message under way.
        self._kind = CONTINUATION
        self._message = bytearray()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def feed(self, data: bytes) -> list[Event]:
        """Take what was read; return what it completes, in order. After `Closed` or `Failed` all is ignored."""
        events: list[Event] = []
        if self._over:
            return events
        data, at = self._header + data, 0
        try:
            while True:
                if self._opcode < 0:
                    size = self._begin(data, at)
                    if not size:
                        break
                    at += size
                piece = data[at : at + self._left]
                at += len(piece)
                if piece:
                    self._take(piece)
                if self._left:
                    break
                event = self._end()
                if event is not None:
                    events.append(event)
                if isinstance(event, Closed):
                    self._over = True
                    break
        except _Breach as breach:
            self._over = True
            events.append(breach.failed)
        self._header = b"" if self._over else data[at:]
        return events

    def _begin(self, data: bytes, at: int) -> int:
        """Read a header; return its size, or 0 where it is not whole."""
        if len(data) - at < 2:
            return 0
        first, second = data[at], data[at + 1]
        opcode, length = first & 0x0F, second & 0x7F
        if first & 0x70:
            raise _Breach("a reserved bit is set: there are no extensions")
        if opcode not in OPCODES:
            raise _Breach(f"there is no opcode {opcode}")
        if not second & 0x80:
            raise _Breach("a client has to mask what it sends")
        if opcode >= CLOSE and (length > CONTROL_BYTES_MAX or not first & 0x80):
            raise _Breach("a control frame is short, and whole")
        if opcode < CLOSE and (opcode == CONTINUATION) is (self._kind == CONTINUATION):
            raise _Breach("a message begins within another, or goes on that has not begun")
        size = 6 + {126: 2, 127: 8}.get(length, 0)
        if len(data) - at < size:
            return 0
        if length >= 126:
            (length,) = struct.unpack_from("!H" if length == 126 else "!Q", data, at + 2)
        if opcode < CLOSE and len(self._message) + length > self._message_bytes_max:
            raise _Breach(f"a message has at most {self._message_bytes_max} bytes", TOO_BIG)
        self.frames += 1
        self._opcode, self._final = opcode, bool(first & 0x80)
        self._mask, self._left = data[at + size - 4 : at + size], length
        if opcode in (TEXT, BINARY):
            self._kind = opcode
        return size

    def _take(self, piece: bytes) -> None:
        """Take a piece of the payload of the frame under way."""
        size = len(piece)
        mask = self._mask
        # As whole numbers, which is as fast as it gets without a library for it.
        key = (mask * (size // 4 + 1))[:size]
        plain = (int.from_bytes(piece, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")
        self._mask = mask[size % 4 :] + mask[: size % 4]
        self._left -= size
        if self._opcode >= CLOSE:
            self._control += plain
            return
        if self._kind == TEXT:
            self._check(plain, final=False)
        self._message += plain

    def _check(self, plain: bytes, *, final: bool) -> None:
        try:
            self._utf8.decode(plain, final)
        except UnicodeDecodeError:
            raise _Breach("text has to be UTF-8", NOT_UTF8) from None

    def _end(self) -> Event | None:
        """The frame under way is whole; return what it completes."""
        opcode, self._opcode = self._opcode, -1
        if opcode >= CLOSE:
            payload, self._control = self._control, b""
            if opcode == CLOSE:
                return Closed(_close_code(payload))
            return Ping(payload) if opcode == PING else None
        if not self._final:
            return None
        text = self._kind == TEXT
        if text:
            self._check(b"", final=True)
        message = Message(bytes(self._message), text)
        self._message.clear()
        self._kind = CONTINUATION
        return message


def _close_code(payload: bytes) -> int | None:
    if not payload:
        return None
    if len(payload) == 1:
        raise _Breach("half a code")
    code = int.from_bytes(payload[:2], "big")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise _Breach(f"{code} is no code to close with")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise _Breach("a reason has to be UTF-8", NOT_UTF8) from None
    return code


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole frame, as a server writes it."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 65536:
        header = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    return header + payload


def closing(code: int, reason: str = "") -> bytes:
    """Return the frame that ends a WebSocket, with as much of the reason as it holds."""
    said = reason.encode()[: CONTROL_BYTES_MAX - 2].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + said)
