"""What every `IStore` promises, as one suite."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from chatproto.log.entry import ACT, MESSAGE, Entry, Numbering, Run
from chatproto.log.interface import IStore, Slice, Snapshot

ANY_BYTES = 10**9
ANY_COUNT = 10**6


def message(room: str, content: str, *, id: str = "", time: float = 1000.0) -> Entry:
    """Return a message nobody has numbered; one with an id was sent by a client that may retry."""
    head = b'{"type":"message","identity":"ann","content":"%b"' % content.encode()
    return Entry(
        MESSAGE,
        room,
        id or f"made-{room}-{content[:40]}",
        time,
        head,
        b',"id":"%b","time":%.3f}' % (id.encode(), time),
        retriable=bool(id),
    )


def act(name: str, *, time: float = 1000.0) -> Entry:
    return Entry(ACT, "", f"act-{name}", time, b'{"act":"%b"}' % name.encode())


def plain(run: Run) -> tuple[Any, ...]:
    """Return all that is kept of a run."""
    return (
        run.index,
        run.epoch,
        run.kind,
        run.room,
        run.position,
        run.time,
        run.ids,
        run.retriable,
        run.body,
    )


def by_position(slices: Sequence[Slice]) -> list[tuple[int, bytes]]:
    """Return the lines of slices, each with its position, having checked that the slices hold together."""
    lines: list[tuple[int, bytes]] = []
    for piece in slices:
        split = piece.lines.split(b"\n")
        if len(split) != piece.count:
            raise AssertionError(f"{piece} holds {len(split)} lines")
        if lines and piece.position <= lines[-1][0]:
            raise AssertionError(f"{piece} does not follow position {lines[-1][0]}")
        lines.extend(enumerate(split, piece.position))
    return lines


class StoreContract:
    """One suite for every implementation of `IStore`; to be mixed into a `SynchronousTestCase`.

    Attributes:
        open: returns a store on a place where nothing was stored yet; called once in a test.
        settle: lets everything asked of the open store be done and answered, purging included.
        reopen: ends a settled store (it may be closed already), politely or not; returns another in the same place.
        failures: what the failure call of the opener was told.
    """

    open: Callable[[], Any]
    settle: Callable[[], None]
    reopen: Callable[[Any], Any]
    failures: list[str]

    addCleanup: Callable[..., None]
    assertEqual: Callable[..., None]
    assertIsNone: Callable[..., None]
    assertIsNotNone: Callable[..., None]
    assertTrue: Callable[..., None]
    successResultOf: Callable[..., Any]

    # What the cases share

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.numbering = Numbering(0, {}, 1)
        self.appended: list[Run] = []
        self.done: list[Any] = []
        self.addCleanup(lambda: self.assertEqual(self.failures, []))

    def begin(self) -> Any:
        store = self.open()
        snapshot, runs = store.recover()
        self.assertIsNone(snapshot)
        self.assertEqual(list(runs), [])
        return store

    def go_on(self, store: Any) -> Any:
        """Open again and recover, as an engine would."""
        store = self.reopen(store)
        list(store.recover()[1])
        return store

    def append(self, store: Any, *entries: Entry, name: Any = None) -> list[Run]:
        runs = self.numbering.seal(list(entries))
        self.appended += runs
        store.append(runs, lambda: self.done.append(name))
        return runs

    def answer(self, asked: "Deferred[Any]") -> Any:
        self.settle()
        return self.successResultOf(asked)

    def save(self, store: Any, first: dict[str, int] | None = None, state: bytes = b"state") -> Snapshot:
        """Save a snapshot of all that was appended."""
        snapshot = Snapshot(self.numbering.index, 1, dict(self.numbering.positions), state, first or {})
        store.save(snapshot)
        self.settle()
        return snapshot

    def check_refused(self, told: str) -> None:
        """Check that the failure call was made, once."""
        (reason,) = self.failures
        self.failures.clear()
        self.assertIn(told, reason)

    def read(self, store: Any, room: str, position: int, bytes_max: int = ANY_BYTES, count_max: int = ANY_COUNT) -> Any:
        """Return what `read` answers, having checked that `peek` says the same."""
        read = by_position(self.answer(store.read(room, position, bytes_max, count_max)))
        self.assertEqual(by_position(store.peek(room, position, bytes_max, count_max)), read)
        return read

    def positions(self, store: Any, room: str, position: int, **ceilings: int) -> list[int]:
        return [at for at, _ in self.read(store, room, position, **ceilings)]

    # Opening

    def test_provides_the_interface(self) -> None:
        self.assertTrue(verifyObject(IStore, self.begin()))

    def test_a_new_place_is_empty(self) -> None:
        store = self.begin()
        self.assertIsNone(store.find("x"))
        self.assertIsNone(self.held(store, 1))
        self.assertEqual(self.read(store, "MainHall", 1), [])
        self.assertEqual(self.answer(store.expired(10**10, 1)), {})

    # Appending

    def test_done_is_called_after_the_append_not_in_it(self) -> None:
        store = self.begin()
        self.append(store, message("MainHall", "1"), name="one")
        self.assertEqual(self.done, [])
        self.settle()
        self.assertEqual(self.done, ["one"])

    def test_appends_at_once_are_done_once_each_in_order(self) -> None:
        store = self.begin()
        for number in range(50):
            self.append(store, message("MainHall", str(number)), act(str(number)), name=number)
        self.settle()
        self.assertEqual(self.done, list(range(50)))

    def test_an_append_asked_for_when_one_is_done_is_done_after_it(self) -> None:
        store = self.begin()
        runs = self.numbering.seal([message("MainHall", "1")])

        def then() -> None:
            self.done.append("one")
            self.append(store, message("MainHall", "2"), name="two")

        store.append(runs, then)
        self.settle()
        self.settle()
        self.assertEqual(self.done, ["one", "two"])
        self.assertEqual(self.positions(store, "MainHall", 1), [1, 2])

    def test_what_is_done_can_be_read(self) -> None:
        store = self.begin()
        seen: list[list[tuple[int, bytes]]] = []
        runs = self.numbering.seal([message("MainHall", "1")])
        store.append(runs, lambda: seen.append(by_position(store.peek("MainHall", 1, ANY_BYTES, ANY_COUNT))))
        self.settle()
        self.assertEqual(seen, [[(1, runs[0].body)]])

    # Recovering

    def test_recovers_exactly_what_was_appended(self) -> None:
        store = self.begin()
        appended = [
            *self.append(store, act("a"), act("b"), message("MainHall", "é\\n", id="x"), message("MainHall", "2")),
            *self.append(store, message("jokes", "1", time=1000.125), message("MainHall", "3", id="y")),
            *self.append(store, act("c")),
        ]
        self.settle()
        snapshot, runs = self.reopen(store).recover()
        self.assertIsNone(snapshot)
        recovered = list(runs)
        self.assertEqual([plain(run) for run in recovered], [plain(run) for run in appended])
        self.assertEqual([run.entries for run in recovered], [[]] * len(appended))

    def test_recovers_the_epoch_of_each_run(self) -> None:
        store = self.begin()
        self.append(store, message("MainHall", "1"))
        self.numbering.epoch = 7
        self.append(store, message("MainHall", "2"))
        self.settle()
        self.assertEqual([run.epoch for run in self.reopen(store).recover()[1]], [1, 7])

    def test_recovers_a_snapshot_and_the_runs_after_it(self) -> None:
        store = self.begin()
        self.append(store, act("a"), message("MainHall", "1"), message("jokes", "1"))
        saved = self.save(store, {"MainHall": 1}, b"\x00state\xff")
        tail = [*self.append(store, message("MainHall", "2")), *self.append(store, act("b"))]
        self.settle()
        snapshot, runs = self.reopen(store).recover()
        self.assertEqual(snapshot, saved)
        self.assertEqual([plain(run) for run in runs], [plain(run) for run in tail])

    def test_the_newest_snapshot_counts(self) -> None:
        store = self.begin()
        for state in (b"one", b"two"):
            self.append(store, act(state.decode()))
            saved = self.save(store, state=state)
        snapshot, runs = self.reopen(store).recover()
        self.assertEqual(snapshot, saved)
        self.assertEqual(list(runs), [])

    def test_a_snapshot_holds_the_place_of_the_appends_before_it(self) -> None:
        """Asked for at once, one after another, and the end in between: the snapshot never runs ahead."""
        store = self.begin()
        self.append(store, message("MainHall", "1"), name="before")
        self.save(store)
        self.append(store, message("MainHall", "2"), name="after")
        self.settle()
        self.assertEqual(self.done, ["before", "after"])
        snapshot, runs = self.reopen(store).recover()
        self.assertEqual((snapshot.index, [run.index for run in runs]), (1, [2]))

    def test_goes_on_after_recovering(self) -> None:
        store = self.begin()
        self.append(store, message("MainHall", "1"))
        self.settle()
        store = self.go_on(store)
        self.append(store, message("MainHall", "2"))
        self.settle()
        self.assertEqual(self.positions(store, "MainHall", 1), [1, 2])
        self.assertEqual([run.index for run in self.reopen(store).recover()[1]], [1, 2])

    # Ids

    def ids_of_three(self, store: Any) -> list[int | None]:
        return [store.find(id) for id in ("x", "y", "z")]

    def test_an_id_is_found_as_soon_as_it_is_appended(self) -> None:
        store = self.begin()
        self.append(store, act("a"), message("MainHall", "1", id="x"), message("MainHall", "2", id="y"))
        self.append(store, message("MainHall", "3"), message("MainHall", "4", id="z"))
        self.assertEqual(self.ids_of_three(store), [2, 3, 5])
        self.settle()
        self.assertEqual(self.ids_of_three(store), [2, 3, 5])

    def test_only_ids_that_clients_chose_are_found(self) -> None:
        store = self.begin()
        made, entered = message("MainHall", "1"), act("a")
        self.append(store, made, entered)
        self.settle()
        self.assertIsNone(store.find(made.id))
        self.assertIsNone(store.find(entered.id))

    def test_an_id_is_found_after_recovering(self) -> None:
        store = self.begin()
        self.append(store, message("MainHall", "1", id="x"), message("MainHall", "2", id="y"), act("a"))
        self.append(store, message("jokes", "1", id="z"))
        self.settle()
        self.assertEqual(self.ids_of_three(self.go_on(store)), [1, 2, 4])

    def test_an_id_is_found_while_and_after_a_snapshot_is_saved(self) -> None:
        store = self.begin()
        self.append(store, message("MainHall", "1", id="x"))
        self.settle()
        store.save(Snapshot(1, 1, {"MainHall": 1}, b"", {}))
        self.append(store, message("MainHall", "2", id="y"))
        self.assertEqual(self.ids_of_three(store), [1, 2, None])
        self.settle()
        self.append(store, message("MainHall", "3", id="z"))
        self.assertEqual(self.ids_of_three(store), [1, 2, 3])
        self.settle()
        store = self.go_on(store)
        self.assertEqual(self.ids_of_three(store), [1, 2, 3])
        self.save(store)
        store = self.go_on(store)
        self.assertEqual(self.ids_of_three(store), [1, 2, 3])

    def test_an_id_outlives_its_message(self) -> None:
        """Or a retry after retention would be said twice."""
        store = self.begin()
        self.append(store, message("MainHall", "1", id="x"))
        self.append(store, message("MainHall", "2", id="y"))
        self.save(store, {"MainHall": 2})
        self.assertIsNone(self.held(store, 1))
        self.assertEqual(self.ids_of_three(store), [1, 2, None])
        self.assertEqual(self.ids_of_three(self.go_on(store)), [1, 2, None])

    # One run

    def held(self, store: Any, index: int) -> Any:
        """Return all that is kept of the run that an entry is in; None if it is not there."""
        run = self.answer(store.run_of(index))
        if run is not None:
            self.assertEqual(run.entries, [])
        return run and plain(run)

    def test_the_run_of_every_entry_can_be_read_back(self) -> None:
        store = self.begin()
        runs = [
            *self.append(store, act("a"), act("b"), message("MainHall", "1", id="x"), message("MainHall", "2")),
            *self.append(store, message("MainHall", "3"), message("jokes", "1", time=1003.5)),
        ]
        self.settle()
        self.check_runs(store, runs)
        self.check_runs(self.go_on(store), runs)

    def check_runs(self, store: Any, runs: list[Run]) -> None:
        for run in runs:
            for index in range(run.index, run.index + len(run.ids)):
                self.assertEqual(self.held(store, index), plain(run), index)

    def test_there_is_no_run_before_the_first_and_after_the_last(self) -> None:
        store = self.begin()
        self.append(store, message("MainHall", "1"), message("MainHall", "2"))
        self.settle()
        self.assertIsNone(self.held(store, 0))
        self.assertIsNone(self.held(store, 3))

    def test_a_purged_run_is_none_and_its_neighbours_are_there(self) -> None:
        store = self.begin()
        self.append(store, message("jokes", "1"), message("jokes", "2"))
        self.append(store, act("a"), act("b"))
        left = [*self.append(store, message("jokes", "3")), *self.append(store, message("MainHall", "1"))]
        self.save(store, {"jokes": 3})
        self.assertEqual([self.held(store, index) for index in range(1, 5)], [None] * 4)
        self.check_runs(store, left)

    # Archives

    def chatter(self, store: Any) -> dict[str, list[bytes]]:
        """Append two rooms' messages in runs of several lengths, acts among them; return their lines."""
        lines: dict[str, list[bytes]] = {"MainHall": [], "jokes": []}
        counts = {"MainHall": 0, "jokes": 0}
        for batch, shape in enumerate(("MMMM", "JM", "aJJJM", "MaJaM", "J", "MMMMMMMM")):
            entries = []
            for number, letter in enumerate(shape):
                if letter == "a":
                    entries.append(act(f"{batch}-{number}"))
                else:
                    room = {"M": "MainHall", "J": "jokes"}[letter]
                    counts[room] += 1
                    entries.append(message(room, f"{counts[room]:090}"))
            for run in self.append(store, *entries):
                if run.kind == MESSAGE:
                    lines[run.room] += run.lines()
        self.settle()
        return lines

    def test_an_archive_is_read_from_any_position(self) -> None:
        store = self.begin()
        lines = self.chatter(store)
        for room, said in lines.items():
            for position in range(1, len(said) + 2):
                self.assertEqual(
                    self.read(store, room, position), list(enumerate(said[position - 1 :], position)), (room, position)
                )

    def test_an_archive_is_read_from_any_position_after_recovering(self) -> None:
        store = self.begin()
        lines = self.chatter(store)
        store = self.go_on(store)
        for room, said in lines.items():
            self.assertEqual(self.read(store, room, 3), list(enumerate(said[2:], 3)))

    def test_a_position_below_the_first_reads_from_the_first(self) -> None:
        store = self.begin()
        lines = self.chatter(store)
        self.assertEqual(self.read(store, "jokes", 0), list(enumerate(lines["jokes"], 1)))

    def test_reading_ends_at_count_max_wherever_it_begins(self) -> None:
        store = self.begin()
        lines = self.chatter(store)
        for room, said in lines.items():
            for position in range(1, len(said) + 1):
                for count in range(1, len(said) + 2):
                    self.assertEqual(
                        self.read(store, room, position, count_max=count),
                        list(enumerate(said[position - 1 : position - 1 + count], position)),
                        (room, position, count),
                    )

    def test_reading_ends_before_it_passes_bytes_max(self) -> None:
        """Whether the newline between two lines counts is left open, so the ceilings lie between lines."""
        store = self.begin()
        lines = self.chatter(store)
        for room, said in lines.items():
            longest = max(map(len, said))
            for position in range(1, len(said) + 1):
                for count in range(1, len(said) + 2):
                    wanted = said[position - 1 : position - 1 + count]
                    self.assertEqual(
                        self.read(store, room, position, bytes_max=count * longest + longest // 2),
                        list(enumerate(wanted, position)),
                        (room, position, count),
                    )

    def test_reads_one_message_at_least(self) -> None:
        store = self.begin()
        lines = self.chatter(store)
        for position in range(1, len(lines["MainHall"]) + 1):
            self.assertEqual(
                self.read(store, "MainHall", position, bytes_max=1), [(position, lines["MainHall"][position - 1])]
            )

    def check_long_after_short(self, *batches: list[Entry]) -> None:
        store = self.begin()
        for entries in batches:
            self.append(store, *entries)
        self.settle()
        for position in (1, 2, 3):
            self.assertEqual(self.positions(store, "jokes", position, bytes_max=2000), [position])

    def test_a_long_message_in_the_run_of_a_short_one_waits_for_the_next_reading(self) -> None:
        self.check_long_after_short([message("jokes", content) for content in ("short", "long" * 1000, "more")])

    def test_a_long_message_behind_the_run_of_a_short_one_waits_for_the_next_reading(self) -> None:
        self.check_long_after_short(*([message("jokes", content)] for content in ("short", "long" * 1000, "more")))

    def test_a_short_message_behind_a_long_one_does_not_overtake_it(self) -> None:
        store = self.begin()
        self.append(store, message("jokes", "short"), message("jokes", "long" * 1000))
        self.append(store, message("jokes", "short again"))
        self.settle()
        self.assertEqual(self.positions(store, "jokes", 1, bytes_max=2000), [1])
        self.assertEqual(self.positions(store, "jokes", 2, bytes_max=5000), [2, 3])

    def test_rooms_do_not_mix(self) -> None:
        store = self.begin()
        for number in range(1, 11):
            self.append(store, *(message(room, str(number)) for room in ("aaa", "aaaa", "AAA")))
        self.settle()
        for room in ("aaa", "aaaa", "AAA"):
            lines = self.read(store, room, 1)
            self.assertEqual([at for at, _ in lines], list(range(1, 11)))
            self.assertTrue(all(b'"roomid":"%b"' % room.encode() in line for _, line in lines))

    def test_a_room_nobody_spoke_in_is_empty(self) -> None:
        store = self.begin()
        self.chatter(store)
        self.assertEqual(self.read(store, "elsewhere", 1), [])
        self.assertEqual(self.read(store, "jokes", 100), [])

    def test_holes_are_between_slices(self) -> None:
        store = self.begin()
        self.append(store, *(message("jokes", str(number)) for number in (1, 2, 3)))
        self.numbering.positions["jokes"] = 9
        self.append(store, *(message("jokes", str(number)) for number in (10, 11)))
        self.settle()
        self.assertEqual(self.positions(store, "jokes", 2), [2, 3, 10, 11])
        self.assertEqual(self.positions(store, "jokes", 4), [10, 11])
        self.assertEqual(self.positions(store, "jokes", 11), [11])
        self.assertEqual(self.positions(store, "jokes", 2, count_max=3), [2, 3, 10])

    # Purging

    def test_purges_the_acts_that_a_snapshot_includes_and_no_message(self) -> None:
        store = self.begin()
        runs = self.append(store, act("a"), message("MainHall", "1"), act("b"), message("MainHall", "2"))
        self.save(store)
        self.assertEqual([self.held(store, run.index) for run in runs], [None, plain(runs[1]), None, plain(runs[3])])
        self.assertEqual(self.positions(store, "MainHall", 1), [1, 2])

    def test_keeps_the_acts_after_a_snapshot(self) -> None:
        store = self.begin()
        self.append(store, act("a"))
        snapshot = Snapshot(self.numbering.index, 1, {}, b"", {})
        self.append(store, act("b"))
        store.save(snapshot)
        self.settle()
        self.assertIsNone(self.held(store, 1))
        self.assertIsNotNone(self.held(store, 2))
        self.assertEqual([run.ids for run in self.reopen(store).recover()[1]], [["act-b"]])

    def test_purges_runs_wholly_below_the_first_position_kept(self) -> None:
        store = self.begin()
        for start in (1, 4, 7):
            self.append(store, *(message("jokes", str(number)) for number in range(start, start + 3)))
            self.append(store, message("MainHall", str(start)))
        self.save(store, {"jokes": 6})
        self.assertEqual(self.positions(store, "jokes", 1), [4, 5, 6, 7, 8, 9])
        self.assertEqual(self.positions(store, "jokes", 6), [6, 7, 8, 9])
        self.assertEqual(self.positions(store, "MainHall", 1), [1, 2, 3])
        self.save(store, {"jokes": 7})
        self.assertEqual(self.positions(store, "jokes", 1), [7, 8, 9])
        store = self.go_on(store)
        self.assertEqual(self.positions(store, "jokes", 1), [7, 8, 9])

    def test_purges_a_whole_room_and_goes_on_in_it(self) -> None:
        store = self.begin()
        self.append(store, message("jokes", "1"), message("jokes", "2"))
        self.save(store, {"jokes": 3})
        self.assertEqual(self.positions(store, "jokes", 1), [])
        self.append(store, message("jokes", "3"))
        self.settle()
        self.assertEqual(self.positions(store, "jokes", 1), [3])
        snapshot, runs = self.reopen(store).recover()
        self.assertEqual((snapshot.positions, [run.position for run in runs]), ({"jokes": 2}, [3]))

    def test_what_a_snapshot_makes_unneeded_after_another_goes_too(self) -> None:
        store = self.begin()
        for first in range(2, 6):
            self.append(store, act(str(first)))
            self.append(store, message("jokes", str(first - 1)))
            self.save(store, {"jokes": first})
            self.assertEqual(self.positions(store, "jokes", 1), [])
            self.assertIsNone(self.held(store, self.numbering.index - 1))

    # Retention

    def test_expired_by_age(self) -> None:
        store = self.begin()
        self.append(store, message("jokes", "1", time=100.0), message("jokes", "2", time=101.0), act("a"))
        self.append(store, message("MainHall", "1", time=200.0))
        self.append(store, message("jokes", "3", time=300.0))
        self.settle()
        self.assertEqual(self.answer(store.expired(0.0, 0)), {})
        self.assertEqual(self.answer(store.expired(100.0, 0)), {})
        self.assertEqual(self.answer(store.expired(200.0, 0)), {"jokes": 3})
        self.assertEqual(self.answer(store.expired(200.5, 0)), {"jokes": 3, "MainHall": 2})
        self.assertEqual(self.answer(store.expired(1000.0, 0)), {"jokes": 4, "MainHall": 2})

    def test_expired_by_bytes_takes_the_oldest_of_all_rooms(self) -> None:
        store = self.begin()
        rooms = ["MainHall", "jokes", "jokes"] * 20
        for number, room in enumerate(rooms):
            self.append(store, message(room, f"{number:020000}"))
        self.settle()
        self.assertEqual(self.answer(store.expired(0.0, 0)), {})
        self.assertEqual(self.answer(store.expired(0.0, 10**7)), {})
        bytes_max = 600_000
        first = self.answer(store.expired(0.0, bytes_max))
        dropped = sum(first.values()) - len(first)
        # The sizes of rows are an estimate; half of what is there has to go.
        self.assertTrue(20 <= dropped <= 40, dropped)
        oldest = rooms[:dropped]
        self.assertEqual(first, {room: 1 + oldest.count(room) for room in set(oldest)})

        for _ in range(3):
            self.save(store, first)
            again = self.answer(store.expired(0.0, bytes_max))
            first = {**first, **again}
        self.assertEqual(again, {})
        left = len(self.positions(store, "jokes", 1)) + len(self.positions(store, "MainHall", 1))
        self.assertTrue(20 <= left <= 40, left)

    # The configuration of the pair

    def configure(self, store: Any, configuration: bytes, *, name: Any = None) -> None:
        store.configure(configuration, lambda: self.done.append(name))

    def test_there_is_no_configuration_at_first(self) -> None:
        store = self.begin()
        self.append(store, message("MainHall", "1"))
        self.settle()
        self.assertIsNone(store.configuration())
        self.assertIsNone(self.go_on(store).configuration())

    def test_the_newest_configuration_is_kept(self) -> None:
        store = self.begin()
        self.configure(store, b"\x00one\xff", name="one")
        self.assertEqual(self.done, [])
        self.settle()
        self.assertEqual(self.done, ["one"])
        store = self.go_on(store)
        self.assertEqual(store.configuration(), b"\x00one\xff")
        for configuration in (b"two", b"three", b""):
            self.configure(store, configuration)
        self.settle()
        self.assertEqual(self.go_on(store).configuration(), b"")

    def test_what_is_configured_is_done_when_its_done_is_called(self) -> None:
        store = self.begin()
        seen: list[bytes | None] = []
        store.configure(b"one", lambda: seen.append(store.configuration()))
        self.settle()
        self.assertEqual(seen, [b"one"])

    def test_appends_configurations_and_removals_are_done_in_order(self) -> None:
        store = self.begin()
        for number in range(0, 50, 5):
            self.append(store, message("MainHall", str(number)), name=number)
            self.configure(store, str(number).encode(), name=number + 1)
            self.append(store, message("MainHall", str(number)), name=number + 2)
            store.adopted([f"o{number - 5}"])
            self.cut(store, self.numbering.index - 1, f"o{number}", name=number + 3)
            self.append(store, act(str(number)), name=number + 4)
        self.settle()
        self.assertEqual(self.done, list(range(50)))
        self.assertEqual(self.orphan_ids(store), ["o45"])
        store = self.go_on(store)
        self.assertEqual(store.configuration(), b"45")
        self.assertEqual(self.orphan_ids(store), ["o45"])
        self.assertEqual(self.positions(store, "MainHall", 1), list(range(1, 11)))

    def test_a_configuration_outlives_all_else(self) -> None:
        store = self.begin()
        self.configure(store, b"one")
        self.own_log(store)
        self.install(store, 0)
        self.save(store)
        self.assertEqual(self.go_on(store).configuration(), b"one")

    # Cutting the end of the log off

    def cut(self, store: Any, after: int, *orphans: str, name: Any = None) -> None:
        """Cut, and number on after it, in the next epoch."""
        store.cut(after, [(id, b"the entry " + id.encode()) for id in orphans], lambda: self.done.append(name))
        self.number_on(after)

    def number_on(self, after: int) -> None:
        appended = [run for run in self.appended if run.index <= after]
        positions = {run.room: run.position + len(run.ids) - 1 for run in appended if run.position}
        self.appended = appended
        self.numbering = Numbering(after, positions, self.numbering.epoch + 1)

    def orphan_ids(self, store: Any) -> list[str]:
        orphans = store.orphans()
        self.assertEqual(orphans, [(id, b"the entry " + id.encode()) for id, _ in orphans])
        return [id for id, _ in orphans]

    def own_log(self, store: Any) -> None:
        """Append seven entries, three of them with ids; a snapshot includes the first three."""
        self.append(store, act("a"), message("jokes", "1", id="x"), message("MainHall", "1"))
        self.save(store)
        self.append(store, message("jokes", "2", id="y"))
        self.append(store, message("MainHall", "2", id="z"), message("MainHall", "3"))
        self.append(store, act("b"))
        self.settle()

    def holdings(self, store: Any) -> list[Any]:
        """Recover; return where the snapshot is, the runs after it, the three ids, and what is in the two rooms."""
        snapshot, runs = store.recover()
        indexes = [run.index for run in runs]
        rooms = [self.positions(store, room, 1) for room in ("jokes", "MainHall")]
        return [snapshot and snapshot.index, indexes, self.ids_of_three(store), *rooms]

    def test_what_is_cut_is_gone_and_its_orphans_are_kept(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.cut(store, 4, "z", "w", name="cut")
        self.assertEqual(self.done[-1:], [None], "not done in the call")
        self.settle()
        self.assertEqual(self.done[-1:], ["cut"])
        self.assertEqual([self.held(store, index) is None for index in (4, 5, 6, 7)], [False, True, True, True])
        self.assertEqual(self.orphan_ids(store), ["z", "w"])
        store = self.reopen(store)
        self.assertEqual(self.holdings(store), [3, [4], [2, 4, None], [1, 2], [1]])
        self.assertEqual(self.orphan_ids(store), ["z", "w"])

    def test_a_cut_may_take_all_or_nothing(self) -> None:
        store = self.begin()
        runs = self.append(store, act("a"), message("jokes", "1", id="x"))
        self.cut(store, 2, "o")
        self.settle()
        self.check_runs(store, runs)
        self.assertEqual(store.find("x"), 2)
        self.cut(store, 0, "x")
        self.settle()
        store = self.reopen(store)
        self.assertEqual(self.holdings(store), [None, [], [None] * 3, [], []])
        self.assertEqual(self.orphan_ids(store), ["o", "x"])

    def test_a_cut_may_end_at_the_snapshot(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.cut(store, 3)
        self.settle()
        self.assertEqual(self.holdings(self.reopen(store)), [3, [], [2, None, None], [1], [1]])

    def test_the_log_goes_on_where_it_was_cut(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.cut(store, 4, "z")
        after = [*self.append(store, act("c")), *self.append(store, message("MainHall", "other", id="w"))]
        self.cut(store, 6)
        after += self.append(store, message("MainHall", "3", id="z"))
        self.settle()
        self.check_runs(store, after)
        self.assertEqual([*self.ids_of_three(store), store.find("w")], [2, 4, 7, 6])
        store = self.reopen(store)
        self.assertEqual(self.holdings(store), [3, [4, 5, 6, 7], [2, 4, 7], [1, 2], [1, 2, 3]])
        self.check_runs(store, after)

    def test_the_ids_of_what_is_cut_are_not_found_from_the_call_on(self) -> None:
        store = self.begin()
        for number, id in enumerate("xyz"):
            self.append(store, message("jokes", str(number), id=id))
        self.cut(store, 1)
        self.assertEqual(self.ids_of_three(store), [1, None, None])
        self.append(store, message("jokes", "again", id="z"))
        self.assertEqual(self.ids_of_three(store), [1, None, 2])
        self.settle()
        self.assertEqual(self.ids_of_three(store), [1, None, 2])
        self.assertEqual(self.ids_of_three(self.go_on(store)), [1, None, 2])

    def save_ahead(self, store: Any) -> None:
        """Append three entries with ids, and begin to save a snapshot of the first, with which all three ids go."""
        for number, id in enumerate("xyz"):
            self.append(store, message("jokes", str(number), id=id))
        self.settle()
        store.save(Snapshot(1, 1, {"jokes": 1}, b"", {}))

    def test_ids_that_a_snapshot_wrote_ahead_are_cut_too(self) -> None:
        store = self.begin()
        self.save_ahead(store)
        self.settle()
        self.assertEqual(self.ids_of_three(store), [1, 2, 3])
        self.cut(store, 1)
        self.assertEqual(self.ids_of_three(store), [1, None, None])
        self.append(store, message("jokes", "again", id="z"))
        self.assertEqual(self.ids_of_three(store), [1, None, 2])
        self.settle()
        self.assertEqual(self.ids_of_three(store), [1, None, 2])
        self.assertEqual(self.ids_of_three(self.go_on(store)), [1, None, 2])

    def test_ids_that_a_snapshot_is_writing_ahead_are_cut_too(self) -> None:
        store = self.begin()
        self.save_ahead(store)
        self.cut(store, 1)
        self.assertEqual(self.ids_of_three(store), [1, None, None])
        self.append(store, act("a"), message("jokes", "again", id="z"))
        self.settle()
        self.assertEqual(self.ids_of_three(store), [1, None, 3])
        self.save(store)
        self.assertEqual(self.ids_of_three(store), [1, None, 3])
        self.assertEqual(self.ids_of_three(self.go_on(store)), [1, None, 3])

    def test_every_one_of_several_cuts_hides_its_ids(self) -> None:
        store = self.begin()
        self.save_ahead(store)
        self.settle()
        for after in (2, 1, 1):
            self.cut(store, after)
            self.assertEqual(self.ids_of_three(store), [1, 2 if after == 2 else None, None])
        self.append(store, message("jokes", "again", id="z"))
        self.settle()
        self.assertEqual(self.ids_of_three(self.go_on(store)), [1, None, 2])

    def test_a_run_is_not_cut_in_two(self) -> None:
        store = self.begin()
        runs = self.append(store, message("jokes", "1"), message("jokes", "2"))
        self.settle()
        self.cut(store, 1, "o", name="cut")
        self.settle()
        self.check_refused("after 1 ")
        self.assertEqual(self.done, [None])
        store = self.reopen(store)
        self.assertEqual([plain(run) for run in store.recover()[1]], [plain(run) for run in runs])
        self.assertEqual(self.orphan_ids(store), [])

    def test_a_snapshot_is_not_cut(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.cut(store, 2, "o", name="cut")
        self.settle()
        self.check_refused("snapshot of entry 3")
        self.assertEqual(self.done[-1:], [None])
        store = self.reopen(store)
        self.assertEqual(self.holdings(store), [3, [4, 5, 7], [2, 4, 5], [1, 2], [1, 2, 3]])
        self.assertEqual(self.orphan_ids(store), [])

    def test_a_failure_is_told_once_and_nothing_is_done_after_it(self) -> None:
        store = self.begin()
        self.append(store, message("jokes", "1"), message("jokes", "2"), name="before")
        self.cut(store, 1, "o", name="cut")
        self.append(store, message("jokes", "2"), name="append")
        self.configure(store, b"one", name="configure")
        store.adopted(["o"])
        self.cut(store, 0, name="cut again")
        self.install(store, 0, name="install")
        store.save(Snapshot(2, 1, {}, b"", {}))
        self.settle()
        self.check_refused("after 1 ")
        self.configure(store, b"two", name="later")
        closed = store.close()
        self.settle()
        self.successResultOf(closed)
        self.assertEqual((self.done, self.failures), (["before"], []))
        store = self.reopen(store)
        self.assertEqual(self.holdings(store), [None, [1], [None] * 3, [1, 2], []])
        self.assertEqual((self.orphan_ids(store), store.configuration()), ([], None))

    # Orphans

    def test_orphans_of_several_cuts_are_kept_once_and_in_order(self) -> None:
        store = self.begin()
        self.append(store, message("jokes", "1"))
        self.cut(store, 0, "b", "a")
        self.append(store, message("jokes", "1"))
        self.cut(store, 1, "c", "b")
        self.cut(store, 0, "a", "d")
        self.settle()
        self.assertEqual(self.orphan_ids(store), ["b", "a", "c", "d"])
        self.assertEqual(self.orphan_ids(self.go_on(store)), ["b", "a", "c", "d"])

    def test_adopted_orphans_are_dropped(self) -> None:
        store = self.begin()
        self.cut(store, 0, "a", "b", "c", "d")
        store.adopted(["b", "elsewhere"])
        store.adopted([])
        store.adopted(["d", "d", "b"])
        self.settle()
        self.assertEqual(self.orphan_ids(store), ["a", "c"])
        store = self.go_on(store)
        self.assertEqual(self.orphan_ids(store), ["a", "c"])
        self.cut(store, 0, "d", "a")
        self.settle()
        self.assertEqual(self.orphan_ids(self.go_on(store)), ["a", "c", "d"])

    def test_what_the_caller_does_with_its_lists_later_is_not_kept(self) -> None:
        store = self.begin()
        orphans, ids = [(id, b"the entry " + id.encode()) for id in "abc"], ["a"]
        store.cut(0, orphans, lambda: None)
        store.adopted(ids)
        orphans.clear()
        ids.append("b")
        self.settle()
        self.assertEqual(self.orphan_ids(store), ["b", "c"])

    def test_orphans_are_not_in_the_log(self) -> None:
        """Neither do they make their ids known, nor does dropping them forget the ids of entries."""
        store = self.begin()
        self.append(store, message("jokes", "1", id="x"), message("jokes", "2", id="y"))
        self.cut(store, 0, "x", "y")
        self.append(store, message("jokes", "1", id="y"))
        store.adopted(["y"])
        self.settle()
        self.assertEqual(self.ids_of_three(store), [None, 1, None])
        store = self.go_on(store)
        self.assertEqual(self.ids_of_three(store), [None, 1, None])
        self.assertEqual(self.orphan_ids(store), ["x"])

    # Reading runs back, and the snapshot

    def test_runs_are_read_back_as_they_were_appended(self) -> None:
        store = self.begin()
        self.chatter(store)
        for at, run in enumerate(self.appended):
            after = self.appended[at:]
            self.assertEqual(self.runs(store, run.index - 1), [plain(run) for run in after])
        self.assertEqual(self.runs(store, self.numbering.index), [])
        store = self.go_on(store)
        self.assertEqual(self.runs(store, 0), [plain(run) for run in self.appended])

    def runs(self, store: Any, after: int, bytes_max: int = ANY_BYTES) -> list[Any]:
        runs = self.answer(store.runs(after, bytes_max))
        self.assertEqual([run.entries for run in runs], [[]] * len(runs))
        return [plain(run) for run in runs]

    def test_there_are_no_runs_in_a_new_place(self) -> None:
        self.assertEqual(self.runs(self.begin(), 0), [])

    def test_runs_end_once_their_bodies_pass_bytes_max(self) -> None:
        store = self.begin()
        for number in range(1, 5):
            self.append(store, message("jokes", "x" * 1000 * number))
        self.settle()
        sizes = [len(run.body) for run in self.appended]
        for first in range(4):
            for count in range(1, 5 - first):
                end = first + count
                wanted = [plain(run) for run in self.appended[first:end]]
                for bytes_max in (sum(sizes[first:end]) - 1, sum(sizes[first : end - 1]) + 1):
                    self.assertEqual(self.runs(store, first, bytes_max), wanted, (first, count))

    def test_at_least_one_run_is_read(self) -> None:
        store = self.begin()
        self.append(store, act("a"), message("jokes", "1"))
        self.settle()
        self.assertEqual(self.runs(store, 0, 0), [plain(self.appended[0])])

    def test_runs_leave_out_what_was_purged(self) -> None:
        store = self.begin()
        self.append(store, act("a"), message("jokes", "1"), message("MainHall", "1"), act("b"))
        self.save(store, {"jokes": 2})
        self.append(store, act("c"), message("jokes", "2"))
        self.settle()
        self.assertEqual([run[0] for run in self.runs(store, 0)], [3, 5, 6])

    def test_the_newest_snapshot_is_read_back(self) -> None:
        store = self.begin()
        self.assertIsNone(self.answer(store.saved()))
        for state in (b"one", b"\x00two\xff"):
            self.append(store, message("jokes", "1"))
            index = self.numbering.index
            saved = Snapshot(index, 3, {"jokes": index}, state, {"jokes": 1}, [(1, 1), (3, index)])
            store.save(saved)
            self.settle()
            self.assertEqual(self.answer(store.saved()), saved)
        store = self.reopen(store)
        self.assertEqual(store.recover()[0], saved)
        self.assertEqual(self.answer(store.saved()), saved)

    # Taking in another node's log

    def install(self, store: Any, after: int, *, name: Any = None) -> None:
        """Begin to install, and number on after it, in the next epoch."""
        store.install(after, lambda: self.done.append(name))
        self.number_on(after)

    def append_other(self, store: Any) -> None:
        """Append what another node has kept of five entries: two of the runs."""
        for kept, *entries in (
            (False, act("other a")),
            (True, message("jokes", "other 1", id="y"), message("jokes", "other 2")),
            (False, act("other b")),
            (True, message("MainHall", "other 1", id="z")),
        ):
            runs = self.numbering.seal(list(entries))
            if kept:
                self.appended += runs
                store.append(runs, lambda: self.done.append("other"))

    def install_over(self, store: Any, after: int) -> None:
        self.own_log(store)
        self.cut(store, self.numbering.index, "o", "p")
        self.install(store, after)

    NOTHING = (None, [], [None] * 3, [], [])

    def check_back(self, store: Any, *holdings: Any) -> None:
        """Check what is there when the installation was interrupted, and that it stays when more is appended."""
        self.settle()
        store = self.reopen(store)
        self.assertEqual(self.holdings(store), list(holdings))
        self.assertEqual(self.orphan_ids(store), ["o", "p"])
        snapshot, runs, ids, jokes, hall = holdings
        self.number_on(max([snapshot or 0, *runs]))
        self.append(store, message("jokes", "goes on"))
        self.settle()
        position = max(jokes, default=0) + 1
        self.assertEqual(
            self.holdings(self.reopen(store)),
            [snapshot, [*runs, self.numbering.index], ids, [*jokes, position], hall],
        )

    def test_an_installation_over_everything_begins_with_nothing(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.install(store, 0, name="install")
        self.assertEqual(self.ids_of_three(store), [None] * 3)
        self.assertEqual(self.done[-1:], [None], "not done in the call")
        self.settle()
        self.assertEqual(self.done[-1:], ["install"])
        self.assertEqual(self.ids_of_three(store), [None] * 3)
        self.assertEqual(self.runs(store, 0), [])
        self.assertIsNone(self.answer(store.saved()))

    def test_an_installation_after_an_index_keeps_what_was_there(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.install(store, 4)
        self.assertEqual(self.ids_of_three(store), [2, 4, None])
        self.settle()
        self.assertEqual(self.ids_of_three(store), [2, 4, None])
        self.assertEqual([run[0] for run in self.runs(store, 0)], [2, 3, 4])
        self.assertEqual(self.answer(store.saved()).index, 3)

    def test_an_installation_below_the_snapshot_is_one_over_everything(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.install(store, 2)
        self.assertEqual(self.ids_of_three(store), [None] * 3)
        self.settle()
        self.assertEqual(self.runs(store, 0), [])
        self.assertEqual(self.holdings(self.reopen(store)), list(self.NOTHING))

    def test_an_installation_below_a_snapshot_that_is_being_saved_is_one_over_everything(self) -> None:
        store = self.begin()
        self.append(store, act("a"), message("jokes", "1", id="x"))
        self.append(store, message("jokes", "2", id="y"), act("b"))
        store.save(Snapshot(3, 1, {"jokes": 2}, b"", {}))
        self.install(store, 2)
        self.assertEqual(self.ids_of_three(store), [None] * 3)
        self.settle()
        self.assertEqual(self.holdings(self.reopen(store)), list(self.NOTHING))

    def test_an_installation_is_ended_by_the_next_snapshot(self) -> None:
        store = self.begin()
        self.install_over(store, 0)
        self.append_other(store)
        saved = self.save(store)
        tail = [*self.append(store, act("c")), *self.append(store, message("jokes", "3", id="x"))]
        self.settle()
        for _ in range(3):
            store = self.reopen(store)
            self.assertEqual(self.holdings(store), [5, [6, 7], [7, 2, 5], [1, 2, 3], [1]])
            self.assertEqual(self.answer(store.saved()), saved)
            self.assertEqual(self.runs(store, 5), [plain(run) for run in tail])
            self.assertEqual(self.orphan_ids(store), ["o", "p"])

    def test_an_installation_after_an_index_is_ended_by_the_next_snapshot(self) -> None:
        store = self.begin()
        self.install_over(store, 4)
        self.append_other(store)
        self.append(store, act("c"))
        store.save(Snapshot(9, 2, dict(self.numbering.positions), b"", {}))
        self.settle()
        for _ in range(3):
            store = self.reopen(store)
            self.assertEqual(self.holdings(store), [9, [10], [2, 6, 9], [1, 2, 3, 4], [1, 2]])

    def test_an_installation_may_be_ended_before_anything_is_appended(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.install(store, 0)
        store.save(Snapshot(0, 1, {}, b"", {}))
        self.append(store, message("jokes", "1", id="x"))
        self.settle()
        self.assertEqual(self.holdings(self.reopen(store)), [0, [1], [1, None, None], [1], []])

    def test_an_installation_interrupted_at_once(self) -> None:
        store = self.begin()
        self.install_over(store, 0)
        self.check_back(store, *self.NOTHING)

    def test_an_installation_after_an_index_interrupted_at_once(self) -> None:
        store = self.begin()
        self.install_over(store, 4)
        self.check_back(store, 3, [4], [2, 4, None], [1, 2], [1])

    def test_an_installation_interrupted_before_its_snapshot(self) -> None:
        store = self.begin()
        self.install_over(store, 0)
        self.append_other(store)
        self.check_back(store, *self.NOTHING)

    def test_an_installation_after_an_index_interrupted_before_its_snapshot(self) -> None:
        store = self.begin()
        self.install_over(store, 4)
        self.append_other(store)
        self.check_back(store, 3, [4], [2, 4, None], [1, 2], [1])

    def test_an_installation_in_a_new_place_interrupted(self) -> None:
        store = self.begin()
        self.cut(store, 0, "o", "p")
        self.install(store, 0)
        self.append_other(store)
        self.check_back(store, *self.NOTHING)

    def test_an_installation_begun_again_goes_back_to_where_the_first_began(self) -> None:
        """What came after that has holes, which only a snapshot would make right."""
        store = self.begin()
        self.install_over(store, 4)
        self.append_other(store)
        self.install(store, 7)
        self.append(store, act("c"))
        self.check_back(store, 3, [4], [2, 4, None], [1, 2], [1])

    def test_a_cut_in_an_installation_goes_back_as_far(self) -> None:
        store = self.begin()
        self.install_over(store, 4)
        self.cut(store, 3)
        self.append(store, message("jokes", "other", id="y"))
        self.append_other(store)
        self.check_back(store, 3, [], [2, None, None], [1], [1])

    def test_an_installation_over_everything_may_be_begun_again_in_the_middle(self) -> None:
        """Where the old log had its snapshot is forgotten."""
        store = self.begin()
        self.own_log(store)
        self.save(store)
        self.install(store, 0)
        self.append_other(store)
        self.install(store, 3)
        self.assertEqual(self.ids_of_three(store), [None, 2, None])
        self.append(store, message("jokes", "3", id="x"))
        self.settle()
        self.assertEqual([run[0] for run in self.runs(store, 0)], [2, 4])
        self.save(store)
        self.assertEqual(self.holdings(self.reopen(store)), [4, [], [4, 2, None], [1, 2, 3], []])

    def test_an_installation_below_a_snapshot_that_was_recovered_is_one_over_everything(self) -> None:
        store = self.begin()
        self.own_log(store)
        store = self.go_on(store)
        self.install(store, 2)
        self.assertEqual(self.ids_of_three(store), [None] * 3)
        self.settle()
        self.assertEqual(self.holdings(self.reopen(store)), list(self.NOTHING))

    def test_an_installation_cuts_no_run_in_two(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.install(store, 5, name="install")
        self.settle()
        self.check_refused("after 5 ")
        self.assertEqual(self.done[-1:], [None])
        self.assertEqual(self.holdings(self.reopen(store)), [3, [4, 5, 7], [2, 4, 5], [1, 2], [1, 2, 3]])

    def test_the_snapshot_that_ends_an_installation_is_never_left_out(self) -> None:
        """Though one from before is still being written; which does not end it."""
        store = self.begin()
        self.own_log(store)
        store.save(Snapshot(4, 1, dict(self.numbering.positions), b"own", {}))
        self.install(store, 0)
        self.append_other(store)
        store.save(Snapshot(5, 2, dict(self.numbering.positions), b"other", {}))
        self.settle()
        self.assertEqual(self.answer(store.saved()).state, b"other")
        self.assertEqual(self.ids_of_three(store), [None, 2, 5])
        self.assertEqual(self.holdings(self.reopen(store)), [5, [], [None, 2, 5], [1, 2], [1]])

    def test_a_snapshot_from_before_an_installation_does_not_end_it(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.cut(store, self.numbering.index, "o", "p")
        store.save(Snapshot(4, 1, dict(self.numbering.positions), b"own", {}))
        self.install(store, 0)
        self.append_other(store)
        self.check_back(store, *self.NOTHING)

    def test_ids_are_found_whatever_snapshots_are_under_way_in_an_installation(self) -> None:
        store = self.begin()
        self.append(store, message("jokes", "1", id="x"))
        store.save(Snapshot(1, 1, {"jokes": 1}, b"", {}))
        self.install(store, 1)
        self.append(store, message("jokes", "2", id="y"))
        store.save(Snapshot(2, 1, {"jokes": 2}, b"", {}))
        self.append(store, message("jokes", "3", id="z"))
        store.save(Snapshot(3, 1, {"jokes": 3}, b"left out", {}))
        self.assertEqual(self.ids_of_three(store), [1, 2, 3])
        self.settle()
        self.assertEqual(self.ids_of_three(store), [1, 2, 3])
        self.assertEqual(self.holdings(self.reopen(store)), [2, [3], [1, 2, 3], [1, 2, 3], []])

    def test_what_was_to_be_purged_of_the_old_log_is_kept_of_the_new_one(self) -> None:
        store = self.begin()
        for number in range(1, 10):
            self.append(store, act(str(number)), message("jokes", str(number)))
        self.settle()
        store.save(Snapshot(self.numbering.index, 1, {"jokes": 9}, b"", {"jokes": 9}))
        self.install(store, 0)
        self.append(store, act("other a"), message("jokes", "other 1"))
        self.append(store, act("other b"), message("jokes", "other 2"))
        self.settle()
        self.assertEqual([run[0] for run in self.runs(store, 0)], [1, 2, 3, 4])

    def test_what_was_purged_of_the_old_log_is_purged_of_the_new_one(self) -> None:
        store = self.begin()
        for number in range(1, 6):
            self.append(store, message("jokes", str(number)))
        self.save(store, {"jokes": 4})
        self.install(store, 0)
        for number in range(1, 6):
            self.append(store, message("jokes", f"other {number}"))
        self.save(store)
        self.assertEqual(self.positions(store, "jokes", 1), [1, 2, 3, 4, 5])
        self.save(store, {"jokes": 3})
        self.assertEqual(self.positions(store, "jokes", 1), [3, 4, 5])

    # Forgetting

    def forget(self, store: Any, *, name: Any = None) -> None:
        """Forget everything, and number on from 1, in the next epoch."""
        store.forget(lambda: self.done.append(name))
        self.number_on(0)

    def check_blank(self, store: Any) -> None:
        """Check that an open store, on which all is done, is as one in a new place."""
        self.assertEqual(self.ids_of_three(store), [None] * 3)
        self.assertEqual((self.runs(store, 0), self.answer(store.ids("", 100))), ([], []))
        self.assertIsNone(self.answer(store.saved()))
        self.assertEqual([self.held(store, index) for index in range(1, 8)], [None] * 7)
        self.assertEqual([self.positions(store, room, 1) for room in ("jokes", "MainHall")], [[], []])
        self.assertEqual(self.answer(store.expired(10.0**9, 1)), {})
        self.assertIsNone(store.configuration())
        self.assertEqual(store.orphans(), [])

    def test_what_is_forgotten_is_gone_with_all_that_was_kept_of_it(self) -> None:
        store = self.begin()
        self.configure(store, b"one")
        self.own_log(store)
        self.cut(store, 6, "o", "p")
        self.settle()
        self.forget(store, name="forget")
        self.assertEqual(self.ids_of_three(store), [None] * 3, "not found from the call on")
        self.assertEqual(self.done[-1:], [None], "not done in the call")
        self.settle()
        self.assertEqual(self.done[-1:], ["forget"])
        self.check_blank(store)
        for _ in range(2):
            store = self.reopen(store)
            self.assertEqual(self.holdings(store), list(self.NOTHING))
            self.check_blank(store)

    def test_a_new_log_begins_where_all_is_forgotten(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.forget(store)
        runs = [*self.append(store, message("jokes", "new", id="z")), *self.append(store, act("new"))]
        self.assertEqual(self.ids_of_three(store), [None, None, 1])
        self.settle()
        self.assertEqual(self.ids_of_three(store), [None, None, 1])
        self.check_runs(store, runs)
        store = self.reopen(store)
        self.assertEqual(self.holdings(store), [None, [1, 2], [None, None, 1], [1], []])
        self.check_runs(store, runs)
        self.save(store)
        self.assertEqual(self.holdings(self.reopen(store)), [2, [], [None, None, 1], [1], []])

    def test_all_is_forgotten_in_its_turn(self) -> None:
        store = self.begin()
        for number in range(0, 50, 5):
            self.configure(store, b"before", name=number)
            self.append(store, message("MainHall", "before"), name=number + 1)
            self.cut(store, 0, "before")
            self.append(store, act("before"), name=number + 2)
            self.forget(store, name=number + 3)
            runs = self.append(store, message("MainHall", str(number), id="x"), name=number + 4)
        self.configure(store, b"after")
        self.cut(store, self.numbering.index, "o")
        self.settle()
        self.assertEqual([name for name in self.done if name is not None], list(range(50)))
        store = self.go_on(store)
        self.assertEqual((store.configuration(), self.orphan_ids(store)), (b"after", ["o"]))
        self.check_runs(store, runs)
        self.assertEqual(self.positions(store, "MainHall", 1), [1])
        self.assertEqual(self.ids_of_three(store), [1, None, None])

    def test_a_snapshot_that_is_being_saved_is_forgotten(self) -> None:
        store = self.begin()
        self.save_ahead(store)
        self.forget(store)
        self.assertEqual(self.ids_of_three(store), [None] * 3)
        self.append(store, message("jokes", "new", id="y"))
        self.assertEqual(self.ids_of_three(store), [None, 1, None])
        self.settle()
        self.assertEqual(self.ids_of_three(store), [None, 1, None])
        self.assertIsNone(self.answer(store.saved()))
        self.assertEqual(self.holdings(self.reopen(store)), [None, [1], [None, 1, None], [1], []])

    def test_so_is_an_installation(self) -> None:
        """What is appended then is a log like any other, that needs no snapshot to be there."""
        store = self.begin()
        self.install_over(store, 4)
        self.append_other(store)
        self.forget(store)
        self.append(store, message("jokes", "new", id="y"))
        self.settle()
        self.assertEqual(self.holdings(self.reopen(store)), [None, [1], [None, 1, None], [1], []])

    def test_another_log_can_be_taken_in_afterwards(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.forget(store)
        self.install(store, 0)
        self.append_other(store)
        self.save(store)
        self.assertEqual(self.holdings(self.reopen(store)), [5, [], [None, 2, 5], [1, 2], [1]])

    def test_where_the_snapshot_was_does_not_matter_to_that(self) -> None:
        store = self.begin()
        self.own_log(store)
        self.forget(store)
        self.append(store, message("jokes", "1", id="x"))
        self.install(store, 1)
        self.assertEqual(self.ids_of_three(store), [1, None, None])
        self.settle()
        self.assertEqual([run[0] for run in self.runs(store, 0)], [1])

    def test_nor_whether_another_was_being_taken_in(self) -> None:
        """A snapshot that is asked for while one is saved is left out again."""
        store = self.begin()
        self.save_ahead(store)
        self.install(store, 1)
        self.forget(store)
        self.append(store, message("jokes", "1", id="x"))
        store.save(Snapshot(1, 1, {"jokes": 1}, b"left out", {}))
        self.settle()
        self.assertIsNone(self.answer(store.saved()))
        self.assertEqual(self.holdings(self.reopen(store)), [None, [1], [1, None, None], [1], []])

    def test_what_was_to_be_purged_is_kept_of_the_log_after_it(self) -> None:
        store = self.begin()
        for number in range(1, 10):
            self.append(store, act(str(number)), message("jokes", str(number)))
        self.settle()
        store.save(Snapshot(self.numbering.index, 1, {"jokes": 9}, b"", {"jokes": 9}))
        self.forget(store)
        self.append(store, act("new a"), message("jokes", "new 1"))
        self.append(store, act("new b"), message("jokes", "new 2"))
        self.settle()
        self.assertEqual([run[0] for run in self.runs(store, 0)], [1, 2, 3, 4])

    # Closing

    def test_close_finishes_what_was_appended(self) -> None:
        store = self.begin()
        runs = [*self.append(store, message("MainHall", "1"), name=1), *self.append(store, act("a"), name=2)]
        closed = store.close()
        self.settle()
        self.assertEqual(self.done, [1, 2])
        self.successResultOf(closed)
        self.assertEqual([plain(run) for run in self.reopen(store).recover()[1]], [plain(run) for run in runs])
