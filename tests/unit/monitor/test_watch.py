"""The table, and the times: a master that answers, is silent, refuses, and comes back."""

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from chatproto.monitor.watch import (
    LATE_S_MAX,
    RETRIES,
    TRANSITIONS,
    Activate,
    Ask,
    Changed,
    Effect,
    Event,
    GiveUp,
    StandDown,
    State,
    Watch,
    describe,
)

EVERY_S, DEAD_S = 1.0, 2.0


def doings(effects: list[Effect]) -> list[type[Effect]]:
    return [type(effect) for effect in effects if not isinstance(effect, Changed)]


class TableTests(SynchronousTestCase):
    def test_every_state_is_reached_and_left_again(self) -> None:
        ways = [(before, after) for (before, _), (after, _) in TRANSITIONS.items() if after is not before]
        self.assertEqual({after for _, after in ways}, set(State) - {State.LOOKING})
        self.assertEqual({before for before, _ in ways}, set(State))

    def test_an_answer_and_silence_may_come_at_any_time(self) -> None:
        for state, event in product(State, (Event.ANSWERED, Event.SILENT)):
            self.assertIn((state, event), TRANSITIONS)

    def test_what_has_no_row_raises(self) -> None:
        watch = Watch(EVERY_S, DEAD_S)
        for wrong in (watch.activated, watch.failed, watch.finished):
            self.assertRaises(KeyError, wrong)

    def test_every_row_has_its_reason(self) -> None:
        self.assertEqual(len(describe().splitlines()), len(TRANSITIONS))
        self.assertIn("SILENT     WATCHING -> ACTIVATING ", describe())
        self.assertTrue(all(reason for _, reason in TRANSITIONS.values()))


class WatchTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.watch = Watch(EVERY_S, DEAD_S)
        self.assertIsNone(self.watch.next_wakeup())
        self.assertEqual(self.watch.start(100.0), [Ask()])
        self.now = 100.0

    def at(self, now: float) -> list[type[Effect]]:
        """Wake the watch whenever it wants to be, up to a time; return what it did."""
        done: list[type[Effect]] = []
        while (wakeup := self.watch.next_wakeup()) is not None and wakeup <= now:
            assert wakeup > self.now or not done, "it does something each time"
            self.now = wakeup
            done += doings(self.watch.due(wakeup))
        self.now = now
        return done

    def heard_once(self) -> None:
        self.watch.answered(self.now)
        self.assertEqual(self.watch.state, State.WATCHING)

    def stand_in(self) -> None:
        """Have the stand-in serve: the master is silent from 101 on, which is found at 103."""
        self.heard_once()
        self.at(103.0)
        self.watch.activated()
        self.assertEqual(self.watch.state, State.STANDING_IN)


class AliveTests(WatchTestCase):
    def test_an_answer_is_followed_by_the_next_question(self) -> None:
        self.heard_once()
        self.assertEqual(self.at(100.9), [])
        self.assertEqual(self.at(101.0), [Ask])
        self.assertTrue(self.watch.asking)
        self.now = 102.5
        self.watch.answered(102.5)
        self.assertEqual((self.at(103.4), self.at(103.5)), ([], [Ask]))

    def test_one_that_was_never_heard_is_not_missed(self) -> None:
        self.assertEqual(self.at(130.0).count(Activate), 0)
        self.assertEqual(self.watch.state, State.LOOKING)
        self.watch.answered(130.0)
        self.assertEqual(self.watch.state, State.WATCHING)


class DeadTests(WatchTestCase):
    def test_silence_for_so_long_is_the_end(self) -> None:
        """At the worst one interval and the timeout after it died: the bound that the seed names."""
        self.heard_once()
        self.assertEqual(self.at(102.9), [Ask])
        self.assertEqual(self.at(103.0), [GiveUp, Activate])
        self.assertEqual(self.watch.state, State.ACTIVATING)

    def test_a_refusal_is_asked_again_before_it_counts(self) -> None:
        """A process that is started again within the time is not replaced."""
        self.heard_once()
        self.at(101.0)
        asked = 0
        while self.watch.state is State.WATCHING and self.now < 110:
            self.watch.unanswered(self.now)
            wakeup = self.watch.next_wakeup()
            assert wakeup is not None
            asked += self.at(wakeup).count(Ask)
        self.assertEqual((asked, self.now), (RETRIES - 1, 103.0))
        self.assertEqual(self.watch.state, State.ACTIVATING)

    def test_started_again_within_the_time(self) -> None:
        self.heard_once()
        self.at(101.0)
        self.watch.unanswered(101.0)
        self.assertEqual(self.at(101.5), [Ask])
        self.watch.answered(101.5)
        self.assertEqual((self.at(103.0), self.watch.state), ([Ask], State.WATCHING))

    def test_whoever_stood_still_has_heard_nobody(self) -> None:
        """Silence while the monitor itself was stopped says nothing: the master has as much time again."""
        self.heard_once()
        self.at(101.0)
        late = 103.0 + LATE_S_MAX + 0.1
        self.assertEqual(self.watch.due(late), [])
        self.assertEqual(self.watch.next_wakeup(), late + DEAD_S)
        self.now = late
        self.assertEqual(self.at(late + DEAD_S), [GiveUp, Activate])

    def test_too_early_does_nothing(self) -> None:
        self.heard_once()
        self.assertEqual(self.watch.due(100.5), [])

    def test_a_stand_in_that_cannot_serve_is_tried_again(self) -> None:
        self.heard_once()
        self.at(103.0)
        (changed,) = self.watch.failed()
        self.assertEqual(changed, Changed(State.WATCHING, Event.FAILED, TRANSITIONS[State.ACTIVATING, Event.FAILED][1]))
        self.assertEqual(self.at(106.0), [Ask, GiveUp, Activate])


class BackTests(WatchTestCase):
    def test_it_goes_on_asking(self) -> None:
        self.stand_in()
        self.assertEqual(self.at(110.0), [Ask, GiveUp, Ask, GiveUp, Ask])
        self.assertEqual(self.watch.state, State.STANDING_IN)

    def test_the_first_answer_ends_it(self) -> None:
        self.stand_in()
        self.at(104.0)
        changed, stand_down = self.watch.answered(104.5)
        self.assertEqual(stand_down, StandDown())
        self.assertIsInstance(changed, Changed)
        self.assertEqual(self.watch.state, State.STANDING_DOWN)
        self.watch.finished()
        self.assertEqual(self.watch.state, State.WATCHING)

    def test_back_before_the_stand_in_serves(self) -> None:
        """What has begun is finished, and the next answer ends it."""
        self.heard_once()
        self.at(104.0)
        self.assertEqual(self.watch.answered(104.1), [])
        self.assertEqual(self.watch.state, State.ACTIVATING)
        self.watch.activated()
        self.at(105.1)
        self.assertIn(StandDown(), self.watch.answered(105.2))

    def test_a_master_that_was_there_before_is_missed_from_the_start(self) -> None:
        self.watch = Watch(1.0, 3.0, known=True)
        self.watch.start(100.0)
        self.at(103.0)
        self.assertEqual(self.watch.state, State.ACTIVATING)

    def test_dead_again_while_the_stand_in_finishes(self) -> None:
        self.stand_in()
        self.at(104.0)
        self.watch.answered(104.0)
        self.assertEqual(self.at(107.0), [Ask, GiveUp])
        self.watch.finished()
        self.assertEqual(self.at(110.0), [Ask, GiveUp, Activate])
