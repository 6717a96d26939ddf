from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.registry.desk import (
    CALL_S_MAX,
    CALLS_MAX,
    CALLS_PER_SERVER_MAX,
    CALLS_PER_VISITOR_MAX,
    VISITORS_MAX,
    Desk,
    DeskEffect,
    KeepNames,
)
from chatproto.registry.messages import Refused
from chatproto.registry.names import PAYLOAD_BYTES_MAX, Names, Registration
from chatproto.registry.requests import (
    PAGE_MAX,
    Answer,
    Answered,
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
    Leave,
    Notify,
    Register,
    Reject,
    Renew,
    Resolve,
    Told,
    Watch,
    Withdraw,
)
from chatproto.registry.subscriptions import TOPICS_PER_VISITOR_MAX
from chatproto.registry.witness import End, Send

LEASE = 3.0
OURS, THEIRS = b"ours", b"theirs"
EAST = Registration("chat", "east", role="leader")
WEST = Registration("chat", "west", role="follower")


class DeskTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.names = Names()
        self.desk = Desk(self.names, 0.15, 0.6)
        self.now = 0.0
        for at in (1, 2, 3):
            self.desk.enter(at, Enter(1, ""))

    def say(self, at: int, message: Any) -> list[DeskEffect]:
        return self.desk.received(at, message, self.now)

    def told(self, at: int, message: Any) -> list[Any]:
        """Say something; return what is sent to whom."""
        return [(effect.to, effect.message) for effect in self.say(at, message) if isinstance(effect, Send)]

    def registered(self, at: int, registration: Registration, token: bytes = OURS, *, serves: bool = False) -> None:
        for effect in self.say(at, Register(1, registration, token, serves)):
            if isinstance(effect, KeepNames):
                self.desk.kept()


class EnterTests(DeskTestCase):
    def test_a_visitor_is_told_how_to_beat(self) -> None:
        self.assertEqual(self.desk.enter(4, Enter(1, "")), [Send(4, Entered(0.15, 0.6))])

    def test_another_version_is_refused(self) -> None:
        self.assertEqual(self.desk.enter(4, Enter(2, "")), [Send(4, Refused("version")), End(4)])
        self.assertEqual((self.say(4, Find(1, "", "", "")), self.desk.gone(4)), ([], []))

    def test_so_many_and_no_more(self) -> None:
        for at in range(4, VISITORS_MAX + 1):
            self.assertEqual(len(self.desk.enter(at, Enter(1, ""))), 1)
        self.assertEqual(self.desk.enter(999, Enter(1, "")), [Send(999, Refused("crowded")), End(999)])
        self.desk.gone(1)
        self.assertEqual(len(self.desk.enter(1000, Enter(1, ""))), 1)


