from twisted.trial.unittest import SynchronousTestCase

from chatproto.wire import address_allowed, address_of, host_and_port
from chatproto.wire.addresses import join_tls, origin_of, speaks_tls, split_tls, without_tls


class AddressTests(SynchronousTestCase):
    def test_good(self) -> None:
        self.assertEqual(host_and_port("chat.example:4444"), ("chat.example", 4444))
        self.assertEqual(host_and_port("[::1]:1"), ("::1", 1))
        self.assertEqual(host_and_port("10.0.0.1:65535"), ("10.0.0.1", 65535))

    def test_bad(self) -> None:
        for address in ("", "host", ":4444", "host:", "host:0", "host:65536", "host:1234567", "host:x", "::1:4444"):
            self.assertIsNone(host_and_port(address), address)
        self.assertIsNone(host_and_port("host:٤"))

    def test_what_others_may_be_told(self) -> None:
        for address in ("chat.example:4444", "[::1]:1", "10.0.0.1:65535"):
            self.assertTrue(address_allowed(address), address)
        for address in (
            "",
            ":4545",
            "host:0",
            "host:65536",
            "host name:1",
            "bücher.example:1",
            "tcp\\:host:1",
            "[host]:1",
        ):
            self.assertFalse(address_allowed(address), address)

    def test_there_and_back(self) -> None:
        for host in ("chat.example", "10.0.0.1", "::1"):
            self.assertEqual(host_and_port(address_of(host, 4444)), (host, 4444))

    def test_whom_a_connection_counts_for(self) -> None:
        for host, origin in (
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::/64"),
            (":what:", ":what:"),
            ("", ""),
        ):
            self.assertEqual(origin_of(host), origin)

    def test_places_are_told_as_addresses_with_those_that_want_tls_beside(self) -> None:
        places = ["east:1", "tls:west:2", "tls:[::1]:3"]
        self.assertEqual(split_tls(places), (["east:1", "west:2", "[::1]:3"], ["west:2", "[::1]:3"]))
        self.assertEqual(join_tls(*split_tls(places)), places)
        self.assertEqual(join_tls(["east:1"], ["north:9"]), ["east:1"], "nobody was told of that one")
        self.assertEqual([*map(speaks_tls, places)], [False, True, True])
        self.assertEqual(without_tls("tls:west:2"), without_tls("west:2"))
