from twisted.trial.unittest import SynchronousTestCase

from chatproto.client.direct.expected import Expected


class ExpectedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.expected = Expected(3, 30.0)
        self.expected.expect("ada", "t1", 100.0)

    def test_a_token_is_good_once(self) -> None:
        self.assertTrue(self.expected.knows("t1"))
        self.assertTrue(self.expected.shown("ada", "t1", 130.0))
        self.assertFalse(self.expected.knows("t1"))

    def test_a_token_is_good_for_one_name(self) -> None:
        self.assertFalse(self.expected.shown("eve", "t1", 100.0))
        self.assertFalse(self.expected.knows("t1"), "it has been seen by somebody else")

    def test_a_token_is_good_for_a_while(self) -> None:
        self.assertFalse(self.expected.shown("ada", "t1", 130.1))
        self.assertFalse(self.expected.knows("t1"))

    def test_a_token_that_nobody_announced(self) -> None:
        self.assertFalse(self.expected.knows("t2"))

    def test_of_too_many_the_oldest_is_good_no_longer(self) -> None:
        for number in (2, 3):
            self.expected.expect("ada", f"t{number}", 100.0)
        self.expected.expect("ada", "t1", 101.0)
        self.expected.expect("ada", "t4", 101.0)
        self.assertEqual([self.expected.knows(f"t{number}") for number in (1, 2, 3, 4)], [True, False, True, True])
        self.assertEqual(len(self.expected), 3)

    def test_nobody_is_expected_any_more(self) -> None:
        self.expected.clear()
        self.assertEqual((len(self.expected), self.expected.knows("t1")), (0, False))
