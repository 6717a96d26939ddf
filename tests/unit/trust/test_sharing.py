import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import TrustError
from chatproto.trust.secret import SECRET_BYTES_MIN
from chatproto.trust.sharing import SECRET_BYTES_MAX, read_secret


class SecretFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def write(self, secret: bytes, mode: int = 0o600) -> None:
        self.path.write_bytes(secret)
        os.chmod(self.path, mode)

    def refused(self) -> str:
        return str(self.assertRaises(TrustError, read_secret, str(self.path)))

    def test_white_space_around_it_is_not_of_it(self) -> None:
        self.write(b"\n correct horse battery staple \n")
        self.assertEqual(read_secret(str(self.path)), b"correct horse battery staple")

    def test_others_may_not_read_it(self) -> None:
        for mode in (0o640, 0o604, 0o620, 0o666):
            self.write(b"x" * 32, mode)
            self.assertIn(f"chmod 600 {self.path}", self.refused())

    def test_it_is_not_to_be_guessed(self) -> None:
        for length in (0, SECRET_BYTES_MIN - 1, SECRET_BYTES_MAX + 1):
            self.write(b"x" * length)
            self.assertIn("openssl rand", self.refused())
        for length in (SECRET_BYTES_MIN, SECRET_BYTES_MAX):
            self.write(b"x" * length)
            self.assertEqual(len(read_secret(str(self.path))), length)

    def test_one_that_is_not_there(self) -> None:
        self.assertIn("cannot read the secret", self.refused())
