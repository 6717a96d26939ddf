from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.contracting import messages as wire
from chatproto.news.messages import Message, encode
from chatproto.news.terms import Place, Terms
from tests.unit.news.contracting.desk import PAID, SPORT

PLACE = Place("ada", PAID, "north", "south", "ticket", 3)
FROM_READER: tuple[Message, ...] = (
    wire.Enter(1, "ada", "secret", True),
    wire.Propose(1, "id", PAID),
    wire.GiveUp(2, "id"),
    wire.Where(3),
    wire.Substitute(4),
    wire.Cancel(5),
    wire.Renew(6, "another"),
    wire.Close(7),
)
TO_READER: tuple[Message, ...] = (
    wire.Entered("master"),
    wire.Waits(1, 3),
    wire.Offer(1, (PAID, SPORT)),
    wire.Agreed(1, PLACE),
    wire.Declined(1, "no-room", "there is none"),
    wire.Standing(4, "south"),
    wire.Renewed(6),
    wire.Closed(7),
)
FROM_PART: tuple[Message, ...] = (wire.Ask(), wire.Readers("north", "ada"), wire.Check(1, "ada", "secret", "10.0.0.1"))
TO_PART: tuple[Message, ...] = (
    wire.Alive("master", True),
    wire.Mobile((("ada", "ticket", ("sport",)),), False),
    wire.Checked(1, "", PLACE),
    wire.Checked(1, "login-failed"),
)


class WireTests(SynchronousTestCase):
    def test_every_message_there_and_back(self) -> None:
        for decode, messages in (
            (wire.decode_from_reader, FROM_READER),
            (wire.decode_to_reader, TO_READER),
            (wire.decode_from_part, FROM_PART),
            (wire.decode_to_part, TO_PART),
        ):
            for message in messages:
                self.assertEqual(decode(encode(message)[4:]), message)

    def test_what_the_other_side_says_is_not_taken(self) -> None:
        for message in TO_READER:
            self.assertRaises(WireError, wire.decode_from_reader, encode(message)[4:])


class RefusalTests(SynchronousTestCase):
    def refusal(self, *enter: Any) -> str:
        return wire.refusal_of(wire.Enter(*enter))

    def test_who_may_not_enter(self) -> None:
        self.assertEqual(self.refusal(1, "ada", ""), "")
        self.assertEqual(self.refusal(2, "ada", ""), "version")
        for name in ("", "a b", "-ada", "a" * 65):
            self.assertEqual(self.refusal(1, name, ""), "bad-name")

    def test_terms_are_kept_sorted_and_bounded(self) -> None:
        self.assertEqual(wire.checked(Terms(("sport", "finance", "sport"))), Terms(("finance", "sport")))
        for topics in (("a",) * (wire.TOPICS_MAX + 1), ("a" * (wire.TOPIC_CHARS_MAX + 1),)):
            self.assertRaises(WireError, wire.checked, Terms(topics))
