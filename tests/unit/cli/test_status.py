"""Tests for chatproto.cli.status: what is asked, what the answers mean, and how they look."""

import json
from typing import Any

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import PeerStatus, Status, encode
from chatproto.cli.servers import Misuse
from chatproto.cli.status import Answer, Unanswered, as_json, inquire, table, verdict


def node(
    name: str,
    role: str,
    epoch: int = 4,
    redundancy: str = "paired",
    lag: int = 0,
    *,
    serving: bool = True,
    witness: str = "reached",
    waits_for: str = "",
) -> Status:
    peers = [PeerStatus("west" if name == "east" else "east", "follower" if role == "leader" else "leader", lag)]
    return Status([], 0, 0, epoch, role, redundancy, peers, name, 12, 100, serving, witness, waits_for)


EAST, WEST = node("east", "leader"), node("west", "follower")
GONE = Unanswered("refused")


class VerdictTests(SynchronousTestCase):
    def check(self, can: bool, why: str, *answers: Answer) -> None:
        self.assertEqual(verdict(answers), (can, why))
        self.assertEqual(verdict(answers[::-1]), (can, why), "whatever the order")

    def test_both_hold_everything(self) -> None:
        self.check(True, "both hold every message", EAST, WEST)

    def test_only_one_was_asked(self) -> None:
        self.check(True, "both hold every message", EAST)

    def test_the_follower_alone_cannot_know(self) -> None:
        self.check(False, "east leads: name it, too", WEST)
        self.check(False, "east leads: name it, too", WEST, GONE)

    def test_nobody_leads(self) -> None:
        self.check(False, "no server that answers leads", WEST, node("east", "follower"))
        learner = node("west", "follower", redundancy="alone", serving=False, waits_for="east")
        self.check(
            False,
            "west waits for east, which may hold messages that it misses; if that one is lost for good, see "
            "--allow-data-loss",
            learner,
            GONE,
        )
        cut_off = node("west", "follower", redundancy="isolated", serving=False, witness="not reached")
        self.check(
            False,
            "no server that answers leads, and the registry is not reached: nobody may take over without it",
            cut_off,
            GONE,
        )

    def test_nobody_could_take_over(self) -> None:
        leader = node("east", "leader", witness="not reached")
        why = "both hold every message, but the registry is not reached, and without it nobody takes over"
        self.check(False, why, leader, WEST)

    def test_one_did_not_answer_although_the_leader_has_it(self) -> None:
        self.check(True, "both hold every message, though 1 did not answer here", EAST, GONE)

    def test_nobody_answers(self) -> None:
        self.check(False, "no server answers", GONE, GONE)

    def test_one_server_only(self) -> None:
        self.check(False, "there is one server only", node("east", "leader", 1, "single"))

    def test_the_leader_is_alone(self) -> None:
        why = "east is alone: it alone holds every message"
        self.check(False, why, node("east", "leader", redundancy="alone"), GONE)
        self.check(False, why, node("east", "leader", redundancy="alone"), node("west", "follower", redundancy="alone"))

    def test_they_do_not_agree(self) -> None:
        why = "the servers are of different minds who leads; ask again"
        self.check(False, why, EAST, node("west", "leader"))
        self.check(False, why, EAST, node("west", "follower", 5))
        self.check(False, why, node("east", "leader", 4, "alone"), node("west", "leader", 5, "alone"))
        self.check(False, why, node("east", "leader", 4, "alone"), node("west", "follower", 5, "alone"))

    def test_one_that_is_cut_off_does_not_know_yet(self) -> None:
        cut_off = node("west", "leader", 4, "isolated", serving=False)
        self.check(False, "east is alone: it alone holds every message", node("east", "leader", 5, "alone"), cut_off)

    def test_who_does_not_serve_does_not_lead(self) -> None:
        isolated = node("east", "leader", redundancy="isolated", serving=False)
        self.check(False, "no server that answers leads", isolated, WEST)


