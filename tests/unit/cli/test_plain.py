"""Tests for chatproto.cli.plain, with a client that has no server."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli.plain import FORMAT, UNACKNOWLEDGED_MAX, PlainChat
from chatproto.cli.text import iso_time
from chatproto.client import events
from chatproto.client.events import Delivered, SearchResults, Sent
from tests.unit.cli.fake import NOON, FakeClient, said, status

TIMEOUT_S = 10.0


class PlainTestCase(SynchronousTestCase):
    name: str | None = None
    rooms: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.client = FakeClient()
        self.clock = Clock()
        self.written: list[str] = []
        self.holds: list[bool] = []
        self.plain = PlainChat(
            self.client,  # type: ignore[arg-type]
            self.clock,
            self.written.append,
            name=self.name,
            rooms=self.rooms,
            connect_timeout_s=TIMEOUT_S,
            hold=self.holds.append,
        )
        self.plain.start()

    def online(self, *rooms: str) -> None:
        self.client.come_online("alice", *rooms)
        self.clock.advance(0)

    def read(self, *lines: str) -> None:
        for line in lines:
            self.plain.line(line)
            self.clock.advance(0)

    def wrote(self, *lines: str) -> None:
        """Assert what was written since the last time."""
        written = self.written[:]
        del self.written[:]
        self.assertEqual(written, list(lines))

    def assertLeft(self, problem: str = "") -> None:
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(self.plain.finished), problem)
        self.assertFalse(self.client.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def assertStillThere(self) -> None:
        self.clock.advance(0)
        self.assertNoResult(self.plain.finished)
        self.assertTrue(self.client.running)


class Events(PlainTestCase):
    def test_every_event_is_one_line(self) -> None:
        time = iso_time(NOON + 60)
        for event, line in {
            events.StateChanged("online", "east", "paired", ""): "state online east paired -",
            events.StateChanged("waiting", "", "", "it died"): "state waiting - - it died",
            events.Welcomed("alice", False): "identity alice",
            said(1, "bob", "hello  there"): f"message MainHall 1 {time} bob hello  there",
            said(1, "bob", "two\nlines\x1b[2J"): f"message MainHall 1 {time} bob two␊lines␛[2J",
            said(1, "bob", ""): f"message MainHall 1 {time} bob -",
            events.Renamed("bob", "carl"): "renamed bob carl",
            events.Moved("bob", "", "Den"): "moved bob - Den",
            events.Moved("bob", "Den", ""): "moved bob Den -",
            events.Members("Den", ("bob", "alice"), ""): "members Den - alice bob",
            events.Members("Den", ("bob",), "bob"): "members Den bob bob",
            events.PrivateSaid("bob", "psst", "i", NOON + 60): f"private {time} bob psst",
            events.Missing("Den", 3, 5, "retention"): "missing Den 3 5 retention",
            events.Rewound("Den", 3): "rewound Den 3",
            events.Noticed("alone", "one server is away"): "notice alone one server is away",
            events.Refusal("banned", "for a while", None, "Den"): "refused banned for a while",
            events.Redirected(("a:1", "b:2"), "draining"): "redirect draining a:1 b:2",
        }.items():
            self.client.tell(event)
            self.wrote(line)
        self.client.tell(events.Rooms({"MainHall": 2, "Den": 0}))
        self.wrote("rooms Den=0 MainHall=2")

    def test_tries_in_vain_are_told_once(self) -> None:
        waiting = events.StateChanged("waiting", "", "", "it died")
        connecting = events.StateChanged("connecting", "", "", "")
        self.client.tell(connecting, waiting, connecting, waiting, connecting)
        self.wrote("state connecting - - -", "state waiting - - it died")
        self.client.tell(events.StateChanged("waiting", "", "", "it hangs"), connecting)
        self.client.tell(events.StateChanged("online", "east", "paired", ""), waiting)
        self.wrote("state waiting - - it hangs", "state online east paired -", "state waiting - - it died")

    def test_the_first_server_is_no_failover(self) -> None:
        self.client.tell(events.StateChanged("waiting", "", "", "it died"))
        self.client.tell(events.StateChanged("online", "east", "paired", ""))
        self.wrote("state waiting - - it died", "state online east paired -")

    def test_failover(self) -> None:
        """How long it took, from the loss to the next welcome."""
        self.client.tell(events.StateChanged("online", "east", "paired", ""))
        self.client.tell(events.StateChanged("waiting", "", "", "the connection broke"))
        self.clock.advance(0.25)
        self.client.tell(events.StateChanged("connecting", "", "", ""))
        self.client.tell(events.StateChanged("waiting", "", "", "refused"))
        self.clock.advance(0.125)
        self.client.tell(events.StateChanged("online", "west", "alone", ""))
        self.client.tell(events.StateChanged("online", "west", "paired", "the server says so"))
        self.wrote(
            "state online east paired -",
            "state waiting - - the connection broke",
            "state waiting - - refused",
            "state online west alone -",
            "failover east west 0.38 the connection broke",
            "state online west paired the server says so",
        )

    def test_no_name_makes_a_field_more_or_less(self) -> None:
        self.client.tell(events.Renamed("a b\nc", ""))
        self.wrote("renamed a_b␊c -")

    def test_every_word_is_documented(self) -> None:
        words = {line.split()[0] for line in FORMAT.splitlines()}
        self.test_every_event_is_one_line()
        self.online()
        self.read("hello", "#private bob psst", "#status", "#list", "#nonsense", "#help", "#join Den")
        self.client.acknowledge(1)
        self.client.take("send_direct")[1].callback(Delivered(True, 1))
        self.clock.advance(0)
        self.client.take("status")[1].callback(status())
        self.clock.advance(0)
        self.client.take("list_rooms")[1].callback({})
        self.clock.advance(0)
        self.client.take("join")[1].callback(None)
        self.clock.advance(0)
        self.assertTrue(self.written)
        self.assertLessEqual({line.split()[0] for line in self.written}, words)


class Lines(PlainTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.online()
        del self.written[:]

    def test_a_line_is_said_in_the_current_room(self) -> None:
        self.read("hello")
        self.assertEqual(self.client.acknowledge(7), ("hello", "MainHall"))
        self.wrote("sent MainHall 7")

    def test_messages_do_not_wait_for_each_other(self) -> None:
        self.read("one", "two")
        self.assertEqual([arguments[0] for _, arguments, _ in self.client.asked], ["one", "two"])

    def test_what_follows_a_command_waits_for_its_answer(self) -> None:
        self.read("#join Den", "said in the den")
        arguments, answer = self.client.take("join")
        self.assertEqual((arguments, self.client.asked), (("Den", False), []))
        self.client.tell(events.Moved("alice", "MainHall", "Den"))
        answer.callback(None)
        self.clock.advance(0)
        self.assertEqual(self.client.take("send")[0], ("said in the den", "Den"))
        self.wrote("moved alice MainHall Den", "done #join Den")

    def test_every_command_is_asked(self) -> None:
        for line, what, arguments, answer, written in (
            ("#identitychange carol", "rename", ("carol",), "carol", ["done #identitychange carol"]),
            ("#join Den stay", "join", ("Den", True), None, ["done #join Den stay"]),
            ("#leave", "leave", ("MainHall",), None, ["done #leave"]),
            ("#leave Den", "leave", ("Den",), None, ["done #leave Den"]),
            ("#createroom Den", "create_room", ("Den",), None, ["done #createroom Den"]),
            ("#delete Den", "delete_room", ("Den",), None, ["done #delete Den"]),
            ("#kick Den bob 5", "kick", ("Den", "bob", 5), None, ["done #kick Den bob 5"]),
            ("#private bob psst", "send_direct", ("bob", "psst"), Delivered(True, 1), ["delivered bob 1 direct"]),
            ("#private bob psst", "send_direct", ("bob", "psst"), Delivered(False, 2), ["delivered bob 2 relayed"]),
            (
                "#search a word",
                "search",
                ("a word",),
                SearchResults("a word", (said(7, "bob", "a word\n"), said(3, "bob", "word: a")), True),
                [
                    f"found MainHall 7 {iso_time(NOON + 420)} bob a word␊",
                    f"found MainHall 3 {iso_time(NOON + 180)} bob word: a",
                    "done #search a word",
                ],
            ),
            ("#status", "status", (), status(7, 5), ["status leader 3 paired 7 5 west=0"]),
            # The client tells its listeners what these two are answered, and so it is written there.
            ("#who", "who", ("MainHall",), events.Members("MainHall", ("bob",), ""), []),
            ("#list", "list_rooms", (), {"MainHall": 1}, []),
        ):
            self.read(line)
            asked, deferred = self.client.take(what)
            self.assertEqual(asked, arguments)
            deferred.callback(answer)
            self.clock.advance(0)
            self.wrote(*written)

    def test_a_refusal_is_told_and_the_rest_goes_on(self) -> None:
        self.read("#join Nowhere", "hello")
        self.client.refuse("join", "no-such-room", "there is no room Nowhere")
        self.clock.advance(0)
        self.wrote("refused no-such-room there is no room Nowhere")
        self.client.acknowledge(1)

    def test_a_mistake_is_told_and_nothing_is_asked(self) -> None:
        self.read("#jion Den")
        self.assertEqual(self.client.asked, [])
        (line,) = self.written
        self.assertTrue(line.startswith("mistake There is no command #jion; did you mean #join?"), line)

    def test_blank_lines_ask_nothing(self) -> None:
        self.read("", "  ")
        self.assertEqual(self.client.asked, [])
        self.wrote()

    def test_many_lines_are_read_as_fast_as_they_are_acknowledged(self) -> None:
        self.read(*(f"line {number}" for number in range(UNACKNOWLEDGED_MAX + 10)))
        self.assertEqual(len(self.client.asked), UNACKNOWLEDGED_MAX)
        self.assertEqual(self.holds[-1:], [True])
        for index in range(1, 11):
            self.client.acknowledge(index)
            self.clock.advance(0)
        self.assertEqual(len(self.client.asked), UNACKNOWLEDGED_MAX)
        self.assertEqual(self.holds[-1:], [False])


def _fired(result: object) -> "Deferred[object]":
    deferred: Deferred[object] = Deferred()
    deferred.callback(result)
    return deferred


class Patience(PlainTestCase):
    def test_answers_that_come_at_once_do_not_pile_up(self) -> None:
        self.client.send = lambda content, room=None: _fired(Sent("MainHall", 1, 1))  # type: ignore[method-assign,assignment]
        for number in range(5000):
            self.plain.line(str(number))
        self.online()
        self.clock.pump([0] * 100)
        self.assertEqual(len([line for line in self.written if line.startswith("sent")]), 5000)


class Leaving(PlainTestCase):
    def test_at_the_end_all_is_answered_first(self) -> None:
        self.online()
        self.read("hello", "#who")
        self.plain.end()
        self.assertStillThere()
        self.client.take("who")[1].callback(None)
        self.assertStillThere()
        self.client.acknowledge(1)
        self.assertStillThere()
        self.client.say(1, "alice", "hello", own=True)
        self.assertLeft()

    def test_what_came_back_before_it_was_acknowledged_is_not_waited_for(self) -> None:
        self.online()
        self.read("hello")
        self.plain.end()
        self.client.say(1, "alice", "hello", own=True)
        self.assertStillThere()
        self.client.acknowledge(1)
        self.assertLeft()

    def test_what_does_not_come_back_is_not_waited_for_long(self) -> None:
        self.online()
        self.read("hello")
        self.plain.end()
        self.client.acknowledge(1)
        self.clock.advance(0)
        self.clock.advance(TIMEOUT_S - 1)
        self.assertStillThere()
        self.clock.advance(1)
        self.assertLeft()

    def test_what_was_said_in_a_room_that_was_left_is_not_waited_for(self) -> None:
        self.online()
        self.read("hello")
        self.client.acknowledge(1)
        self.read("#join Den")
        self.client.tell(events.Moved("alice", "MainHall", "Den"))
        self.client.take("join")[1].callback(None)
        self.plain.end()
        self.assertLeft()

    def test_quit_ends_like_the_end_of_the_input(self) -> None:
        self.online()
        self.read("hello", "#quit", "never said")
        self.assertStillThere()
        self.client.acknowledge(1)
        self.client.say(1, "alice", "hello", own=True)
        self.assertLeft()

    def test_nothing_to_say(self) -> None:
        self.plain.end()
        self.assertStillThere()
        self.online()
        self.assertLeft()

    def test_refused_lines_are_a_problem_in_the_end(self) -> None:
        self.online()
        self.read("#foo", "#join Nowhere")
        self.client.refuse("join", "no-such-room", "there is no room Nowhere")
        self.plain.end()
        self.clock.advance(0)
        problem = self.successResultOf(self.plain.finished)
        self.assertTrue(problem.startswith("2 lines were not carried out: There is no command #foo"), problem)

    def test_one_refused_message(self) -> None:
        self.online()
        self.read("hello")
        self.client.refuse("send", "content-too-long", "a message has at most 4 characters")
        self.plain.end()
        self.assertLeft("one line was not carried out: a message has at most 4 characters")

    def test_interrupted_with_something_unacknowledged(self) -> None:
        self.online()
        self.read("hello")
        del self.written[:]
        self.plain.leave()
        self.assertLeft("1 of your messages were not acknowledged")
        self.wrote()

    def test_the_server_is_taken_leave_of(self) -> None:
        self.online()
        self.client.stopping = Deferred()
        self.plain.end()
        self.clock.advance(0)
        self.assertNoResult(self.plain.finished)
        self.client.stopping.callback(None)
        self.assertLeft()

    def test_another_connection_took_the_session(self) -> None:
        self.online()
        self.client.tell(events.StateChanged("stopped", "", "", "session-moved"))
        self.assertLeft("the connection has ended: session-moved")


class Connecting(PlainTestCase):
    name = "alice"
    rooms = ("Den",)

    def test_nothing_is_said_before_name_and_room_are_there(self) -> None:
        self.read("hello")
        self.client.come_online("alice")
        self.clock.advance(0)
        self.assertEqual(self.client.asked, [])
        self.client.tell(events.Moved("alice", "", "Den"))
        self.clock.advance(0)
        self.assertEqual(self.client.take("send")[0], ("hello", "Den"))

    def test_no_server_in_time(self) -> None:
        self.client.tell(events.StateChanged("waiting", "", "", "Connection refused"))
        self.client.tell(events.StateChanged("connecting", "", "", ""))
        self.clock.advance(TIMEOUT_S - 1)
        self.assertStillThere()
        self.clock.advance(1)
        self.assertLeft("no server let us in within 10 s: Connection refused")

    def test_no_server_ever_heard_of(self) -> None:
        self.clock.advance(TIMEOUT_S)
        self.assertLeft("no server let us in within 10 s")

    def test_the_name_is_taken(self) -> None:
        self.client.come_online("guest1", "Den")
        self.read("hello")
        self.assertEqual(self.client.asked, [])
        self.client.tell(events.Refusal("identity-taken", "somebody else is alice", None, None))
        self.assertLeft("somebody else is alice")

    def test_the_room_does_not_exist(self) -> None:
        self.client.come_online("alice")
        self.client.tell(events.Refusal("no-such-room", "there is no room Den", None, "Den"))
        self.assertLeft("there is no room Den")

    def test_another_server_may_still_have_room(self) -> None:
        self.client.tell(events.Refusal("full", "this server is full", None, None))
        self.assertStillThere()
        self.clock.advance(TIMEOUT_S)
        self.assertLeft("no server let us in within 10 s: this server is full")

    def test_an_outage_is_waited_out_while_there_may_be_more_to_say(self) -> None:
        self.online("Den")
        self.client.tell(events.StateChanged("waiting", "", "", "it died"))
        self.clock.advance(100 * TIMEOUT_S)
        self.assertStillThere()

    def test_an_outage_at_the_end_is_waited_out_for_a_while(self) -> None:
        self.online("Den")
        self.read("hello")
        self.client.tell(events.StateChanged("waiting", "", "", "it died"))
        self.plain.end()
        self.clock.advance(TIMEOUT_S - 1)
        self.client.tell(events.StateChanged("online", "west", "alone", ""))
        self.clock.advance(TIMEOUT_S)
        self.assertStillThere()
        self.client.tell(events.StateChanged("waiting", "", "", "it died"))
        self.clock.advance(TIMEOUT_S)
        self.assertLeft("no server let us in within 10 s: it died")
