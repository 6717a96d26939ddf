from twisted.trial.unittest import SynchronousTestCase

from chatproto.registry.subscriptions import TOPICS_PER_VISITOR_MAX, Subscriptions

COOKS, WAITERS = ("group", "cooks"), ("group", "waiters")


class SubscriptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.heard = Subscriptions()

    def test_hearers_come_in_order_each_with_its_number(self) -> None:
        for at, number in ((2, 1), (1, 7), (2, 3)):
            self.assertTrue(self.heard.add(COOKS, at, number))
        self.assertEqual(self.heard.hearers(COOKS), [(2, 1), (1, 7), (2, 3)])
        self.assertEqual(self.heard.hearers(WAITERS), [])

    def test_a_group_and_a_service_of_one_name_are_two(self) -> None:
        self.heard.add(("group", "chat"), 1, 1)
        self.assertEqual(self.heard.hearers(("service", "chat")), [])

    def test_a_number_that_is_used_again_stands_for_the_later_one(self) -> None:
        self.heard.add(COOKS, 1, 1)
        self.heard.add(WAITERS, 1, 1)
        self.assertEqual((self.heard.hearers(COOKS), self.heard.hearers(WAITERS)), ([], [(1, 1)]))

    def test_dropped(self) -> None:
        for number in (1, 2):
            self.heard.add(COOKS, 1, number)
        self.heard.drop(1, 1)
        self.heard.drop(1, 1)
        self.heard.drop(5, 1)
        self.assertEqual(self.heard.hearers(COOKS), [(1, 2)])

    def test_gone(self) -> None:
        self.heard.add(COOKS, 1, 1)
        self.heard.add(WAITERS, 1, 2)
        self.heard.add(COOKS, 2, 1)
        self.heard.gone(1)
        self.heard.gone(7)
        self.assertEqual((self.heard.hearers(COOKS), self.heard.hearers(WAITERS)), ([(2, 1)], []))

    def test_so_many_for_one_and_no_more(self) -> None:
        for number in range(TOPICS_PER_VISITOR_MAX):
            self.assertTrue(self.heard.add(COOKS, 1, number))
        self.assertFalse(self.heard.add(COOKS, 1, TOPICS_PER_VISITOR_MAX))
        self.assertTrue(self.heard.add(COOKS, 2, 1))
        self.heard.drop(1, 0)
        self.assertTrue(self.heard.add(COOKS, 1, TOPICS_PER_VISITOR_MAX))
