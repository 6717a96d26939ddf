import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.datagrams.messages import COOKIE_BYTES, NO_COOKIE, PROOF_BYTES, Leave, Listen, Pull
from chatproto.news.datagrams.proof import COOKIE_S_MAX, Cookies, is_signed, signed
from tests.unit.news.datagrams.rig import CONVERSATION, KEY

HERE, THERE = ("10.0.0.1", 5000), ("10.0.0.2", 5000)


class CookieTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cookies = Cookies(b"secret")
        self.cookie = self.cookies.issue(HERE, 7.25)

    def test_its_own_is_known_again(self) -> None:
        self.assertEqual(len(self.cookie), COOKIE_BYTES)
        self.assertEqual(self.cookies.issued_at(self.cookie, HERE, 8.0), 7_250_000)

    def test_only_for_the_address_it_was_sent_to(self) -> None:
        for address in (THERE, ("10.0.0.1", 5001)):
            self.assertIsNone(self.cookies.issued_at(self.cookie, address, 8.0))

    def test_only_in_the_life_it_was_made_in(self) -> None:
        self.assertIsNone(Cookies(b"another").issued_at(self.cookie, HERE, 8.0))

    def test_not_for_ever(self) -> None:
        self.assertIsNotNone(self.cookies.issued_at(self.cookie, HERE, 7.25 + COOKIE_S_MAX))
        self.assertIsNone(self.cookies.issued_at(self.cookie, HERE, 7.26 + COOKIE_S_MAX))

    def test_nothing_else_is_one(self) -> None:
        for wrong in (NO_COOKIE, b"", self.cookie + b"x", b"\xff" + self.cookie[1:]):
            self.assertIsNone(self.cookies.issued_at(wrong, HERE, 8.0))


class ProofTests(SynchronousTestCase):
    def test_who_has_the_ticket_has_signed(self) -> None:
        for request in (Listen("r", NO_COOKIE, 1, b""), Leave("r", NO_COOKIE, 1, b"")):
            done = signed(request, KEY, CONVERSATION)
            self.assertEqual(len(done.proof), PROOF_BYTES)
            self.assertTrue(is_signed(done, KEY, CONVERSATION))

    def test_what_is_said_is_signed_too(self) -> None:
        """Of one kind of request nobody makes another."""
        listens, leaves = Listen("r", NO_COOKIE, 1, b""), Leave("r", NO_COOKIE, 1, b"")
        proof = signed(listens, KEY, CONVERSATION).proof
        self.assertFalse(is_signed(msgspec.structs.replace(leaves, proof=proof), KEY, CONVERSATION))

    @given(st.sampled_from(["reader", "cookie", "serial", "after", "count"]))
    def test_nothing_can_be_changed(self, field: str) -> None:
        done = signed(Pull("r", NO_COOKIE, 1, b"", 5, 6), KEY, CONVERSATION)
        other = {"reader": "s", "cookie": bytes(23) + b"x", "serial": 2, "after": 0, "count": 7}[field]
        self.assertFalse(is_signed(msgspec.structs.replace(done, **{field: other}), KEY, CONVERSATION))
        self.assertFalse(is_signed(done, KEY, b"87654321"))
        self.assertFalse(is_signed(done, KEY[:-1], CONVERSATION))
