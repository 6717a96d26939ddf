from twisted.trial.unittest import SynchronousTestCase

from chatproto.trust.endpoints import (
    dials_beyond,
    host_for_tls,
    listens_beyond,
    listens_with_tls,
    of_this_machine,
    plain,
)


class EndpointTests(SynchronousTestCase):
    def test_hosts_that_can_only_be_this_machine(self) -> None:
        for host in ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"):
            self.assertTrue(of_this_machine(host), host)
        for host in ("", "0.0.0.0", "::", "10.0.0.1", "one.example", "localhost.example"):
            self.assertFalse(of_this_machine(host), host)

    def test_what_others_may_reach(self) -> None:
        for description in (
            "tcp:4545:interface=127.0.0.1",
            "tcp:interface=127.0.0.1:port=4545",
            r"tcp6:4545:interface=\:\:1",
            "ssl:4545:interface=localhost",
            "unix:/run/chat/peer",
        ):
            self.assertFalse(listens_beyond(description), description)
        for description in (
            "tcp:4545",
            "tcp:4545:interface=10.0.0.1",
            "tcp6:4545",
            "tcp:4545:interface=0.0.0.0",
            "systemd:domain=INET:index=0",
            "nonsense",
        ):
            self.assertTrue(listens_beyond(description), description)

    def test_what_leads_elsewhere(self) -> None:
        for description in ("tcp:127.0.0.1:4545", "tcp:host=localhost:port=1", r"tcp:\:\:1:4545", "unix:/run/peer"):
            self.assertFalse(dials_beyond(description), description)
        for description in ("tcp:one.example:4545", "tcp:host=10.0.0.1:port=1", "tcp", "srv:chat.example"):
            self.assertTrue(dials_beyond(description), description)

    def test_tls_without_a_key_of_its_own_wants_the_nodes(self) -> None:
        self.assertEqual(plain("ssl:4444:interface=10.0.0.1"), "tcp:4444:interface=10.0.0.1")
        self.assertEqual(plain(r"ssl:4444:interface=\:\:1"), r"tcp:4444:interface=\:\:1")
        for description in ("ssl:4444:privateKey=a:certKey=b", "ssl:4444:certKey=b", "tcp:4444", "tls:/etc/tls"):
            self.assertIsNone(plain(description))

    def test_who_speaks_tls_with_clients(self) -> None:
        self.assertEqual([*map(listens_with_tls, ("ssl:4444", "tls:/etc/tls", "tcp:4444"))], [True, True, False])

    def test_whom_a_client_wants_to_reach_with_tls(self) -> None:
        self.assertEqual(host_for_tls("tls:one.example:4444"), "one.example")
        self.assertEqual(host_for_tls(r"tls:\:\:1:4444:timeout=3"), "::1")
        self.assertEqual(host_for_tls("tls:host=one:port=4"), "one")
        for description in ("tcp:one:4", "tls:one:4:trustRoots=/etc/tls", "tls:one:4:certificate=a", "tls"):
            self.assertIsNone(host_for_tls(description), description)
