"""Tests for chatproto.services.migration: when a server's place is moved, when it is not, and what is undone then."""

import random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import MigrationFailed, RegistryError
from chatproto.pair.log import PairSettings
from chatproto.pair.replica import Follower
from chatproto.registry import Registration
from chatproto.services.draining import LAG_S, SPREAD_S_MIN
from chatproto.services.migration import (
    JOIN_S_MAX,
    LEAVE_S_MAX,
    LOOK_EVERY_S,
    RETIRE_S_MAX,
    SERVE_S_MAX,
    STALL_S_MAX,
    MigrationService,
    Moved,
)
from chatproto.world import World


class FakeReplica:
    leads = True

    def __init__(self) -> None:
        self.followers: dict[str, Follower] = {}


class FakePair:
    """The node's log, as far as a migration goes.

    Attributes:
        did: what it was asked for, in order.
        willing: whether it can invite anybody.
    """

    leader = "east"
    role = "leader"
    epoch = 4
    left_over = False
    willing = True

    def __init__(self, did: list[Any]) -> None:
        self.settings = PairSettings("east", "tea", advertise="east:4545")
        self.replica = FakeReplica()
        self.moving = self
        self.did = did

    def invite(self, name: str, address: str) -> bool:
        self.did.append(("invite", name, address))
        return self.willing

    def withdraw(self) -> None:
        self.did.append("withdraw")

    def retire(self) -> None:
        self.did.append("retire")
        self.left_over = False

    def follow(self, name: str, match: int) -> None:
        """Have a node follow, with so much."""
        self.replica.followers[name] = Follower(name, 0.0, match=match)

    def led_by(self, leader: str) -> None:
        """Have another node lead."""
        self.leader, self.role, self.replica.leads = leader, "follower", False
        self.epoch += 1


class FakeExodus:
    """The node's clients, who go when they are parted from."""

    elsewhere = True
    connected = 10
    parted = 0

    def __init__(self, did: list[Any]) -> None:
        self.did = did

    def begin(self, reason: str) -> None:
        self.did.append(f"begin {reason}")

    def send_away(self, within_ms: int) -> None:
        self.did.append(("send away", within_ms))

    def part(self, share: float) -> None:
        self.did.append("part")

    def part_from_all(self) -> None:
        self.did.append("part from all")
        self.parted, self.connected = self.connected, 0

    def end(self) -> None:
        self.did.append("end")


class FakeServer:
    def __init__(self, did: list[Any]) -> None:
        self.exodus = FakeExodus(did)
        self.changed: Any = None

    def watch(self, changed: Any) -> None:
        self.changed = changed


class FakeLink:
    def __init__(self, links: dict["FakeLink", None]) -> None:
        self.links = links

    def drop(self, reason: str) -> None:
        del self.links[self]


class FakeFactory:
    def __init__(self) -> None:
        self.links: dict[FakeLink, None] = {}


class FakeClient:
    """The registry's; `found` is what it says, None for nothing."""

    def __init__(self) -> None:
        self.found: list[Registration] | None = [standby("north")]
        self.asked: list[dict[str, str]] = []
        self.waiting: Deferred[list[Registration]] | None = None

    def list(self, **wanted: str) -> "Deferred[list[Registration]]":
        self.asked.append(wanted)
        if self.waiting is not None:
            return self.waiting
        return fail(RegistryError("nobody is there")) if self.found is None else succeed(self.found)


def standby(name: str, **attributes: str) -> Registration:
    attributes = attributes or {"peer": f"{name}:4545"}
    return Registration("tea", name, "chat", f"{name}:4444", "standby", attributes=attributes)


class MigrationTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.did: list[Any] = []
        self.pair = FakePair(self.did)
        self.server = FakeServer(self.did)
        self.factory = FakeFactory()
        self.client = FakeClient()
        self.service = self.make()

    def make(self, every_s: float = 0.0) -> MigrationService:
        world = World(
            clock=self.clock,  # type: ignore[arg-type]
            now=self.clock.seconds,
            dice=random.Random(1),
            server=lambda description: None,  # type: ignore[arg-type,return-value]
            client=lambda description: None,  # type: ignore[arg-type,return-value]
            store=lambda directory, failed: None,  # type: ignore[arg-type,return-value]
            fatal=self.fail,
            secret=str,
        )
        outside: tuple[Any, ...] = (self.pair, self.server, self.factory, self.client)
        service = MigrationService(world, *outside, every_s)
        service.startService()
        return service

    def wait(self, seconds: float) -> None:
        self.clock.pump([LOOK_EVERY_S] * round(seconds / LOOK_EVERY_S))

    def refused(self, moving: "Deferred[Moved]") -> str:
        """Return why a move was refused, or given up."""
        self.assertFalse(self.service.moving)
        return str(self.failureResultOf(moving, MigrationFailed).value)

    def hand_over(self) -> "Deferred[Moved]":
        """Move to North, until that leads."""
        moving = self.service.migrate()
        self.pair.follow("north", 5)
        self.wait(0.5)
        self.pair.led_by("north")
        return moving


class RefusalTests(MigrationTestCase):
    def check(self, *words: str, to: str = "") -> None:
        why = self.refused(self.service.migrate(to))
        for word in words:
            self.assertIn(word, why)
        self.assertEqual((self.did, self.clock.getDelayedCalls()), ([], []), "nothing was begun")

    def test_a_server_that_does_not_lead(self) -> None:
        self.pair.led_by("west")
        self.check("west leads")
        self.pair.leader = ""
        self.check("this server does not lead")
        self.assertEqual(self.client.asked, [])

    def test_the_registry_does_not_answer(self) -> None:
        self.client.found = None
        self.check("the registry does not say who stands by", "nobody is there")

    def test_nobody_stands_by(self) -> None:
        for found in ([], [standby("north", http="north:80")], [standby("north", peer="north:0")]):
            self.client.found = found
            self.check("nobody stands by")
        self.assertEqual(self.client.asked[0], {"service": "tea", "role": "standby"})

    def test_a_server_that_nobody_could_be_told_of(self) -> None:
        self.pair.settings = PairSettings("east", "tea")
        self.check("--peer-advertise")
        self.assertEqual(self.client.asked, [])

    def test_the_one_that_is_named_does_not(self) -> None:
        self.check("south does not stand by", to="south")

    def test_while_another_one_is_under_way(self) -> None:
        self.client.waiting = Deferred()
        first = self.service.migrate()
        why = self.failureResultOf(self.service.migrate(), MigrationFailed)
        self.assertIn("under way", str(why.value))
        self.assertTrue(self.service.moving)
        self.client.waiting.callback([])
        self.assertIn("nobody", self.refused(first))

    def test_the_log_invites_nobody_now(self) -> None:
        self.pair.willing = False
        self.assertIn("another change is under way", self.refused(self.service.migrate()))
        self.assertEqual(self.did, [("invite", "north", "north:4545")], "what it has not given is not taken back")


