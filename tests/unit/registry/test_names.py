from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.registry.names import (
    ADDRESS_CHARS_MAX,
    ATTRIBUTES_BYTES_MAX,
    ATTRIBUTES_MAX,
    CAPACITY_MAX,
    LATE_S_MAX,
    LEASE_S_MAX,
    REASONS,
    REGISTRATIONS_MAX,
    TOKEN_BYTES_MAX,
    Names,
    Refusal,
    Registration,
)

LEASE = 3.0
OURS, THEIRS = b"ours", b"theirs"
EAST = Registration("chat", "east", address="east:4444", role="leader", epoch=3)
WEST = Registration("chat", "west", address="west:4444", role="follower", epoch=3)
NEWS = Registration("news", "north", kind="news")

names = st.sampled_from(("chat", "east", "-", ""))
registrations = st.builds(
    Registration,
    service=names,
    name=names,
    kind=names,
    address=st.sampled_from(("", "east:4444", "east")) | st.text(),
    role=names,
    epoch=st.integers(),
    capacity=st.integers(),
    attributes=st.dictionaries(names | st.text(), st.text()),
    lease_s=st.floats(),
)


class NamesTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.names = Names()

    def refused(self, code: str, call: Any, *arguments: Any, **named: Any) -> None:
        """Check that something is refused, and that nothing is changed by it."""
        before = self.names.kept()
        with self.assertRaises(Refusal) as caught:
            call(*arguments, **named)
        self.assertEqual((caught.exception.code, self.names.kept()), (code, before))
        self.assertIn(REASONS[code], str(caught.exception))


class RegisterTests(NamesTestCase):
    def test_what_is_registered_is_found(self) -> None:
        self.assertTrue(self.names.register(EAST, OURS, 0))
        self.assertEqual((self.names.resolve("chat", "east"), self.names.list()), (EAST, [EAST]))

    def test_the_same_again_is_no_change_and_renews_the_lease(self) -> None:
        self.names.register(EAST, OURS, 0)
        self.assertFalse(self.names.register(EAST, OURS, 2))
        self.assertEqual(self.names.next_wakeup(), 2 + LEASE)

    def test_the_same_token_replaces_it(self) -> None:
        """That is how a stand-in registers in its place."""
        self.names.register(EAST, OURS, 0)
        stand_in = Registration("chat", "east", address="stand-in:4444")
        self.assertTrue(self.names.register(stand_in, OURS, 1))
        self.assertEqual(self.names.list(), [stand_in])

    def test_another_token_is_refused_until_the_lease_is_over(self) -> None:
        self.names.register(EAST, OURS, 0)
        self.refused("taken", self.names.register, EAST, THEIRS, LEASE - 0.01)
        self.assertTrue(self.names.register(WEST, OURS, 0))
        self.names.register(EAST, THEIRS, LEASE)
        self.refused("taken", self.names.register, EAST, OURS, LEASE)

    def test_the_same_name_in_another_service_is_another_name(self) -> None:
        self.names.register(EAST, OURS, 0)
        self.names.register(Registration("news", "east"), THEIRS, 0)
        self.assertEqual(len(self.names.list()), 2)

    def test_so_many_and_no_more(self) -> None:
        for number in range(REGISTRATIONS_MAX):
            self.names.register(Registration("chat", f"node{number}"), OURS, 0)
        self.refused("full", self.names.register, EAST, OURS, 0)
        self.names.register(Registration("chat", "node0", role="leader"), OURS, 0)
        self.names.withdraw("chat", "node1", OURS)
        self.names.register(EAST, OURS, 0)

    def test_the_token_itself_is_kept_nowhere(self) -> None:
        self.names.register(EAST, b"a secret of ours", 0)
        self.assertNotIn(b"a secret of ours", repr(self.names.kept()).encode())


