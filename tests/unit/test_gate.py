from twisted.trial.unittest import SynchronousTestCase

from chatproto.gate import REMEMBERED_MAX, TOLD_A_SECOND, TOLD_BURST, Gate, Limits
from chatproto.tally import Tally


class GateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tally = Tally()
        self.limits = Limits(connections_max=6, per_address_max=3, strangers_max=4)
        self.gate: Gate[str] = Gate("client", self.tally, lambda: self.limits)

    def test_without_limits_everybody_is_let_in(self) -> None:
        gate: Gate[int] = Gate("client", self.tally)
        self.assertEqual({gate.came(number, "10.0.0.1") for number in range(10_000)}, {None})
        self.assertEqual(len(gate.links), 10_000)

    def test_whoever_has_said_who_it_is_is_no_stranger(self) -> None:
        self.gate.came("a", "10.0.0.1")
        self.assertFalse(self.gate.knows("a"))
        self.gate.introduced("a")
        self.gate.introduced("a")
        self.assertTrue(self.gate.knows("a"))

    def test_strangers_go_in_the_order_they_came(self) -> None:
        for number in range(4):
            self.assertIsNone(self.gate.came(f"stranger{number}", f"10.0.0.{number}"))
        self.gate.introduced("stranger0")
        self.assertIsNone(self.gate.came("stranger4", None))
        self.assertEqual(self.gate.came("stranger5", None), ("stranger1", "crowded-out"))
        # It takes its time to go, and is no stranger that anybody else could be let in for.
        self.gate.went("stranger0")
        self.assertEqual(self.gate.came("stranger6", None), ("stranger2", "crowded-out"))

    def test_no_stranger_at_all(self) -> None:
        self.limits = Limits(strangers_max=0)
        self.assertEqual(self.gate.came("a", None), ("a", "crowded-out"))

    def test_so_many_in_all(self) -> None:
        for number in range(6):
            self.assertIsNone(self.gate.came(f"known{number}", None))
            self.gate.introduced(f"known{number}")
        self.assertEqual(self.gate.came("late", None), ("late", "full"))
        self.gate.went("late")
        self.gate.went("known0")
        self.assertIsNone(self.gate.came("stranger", None))
        self.assertEqual(self.gate.came("later", None), ("stranger", "full"))

    def test_so_many_from_one_address(self) -> None:
        for number in range(3):
            self.assertIsNone(self.gate.came(f"a{number}", "10.0.0.1"))
        self.assertEqual(self.gate.came("a3", "10.0.0.1"), ("a3", "too-many-from-address"))
        self.assertIsNone(self.gate.came("b0", "10.0.0.2"))
        self.gate.went("a3")
        self.gate.went("a0")
        self.assertIsNone(self.gate.came("a4", "10.0.0.1"))

    def test_an_address_may_come_so_often(self) -> None:
        self.limits = Limits(arrivals_a_second=2, arrivals_at_once=3)
        self.assertEqual([self.gate.admits("10.0.0.1", 1.0) for _ in range(5)], [True] * 3 + [False] * 2)
        self.assertTrue(self.gate.admits("10.0.0.2", 1.0))
        self.assertEqual([self.gate.admits("10.0.0.1", 1.5) for _ in range(2)], [True, False])
        self.assertEqual(self.tally.dropped, {("client", "too-often-from-address"): 3})

    def test_without_limits_an_address_may_come_as_often_as_it_likes(self) -> None:
        gate: Gate[int] = Gate("client", self.tally)
        self.assertTrue(all(gate.admits("10.0.0.1", 1.0) for _ in range(10_000)))

    def test_who_goes_and_comes_again_has_not_everything_anew(self) -> None:
        self.limits = Limits(arrivals_a_second=1, arrivals_at_once=2, lines_a_second=10, lines_at_once=50)
        for name in "ab":
            self.assertTrue(self.gate.admits("10.0.0.1", 1.0))
            self.gate.came(name, "10.0.0.1")
        lines = self.gate.links["a"].lines  # type: ignore[union-attr]
        self.assertIs(self.gate.links["b"].lines, lines)  # type: ignore[union-attr]
        lines.take(50, 1.0)
        self.gate.went("a")
        self.gate.went("b")
        self.assertFalse(self.gate.admits("10.0.0.1", 1.0))
        self.gate.came("c", "10.0.0.1")
        self.assertIs(self.gate.links["c"].lines, lines)  # type: ignore[union-attr]
        self.gate.came("d", "10.0.0.2")
        self.assertEqual(self.gate.links["d"].lines.there(1.0), 50)  # type: ignore[union-attr]

    def test_rates_may_change(self) -> None:
        self.limits = Limits(lines_a_second=10, lines_at_once=50)
        self.gate.came("a", "10.0.0.1")
        lines = self.gate.links["a"].lines  # type: ignore[union-attr]
        lines.take(50, 1.0)
        self.limits = Limits(lines_a_second=20, lines_at_once=100)
        self.gate.came("b", "10.0.0.1")
        self.assertEqual((lines.there(2.0), lines.there(9.0)), (20, 100))

    def test_so_many_addresses_are_remembered(self) -> None:
        self.limits = Limits(arrivals_a_second=1, arrivals_at_once=1)
        for number in range(REMEMBERED_MAX + 1):
            self.gate.admits(f"10.1.{number >> 8}.{number & 255}", 1.0)
        self.assertTrue(self.gate.admits("10.1.0.0", 1.0), "the first is forgotten")
        self.assertEqual(len(self.gate._remembered), REMEMBERED_MAX)
        self.assertFalse(self.gate.admits("10.1.0.2", 1.0))

    def test_one_network_of_ipv6_is_one_address(self) -> None:
        for number in range(3):
            self.assertIsNone(self.gate.came(f"a{number}", f"2001:db8::{number}"))
        self.assertEqual(self.gate.came("a3", "2001:db8::9:9"), ("a3", "too-many-from-address"))

    def test_whoever_has_gone_leaves_nothing(self) -> None:
        for host in (None, "10.0.0.1", "10.0.0.1", "::1"):
            self.gate.came(f"from {host}", host)
            self.gate.went(f"from {host}")
        self.gate.went("nobody")
        self.assertEqual((self.gate.links, self.gate._origins, self.gate._strangers), ({}, {}, {}))
        self.assertEqual(self.gate._remembered.keys(), {"10.0.0.1", "::/64"})

    def test_limits_within_others(self) -> None:
        for most, within, found in ((10, 0, 10), (10, 20, 10), (10, 10, 10), (10, 5, 5), (0, 5, 5), (0, 0, 0)):
            limits = Limits(most, 7).within(within)
            self.assertEqual((limits.connections_max, limits.per_address_max), (found, 7))

    def test_limits_may_change(self) -> None:
        self.gate.came("a", "10.0.0.1")
        self.limits = Limits(per_address_max=1)
        self.assertEqual(self.gate.came("b", "10.0.0.1"), ("b", "too-many-from-address"))


class DropTests(SynchronousTestCase):
    def test_every_drop_is_counted_and_the_first_ones_are_told(self) -> None:
        tally = Tally()
        gate: Gate[str] = Gate("peer", tally)
        told = [gate.drop("silent", 100.0) for _ in range(1000)]
        self.assertEqual((sum(told), told[:TOLD_BURST]), (TOLD_BURST, [True] * TOLD_BURST))
        self.assertTrue(gate.drop("stranger", 100.0))
        self.assertEqual(tally.dropped, {("peer", "silent"): 1000, ("peer", "stranger"): 1})
        later = 100.0 + 1 / TOLD_A_SECOND
        self.assertEqual([gate.drop("silent", later) for _ in range(3)], [True, False, False])
