import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.pair.configuration import Configuration
from chatproto.registry.messages import Beat, Claim, Hello, Message, Refused, encode
from chatproto.registry.names import (
    ADDRESS_CHARS_MAX,
    ATTRIBUTES_BYTES_MAX,
    ATTRIBUTES_MAX,
    CAPACITY_MAX,
    PAYLOAD_BYTES_MAX,
    Registration,
    check,
)
from chatproto.registry.requests import (
    PAGE_MAX,
    VISITOR_FRAME_BYTES_MAX,
    WHO_CHARS_MAX,
    Answer,
    Answered,
    Asked,
    Call,
    Changed,
    Done,
    Enter,
    Entered,
    Failed,
    Find,
    Found,
    Join,
    Leave,
    Notify,
    Register,
    Reject,
    Renew,
    Resolve,
    Told,
    Watch,
    Withdraw,
    decode_from_anybody,
    decode_to_visitor,
)
from chatproto.wire import FrameBuffer

EAST = Registration("chat", "east", "chat", "east:4444", "leader", 3, 100, {"peer": "east:4545"}, 3.0)
FROM_VISITOR = (
    Enter(1, "chat/east"),
    Register(1, EAST, b"token", True),
    Renew(2, "chat", "east", b"token"),
    Withdraw(3, "chat", "east", b"token"),
    Resolve(4, "chat", ""),
    Find(5, "", "chat", "leader"),
    Watch(6, "chat"),
    Join(7, "cooks"),
    Leave(8, 7),
    Notify(9, "cooks", b"dinner"),
    Call(10, "chat", "east", b"status", 2.5),
    Answer(11, b"well"),
    Reject(12),
    Beat(),
)
TO_VISITOR = (
    Entered(0.15, 0.6),
    Refused("crowded"),
    Done(1, 0),
    Found(5, [EAST], True),
    Failed(4, "no-leader"),
    Answered(10, b"well"),
    Asked(11, "chat", "east", b"status"),
    Changed(6, EAST, False),
    Told(7, b"dinner"),
    Beat(),
)


def payload(message: Message) -> bytes:
    (frame,) = FrameBuffer(VISITOR_FRAME_BYTES_MAX).feed(encode(message))
    return frame


class RoundTripTests(SynchronousTestCase):
    def test_every_message_of_a_visitor(self) -> None:
        for sent in FROM_VISITOR:
            self.assertEqual(decode_from_anybody(payload(sent)), sent)

    def test_every_message_to_a_visitor(self) -> None:
        for sent in TO_VISITOR:
            self.assertEqual(decode_to_visitor(payload(sent)), sent)

    def test_nodes_are_understood_too(self) -> None:
        for sent in (Hello(1, "chat", "east", True, None, 5, 1), Claim(Configuration(1, "east", ("east",)))):
            self.assertEqual(decode_from_anybody(payload(sent)), sent)

    def test_the_largest_of_all_fit_in_a_frame(self) -> None:
        """A full page of the longest registrations, and a payload of the most bytes."""
        long = "a" * 64
        attributes = {"a" * 62 + f"{number:02}": "x" * 64 for number in range(ATTRIBUTES_MAX)}
        room = ATTRIBUTES_BYTES_MAX - sum(len(key) + len(value) for key, value in attributes.items())
        attributes[next(iter(attributes))] += "x" * room
        address = "a" * (ADDRESS_CHARS_MAX - 5) + ":4444"
        registration = Registration(long, long, long, address, long, 2**63 - 1, CAPACITY_MAX, attributes, 3.25)
        check(registration)
        page = Found(2**63 - 1, [registration] * PAGE_MAX, True)
        self.assertEqual(decode_to_visitor(payload(page)), page)
        asked = Asked(2**63 - 1, long, long, bytes(PAYLOAD_BYTES_MAX))
        self.assertEqual(decode_to_visitor(payload(asked)), asked)


class GarbageTests(SynchronousTestCase):
    def test_garbage(self) -> None:
        for frame in (b"", b"\xc1", b"[]", b"\x91\xa3fly", b"\x91" * 4000, payload(Beat()) + b"\x00"):
            self.assertRaises(WireError, decode_from_anybody, frame)
            self.assertRaises(WireError, decode_to_visitor, frame)

    def test_a_name_for_the_log_is_short_and_one_line(self) -> None:
        for who in ("a" * (WHO_CHARS_MAX + 1), "a\nb", "\x1b[2J"):
            self.assertRaises(WireError, decode_from_anybody, payload(Enter(1, who)))
        for who in ("", "a" * WHO_CHARS_MAX, "é"):
            self.assertEqual(decode_from_anybody(payload(Enter(1, who))), Enter(1, who))

    def test_a_node_is_checked_as_ever(self) -> None:
        self.assertRaises(WireError, decode_from_anybody, payload(Hello(1, "a b", "east", True, None, 1, 1)))

    @given(st.binary(max_size=100))
    def test_any_bytes_are_a_message_or_a_wire_error(self, frame: bytes) -> None:
        for decode in (decode_from_anybody, decode_to_visitor):
            with contextlib.suppress(WireError):
                decode(frame)

    @given(st.sampled_from(FROM_VISITOR), st.integers(0, 80), st.integers(0, 255))
    def test_a_byte_that_is_another(self, message: Message, at: int, byte: int) -> None:
        frame = bytearray(payload(message))
        frame[at % len(frame)] = byte
        with contextlib.suppress(WireError):
            decode_from_anybody(bytes(frame))
