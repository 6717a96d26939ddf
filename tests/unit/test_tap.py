import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatproto.tap import SECRET_FILE, secret_in


class SecretTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.path = Path(self.directory, SECRET_FILE)

    def test_it_is_drawn_once_and_nobody_else_reads_it(self) -> None:
        secret = secret_in(self.directory)
        self.assertEqual(secret_in(self.directory), secret)
        self.assertGreaterEqual(len(secret), 32)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.directory), [SECRET_FILE])

    def test_each_directory_has_its_own(self) -> None:
        other = self.mktemp()
        os.mkdir(other)
        self.assertNotEqual(secret_in(self.directory), secret_in(other))

    def test_one_that_was_put_there_is_taken(self) -> None:
        self.path.write_text("ours\n")
        self.assertEqual(secret_in(self.directory), "ours")

    def test_one_that_a_power_cut_has_emptied_is_drawn_anew(self) -> None:
        self.path.write_text("")
        self.assertTrue(secret_in(self.directory))

    def test_one_that_cannot_be_kept(self) -> None:
        self.assertRaises(OSError, secret_in, os.path.join(self.directory, "missing"))
