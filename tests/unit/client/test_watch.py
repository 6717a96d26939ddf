"""Whether a server that says nothing is still there: time comes in as numbers."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.client.watch import EARLY_S, UPLINK_BYTES_S_MIN, Finding, Watch

ASK, NOTHING, SILENT = Finding.ASK, Finding.NOTHING, Finding.SILENT


class WatchTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A server that welcomed us at 100, half a second after the connection was there."""
        self.watch = Watch(1.0, 5.0, 15.0)
        self.watch.begin(99.5, 1.0)
        self.watch.heard(100.0)
        self.watch.welcomed(100.0)
        self.watch.awaits(False, 100.0)

    def story(self, until: float, line_bytes_max: int = 0) -> list[tuple[float, Finding]]:
        """Let its time come whenever it wants; return when what was found, until the server is found silent."""
        told: list[tuple[float, Finding]] = []
        now = 0.0
        while (at := max(now, self.watch.due_at)) <= until:
            now = at
            finding = self.watch.due(now, line_bytes_max)
            if finding is not NOTHING:
                told.append((now, finding))
            if finding is SILENT:
                break
        return told


class Awaiting(WatchTestCase):
    def test_asked_and_left(self) -> None:
        """Silence counts from when something is waited for, not from what was heard long before."""
        self.watch.awaits(True, 104.0)
        self.assertEqual(self.story(200), [(104.5, ASK), (105.0, SILENT)])

    def test_from_the_last_heard(self) -> None:
        """Whatever was heard, part of a line even, counts."""
        self.watch.awaits(True, 104.0)
        self.watch.heard(104.4)
        self.assertEqual(self.story(104.95), [(104.9, ASK)])
        self.watch.heard(104.95)
        self.assertEqual(self.story(105.9), [(105.45, ASK)])
        self.watch.heard(105.9)
        self.watch.awaits(True, 105.9)
        self.assertEqual(self.story(200), [(106.4, ASK), (106.9, SILENT)])

    def test_answered(self) -> None:
        """Once nothing is waited for any more there is time; and the next wait begins anew."""
        self.watch.awaits(True, 104.0)
        self.assertEqual(self.story(104.6), [(104.5, ASK)])
        self.watch.awaits(False, 104.8)
        self.assertEqual(self.story(105.5), [])
        self.watch.awaits(True, 105.6)
        self.assertEqual(self.story(200), [(106.1, ASK), (106.6, SILENT)])

    def test_answered_at_once(self) -> None:
        """What is asked and answered within one tick of the clock is to be asked again later."""
        self.watch.awaits(True, 104.0)
        self.assertIs(self.watch.due(104.5, 0), ASK)
        self.watch.heard(104.5)
        self.assertEqual(self.story(200), [(105.0, ASK), (105.5, SILENT)])

    def test_asked_late(self) -> None:
        """A client that was busy itself, or stood still, gives the server its time all the same."""
        self.watch.awaits(True, 104.0)
        self.assertIs(self.watch.due(109.0, 0), ASK)
        self.assertEqual(self.story(200), [(109.5, SILENT)])

    def test_looks_once_more(self) -> None:
        """The answer may be there, unread: before the last word it is looked again, at once."""
        self.watch.awaits(True, 104.0)
        self.assertIs(self.watch.due(104.5, 0), ASK)
        self.assertIs(self.watch.due(109.0, 0), NOTHING)
        self.assertLess(self.watch.due_at, 109.0, "at once")
        self.watch.heard(109.0)
        self.assertEqual(self.watch.due_at, 109.5)

    def test_too_early(self) -> None:
        """A timer is not exact; what is a moment early is in time."""
        self.watch.awaits(True, 104.0)
        self.assertIs(self.watch.due(104.4, 0), NOTHING)
        self.assertIs(self.watch.due(104.5 - EARLY_S / 2, 0), ASK)

    def test_slow_uplink(self) -> None:
        """What has not arrived cannot be answered: a long line gets the time it takes, once."""
        self.watch.awaits(True, 104.0)
        self.assertEqual(self.story(200, 2 * UPLINK_BYTES_S_MIN), [(104.5, ASK), (107.0, SILENT)])
        self.watch.heard(107.0)
        self.assertEqual(self.story(200, 0), [(107.5, ASK), (108.0, SILENT)])


class Welcoming(WatchTestCase):
    def test_before_the_welcome(self) -> None:
        self.watch.begin(200.0, 1.0)
        self.watch.awaits(True, 200.0)
        self.assertEqual(self.story(300), [(200.5, ASK), (201.0, SILENT)])

    def test_far_away(self) -> None:
        """Whoever was slow to welcome is given as long later; whoever was not, no longer than others."""
        for took_s, patience_s in ((1.5, 4.0), (0.9, 1.0)):
            self.watch.begin(200.0, 4.0)
            self.watch.heard(200.0 + took_s)
            self.watch.welcomed(200.0 + took_s)
            self.watch.awaits(True, 210.0)
            self.assertEqual(self.story(300)[-1], (210.0 + patience_s, SILENT))


class Idle(WatchTestCase):
    def test_heartbeat(self) -> None:
        self.assertEqual(self.story(300), [(105.0, ASK), (110.0, ASK), (115.0, SILENT)])

    def test_heard(self) -> None:
        """Nobody is asked who is heard."""
        for now in range(101, 200):
            self.watch.heard(float(now))
        self.assertEqual(self.story(203), [])
        self.assertEqual(self.story(206), [(204.0, ASK)])
        self.watch.heard(204.1)
        self.assertEqual(self.story(209.1), [(209.1, ASK)])

    def test_shorter_than_a_heartbeat(self) -> None:
        watch = self.watch = Watch(1.0, 5.0, 3.0)
        watch.begin(100.0, 1.0)
        self.assertEqual(self.story(300), [(103.0, SILENT)])


class Live(SynchronousTestCase):
    @given(
        st.lists(st.tuples(st.sampled_from(["await", "rest", "chat"]), st.floats(0, 3)), max_size=30),
        st.floats(0, 0.49),
    )
    def test_a_live_server_is_never_left(self, steps: list[tuple[str, float]], answers_in_s: float) -> None:
        """Whatever is waited for, and for how long it is held back: a server that answers pings is kept."""
        watch = Watch(1.0, 5.0, 15.0)
        now, pong_at = 0.0, None
        watch.begin(now, 1.0)
        watch.awaits(True, now)
        for step, seconds in steps:
            end = now + seconds
            while True:
                due_at = max(now, watch.due_at)
                if pong_at is not None and pong_at <= min(due_at, end):
                    now, pong_at = pong_at, None
                    watch.heard(now)
                elif due_at <= end:
                    now = due_at
                    finding = watch.due(now, 0)
                    self.assertIsNot(finding, SILENT)
                    if finding is ASK:
                        pong_at = now + answers_in_s
                else:
                    break
            now = end
            if step == "chat":
                watch.heard(now)
            else:
                watch.awaits(step == "await", now)
