"""The frames of a WebSocket (RFC 6455), as a server reads and writes them, by the library `websockets`. Pure.

Of the library there is the core, which has neither sockets nor timers. It holds nothing that has not been allowed: a
message that would be too long is refused by the header that says so, before its bytes are there, and of empty fragments
it keeps nothing. No extension is offered to it: a compressed frame is a breach of the protocol. What it leaves to those
who use it is done here: fragments are put together, text is checked to be UTF-8, frame by frame, and of frames that
come at once only few are there at a time. Its pongs are not sent, since it cannot know whether they would be taken.
"""

import codecs
import logging
from dataclasses import dataclass

from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side

CONTINUATION, TEXT, BINARY = Opcode.CONT, Opcode.TEXT, Opcode.BINARY
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG

NORMAL, UNSUPPORTED = CloseCode.NORMAL_CLOSURE, CloseCode.UNSUPPORTED_DATA
NOT_UTF8, TOO_BIG, NO_CODE = CloseCode.INVALID_DATA, CloseCode.MESSAGE_TOO_BIG, CloseCode.NO_STATUS_RCVD

PIECE_BYTES = 4096
"""As much is read at a time: each frame that has come, of six bytes or more, is an object until it is looked at."""

# It would be told what people say, where somebody wants to know more.
_silent = logging.getLogger("chatproto.gateway.frames")
_silent.setLevel(logging.WARNING)


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


class FrameReader:
    """Turns a client's bytes, however they are chopped, into messages.

    Attributes:
        frames: how many have come, for whoever limits them.
    """

    def __init__(self, message_bytes_max: int) -> None:
        """Read messages of at most so many bytes, all their fragments together."""
        self.frames = 0
        self._protocol = Protocol(Side.SERVER, max_size=message_bytes_max, logger=_silent)
        self._over = False
        # The message under way.
        self._text = True
        self._message = bytearray()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def feed(self, data: bytes) -> list[Event]:
        """Take what was read; return what it completes, in order. After `Closed` or `Failed` all is ignored."""
        events: list[Event] = []
        for start in range(0, len(data), PIECE_BYTES):
            if self._over:
                break
            self._protocol.receive_data(data[start : start + PIECE_BYTES])
            self._protocol.data_to_send()
            events += self._events()
        return events

    def _events(self) -> list[Event]:
        events: list[Event] = []
        for found in self._protocol.events_received():
            assert isinstance(found, Frame)
            self.frames += 1
            event = self._take(found)
            if event is not None:
                events.append(event)
            if isinstance(event, Failed):
                self._over = True
                return events
        heard, told = self._protocol.close_rcvd, self._protocol.close_sent
        if told is not None:
            self._over = True
            # The end may also come within a message, which the library takes for a breach.
            failed = Failed(told.code, told.reason)
            events.append(failed if heard is None else Closed(None if heard.code == NO_CODE else heard.code))
        return events

    def _take(self, found: Frame) -> Event | None:
        """Take a frame that stands where it may; return what it completes."""
        if found.opcode is PING:
            return Ping(bytes(found.data))
        if found.opcode is PONG or found.opcode is CLOSE:
            return None
        if found.opcode is not CONTINUATION:
            self._text = found.opcode is TEXT
        if self._text:
            try:
                self._utf8.decode(found.data, found.fin)
            except UnicodeDecodeError:
                return Failed(NOT_UTF8, "text has to be UTF-8")
        self._message += found.data
        if not found.fin:
            return None
        message = Message(bytes(self._message), self._text)
        self._message.clear()
        return message


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """Return a whole frame, as a server writes it."""
    return Frame(opcode, payload).serialize(mask=False)


def closing(code: int) -> bytes:
    """Return the frame that ends a WebSocket."""
    return frame(CLOSE, Close(code, "").serialize())
