import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.pair.configuration import Configuration
from chatproto.registry.messages import decode_state, encode_state
from chatproto.registry.names import KeptName, Registration
from chatproto.registry.shelf import Shelf, join_state, split_state

EAST = Configuration(1, "east", ("east",))
HELD = encode_state({"chat": EAST})
KEPT = [KeptName(Registration("chat", "east", attributes={"peer": "east:4545"}), b"a hash")]


class StateTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        self.assertEqual(split_state(join_state(HELD, KEPT)), (HELD, KEPT))

    def test_what_older_releases_kept_has_no_names(self) -> None:
        for number in (0, 1, 15, 16, 70000):
            old = encode_state({f"chat{one}": EAST for one in range(number)})
            self.assertEqual(split_state(old), (old, []))

    def test_without_names_it_is_what_older_releases_read(self) -> None:
        self.assertEqual(decode_state(join_state(HELD, [])), {"chat": EAST})

    def test_garbage(self) -> None:
        foul = KeptName(Registration("chat", "a b"), b"a hash")
        for state in (b"", b"\xc1", b"\x92", join_state(HELD, KEPT)[:-1], join_state(HELD, [foul])):
            self.assertRaises(WireError, split_state, state)

    @given(st.binary(max_size=100))
    def test_any_bytes_are_a_state_or_a_wire_error(self, state: bytes) -> None:
        with contextlib.suppress(WireError):
            split_state(state)


class ShelfTests(SynchronousTestCase):
    def test_neither_part_undoes_what_the_other_asked_to_keep(self) -> None:
        shelf = Shelf(encode_state({}), [])
        self.assertEqual(split_state(shelf.put_names(KEPT)), (encode_state({}), KEPT))
        self.assertEqual(split_state(shelf.put_witness(HELD)), (HELD, KEPT))
        self.assertEqual(split_state(shelf.put_names([])), (HELD, []))

    def test_it_begins_with_what_is_on_the_disk(self) -> None:
        self.assertEqual(split_state(Shelf(HELD, KEPT).put_names(KEPT * 2)), (HELD, KEPT * 2))
        self.assertEqual(split_state(Shelf(HELD, KEPT).put_witness(b"\x80")), (b"\x80", KEPT))
