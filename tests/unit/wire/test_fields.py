import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.wire import MAIN_HALL, identity_allowed, room_allowed

near_names = st.from_regex(r"[A-Za-z0-9]{0,34}[^A-Za-z0-9]?", fullmatch=True) | st.text(max_size=34)


class NameTests(SynchronousTestCase):
    @given(near_names)
    def test_an_identity_is_a_letter_then_letters_and_digits_3_to_16_in_all(self, name: str) -> None:
        self.assertEqual(identity_allowed(name), bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9]{2,15}", name)), name)

    def test_nobody_is_called_as_the_node_itself(self) -> None:
        self.assertFalse(identity_allowed("server"))
        self.assertTrue(identity_allowed("Server"))
        self.assertTrue(room_allowed("server"))

    @given(near_names)
    def test_a_room_is_a_letter_then_letters_and_digits_3_to_32_in_all(self, name: str) -> None:
        self.assertEqual(room_allowed(name), bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9]{2,31}", name)), name)

    def test_the_edges_of_an_identity(self) -> None:
        for name in ("abc", "a" * 16, "A1b2", "guest1"):
            self.assertTrue(identity_allowed(name), name)
        for name in ("", "ab", "a" * 17, "1abc", "ab_c", "ab c", "abc\n", "äbc", "abç", "ab٣", "аbc"):
            self.assertFalse(identity_allowed(name), name)

    def test_the_edges_of_a_room(self) -> None:
        for name in ("abc", "a" * 32, "Jokes2", MAIN_HALL):
            self.assertTrue(room_allowed(name), name)
        for name in ("", "ab", "a" * 33, "9abc", "ab-c", "room "):
            self.assertFalse(room_allowed(name), name)
