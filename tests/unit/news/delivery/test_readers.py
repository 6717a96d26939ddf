"""All readers of a node: who comes and goes, what is kept of them, what they are not delivered."""

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.delivery.hour import HOUR_S
from chatproto.news.delivery.keeping import RECORD, closed, records_of
from chatproto.news.delivery.reader import old_hours
from chatproto.news.delivery.records import HOURS_KEPT, UNDELIVERED, UNDELIVERED_MAX, Record, Undelivered
from chatproto.news.delivery.schedule import FREE_UNDER_WAY_MAX
from chatproto.news.delivery.table import Table
from chatproto.news.placing.actions import Place, Remove
from chatproto.news.placing.messages import Abort, Commit, Coordinate, Prepare, Refuse
from chatproto.news.placing.participant import TERM, Participant, Say, Stage, Write
from tests.unit.news.delivery.items import free, paid
from tests.unit.news.delivery.room import EPOCH, Room


class TableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room()
        self.table = self.room.table

    def test_those_that_are_promised_have_their_room(self) -> None:
        """Transactions under way at once do not pass what a node takes, and those that were begun before a crash."""
        rows: list[tuple[bytes, bytes]] = []
        for name, code in (("rita", ""), ("rosa", ""), ("rudi", "full")):
            table = Table(frozenset({"sport"}), readers_max=2)
            participant = Participant("east", table, rows)
            participant.entered(1, Coordinate("master", 1))
            effects = participant.received(1, Prepare(len(rows), (Place(paid(name)),)))
            if code:
                self.assertEqual(effects, [Say(1, Refuse(len(rows), code))])
                # One that is there is not one more; and what is dropped has left its room.
                self.assertFalse(table.refusal(Place(paid("rita"))))
                participant.received(1, Abort(0))
                participant.written(0, Stage.DROPPING)
                self.assertFalse(table.refusal(Place(paid(name))))
                participant.received(1, Commit(1))
                participant.written(1, Stage.DOING)
                self.assertFalse(table.refusal(Place(paid(name))))
                table.reserve(Place(paid(name)))
                table.reserve(Remove("rosa", 1))
                self.assertEqual(table.refusal(Place(paid("rolf"))), "full")
            else:
                (write,) = effects
                assert isinstance(write, Write)
                rows += [(key, value) for key, value in write.changes if value is not None and key != TERM]

    def test_refuses(self) -> None:
        self.room.place(paid(version=2), paid("home"))
        table = Table(frozenset({"sport"}), readers_max=1)
        table.done(Place(paid("home")))
        for code, action in {
            "out-of-date": Place(paid(version=1)),
            "bad-name": Place(paid("no name")),
            "unknown-topic": Place(paid("new", topics=("weather",))),
            "elsewhere": Place(paid("home", home="south")),
            "": Place(paid(version=2)),
        }.items():
            self.assertEqual(self.table.refusal(action), code)
        self.assertEqual(table.refusal(Place(paid("one more"[:3]))), "full")
        self.assertEqual(table.refusal(Place(paid("home", version=2))), "")
        self.assertEqual(table.refusal(Remove("nobody", 1)), "")

    def test_an_older_removal_removes_nothing(self) -> None:
        self.room.place(paid(version=3))
        for action in (Remove("rita", 2), Remove("nobody", 9)):
            self.assertEqual(self.table.changes(action), [])
            self.table.done(action)
        self.assertIn("rita", self.table.placements)
        self.room.do(Remove("rita", 3))
        self.assertEqual((self.table.placements, self.room.readers.paid), ({}, {}))
        self.room.save()
        self.assertEqual([key for key in self.room.disk if not key.startswith(RECORD)], [])

    def test_says_for_which_topics_there_are_exclusives(self) -> None:
        self.room.place(paid("a", exclusives=True), paid("b", exclusives=True, topics=("sport", "foreign")), free())
        self.assertEqual(self.table.exclusives(), {"sport", "foreign"})
        self.room.restart()
        self.room.place(paid("b", version=2))
        self.assertEqual(self.room.table.exclusives(), {"sport"})
        self.room.do(Remove("a", 1))
        self.assertEqual(self.room.table.exclusives(), frozenset())

    def test_by_default_nobody_is_told(self) -> None:
        table = Table(frozenset({"sport"}))
        for action in (Place(paid()), Remove("rita", 1)):
            table.done(action)
        self.assertEqual(table.placements, {})


