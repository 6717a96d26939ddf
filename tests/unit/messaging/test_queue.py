"""What waits to be sent or acknowledged: time comes in as numbers."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import BacklogFull, TimedOut, Unacknowledged, Unreachable
from chatproto.messaging.queue import Ended, QueueLimits, SendQueue


class QueueTestCase(SynchronousTestCase):
    def make(self, **limits: int) -> SendQueue[str]:
        self.queue: SendQueue[str] = SendQueue(QueueLimits(**limits))
        return self.queue

    def put(self, *keys: str, deadline: float = 10.0, priority: int = 0, again: bool = False, size: int = 0) -> None:
        for key in keys:
            self.queue.put(key, key.encode().ljust(size, b"."), deadline, priority=priority, again=again)

    def due(self) -> str:
        return " ".join(frame.decode().rstrip(".") for frame in self.queue.due())

    def ends(self, ended: list[Ended[str]]) -> list[tuple[str, type[Unacknowledged], bool]]:
        return [(end.key, type(end.error), end.error.sent) for end in ended]


class OrderTests(QueueTestCase):
    def test_first_in_first_out(self) -> None:
        self.make()
        self.put("b", "a", "c")
        self.assertEqual(self.due(), "b a c")
        self.assertEqual(self.due(), "", "each is sent once")
        self.assertEqual(len(self.queue), 3, "and waits for its answer")

    def test_the_higher_priority_goes_first(self) -> None:
        """Among equals it is first in, first out; what was sent is not called back."""
        self.make(in_flight_max=2)
        self.put("a", "b")
        self.put("low", priority=-1)
        self.assertEqual(self.due(), "a b")
        self.put("c")
        self.put("urgent", "urgent too", priority=7)
        self.put("d")
        order = []
        for key in ("a", "b"):
            self.queue.answered(key)
            order.append(self.due())
        for key in order[:]:
            self.queue.answered(key)
        order += self.due().split()
        self.assertEqual(order, ["urgent", "urgent too", "c", "d"])

    def test_keys_need_no_order(self) -> None:
        """Any hashable is a key, also where two messages have all else in common."""
        queue: SendQueue[object] = SendQueue()
        keys = [object() for _ in range(20)]
        for key in keys:
            queue.put(key, b"x", 1.0)
        queue.withdraw(keys[7])
        self.assertEqual([end.key for end in queue.tick(1.0)], keys[:7] + keys[8:])


class WindowTests(QueueTestCase):
    def test_a_window_of_so_many(self) -> None:
        self.make(in_flight_max=2)
        self.put("a", "b", "c", "d")
        self.assertEqual(self.due(), "a b")
        self.queue.answered("b")
        self.assertEqual(self.due(), "c")

    def test_by_turns(self) -> None:
        self.make(in_flight_max=1)
        self.put("a", "b")
        self.assertEqual(self.due(), "a")
        self.queue.answered("a")
        self.assertEqual(self.due(), "b")

    def test_a_window_of_so_many_bytes(self) -> None:
        self.make(in_flight_bytes_max=10)
        self.put("a", "b", "c", size=5)
        self.assertEqual(self.due(), "a b")
        self.queue.answered("a")
        self.assertEqual(self.due(), "c")

    def test_what_is_longer_than_the_window_goes_alone(self) -> None:
        self.make(in_flight_bytes_max=10)
        self.put("a", size=5)
        self.put("long", size=50)
        self.put("b", size=5)
        self.assertEqual(self.due(), "a")
        self.queue.answered("a")
        self.assertEqual(self.due(), "long")
        self.queue.answered("long")
        self.assertEqual(self.due(), "b")

    def test_whatever_ends_makes_room(self) -> None:
        self.make(in_flight_max=1)
        self.put("a", deadline=1.0)
        self.put("b", "c")
        self.assertEqual(self.due(), "a")
        self.queue.tick(1.0)
        self.assertEqual(self.due(), "b")
        self.queue.withdraw("b")
        self.assertEqual(self.due(), "c")


class CeilingTests(QueueTestCase):
    def test_so_many(self) -> None:
        """What was sent counts until it has ended."""
        self.make(queue_max=2)
        self.put("a", "b")
        self.due()
        self.assertRaises(BacklogFull, self.put, "c")
        self.assertNotIn("c", self.queue)
        self.queue.answered("a")
        self.put("c")

    def test_so_many_bytes(self) -> None:
        self.make(queue_bytes_max=10)
        self.put("a", "b", size=5)
        full = self.assertRaises(BacklogFull, self.put, "c")
        self.assertEqual(str(full), "2 messages of 10 bytes wait already")
        self.queue.withdraw("a")
        self.put("c", size=5)
        self.assertRaises(BacklogFull, self.put, "d")


class EndTests(QueueTestCase):
    def test_answered_once(self) -> None:
        self.make()
        self.put("a")
        self.assertFalse(self.queue.answered("a"), "what was not sent has no answer")
        self.due()
        self.assertTrue(self.queue.answered("a"))
        self.assertFalse(self.queue.answered("a"))
        self.assertFalse(self.queue.answered("nonsense"))
        self.assertEqual(self.queue.tick(99.0), [])

    def test_withdrawn(self) -> None:
        self.make()
        self.put("a", "b", "c")
        self.assertTrue(self.queue.withdraw("b"))
        self.assertFalse(self.queue.withdraw("b"))
        self.assertEqual(self.due(), "a c")
        self.assertTrue(self.queue.withdraw("a"))
        self.assertFalse(self.queue.answered("a"), "nobody waits for it")

    def test_timed_out(self) -> None:
        """Sent or not; by its own time, not by its turn."""
        self.make(in_flight_max=1)
        self.assertIsNone(self.queue.next_wakeup())
        self.put("a", deadline=3.0)
        self.put("b", deadline=1.0)
        self.put("c", deadline=2.0)
        self.due()
        self.assertEqual(self.queue.next_wakeup(), 1.0)
        self.assertEqual(self.queue.tick(0.9), [])
        self.assertEqual(self.ends(self.queue.tick(2.0)), [("b", TimedOut, False), ("c", TimedOut, False)])
        self.assertEqual(self.queue.next_wakeup(), 3.0)
        (end,) = self.queue.tick(3.0)
        self.assertEqual(self.ends([end]), [("a", TimedOut, True)])
        self.assertEqual(str(end.error), "not acknowledged in time: it may or may not have arrived")
        self.assertFalse(self.queue.answered("a"), "the answer is too late")
        self.assertIsNone(self.queue.next_wakeup())

    def test_lost_with_the_link(self) -> None:
        """What was not sent yet waits for the next one."""
        self.make(in_flight_max=1)
        self.put("a", "b")
        self.due()
        self.assertEqual(self.ends(self.queue.lost()), [("a", Unreachable, True)])
        self.assertEqual(self.ends(self.queue.lost()), [])
        self.assertEqual(self.due(), "b")

    def test_sent_again_over_the_next_link(self) -> None:
        """In the order in which it was queued, before what came later, and within the window."""
        self.make(in_flight_max=2)
        self.put("a", "b", again=True)
        self.put("c")
        self.assertEqual(self.due(), "a b")
        self.queue.answered("a")
        self.assertEqual(self.due(), "c")
        self.put("d")
        self.assertEqual(self.ends(self.queue.lost()), [("c", Unreachable, True)])
        self.assertEqual(self.due(), "b d")
        self.assertTrue(self.queue.answered("b"))

    def test_what_is_to_be_sent_again_may_have_arrived(self) -> None:
        self.make()
        self.put("a", again=True)
        self.due()
        self.queue.lost()
        self.put("b", again=True)
        self.assertEqual(self.ends(self.queue.tick(10.0)), [("a", TimedOut, True), ("b", TimedOut, False)])

    def test_acknowledged_in_the_end_of_a_link(self) -> None:
        """Whoever hears otherwise that it arrived may say so before it is sent again."""
        self.make()
        self.put("a", again=True)
        self.due()
        self.queue.lost()
        self.assertTrue(self.queue.answered("a"))
        self.assertEqual(self.due(), "")

    def test_given_up(self) -> None:
        self.make(in_flight_max=1)
        self.put("a", "b", again=True)
        self.due()
        self.queue.lost()
        ended = self.queue.give_up()
        self.assertEqual(self.ends(ended), [("a", Unreachable, True), ("b", Unreachable, False)])
        self.assertEqual(str(ended[1].error), "no connection: it was not sent")
        self.assertEqual((len(self.queue), self.due(), self.queue.next_wakeup()), (0, "", None))


ACTS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("due"), st.just(0), st.just(False)),
    st.tuples(st.just("answer"), st.integers(0, 40), st.just(False)),
    st.tuples(st.just("withdraw"), st.integers(0, 40), st.just(False)),
    st.tuples(st.just("tick"), st.integers(0, 5), st.just(False)),
    st.tuples(st.just("lost"), st.just(0), st.just(False)),
)


class StoryTests(SynchronousTestCase):
    @given(st.lists(ACTS, max_size=60))
    def test_every_message_ends_exactly_once(self, acts: list[tuple[str, int, bool]]) -> None:
        """Whatever happens in whatever order: never twice, never not at all, and the ceilings hold."""
        queue: SendQueue[int] = SendQueue(QueueLimits(queue_max=12, in_flight_max=3, in_flight_bytes_max=40))
        taken: list[int] = []
        ended: list[int] = []
        flying: set[int] = set()
        now = 0.0
        for number, (act, which, again) in enumerate(acts):
            match act:
                case "put":
                    try:
                        queue.put(number, b"%d" % number, now + 1 + which, priority=which, again=again)
                        taken.append(number)
                    except BacklogFull:
                        self.assertEqual(len(queue), 12)
                case "due":
                    flying |= {int(frame) for frame in queue.due()}
                    self.assertLessEqual(len(flying), 3)
                    self.assertTrue(len(flying) == 3 or len(flying) == len(queue), "nothing waits without a reason")
                case "answer" if queue.answered(which):
                    ended.append(which)
                case "withdraw" if queue.withdraw(which):
                    ended.append(which)
                case "tick":
                    now += which
                    ended += [end.key for end in queue.tick(now)]
                case "lost":
                    ended += [end.key for end in queue.lost()]
                    flying.clear()
            flying -= set(ended)
            self.assertEqual(len(queue), len(taken) - len(ended))
        ended += [end.key for end in queue.give_up()]
        self.assertEqual(sorted(ended), taken)
        self.assertIsNone(queue.next_wakeup())
        self.assertEqual(queue._bytes, 0)
