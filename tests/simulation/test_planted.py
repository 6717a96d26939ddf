"""The storm can fail: each known mistake, planted into the production code, is caught within a few seeds."""

from collections.abc import Callable
from typing import Any

from chatproto.chat.hall import Hall
from chatproto.chat.hearing import Hearing
from chatproto.chat.messages import Ack, encode
from chatproto.chat.server import ChatServer
from chatproto.log.entry import MESSAGE, Entry, Run
from chatproto.log.interface import Snapshot
from chatproto.log.single import SingleLog
from chatproto.testing import SimHost
from tests.simulation.planting import Planting
from tests.simulation.storm import Storm
from tests.simulation.weather import Weather


class PlantedTests(Planting):
    def storm(self, seed: int) -> Weather:
        return Storm(seed)

    def plant_on_append(self, mistake: Callable[[SingleLog, list[Run]], object]) -> None:
        """Have the log do something with what it appends, before it is durable."""

        def append(log: SingleLog, entries: list[Entry]) -> None:
            store = log._store
            appending = store.append

            def watched(runs: list[Run], done: Callable[[], None]) -> None:
                mistake(log, runs)
                appending(runs, done)

            self.patch(store, "append", watched)
            right(log, entries)
            store.append = appending

        right = self.plant(SingleLog, "_append", append)

    # Storing and speaking

    def test_acknowledged_before_durable(self) -> None:
        """Acknowledged as soon as it has its number."""

        def acknowledge(log: SingleLog, runs: list[Run]) -> None:
            for run in runs:
                for offset in run.retriable:
                    ack = Ack(run.ids[offset], run.room, run.position + offset, run.epoch, 1)
                    run.entries[offset].origin.send(encode(ack))

        self.plant_on_append(acknowledge)
        self.catch("acknowledged and not committed", "which is committed as []")

    def test_shown_before_durable(self) -> None:
        """Rooms hear what is said as soon as it has its number."""

        def show(log: SingleLog, runs: list[Run]) -> None:
            hearing = log._replayed._hearing  # type: ignore[attr-defined]
            for run in runs:
                if run.kind == MESSAGE:
                    tell(hearing, run)
            hearing.spill()

        tell = self.plant(Hearing, "said", lambda hearing, run: None)
        self.plant_on_append(show)
        self.catch("is told what is not committed")

    def test_failed_disk_survived(self) -> None:
        """A process goes on after its disk has failed."""

        def world(host: SimHost, **options: Any) -> Any:
            return right(host, **{"fatal": lambda reason: None, **options})

        right = self.plant(SimHost, "world", world)
        self.catch("waits for the acknowledgement", "is not online")

    # Ids

    def test_ids_not_recognised(self) -> None:
        """What is said again is added again."""

        class Forgetful(dict[str, list[Entry]]):
            def pop(self, key: str, default: Any = ()) -> Any:
                return dict.pop(self, key, default)

        def begin(log: SingleLog, *arguments: Any) -> None:
            right(log, *arguments)
            log._uncommitted = Forgetful()

        right = self.plant(SingleLog, "__init__", begin)
        self.plant(SingleLog, "_known", lambda log, entry: False)
        self.catch("one id is in the log twice")

    def test_ids_forgotten_by_a_snapshot(self) -> None:
        """Only what came after the newest snapshot is recognised."""

        def snapshot(log: SingleLog) -> None:
            right(log)
            log._store._saving_ids.clear()  # type: ignore[attr-defined]

        right = self.plant(SingleLog, "snapshot", snapshot)
        self.catch("one id is in the log twice")

    def test_repeated_message_acknowledged_elsewhere(self) -> None:
        """The acknowledgement of a message said again names the start of its run."""

        def repeated(server: ChatServer, entry: Entry, run: Run | None, offset: int) -> None:
            right(server, entry, run, 0 if run is None or len(run.ids) == 1 else (offset + 1) % len(run.ids))

        right = self.plant(ChatServer, "repeated", repeated)
        self.catch("acknowledged", "hears Ack", "id-reused")

    # Views

    def plant_resume(self, off_by: int) -> None:
        def enter(hearing: Hearing, seat: Any, name: str, index: int | None, *more: Any) -> None:
            right(hearing, seat, name, index if index is None else max(1, index + off_by), *more)

        right = self.plant(Hearing, "enter", enter)

    def test_resumed_one_late(self) -> None:
        """A resumed client misses the first message that it missed."""
        self.plant_resume(1)
        self.catch("a hole", "Rewind", "is said to have", "waits for the acknowledgement")

    def test_resumed_one_early(self) -> None:
        """A resumed client hears again what it heard last."""
        self.plant_resume(-1)
        self.catch("a repeat")

    def test_fed_going_live_one_short(self) -> None:
        """Who is fed hears the room as it goes while one message of the archive is still to come."""

        def fed(hearing: Hearing, slices: list[Any], feed: Any, *rest: Any) -> None:
            room = hearing._hall.rooms.get(feed.room)
            if room is None:
                return
            room.last -= 1
            right(hearing, slices, feed, *rest)
            room.last += 1

        right = self.plant(Hearing, "_fed", fed)
        self.catch("a hole", ", after [", "is said to have")

    def test_fed_hearing_too_early(self) -> None:
        """Who is fed hears the room as it goes from the start, and then once more from the archive."""
        right = self.plant(Hearing, "said", lambda hearing, run: said(hearing, run))

        def said(hearing: Hearing, run: Run) -> None:
            right(hearing, run)
            audience = hearing._audiences.get(run.room)
            for seat in audience.feeding if audience is not None else ():
                if seat.session.extended:
                    seat.send(run.body + b"\n")

        self.catch("a hole", "a repeat")

    def test_base_client_not_told_of_a_departure(self) -> None:
        """Somebody leaves, and base clients are not told."""

        def tell(hearing: Hearing, rooms: tuple[str, ...], line: bytes) -> None:
            for name in rooms:
                audience = hearing._audience(name)
                if b'"roomid":""' in line:
                    audience.base, base = {}, audience.base
                    right(hearing, (name,), line)
                    audience.base = base
                    return
            right(hearing, rooms, line)

        right = self.plant(Hearing, "tell", tell)
        self.catch("and is told", "was told of", "already")

    # Restarts

    def test_positions_lost_with_a_snapshot(self) -> None:
        """After a restart rooms are numbered from 1 again, or the log is taken for a broken one."""

        def snapshot(log: SingleLog) -> None:
            save = log._store.save
            log._store.save = lambda held: save(Snapshot(held.index, held.epoch, {}, held.state, held.first))
            right(log)
            log._store.save = save

        right = self.plant(SingleLog, "snapshot", snapshot)
        self.catch("comes next, not that of", "is not online", "cannot be replayed")

    def test_owners_lost_with_a_snapshot(self) -> None:
        """After a restart nobody owns anything."""

        def restore(hall: Hall, data: bytes) -> None:
            right(hall, data)
            for room in hall.rooms.values():
                room.owner = ""
            for person in hall.identities.values():
                person.owned = frozenset()

        right = self.plant(Hall, "restore", restore)
        self.catch("replaying gives", "when restored")