class GivenUpTests(MigrationTestCase):
    def check(self, moving: "Deferred[Moved]", why: str) -> None:
        """See that a move was given up, and that whoever was invited is not any more."""
        self.assertIn(why, self.refused(moving))
        self.assertEqual(self.did, [("invite", "north", "north:4545"), "withdraw"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_does_not_follow(self) -> None:
        moving = self.service.migrate("north")
        self.wait(JOIN_S_MAX - 0.1)
        self.assertNoResult(moving)
        self.wait(0.2)
        self.check(moving, "north does not follow: this node leads as before")

    def test_one_that_follows_and_stalls(self) -> None:
        for match in (0, 1000):
            with self.subTest(match=match):
                self.setUp()
                moving = self.service.migrate()
                self.wait(JOIN_S_MAX - 0.1)
                self.pair.follow("north", match)
                self.wait(STALL_S_MAX - 0.1)
                self.assertNoResult(moving)
                self.wait(0.2)
                self.check(moving, "north does not follow")

    def test_not_one_that_gets_on_however_slowly(self) -> None:
        moving = self.service.migrate()
        for match in range(20):
            self.pair.follow("north", match)
            self.wait(STALL_S_MAX - 0.1)
        self.assertNoResult(moving)
        self.pair.replica.followers.clear()
        self.wait(STALL_S_MAX + 0.1)
        self.check(moving, "north does not follow")

    def test_leading_is_over_before(self) -> None:
        moving = self.service.migrate()
        self.pair.led_by("west")
        self.wait(0.1)
        self.check(moving, "leads no more, before north could lead")

    def test_the_server_is_stopped_before(self) -> None:
        moving = self.service.migrate()
        self.service.stopService()
        self.wait(0.1)
        self.check(moving, "was stopped")

    def test_and_it_can_be_tried_again(self) -> None:
        self.service.migrate().addErrback(lambda failure: None)
        self.wait(JOIN_S_MAX + 0.1)
        moving = self.hand_over()
        self.wait(3)
        self.pair.role = "standby"
        self.wait(0.1)
        self.assertIsInstance(self.successResultOf(moving), Moved)


class MovingTests(MigrationTestCase):
    def test_clients_go_and_then_the_server_stands_by(self) -> None:
        moving = self.hand_over()
        self.wait(3)
        self.assertNoResult(moving)
        self.assertEqual(self.did[-1], "retire")
        self.assertTrue(self.service.moving)
        self.pair.role = "standby"
        self.wait(LOOK_EVERY_S)
        moved = self.successResultOf(moving)
        self.assertEqual((moved.to, moved.epoch, moved.clients, moved.parted), ("north", 5, 10, 10))
        self.assertAlmostEqual(moved.learning_s, 0.5, 1)
        self.assertAlmostEqual(moved.moving_s, SPREAD_S_MIN + LAG_S, 1)
        self.assertIn("north leads since epoch 5", str(moved))
        steps = [step for at, step in enumerate(self.did) if step != self.did[at - 1]]
        self.assertEqual(
            steps,
            [
                ("invite", "north", "north:4545"),
                "begin migrating",
                ("send away", int(SPREAD_S_MIN * 1000)),
                "part",
                "part from all",
                "retire",
                "end",
            ],
        )
        self.assertEqual((self.service.moving, self.clock.getDelayedCalls()), (False, []))

    def test_whoever_goes_alone_is_not_parted_from(self) -> None:
        moving = self.hand_over()
        self.server.exodus.connected = 10
        self.wait(0.05)
        self.server.exodus.connected = 0
        self.wait(LOOK_EVERY_S)
        self.pair.role = "standby"
        self.wait(0.1)
        moved = self.successResultOf(moving)
        self.assertEqual(moved.parted, 0)
        self.assertLess(moved.moving_s, 0.1)

    def test_nobody_is_sent_away_before_the_new_leader_serves(self) -> None:
        self.server.exodus.elsewhere = False
        self.hand_over()
        self.wait(SERVE_S_MAX - 0.1)
        self.assertEqual(self.did[-1], "begin migrating")
        self.server.exodus.elsewhere = True
        self.wait(2 * LOOK_EVERY_S)
        self.assertIn(("send away", int(SPREAD_S_MIN * 1000)), self.did)

    def test_nor_is_that_waited_for_for_ever(self) -> None:
        self.server.exodus.elsewhere = False
        self.hand_over()
        self.wait(SERVE_S_MAX + 0.1)
        self.assertIn(("send away", int(SPREAD_S_MIN * 1000)), self.did)

    def test_connections_that_take_nothing_are_aborted(self) -> None:
        links = self.factory.links
        links[FakeLink(links)] = None
        self.hand_over()
        self.wait(SPREAD_S_MIN + LAG_S + LEAVE_S_MAX - 0.1)
        self.assertEqual((len(links), self.did[-1]), (1, "part from all"))
        self.wait(0.2)
        self.assertEqual((links, self.did[-1]), ({}, "retire"))

    def test_a_new_leader_that_is_lost_at_once(self) -> None:
        moving = self.hand_over()
        self.wait(3)
        self.pair.replica.leads = True
        self.wait(LOOK_EVERY_S)
        self.assertIn("this node leads", self.refused(moving))
        self.assertEqual(self.did[-2:], ["retire", "end"], "and lets clients in again")

    def test_one_that_does_not_let_the_server_go_yet(self) -> None:
        moving = self.hand_over()
        self.wait(3 + RETIRE_S_MAX)
        why = self.refused(moving)
        self.assertIn("north leads; this node stands by as soon as", why)
        self.assertEqual((self.did.count("withdraw"), self.did[-1]), (0, "end"))

    def test_what_is_left_of_one_that_was_broken_off_is_done(self) -> None:
        self.pair.led_by("north")
        self.pair.left_over = True
        self.server.changed()
        self.assertTrue(self.service.moving)
        self.wait(3)
        self.assertEqual([self.did[0], self.did[-1]], ["begin migrating", "retire"])
        self.pair.role = "standby"
        self.wait(0.1)
        self.assertEqual((self.service.moving, self.did[-1]), (False, "end"))

    def test_if_that_fails_it_is_tried_again(self) -> None:
        self.pair.led_by("north")
        self.pair.left_over = True
        self.server.changed()
        self.wait(3 + RETIRE_S_MAX)
        self.assertFalse(self.service.moving)
        self.pair.left_over = True
        self.server.changed()
        self.assertEqual((self.service.moving, self.did.count("begin migrating")), (True, 2))

    def test_not_once_it_is_stopped(self) -> None:
        self.service.stopService()
        self.pair.left_over = True
        self.server.changed()
        self.assertEqual((self.service.moving, self.did), (False, []))


class EveryTests(MigrationTestCase):
    EVERY_S = 60.0

    def setUp(self) -> None:
        super().setUp()
        self.service = self.make(self.EVERY_S)

    @property
    def invited(self) -> int:
        return sum(step[0] == "invite" for step in self.did)

    def test_whoever_leads_moves_every_so_often(self) -> None:
        self.clock.advance(self.EVERY_S - 1)
        self.server.changed()
        self.assertEqual(self.invited, 0)
        self.clock.advance(1)
        self.assertEqual(self.invited, 1)

    def test_counted_from_the_end_of_the_last_one_that_failed(self) -> None:
        self.clock.advance(self.EVERY_S)
        self.wait(JOIN_S_MAX + LOOK_EVERY_S)
        self.assertFalse(self.service.moving)
        self.clock.advance(self.EVERY_S - 0.1)
        self.assertEqual(self.invited, 1)
        self.clock.advance(0.1)
        self.assertEqual(self.invited, 2)
        self.assertEqual(self.flushLoggedErrors(), [], "which is nothing unusual")

    def test_nobody_else_does(self) -> None:
        self.clock.advance(self.EVERY_S / 2)
        self.pair.led_by("west")
        self.server.changed()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pair.replica.leads = True
        self.server.changed()
        self.clock.advance(self.EVERY_S - 1)
        self.assertEqual(self.invited, 0, "it is counted anew")
        self.clock.advance(1)
        self.assertEqual(self.invited, 1)

    def test_nor_one_that_is_stopped(self) -> None:
        self.service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.server.changed()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_is_asked_for_counts_too(self) -> None:
        moving = self.service.migrate()
        for match in range(round(2 * self.EVERY_S)):
            self.pair.follow("north", match)
            self.wait(1)
        self.assertEqual(self.invited, 1, "they are one at a time")
        self.pair.led_by("west")
        self.wait(0.1)
        self.refused(moving)

    def test_a_mistake_of_ours_is_told_and_it_goes_on(self) -> None:
        self.pair.replica.followers = None  # type: ignore[assignment]
        self.clock.advance(self.EVERY_S)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual((self.service.moving, self.did[-1]), (False, "withdraw"))
        self.clock.advance(self.EVERY_S)
        self.assertEqual(self.invited, 2)
        self.flushLoggedErrors(AttributeError)