class NameTests(DeskTestCase):
    def test_a_registration_is_confirmed_once_it_is_durable(self) -> None:
        self.assertEqual(self.say(1, Register(7, EAST, OURS, False)), [KeepNames(list(self.names.kept()))])
        self.assertEqual(self.desk.kept(), [Send(1, Done(7))])

    def test_the_same_again_needs_no_disk(self) -> None:
        self.registered(1, EAST)
        self.assertEqual(self.say(1, Register(8, EAST, OURS, False)), [Send(1, Done(8))])

    def test_but_waits_for_what_is_not_durable_yet(self) -> None:
        self.say(1, Register(7, EAST, OURS, False))
        self.assertEqual(self.told(1, Register(8, EAST, OURS, False)), [])
        self.assertEqual(self.desk.kept() + self.desk.kept(), [Send(1, Done(7)), Send(1, Done(8))])

    def test_whoever_is_gone_meanwhile_is_told_nothing(self) -> None:
        self.say(1, Register(7, EAST, OURS, False))
        self.desk.gone(1)
        self.assertEqual(self.desk.kept(), [])
        self.assertEqual(self.names.list(), [EAST])

    def test_renewed(self) -> None:
        self.registered(1, EAST)
        self.now = 2.0
        self.assertEqual(self.say(2, Renew(1, "chat", "east", OURS)), [Send(2, Done(1))])
        self.assertEqual(self.desk.next_wakeup(), 2 + LEASE)

    def test_withdrawn(self) -> None:
        self.registered(1, EAST)
        self.assertEqual(self.say(2, Withdraw(1, "chat", "east", OURS)), [KeepNames([])])
        self.assertEqual(self.desk.kept(), [Send(2, Done(1))])

    def test_found(self) -> None:
        self.registered(1, EAST)
        self.assertEqual(self.told(2, Resolve(1, "chat", "")), [(2, Found(1, [EAST], False))])
        self.assertEqual(self.told(2, Find(2, "", "", "follower")), [(2, Found(2, [], False))])

    def test_a_long_list_comes_in_pages(self) -> None:
        for number in range(2 * PAGE_MAX):
            self.registered(1, Registration("chat", f"node{number:03}"))
        pages = [message for _, message in self.told(2, Find(1, "", "", ""))]
        self.assertEqual(
            [(len(page.registrations), page.more) for page in pages], [(PAGE_MAX, True), (PAGE_MAX, False)]
        )

    def test_every_refusal_has_its_code_and_changes_nothing(self) -> None:
        self.registered(1, EAST, serves=True)
        before = self.names.kept()
        for code, message in (
            ("taken", Register(9, EAST, THEIRS, True)),
            ("bad-name", Register(9, Registration("chat", "a b"), OURS, True)),
            ("bad-attributes", Register(9, Registration("chat", "x", attributes={"key": "x" * 3000}), OURS, True)),
            ("lease-over", Renew(9, "chat", "west", OURS)),
            ("wrong-token", Renew(9, "chat", "east", THEIRS)),
            ("no-such-name", Withdraw(9, "chat", "west", OURS)),
            ("wrong-token", Withdraw(9, "chat", "east", THEIRS)),
            ("no-such-name", Resolve(9, "chat", "west")),
            ("no-leader", Call(9, "chat2", "", b"", 1.0)),
            ("bad-name", Join(9, "a b")),
            ("too-large", Notify(9, "cooks", bytes(PAYLOAD_BYTES_MAX + 1))),
            ("not-there", Call(9, "chat", "west", b"", 1.0)),
            ("too-large", Call(9, "chat", "east", bytes(PAYLOAD_BYTES_MAX + 1), 1.0)),
        ):
            if code == "no-leader":
                self.registered(1, Registration("chat2", "east"))
                before = self.names.kept()
            self.assertEqual(self.say(2, message), [Send(2, Failed(9, code))], message)
            self.assertEqual(self.names.kept(), before)


class LeaseTests(DeskTestCase):
    def test_one_that_is_over_is_told_and_kept(self) -> None:
        self.registered(1, EAST)
        self.say(2, Watch(5, "chat"))
        self.assertEqual(self.desk.next_wakeup(), LEASE)
        self.assertEqual(self.desk.tick(LEASE), [Send(2, Changed(5, EAST, False)), KeepNames([])])
        self.assertEqual((self.desk.kept(), self.desk.next_wakeup(), self.desk.tick(99)), ([], None, []))

    def test_a_server_that_is_lost_stays_until_its_lease_is_over(self) -> None:
        self.registered(1, EAST)
        self.desk.gone(1)
        self.assertEqual(self.told(2, Resolve(1, "chat", "east")), [(2, Found(1, [EAST], False))])
        self.now = LEASE
        self.assertEqual(self.told(2, Resolve(1, "chat", "east")), [(2, Failed(1, "no-such-name"))])


