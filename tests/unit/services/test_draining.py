"""Tests for chatproto.services.draining: every way from one phase of a node's end to the next."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.services.draining import (
    FLUSH_S,
    LAG_S,
    MOVED_PER_S,
    PHASE_S_MAX,
    SPREAD_S_MAX,
    SPREAD_S_MIN,
    TRANSITIONS,
    Abort,
    Cue,
    Draining,
    Effect,
    Entered,
    HandOver,
    Leave,
    Part,
    PartFromAll,
    Phase,
    SendAway,
    Sight,
    picture,
)

CROWD = Sight(clients=10, links=12, elsewhere=True, leads_pair=True)
NOBODY = Sight(clients=0, links=0)
ALONE = Sight(clients=10, links=12)


class DrainingTestCase(SynchronousTestCase):
    def begin(self, sight: Sight, drain_s_max: float = 10.0, at: float = 0.0) -> list[Effect]:
        self.draining = Draining(drain_s_max)
        self.now = at
        return self.draining.begin(sight, at)

    def look(self, sight: Sight, seconds: float = 0.0) -> list[Effect]:
        """Look after some seconds; return what is to be done, without what is only told."""
        self.now += seconds
        return [effect for effect in self.draining.look(sight, self.now) if not isinstance(effect, Entered)]

    @property
    def phase(self) -> Phase:
        return self.draining.phase


class PhaseTests(DrainingTestCase):
    def test_from_the_first_to_the_last(self) -> None:
        entered, sent = self.begin(CROWD)
        self.assertEqual(entered, Entered(Phase.SERVING, *TRANSITIONS[Phase.SERVING, Cue.ELSEWHERE]))
        self.assertEqual(sent, SendAway(200))
        self.assertEqual(self.look(CROWD, 0.05), [Part(0.25)])
        gone = Sight(clients=0, links=1, elsewhere=True, leads_pair=True)
        self.assertEqual(self.look(gone, 0.1), [PartFromAll(), HandOver()])
        self.assertEqual(self.phase, Phase.HANDING)
        self.assertEqual(self.look(gone, 0.02), [HandOver()], "until it leads")
        self.assertEqual(self.look(Sight(clients=0, links=1), 0.02), [Leave()])
        self.assertEqual(self.look(Sight(clients=0, links=1), 0.02), [])
        self.assertEqual(self.look(NOBODY, 0.02), [Abort()])
        self.assertEqual(self.phase, Phase.OVER)
        took = {phase: round(seconds, 3) for phase, seconds in self.draining.took_s.items()}
        self.assertEqual(
            took,
            {Phase.SERVING: 0.0, Phase.MOVING: 0.15, Phase.SETTLING: 0.0, Phase.HANDING: 0.04, Phase.LEAVING: 0.04},
        )
        self.assertEqual(self.look(NOBODY, 1), [], "it is over")

    def test_where_nobody_is_it_is_over_at_once(self) -> None:
        for sight in (NOBODY, Sight(clients=0, links=0, elsewhere=True)):
            entered = Entered(Phase.SERVING, *TRANSITIONS[Phase.SERVING, Cue.NOWHERE])
            self.assertEqual(self.begin(sight), [entered, PartFromAll()])
            self.assertEqual(self.look(sight), [Leave(), Abort()])

    def test_alone_everybody_is_answered_and_parted_from(self) -> None:
        self.assertEqual(self.begin(ALONE)[1:], [PartFromAll()])
        self.assertEqual(self.look(ALONE, 1), [])
        self.assertEqual(self.look(Sight(clients=0, links=2), 0.02), [Leave()])

    def test_who_has_not_gone_is_parted_from(self) -> None:
        self.begin(CROWD)
        self.assertEqual(self.look(CROWD, SPREAD_S_MIN + LAG_S - 0.01), [Part(1.0)])
        self.assertEqual(self.look(CROWD, 0.02), [PartFromAll()])
        self.assertEqual(self.phase, Phase.SETTLING)

    def check_late(self, phase: Phase, sight: Sight, *effects: Effect) -> None:
        self.assertEqual(self.phase, phase)
        self.assertNotIn(Entered, map(type, self.draining.look(sight, self.now + PHASE_S_MAX[phase] - 0.01)))
        self.assertEqual(self.look(sight, PHASE_S_MAX[phase] + 0.01), list(effects))

    def test_who_is_not_answered_is_not_waited_for_for_ever(self) -> None:
        self.begin(ALONE)
        self.check_late(Phase.SETTLING, ALONE, Leave())

    def test_a_handover_is_not_waited_for_for_ever(self) -> None:
        self.begin(Sight(clients=0, links=1, leads_pair=True))
        self.look(Sight(clients=0, links=1, leads_pair=True))
        self.check_late(Phase.HANDING, Sight(clients=0, links=1, leads_pair=True), Leave())

    def test_who_does_not_read_is_not_waited_for_for_ever(self) -> None:
        self.begin(NOBODY)
        deaf = Sight(clients=0, links=1)
        self.look(deaf)
        self.check_late(Phase.LEAVING, deaf, Abort())

    def test_withdrawing_is_waited_for(self) -> None:
        still = Sight(clients=0, links=0, withdrawn=False)
        self.begin(still)
        self.look(still)
        self.assertEqual(self.look(still, 0.1), [])
        self.assertEqual(self.look(NOBODY, 0.02), [Abort()])


class TimeTests(DrainingTestCase):
    def test_clients_are_spread_at_a_pace(self) -> None:
        for clients, within_ms in ((1, 200), (100, 200), (MOVED_PER_S, 1000), (10**6, 4000)):
            (_, sent) = self.begin(Sight(clients=clients, links=clients, elsewhere=True))
            self.assertEqual(sent, SendAway(within_ms))
        (_, sent) = self.begin(Sight(clients=10**6, links=1, elsewhere=True), drain_s_max=3600)
        self.assertEqual(sent, SendAway(round(SPREAD_S_MAX * 1000)))

    def test_without_time_clients_are_told_and_no_more(self) -> None:
        entered, leave = self.begin(CROWD, drain_s_max=0.0)
        self.assertEqual((entered.reason, leave), ("there is no time for anything else", Leave()))
        self.assertEqual(self.look(CROWD, FLUSH_S / 2), [])
        self.assertEqual(self.look(CROWD, FLUSH_S), [Abort()])

    @given(st.floats(0.01, 100), st.integers(0, 10**5))
    def test_it_never_takes_longer_than_it_may(self, drain_s_max: float, clients: int) -> None:
        stuck = Sight(clients=clients, links=clients + 1, elsewhere=True, leads_pair=True, withdrawn=False)
        self.begin(stuck, drain_s_max, at=0.0)
        while self.phase is not Phase.OVER:
            self.look(stuck, max(drain_s_max / 97, 0.001))
        self.assertLessEqual(self.now, drain_s_max * (1 + 5 / 97) + FLUSH_S + 0.01)

    @given(st.floats(0.5, 100))
    def test_each_phase_has_its_turn(self, drain_s_max: float) -> None:
        """However stuck each is, something is left for those after it."""
        stuck = Sight(clients=1, links=1, elsewhere=True, leads_pair=True)
        self.begin(stuck, drain_s_max, at=0.0)
        seen = [self.phase]
        while self.phase is not Phase.OVER:
            self.look(stuck, drain_s_max / 100)
            if seen[-1] is not self.phase:
                seen.append(self.phase)
        self.assertEqual(seen, [Phase.MOVING, Phase.SETTLING, Phase.HANDING, Phase.LEAVING, Phase.OVER])


class HurryTests(DrainingTestCase):
    def test_from_every_phase(self) -> None:
        for sight in (CROWD, ALONE, Sight(clients=0, links=1, leads_pair=True)):
            self.begin(sight)
            self.look(sight)
            self.assertEqual(self.draining.hurry(self.now)[1:], [Leave()])
            self.assertEqual(self.phase, Phase.LEAVING)
            over = Entered(Phase.LEAVING, *TRANSITIONS[Phase.LEAVING, Cue.HURRIED])
            self.assertEqual(self.draining.hurry(self.now), [over, Abort()])
            self.assertEqual(self.draining.hurry(self.now), [])

    def test_what_has_not_begun_is_not_hurried(self) -> None:
        self.assertEqual(Draining(10.0).hurry(0.0), [])


class TableTests(SynchronousTestCase):
    def test_every_way_goes_on(self) -> None:
        order = list(Phase)
        for (before, _), (after, reason) in TRANSITIONS.items():
            self.assertLess(order.index(before), order.index(after))
            self.assertTrue(reason and reason[-1] != ".")

    def test_no_phase_lasts_until_it_is_done_alone(self) -> None:
        for before, after in pairwise(list(Phase)[1:-1]):
            self.assertIn((before, Cue.LATE), TRANSITIONS)
            self.assertIn((before, Cue.HURRIED), TRANSITIONS, after)

    def test_the_picture_has_every_row(self) -> None:
        lines = picture().splitlines()
        self.assertEqual(len(lines), len(Phase) + len(TRANSITIONS))
        self.assertEqual(lines[0], "serving")
        row = "    late            → handing   what is not answered was not promised: its sender says it again"
        self.assertIn(row, lines)
