from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.passwords import COST_LOG2, NOBODY, PASSWORD_BYTES_MAX, matches, secret_of

SALT = bytes(range(16))


class PasswordTests(SynchronousTestCase):
    def test_the_vector_of_the_rfc(self) -> None:
        """RFC 7914, section 12: the first half of it, which a shorter key is."""
        secret = "scrypt$14$8$1$U29kaXVtQ2hsb3JpZGU=$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI="
        self.assertTrue(matches("pleaseletmein", secret))

    def test_there_and_back(self) -> None:
        secret = secret_of("ünïcode", SALT, 4)
        self.assertTrue(secret.startswith("scrypt$4$8$1$AAECAwQFBgcICQoLDA0ODw==$"))
        self.assertEqual([matches(tried, secret) for tried in ("ünïcode", "unicode", "")], [True, False, False])
        self.assertNotEqual(secret, secret_of("ünïcode", bytes(16), 4))

    def test_a_password_has_a_ceiling(self) -> None:
        longest = "x" * PASSWORD_BYTES_MAX
        secret = secret_of(longest, SALT, 4)
        self.assertEqual([matches(tried, secret) for tried in (longest, longest + "x")], [True, False])
        for password in ("", longest + "x"):
            self.assertRaises(ValueError, secret_of, password, SALT)

    def test_what_is_no_secret_is_of_no_password(self) -> None:
        for secret in ("", "x", "md5$1$8$1$AA==$AA==", "scrypt$x$8$1$AA==$AA==", "scrypt$40$8$1$AA==$AA=="):
            self.assertFalse(matches("", secret), secret)

    def test_nobody_costs_as_much_as_anybody(self) -> None:
        self.assertEqual(NOBODY.split("$")[1:4], secret_of("x", SALT).split("$")[1:4])
        self.assertEqual(COST_LOG2, 15)
        self.assertFalse(matches("", NOBODY))