class WatchTests(DeskTestCase):
    def test_all_there_is_and_then_what_changes(self) -> None:
        self.registered(1, EAST)
        self.assertEqual(self.told(2, Watch(5, "chat")), [(2, Found(5, [EAST], False))])
        self.assertEqual(self.told(1, Register(2, WEST, OURS, False)), [(2, Changed(5, WEST, True))])
        self.assertEqual(self.told(1, Register(3, WEST, OURS, False)), [])
        self.assertEqual(self.told(1, Withdraw(4, "chat", "west", OURS)), [(2, Changed(5, WEST, False))])

    def test_one_service_or_all(self) -> None:
        self.say(2, Watch(5, "news"))
        self.say(3, Watch(6, ""))
        self.assertEqual(self.told(1, Register(2, EAST, OURS, False)), [(3, Changed(6, EAST, True))])

    def test_no_more_after_it_left(self) -> None:
        self.say(2, Watch(5, ""))
        self.assertEqual(self.told(2, Leave(6, 5)), [(2, Done(6))])
        self.assertEqual(self.told(1, Register(2, EAST, OURS, False)), [])

    def test_so_many_and_no_more(self) -> None:
        for number in range(TOPICS_PER_VISITOR_MAX):
            self.say(2, Watch(number, ""))
        self.assertEqual(self.told(2, Join(99, "cooks")), [(2, Failed(99, "too-many"))])


class GroupTests(DeskTestCase):
    def test_everybody_else_in_a_group_is_told(self) -> None:
        for at in (1, 2):
            self.assertEqual(self.told(at, Join(5, "cooks")), [(at, Done(5))])
        self.assertEqual(self.told(1, Notify(6, "cooks", b"dinner")), [(2, Told(5, b"dinner")), (1, Done(6, 1))])
        self.assertEqual(
            self.told(3, Notify(6, "cooks", b"dinner")),
            [(1, Told(5, b"dinner")), (2, Told(5, b"dinner")), (3, Done(6, 2))],
        )

    def test_a_group_of_nobody(self) -> None:
        self.assertEqual(self.told(1, Notify(6, "cooks", b"dinner")), [(1, Done(6, 0))])

    def test_whoever_is_in_it_twice_hears_it_twice_and_counts_once(self) -> None:
        for number in (5, 6):
            self.say(2, Join(number, "cooks"))
        self.assertEqual(self.told(1, Notify(7, "cooks", b""))[-1], (1, Done(7, 1)))

    def test_a_broadcast_is_told_to_every_other_visitor(self) -> None:
        self.assertEqual(
            self.told(1, Notify(6, "", b"fire")), [(2, Told(0, b"fire")), (3, Told(0, b"fire")), (1, Done(6, 2))]
        )

    def test_nobody_who_is_gone(self) -> None:
        self.say(2, Join(5, "cooks"))
        self.desk.gone(2)
        self.assertEqual(self.told(1, Notify(6, "cooks", b"")), [(1, Done(6, 0))])


