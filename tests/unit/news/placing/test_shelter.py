import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.placing.actions import Place, Remove
from chatproto.news.placing.ledger import Begun, Decided, Ledger
from chatproto.news.placing.shelter import SENT_AT_ONCE_MAX, Shelter, Wish, steps_to_place, steps_to_remove
from chatproto.news.terms import Terms
from tests.simulation.placing import placed

ADA = placed("ada").placement
HOME = Wish("home/west/ada", {"west": (Remove("ada", 1),)})


def with_guests(*readers: str) -> Ledger:
    """Return a ledger that has readers of `east` at `west`."""
    ledger = Ledger()
    for number, reader in enumerate(readers, 1):
        ledger.take(Begun(reader, {"west": (placed(reader, home="east"),)}))
        ledger.take(Decided(number, True))
    return ledger


class StepsTests(SynchronousTestCase):
    def test_placed(self) -> None:
        ledger = Ledger()
        self.assertEqual(steps_to_place(ledger, ADA, "east"), {"east": (Place(ADA),)})
        self.assertEqual(steps_to_place(ledger, ADA, "east", "east"), {"east": (Place(ADA),)})
        moved = {"west": (Place(ADA),), "east": (Remove("ada", 1),)}
        self.assertEqual(steps_to_place(ledger, ADA, "west", "east"), moved)

    def test_a_guest_is_one_no_longer(self) -> None:
        ledger = with_guests("ada", "bob")
        removed = (Remove("ada", 1),)
        self.assertEqual(steps_to_place(ledger, ADA, "east", "east"), {"east": (Place(ADA),), "west": removed})
        self.assertEqual(steps_to_place(ledger, ADA, "west", "east"), {"west": (Place(ADA),), "east": removed})
        self.assertEqual(
            steps_to_place(ledger, ADA, "south", "east"), {"south": (Place(ADA),), "east": removed, "west": removed}
        )

    def test_removed(self) -> None:
        ledger = with_guests("ada")
        self.assertEqual(
            steps_to_remove(ledger, "ada", 2, "east"), {"east": (Remove("ada", 2),), "west": (Remove("ada", 2),)}
        )
        self.assertEqual(steps_to_remove(ledger, "bob", 2, "east"), {"east": (Remove("bob", 2),)})


class ShelterTests(SynchronousTestCase):
    def test_who_is_placed_at_the_substitute(self) -> None:
        shelter = Shelter(Ledger(), 100)
        free = msgspec.structs.replace(ADA, terms=Terms(("sport",)))
        shelter.came_up("west", 100)
        self.assertEqual(shelter.refusal(free, "east", "west", 200), "not-paid")
        self.assertEqual(shelter.refusal(ADA, "east", "", 200), "no-substitute")
        self.assertEqual(shelter.refusal(ADA, "east", "south", 200), "substitute-away")
        self.assertEqual(shelter.refusal(ADA, "east", "west", 200), "")
        self.assertEqual(
            shelter.steps(ADA, "east", "west"), {"west": (Place(msgspec.structs.replace(ADA, home="east")),)}
        )

    def test_a_node_that_may_be_there(self) -> None:
        shelter = Shelter(Ledger(), 100)
        shelter.came_up("west", 100)
        self.assertEqual(shelter.refusal(ADA, "east", "west", 100.5), "at-home")
        self.assertEqual(shelter.refusal(ADA, "east", "west", 101), "")
        shelter.came_up("east", 102)
        self.assertEqual(shelter.refusal(ADA, "east", "west", 110), "at-home")
        shelter.went_down("east", 110)
        self.assertEqual(shelter.refusal(ADA, "east", "west", 110.9), "at-home")
        shelter.went_down("east", 110.9)
        self.assertEqual(shelter.refusal(ADA, "east", "west", 111), "")

    def test_who_is_there_already(self) -> None:
        shelter = Shelter(with_guests("ada"), 0)
        self.assertTrue(shelter.is_guest(ADA, "east", "west"))
        for placement, node, substitute in (
            (ADA, "east", "south"),
            (ADA, "south", "west"),
            (placed("ada", 2).placement, "east", "west"),
            (placed("bob").placement, "east", "west"),
        ):
            self.assertFalse(shelter.is_guest(placement, node, substitute))

    def test_sent_home(self) -> None:
        shelter = Shelter(with_guests("ada"), 0, home_after_s=30)
        shelter.came_up("west", 0)
        self.assertEqual(shelter.next_wakeup(), 0)
        self.assertEqual(shelter.due(0), [])
        self.assertEqual(shelter.next_wakeup(), 1)
        shelter.came_up("east", 10)
        self.assertEqual(shelter.due(39.9), [])
        self.assertEqual(shelter.due(40), [])
        self.assertEqual(shelter.due(40.9), [HOME])
        shelter.went_down("west", 41)
        self.assertEqual(shelter.due(50), [])

    def test_sent_once(self) -> None:
        ledger = with_guests("ada")
        shelter = Shelter(ledger, 0, home_after_s=30)
        for node in ("east", "west"):
            shelter.came_up(node, 0)
        ledger.take(Begun(*HOME))
        self.assertEqual(shelter.due(30), [])
        ledger.take(Decided(2, False))
        self.assertEqual(shelter.due(31), [HOME])
        ledger.take(Begun(*HOME))
        ledger.take(Decided(3, True))
        self.assertIsNone(shelter.next_wakeup())

    def test_so_many_at_once(self) -> None:
        shelter = Shelter(with_guests(*(f"r{number}" for number in range(SENT_AT_ONCE_MAX + 1))), 0, home_after_s=0)
        for node in ("east", "west"):
            shelter.came_up(node, 0)
        self.assertEqual(len(shelter.due(1)), SENT_AT_ONCE_MAX)
