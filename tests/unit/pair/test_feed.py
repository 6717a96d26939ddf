from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import StoreCorrupt
from chatproto.link import Turn
from chatproto.log.entry import Epochs, Numbering, Run, Snapshot, note_epoch
from chatproto.pair import feed as feeds
from chatproto.pair.feed import Feed
from chatproto.pair.messages import Append, Begin, Commit, Follow, Ids, Install, Installed
from tests.unit.log.contract import act, message
from tests.unit.turns import TurnClock


class FakeStore:
    """A store whose reads are answered, with what is durable then, when a test says so."""

    def __init__(self) -> None:
        self.durable: list[Run] = []
        self.snapshot: Snapshot | None = None
        self.known_ids: list[tuple[str, int, float]] = []
        self._asked: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def saved(self) -> Deferred[Any]:
        return self._ask(lambda: self.snapshot)

    def runs(self, after: int, bytes_max: int) -> Deferred[Any]:
        return self._ask(lambda: self._runs(after, bytes_max))

    def ids(self, after: str, count_max: int) -> Deferred[Any]:
        return self._ask(lambda: [row for row in self.known_ids if row[0] > after][:count_max])

    def _runs(self, after: int, bytes_max: int) -> list[Run]:
        found: list[Run] = []
        for run in self.durable:
            if run.index > after and bytes_max >= 0:
                found.append(run)
                bytes_max -= len(run.body)
        return found

    def _ask(self, question: Callable[[], Any]) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self._asked.append((answer, question))
        return answer

    def read(self) -> bool:
        """Answer one question; return whether there was one."""
        if self._asked:
            answer, question = self._asked.pop(0)
            answer.callback(question())
            return True
        return False

    def purge(self, *, snapshot: int) -> None:
        self.snapshot = Snapshot(snapshot, 1, {}, b"state", {}, [(1, 1)])
        self.durable = [run for run in self.durable if run.index > snapshot or run.position]

    def break_down(self) -> None:
        answer, _ = self._asked.pop(0)
        answer.errback(StoreCorrupt("a bad sector"))


class FakeLink:
    """A link whose backlog is gone when a test says so."""

    def __init__(self, clock: TurnClock) -> None:
        self.clock = clock
        self.said: list[Any] = []
        self.backlog_bytes = 0
        self.aborted = False
        self._when_clear: Callable[[], None] | None = None

    def say(self, message: Any) -> None:
        self.said.append(message)

    def when_clear(self, call: Callable[[], None]) -> None:
        self._when_clear = call

    def clear(self) -> bool:
        call, self._when_clear = self._when_clear, None
        if call is not None:
            call()
        return call is not None

    def abort(self) -> None:
        self.aborted = True

    def take(self) -> list[Any]:
        said, self.said = self.said, []
        return said


