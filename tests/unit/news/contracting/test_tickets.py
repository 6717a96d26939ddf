from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat import passwords
from chatproto.chat.passwords import SALT_BYTES, matches, token_hash
from chatproto.news.contracting import tickets
from chatproto.news.contracting.tickets import opening, ticket_if_right

SALTS = bytes(range(2 * SALT_BYTES))


class TicketTests(SynchronousTestCase):
    def test_whoever_knows_the_password_has_the_ticket_made_again(self) -> None:
        opened, ticket = opening("ada", "secret", SALTS, 4)
        self.assertTrue(matches("secret", opened.secret))
        self.assertEqual(opened.ticket, token_hash(ticket))
        self.assertEqual(ticket_if_right("secret", opened.secret, opened.salt), ticket)
        self.assertEqual(ticket_if_right("guess", opened.secret, opened.salt), "")

    def test_what_is_kept_does_not_have_it(self) -> None:
        opened, ticket = opening("ada", "secret", SALTS, 4)
        self.assertNotIn(ticket, repr(opened))

    def test_nobody_has_none_however_the_password_is(self) -> None:
        self.patch(tickets, "NOBODY", passwords.secret_of("secret", b"salt", 4))
        self.assertEqual(ticket_if_right("secret", "", b""), "")

    def test_what_is_no_password(self) -> None:
        self.assertRaises(ValueError, opening, "ada", "", SALTS, 4)
