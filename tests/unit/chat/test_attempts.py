from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat import attempts
from chatproto.chat.attempts import FORGOTTEN_AFTER_S, WAIT_S_MAX, Attempts


class AttemptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.attempts = Attempts()

    def test_the_first_is_at_once(self) -> None:
        self.assertEqual(self.attempts.wait_s("here", "adel", 0.0), 0.0)

    def test_each_failure_doubles_the_wait_up_to_a_bound(self) -> None:
        waits = []
        for _ in range(12):
            self.attempts.failed("here", "adel", 100.0)
            waits.append(self.attempts.wait_s("here", "beth", 100.0))
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, WAIT_S_MAX, WAIT_S_MAX, WAIT_S_MAX])
        self.assertEqual(self.attempts.wait_s("here", "adel", 100.0 + WAIT_S_MAX), 0.0)

    def test_an_account_under_attack_slows_whoever_has_failed_too(self) -> None:
        for _ in range(4):
            self.attempts.failed("elsewhere", "adel", 0.0)
        self.assertEqual(self.attempts.wait_s("here", "adel", 0.0), 0.0, "its owner is let in")
        self.attempts.failed("here", "adel", 0.0)
        self.assertEqual(self.attempts.wait_s("here", "adel", 0.0), 16.0)
        self.assertEqual(self.attempts.wait_s("here", "beth", 0.0), 1.0)

    def test_success_and_time_forgive(self) -> None:
        self.attempts.failed("here", "adel", 0.0)
        self.attempts.passed("here", "adel")
        self.assertEqual(self.attempts.wait_s("here", "adel", 0.0), 0.0)
        for _ in range(20):
            self.attempts.failed("here", "adel", 0.0)
        self.attempts.failed("here", "adel", FORGOTTEN_AFTER_S)
        self.assertEqual(self.attempts.wait_s("here", "adel", FORGOTTEN_AFTER_S), 1.0)

    def test_of_many_those_that_failed_longest_ago_are_forgotten(self) -> None:
        self.patch(attempts, "KNOWN_MAX", 2)
        for address in ("a", "b", "a", "c"):
            self.attempts.failed(address, address, 0.0)
        self.assertEqual([self.attempts.wait_s(address, "x", 0.0) for address in "abc"], [2.0, 0.0, 1.0])
