"""What every `IKeyValueStore` promises, as one suite."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from chatproto.keyvalue import Change, IKeyValueStore

PICTURE = bytes(range(256)) * 8192
"""Of 2 MiB, which is as much as an item may have."""


class TableContract:
    """Mixed into a test case that has `open`, `reopen(table)`, `settle` and `failures`."""

    open: Callable[[], Any]
    reopen: Callable[[Any], Any]
    settle: Callable[[], None]
    failures: list[str]
    assertEqual: Callable[..., None]
    assertTrue: Callable[..., None]
    assertNoResult: Callable[..., None]
    successResultOf: Callable[..., Any]

    def begin(self) -> Any:
        self.done: list[Any] = []
        return self.open()

    def write(self, table: Any, *changes: Change, name: Any = None) -> None:
        table.write(changes, lambda: self.done.append(name))

    def answer(self, asked: "Deferred[Any]") -> Any:
        self.settle()
        return self.successResultOf(asked)

    def check(self, table: Any, *held: tuple[bytes, bytes]) -> None:
        """Check what is held, however it is asked for; now, and by a process that comes later."""
        for _ in range(2):
            self.settle()
            self.assertEqual(table.scan(b""), list(held))
            self.assertEqual(table.keys(b""), [key for key, _ in held])
            self.assertEqual([self.answer(table.read(key)) for key, _ in held], [value for _, value in held])
            table = self.reopen(table)

    def test_provides_the_interface(self) -> None:
        self.assertTrue(verifyObject(IKeyValueStore, self.begin()))

    def test_a_new_place_is_empty(self) -> None:
        self.check(self.begin())

    def test_what_is_written_is_held(self) -> None:
        table = self.begin()
        self.write(table, (b"b", b"2"), (b"a", b"1"), name="both")
        self.assertEqual(self.done, [], "not done in the call")
        self.settle()
        self.assertEqual(self.done, ["both"])
        self.check(table, (b"a", b"1"), (b"b", b"2"))

    def test_what_is_not_durable_is_not_seen(self) -> None:
        table = self.begin()
        table.write([(b"a", b"1")], lambda: self.done.append(table.scan(b"")))
        self.settle()
        self.assertEqual(self.done, [[(b"a", b"1")]], "but from then on")

    def test_a_value_is_replaced_and_goes(self) -> None:
        table = self.begin()
        self.write(table, (b"a", b"1"), (b"b", b"1"), (b"c", b"1"))
        self.settle()
        self.write(table, (b"a", b"2"), (b"b", None), (b"unheard of", None))
        self.check(table, (b"a", b"2"), (b"c", b"1"))

    def test_the_last_change_counts(self) -> None:
        """Of one write, and of several that are asked for at once."""
        table = self.begin()
        self.write(table, (b"a", b"1"), (b"a", None), (b"b", None), (b"b", b"1"), (b"c", b"1"), (b"c", b"2"))
        self.write(table, (b"d", b"1"))
        self.write(table, (b"d", None), (b"b", b"2"))
        self.write(table, (b"d", b"3"))
        self.check(table, (b"b", b"2"), (b"c", b"2"), (b"d", b"3"))

    def test_writes_are_done_once_each_in_order(self) -> None:
        table = self.begin()
        for number in range(50):
            self.write(table, (b"%03d" % number, b""), (b"last", b"%d" % number), name=number)
        self.settle()
        self.assertEqual(self.done, list(range(50)))
        self.assertEqual(len(table.keys(b"")), 51)
        self.assertEqual(table.scan(b"last"), [(b"last", b"49")])

    def test_a_write_of_nothing_is_done_in_its_turn(self) -> None:
        table = self.begin()
        self.write(table, (b"a", b"1"), name=1)
        self.write(table, name=2)
        self.write(table, (b"b", b"1"), name=3)
        self.settle()
        self.assertEqual(self.done, [1, 2, 3])

    def test_a_write_asked_for_when_one_is_done(self) -> None:
        table = self.begin()
        table.write([(b"a", b"1")], lambda: self.write(table, (b"b", b"2"), name="then"))
        self.check(table, (b"a", b"1"), (b"b", b"2"))
        self.assertEqual(self.done, ["then"])

    def test_changes_are_those_of_the_call(self) -> None:
        table = self.begin()
        changes: list[Change] = [(b"a", b"1")]
        table.write(changes, lambda: None)
        changes.append((b"b", b"2"))
        self.check(table, (b"a", b"1"))

    def test_keys_that_begin_so(self) -> None:
        table = self.begin()
        keys = [
            b"",
            b"a",
            b"a\x00",
            b"a/1",
            b"a/2",
            b"a\xff",
            b"a\xff\xff",
            b"b",
            b"\xff",
            b"\xff\xff",
            b"\xff\xff\x01",
        ]
        self.write(table, *((key, key * 2) for key in keys))
        self.settle()
        for prefix in (b"", b"a", b"a/", b"a\xff", b"b", b"c", b"\xff", b"\xff\xff", b"\xff\xff\xff", b"\x00"):
            with self.subTest(prefix=prefix):  # type: ignore[attr-defined]
                found = sorted(key for key in keys if key.startswith(prefix))
                self.assertEqual(table.keys(prefix), found)
                self.assertEqual(table.scan(prefix), [(key, key * 2) for key in found])

    def test_a_key_that_is_not_there_is_read_as_none(self) -> None:
        self.assertEqual(self.answer(self.begin().read(b"a")), None)

    def test_what_was_written_before_is_read(self) -> None:
        """Though it is not durable yet when it is asked for."""
        table = self.begin()
        self.write(table, (b"a", b"1"))
        first = table.read(b"a")
        self.assertNoResult(first)
        self.assertEqual(self.answer(first), b"1")
        self.write(table, (b"a", b"2"), (b"b", b"2"))
        self.write(table, (b"a", None))
        self.write(table, (b"c", b"3"))
        gone, there, other = table.read(b"a"), table.read(b"b"), table.read(b"unheard of")
        self.settle()
        self.assertEqual([self.successResultOf(each) for each in (gone, there, other)], [None, b"2", None])

    def test_large_values(self) -> None:
        table = self.begin()
        self.write(table, (b"picture", PICTURE), (b"empty", b""))
        self.check(table, (b"empty", b""), (b"picture", PICTURE))

    def test_close_finishes_what_was_written_and_read(self) -> None:
        table = self.begin()
        self.write(table, (b"a", b"1"), name=1)
        read = table.read(b"a")
        self.write(table, (b"b", b"2"), name=2)
        closed = table.close()
        self.settle()
        self.successResultOf(closed)
        self.assertEqual((self.done, self.successResultOf(read)), ([1, 2], b"1"))
        self.assertEqual(self.reopen(table).keys(b""), [b"a", b"b"])
        self.assertEqual(self.failures, [])
