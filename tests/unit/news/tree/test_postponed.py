"""What is to come later, and when."""

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.tree.postponed import AGAIN_S_MAX, Postponed


class PostponedTests(SynchronousTestCase):
    def test_room_is_given_in_the_order_of_coming(self) -> None:
        postponed = Postponed(1000)
        self.assertTrue(postponed.has_room(500, 500))
        self.assertFalse(postponed.has_room(501, 500))
        for number, size in ((7, 300), (3, 600), (9, 10)):
            postponed.no_room(number, size)
        self.assertEqual(postponed.room(1000), [])
        self.assertEqual(postponed.room(600), [7], "the third is not to pass the second")
        self.assertEqual(postponed.waiting, 2)
        self.assertEqual(postponed.room(0), [3, 9])
        self.assertEqual(postponed.waiting, 0)

    def test_what_comes_damaged_again_and_again_waits_longer(self) -> None:
        postponed = Postponed()
        self.assertEqual([postponed.damaged(1) for _ in range(4)], [1, 2, 4, 8])
        self.assertEqual(postponed.damaged(2), 1)
        self.assertEqual([postponed.damaged(1) for _ in range(100)][-1], AGAIN_S_MAX)
        postponed.forget(1)
        self.assertEqual(postponed.damaged(1), 1)

    def test_a_new_link_begins_anew(self) -> None:
        postponed = Postponed(1)
        postponed.no_room(1, 2)
        postponed.damaged(2)
        postponed.clear()
        self.assertEqual((postponed.waiting, postponed.damaged(2)), (0, 1))
        postponed.no_room(1, 2)
        postponed.forget(1)
        self.assertEqual(postponed.room(0), [])
