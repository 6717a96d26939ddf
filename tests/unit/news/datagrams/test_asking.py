from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.datagrams.asking import (
    AWAIT_S,
    CHALLENGES_MAX,
    LISTENING,
    PULL_TRIES_MAX,
    PULLING,
    REFUSED_AGAIN_S_MAX,
    REFUSED_AGAIN_S_MIN,
    RETRY_S_MAX,
    SILENT_TRIES,
    Asking,
    Cue,
    Effect,
    Granting,
    Listening,
    Pen,
    Phase,
    PullEnded,
    Pulling,
    Refusing,
    Say,
    Unheard,
)
from chatproto.news.datagrams.messages import (
    NO_COOKIE,
    Challenge,
    Denied,
    Granted,
    Leave,
    Listen,
    Pull,
    Pulled,
    from_reader,
)
from chatproto.news.datagrams.proof import is_signed
from tests.unit.news.datagrams.rig import CONVERSATION, KEY

COOKIE = bytes(range(24))


def said(effects: list[Effect]) -> list[Any]:
    """Return what is to be done, datagrams as what they say, without the proof, which is looked at."""
    found: list[Any] = []
    for effect in effects:
        if isinstance(effect, Say):
            request, conversation, _ = from_reader(effect.data)
            assert conversation == CONVERSATION and is_signed(request, KEY, CONVERSATION)
            more = (request.after, request.count) if isinstance(request, Pull) else ()
            found.append((type(request), request.cookie != NO_COOKIE, request.serial, *more))
        else:
            found.append(effect)
    return found


def pen() -> Pen:
    return Pen("r", KEY, CONVERSATION)


class TableTests(SynchronousTestCase):
    def test_every_row_says_why_and_none_is_left_out_by_mistake(self) -> None:
        for table in (LISTENING, PULLING):
            for before, cue in table:
                self.assertTrue(table[before, cue][1], (before, cue))
            for phase in {before for before, _ in table}:
                self.assertIn((phase, Cue.STOP), table, "it can be stopped at any time")

    def test_what_is_not_listed_raises(self) -> None:
        asking = Listening(pen(), 0.0)
        asking.start(0.0)
        self.assertRaises(KeyError, asking.start, 0.0)

    def test_what_they_have_in_common_asks_for_nothing(self) -> None:
        self.assertRaises(NotImplementedError, Asking(pen(), 0.0)._request)


class ListeningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asking = Listening(pen(), 0.0)

    def wake(self) -> tuple[float, list[Any]]:
        due = self.asking.next_wakeup()
        assert due is not None
        self.assertEqual(self.asking.wake(due - 0.01), [])
        return due, said(self.asking.wake(due))

    def served(self) -> None:
        self.asking.start(0.0)
        self.asking.received(Challenge(COOKIE), 0.0)
        self.assertEqual(self.asking.received(Granted(2, "east", 90.0), 1.0), [Granting("east")])

    def test_it_asks_shows_that_it_hears_and_is_granted(self) -> None:
        self.assertEqual(said(self.asking.start(0.0)), [(Listen, False, 1)])
        self.assertEqual(said(self.asking.received(Challenge(COOKIE), 0.1)), [(Listen, True, 2)])
        self.assertEqual(self.asking.received(Granted(2, "east", 90.0), 1.0), [Granting("east")])
        self.assertEqual((self.asking.phase, self.asking.next_wakeup()), (Phase.SERVED, 31.0))

    def test_it_renews(self) -> None:
        self.served()
        self.assertEqual(self.wake(), (31.0, [(Listen, True, 3)]))
        self.assertEqual(self.asking.received(Granted(3, "east", 90.0), 31.0), [Granting("east")])
        self.assertEqual(self.asking.next_wakeup(), 61.0)

    def test_readers_do_not_renew_in_step(self) -> None:
        self.asking = Listening(pen(), 1.0)
        self.served()
        self.assertEqual(self.asking.next_wakeup(), 1.0 + 22.5)

    def test_it_asks_again_later_each_time_and_says_that_nobody_answers(self) -> None:
        self.asking.start(0.0)
        times, unheard = [], 0
        for _ in range(8):
            at, effects = self.wake()
            times.append(at)
            unheard += Unheard() in effects
        self.assertEqual(times[:5], [0.5, 1.5, 3.5, 7.5, 15.5])
        self.assertEqual(times[-1] - times[-2], RETRY_S_MAX)
        self.assertEqual(unheard, 8 - SILENT_TRIES + 1)

    def test_whatever_it_hears_says_that_somebody_is_there(self) -> None:
        self.asking.start(0.0)
        self.asking.heard(0.4)
        self.assertEqual(self.asking.next_wakeup(), 0.9)
        self.served_from_here()
        self.asking.heard(5.0)
        self.assertEqual(self.asking.next_wakeup(), 31.0)

    def served_from_here(self) -> None:
        self.asking.received(Granted(1, "east", 90.0), 1.0)

    def test_a_node_that_was_started_anew_challenges_again(self) -> None:
        self.served()
        self.wake()
        again = self.asking.received(Challenge(COOKIE[::-1]), 31.0)
        self.assertEqual(said(again), [(Listen, True, 4)])
        self.assertEqual(self.asking.received(Challenge(COOKIE[::-1]), 31.0), [], "a datagram that came twice")

    def test_challenges_without_end_are_not_answered(self) -> None:
        self.asking.start(0.0)
        answered = [len(self.asking.received(Challenge(bytes([at]) * 24), 0.0)) for at in range(1, CHALLENGES_MAX + 3)]
        self.assertEqual(answered, [1] * CHALLENGES_MAX + [0, 0])

    def test_a_challenge_that_nothing_was_asked_for_is_passed_over(self) -> None:
        self.assertEqual(self.asking.received(Challenge(COOKIE), 0.0), [])

    def test_refused_it_asks_again_soon_and_then_later_each_time(self) -> None:
        self.asking.start(0.0)
        for tries in range(1, 10):
            now = 100.0 * tries
            denied = Denied(tries, "unknown-reader")
            self.assertEqual(self.asking.received(denied, now), [Refusing("unknown-reader")])
            self.assertEqual(self.asking.phase, Phase.REFUSED)
            wait_s = min(REFUSED_AGAIN_S_MIN * 2 ** (tries - 1), REFUSED_AGAIN_S_MAX)
            self.assertEqual(self.wake(), (now + wait_s, [(Listen, False, tries + 1)]))
        self.asking.received(Granted(10, "node", 90.0), 1000.0)
        self.asking.received(Denied(0, "gone"), 1001.0)
        self.assertEqual(self.asking.next_wakeup(), 1001.0 + REFUSED_AGAIN_S_MIN)

    def test_what_another_has_now_is_left_to_it(self) -> None:
        self.served()
        self.wake()
        self.assertEqual(self.asking.received(Denied(3, "moved"), 31.0), [Refusing("moved")])
        self.assertIsNone(self.asking.next_wakeup())
        self.assertEqual(self.asking.wake(1000.0), [])
        self.assertEqual(said(self.asking.stop()), [])

    def test_a_contract_that_is_gone_from_there(self) -> None:
        self.served()
        self.assertEqual(self.asking.received(Denied(0, "gone"), 31.0), [Refusing("gone")])
        self.assertEqual(self.asking.received(Denied(0, "gone"), 31.0), [], "it knows")

    def test_what_answers_nothing_is_passed_over(self) -> None:
        self.served()
        for message in (Granted(2, "east", 90.0), Granted(3, "east", 90.0), Denied(2, "moved"), Challenge(COOKIE)):
            self.assertEqual(self.asking.received(message, 2.0), [])
        self.wake()
        for answer in (Granted(2, "east", 90.0), Granted(4, "east", 90.0), Granted(3, "east", -1.0)):
            self.assertEqual(self.asking.received(answer, 31.0), [])
        self.assertEqual(self.asking.received(Pulled(3, "east", 1, (), False), 31.0), [])

    def test_an_answer_to_an_earlier_try_is_one(self) -> None:
        self.asking.start(0.0)
        self.wake()
        self.assertEqual(self.asking.received(Granted(1, "east", 90.0), 0.6), [Granting("east")])

    def test_it_takes_leave_of_who_may_know_it(self) -> None:
        self.assertEqual(self.asking.stop(), [])
        self.served()
        self.assertEqual(said(self.asking.stop()), [(Leave, True, 3)])
        self.assertEqual((self.asking.phase, self.asking.next_wakeup()), (Phase.STILL, None))

    def test_somewhere_else_everything_begins_anew(self) -> None:
        self.assertEqual(self.asking.again(0.0), [])
        self.asking.start(0.0)
        self.asking.received(Challenge(COOKIE), 0.0)
        for _ in range(3):
            self.wake()
        self.assertEqual(said(self.asking.again(20.0)), [(Listen, False, 6)])
        self.assertEqual(self.asking.next_wakeup(), 20.5)
        self.assertEqual(self.asking.received(Granted(5, "east", 90.0), 20.0), [], "of the place before")


class PullingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asking = Pulling(pen(), 0.0, after=7)
        self.there: set[int] = set()

    def received(self, message: Any, now: float = 0.0) -> list[Any]:
        return said(self.asking.received(message, now, self.there.__contains__))

    def test_it_asks_for_what_comes_after(self) -> None:
        self.assertEqual(said(self.asking.start(20, 0.0)), [(Pull, False, 1, 7, 20)])
        self.assertEqual(self.received(Challenge(COOKIE)), [(Pull, True, 2, 7, 20)])
        self.there |= {3, 4}
        ended = PullEnded((3, 4), (), True, "maximum")
        self.assertEqual(self.received(Pulled(2, "east", 9, (3, 4), True, "maximum")), [Granting("east"), ended])
        self.assertEqual((self.asking.phase, self.asking.after, self.asking.next_wakeup()), (Phase.STILL, 9, None))
        self.assertEqual(said(self.asking.start(20, 0.0)), [(Pull, True, 3, 9, 20)])

    def test_what_is_still_on_its_way_is_waited_for(self) -> None:
        self.asking.start(20, 0.0)
        self.there.add(3)
        self.assertEqual(self.asking.arrived(3), [])
        self.assertEqual(self.received(Pulled(1, "east", 9, (3, 4), False)), [Granting("east")])
        self.assertEqual(self.asking.arrived(5), [])
        self.assertEqual(self.asking.arrived(4), [PullEnded((3, 4))])

    def test_but_not_for_ever(self) -> None:
        self.asking.start(20, 0.0)
        self.received(Pulled(1, "east", 9, (3, 4), False), 1.0)
        self.asking.arrived(4)
        self.assertEqual(self.asking.wake(0.9 + AWAIT_S), [])
        self.assertEqual(self.asking.wake(1.0 + AWAIT_S), [PullEnded((3, 4), (3,))])

    def test_nobody_answers(self) -> None:
        self.asking.start(20, 0.0)
        effects: list[Effect] = []
        for _ in range(PULL_TRIES_MAX):
            due = self.asking.next_wakeup()
            assert due is not None
            effects = self.asking.wake(due)
        self.assertEqual(effects, [Unheard(), PullEnded(failure="no-answer")])
        self.assertEqual(said(self.asking.start(20, 99.0)), [(Pull, False, PULL_TRIES_MAX + 1, 7, 20)])

    def test_refused(self) -> None:
        self.asking.start(20, 0.0)
        self.assertEqual(self.received(Denied(1, "paid")), [Refusing("paid"), PullEnded(failure="paid")])
        self.assertEqual((self.asking.phase, self.asking.after), (Phase.STILL, 7))

    def test_what_answers_nothing_is_passed_over(self) -> None:
        for message in (Pulled(1, "east", 9, (), False), Denied(1, "paid"), Challenge(COOKIE)):
            self.assertEqual(self.received(message), [])
        self.asking.start(20, 0.0)
        for answer in (Pulled(2, "east", 9, (), False), Denied(0, "gone"), Granted(1, "east", 90.0)):
            self.assertEqual(self.received(answer), [])

    def test_given_up(self) -> None:
        self.asking.start(20, 0.0)
        self.assertEqual(self.asking.stop(), [])
        self.assertEqual((self.asking.phase, self.asking.wake(9.0)), (Phase.STILL, []))