class CallTests(DeskTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.registered(1, EAST, serves=True)

    def call(self, number: int = 9, at: int = 2, timeout_s: float = 1.0, name: str = "east") -> int:
        """Call the server; return the number that it is asked under."""
        ((to, asked),) = self.told(at, Call(number, "chat", name, b"status", timeout_s))
        self.assertEqual((to, asked), (1, Asked(asked.number, "chat", "east", b"status")))
        return int(asked.number)

    def test_passed_on_and_its_answer_back(self) -> None:
        asked = self.call()
        self.assertEqual(self.told(1, Answer(asked, b"well")), [(2, Answered(9, b"well"))])
        self.assertEqual((self.told(1, Answer(asked, b"well")), self.desk.next_wakeup()), ([], LEASE))

    def test_without_a_name_the_leader_is_called(self) -> None:
        self.call(name="")

    def test_a_server_that_rejects_it(self) -> None:
        self.assertEqual(self.told(1, Reject(self.call())), [(2, Failed(9, "rejected"))])

    def test_an_answer_that_is_too_large(self) -> None:
        answer = Answer(self.call(), bytes(PAYLOAD_BYTES_MAX + 1))
        self.assertEqual(self.told(1, answer), [(2, Failed(9, "too-large"))])

    def test_only_the_server_answers(self) -> None:
        asked = self.call()
        self.assertEqual(self.told(3, Answer(asked, b"lies")), [])
        self.assertEqual(self.told(1, Answer(asked, b"well")), [(2, Answered(9, b"well"))])

    def test_a_server_that_dies_meanwhile(self) -> None:
        asked = self.call()
        self.assertEqual(self.desk.gone(1), [Send(2, Failed(9, "gone"))])
        self.assertEqual(self.told(2, Call(10, "chat", "east", b"", 1.0)), [(2, Failed(10, "not-there"))])
        self.assertEqual(self.told(1, Answer(asked, b"")), [])

    def test_a_caller_that_dies_meanwhile(self) -> None:
        asked = self.call()
        self.assertEqual(self.desk.gone(2), [])
        self.assertEqual(self.told(1, Answer(asked, b"well")), [])

    def test_a_server_that_calls_itself_and_dies(self) -> None:
        self.call(at=1)
        self.assertEqual(self.desk.gone(1), [])

    def test_a_server_that_takes_too_long(self) -> None:
        asked = self.call(timeout_s=1.0)
        self.assertEqual((self.desk.next_wakeup(), self.desk.tick(0.9)), (1.0, []))
        self.assertEqual(self.desk.tick(1.0), [Send(2, Failed(9, "no-answer"))])
        self.assertEqual(self.told(1, Answer(asked, b"well")), [])

    def test_no_call_waits_for_ever(self) -> None:
        for number, timeout_s in enumerate((0.0, -1.0, 1e9, float("inf"), float("nan"))):
            self.call(number, timeout_s=timeout_s)
            self.now = 0.0
        self.registered(1, Registration("chat", "east", lease_s=3600.0), serves=True)
        self.assertEqual(self.desk.next_wakeup(), CALL_S_MAX)

    def test_whoever_registers_in_its_place_takes_the_calls(self) -> None:
        self.registered(3, EAST, serves=True)
        ((to, _),) = self.told(2, Call(9, "chat", "east", b"", 1.0))
        self.assertEqual(to, 3)
        self.desk.gone(1)
        ((to, _),) = self.told(2, Call(10, "chat", "east", b"", 1.0))
        self.assertEqual(to, 3)

    def test_nobody_takes_them_after_it_is_withdrawn_or_over_or_serves_no_more(self) -> None:
        self.registered(1, EAST)
        self.assertEqual(self.told(2, Call(9, "chat", "east", b"", 1.0)), [(2, Failed(9, "not-there"))])
        self.registered(1, EAST, serves=True)
        self.say(1, Withdraw(2, "chat", "east", OURS))
        self.desk.kept()
        self.assertEqual(self.told(2, Call(9, "chat", "east", b"", 1.0)), [(2, Failed(9, "not-there"))])
        self.registered(1, EAST, serves=True)
        self.desk.tick(LEASE)
        self.desk.kept()
        self.registered(2, EAST, THEIRS)
        self.assertEqual(self.told(2, Call(9, "chat", "east", b"", 1.0)), [(2, Failed(9, "not-there"))])

    def busy(self, at: int) -> bool:
        return self.told(at, Call(9, "chat", "east", b"", 1.0)) == [(at, Failed(9, "busy"))]

    def test_so_many_of_one_visitor_and_no_more(self) -> None:
        for number in range(CALLS_PER_VISITOR_MAX):
            self.call(number)
        self.assertTrue(self.busy(2))

    def test_so_many_to_one_server_and_no_more(self) -> None:
        for number in range(CALLS_PER_SERVER_MAX // 2):
            self.call(number, at=2)
            asked = self.call(number, at=3)
        self.assertTrue(self.busy(1))
        self.say(1, Answer(asked, b""))
        self.call(99, at=1)

    def test_so_many_in_all_and_no_more(self) -> None:
        pairs = CALLS_MAX // CALLS_PER_SERVER_MAX
        for pair in range(pairs):
            server, caller = 10 + pair, 50 + pair
            for at in (server, caller):
                self.desk.enter(at, Enter(1, ""))
            self.registered(server, Registration("many", f"node{pair}"), serves=True)
            for number in range(CALLS_PER_SERVER_MAX):
                self.say(caller, Call(number, "many", f"node{pair}", b"", 1.0))
        self.assertTrue(self.busy(2))