class TableTests(SynchronousTestCase):
    def test_a_pair(self) -> None:
        self.assertEqual(
            table(["east.example:4444", "west:4444"], [node("east", "leader", lag=7), WEST]).splitlines(),
            [
                "SERVER             NAME  ROLE      EPOCH  REDUNDANCY  CLIENTS    LAG",
                "east.example:4444  east  leader    4      paired      12 of 100  west 7",
                "west:4444          west  follower  4      paired      12 of 100  -",
                "Can I lose a server now? Yes: both hold every message.",
            ],
        )

    def test_why_a_server_did_not_answer_widens_no_column(self) -> None:
        self.assertEqual(
            table(["a:1", "bb:22"], [Unanswered("a long story " * 5), node("bb", "leader", redundancy="alone")]),
            "SERVER  NAME  ROLE    EPOCH  REDUNDANCY  CLIENTS    LAG\n"
            f"a:1     - {('a long story ' * 5).strip()}\n"
            "bb:22   bb    leader  4      alone       12 of 100  east 0\n"
            "Can I lose a server now? No: bb is alone: it alone holds every message.",
        )

    def test_a_server_by_itself(self) -> None:
        alone = Status([], 0, 0, 1, "leader", "single", [], "primary", 3, 100)
        self.assertEqual(table(["x:1"], [alone]).splitlines()[1].split()[-4:], ["3", "of", "100", "-"])

    def test_a_wide_one_has_what_an_operator_may_ask_next(self) -> None:
        said = structs.replace(EAST, version="1.2", up_s=90061.5, room_count=3, entries=4567, dropped=8)
        head, east, west, _ = table(["a:1", "b:2"], [said, WEST], wide=True).splitlines()
        self.assertEqual(head.split()[-6:], ["REGISTRY", "ROOMS", "ENTRIES", "DROPPED", "UP", "RELEASE"])
        self.assertEqual(east.split()[-7:], ["reached", "3", "4567", "8", "1d", "1h", "1.2"])
        self.assertEqual(west.split()[-6:], ["reached", "-", "-", "-", "-", "-"], "an older release does not say")

    def test_spans(self) -> None:
        spans = {0.4: "0s", 59: "59s", 61: "1m 1s", 3600: "1h", 86400 * 400 + 60: "400d 1m"}
        for seconds, text in spans.items():
            said = structs.replace(EAST, version="1", up_s=seconds, room_count=1, entries=1, dropped=0)
            self.assertIn(f"  {text}  ", table(["a:1"], [said], wide=True).splitlines()[1])

    def test_nobody(self) -> None:
        lines = table(["a:1", "b:2"], [GONE, GONE]).splitlines()
        self.assertEqual(lines[1:3], ["a:1     - refused", "b:2     - refused"])

    def test_a_server_that_cannot_serve_is_told_from_one_that_can(self) -> None:
        lines = table(["a:1"], [node("west", "follower", redundancy="alone", serving=False)]).splitlines()
        self.assertIn("follower, not serving", lines[1])


class JsonTests(SynchronousTestCase):
    def test_everything_is_in_it(self) -> None:
        said = json.loads(as_json(["a:1", "b:2"], [EAST, GONE]))
        self.assertEqual(
            said,
            {
                "servers": [
                    {
                        "address": "a:1",
                        "epoch": 4,
                        "role": "leader",
                        "redundancy": "paired",
                        "peers": [{"name": "west", "role": "follower", "lag": 0}],
                        "server": "east",
                        "clients": 12,
                        "capacity": 100,
                        "serving": True,
                        "witness": "reached",
                        "waits_for": "",
                        "pages": [],
                    },
                    {"address": "b:2", "error": "refused"},
                ],
                "can_lose_one": True,
                "why": "both hold every message, though 1 did not answer here",
            },
        )


class InquiryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def ask(self, server: str = "127.0.0.1:4444") -> "Deferred[Answer]":
        return inquire(self.reactor, server, 3.0, False, None)

    def connected(self) -> tuple[Any, StringTransport]:
        host, port, factory, *_ = self.reactor.tcpClients[-1]
        self.assertEqual((host, port), ("127.0.0.1", 4444))
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def check_tidy(self) -> None:
        self.reactor.advance(100)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_it_asks_with_its_first_line(self) -> None:
        answered = self.ask()
        protocol, transport = self.connected()
        self.assertEqual(transport.value(), b'{"type":"status"}\n')
        self.assertNoResult(answered)
        line = encode(EAST)
        protocol.dataReceived(line[:20])
        protocol.dataReceived(line[20:] + b"more\n")
        self.assertEqual(self.successResultOf(answered), EAST)
        self.assertTrue(transport.disconnected)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.check_tidy()

    def test_a_stranger_answers(self) -> None:
        for line in (
            b"HTTP/1.1 400 Bad Request\r",
            b'{"type":"welcome"}',
            b"",
            b"\xff",
            b'{"type":"\xff"}',
            b'{"type":"status"}',
        ):
            answered = self.ask()
            protocol, _ = self.connected()
            protocol.dataReceived(line + b"\n")
            self.assertEqual(self.successResultOf(answered), Unanswered("it does not speak this protocol"))
            self.check_tidy()

    def test_a_line_without_an_end(self) -> None:
        answered = self.ask()
        protocol, transport = self.connected()
        protocol.dataReceived(b"x" * 2_000_000)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.successResultOf(answered), Unanswered("it closed the connection"))
        self.check_tidy()

    def test_it_is_refused(self) -> None:
        answered = self.ask()
        factory = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.reactor.advance(1)
        self.assertIn("refused", self.successResultOf(answered).why)
        self.check_tidy()

    def test_it_takes_the_connection_and_answers_nothing(self) -> None:
        answered = self.ask()
        protocol, _ = self.connected()
        self.reactor.advance(2.9)
        self.assertNoResult(answered)
        self.reactor.advance(0.2)
        self.assertEqual(self.successResultOf(answered), Unanswered("no answer in 3 s"))
        protocol.dataReceived(encode(EAST))
        self.check_tidy()

    def test_it_cannot_be_reached_in_time(self) -> None:
        answered = self.ask()
        self.reactor.advance(3.1)
        self.assertEqual(self.successResultOf(answered), Unanswered("no answer in 3 s"))
        self.reactor.advance(100)

    def test_there_can_be_no_such_server(self) -> None:
        self.assertRaises(Misuse, self.ask, "nonsense:nonsense")