class ReadersTests(SynchronousTestCase):
    def test_another_contract_goes_on_where_the_one_before_was(self) -> None:
        room = Room()
        room.place(paid(), free())
        room.come("rita", "fred")
        room.put(1)
        room.run(1)
        room.place(paid(version=2, topics=("finance", "sport")), free(topics=("finance", "sport")))
        self.assertEqual(room.readers.ended, ["rita", "fred"])
        room.come("rita", "fred")
        room.put(2, topic="finance")
        room.run(1)
        for name in ("rita", "fred"):
            self.assertEqual(room.stamps(name), [1, 2])

    def test_a_reader_that_pays_no_more_begins_anew(self) -> None:
        room = Room()
        room.place(paid())
        room.come("rita")
        room.place(free("rita"))
        self.assertEqual((list(room.readers.paid), list(room.readers.free)), ([], ["rita"]))
        room.place(paid())
        self.assertEqual((list(room.readers.paid), list(room.readers.free)), (["rita"], []))

    def test_what_is_kept_of_somebody_removed_goes_at_the_next_start(self) -> None:
        room = Room()
        room.place(paid())
        room.come("rita")
        room.put(1)
        room.run(1)
        position = {key: value for key, value in room.disk.items() if b"position" in key}
        room.do(Remove("rita", 1))
        room.disk.update(position)
        room.restart()
        room.save()
        self.assertEqual([key for key in room.disk if b"position" in key], [])

    def test_exclusives_are_for_those_who_pay_for_them(self) -> None:
        room = Room()
        room.place(paid(exclusives=True), paid("plain"), free())
        room.come("rita", "plain", "fred")
        room.put(1, exclusive=True)
        room.run(1)
        self.assertEqual({name: room.stamps(name) for name in room.got}, {"rita": [1]})
        room.expire(room.put(2, exclusive=True))
        self.assertEqual(room.readers.undeliverable.entries[0].names, ("rita",))

    def test_nothing_goes_to_one_that_has_it_from_elsewhere(self) -> None:
        room = Room()
        room.place(paid())
        for stamp in range(1, 4):
            room.put(stamp)
        room.come("rita", got=((1001, 1001), (1003, 1004)))
        room.put(4)
        room.put(5)
        room.run(1)
        self.assertEqual(room.stamps("rita"), [2, 5])

    def test_only_so_much_is_under_way(self) -> None:
        room = Room()
        room.place(paid())
        room.silent.add("rita")
        room.come("rita")
        for stamp in range(1, 20):
            room.put(stamp)
        room.put(20, priority=9)
        room.put(21, priority=9)
        self.assertEqual(room.readers.paid["rita"].position.stamps, [*range(1, 9), 20])

    def test_nonsense_is_refused(self) -> None:
        room = Room()
        room.place(paid())
        room.come("rita")
        room.put(1)
        self.assertRaises(WireError, room.readers.taken, "rita", 1, 11, 0.0)
        self.assertFalse(room.readers.taken("rita", 7, 1, 0.0))

    def test_who_leaves_is_sent_nothing(self) -> None:
        room = Room(rate=1000)
        room.place(paid(), free())
        room.come("rita", "fred")
        room.put(1, 200_000)
        room.run(0)
        room.readers.went("rita", room.now)
        room.readers.silent("fred")
        room.order.clear()
        room.run(1000)
        self.assertEqual(room.order, [])
        room.come("rita", "fred")
        room.run(1000)
        self.assertEqual((room.stamps("rita"), room.stamps("fred")), ([1], [1]))

    def test_a_free_reader_that_leaves_while_it_waits_loses_its_turn(self) -> None:
        room = Room()
        room.place(free(), free("frida"))
        room.come("fred", "frida")
        room.put(1)
        room.readers.free["fred"].listens = False
        room.run(1)
        self.assertEqual((room.stamps("fred"), room.stamps("frida")), ([], [1]))

    def test_a_free_reader_has_one_turn(self) -> None:
        room = Room()
        room.place(free())
        room.come("fred")
        room.put(1)
        room.come("fred")
        room.readers.finished("fred", room.now)
        room.run(1)
        self.assertEqual(room.order, ["fred"])

    def test_free_items_under_way_are_bounded(self) -> None:
        room = Room()
        names = [f"f{number}" for number in range(FREE_UNDER_WAY_MAX + 5)]
        room.place(*map(free, names))
        room.silent.update(names)
        room.come(*names)
        room.put(1)
        room.run(1)
        self.assertEqual(len(room.unfinished), FREE_UNDER_WAY_MAX)
        for name in list(room.unfinished):
            room.readers.finished(name, room.now)
        room.readers.finished("nobody", room.now)
        room.run(1)
        self.assertEqual(len(room.unfinished), FREE_UNDER_WAY_MAX + 5)

    def test_free_readers_pull(self) -> None:
        room = Room()
        room.place(free(mode="pull", maximum=3))
        for stamp in range(1, 6):
            room.put(stamp)
        room.run(1)
        answers = room.readers.schedule.free_answers
        for after, count in ((0, 2), (2, 5), (900, 1)):
            room.readers.pulled_free("fred", after, count, room.now)
            room.run(1)
        self.assertEqual(
            answers,
            [
                ("fred", 2, (1001, 1002), True, ""),
                ("fred", 3, (1003,), True, "maximum"),
                ("fred", 0, (), True, "maximum"),
            ],
        )
        room.run(HOUR_S)
        room.readers.pulled_free("fred", 3, 3, room.now)
        room.run(1)
        self.assertEqual(answers[3], ("fred", 5, (1004, 1005), False, ""))


