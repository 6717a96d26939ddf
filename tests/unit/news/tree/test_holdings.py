"""What comes of the items of a node, on a disk that is a dictionary."""

import hashlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.items import Item
from chatproto.news.tree import records
from chatproto.news.tree.holdings import (
    Damaged,
    Effect,
    Finished,
    Gone,
    Grew,
    Holdings,
    Kept,
    Moment,
    Offer,
    Save,
    Step,
    Verify,
)
from chatproto.news.tree.records import PIECE_BYTES, Child, Record
from chatproto.news.tree.routes import Routes
from tests.unit.news.samples import NOW, item_of

BODY = bytes(range(256)) * 160


class Disk:
    """Performs what holdings want; what is saved is durable when `settle` is called."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.table: dict[bytes, bytes] = {}
        self.clock_s = 100.0
        self.keeps = keeps
        self.begin()

    def begin(self) -> None:
        """Begin a life, with what is durable."""
        self.saves: list[Save] = []
        self.told: list[Any] = []
        self.holdings = Holdings(Routes(), keeps=self.keeps)
        self.holdings.first_number = 1
        rows = sorted((key, value) for key, value in self.table.items() if not key.startswith(records.BODY))
        bodies = sorted(key for key in self.table if key.startswith(records.BODY))
        self.perform(self.holdings.recover(rows, bodies, self.moment))

    @property
    def moment(self) -> Moment:
        return Moment(self.clock_s, NOW + self.clock_s)

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Save):
                self.saves.append(effect)
            else:
                self.told.append(effect)

    def settle(self) -> list[Any]:
        """Have everything durable, and everything verified; return what was told."""
        while self.saves or any(isinstance(effect, Verify) for effect in self.told):
            while self.saves:
                self.save()
            verify = next((effect for effect in self.told if isinstance(effect, Verify)), None)
            if verify is not None:
                # By identity: named tuples of other types may be equal.
                self.told = [effect for effect in self.told if effect is not verify]
                found = hashlib.sha256(self.body(verify.holding.item.number)).digest()
                self.perform(self.holdings.verified(verify.holding, found, self.moment))
        told, self.told = self.told, []
        return told

    def save(self) -> None:
        save = self.saves.pop(0)
        for key, value in save.changes:
            if value is None:
                self.table.pop(key, None)
            else:
                self.table[key] = value
        if save.step is not None:
            self.perform(self.holdings.saved(save.step))

    def body(self, number: int) -> bytes:
        prefix = records.BODY + number.to_bytes(8)
        return b"".join(value for key, value in sorted(self.table.items()) if key.startswith(prefix))

    def come(self, item: Item, body: bytes, pieces: int = 1000) -> None:
        """Have an item come from the parent."""
        self.perform(self.holdings.announced(item, 2.0, self.moment))
        self.pieces(item, body, 0, pieces)

    def pieces(self, item: Item, body: bytes, first: int = 0, last: int = 1000) -> None:
        for place in range(first, min(last, records.piece_count(len(body)))):
            piece = body[place * PIECE_BYTES : place * PIECE_BYTES + PIECE_BYTES]
            self.perform(self.holdings.piece(item.number, place, piece))

    def whole(self, number: int, body: bytes = b"", **fields: Any) -> Item:
        item = item_of(body, number=number, id=f"i{number}", **fields)
        self.come(item, body)
        self.settle()
        return item

    @property
    def numbers(self) -> list[int]:
        held = self.holdings.held()
        assert self.holdings.whole == len(held)
        return [each.item.number for each in held]


class ComingTests(SynchronousTestCase):
    def test_an_item_comes_piece_by_piece(self) -> None:
        disk, item = Disk(), item_of(BODY, number=7)
        disk.come(item, BODY)
        self.assertEqual(disk.told, [Grew(7, PIECE_BYTES), Grew(7, 2 * PIECE_BYTES), Grew(7, len(BODY))])
        self.assertEqual(disk.holdings.unfinished(), [(7, len(BODY))])
        disk.clock_s += 5
        holding = disk.holdings.find(7)
        assert holding is not None
        told = disk.settle()[3:]
        self.assertEqual(told[:3], [Offer(holding), Kept(7, PIECE_BYTES), Kept(7, 2 * PIECE_BYTES)])
        (held,) = disk.holdings.held()
        self.assertEqual(told[3:], [Finished(held)])
        self.assertEqual((held.item, held.stamp, held.delay_s), (item, 1, 7.0))
        self.assertEqual(held.delay_at(disk.clock_s + 1), 8.0)
        self.assertEqual(disk.holdings.unfinished(), [])
        self.assertEqual(disk.holdings.bytes, len(BODY))
        self.assertEqual(disk.body(7), BODY)

    def test_it_is_passed_on_only_once_it_is_known_on_the_disk(self) -> None:
        disk, item = Disk(), item_of(BODY, number=7)
        disk.perform(disk.holdings.child_came("east", "0f"))
        disk.settle()
        disk.come(item, BODY, 1)
        self.assertEqual(disk.holdings.pending("east"), [])
        disk.save()
        self.assertEqual(disk.holdings.pending("east"), [disk.holdings.find(7)])

    def test_an_empty_item(self) -> None:
        disk = Disk()
        disk.whole(7)
        self.assertEqual(disk.numbers, [7])

    def test_stamps_go_by_when_items_are_whole(self) -> None:
        disk = Disk()
        first, second = item_of(BODY, number=1, id="a"), item_of(b"x", number=2, id="b")
        disk.come(first, BODY, 1)
        disk.come(second, b"x")
        disk.settle()
        disk.pieces(first, BODY, 1)
        disk.settle()
        self.assertEqual(disk.numbers, [2, 1])
        disk.begin()
        disk.whole(3)
        self.assertEqual([held.stamp for held in disk.holdings.held()], [1, 2, 3])

    def test_what_does_not_follow_is_passed_over(self) -> None:
        disk, item = Disk(), item_of(BODY, number=7)
        disk.come(item, BODY, 1)
        self.assertEqual(disk.holdings.piece(7, 0, BODY[:PIECE_BYTES]), [])
        self.assertEqual(disk.holdings.piece(7, 2, BODY[2 * PIECE_BYTES :]), [])
        self.assertEqual(disk.holdings.piece(8, 0, b"x"), [])
        disk.pieces(item, BODY, 1)
        disk.settle()
        self.assertEqual(disk.holdings.piece(7, 3, b"x"), [])

    def test_what_came_damaged_goes_and_may_come_again(self) -> None:
        disk, item = Disk(), item_of(BODY, number=7)
        disk.come(item, BODY[::-1])
        told = disk.settle()
        self.assertEqual(told[-2:], [Damaged(item), Gone(item, None)])
        self.assertIsNone(disk.holdings.find(7))
        self.assertEqual((disk.table, disk.holdings.bytes), ({}, 0))
        disk.come(item, BODY)
        disk.settle()
        self.assertEqual(disk.numbers, [7])

    def test_what_becomes_durable_of_an_item_that_went_says_nothing_of_the_one_that_came_again(self) -> None:
        disk, item = Disk(), item_of(BODY, number=7)
        disk.come(item, BODY, 1)
        verify = disk.holdings.find(7)
        assert verify is not None
        disk.perform(disk.holdings.withdrawn(7))
        disk.come(item, BODY, 1)
        while disk.saves:
            disk.save()
        again = disk.holdings.find(7)
        assert again is not None
        self.assertEqual((again.kept, again.arrived), (PIECE_BYTES, PIECE_BYTES))
        self.assertEqual(disk.holdings.verified(verify, item.digest, disk.moment), [])


class RootTests(SynchronousTestCase):
    def test_a_source_s_item_gets_a_number_that_no_other_has_in_any_life(self) -> None:
        disk = Disk()
        number, effects = disk.holdings.accept(item_of(number=99, priority=9, route=("x",)), 5, disk.moment)
        self.assertEqual(number, 1)
        disk.perform(effects)
        disk.save()
        holding = disk.holdings.find(1)
        assert holding is not None
        item = holding.item
        self.assertEqual((item.number, item.priority, item.injected, item.route), (1, 5, NOW + 100, None))
        self.assertEqual(disk.holdings.number_of("ansa", "first"), 1)
        self.assertIsNone(disk.holdings.number_of("ansa", "second"))
        disk.begin()
        self.assertEqual(disk.holdings.number_of("ansa", "first"), 1)
        disk.clock_s += 4000
        disk.perform(disk.holdings.expire(disk.moment))
        disk.settle()
        self.assertIsNone(disk.holdings.number_of("ansa", "first"))
        disk.begin()
        self.assertEqual(disk.holdings.accept(item_of(), 5, disk.moment)[0], 2)

    def test_an_exclusive_has_its_route_when_it_is_accepted(self) -> None:
        disk = Disk()
        disk.perform(disk.holdings.child_came("r1", "0f"))
        disk.perform(disk.holdings.child_reported("r1", Child("0f", (("west", ("sport",)),))))
        number, _ = disk.holdings.accept(item_of(exclusive=True), 5, disk.moment)
        holding = disk.holdings.find(number)
        assert holding is not None
        self.assertEqual(holding.item.route, ("west",))

    def test_an_id_that_is_free_again_is_the_newer_one_s(self) -> None:
        disk = Disk()
        disk.come(item_of(number=1), b"one nil")
        disk.come(item_of(number=2), b"one nil")
        disk.settle()
        disk.clock_s += 4000
        disk.perform(disk.holdings.expire(disk.moment))
        self.assertIsNone(disk.holdings.number_of("ansa", "first"))


class LifeTests(SynchronousTestCase):
    def test_a_node_goes_on_where_its_disk_is(self) -> None:
        disk, item = Disk(), item_of(BODY, number=7)
        disk.come(item, BODY, 2)
        for _ in range(2):
            disk.save()
        disk.begin()
        self.assertEqual(disk.holdings.unfinished(), [(7, PIECE_BYTES)])
        disk.pieces(item, BODY, 1)
        disk.settle()
        self.assertEqual((disk.numbers, disk.body(7)), ([7], BODY))

    def test_what_was_not_verified_yet_is(self) -> None:
        disk, item = Disk(), item_of(BODY, number=7)
        disk.come(item, BODY)
        for _ in range(4):
            disk.save()
        disk.begin()
        self.assertEqual([type(effect) for effect in disk.told], [Verify])
        disk.settle()
        self.assertEqual(disk.numbers, [7])

    def test_what_is_whole_is_whole_and_its_delay_goes_on(self) -> None:
        disk = Disk()
        disk.whole(7, BODY)
        disk.clock_s += 10
        disk.begin()
        (held,) = disk.holdings.held()
        self.assertEqual((held.stamp, held.delay_s, held.since), (1, 12.0, disk.clock_s))
        self.assertEqual(disk.settle(), [])

    def test_children_are_known(self) -> None:
        disk = Disk()
        disk.perform(disk.holdings.child_came("east", "0f"))
        disk.perform(disk.holdings.child_came("west", "1f"))
        disk.perform(disk.holdings.child_reported("east", Child("0f", (("east", ("sport",)),))))
        disk.whole(7)
        disk.perform(disk.holdings.child_has("east", 7))
        disk.settle()
        disk.begin()
        self.assertEqual(disk.holdings.pending("east"), [])
        self.assertEqual(disk.holdings.pending("west"), [disk.holdings.find(7)])
        self.assertEqual(disk.holdings.routes.reach(), (("east", ("sport",)),))


class GoingTests(SynchronousTestCase):
    def test_what_has_expired_goes_from_the_disk(self) -> None:
        disk = Disk()
        item = disk.whole(7, BODY, expires=NOW + 200)
        disk.come(item_of(BODY, number=8, id="b", expires=NOW + 150), BODY, 1)
        self.assertEqual(disk.holdings.next_wakeup(), NOW + 150)
        self.assertEqual(disk.holdings.expire(disk.moment), [])
        (held,) = disk.holdings.held()
        disk.clock_s = 200
        disk.settle()
        disk.perform(disk.holdings.expire(disk.moment))
        gone = disk.settle()
        self.assertEqual([(effect.item.number, effect.held) for effect in gone], [(8, None), (7, held)])
        self.assertEqual((set(disk.table), disk.holdings.bytes), ({records.STAMP}, 0))
        self.assertEqual(gone[1].item, item)
        self.assertIsNone(disk.holdings.next_wakeup())

    def test_what_was_withdrawn_before_it_was_whole_goes(self) -> None:
        disk = Disk()
        disk.whole(7, BODY)
        disk.come(item_of(BODY, number=8, id="b", expires=NOW + 150), BODY, 2)
        disk.perform(disk.holdings.withdrawn(8))
        self.assertEqual(disk.holdings.withdrawn(7), [], "what is whole stays")
        self.assertEqual(disk.holdings.withdrawn(9), [])
        disk.settle()
        self.assertEqual(disk.body(8), b"")
        disk.clock_s = 200
        self.assertEqual(disk.holdings.expire(disk.moment), [], "it went before")

    def test_a_body_goes_when_all_children_have_it_and_is_still_known(self) -> None:
        disk = Disk()
        for name in ("east", "west"):
            disk.perform(disk.holdings.child_came(name, "0f"))
        disk.whole(7, BODY)
        disk.perform(disk.holdings.child_has("east", 7))
        self.assertEqual(disk.holdings.child_has("east", 7), [], "it is known")
        disk.settle()
        self.assertEqual(disk.numbers, [7])
        disk.perform(disk.holdings.child_has("west", 7))
        self.assertEqual([type(effect) for effect in disk.settle()], [Gone])
        self.assertEqual((disk.numbers, disk.body(7), disk.holdings.bytes), ([], b"", 0))
        disk.begin()
        holding = disk.holdings.find(7)
        assert holding is not None
        self.assertTrue(holding.stamped)
        self.assertEqual((len(disk.holdings), disk.holdings.bytes), (1, 0))
        self.assertEqual(disk.holdings.child_has("east", 7), [])
        disk.perform(disk.holdings.child_came("north", "0f"))
        self.assertEqual(disk.holdings.pending("north"), [], "there is nothing of it to be had here")
        disk.clock_s += 4000
        disk.perform(disk.holdings.expire(disk.moment))
        self.assertEqual([effect.held for effect in disk.settle()], [None])
        self.assertEqual((len(disk.holdings), disk.holdings.bytes), (0, 0))

    def test_a_release_that_a_crash_has_cut_off_is_made_up_for(self) -> None:
        disk = Disk()
        disk.perform(disk.holdings.child_came("east", "0f"))
        disk.whole(7, BODY)
        disk.perform(disk.holdings.child_has("east", 7))
        disk.save()
        disk.begin()
        disk.settle()
        self.assertEqual((disk.numbers, disk.body(7)), ([], b""))

    def test_a_child_may_have_it_before_this_node_knows_that_it_is_whole(self) -> None:
        disk, item = Disk(), item_of(BODY, number=7)
        disk.perform(disk.holdings.child_came("east", "0f"))
        disk.come(item, BODY)
        disk.save()
        disk.save()
        disk.perform(disk.holdings.child_has("east", 7))
        self.assertEqual([type(effect) for effect in disk.settle()][-2:], [Finished, Gone])
        self.assertEqual(disk.numbers, [])

    def test_a_node_that_keeps_keeps(self) -> None:
        disk = Disk(keeps=True)
        disk.perform(disk.holdings.child_came("east", "0f"))
        disk.whole(7, BODY)
        disk.perform(disk.holdings.child_has("east", 7))
        disk.settle()
        self.assertEqual(disk.numbers, [7])

    def test_without_children_it_waits_for_whoever_comes(self) -> None:
        disk = Disk()
        disk.whole(7, BODY)
        self.assertEqual(disk.numbers, [7])
        disk.perform(disk.holdings.child_came("east", "0f"))
        self.assertEqual(disk.holdings.pending("east"), [disk.holdings.find(7)])

    def test_an_exclusive_waits_for_those_only_that_it_is_for(self) -> None:
        disk = Disk()
        for name in ("east", "west"):
            disk.perform(disk.holdings.child_came(name, "0f"))
            disk.perform(disk.holdings.child_reported(name, Child("0f", ((name, ("sport",)),))))
        disk.whole(7, BODY, exclusive=True, route=("east",))
        self.assertEqual(disk.holdings.pending("west"), [])
        disk.perform(disk.holdings.child_has("east", 7))
        disk.settle()
        self.assertEqual(disk.numbers, [])
        disk.whole(8, BODY, exclusive=True, route=())
        self.assertEqual(disk.numbers, [], "it is for nobody")


class ChildTests(SynchronousTestCase):
    def test_a_child_that_is_forgotten_is_waited_for_no_longer(self) -> None:
        disk = Disk()
        for name in ("east", "west"):
            disk.perform(disk.holdings.child_came(name, "0f"))
        disk.whole(7, BODY)
        disk.whole(8, BODY)
        for name, number in (("east", 7), ("west", 8)):
            disk.perform(disk.holdings.child_has(name, number))
        disk.perform(disk.holdings.child_forgotten("west"))
        disk.settle()
        self.assertEqual(disk.numbers, [8])
        self.assertEqual(disk.holdings.child_forgotten("west"), [])
        self.assertEqual(disk.holdings.child_has("west", 8), [], "nobody knows it")
        self.assertEqual(disk.holdings.child_has("east", 99), [])
        disk.begin()
        self.assertEqual(list(disk.holdings.children), ["east"])

    def test_a_child_with_another_disk_has_nothing(self) -> None:
        disk = Disk(keeps=True)
        disk.perform(disk.holdings.child_came("east", "0f"))
        disk.whole(7, BODY)
        disk.whole(8, BODY)
        disk.perform(disk.holdings.child_has("east", 7))
        self.assertEqual(disk.holdings.child_came("east", "0f"), [])
        disk.perform(disk.holdings.child_came("east", "1f"))
        disk.settle()
        self.assertEqual([one.item.number for one in disk.holdings.pending("east")], [7, 8])
        disk.begin()
        self.assertEqual([one.item.number for one in disk.holdings.pending("east")], [7, 8])

    def test_only_news_is_kept(self) -> None:
        disk = Disk()
        disk.perform(disk.holdings.child_came("east", "0f"))
        child = Child("0f", (("east", ("sport",)),))
        self.assertEqual(len(disk.holdings.child_reported("east", child)), 1)
        self.assertEqual(disk.holdings.child_reported("east", child), [])


class RecordTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        record = Record(item_of(number=7, route=("a",)), 1.5, records.WHOLE, 3)
        self.assertEqual(records.decode_record(records.encoded(record)), record)
        child = Child("0f", (("east", ("sport",)),))
        self.assertEqual(records.decode_child(records.encoded(child)), child)
        self.assertEqual(records.decode_count(records.encoded(2**60)), 2**60)
        self.assertEqual(records.decode_name(records.encoded("0f")), "0f")

    def test_keys_are_sorted_as_their_numbers(self) -> None:
        numbers = [1, 255, 256, 2**40]
        self.assertEqual([records.item_key(number) for number in numbers], sorted(map(records.item_key, numbers)))
        self.assertEqual(records.number_in(records.has_key(300, "east"), records.HAS), (300, b"east"))

    def test_a_step_of_something_that_went_is_nothing(self) -> None:
        disk = Disk()
        disk.come(item_of(number=7), b"one nil")
        holding = disk.holdings.find(7)
        assert holding is not None
        disk.perform(disk.holdings.withdrawn(7))
        self.assertEqual(disk.holdings.saved(Step(holding, "piece")), [])
