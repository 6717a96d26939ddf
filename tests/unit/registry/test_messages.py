import contextlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.pair.configuration import EPOCH_MAX, NAME_CHARS_MAX, Configuration, configuration_allowed, name_allowed
from chatproto.registry.messages import (
    FRAME_BYTES_MAX,
    Beat,
    Claim,
    Denied,
    Hello,
    Holds,
    Message,
    Propose,
    Refused,
    Welcome,
    decode_from_node,
    decode_from_registry,
    decode_state,
    encode,
    encode_state,
)
from chatproto.wire import FrameBuffer

EAST = Configuration(1, "east", ("east",))
BOTH = Configuration(7, "west", ("east", "west"))
FROM_NODE = (
    Hello(1, "chat", "east", True, None, 2**62, 3),
    Hello(1, "chat", "west", False, BOTH, 5, 1),
    Claim(BOTH),
    Propose(EAST, False),
    Propose(BOTH, True),
    Beat(),
)
FROM_REGISTRY = (
    Welcome(None),
    Welcome(EAST),
    Refused("full"),
    Holds(BOTH),
    Denied(8, "stale", BOTH),
    Denied(1, "not-founder", None),
    Beat(),
)
FOUL = (
    Configuration(0, "east", ("east",)),
    Configuration(-1, "east", ("east",)),
    Configuration(EPOCH_MAX + 1, "east", ("east",)),
    Configuration(1, "east", ()),
    Configuration(1, "east", ("west",)),
    Configuration(1, "east", ("west", "east")),
    Configuration(1, "east", ("east", "east")),
    Configuration(1, "east", ("east", "north", "west")),
    Configuration(1, "", ("",)),
    Configuration(1, "a b", ("a b",)),
    Configuration(1, "east", ("east", "w" * (NAME_CHARS_MAX + 1))),
)


def payload(message: Message) -> bytes:
    (frame,) = FrameBuffer(FRAME_BYTES_MAX).feed(encode(message))
    return frame


class RoundTripTests(SynchronousTestCase):
    def test_every_message_of_a_node(self) -> None:
        for sent in FROM_NODE:
            self.assertEqual(decode_from_node(payload(sent)), sent)

    def test_every_message_of_a_registry(self) -> None:
        for sent in FROM_REGISTRY:
            self.assertEqual(decode_from_registry(payload(sent)), sent)

    def test_the_longest_names_fit_in_a_frame(self) -> None:
        names = ("a" * NAME_CHARS_MAX, "b" * NAME_CHARS_MAX)
        longest = Hello(
            2**63 - 1, names[0], names[0], True, Configuration(EPOCH_MAX, names[0], names), 2**63 - 1, 2**32
        )
        self.assertEqual(decode_from_node(payload(longest)), longest)

    def test_fields_that_a_newer_release_adds_are_passed_over(self) -> None:
        frame = msgspec.msgpack.encode([*msgspec.msgpack.decode(payload(Holds(BOTH))), "more", {"and": ["more"]}])
        self.assertEqual(decode_from_registry(frame), Holds(BOTH))

    def test_what_the_one_says_the_other_does_not(self) -> None:
        for of_node in FROM_NODE[:-1]:
            self.assertRaises(WireError, decode_from_registry, payload(of_node))
        for of_registry in FROM_REGISTRY[:-1]:
            self.assertRaises(WireError, decode_from_node, payload(of_registry))


class GarbageTests(SynchronousTestCase):
    def refuse(self, frame: bytes) -> None:
        self.assertRaises(WireError, decode_from_node, frame)
        self.assertRaises(WireError, decode_from_registry, frame)
        self.assertRaises(WireError, decode_state, frame)

    def test_garbage(self) -> None:
        for frame in (
            b"",
            b"\x00",
            b"\xc1",
            b"[]",
            b"\x91\xa4b",
            b"\x91\xa3fly",
            b"\x91\xa1\xff",
            b"\x91" * 4000,
            payload(Beat()) + b"\x00",
            msgspec.msgpack.encode({"type": "beat"}),
            msgspec.msgpack.encode(["beat", *["x"] * 3])[:-1],
            b"\x92\xa4beat" + b"\x91" * 4000,
        ):
            self.refuse(frame)

    @given(st.binary(max_size=100))
    def test_any_bytes_are_a_message_or_a_wire_error(self, frame: bytes) -> None:
        for decode in (decode_from_node, decode_from_registry, decode_state):
            with contextlib.suppress(WireError):
                decode(frame)

    @given(st.sampled_from(FROM_NODE), st.integers(0, 60), st.integers(0, 255))
    def test_a_byte_that_is_another(self, message: Message, at: int, byte: int) -> None:
        frame = bytearray(payload(message))
        frame[at % len(frame)] = byte
        with contextlib.suppress(WireError):
            decode_from_node(bytes(frame))

    def test_names_that_are_not_allowed(self) -> None:
        for name in ("", " ", "a b", "a/b", "-a", ".", "é", "a\n", "a" * (NAME_CHARS_MAX + 1)):
            self.assertFalse(name_allowed(name), name)
            self.assertRaises(WireError, decode_from_node, payload(Hello(1, name, "east", True, None, 1, 1)))
            self.assertRaises(WireError, decode_from_node, payload(Hello(1, "chat", name, True, None, 1, 1)))
            self.assertRaises(WireError, decode_state, encode_state({name: EAST}))
        for name in ("a", "0", "east-2", "node_1.example", "a" * NAME_CHARS_MAX):
            self.assertTrue(name_allowed(name), name)

    def test_configurations_that_are_not_allowed(self) -> None:
        for foul in FOUL:
            self.assertFalse(configuration_allowed(foul), foul)
            self.assertRaises(WireError, decode_from_node, payload(Hello(1, "chat", "east", True, foul, 1, 1)))
            self.assertRaises(WireError, decode_from_node, payload(Claim(foul)))
            self.assertRaises(WireError, decode_from_registry, payload(Welcome(foul)))
            self.assertRaises(WireError, decode_from_registry, payload(Holds(foul)))
            self.assertRaises(WireError, decode_from_registry, payload(Denied(1, "stale", foul)))
            self.assertRaises(WireError, decode_state, encode_state({"chat": foul}))
        for fair in (EAST, BOTH, Configuration(EPOCH_MAX, "east", ("east",))):
            self.assertTrue(configuration_allowed(fair), fair)

    def test_a_proposal_is_left_to_the_witness(self) -> None:
        for foul in FOUL:
            self.assertEqual(decode_from_node(payload(Propose(foul, False))), Propose(foul, False))


class StateTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for held in ({}, {"chat": EAST}, {"chat": BOTH, "news": EAST}):
            self.assertEqual(decode_state(encode_state(held)), held)

    def test_the_configuration_of_a_node_is_no_state_of_a_witness(self) -> None:
        self.assertRaises(WireError, decode_state, msgspec.msgpack.encode(BOTH))
