"""The registry's side of visitors' links; those of nodes are in `test_protocol`."""

from typing import Any

from twisted.logger import LogLevel

from chatproto.link import Turn
from chatproto.pair.configuration import Configuration
from chatproto.registry.messages import (
    FRAME_BYTES_MAX,
    Beat,
    Claim,
    Propose,
    Refused,
    Welcome,
    encode_state,
)
from chatproto.registry.names import PAYLOAD_BYTES_MAX, Registration
from chatproto.registry.protocol import FAILURE_ALARMS, VISITOR_BACKLOG_BYTES_MAX, RegistryLinkFactory
from chatproto.registry.requests import (
    VISITOR_FRAME_BYTES_MAX,
    Asked,
    Call,
    Changed,
    Done,
    Enter,
    Entered,
    Failed,
    Find,
    Found,
    Join,
    Notify,
    Register,
    Renew,
    Resolve,
    Told,
    Watch,
    Withdraw,
    decode_to_visitor,
)
from chatproto.registry.shelf import split_state
from chatproto.tally import Tally
from chatproto.trust.proof import NOTHING, Proof
from tests.unit.registry.rig import End
from tests.unit.registry.test_protocol import HEARTBEAT, PAIR, SUSPECT, RegistryLinkTestCase
from tests.unit.trust.fakes import Certified

EAST = Registration("chat", "east", role="leader", lease_s=3.0)


class VisitorLinkTestCase(RegistryLinkTestCase):
    def enter(self, who: str = "tests") -> End:
        link = self.factory.buildProtocol(None)
        assert link is not None
        end = End(link, self.clock, decode_to_visitor)
        self.say(end, Enter(1, who))
        self.assertEqual(end.sent(), [Entered(HEARTBEAT, SUSPECT)])
        return end

    def sent(self, end: End) -> list[Any]:
        """Return what was sent but beats."""
        return [message for message in end.sent() if not isinstance(message, Beat)]

    def register(self, end: End, registration: Registration = EAST, token: bytes = b"token") -> None:
        self.say(end, Register(1, registration, token, True))
        self.disk.done()
        self.assertEqual(self.sent(end), [Done(1)])