class ExpiryTests(SynchronousTestCase):
    def test_what_has_expired_is_delivered_to_nobody(self) -> None:
        room = Room()
        room.place(paid(), free())
        room.put(1, expires=EPOCH + 5)
        room.put(2)
        room.now = 5.0
        room.come("rita", "fred")
        room.run(1)
        self.assertEqual((room.stamps("rita"), room.stamps("fred")), ([2], [2]))
        room.put(3, expires=EPOCH + 3)
        room.run(1)
        self.assertEqual((room.stamps("rita"), room.stamps("fred")), ([2], [2]))

    def test_the_free_alone_are_not_sent_it_either(self) -> None:
        room = Room()
        room.place(free())
        room.put(1, expires=EPOCH + 5)
        room.now = 5.0
        room.come("fred")
        room.run(1)
        self.assertEqual(room.order, [])

    def test_it_is_said_why(self) -> None:
        room = Room()
        room.place(
            paid("absent"),
            paid("puller", mode="pull"),
            paid("full", maximum=1),
            paid("slow"),
            paid("waiting"),
            paid("other", topics=("finance",)),
            paid("quick"),
        )
        room.come("puller", "full", "slow", "quick")
        room.silent.add("slow")
        room.put(1)
        room.run(1)
        gone = room.put(2, 200_000)
        room.run(1)
        room.come("waiting")
        room.expire(gone)
        room.readers.gone(gone, room.now)
        whys = {entry.why: entry.names for entry in room.readers.undeliverable.entries}
        self.assertEqual(
            whys,
            {"away": ("absent",), "not-asked": ("puller",), "maximum": ("full",), "too-slow": ("slow", "waiting")},
        )
        self.assertIn(("slow", 2), room.readers.withdrawn)
        room.run(1)
        self.assertNotIn(2, room.stamps("waiting"))
        room.restart()
        self.assertEqual(len(room.readers.undeliverable.entries), 4)

    def test_one_that_is_not_begun_and_has_room_is_too_slow(self) -> None:
        room = Room()
        room.place(paid())
        room.silent.add("rita")
        room.come("rita")
        held = [room.put(stamp) for stamp in range(1, 12)]
        room.expire(held[10])
        self.assertEqual(room.readers.undeliverable.entries[0].why, "too-slow")

    def test_the_list_is_bounded(self) -> None:
        room = Room()
        entries = [Undelivered(0.0, number, "ansa", "", "away", 1, ("rita",)) for number in range(UNDELIVERED_MAX + 5)]
        for entry in entries:
            key, value = room.readers.undeliverable.add(entry)
            assert value is not None
            room.disk[key] = value
        room.restart()
        self.assertEqual(list(room.readers.undeliverable.entries), entries[5:])
        self.assertEqual(sum(key.startswith(UNDELIVERED) for key in room.disk), UNDELIVERED_MAX)