class FeedTestCase(SynchronousTestCase):
    """The test case is the leader."""

    def setUp(self) -> None:
        self.clock = TurnClock()
        self.store = FakeStore()
        self.link = FakeLink(self.clock)
        self.numbering = Numbering(0, {}, 1)
        self.unwritten: list[Run] = []
        self.epochs: Epochs = []
        self.durable = self.commit = 0
        self.begun: list[int] = []
        self.caught_up = 0
        self.willing = True
        self.failures: list[str] = []

    # `feed.Leader`

    def log_state(self) -> tuple[int, int, int, int, Epochs]:
        return 7, self.commit, self.durable, self.numbering.index, self.epochs

    def feed_begins(self, feed: Feed, common: int) -> bool:
        self.begun.append(common)
        return self.willing

    def feed_caught_up(self, feed: Feed) -> None:
        self.caught_up += 1

    def feed_failed(self, reason: str) -> None:
        self.failures.append(reason)

    # Scenes

    def append(self, *contents: str) -> None:
        """Append runs of one message each, acts where the content begins with `act`."""
        for content in contents:
            entry = act(content) if content.startswith("act") else message("jokes", content)
            runs = self.numbering.seal([entry])
            for run in runs:
                note_epoch(self.epochs, run)
            self.unwritten += runs

    def write(self) -> None:
        """Have what is appended become durable: on the disk first, then the leader hears of it."""
        self.write_to_disk()
        self.hear_of_it()

    def write_to_disk(self) -> None:
        self.store.durable += self.unwritten
        self.unheard, self.unwritten = self.unwritten, []

    def hear_of_it(self) -> None:
        if self.unheard:
            self.durable = self.unheard[-1].index
            self.feed.durable(self.unheard)

    def begin(self, *, end: int = 0, epochs: Epochs | None = None, snapshot: int = 0) -> None:
        follow = Follow(3, 7, end, epochs if epochs is not None else self.epochs[:1] if end else [], snapshot)
        self.feed = Feed(self, self.link, follow, self.store, Turn(self.clock))  # type: ignore[arg-type]

    def fill(self, *contents: str) -> None:
        """Have a log before anybody follows."""
        self.append(*contents)
        self.write_to_disk()
        self.durable = self.numbering.index

    def go(self) -> list[Any]:
        """Do all that is to be done; return what was said."""
        for _ in range(100):
            if not any((self.store.read(), self.link.clear(), self.pause())):
                break
            self.clock.turn()
        self.clock.turn()
        return self.link.take()

    def pause(self) -> bool:
        """Let the time pass that is left to clients between two pieces; return whether there was any."""
        pauses = [call for call in self.clock.getDelayedCalls() if call.getTime() > self.clock.seconds()]
        self.clock.advance(feeds.PAUSE_S)
        return bool(pauses)

    def sent(self, said: list[Any]) -> list[int]:
        """Return the indexes of the runs that were sent."""
        return [run.index for each in said if isinstance(each, Append) for run in each.runs]