class AllowedTests(NamesTestCase):
    def refuses(self, code: str, **fields: Any) -> None:
        given = {"service": "chat", "name": "east", **fields}
        self.refused(code, self.names.register, Registration(**given), OURS, 0)

    def takes(self, **fields: Any) -> None:
        self.names.register(Registration(**{"service": "chat", "name": "east", **fields}), OURS, 0)

    def test_names(self) -> None:
        for foul in ("", "a b", "-a", "é", "a\n", "a" * 65):
            for field in ("service", "name", "kind"):
                self.refuses("bad-name", **{field: foul})
            self.refuses("bad-name", attributes={foul: "x"})
            if foul:
                self.refuses("bad-name", role=foul)
        self.takes(kind="a" * 64, role="", attributes={"a" * 64: ""})

    def test_addresses(self) -> None:
        for foul in ("east", ":4444", "east:0", "east:x", "::1:4444", "a b:1", "a\n:1", "é:1", "a" * 256 + ":1"):
            self.refuses("bad-address", address=foul)
        for fair in ("", "east:4444", "[::1]:4444", "a" * (ADDRESS_CHARS_MAX - 2) + ":1"):
            self.takes(address=fair)

    def test_numbers(self) -> None:
        nan = float("nan")
        for foul in ({"epoch": -1}, {"epoch": 2**63}, {"capacity": -1}, {"capacity": CAPACITY_MAX + 1}):
            self.refuses("bad-number", **foul)
        for lease in (0.0, -1.0, LEASE_S_MAX + 1, nan, float("inf")):
            self.refuses("bad-number", lease_s=lease)
        self.takes(epoch=2**63 - 1, capacity=CAPACITY_MAX, lease_s=LEASE_S_MAX)

    def test_attributes(self) -> None:
        self.refuses("bad-attributes", attributes={f"key{number}": "" for number in range(ATTRIBUTES_MAX + 1)})
        self.refuses("bad-attributes", attributes={"key": "x" * (ATTRIBUTES_BYTES_MAX - 2)})
        self.refuses("bad-attributes", attributes={"key": "é" * (ATTRIBUTES_BYTES_MAX // 2)})
        self.takes(attributes={f"key{number}": "" for number in range(ATTRIBUTES_MAX)})
        self.takes(attributes={"key": "x" * (ATTRIBUTES_BYTES_MAX - 3)})

    def test_tokens(self) -> None:
        for foul in (b"", b"x" * (TOKEN_BYTES_MAX + 1)):
            self.refused("bad-token", self.names.register, EAST, foul, 0)
        self.names.register(EAST, b"x" * TOKEN_BYTES_MAX, 0)

    @given(registrations, st.binary(max_size=300))
    def test_anything_is_held_or_refused_by_a_known_code(self, registration: Registration, token: bytes) -> None:
        names = Names()
        try:
            names.register(registration, token, 0)
        except Refusal as refusal:
            self.assertIn(refusal.code, REASONS)
            self.assertEqual(names.list(), [])
        else:
            self.assertEqual(names.list(), [registration])


class LeaseTests(NamesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.names.register(EAST, OURS, 0)

    def test_it_is_over_unless_it_is_renewed(self) -> None:
        self.assertEqual((self.names.next_wakeup(), self.names.tick(LEASE - 0.01)), (LEASE, []))
        self.assertEqual(self.names.tick(LEASE), [EAST])
        self.assertEqual((self.names.list(), self.names.next_wakeup()), ([], None))

    def test_renewed_it_lasts(self) -> None:
        self.names.renew("chat", "east", OURS, 2)
        self.assertEqual((self.names.tick(LEASE), self.names.next_wakeup()), ([], 2 + LEASE))

    def test_of_several_the_first_one_wakes(self) -> None:
        self.names.register(WEST, OURS, 1)
        self.assertEqual(self.names.next_wakeup(), LEASE)
        self.assertEqual(self.names.tick(LEASE), [EAST])
        self.assertEqual(self.names.next_wakeup(), 1 + LEASE)

    def test_a_stale_lease_is_not_renewed(self) -> None:
        self.refused("lease-over", self.names.renew, "chat", "east", OURS, LEASE)
        self.names.tick(LEASE)
        self.refused("lease-over", self.names.renew, "chat", "east", OURS, LEASE)
        self.refused("lease-over", self.names.renew, "chat", "west", OURS, 0)

    def test_a_wrong_token_renews_nothing(self) -> None:
        self.refused("wrong-token", self.names.renew, "chat", "east", THEIRS, 1)
        self.assertEqual(self.names.next_wakeup(), LEASE)

    def test_a_registry_that_stood_still_gives_everybody_time(self) -> None:
        self.names.register(WEST, OURS, 2)
        self.assertEqual(self.names.tick(100), [])
        self.names.renew("chat", "east", OURS, 100)
        self.assertEqual(self.names.tick(100 + LATE_S_MAX), [])
        self.assertEqual(self.names.tick(102 + LATE_S_MAX), [WEST])

    def test_after_a_restart_leases_count_anew(self) -> None:
        self.names.register(WEST, THEIRS, 1)
        again = Names()
        again.restore(self.names.kept(), 50)
        self.assertEqual((again.list(), again.next_wakeup()), ([EAST, WEST], 50 + LEASE))
        again.renew("chat", "east", OURS, 51)
        with self.assertRaises(Refusal):
            again.renew("chat", "west", OURS, 51)


class WithdrawTests(NamesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.names.register(EAST, OURS, 0)

    def test_it_is_gone_at_once(self) -> None:
        self.assertEqual(self.names.withdraw("chat", "east", OURS), EAST)
        self.assertEqual(self.names.list(), [])
        self.names.register(EAST, THEIRS, 0)

    def test_not_with_a_wrong_token(self) -> None:
        self.refused("wrong-token", self.names.withdraw, "chat", "east", THEIRS)

    def test_not_what_is_not_there(self) -> None:
        self.refused("no-such-name", self.names.withdraw, "chat", "west", OURS)


class LookupTests(NamesTestCase):
    def setUp(self) -> None:
        super().setUp()
        for number, registration in enumerate((WEST, NEWS, EAST)):
            self.names.register(registration, b"token %d" % number, 0)

    def test_by_name(self) -> None:
        self.assertEqual(self.names.resolve("news", "north"), NEWS)
        self.refused("no-such-name", self.names.resolve, "chat", "north")

    def test_the_leader_of_a_service(self) -> None:
        self.assertEqual(self.names.resolve("chat"), EAST)
        self.refused("no-leader", self.names.resolve, "news")
        self.refused("no-such-name", self.names.resolve, "mail")

    def test_of_two_leaders_the_one_with_the_higher_epoch(self) -> None:
        """One that was killed is listed as the leader until its lease is over."""
        taken_over = Registration("chat", "west", role="leader", epoch=4)
        self.names.register(taken_over, b"token 0", 0)
        self.assertEqual(self.names.resolve("chat"), taken_over)

    def test_yellow_pages(self) -> None:
        listed = self.names.list
        self.assertEqual(listed(), [EAST, WEST, NEWS])
        self.assertEqual(listed(service="chat"), [EAST, WEST])
        self.assertEqual(listed(kind="news"), [NEWS])
        self.assertEqual(listed(service="chat", role="follower"), [WEST])
        self.assertEqual(listed(service="chat", kind="news"), [])
