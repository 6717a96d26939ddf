from twisted.trial.unittest import SynchronousTestCase

from chatproto.keyvalue.prefixes import end_of


class EndTests(SynchronousTestCase):
    def test_the_first_key_after_them(self) -> None:
        self.assertEqual([end_of(each) for each in (b"a", b"ab", b"a\xfe", b"\x00")], [b"b", b"ac", b"a\xff", b"\x01"])

    def test_a_byte_that_cannot_be_more_takes_the_one_before_along(self) -> None:
        self.assertEqual([end_of(each) for each in (b"a\xff", b"a\xff\xff")], [b"b", b"b"])

    def test_keys_that_go_on_to_the_end(self) -> None:
        self.assertEqual([end_of(each) for each in (b"", b"\xff", b"\xff\xff")], [None] * 3)
