from twisted.trial.unittest import SynchronousTestCase

from chatproto.client.whereabouts import Whereabouts
from chatproto.wire import MAIN_HALL


class WhereaboutsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.whereabouts = Whereabouts(("jokes",))

    def test_a_first_welcome(self) -> None:
        self.assertEqual(self.whereabouts.rooms, ())
        self.assertEqual(self.whereabouts.welcomed(False, ()), (("jokes",), False))
        self.whereabouts.entered(MAIN_HALL)
        self.whereabouts.entered("jokes")
        self.assertTrue(self.whereabouts.surveyed())
        self.assertFalse(self.whereabouts.surveyed())
        self.assertEqual(self.whereabouts.rooms, (MAIN_HALL, "jokes"))
        self.assertTrue(self.whereabouts.reads(MAIN_HALL))
        self.assertFalse(self.whereabouts.reads("news"))
        self.assertEqual(self.whereabouts.welcomed(True, ("jokes",)), ((), False), "it was entered")

    def settle(self, *rooms: str) -> None:
        self.whereabouts.welcomed(False, rooms)
        for room in rooms:
            self.whereabouts.entered(room)
        self.whereabouts.surveyed()

    def test_rooms_of_before_are_remembered_until_the_server_has_told_all(self) -> None:
        self.settle(MAIN_HALL, "jokes", "news")
        self.whereabouts.lost()
        self.whereabouts.welcomed(True, ("jokes",))
        self.assertEqual(self.whereabouts.rooms, (MAIN_HALL, "jokes", "news"))
        self.assertNotIn("jokes", self.whereabouts)
        self.whereabouts.told("jokes", ["ada"], "ada")
        self.whereabouts.told("news", ["eve"], "ada")
        self.assertEqual(self.whereabouts.rooms, ("jokes",))
        self.whereabouts.lost()
        self.assertEqual(self.whereabouts.rooms, (MAIN_HALL, "jokes", "news"), "nothing was learnt of the others")
        self.whereabouts.welcomed(True, ("jokes",))
        self.whereabouts.told("jokes", ["ada"], "ada")
        self.whereabouts.surveyed()
        self.assertEqual(self.whereabouts.rooms, ("jokes",))
        self.whereabouts.told("news", ["ada"], "ada")
        self.assertEqual(self.whereabouts.rooms, ("jokes",), "that was asked for, or is somebody else's")

    def test_a_room_that_was_left_is_not_come_back_to(self) -> None:
        self.settle(MAIN_HALL, "jokes")
        self.whereabouts.welcomed(True, ("jokes",))
        self.whereabouts.left("jokes")
        self.whereabouts.lost()
        self.assertEqual(self.whereabouts.rooms, (MAIN_HALL,))
        self.whereabouts.left(MAIN_HALL)
        self.assertEqual(self.whereabouts.rooms, ())

    def test_who_was_not_in_main_hall_does_not_want_to_be_there(self) -> None:
        self.settle("jokes")
        self.assertEqual(self.whereabouts.welcomed(False, ("jokes",)), ((), True))
        self.whereabouts.entered(MAIN_HALL)
        self.assertIn(MAIN_HALL, self.whereabouts)
        self.assertFalse(self.whereabouts.reads(MAIN_HALL))
        for ends in (self.whereabouts.surveyed, self.whereabouts.lost, lambda: self.whereabouts.left(MAIN_HALL)):
            self.settle("jokes")
            self.whereabouts.left(MAIN_HALL)
            self.whereabouts.welcomed(False, ("jokes",))
            ends()
            self.whereabouts.entered(MAIN_HALL)
            self.assertTrue(self.whereabouts.reads(MAIN_HALL))

    def test_a_room_in_which_nothing_was_read_is_entered_again(self) -> None:
        self.settle(MAIN_HALL, "jokes", "news")
        self.assertEqual(self.whereabouts.welcomed(True, ("news",)), (("jokes",), False))