class VisitorTests(VisitorLinkTestCase):
    def test_a_registration_is_confirmed_once_it_is_durable(self) -> None:
        end = self.enter()
        self.say(end, Register(1, EAST, b"token", True))
        self.assertEqual((self.sent(end), len(self.disk.asked)), ([], 1))
        self.disk.done()
        self.assertEqual(self.sent(end), [Done(1)])
        assert self.disk.state is not None
        witness, names = split_state(self.disk.state)
        self.assertEqual((witness, [kept.registration for kept in names]), (encode_state({}), [EAST]))

    def test_what_the_witness_keeps_keeps_the_names_and_the_other_way_round(self) -> None:
        self.begin(chat=PAIR)
        east, west = (self.come(name, PAIR) for name in ("east", "west"))
        visitor = self.enter()
        self.register(visitor)
        self.wait(1.0, east, west, visitor)
        alone = Configuration(4, "east", ("east",))
        self.say(east, Propose(alone, False))
        self.say(visitor, Register(2, Registration("chat", "west"), b"token", False))
        self.disk.done()
        assert self.disk.state is not None
        witness, names = split_state(self.disk.state)
        self.assertEqual((witness, len(names)), (encode_state({"chat": alone}), 1))
        self.disk.done()
        witness, names = split_state(self.disk.state)
        self.assertEqual((witness, len(names)), (encode_state({"chat": alone}), 2))

    def test_renewals_do_not_touch_the_disk(self) -> None:
        end = self.enter()
        self.register(end)
        self.say(end, Renew(2, "chat", "east", b"token"), Register(3, EAST, b"token", True))
        self.assertEqual((self.sent(end), self.disk.asked), ([Done(2), Done(3)], []))

    def test_a_lease_that_is_over_is_told_and_dropped_from_the_disk(self) -> None:
        server, watcher = self.enter(), self.enter()
        self.register(server)
        self.say(watcher, Watch(7, "chat"))
        self.sent(watcher)
        self.wait(EAST.lease_s - HEARTBEAT, watcher)
        self.assertEqual(self.sent(watcher), [])
        self.wait(2 * HEARTBEAT, watcher)
        self.assertEqual(self.sent(watcher), [Changed(7, EAST, False)])
        self.disk.done()
        assert self.disk.state is not None
        self.assertEqual(split_state(self.disk.state)[1], [])

    def test_a_call_is_answered_at_once_when_its_server_dies(self) -> None:
        server, caller = self.enter(), self.enter()
        self.register(server)
        self.say(caller, Call(5, "chat", "east", b"status", 2.0))
        (asked,) = self.sent(server)
        self.assertEqual(asked, Asked(asked.number, "chat", "east", b"status"))
        server.lose()
        self.assertEqual(self.sent(caller), [Failed(5, "gone")])

    def test_a_call_that_is_not_answered_in_time(self) -> None:
        server, caller = self.enter(), self.enter()
        self.register(server)
        self.say(caller, Call(5, "chat", "east", b"status", 2.0))
        self.wait(2 + HEARTBEAT, server, caller)
        self.assertEqual(self.sent(caller), [Failed(5, "no-answer")])

    def test_large_payloads_only_once_it_has_entered(self) -> None:
        end = self.enter()
        self.say(end, Call(5, "chat", "east", bytes(PAYLOAD_BYTES_MAX), 2.0))
        self.assertEqual(self.sent(end), [Failed(5, "not-there")])
        stranger = self.connect()
        stranger.link.dataReceived((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        self.assertTrue(stranger.aborted())
        end.link.dataReceived((VISITOR_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        self.assertTrue(end.aborted())

    def test_all_that_may_be_registered_fits_in_the_backlog(self) -> None:
        self.assertEqual(self.enter().link.backlog_bytes_max, VISITOR_BACKLOG_BYTES_MAX)

    def test_a_refusal_is_logged_once(self) -> None:
        end = self.enter()
        for number in range(5):
            self.say(end, Resolve(number, "chat", ""))
        self.assertEqual(self.sent(end), [Failed(number, "no-such-name") for number in range(5)])
        self.assertEqual(self.told("tests is refused (no-such-name): nothing is registered under that name"), 1)
        self.assertEqual(self.events.at(LogLevel.warn), 0)

    def test_what_somebody_should_look_into_warns(self) -> None:
        self.register(self.enter())
        thief = self.enter("thief")
        self.say(thief, Register(1, EAST, b"another", True))
        self.assertEqual((self.sent(thief), self.events.at(LogLevel.warn)), ([Failed(1, "taken")], 1))
        self.assertIn("wrong-token", FAILURE_ALARMS)

    def test_one_that_says_no_name_is_logged_by_its_address(self) -> None:
        end = self.enter("")
        self.say(end, Resolve(1, "chat", ""))
        self.assertEqual(self.told("127.0.0.1"), 1)

    def test_another_version_is_refused(self) -> None:
        end = self.connect()
        self.say(end, Enter(2, "tests"))
        self.assertEqual((end.sent(), end.calls), ([Refused("version")], ["lose"]))


class OrderTests(VisitorLinkTestCase):
    def test_a_visitor_has_no_say_in_who_leads(self) -> None:
        for message in (Claim(PAIR), Propose(PAIR, True), self.hello("east"), Enter(1, "")):
            self.setUp()
            end = self.enter()
            self.say(end, message)
            self.assertTrue(end.aborted(), message)

    def test_a_node_does_not_ask_for_names(self) -> None:
        for message in (Find(1, "", "", ""), Enter(1, ""), Register(1, EAST, b"token", False)):
            self.setUp()
            end = self.come("east")
            self.say(end, message)
            self.assertTrue(end.aborted(), message)

    def test_nobody_asks_before_entering(self) -> None:
        end = self.connect()
        self.say(end, Find(1, "", "", ""))
        self.assertTrue(end.aborted())

    def test_visitors_that_come_and_go_mean_nothing_to_the_witness(self) -> None:
        end = self.enter()
        end.lose()
        self.assertEqual((self.factory.links, self.witness.held("chat")), ({}, None))
        self.assertEqual(self.come("east").sent(), [Welcome(None)])


class StopTests(VisitorLinkTestCase):
    def test_nothing_is_done_or_told_any_more(self) -> None:
        end = self.enter()
        self.say(end, Register(1, EAST, b"token", False))
        self.factory.stop()
        self.disk.done()
        end.lose()
        self.clock.advance(60)
        self.assertEqual((self.sent(end), self.clock.getDelayedCalls(), self.disk.asked), ([], [], []))

    def test_what_was_registered_before_is_there_again(self) -> None:
        end = self.enter()
        self.register(end)
        self.factory.stop()
        end.lose()
        self.names.restore(self.names.kept(), self.clock.seconds())
        self.factory.serve(self.witness, self.desk, self.shelf, self.disk.keep)
        end = self.enter()
        self.say(end, Find(1, "", "", ""))
        self.assertEqual(self.sent(end), [Found(1, [EAST], False)])
        self.wait(EAST.lease_s + HEARTBEAT, end)
        self.say(end, Find(2, "", "", ""))
        self.assertEqual(self.sent(end), [Found(2, [], False)])


class GuardedTests(VisitorLinkTestCase):
    """Visitors and nodes that have to prove their names."""

    def setUp(self) -> None:
        super().setUp()
        self.trust = Certified(NOTHING)
        tally = self.tally = Tally()
        self.factory = RegistryLinkFactory(Turn(self.clock), self.clock, HEARTBEAT, SUSPECT, tally, trust=self.trust)
        self.begin()

    def enter_as(self, *names: str) -> End:
        self.trust.shown = Proof(names)
        return self.enter()

    def test_only_who_has_a_name_may_change_it(self) -> None:
        east, west, nobody = self.enter_as("east"), self.enter_as("west"), self.enter_as()
        asked = Register(1, EAST, b"token", True), Renew(2, "chat", "east", b"token"), Withdraw(3, "chat", "east", b"")
        self.trust.shown = Proof(("west",))
        self.say(west, *asked)
        self.trust.shown = NOTHING
        self.say(nobody, *asked)
        for end in (west, nobody):
            self.assertEqual(self.sent(end), [Failed(number, "unproven") for number in (1, 2, 3)])
        self.assertEqual((self.disk.asked, self.names.list()), ([], []))
        self.trust.shown = Proof(("east",))
        self.register(east)
        self.assertEqual(self.names.list(), [EAST])
        self.assertGreater(self.events.at(LogLevel.warn), 0)

    def test_what_is_ours_is_asked_by_our_own_only(self) -> None:
        east, west, nobody = self.enter_as("east"), self.enter_as("west"), self.enter_as()
        self.trust.shown = Proof(("east",))
        self.register(east)
        self.trust.shown = NOTHING
        self.say(nobody, Call(1, "chat", "east", b"!contracts", 1.0), Call(2, "chat", "east", b"status", 1.0))
        self.assertEqual(self.sent(nobody), [Failed(1, "unproven")])
        self.assertEqual([asked.payload for asked in self.sent(east)], [b"status"])
        self.trust.shown = Proof(("west",))
        self.say(west, Call(3, "chat", "east", b"!contracts", 1.0))
        self.assertEqual([asked.payload for asked in self.sent(east)], [b"!contracts"])

    def test_groups_are_told_something_by_our_own_only(self) -> None:
        west, nobody = self.enter_as("west"), self.enter_as()
        self.say(nobody, Join(1, "cooks"), Notify(2, "cooks", b"hear"))
        self.assertEqual(self.sent(nobody), [Done(1), Failed(2, "unproven")])
        self.trust.shown = Proof(("west",))
        self.say(west, Notify(1, "cooks", b"hear"))
        self.assertEqual((self.sent(west), self.sent(nobody)), ([Done(1, 1)], [Told(1, b"hear")]))

    def test_everybody_may_look(self) -> None:
        east = self.enter_as("east")
        self.register(east)
        nobody = self.enter_as()
        self.say(nobody, Resolve(1, "chat", "east"), Watch(2, "chat"), Call(3, "chat", "east", b"how?", 1.0))
        self.assertEqual(self.sent(nobody), [Found(1, [EAST], False), Found(2, [EAST], False)])
        self.assertEqual(self.sent(east), [Asked(1, "chat", "east", b"how?")])

    def test_a_node_has_to_have_its_name(self) -> None:
        for proof, reason in ((NOTHING, "no-certificate"), (Proof(("west",)), "wrong-name")):
            self.trust.shown = proof
            end = self.come("east", PAIR)
            self.assertEqual(end.sent(), [Refused("unproven")])
            self.assertEqual(self.tally.dropped["registry", reason], 1)
        self.trust.shown = Proof(("east",))
        self.assertEqual(self.come("east").sent(), [Welcome(None)])
