from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat import bans
from chatproto.chat.bans import Ban, Bans, is_address, network_of, origin_of

NOW, UNTIL = 1000.0, 2000.0


class NameTests(SynchronousTestCase):
    def test_an_address_has_one_form(self) -> None:
        for text, form in (
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("2001:DB8::1", "2001:db8::1"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
            ("::/0", "::/0"),
        ):
            self.assertEqual(network_of(text), form)
        for text in ("adel", "192.0.2.300", "192.0.2.0/33", "", "192.0.2"):
            self.assertRaises(ValueError, network_of, text)

    def test_what_a_machine_may_come_from(self) -> None:
        for text, origin in (
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8::1", "2001:db8::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("/run/chat", ""),
            (None, ""),
        ):
            self.assertEqual(origin_of(text), origin)

    def test_addresses_are_no_identities(self) -> None:
        self.assertEqual([is_address(text) for text in ("adel", "192.0.2.7", "::1", "::/0")], [False, True, True, True])


class BansTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bans = Bans([Ban("192.0.2.0/24", UNTIL), Ban("2001:db8::1", UNTIL), Ban("adel", UNTIL)])

    def banned(self, address: str, time: float = NOW) -> str | None:
        ban = self.bans.of_address(address, time)
        return ban.subject if ban is not None else None

    def test_addresses_and_networks(self) -> None:
        for address, subject in (
            ("192.0.2.7", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.0/24"),
            ("192.0.3.7", None),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8::2", None),
            ("not an address", None),
        ):
            self.assertEqual(self.banned(address), subject, address)
        self.assertIsNone(self.banned("192.0.2.7", UNTIL))

    def test_identities(self) -> None:
        self.assertEqual(self.bans.of("adel", NOW), Ban("adel", UNTIL))
        self.assertIsNone(self.bans.of("adel", UNTIL))
        self.assertIsNone(self.bans.of("beth", NOW))

    def test_one_within_another_that_has_ended(self) -> None:
        self.bans.add(Ban("192.0.2.7", NOW + 1), NOW)
        self.assertEqual(self.banned("192.0.2.7", NOW + 2), "192.0.2.0/24")

    def test_a_later_ban_is_in_place_of_the_earlier_one(self) -> None:
        self.assertTrue(self.bans.add(Ban("adel", 3000.0, "why", "zoe"), NOW))
        self.assertEqual(self.bans.of("adel", UNTIL), Ban("adel", 3000.0, "why", "zoe"))
        self.assertEqual(len(self.bans.all()), 3)

    def test_lifting(self) -> None:
        self.assertTrue(self.bans.add(Ban("192.0.3.0/24", UNTIL), NOW))
        for subject in ("192.0.2.0/24", "2001:db8::1", "adel"):
            self.assertTrue(self.bans.lift(subject))
            self.assertFalse(self.bans.lift(subject))
        self.assertEqual((self.banned("192.0.2.7"), self.banned("192.0.3.7")), (None, "192.0.3.0/24"))

    def test_what_has_ended_makes_room(self) -> None:
        self.patch(bans, "BANS_MAX", 3)
        self.assertFalse(self.bans.add(Ban("beth", 3000.0), NOW))
        self.assertEqual((len(self.bans.listed(NOW)), self.bans.listed(UNTIL)), (3, []))
        self.assertTrue(self.bans.add(Ban("beth", 3000.0), UNTIL))
        self.assertEqual(self.bans.all(), [Ban("beth", 3000.0)])
