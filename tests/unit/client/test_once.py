from twisted.trial.unittest import SynchronousTestCase

from chatproto.client.once import Once


class OnceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.once = Once(3)

    def test_whichever_comes_first_is_new(self) -> None:
        self.assertEqual([self.once.direct("a"), self.once.relayed("a")], [True, False])
        self.assertEqual([self.once.relayed("b"), self.once.direct("b")], [True, False])

    def test_the_same_over_another_connection_is_not_new(self) -> None:
        self.assertEqual([self.once.direct("a"), self.once.direct("a")], [True, False])

    def test_what_a_server_relays_is_compared_with_nothing_that_it_relayed(self) -> None:
        self.assertEqual([self.once.relayed("a"), self.once.relayed("a")], [True, True])
        self.assertFalse(self.once.direct("a"))

    def test_only_the_last_ids_are_remembered(self) -> None:
        for id in "abcd":
            self.once.direct(id)
        self.assertEqual([self.once.relayed(id) for id in "abcd"], [True, False, False, False])

    def test_one_that_comes_again_counts_as_late(self) -> None:
        for id in "abcad":
            self.once.direct(id)
        self.assertEqual([self.once.relayed(id) for id in "abcd"], [False, True, False, False])
