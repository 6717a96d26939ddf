import contextlib
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.log.entry import Entry, Numbering, Run, Snapshot
from chatproto.pair import messages
from chatproto.pair.configuration import Configuration
from chatproto.pair.messages import (
    PRIMARY,
    SECONDARY,
    STANDBY,
    AnyMessage,
    Append,
    Appended,
    Beat,
    Begin,
    Commit,
    Dismissed,
    Follow,
    Forward,
    Hello,
    Ids,
    Install,
    Installed,
    Invite,
    Meet,
    SentEntry,
    SentRun,
    State,
    Tell,
    decode,
    decode_entry,
    encode,
    encode_entry,
    received_entry,
    received_run,
    sent_entry,
    sent_run,
)
from tests.unit.log.contract import act, message, plain

BOTH = Configuration(7, "west", ("east", "west"))
RUN = SentRun(7, 3, "message", "jokes", 2, 1000.5, ["x", "y"], b"one\ntwo", [1])
ENTRY = SentEntry("message", "jokes", "x", 1000.5, b"{", b"}", True)
SNAPSHOT = Snapshot(9, 3, {"jokes": 4}, b"\x00state\xff", {"jokes": 2}, [(1, 1), (3, 5)])
EVERY: tuple[AnyMessage, ...] = (
    Hello(1, "chat", "east", PRIMARY, True, None),
    Hello(1, "chat", "west", SECONDARY, True, BOTH),
    Hello(1, "chat", "north", STANDBY, False, None),
    State(BOTH),
    Beat(4),
    Invite("east.example:4545", "west"),
    Invite("[::1]:4545", ""),
    Meet("north", "north.example:4545"),
    Follow(2, 7, 100, [(1, 1), (4, 50)], 20),
    Follow(2, 7, 100, [(1, 1), (4, 50)], 20, False),
    Begin(2, 7, 90, 110, 120),
    Install(2, 7, 90, 0, 110, 120, SNAPSHOT),
    Ids(7, [("x", 9, 1000.5), ("y", 10, 0.0)]),
    Installed(7),
    Dismissed(7, 2),
    Append(7, 99, [RUN]),
    Append(7, 99, []),
    Commit(7, 99),
    Appended(7, 99),
    Forward(7, [ENTRY]),
    Tell(b"\x00\xff"),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def as_values(message: AnyMessage) -> list[Any]:
    """Return what a message is on the wire: its tag, then its fields."""
    values: list[Any] = msgspec.msgpack.decode(encode(message))
    return values


class RoundTripTests(SynchronousTestCase):
    def test_every_kind_is_tried(self) -> None:
        self.assertEqual({type(each) for each in EVERY}, set(messages.AnyMessage.__args__))

    def test_every_message_comes_out_as_it_went_in(self) -> None:
        for each in EVERY:
            self.assertEqual(decode(encode(each)), each)

    def test_runs(self) -> None:
        for run in Numbering(6, {"jokes": 1}, 3).seal([message("jokes", "1", id="x"), message("jokes", "2"), act("a")]):
            received = received_run(sent_run(run))
            self.assertEqual((plain(received), received.entries), (plain(run), []))

    def test_entries_come_without_their_origin(self) -> None:
        for entry in (message("jokes", "1", id="x"), message("jokes", "2"), act("a")):
            entry.origin = self
            for received in (received_entry(sent_entry(entry)), decode_entry(encode_entry(entry))):
                self.assertEqual(sent_entry(received), sent_entry(entry))
                self.assertIsNone(received.origin)

    @given(st.builds(Entry, *[st.text()] * 3, st.floats(allow_nan=False), st.binary(), st.binary(), st.booleans()))
    def test_any_entry_is_kept_as_it_was(self, entry: Entry) -> None:
        self.assertEqual(decode_entry(encode_entry(entry)), entry)


class NonsenseTests(SynchronousTestCase):
    def take(self, frame: bytes) -> None:
        """Read a frame as a link does; whatever is wrong with it is a `WireError`."""
        with contextlib.suppress(WireError):
            match decode(frame):
                case Append(runs=runs):
                    for run in runs:
                        self.check(received_run(run))
                case Forward(entries=entries):
                    for entry in entries:
                        received_entry(entry)

    def check(self, run: Run) -> None:
        """What is taken can be numbered on from, and its ids looked up."""
        self.assertEqual(len(run.lines()), len(run.ids))
        for offset in run.retriable:
            self.assertIn(offset, range(len(run.ids)))
        self.assertGreaterEqual(run.index, 1)
        self.assertGreaterEqual(run.position, 0)

    @given(st.binary())
    def test_garbage(self, frame: bytes) -> None:
        self.take(frame)

    @given(ANYTHING)
    def test_anything_else_in_msgpack(self, value: Any) -> None:
        self.take(msgspec.msgpack.encode(value))

    def test_what_is_cut_short(self) -> None:
        for each in EVERY:
            frame = encode(each)
            for end in range(len(frame)):
                self.assertRaises(WireError, decode, frame[:end])
            self.assertRaises(WireError, decode, frame + b"\x00")

    @given(st.sampled_from(EVERY), st.data())
    def test_single_bytes_changed(self, each: AnyMessage, data: st.DataObject) -> None:
        frame = bytearray(encode(each))
        for _ in range(data.draw(st.integers(1, 3))):
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
        self.take(bytes(frame))

    @given(st.sampled_from(EVERY), ANYTHING, st.data())
    def test_a_field_that_is_another(self, each: AnyMessage, value: Any, data: st.DataObject) -> None:
        values = as_values(each)
        values[data.draw(st.integers(0, len(values) - 1))] = value
        self.take(msgspec.msgpack.encode(values))

    @given(st.integers(0, 8), st.integers(-(2**63), 2**63 - 1) | st.lists(st.integers(-3, 3)) | st.text() | st.binary())
    def test_a_field_of_a_run_that_is_another(self, field: int, value: Any) -> None:
        values = as_values(Append(7, 99, [RUN]))
        values[3][0][field] = value
        self.take(msgspec.msgpack.encode(values))

    def test_a_frame_nested_too_deeply(self) -> None:
        self.assertRaises(WireError, decode, b"\x91" * 100_000)

    def test_text_that_is_no_text(self) -> None:
        frame = encode(Hello(1, "chat", "east", PRIMARY, True, None)).replace(b"east", b"\xff\xfe\xfd\xfc")
        self.assertRaises(WireError, decode, frame)

    def test_a_message_of_a_kind_that_is_unknown(self) -> None:
        error = self.assertRaises(WireError, decode, msgspec.msgpack.encode(["gossip", 1]))
        self.assertIn("gossip", str(error))

    def test_names_and_configurations_that_cannot_be(self) -> None:
        for foul in (
            Hello(1, "chat", "", PRIMARY, True, None),
            Hello(1, "chat", "x" * 1000, PRIMARY, True, None),
            Hello(1, "a b", "east", PRIMARY, True, None),
            Hello(1, "chat", "east", "registry", True, None),
            Hello(1, "chat", "east", PRIMARY, True, Configuration(2**63, "", ())),
            State(Configuration(0, "east", ("east",))),
            State(Configuration(1, "north", ("east", "west"))),
            State(Configuration(1, "west", ("west", "east"))),
            Invite("east.example:4545", "a b"),
            Invite("", "west"),
            Invite("east.example", "west"),
            Invite(":4545", "west"),
            Invite("east.example:", "west"),
            Invite("east.example:454545", "west"),
            Invite("east example:4545", "west"),
            Invite("east.example:4545:timeout=1", "west"),
            Invite("x" * 300 + ":4545", "west"),
            Meet("", "north.example:4545"),
            Meet("a b", "north.example:4545"),
            Meet("north", "north.example"),
        ):
            self.assertRaises(WireError, decode, encode(foul))

    def test_runs_whose_parts_contradict_each_other(self) -> None:
        for changes in (
            {"ids": []},
            {"ids": ["x"]},
            {"ids": ["x", "y", "z"]},
            {"body": b"one"},
            {"index": 0},
            {"index": -7},
            {"position": -1},
            {"position": 0},
            {"kind": "act"},
            {"retriable": [2]},
            {"retriable": [-1]},
        ):
            run = msgspec.structs.replace(RUN, **changes)
            self.assertRaises(WireError, received_run, run)
        received_run(RUN)
