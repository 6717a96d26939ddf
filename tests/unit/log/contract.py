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
    """

    open: Callable[[], Any]
    settle: Callable[[], None]
    reopen: Callable[[Any], Any]

    assertEqual: Callable[..., None]
    assertIsNone: Callable[..., None]
    assertIsNotNone: Callable[..., None]
    assertTrue: Callable[..., None]
    successResultOf: Callable[..., Any]

    # What the cases share

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.numbering = Numbering(0, {}, 1)
        self.done: list[Any] = []

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

    # Closing

    def test_close_finishes_what_was_appended(self) -> None:
        store = self.begin()
        runs = [*self.append(store, message("MainHall", "1"), name=1), *self.append(store, act("a"), name=2)]
        closed = store.close()
        self.settle()
        self.assertEqual(self.done, [1, 2])
        self.successResultOf(closed)
        self.assertEqual([plain(run) for run in self.reopen(store).recover()[1]], [plain(run) for run in runs])
