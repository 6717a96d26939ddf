from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import Error
from chatproto.chat.waiting import Waiting
from chatproto.log.entry import MESSAGE, Entry


def said(id: str, content: str = "Hi", identity: str = "adel", origin: Any = None, *, retriable: bool = True) -> Entry:
    head = b'{"type":"message","identity":"%b","content":"%b"' % (identity.encode(), content.encode())
    return Entry(MESSAGE, "MainHall", id, 1.0, head, b"}", retriable, origin)


class WaitingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.waiting = Waiting(3, 1000)

    def test_messages_go_out_in_the_order_in_which_they_came_and_once(self) -> None:
        entries = [said(id) for id in ("b", "a", "c")]
        self.assertEqual([self.waiting.hold(entry) for entry in entries], [None] * 3)
        self.assertEqual(len(self.waiting), 3)
        self.assertEqual(self.waiting.release(), entries)
        self.assertEqual((len(self.waiting), self.waiting.release()), (0, []))

    def test_a_retry_keeps_its_place_and_is_acknowledged_where_its_sender_is_now(self) -> None:
        for entry in (said("a", origin="old"), said("b"), said("a", origin="new", identity="beth")):
            self.assertIsNone(self.waiting.hold(entry))
        first, second = self.waiting.release()
        self.assertEqual((first.id, first.origin, second.id), ("a", "new", "b"))
        self.assertIn(b"adel", first.head)

    def test_an_id_used_for_something_else_is_refused(self) -> None:
        self.waiting.hold(said("a", "Hi"))
        refusal = self.waiting.hold(said("a", "Ho"))
        self.assertEqual(refusal, Error("id-reused", "this id was used for another message", id="a"))
        self.assertEqual(self.waiting.release(), [said("a", "Hi")])

    def test_more_than_the_ceiling_is_refused(self) -> None:
        for id in "abc":
            self.waiting.hold(said(id))
        text = "your message was not kept: 3 are held already"
        self.assertEqual(self.waiting.hold(said("d")), Error("too-many-held", text, id="d"))
        self.assertEqual(self.waiting.hold(said("e", retriable=False)), Error("too-many-held", text))
        self.assertIsNone(self.waiting.hold(said("a")), "it is held already")
        self.assertEqual([entry.id for entry in self.waiting.release()], ["a", "b", "c"])

    def test_more_bytes_than_the_ceiling_are_refused(self) -> None:
        self.assertIsNone(self.waiting.hold(said("a", "x" * 500)))
        self.assertEqual(self.waiting.hold(said("b", "x" * 500)).code, "too-many-held")  # type: ignore[union-attr]
        self.assertIsNone(self.waiting.hold(said("c", "short")))

    def test_what_is_released_makes_room(self) -> None:
        for _ in range(3):
            self.assertIsNone(self.waiting.hold(said("a", "x" * 900)))
            self.assertEqual(len(self.waiting.release()), 1)
