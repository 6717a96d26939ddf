from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.audience import CATCH_UP_LINES_MAX, MANY, Audience
from chatproto.chat.seat import Feed
from tests.unit.chat.fakes import FakeDoor


class FakeSeat:
    """As much of a seat as an audience looks at."""

    def __init__(self, *, extended: bool, away: bool = False) -> None:
        self.session = SimpleNamespace(extended=extended)
        self.link = None if away else FakeDoor()
        self.pieces = 0
        if self.link is not None:
            send, self.link.send = self.link.send, self.count  # type: ignore[method-assign]
            self.deliver = send

    def count(self, data: bytes) -> None:
        self.pieces += 1
        self.deliver(data)

    def send(self, data: bytes) -> None:
        if self.link is not None:
            self.link.send(data)

    def heard(self) -> str:
        assert self.link is not None
        data, self.link.data = self.link.data, b""
        return data.decode().replace("\n", " ").strip()


class AudienceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.audience = Audience()
        self.base = self.come(extended=False)
        self.ext = self.come(extended=True)

    def come(self, *, extended: bool, away: bool = False) -> Any:
        seat = FakeSeat(extended=extended, away=away)
        self.audience.live(seat)  # type: ignore[arg-type]
        return seat

    def feed(self, *, extended: bool = True) -> Any:
        seat = FakeSeat(extended=extended)
        self.audience.feed(Feed(seat, "jokes", 1))  # type: ignore[arg-type]
        return seat

    def say(self, number: int) -> None:
        self.audience.tell_base(b"b%d\n" % number)
        self.audience.tell_extended(b"e%d\n" % number)

    def test_each_hears_its_own_lines_in_one_piece_when_they_are_spilled(self) -> None:
        self.say(1)
        self.audience.tell(b"change\n")
        self.say(2)
        self.assertEqual((self.base.heard(), self.ext.heard()), ("", ""))
        self.audience.spill()
        self.assertEqual((self.base.heard(), self.ext.heard()), ("b1 change b2", "e1 change e2"))
        self.assertEqual((self.base.pieces, self.ext.pieces), (1, 1))

    def test_what_was_spilled_is_not_heard_again(self) -> None:
        self.say(1)
        self.audience.spill()
        self.audience.spill()
        self.say(2)
        self.audience.spill()
        self.assertEqual((self.base.heard(), self.base.pieces), ("b1 b2", 2))

    def test_a_latecomer_hears_what_comes_after_it(self) -> None:
        self.say(1)
        base, ext = self.come(extended=False), self.come(extended=True)
        self.say(2)
        last = self.come(extended=True)
        self.audience.spill()
        self.assertEqual([seat.heard() for seat in (base, ext, last)], ["b2", "e2", ""])
        self.assertEqual((self.base.heard(), self.ext.heard()), ("b1 b2", "e1 e2"))
        self.say(3)
        self.audience.spill()
        self.assertEqual([seat.heard() for seat in (base, ext, last)], ["b3", "e3", "e3"])

    def test_a_latecomer_is_late_in_its_own_lines_alone(self) -> None:
        self.audience.tell_extended(b"e1\n")
        base = self.come(extended=False)
        self.audience.tell_base(b"b1\n")
        self.audience.spill()
        self.assertEqual(base.heard(), "b1")

    def test_who_leaves_hears_what_piled_up_before(self) -> None:
        self.say(1)
        self.audience.leave(self.base)
        self.audience.leave(self.ext)
        self.say(2)
        self.audience.spill()
        self.assertEqual((self.base.heard(), self.ext.heard()), ("b1", "e1"))
        self.assertNotIn(self.base, self.audience)

    def test_the_others_need_not_hear_at_once_what_one_catches_up_with(self) -> None:
        self.say(1)
        late = self.come(extended=False)
        self.say(2)
        for seat, heard in ((self.base, "b1 b2"), (self.ext, "e1 e2"), (late, "b2")):
            self.audience.catch_up(seat)
            self.assertEqual(seat.heard(), heard)
        other = self.come(extended=False)
        self.audience.leave(late)
        self.say(3)
        self.audience.spill()
        self.assertEqual([seat.heard() for seat in (self.base, self.ext, late, other)], ["b3", "e3", "", "b3"])

    def test_when_very_much_has_piled_up_all_hear_it(self) -> None:
        for number in range(CATCH_UP_LINES_MAX + 1):
            self.say(number)
        self.audience.leave(self.base)
        self.assertEqual(len(self.ext.heard().split()), CATCH_UP_LINES_MAX + 1)
        self.assertEqual(len(self.base.heard().split()), CATCH_UP_LINES_MAX + 1)
        self.audience.spill()
        self.assertEqual((self.base.heard(), self.ext.heard()), ("", ""))

    def test_who_comes_again_after_catching_up_hears_what_comes_then(self) -> None:
        self.say(1)
        self.audience.leave(self.base)
        self.say(2)
        self.audience.live(self.base)
        self.say(3)
        self.audience.spill()
        self.assertEqual(self.base.heard(), "b1 b3")

    def test_who_is_fed_or_away_has_nothing_to_catch_up_with(self) -> None:
        fed, away = self.feed(), self.come(extended=True, away=True)
        self.say(1)
        for seat in (fed, away):
            self.audience.catch_up(seat)
        self.assertEqual(fed.heard(), "")

    def test_very_many_are_written_to_at_leisure(self) -> None:
        many = [self.come(extended=True) for _ in range(MANY)]
        self.say(1)
        self.audience.spill()
        self.assertEqual({seat.heard() for seat in (self.ext, *many)}, {"e1"})
        self.assertEqual({seat.link.leisurely for seat in (self.ext, *many)}, {1})
        self.assertEqual(self.base.link.leisurely, 0)

    def test_the_leaving_of_a_stranger_spills_nothing(self) -> None:
        self.say(1)
        self.audience.leave(FakeSeat(extended=True))  # type: ignore[arg-type]
        self.assertEqual(self.base.heard(), "")

    def test_who_is_fed_hears_everything_but_messages_and_at_once(self) -> None:
        fed = self.feed()
        self.say(1)
        self.audience.tell(b"change\n")
        self.assertEqual(fed.heard(), "change")
        self.audience.spill()
        self.assertEqual(fed.heard(), "")

    def test_who_has_been_fed_goes_live(self) -> None:
        for extended, wanted in ((True, "change e2"), (False, "change b2")):
            fed = self.feed(extended=extended)
            self.say(1)
            self.audience.live(fed)
            self.audience.tell(b"change\n")
            self.say(2)
            self.audience.spill()
            self.assertEqual(fed.heard(), wanted)
            self.assertNotIn(fed, self.audience.feeding)

    def test_who_is_fed_may_leave(self) -> None:
        fed = self.feed()
        self.audience.leave(fed)
        self.audience.tell(b"change\n")
        self.assertEqual(fed.heard(), "")
        self.assertNotIn(fed, self.audience)

    def test_who_has_no_link_is_passed_over(self) -> None:
        self.come(extended=True, away=True)
        self.say(1)
        self.audience.spill()
        self.assertEqual(self.ext.heard(), "e1")

    def test_nothing_piles_up_for_nobody(self) -> None:
        audience = Audience()
        audience.tell(b"change\n")
        seat = FakeSeat(extended=True)
        audience.live(seat)  # type: ignore[arg-type]
        audience.spill()
        self.assertEqual(seat.pieces, 0)

    def test_all_its_seats(self) -> None:
        fed = self.feed()
        self.assertEqual(self.audience.seats(), [self.base, self.ext, fed])
        self.assertTrue(all(seat in self.audience for seat in (self.base, self.ext, fed)))

    def test_two_audiences_share_a_seat_that_is_in_both(self) -> None:
        other = Audience()
        self.assertFalse(self.audience.shares(other))
        other.live(FakeSeat(extended=True))  # type: ignore[arg-type]
        other.live(FakeSeat(extended=False))  # type: ignore[arg-type]
        self.assertFalse(self.audience.shares(other) or other.shares(self.audience))
        fed = self.feed()
        other.live(fed)
        self.assertTrue(self.audience.shares(other) and other.shares(self.audience))
        other.leave(fed)
        self.assertFalse(self.audience.shares(other))
        other.feed(Feed(self.ext, "news", 1))
        self.assertTrue(self.audience.shares(other) and other.shares(self.audience))