class RecordTests(SynchronousTestCase):
    def records(self, room: Room) -> list[Record]:
        rows = sorted((key, value) for key, value in room.disk.items() if key.startswith(RECORD))
        return records_of(rows)["rita"]

    def test_each_hour_has_one(self) -> None:
        room = Room()
        contract = paid(minimum=2, delay_s_max=100)
        room.place(contract)
        room.put(1)
        room.put(2)
        room.come("rita")
        room.run(HOUR_S)
        room.put(3, delay_s=200)
        room.put(4)
        room.run(HOUR_S)
        room.put(5)
        room.run(HOUR_S)
        room.silent.add("rita")
        room.put(6)
        room.run(10)
        hour = int(EPOCH // HOUR_S)
        first, second, third, fourth = self.records(room)
        self.assertEqual(first, Record(hour, 2, 2, away=True))
        self.assertEqual(second, Record(hour + 1, 2, 2, late=1))
        self.assertEqual(third, Record(hour + 2, 1, 1))
        self.assertEqual(fourth, Record(hour + 3, 0, 1))
        verdicts = [each.verdict(contract.terms) for each in (first, second, third, fourth)]
        self.assertEqual(verdicts, ["met", "late", "met", "too-few"])
        room.readers.went("rita", room.now)
        self.assertEqual(room.readers.paid["rita"].record.verdict(contract.terms), "away")

    def test_old_ones_go(self) -> None:
        room = Room()
        room.place(paid())
        room.come("rita")
        for stamp in range(1, HOURS_KEPT + 6):
            room.put(stamp)
            room.run(HOUR_S)
        self.assertEqual(len(self.records(room)), HOURS_KEPT)
        room.run(10 * HOUR_S)
        room.put(900)
        room.run(1)
        kept = [record.hour for record in self.records(room)]
        self.assertEqual((len(kept), kept[-1] - kept[0]), (HOURS_KEPT - 10, HOURS_KEPT - 1))

    def test_after_a_long_time_none_is_left(self) -> None:
        self.assertEqual(old_hours(100, 101), [101 - HOURS_KEPT])
        self.assertEqual(old_hours(100, 10_000), list(range(101 - HOURS_KEPT, 101)))
        self.assertEqual(closed("rita", None, [7]), [(RECORD + b"rita/0000000007", None)])

    def test_what_is_on_its_way_as_an_hour_ends_is_of_the_next_one(self) -> None:
        for mode in ("push", "pull"):
            room = Room()
            contract = paid(minimum=2, mode=mode)
            room.place(contract)
            room.come("rita")
            room.run(HOUR_S)
            hour = int(EPOCH // HOUR_S) + 1
            pull = mode == "pull"
            for stamp in (1, 2, 3):
                room.put(stamp)
            if pull:
                room.readers.pulled("rita", 3, room.now)
            room.run(1)
            room.silent.add("rita")
            room.put(4)
            if pull:
                room.readers.pulled("rita", 1, room.now)
            room.run(HOUR_S)
            self.assertEqual(room.readers.verdicts(room.now), Counter({"met": 1, "late": 0, "too-few": 0, "away": 0}))
            room.readers.taken("rita", 4, 10, room.now)
            room.save()
            self.assertEqual(self.records(room)[-2:], [Record(hour, 3, 3), Record(hour + 1, 1, 1)], mode)
            self.assertEqual(room.readers.verdicts(room.now)["met"], 1)

    def test_of_a_reader_that_pulls_only_what_it_asks_for_is_available(self) -> None:
        room = Room()
        contract = paid(minimum=5, mode="pull")
        room.place(contract)
        room.come("rita")
        for stamp in range(1, 10):
            room.put(stamp)
        room.readers.pulled("rita", 2, room.now)
        room.run(1)
        record = room.readers.paid["rita"].record
        self.assertEqual((record.delivered, record.available), (2, 2))

    def test_what_was_delivered_out_of_order_is_not_available_again(self) -> None:
        room = Room()
        room.place(paid(minimum=2))
        room.come("rita")
        room.run(HOUR_S)
        for stamp in (1, 2, 3):
            room.put(stamp)
        room.silent.add("rita")
        room.run(1)
        room.readers.taken("rita", 3, 10, room.now)
        room.run(HOUR_S)
        room.readers.taken("rita", 1, 10, room.now)
        record = room.readers.paid["rita"].record
        self.assertEqual((record.delivered, record.available), (1, 2))

    def test_the_last_hour_has_a_verdict(self) -> None:
        room = Room()
        room.place(
            paid("rita", minimum=1), paid("rosa", minimum=1, delay_s_max=10), paid("rudi", minimum=1), paid("otto")
        )
        room.come("rita", "rosa", "rudi")
        room.run(HOUR_S)
        room.silent.add("rita")
        late = room.put(1, delay_s=20)
        room.run(1)
        self.assertEqual(room.readers.late, 1)
        room.expire(late)
        room.run(HOUR_S - 1)
        verdicts = Counter({"met": 1, "late": 1, "too-few": 1, "away": 1})
        self.assertEqual(room.readers.verdicts(room.now), verdicts)
        self.assertEqual(room.readers.undeliverable.missed["too-slow"], 1)
        room.put(2)
        room.run(1)
        self.assertEqual(room.readers.verdicts(room.now), verdicts)
        room.restart()
        self.assertEqual(room.readers.verdicts(room.now), verdicts)
        room.do(Remove("rosa", 1))
        room.restart()
        room.save()
        self.assertEqual({key for key in room.disk if b"rosa" in key}, set())


class PullTests(SynchronousTestCase):
    def test_is_answered_when_all_is_taken(self) -> None:
        room = Room()
        room.place(paid(mode="pull"))
        room.come("rita")
        for stamp in range(1, 4):
            room.put(stamp)
        room.run(1)
        self.assertEqual(room.order, [])
        for count, expected in ((2, [1, 2]), (5, [1, 2, 3]), (1, [1, 2, 3])):
            room.readers.pulled("rita", count, room.now)
            room.run(1)
            self.assertEqual(room.stamps("rita"), expected)
        answers = [(reader.placement.reader, more) for reader, more in room.readers.schedule.answers]
        self.assertEqual(answers, [("rita", True), ("rita", False), ("rita", False)])