class CatchingUpTests(FeedTestCase):
    def test_an_empty_log(self) -> None:
        self.begin()
        self.assertEqual(self.link.said, [], "the disk is asked first")
        self.assertEqual(self.go(), [Begin(3, 7, 0, 0, 0)])
        self.assertEqual((self.begun, self.caught_up, self.feed.live), ([0], 1, True))

    def test_from_where_the_follower_is(self) -> None:
        self.fill("1", "2", "3")
        self.commit = 2
        self.begin(end=1)
        begin, append = self.go()
        self.assertEqual(begin, Begin(3, 7, 1, 3, 3))
        self.assertEqual((append.epoch, append.commit, self.sent([append])), (7, 2, [2, 3]))

    def test_what_the_follower_has_beyond_is_not_shared(self) -> None:
        self.fill("1", "2", "3")
        self.begin(end=9, epochs=[(1, 1), (2, 3)])
        self.assertEqual(self.go()[0], Begin(3, 7, 2, 3, 3))

    def test_a_long_log_goes_in_chunks_each_when_the_one_before_is_taken(self) -> None:
        self.fill(*["x" * (feeds.CHUNK_BYTES // 2)] * 7)
        self.begin()
        self.store.read()
        self.store.read()
        _, first = self.link.take()
        self.assertEqual((self.sent([first]), self.feed.live), ([1, 2], False))
        self.assertFalse(self.store.read(), "the link is waited for")
        chunks = [self.sent([append]) for append in self.go()]
        self.assertEqual((chunks, self.feed.live), ([[3, 4], [5, 6], [7]], True))

    def test_between_chunks_there_is_time_for_clients(self) -> None:
        self.fill(*["x" * feeds.CHUNK_BYTES] * 4)
        self.begin()
        self.store.read()
        self.store.read()
        self.link.clear()
        self.assertTrue(self.store.read(), "nothing is known of whether it gains before there are two")
        self.link.clear()
        self.assertFalse(self.store.read(), "the reactor is left to others")
        self.assertTrue(self.pause())
        self.assertTrue(self.store.read())

    def test_a_follower_that_does_not_gain_on_the_clients_is_fed_without_a_pause(self) -> None:
        self.fill(*["x" * feeds.CHUNK_BYTES] * 9)
        self.begin()
        self.store.read()
        for _ in range(5):
            self.assertTrue(self.store.read(), "at once")
            self.fill("1", "2")
            self.link.clear()

    def test_a_leader_that_does_not_want_it_says_nothing(self) -> None:
        self.fill("1")
        self.willing = False
        self.begin()
        self.assertEqual((self.go(), self.caught_up), ([], 0))

    def test_a_feed_that_has_ended_says_nothing_more(self) -> None:
        self.fill(*["x" * feeds.CHUNK_BYTES] * 3)
        for reads in range(4):
            self.begin()
            for _ in range(reads):
                self.store.read()
                self.link.clear()
            self.link.take()
            self.feed.end()
            self.feed.durable(self.store.durable)
            self.feed.committed()
            self.assertEqual(self.go(), [])

    def test_a_disk_that_cannot_be_read_ends_the_process(self) -> None:
        self.begin()
        self.store.break_down()
        self.assertEqual(self.failures, ["the log cannot be read: a bad sector"])
        self.assertEqual(len(self.flushLoggedErrors(StoreCorrupt)), 1)


class LiveTests(FeedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fill("1")
        self.begin(end=1)
        self.go()

    def test_what_becomes_durable_is_sent_at_once(self) -> None:
        self.append("2", "3")
        self.assertEqual(self.go(), [])
        self.write()
        self.assertEqual(self.sent(self.go()), [2, 3])

    def test_commits_are_told_once_a_turn_and_only_when_new(self) -> None:
        for self.commit in (0, 1, 1):
            self.feed.committed()
        self.feed.committed()
        self.assertEqual(self.link.said, [])
        self.assertEqual(self.go(), [Commit(7, 1)])
        self.feed.committed()
        self.assertEqual(self.go(), [])

    def test_a_feed_that_ends_in_the_turn_tells_no_commit(self) -> None:
        self.commit = 1
        self.feed.committed()
        self.feed.end()
        self.assertEqual(self.go(), [])

    def test_a_commit_that_went_along_is_not_told_again(self) -> None:
        self.append("2")
        self.commit = 1
        self.feed.committed()
        self.write()
        (append,) = self.go()
        self.assertEqual((append.commit, self.sent([append])), (1, [2]))

    def test_a_follower_that_does_not_read_is_fed_from_the_disk_later(self) -> None:
        self.link.backlog_bytes = feeds.LAG_BYTES_MAX + 1
        for content in ("2", "3"):
            self.append(content)
            self.write()
        self.assertEqual((self.link.said, self.feed.live), ([], False))
        self.link.backlog_bytes = 0
        self.append("4")
        self.write()
        self.assertEqual(self.sent(self.go()), [2, 3, 4])
        self.assertEqual((self.feed.live, self.caught_up), (True, 2))

    def test_a_backlog_below_the_bound_is_none(self) -> None:
        self.link.backlog_bytes = feeds.LAG_BYTES_MAX
        self.append("2")
        self.write()
        self.assertTrue(self.feed.live)


class SeamTests(FeedTestCase):
    def test_what_was_read_before_the_leader_heard_that_it_is_durable_is_not_sent_again(self) -> None:
        self.fill("1")
        self.begin()
        self.append("2")
        self.write_to_disk()
        said = self.go()
        self.assertTrue(self.feed.live)
        self.append("3")
        self.hear_of_it()
        self.write()
        self.assertEqual(self.sent(said + self.go()), [1, 2, 3])

    @given(st.lists(st.sampled_from(["append", "disk", "hear", "read", "clear", "stall", "turn"]), max_size=60))
    def test_no_run_is_left_out_or_sent_twice_whatever_becomes_durable_in_between(self, steps: list[str]) -> None:
        self.setUp()
        self.fill("1", "2", "3")
        self.unheard: list[Run] = []
        self.begin()
        for step in steps:
            match step:
                case "append":
                    self.append("x" * (feeds.CHUNK_BYTES // 2))
                case "disk" if not self.unheard:
                    self.write_to_disk()
                case "hear":
                    self.hear_of_it()
                    self.unheard = []
                case "read":
                    self.store.read()
                case "clear":
                    self.link.backlog_bytes = 0
                    self.link.clear()
                case "stall":
                    self.link.backlog_bytes = feeds.LAG_BYTES_MAX + 1
                case "turn":
                    self.clock.turn()
        self.link.backlog_bytes = 0
        said = self.link.take()
        self.hear_of_it()
        self.write()
        said += self.go()
        self.assertEqual(self.sent(said), list(range(1, self.numbering.index + 1)))
        self.assertTrue(self.feed.live)


class InstallTests(FeedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.fill("1", "act 2", "3", "act 4")
        self.store.purge(snapshot=4)
        self.fill("act 5", "6")

    def test_a_follower_that_is_before_the_snapshot_gets_that_and_what_is_left(self) -> None:
        self.begin()
        said = self.go()
        self.assertEqual(said[0], Install(3, 7, 0, 0, 6, 6, self.store.snapshot))
        at = said.index(Installed(7))
        self.assertEqual((self.sent(said[:at]), self.sent(said[at:])), ([1, 3], [5, 6]))
        self.assertEqual((self.begun, self.caught_up), ([0], 1))

    def test_what_it_shares_stays_with_it(self) -> None:
        self.begin(end=2)
        said = self.go()
        self.assertEqual((said[0].common, said[0].after, self.sent(said)), (2, 2, [3, 5, 6]))

    def test_what_it_shares_below_its_own_snapshot_does_not(self) -> None:
        """It has holes there, and not the leader's."""
        self.begin(end=9, epochs=[(1, 1), (2, 4)], snapshot=5)
        said = self.go()
        self.assertEqual((said[0].common, said[0].after, self.sent(said)), (3, 0, [1, 3, 5, 6]))

    def test_one_at_the_snapshot_needs_none(self) -> None:
        self.begin(end=4)
        self.assertEqual([type(each) for each in self.go()], [Begin, Append])

    def test_the_ids_of_what_is_gone_go_along_and_no_later_ones(self) -> None:
        self.store.known_ids = [("x", 2, 1.0), ("y", 6, 2.0), ("z", 4, 3.0)]
        self.begin()
        ids = [row for each in self.go() if isinstance(each, Ids) for row in each.ids]
        self.assertEqual(ids, [("x", 2, 1.0), ("z", 4, 3.0)])

    def test_a_long_archive_goes_in_chunks(self) -> None:
        self.setUp()
        self.fill(*["x" * feeds.CHUNK_BYTES] * 3, "act")
        self.store.purge(snapshot=10)
        self.begin()
        said = self.go()
        self.assertEqual(self.sent(said[: said.index(Installed(7))]), [1, 3, 6, 7, 8, 9])
        self.assertEqual(self.feed.sent, 10)

    def test_with_nothing_left_of_the_archive(self) -> None:
        self.store.durable = [run for run in self.store.durable if run.index > 4]
        self.begin()
        said = [each for each in self.go() if not isinstance(each, Ids)]
        self.assertEqual([type(each) for each in said], [Install, Installed, Append])


class HoleTests(FeedTestCase):
    """A snapshot that was under way already purges what is being read."""

    def test_a_hole_is_found_and_it_begins_anew(self) -> None:
        self.fill("1", "act 2", "act 3", "4")
        self.begin(end=1)
        self.store.read()
        self.store.purge(snapshot=3)
        said = self.go()
        self.assertEqual(
            [type(each) for each in said if not isinstance(each, Ids)], [Begin, Install, Installed, Append]
        )
        self.assertEqual((said[1].number, said[1].common, said[1].after, self.sent(said)), (3, 1, 1, [4]))
        self.assertEqual((self.begun, self.feed.live), ([1, 1], True))

    def test_a_hole_that_no_snapshot_explains_is_damage(self) -> None:
        self.fill("1", "2", "3", "4")
        del self.store.durable[2]
        self.begin(end=1)
        self.assertEqual(self.sent(self.go()), [2])
        (reason,) = self.failures
        self.assertIn("entry 3", reason)
        self.assertFalse(self.feed.live)

    def test_a_hole_at_the_end_is_one_too(self) -> None:
        self.fill("1", "act 2", "act 3")
        self.begin(end=1)
        self.store.read()
        self.store.purge(snapshot=3)
        for _ in range(20):
            self.store.read()
            self.link.clear()
        self.assertEqual((self.feed.live, self.feed.sent), (True, 3))
        self.assertIn(Installed(7), self.link.said)
