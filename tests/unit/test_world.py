from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.world import World


class ConnectionsTests(SynchronousTestCase):
    def connections_max(self, files_max: int, elsewhere: int = 0) -> int:
        outside: Any = None
        return World(*[outside] * 8, files_max=files_max).connections_max(elsewhere)

    def test_files_are_left_for_everything_else(self) -> None:
        self.assertEqual(self.connections_max(1024), 960)
        self.assertEqual(self.connections_max(1024, 288), 672)

    def test_half_of_few_files(self) -> None:
        self.assertEqual(self.connections_max(60), 30)
        self.assertEqual(self.connections_max(400, 288), 200)

    def test_any_number(self) -> None:
        self.assertEqual(self.connections_max(0, 288), 0)
