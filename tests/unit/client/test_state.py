"""The client's state machine: what it does on what it hears."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import (
    Ack,
    Contact,
    Error,
    Gap,
    Message,
    NewIdentity,
    Notice,
    Pong,
    Private,
    PrivateAck,
    Redirect,
    Rewind,
    RoomChange,
    RoomContents,
    RoomCount,
    RoomList,
    RoomStatus,
    SaidExtended,
    Status,
    Welcome,
)
from chatproto.client import requests
from chatproto.client.effects import Connect, Effect, HangUp, Send, Sleep, Tell, Wake
from chatproto.client.events import (
    ContactExpected,
    ContactFound,
    Event,
    Members,
    Missing,
    Moved,
    Noticed,
    PrivateSaid,
    Redirected,
    Refusal,
    Renamed,
    Rewound,
    Rooms,
    Said,
    Sent,
    StateChanged,
    Welcomed,
)
from chatproto.client.outbox import Done, QueueFull, Uncertain
from chatproto.client.phases import STATES, TRANSITIONS, Cue, Phase
from chatproto.client.places import Places
from chatproto.client.settings import ClientSettings
from chatproto.client.state import ClientState
from chatproto.errors import ClientError, ClientStopped, Refused

HALL = "MainHall"


def said(index: int, room: str = HALL, id: str = "", identity: str = "eve", epoch: int = 1) -> SaidExtended:
    return SaidExtended(identity, f"content {index}", room, index, epoch, id or f"m{index}", 2.5)


def heard(index: int, room: str = HALL, id: str = "", own: bool = False) -> Said:
    return Said(room, index, 1, id or f"m{index}", "eve", f"content {index}", 2.5, own)


def status(*rooms: tuple[str, int], redundancy: str = "single") -> Status:
    told = [RoomStatus(room, transferred + 10, transferred) for room, transferred in rooms]
    return Status(told, 0, 0, 1, "leader", redundancy, [])


class Machine:
    """A state machine, what it was made to do, and a server that is played by the test."""

    def __init__(self, *, session: str | None = None, places: int = 2, **settings: Any) -> None:
        self.settings = ClientSettings(**settings)
        self.state = ClientState(self.settings, Places(places, 1.0, 8.0), "f", session)
        self.now = 0.0
        self.alarm: float | None = None
        self.effects: list[Effect] = []
        self.fence = ""

    def do(self, effects: list[Effect]) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Wake | Sleep):
                self.alarm = self.now + effect.most_s if isinstance(effect, Wake) else None
        for line in self.lines(keep=True):
            if line["type"] == "who" and line["roomid"].startswith("?"):
                self.fence = line["roomid"]

    # What it did since last asked

    def take(self, kind: type[Any]) -> list[Any]:
        taken = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return taken

    def lines(self, *, keep: bool = False) -> list[dict[str, Any]]:
        sends = [effect for effect in self.effects if isinstance(effect, Send)] if keep else self.take(Send)
        return [json.loads(line) for send in sends for line in send.lines.splitlines()]

    def sent(self) -> list[str]:
        """Return the lines sent, in short: surveys and fences left out."""
        short = []
        for line in self.lines():
            kind, room = line["type"], line.get("roomid", "")
            if kind not in ("status", "ping") and not room.startswith("?"):
                short.append(f"{kind} {line.get('id') or room}".strip())
        return short

    def events(self) -> list[Event]:
        return [tell.event for tell in self.take(Tell)]

    def done(self) -> dict[str, Any]:
        """Return what became of what was asked: the value, or the class of the error."""
        return {done.key: type(done.error) if done.error else done.value for done in self.take(Done)}

    # What happens to it

    def hear(self, *messages: Message) -> None:
        self.do(self.state.received(list(messages), self.now))

    def hear_fence(self) -> None:
        """Have the server answer what is under way."""
        self.hear(RoomContents(self.fence, [], ""))

    def start(self) -> None:
        self.do(self.state.start(self.now))

    def stop(self) -> None:
        self.do(self.state.stop(self.now))

    def connected(self) -> None:
        self.do(self.state.connected(self.now))

    def fail(self, reason: str) -> None:
        self.do(self.state.failed(reason, self.now))

    def due(self) -> None:
        """Have the machine's time come now, whether it wants that or not."""
        self.alarm = None
        self.do(self.state.due(self.now))

    def run(self, seconds: float) -> None:
        """Let time pass: the machine is called when it wants to be."""
        end = self.now + seconds
        while self.alarm is not None and self.alarm <= end:
            self.now = self.alarm
            self.due()
        self.now = end

    def ask(self, *items: Any) -> None:
        for item in items:
            self.do(self.state.ask(item, self.now))

    def say(self, *keys: str, room: str | None = None) -> None:
        self.ask(*(requests.say(key, "x", room) for key in keys))

    def lose(self, reason: str = "gone") -> None:
        self.do(self.state.lost(reason, self.now))

    def connect(self) -> None:
        """Get as far as `hello`."""
        if self.state.phase in (Phase.FRESH, Phase.STOPPED):
            self.start()
        elif self.state.phase is Phase.WAITING:
            self.due()
        self.connected()

    def welcome(self, session: str = "s1", identity: str = "ada", **fields: Any) -> None:
        self.hear(
            Welcome(
                1,
                fields.get("server", "north"),
                session,
                identity,
                1,
                "leader",
                fields.get("redundancy", "single"),
                fields.get("servers", []),
            )
        )

    def online(self, *rooms: str, positions: int | None = None) -> "Machine":
        """Be welcomed anew, in rooms where everything before `positions` was read."""
        self.connect()
        self.welcome()
        for room in (HALL, *rooms):
            self.hear(RoomChange("ada", "", room))
        if positions is not None:
            self.hear(status(*((room, positions) for room in (HALL, *rooms))))
        self.hear_fence()
        self.effects.clear()
        return self

    def back(self, *rooms: str) -> None:
        """Be welcomed again with the same session, which is in these rooms."""
        self.connect()
        self.welcome(self.state.session or "", self.state.identity)
        self.hear(*(RoomContents(room, ["eve", self.state.identity], "") for room in rooms))

    def hello(self) -> dict[str, Any]:
        (hello,) = [line for line in self.lines() if line["type"] == "hello"]
        return hello


class TableTests(SynchronousTestCase):
    def test_every_row_is_performed(self) -> None:
        """No row is there for nothing, and each cue does what the table says in the phases it lists."""
        calls: dict[Cue, Any] = {
            Cue.START: lambda machine: machine.start(),
            Cue.CONNECTED: lambda machine: machine.connected(),
            Cue.FAILED: lambda machine: machine.fail("refused"),
            Cue.WELCOMED: lambda machine: machine.welcome(),
            Cue.LOST: lambda machine: machine.lose(),
            Cue.DUE: lambda machine: machine.due(),
            Cue.DISMISSED: lambda machine: machine.hear(Error("session-moved", "x")),
            Cue.STOP: lambda machine: machine.stop(),
        }
        ways = {
            Phase.FRESH: [],
            Phase.STOPPED: [Cue.STOP],
            Phase.CONNECTING: [Cue.START],
            Phase.WAITING: [Cue.START, Cue.FAILED],
            Phase.GREETING: [Cue.START, Cue.CONNECTED],
            Phase.ONLINE: [Cue.START, Cue.CONNECTED, Cue.WELCOMED],
            Phase.STOPPING: [Cue.START, Cue.CONNECTED, Cue.STOP],
        }
        for phase, way in ways.items():
            for cue, call in calls.items():
                machine = Machine()
                for step in way:
                    calls[step](machine)
                self.assertIs(machine.state.phase, phase)
                self.assertEqual(machine.state.state, STATES[phase])
                if (phase, cue) in TRANSITIONS:
                    call(machine)
                    self.assertIs(machine.state.phase, TRANSITIONS[phase, cue][0], (phase, cue))
                elif cue is Cue.WELCOMED or (phase, cue) == (Phase.STOPPING, Cue.DISMISSED):
                    call(machine)
                    self.assertIs(machine.state.phase, phase, "a server cannot make it fail")
                else:
                    self.assertRaises(KeyError, call, machine)


class ConnectingTests(SynchronousTestCase):
    def test_start(self) -> None:
        machine = Machine()
        machine.start()
        self.assertEqual(machine.take(Connect), [Connect(0)])
        self.assertEqual(machine.take(Wake), [Wake(1.0, 1.0)], "a try has an end")
        self.assertEqual(machine.events(), [StateChanged("connecting", "", "", "")])
        machine.connected()
        self.assertEqual(machine.lines(), [{"type": "hello", "version": 1}])
        self.assertEqual(machine.take(Wake), [Wake(0.5, 0.5)], "so has a welcome")
        self.assertEqual(machine.events(), [])

    def test_hello_says_what_is_wanted(self) -> None:
        machine = Machine(identity="ada", history=5, session="s0")
        machine.connect()
        hello = {"type": "hello", "version": 1, "identity": "ada", "session": "s0", "history": 5}
        self.assertEqual(machine.lines(), [hello])

    def test_failed_tries(self) -> None:
        """Each try goes to the next place at once; between rounds there is a wait of half to all of what doubles."""
        machine = Machine()
        machine.start()
        waits, places = [], machine.take(Connect)
        for _ in range(4):
            machine.take(Wake)
            machine.fail("refused")
            waits += machine.take(Wake)
            machine.due()
            places += machine.take(Connect)
        self.assertEqual([place.place for place in places], [0, 1, 0, 1, 0])
        self.assertEqual(waits, [Wake(0, 0), Wake(0.5, 1.0), Wake(0, 0), Wake(1.0, 2.0)])
        self.assertEqual(
            machine.events()[1:3], [StateChanged("waiting", "", "", "refused"), StateChanged("connecting", "", "", "")]
        )

    def test_slow_try(self) -> None:
        machine = Machine()
        machine.start()
        machine.effects.clear()
        machine.run(0.9)
        self.assertEqual(machine.effects, [])
        machine.due()
        self.assertEqual(machine.take(HangUp), [HangUp()])
        self.assertEqual(machine.events(), [StateChanged("waiting", "", "", "no connection in time")])
        self.assertEqual(machine.take(Wake), [Wake(0, 0)])

    def test_patience_grows_with_every_round(self) -> None:
        """When all places have failed it may be the client that is far away; there is an end to it all the same."""
        machine = Machine(connect_s_max=3.0, places=1)
        machine.start()
        spans = []
        for _ in range(5):
            spans.append(machine.take(Wake)[-1].most_s)
            machine.fail("refused")
            machine.due()
        self.assertEqual(spans, [1.0, 2.0, 3.0, 3.0, 3.0])
        machine.effects.clear()
        machine.connected()
        self.assertEqual(machine.take(Wake), [Wake(7.5, 7.5)], "half of what a silent server is given in the end")

    def test_no_welcome(self) -> None:
        """A server that says nothing at all is asked once, and left for the next."""
        machine = Machine()
        machine.connect()
        machine.effects.clear()
        machine.run(0.99)
        self.assertEqual([line["type"] for line in machine.lines()], ["ping"])
        self.assertEqual(machine.take(HangUp), [])
        machine.run(0.02)
        self.assertEqual(machine.take(HangUp), [HangUp()])
        machine.welcome()
        self.assertEqual(machine.events(), [], "nothing is heard any more")
        machine.due()
        self.assertEqual(machine.take(HangUp), [], "once is enough")
        machine.lose()
        self.assertEqual(machine.events(), [StateChanged("waiting", "", "", "no answer within 1.0 s")])

    def test_slow_welcome(self) -> None:
        """A server that lives may take its time, but not for ever."""
        machine = Machine(welcome_s_max=3.0)
        machine.connect()
        machine.effects.clear()
        for _ in range(29):
            machine.run(0.1)
            machine.hear(Pong())
        self.assertEqual((machine.take(HangUp), machine.lines()), ([], []), "what is heard need not be asked for")
        machine.run(0.1)
        self.assertEqual(machine.take(HangUp), [HangUp()])
        machine.lose()
        self.assertEqual(machine.events(), [StateChanged("waiting", "", "", "no welcome in time")])

    def test_turned_away(self) -> None:
        """The reason is what the server said, not that it closed."""
        machine = Machine()
        machine.connect()
        machine.effects.clear()
        machine.hear(Error("full", "too many"))
        machine.lose()
        self.assertEqual(
            machine.events(), [Refusal("full", "too many", None, None), StateChanged("waiting", "", "", "full")]
        )

    def test_before_the_welcome(self) -> None:
        """A server that greets without a welcome is not ours to listen to."""
        machine = Machine()
        machine.connect()
        machine.effects.clear()
        machine.hear(NewIdentity("", "guest1"), RoomChange("guest1", "", HALL), said(1), Ack("a", HALL, 1, 1, 1))
        self.assertEqual(machine.effects, [])
        machine.hear(Notice("session-unknown", "over"))
        self.assertEqual(machine.events(), [Noticed("session-unknown", "over")])

    def test_welcome(self) -> None:
        machine = Machine()
        machine.connect()
        machine.effects.clear()
        machine.welcome(redundancy="paired", servers=["south:1"])
        self.assertEqual(machine.events(), [StateChanged("online", "north", "paired", ""), Welcomed("ada", False)])
        state = machine.state
        self.assertEqual(
            (state.session, state.identity, state.server, state.redundancy), ("s1", "ada", "north", "paired")
        )
        self.assertEqual([line["type"] for line in machine.lines()], ["status", "who"])
        machine.welcome("s2")
        self.assertEqual(machine.effects, [], "one is enough")
        machine.lose()
        machine.due()
        machine.fail("x")
        machine.due()
        self.assertEqual([effect.place for effect in machine.take(Connect)], [1, "south:1"])
        self.assertEqual((state.server, state.redundancy), ("", ""))

    def test_hello_again(self) -> None:
        """The session's token, and for each room what comes next and the epoch of what was last."""
        machine = Machine().online("Tea", positions=4)
        machine.hear(said(5, epoch=3))
        machine.lose()
        machine.connect()
        hello = machine.hello()
        self.assertEqual(hello["session"], "s1")
        self.assertEqual(hello["resume"], [{"roomid": HALL, "from": 6, "epoch": 3}, {"roomid": "Tea", "from": 5}])

    def test_long_stay_shortens_the_wait(self) -> None:
        machine = Machine(places=1)
        machine.start()
        for _ in range(3):
            machine.fail("x")
            machine.due()
        machine.connected()
        machine.welcome()
        machine.now = 7.9
        machine.effects.clear()
        machine.lose()
        self.assertEqual(machine.take(Wake), [Wake(4.0, 8.0)])
        machine.connect()
        machine.welcome()
        machine.now = 15
        machine.effects.clear()
        machine.lose()
        self.assertEqual(machine.take(Wake), [Wake(4.0, 8.0)], "it is the stay that counts")
        machine.connect()
        machine.welcome()
        machine.now = 23
        machine.effects.clear()
        machine.lose()
        self.assertEqual(machine.take(Wake), [Wake(0.5, 1.0)])

    def test_reasons(self) -> None:
        """Why a connection was lost is its own affair: neither an error long ago nor the one before explains it."""
        machine = Machine().online()
        machine.hear(Error("bad-line", "x"))
        machine.events()
        machine.lose("gone")
        self.assertEqual(machine.events(), [StateChanged("waiting", "", "", "gone")])
        machine.connect()
        machine.hear(Error("full", "x"))
        machine.lose("closed")
        machine.connect()
        machine.lose("gone")
        self.assertEqual(machine.events()[-1], StateChanged("waiting", "", "", "gone"))


class SilenceTests(SynchronousTestCase):
    """A server that was stopped keeps its connections: only silence tells."""

    def pings(self, machine: Machine) -> int:
        return len([line for line in machine.lines() if line["type"] == "ping"])

    def test_message(self) -> None:
        """After half its time the server is asked; then it is left, and the other one tried at once."""
        machine = Machine().online()
        machine.run(3.0)
        machine.say("a")
        machine.effects.clear()
        machine.run(0.95)
        self.assertEqual((self.pings(machine), machine.take(HangUp)), (1, []))
        machine.run(0.06)
        self.assertEqual(machine.take(HangUp), [HangUp()])
        machine.lose("aborted")
        self.assertEqual(machine.events(), [StateChanged("waiting", "", "", "no answer within 1.0 s")])
        machine.run(0)
        self.assertEqual(machine.take(Connect), [Connect(1)])
        machine.connected()
        machine.effects.clear()
        machine.welcome("s1")
        self.assertEqual(machine.sent(), ["message a"])

    def test_request(self) -> None:
        machine = Machine().online()
        machine.run(3.0)
        machine.ask(requests.list_rooms("l"))
        machine.run(1.01)
        self.assertEqual(machine.take(HangUp), [HangUp()])

    def test_held_back(self) -> None:
        """A server that lives and holds an acknowledgement back is asked again and again, and kept."""
        machine = Machine().online()
        machine.say("a")
        machine.effects.clear()
        asked = 0
        for _ in range(200):
            machine.run(0.1)
            if pings := self.pings(machine):
                asked += pings
                machine.hear(Pong())
        self.assertEqual(machine.take(HangUp), [])
        self.assertGreater(asked, 30)

    def test_parts_of_a_line(self) -> None:
        """A long line is heard from its first byte on."""
        machine = Machine().online()
        machine.say("a")
        machine.effects.clear()
        for _ in range(100):
            machine.run(0.4)
            machine.state.heard(machine.now)
        self.assertEqual((machine.take(HangUp), self.pings(machine)), ([], 0))

    def test_long_line(self) -> None:
        """What is still on its way up cannot be answered."""
        machine = Machine().online()
        machine.ask(requests.say("a", "x" * 32 * 1024, None))
        machine.run(2.9)
        self.assertEqual(machine.take(HangUp), [])
        machine.run(0.2)
        self.assertEqual(machine.take(HangUp), [HangUp()])

    def test_nothing_awaited(self) -> None:
        """Then there is time: what is asked on a slow heartbeat is no answer that anybody waits for."""
        machine = Machine().online()
        machine.say("a")
        machine.hear(Ack("a", HALL, 1, 1, 1))
        machine.effects.clear()
        machine.run(14.9)
        self.assertEqual((self.pings(machine), machine.take(HangUp)), (2, []))
        machine.run(0.2)
        self.assertEqual(machine.take(HangUp), [HangUp()])

    def test_few_timers(self) -> None:
        """A message that is acknowledged soon moves the alarm once, not with every line."""
        machine = Machine().online()
        for number in range(100):
            machine.say(f"a{number}")
            machine.hear(Ack(f"a{number}", HALL, 1, 1, 1))
            machine.now += 0.001
        self.assertEqual(len(machine.take(Wake)), 0, "that of the welcome is soon enough")
        machine.run(1.0)
        self.assertEqual(len(machine.take(Wake)), 1)

    def test_good_as_long_as_it_was_heard(self) -> None:
        """A place that let us in and then said nothing was none: the round goes on, and there is a wait after it."""
        machine = Machine(places=1)
        machine.start()
        machine.fail("x")
        machine.run(1.0)
        for wait_s, patience_s in ((2.0, 4.0), (4.0, 5.0)):
            machine.connected()
            machine.run(0.9)
            machine.welcome("s1")
            machine.run(9.0)
            machine.say(f"{wait_s}")
            machine.run(1.1)
            self.assertEqual(machine.take(HangUp), [HangUp()])
            machine.lose("aborted")
            self.assertEqual(machine.take(Wake)[-1], Wake(wait_s / 2, wait_s))
            machine.run(wait_s)
            self.assertEqual(machine.take(Wake)[-1], Wake(patience_s, patience_s))
        machine.connected()
        machine.welcome("s1")
        machine.run(0.2)
        machine.hear(Pong())
        machine.now += 20.0
        machine.lose("gone")
        self.assertEqual(machine.take(Wake)[-1], Wake(0.5, 1.0), "until the end")

    def test_stopping(self) -> None:
        """Who leaves waits no longer than was said, whatever was awaited."""
        machine = Machine().online()
        machine.say("a")
        machine.stop()
        machine.effects.clear()
        machine.run(2.9)
        self.assertEqual(machine.effects, [])


class ContactTests(SynchronousTestCase):
    def test_offered_to_every_server(self) -> None:
        machine = Machine()
        machine.do(machine.state.accept_contacts("ada:1", machine.now))
        machine.connect()
        self.assertEqual([line["type"] for line in machine.lines()], ["hello"])
        machine.welcome()
        offer = {"type": "contact", "address": "ada:1"}
        self.assertEqual(machine.lines()[0], offer)
        machine.hear_fence()
        machine.do(machine.state.accept_contacts("ada:2", machine.now))
        self.assertEqual(machine.lines(), [{**offer, "address": "ada:2"}])
        machine.lose()
        self.assertRaises(ClientError, machine.state.accept_contacts, "", machine.now)
        machine.back(HALL)
        self.assertEqual(machine.lines()[1], {**offer, "address": "ada:2"})

    def test_taken_back(self) -> None:
        machine = Machine()
        machine.do(machine.state.refuse_contacts(machine.now))
        machine.online()
        machine.lines()
        machine.do(machine.state.refuse_contacts(machine.now))
        self.assertEqual(machine.lines(), [], "nothing was offered")
        machine.do(machine.state.accept_contacts("ada:1", machine.now))
        machine.do(machine.state.refuse_contacts(machine.now))
        self.assertEqual([line["address"] for line in machine.lines()], ["ada:1", ""])
        machine.lose()
        machine.back(HALL)
        self.assertNotIn("contact", [line["type"] for line in machine.lines()])

    def test_on_a_connection_given_up(self) -> None:
        machine = Machine().online(positions=4)
        machine.hear(said(9))
        machine.effects.clear()
        machine.do(machine.state.accept_contacts("ada:1", machine.now))
        self.assertEqual(machine.effects, [])

    def test_expected(self) -> None:
        machine = Machine().online()
        machine.hear(Contact("eve", "t"))
        self.assertEqual(machine.events(), [ContactExpected("eve", "t")])

    def test_asked(self) -> None:
        machine = Machine().online()
        machine.ask(requests.contact("c", "eve"), requests.contact("d", "bob"))
        machine.hear_fence()
        self.assertEqual(machine.done(), {})
        machine.hear(Contact("eve", "t", "eve:1"))
        self.assertEqual(machine.done(), {"c": ContactFound("eve", "eve:1", "t")})
        machine.hear(Error("no-address", "x"))
        self.assertEqual(machine.done(), {})
        machine.hear_fence()
        self.assertEqual(machine.done(), {"d": Refused})
        self.assertEqual(machine.events(), [])


class StoppingTests(SynchronousTestCase):
    def test_before_the_start(self) -> None:
        """What was asked before the start waits for it; a stop ends it."""
        machine = Machine()
        machine.say("a")
        machine.stop()
        self.assertEqual(machine.done(), {"a": ClientStopped})
        self.assertEqual(machine.events(), [])
        self.assertRaises(ClientStopped, machine.say, "b")

    def test_while_connecting(self) -> None:
        machine = Machine()
        machine.start()
        machine.effects.clear()
        machine.stop()
        self.assertEqual((machine.take(HangUp), machine.take(Sleep)), ([HangUp()], [Sleep()]))
        self.assertEqual(machine.events(), [StateChanged("stopped", "", "", "asked to")])

    def test_while_waiting(self) -> None:
        machine = Machine()
        machine.start()
        machine.fail("x")
        machine.effects.clear()
        machine.stop()
        self.assertEqual((machine.take(HangUp), machine.take(Sleep)), ([], [Sleep()]))

    def test_online(self) -> None:
        """Quit is said; what was said before it is still answered, what was not is given up at once."""
        machine = Machine(in_flight_max=2).online()
        machine.say("a", "b", "c")
        machine.ask(requests.list_rooms("l"))
        machine.effects.clear()
        machine.stop()
        self.assertEqual(machine.sent(), ["quit"])
        self.assertEqual(machine.take(Wake), [Wake(3.0, 3.0)])
        self.assertEqual(machine.events(), [StateChanged("stopped", "", "", "asked to")])
        self.assertEqual(machine.done(), {"c": ClientStopped, "l": ClientStopped})
        self.assertIsNone(machine.state.session)
        machine.stop()
        self.assertEqual(machine.effects, [])
        machine.hear(Ack("a", HALL, 1, 1, 1), said(1, id="a"), Status([], 0, 0, 1, "leader", "alone", []))
        machine.hear(RoomChange("ada", HALL, ""), Redirect(["b:1"], "draining", 0), Error("session-moved", "x"))
        self.assertEqual(machine.done(), {"a": Sent(HALL, 1, 1)})
        self.assertEqual([event.index for event in machine.events() if isinstance(event, Said)], [1])
        self.assertEqual(machine.effects, [], "its own leaving is no news, and nothing moves it any more")
        machine.lose()
        self.assertEqual(machine.done(), {"b": ClientStopped})
        self.assertEqual(machine.take(Sleep), [Sleep()])
        self.assertEqual(machine.events(), [])

    def test_request_under_way(self) -> None:
        machine = Machine().online()
        machine.ask(requests.list_rooms("l"), requests.list_rooms("m"))
        machine.stop()
        self.assertEqual(machine.done(), {"m": ClientStopped})
        machine.hear(RoomList([]))
        machine.hear_fence()
        self.assertEqual(machine.done(), {"l": {}})

    def test_while_greeting(self) -> None:
        """The session may have begun, so it is ended; the welcome that comes then changes nothing."""
        machine = Machine()
        machine.connect()
        machine.effects.clear()
        machine.stop()
        self.assertEqual(machine.sent(), ["quit"])
        machine.effects.clear()
        machine.welcome()
        self.assertEqual(machine.effects, [])

    def test_server_that_does_not_close(self) -> None:
        machine = Machine().online()
        machine.stop()
        machine.effects.clear()
        machine.due()
        self.assertEqual(machine.take(HangUp), [HangUp()])
        machine.lose()
        self.assertIs(machine.state.phase, Phase.STOPPED)

    def test_without_quitting(self) -> None:
        """The session is left for a later client."""
        machine = Machine(quit_on_stop=False).online()
        machine.stop()
        self.assertEqual(machine.sent(), [])
        self.assertEqual(machine.take(HangUp), [HangUp(polite=True)])
        self.assertEqual(machine.state.session, "s1")

    def test_start_again(self) -> None:
        """Rooms and positions are those of before."""
        machine = Machine().online("Tea", positions=4)
        machine.stop()
        machine.hear(RoomChange("ada", HALL, ""), RoomChange("ada", "Tea", ""))
        machine.lose()
        machine.effects.clear()
        machine.connect()
        hello = machine.hello()
        self.assertNotIn("session", hello)
        self.assertEqual(hello["resume"], [{"roomid": HALL, "from": 5}, {"roomid": "Tea", "from": 5}])

    def test_session_moved(self) -> None:
        """Two that take one session from each other would never end."""
        machine = Machine(in_flight_max=1).online()
        machine.say("a", "b")
        machine.effects.clear()
        machine.hear(Error("session-moved", "x"), said(1))
        self.assertEqual(machine.events(), [StateChanged("stopped", "", "", "session-moved")])
        self.assertEqual(machine.done(), {"a": ClientStopped, "b": ClientStopped})
        self.assertEqual(machine.take(HangUp), [HangUp(polite=True)])
        self.assertEqual(machine.take(Wake), [Wake(3.0, 3.0)])
        self.assertIsNone(machine.state.session)
        machine.lose()
        self.assertEqual(machine.effects, [Sleep()])

    def test_session_moved_by_a_connection_of_ours(self) -> None:
        """A server that stood still hears a connection that was given up after the one that followed it."""
        machine = Machine().online()
        machine.lose()
        machine.due()
        machine.connect()
        machine.effects.clear()
        machine.hear(Error("session-moved", "x"))
        machine.lose()
        self.assertEqual(machine.state.state, "waiting")
        self.assertIsNotNone(machine.state.session)
        machine.due()
        machine.connect()
        machine.hear(Error("session-moved", "x"))
        self.assertEqual(machine.state.state, "stopped", "the second time it is somebody else")


class AccountTests(SynchronousTestCase):
    def hello(self, machine: Machine) -> dict[str, Any]:
        (line,) = (line for line in machine.lines() if line["type"] == "hello")
        return {key: line[key] for key in ("account", "password", "ticket") if key in line}

    def test_a_ticket_is_shown_instead_of_the_password(self) -> None:
        machine = Machine(account="ada", password="p")
        machine.start()
        machine.connected()
        self.assertEqual(self.hello(machine), {"account": "ada", "password": "p"})
        welcome = Welcome(1, "a", "s", "ada", 1, "leader", "single", [], [], "ada", "t", ["admin"])
        machine.hear(welcome)
        self.assertEqual((machine.state.ticket, machine.state.roles), ("t", ("admin",)))
        machine.lose()
        machine.due()
        machine.connected()
        self.assertEqual(self.hello(machine), {"account": "ada", "ticket": "t"})
        machine.hear(Welcome(1, "a", "s", "ada", 1, "leader", "single", [], [], "ada"))
        self.assertEqual(machine.state.ticket, "t")

    def test_a_ticket_that_is_good_no_longer_is_followed_by_the_password(self) -> None:
        machine = Machine(account="ada", password="p", ticket="t")
        machine.start()
        machine.connected()
        self.assertEqual(self.hello(machine), {"account": "ada", "ticket": "t"})
        machine.events()
        machine.hear(Error("login-failed", "x"))
        machine.lose()
        self.assertEqual([event.reason for event in machine.events()], ["login-failed"])
        machine.due()
        machine.connected()
        self.assertEqual(self.hello(machine), {"account": "ada", "password": "p"})

    def test_it_is_no_use_to_come_back(self) -> None:
        for code in ("login-failed", "login-required", "banned", "logged-out", "account-gone"):
            machine = Machine(account="ada", password="p")
            machine.start()
            machine.connected()
            machine.events()
            machine.hear(Error(code, "why"))
            self.assertEqual(
                machine.events(), [Refusal(code, "why", None, None), StateChanged("stopped", "", "", code)]
            )

    def test_banned_from_a_room_is_not_banned(self) -> None:
        machine = Machine().online()
        machine.hear(Error("banned", "x", roomid="Tea"))
        self.assertEqual(machine.state.state, "online")

    def test_slowed_it_waits(self) -> None:
        machine = Machine(account="ada", password="p")
        machine.start()
        machine.connected()
        machine.hear(Error("login-slowed", "x", after=30_000))
        machine.effects.clear()
        machine.lose()
        self.assertEqual(machine.take(Wake), [Wake(30.0, 30.0)])
        machine = Machine(account="ada", password="p")
        machine.start()
        machine.connected()
        machine.hear(Error("login-slowed", "x"))
        machine.effects.clear()
        machine.lose()
        self.assertLess(machine.take(Wake)[0].most_s, 30.0)


class SayingTests(SynchronousTestCase):
    def test_acknowledged(self) -> None:
        machine = Machine().online()
        machine.say("a", "b")
        self.assertEqual(machine.sent(), ["message a", "message b"])
        machine.hear(Ack("a", "Tea", 7, 2, 1), Ack("a", "Tea", 7, 2, 1), Ack("x", "Tea", 8, 2, 1))
        self.assertEqual(machine.done(), {"a": Sent("Tea", 7, 2)})

    def test_private(self) -> None:
        machine = Machine().online()
        machine.ask(requests.private("p", "eve", "hi"))
        self.assertEqual(machine.sent(), ["private p"])
        machine.hear(PrivateAck("p", "eve", 1))
        self.assertEqual(machine.done(), {"p": 1})
        machine.hear(PrivateAck("p", "eve", 1))
        self.assertEqual(machine.done(), {})
        machine.hear(Private("eve", "hi", "q", 2.5))
        self.assertEqual(machine.events(), [PrivateSaid("eve", "hi", "q", 2.5)])
        self.assertFalse(machine.state.once.direct("q"), "it has been told")
        machine.state.once.direct("r")
        machine.hear(Private("eve", "ho", "r", 2.5))
        self.assertEqual(machine.events(), [], "it came directly before")

    def test_offline(self) -> None:
        """What is said while there is no connection goes out with the next."""
        machine = Machine()
        machine.say("a")
        machine.connect()
        machine.say("b")
        machine.take(Send)
        machine.welcome()
        self.assertEqual(machine.sent(), ["message a", "message b"])

    def test_again_with_the_same_id(self) -> None:
        machine = Machine(in_flight_max=3).online()
        machine.say("a", "b")
        machine.ask(requests.private("p", "eve", "hi"), requests.rename("r", "bob"))
        machine.say("c", "d")
        machine.ask(requests.list_rooms("l"))
        machine.effects.clear()
        machine.hear(Ack("a", HALL, 1, 1, 1))
        machine.effects.clear()
        machine.lose()
        self.assertEqual(machine.done(), {"p": Uncertain, "r": Uncertain})
        machine.say("e")
        machine.effects.clear()
        machine.back(HALL)
        self.assertEqual(machine.sent()[1:], ["message b", "message c", "message d"])
        machine.hear(Ack("b", HALL, 2, 1, 1))
        machine.hear_fence()
        self.assertEqual(machine.sent(), ["list", "message e"])

    def test_refused(self) -> None:
        machine = Machine().online()
        machine.say("a")
        machine.hear(Error("content-too-long", "x", id="a"))
        self.assertEqual(machine.done(), {"a": Refused})
        self.assertEqual(machine.events(), [])
        machine.hear(Error("content-too-long", "x", id="a"))
        self.assertEqual(machine.events(), [Refusal("content-too-long", "x", "a", None)])

    def test_too_long_a_line(self) -> None:
        """Sent again it would end every connection: the longest was too long if any was."""
        machine = Machine().online()
        machine.say("a")
        machine.ask(requests.say("b", "xx", None))
        machine.hear(Error("line-too-long", "x"))
        self.assertEqual(machine.done(), {"b": Refused})
        self.assertEqual(machine.events(), [])
        machine.lose()
        machine.effects.clear()
        machine.back(HALL)
        self.assertEqual(machine.sent()[1:], ["message a"])

    def test_too_long_a_line_of_nobody(self) -> None:
        machine = Machine().online()
        machine.hear(Error("line-too-long", "x"))
        self.assertEqual(machine.events(), [Refusal("line-too-long", "x", None, None)])
        machine.lose("closed")
        self.assertEqual(machine.events(), [StateChanged("waiting", "", "", "line-too-long")])

    def test_ceiling(self) -> None:
        machine = Machine(queue_max=1)
        machine.say("a")
        self.assertRaises(QueueFull, machine.say, "b")

    def test_withdrawn(self) -> None:
        machine = Machine()
        machine.say("a", "b")
        machine.state.withdraw("a")
        machine.connect()
        machine.take(Send)
        machine.welcome()
        self.assertEqual(machine.sent(), ["message b"])

    def test_own(self) -> None:
        """As many ids are remembered as may be queued."""
        machine = Machine(queue_max=2).online()
        machine.say("a")
        machine.hear(Ack("a", HALL, 1, 1, 1))
        machine.say("b")
        machine.hear(said(1, id="a"), said(2, id="b"), said(3, id="x"))
        machine.hear(Ack("b", HALL, 2, 1, 1))
        machine.say("c")
        machine.hear(said(4, id="a"), said(5, id="c"))
        self.assertTrue(machine.state.is_own("c"))
        owned = [event.own for event in machine.events() if isinstance(event, Said)]
        self.assertEqual(owned, [True, True, False, False, True])


class RequestTests(SynchronousTestCase):
    def test_answered(self) -> None:
        """A request is over when its fence is; what it caused is heard as events, too."""
        machine = Machine().online()
        machine.ask(requests.rename("r", "bob"))
        self.assertEqual(machine.sent(), ["identitychange"])
        machine.hear(NewIdentity("ada", "bob"))
        self.assertEqual(machine.events(), [Renamed("ada", "bob")])
        self.assertEqual(machine.done(), {})
        self.assertEqual(machine.state.identity, "bob")
        machine.hear_fence()
        self.assertEqual(machine.done(), {"r": "bob"})
        self.assertEqual(machine.events(), [], "a fence is nobody's room")

    def test_refused(self) -> None:
        machine = Machine().online()
        machine.ask(requests.rename("r", "bob"))
        machine.hear(NewIdentity("ada", "ada"), Error("identity-taken", "x"))
        self.assertEqual(machine.effects, machine.take(Send))
        machine.hear_fence()
        (done,) = machine.take(Done)
        self.assertEqual((done.key, done.error.code), ("r", "identity-taken"))

    def test_kick_without_an_answer(self) -> None:
        machine = Machine().online()
        machine.ask(requests.kick("k", "Tea", "eve", 5))
        machine.hear_fence()
        self.assertEqual(machine.done(), {"k": None})

    def test_error_of_something_else(self) -> None:
        """What belongs to the connection, or names another room, refuses no request."""
        machine = Machine().online()
        machine.ask(requests.leave("v", "Tea"))
        machine.hear(Error("too-much-nonsense", "x"), Error("no-such-room", "x", roomid="Den"))
        self.assertEqual(
            machine.events(),
            [Refusal("too-much-nonsense", "x", None, None), Refusal("no-such-room", "x", None, "Den")],
        )
        machine.hear(Error("not-a-member", "x", roomid="Tea"))
        machine.hear_fence()
        self.assertEqual(machine.done(), {"v": Refused})

    def test_error_of_nobody(self) -> None:
        machine = Machine().online()
        machine.hear(Error("bad-line", "x"))
        self.assertEqual(machine.events(), [Refusal("bad-line", "x", None, None)])

    def test_late_answers(self) -> None:
        """The answer to a request of the connection before does not answer the next one."""
        machine = Machine().online()
        machine.ask(requests.rename("r", "bob"), requests.rename("q", "cat"))
        machine.lose()
        machine.effects.clear()
        machine.back(HALL)
        machine.hear(NewIdentity("ada", "ada"), Error("identity-taken", "somebody else is bob"))
        machine.hear(RoomContents("?f.2", [], ""))
        self.assertEqual(machine.done(), {})
        machine.hear_fence()
        self.assertEqual(machine.sent()[-1], "identitychange")
        machine.hear(NewIdentity("ada", "cat"))
        machine.hear_fence()
        self.assertEqual(machine.done(), {"q": "cat"})

    def test_members_and_rooms(self) -> None:
        machine = Machine().online()
        machine.hear(RoomContents("Tea", ["ada", "eve"], "eve"), RoomList([RoomCount("Tea", 2)]))
        self.assertEqual(machine.events(), [Members("Tea", ("ada", "eve"), "eve"), Rooms({"Tea": 2})])

    def test_unknown(self) -> None:
        machine = Machine().online()
        machine.hear(Welcome(1, "x", "s", "eve", 1, "leader", "single", []), Contact("eve", "t", "late:1"))
        self.assertEqual(machine.effects, [])


class RoomTests(SynchronousTestCase):
    def test_moves(self) -> None:
        machine = Machine().online()
        machine.hear(RoomChange("ada", HALL, "Tea"))
        self.assertEqual(machine.state.rooms, ("Tea",))
        machine.hear(RoomChange("ada", "", "Den"))
        self.assertEqual(machine.state.rooms, ("Tea", "Den"))
        machine.hear(RoomChange("eve", "Den", ""), RoomChange("ada", "Den", "Den"))
        self.assertEqual(machine.state.rooms, ("Tea", "Den"))
        machine.hear(RoomChange("ada", "Tea", ""))
        self.assertEqual(machine.state.rooms, ("Den",))
        moves = [("ada", HALL, "Tea"), ("ada", "", "Den"), ("eve", "Den", ""), ("ada", "Tea", "")]
        self.assertEqual(machine.events(), [Moved(*move) for move in moves], "a refusal is no move")

    def test_names(self) -> None:
        machine = Machine().online()
        machine.hear(NewIdentity("", "ada"), NewIdentity("ada", "ada"), NewIdentity("eve", "eva"))
        self.assertEqual(machine.events(), [Renamed("eve", "eva")])
        self.assertEqual(machine.state.identity, "ada")

    def test_rooms_wanted(self) -> None:
        """They are entered with the first welcome that is heard to the end."""
        machine = Machine(rooms=("Tea", "Den"), history="none")
        machine.connect()
        machine.take(Send)
        machine.welcome()
        self.assertEqual(machine.sent(), ["join Tea", "join Den"])
        machine.lose()
        machine.connect()
        self.assertNotIn("resume", machine.hello())
        machine.welcome()
        lines = machine.lines()
        self.assertEqual(lines[0], {"type": "join", "roomid": "Tea", "stay": True, "history": "none"})
        self.assertEqual([line["type"] for line in lines], ["join", "join", "status", "who"])
        machine.effects.clear()
        machine.hear(
            RoomContents(HALL, ["ada"], ""),
            RoomChange("ada", "", "Tea"),
            Error("no-such-room", "x", roomid="Den"),
            Error("already-there", "x", roomid="Tea"),
            status((HALL, 3), ("Tea", 4)),
        )
        refusals = [event for event in machine.events() if isinstance(event, Refusal)]
        self.assertEqual(refusals, [Refusal("no-such-room", "x", None, "Den")], "the other one is no news")
        machine.hear_fence()
        machine.lose()
        machine.connect()
        resume = machine.hello()["resume"]
        self.assertEqual(resume, [{"roomid": HALL, "from": 4}, {"roomid": "Tea", "from": 5}])
        machine.welcome()
        self.assertEqual(machine.sent(), [])

    def test_resumed_rooms(self) -> None:
        """Rooms of a resumed session are those the server names; what it does not is forgotten."""
        machine = Machine().online("Tea", "Den", positions=4)
        machine.lose()
        machine.connect()
        machine.welcome("s1")
        self.assertEqual(machine.state.rooms, (HALL, "Tea", "Den"), "until it is known better")
        machine.hear(RoomContents("Den", ["ada"], ""), RoomContents("Tea", ["eve"], ""))
        self.assertEqual(machine.state.rooms, ("Den",))
        machine.hear(RoomChange("ada", "", "Attic"), RoomContents("Den", ["ada"], ""))
        machine.hear_fence()
        self.assertEqual(machine.state.rooms, ("Den", "Attic"))
        self.assertNotIn("Tea", machine.state.positions)
        machine.hear(RoomContents("Tea", ["ada"], ""))
        self.assertEqual(machine.state.rooms, ("Den", "Attic"), "later it is nothing but an answer")

    def test_welcome_cut_short(self) -> None:
        """A connection that breaks while rooms are told loses none of them."""
        machine = Machine().online("Tea", "Den", positions=4)
        machine.lose()
        machine.back("Den")
        machine.hear(RoomChange("ada", "Tea", ""), RoomChange("ada", "", "Attic"))
        machine.lose()
        self.assertEqual(machine.state.rooms, (HALL, "Den", "Attic"))
        machine.effects.clear()
        machine.connect()
        self.assertEqual([resume["roomid"] for resume in machine.hello()["resume"]], [HALL, "Den"])

    def test_room_without_a_position(self) -> None:
        """It cannot be resumed, so it is entered again, which a session that is still there refuses."""
        machine = Machine().online("Tea")
        machine.lose()
        machine.connect()
        self.assertNotIn("resume", machine.hello())
        machine.welcome("s1")
        self.assertEqual(machine.sent(), ["join Tea"])
        machine.hear(RoomContents(HALL, ["ada"], ""), RoomContents("Tea", ["ada"], ""))
        machine.effects.clear()
        machine.hear(RoomChange("ada", "Tea", "Tea"), Error("already-there", "x", roomid="Tea"))
        self.assertEqual(machine.effects, [])

    def test_new_session_elsewhere(self) -> None:
        """A new session begins in MainHall; one that was elsewhere does not stay there, or hear of it."""
        machine = Machine().online(positions=4)
        machine.hear(RoomChange("ada", HALL, "Tea"), status(("Tea", 6)))
        machine.hear_fence()
        machine.lose()
        machine.connect()
        self.assertEqual(machine.hello()["resume"], [{"roomid": "Tea", "from": 7}])
        machine.welcome("s2")
        self.assertEqual(machine.sent(), ["leave MainHall"])
        machine.effects.clear()
        machine.hear(RoomChange("ada", "", HALL), RoomChange("ada", "", "Tea"))
        machine.hear(said(1), Gap(HALL, 2, 3, "retention"), said(7, "Tea"))
        machine.hear(RoomChange("ada", HALL, ""))
        machine.hear_fence()
        self.assertEqual(machine.state.rooms, ("Tea",))
        events = machine.events()
        self.assertEqual([event.room for event in events if isinstance(event, Said | Missing)], ["Tea"])
        machine.hear(RoomChange("ada", "Tea", HALL), said(9))
        self.assertEqual(machine.events()[-1], heard(9), "from here on it is a room like any other")

    def test_main_hall_left_and_entered_again(self) -> None:
        """Put out of the other room meanwhile, the client is in MainHall by right."""
        machine = Machine().online(positions=4)
        machine.hear(RoomChange("ada", HALL, "Tea"), status(("Tea", 6)))
        machine.hear_fence()
        machine.lose()
        machine.connect()
        machine.welcome("s2")
        machine.hear(RoomChange("ada", "", HALL), RoomChange("ada", "", "Tea"), RoomChange("ada", HALL, ""))
        machine.hear(RoomChange("ada", "", HALL), said(9))
        self.assertEqual(machine.events()[-1], heard(9))

    def test_new_session_left_in_main_hall(self) -> None:
        """Where all other rooms are gone, MainHall is heard after all."""
        machine = Machine().online(positions=4)
        machine.hear(RoomChange("ada", HALL, "Tea"), status(("Tea", 6)))
        machine.lose()
        machine.connect()
        machine.welcome("s2")
        machine.effects.clear()
        machine.hear(RoomChange("ada", "", HALL), Error("no-such-room", "x", roomid="Tea"), Error("last-room", "x"))
        self.assertEqual(machine.events()[1:], [Refusal("no-such-room", "x", None, "Tea")])
        machine.hear_fence()
        machine.hear(said(9))
        self.assertEqual(machine.events(), [heard(9)])

    def test_name_wanted_by_a_new_session(self) -> None:
        """The name asked for, or the last one taken; a guest's is nothing to insist on."""
        machine = Machine()
        machine.online()
        machine.lose()
        machine.connect()
        self.assertNotIn("identity", machine.hello())
        machine.welcome("s1")
        machine.hear(NewIdentity("ada", "bob"))
        machine.lose()
        machine.connect()
        self.assertEqual(machine.hello()["identity"], "bob")
        machine.welcome("s1", "cat")
        machine.lose()
        machine.connect()
        self.assertEqual(machine.hello()["identity"], "cat", "a change that came through while away")
        machine.welcome("s2", "guest1")
        machine.lose()
        machine.connect()
        self.assertEqual(machine.hello()["identity"], "cat")


class SurveyTests(SynchronousTestCase):
    """`status` tells from where on a room is heard, even where nothing was said yet."""

    def test_on_entering(self) -> None:
        machine = Machine().online()
        machine.hear(RoomChange("ada", "", "Tea"))
        self.assertEqual([line["type"] for line in machine.lines()], ["status", "who"])
        machine.hear(status((HALL, 4), ("Tea", 6), ("Den", 8)))
        machine.hear_fence()
        machine.lose()
        machine.connect()
        resume = machine.hello()["resume"]
        self.assertEqual(resume, [{"roomid": HALL, "from": 5}, {"roomid": "Tea", "from": 7}])

    def test_read_before_told(self) -> None:
        machine = Machine().online(positions=4)
        machine.hear(said(5), status((HALL, 4)), said(6))
        self.assertEqual(machine.events(), [heard(5), heard(6)])

    def test_after_the_request_under_way(self) -> None:
        machine = Machine().online()
        machine.ask(requests.join("j", "Tea", stay=True, history=None), requests.list_rooms("l"))
        machine.effects.clear()
        machine.hear(RoomChange("ada", "", "Tea"))
        self.assertEqual(machine.lines(), [])
        machine.hear_fence()
        self.assertEqual([line["type"] for line in machine.lines()], ["status", "who"])
        machine.hear_fence()
        self.assertEqual([line["type"] for line in machine.lines()], ["list", "who"])

    def test_one_under_way_covers(self) -> None:
        """A room entered before `status` is told is in it; one entered after is not."""
        machine = Machine().online()
        machine.hear(RoomChange("ada", "", "Tea"))
        machine.effects.clear()
        machine.hear(RoomChange("ada", "", "Den"), status())
        machine.hear_fence()
        self.assertEqual(machine.lines(), [])
        machine.hear(RoomChange("ada", "", "Attic"))
        machine.effects.clear()
        machine.hear(status(), RoomChange("ada", "", "Loft"))
        machine.hear_fence()
        self.assertEqual([line["type"] for line in machine.lines()], ["status", "who"])

    def test_on_a_notice(self) -> None:
        """What a notice says in words, `status` says in fields."""
        machine = Machine().online()
        machine.hear(Notice("redundancy", "lost"))
        self.assertEqual([line["type"] for line in machine.lines()], ["status", "who"])
        self.assertEqual(machine.events(), [Noticed("redundancy", "lost")])
        machine.hear(status(redundancy="alone"), status(redundancy="alone"))
        self.assertEqual(machine.events(), [StateChanged("online", "north", "alone", "the server says so")])
        self.assertEqual(machine.state.redundancy, "alone")


class ReadingTests(SynchronousTestCase):
    def test_in_order(self) -> None:
        machine = Machine().online(positions=4)
        machine.hear(said(5), said(5), said(2), said(6), said(1, "Tea"))
        self.assertEqual(machine.events(), [heard(5), heard(6)], "known ones, and rooms one is not in, are passed over")

    def test_hole(self) -> None:
        """Messages never come out of order: the connection is ended, and the next resumes where this one was."""
        machine = Machine().online(positions=4)
        machine.say("a")
        machine.effects.clear()
        machine.hear(said(5), said(7), said(8), Ack("a", HALL, 9, 1, 1))
        self.assertEqual(machine.events(), [heard(5)])
        self.assertEqual(machine.effects, [HangUp()], "and nothing more of it is heard")
        machine.say("b")
        self.assertEqual(machine.effects, [HangUp()], "or sent")
        machine.lose("aborted")
        self.assertEqual(machine.events(), [StateChanged("waiting", "", "", "messages of MainHall are missing")])
        machine.effects.clear()
        machine.connect()
        self.assertEqual(machine.hello()["resume"], [{"roomid": HALL, "from": 6, "epoch": 1}])
        machine.welcome("s1")
        machine.hear(RoomContents(HALL, ["ada"], ""), said(6), said(7))
        self.assertEqual(machine.events()[-2:], [heard(6), heard(7)])

    def test_gap(self) -> None:
        machine = Machine().online(positions=4)
        machine.hear(Gap(HALL, 5, 8, "retention"), said(9), Gap(HALL, 1, 3, "retention"), Gap("Tea", 1, 3, "deleted"))
        self.assertEqual(machine.events(), [Missing(HALL, 5, 8, "retention"), heard(9)])

    def test_rewind(self) -> None:
        machine = Machine().online(positions=4)
        machine.hear(said(5), said(6), Rewind(HALL, 9), Rewind(HALL, 5), said(5))
        self.assertEqual(machine.events(), [heard(5), heard(6), Rewound(HALL, 5), heard(5)])

    def test_resumed_after_a_rewind(self) -> None:
        """Without a witness the epoch of the message before tells a server whose history that is."""
        machine = Machine().online(positions=4)
        machine.hear(said(5, epoch=2), said(6, epoch=2), said(7, epoch=4), said(8, epoch=4), Rewind(HALL, 7))
        machine.lose()
        machine.connect()
        self.assertEqual(machine.hello()["resume"], [{"roomid": HALL, "from": 7, "epoch": 2}])
        machine.welcome("s1")
        machine.hear(RoomContents(HALL, ["ada"], ""), Rewind(HALL, 5))
        machine.lose()
        machine.connect()
        self.assertEqual(machine.hello()["resume"], [{"roomid": HALL, "from": 5}], "nothing before it was read")

    def test_left_and_entered_again(self) -> None:
        """What one left is begun anew."""
        machine = Machine().online("Tea", positions=4)
        machine.hear(said(5, "Tea"), RoomChange("ada", "Tea", ""), said(6, "Tea"), RoomChange("ada", "", "Tea"))
        machine.hear(said(1, "Tea"))
        events = [event for event in machine.events() if isinstance(event, Said)]
        self.assertEqual(events, [heard(5, "Tea"), heard(1, "Tea")])


class RedirectTests(SynchronousTestCase):
    def test_moves_on(self) -> None:
        """After its time the client goes to the servers named, without waiting, and with its session."""
        machine = Machine().online(positions=4)
        machine.hear(Redirect(["south:1", "south:1", "east:1"], "draining", 1500))
        self.assertEqual(machine.alarm, 0.5, "there is one alarm: this one is sooner")
        self.assertEqual(machine.events(), [Redirected(("south:1", "south:1", "east:1"), "draining")])
        machine.ask(requests.list_rooms("l"))
        self.assertEqual(machine.lines(), [], "a request could not be told done from not done")
        machine.run(1.4)
        machine.hear(said(5))
        self.assertEqual(machine.events(), [heard(5)], "until then it is served")
        self.assertEqual(machine.take(HangUp), [])
        machine.run(0.1)
        self.assertEqual(machine.take(HangUp), [HangUp()])
        machine.effects.clear()
        machine.lose("aborted")
        self.assertEqual(machine.events(), [StateChanged("waiting", "", "", "redirected: draining")])
        self.assertEqual(machine.take(Wake), [Wake(0, 0)])
        machine.due()
        self.assertEqual(machine.take(Connect), [Connect("south:1")])
        machine.fail("x")
        machine.due()
        self.assertEqual(machine.take(Connect), [Connect("east:1")])
        machine.connected()
        hello = machine.hello()
        self.assertEqual((hello["session"], hello["resume"][0]["from"]), ("s1", 6))
        machine.welcome("s1")
        machine.hear_fence()
        self.assertEqual(machine.sent(), ["list"])

    def test_where_tls_is_spoken(self) -> None:
        machine = Machine().online()
        machine.hear(Redirect(["south:1", "east:1"], "draining", 0, tls=["east:1"]))
        self.assertEqual(machine.events(), [Redirected(("south:1", "east:1"), "draining")])
        machine.run(0.1)
        machine.lose("aborted")
        machine.due()
        machine.fail("x")
        machine.due()
        self.assertEqual(machine.take(Connect), [Connect("south:1"), Connect("tls:east:1")])

    def test_said_meanwhile(self) -> None:
        machine = Machine().online()
        machine.hear(Redirect([], "draining", 1500))
        machine.say("a")
        self.assertEqual(machine.sent(), ["message a"])

    def test_lost_before(self) -> None:
        """The time is waited for all the same: the server spreads its clients by it."""
        machine = Machine().online()
        machine.hear(Redirect(["south:1"], "isolated", 1500))
        machine.run(0.5)
        machine.effects.clear()
        machine.lose()
        self.assertEqual(machine.take(Wake), [Wake(1.0, 1.0)])
        machine.due()
        self.assertEqual(machine.take(Connect), [Connect("south:1")])

    def test_instead_of_a_welcome(self) -> None:
        machine = Machine()
        machine.connect()
        machine.effects.clear()
        machine.hear(Redirect(["south:1"], "full", -5))
        self.assertEqual(machine.take(Wake), [Wake(0, 0)])
        machine.due()
        self.assertEqual(machine.take(HangUp), [HangUp()])
        machine.lose()
        self.assertEqual(machine.events()[-1], StateChanged("waiting", "", "", "redirected: full"))

    def test_before_the_welcome(self) -> None:
        """A welcome that comes after it does not undo it."""
        machine = Machine()
        machine.connect()
        machine.hear(Redirect(["south:1"], "draining", 1500))
        machine.effects.clear()
        machine.welcome()
        for _ in range(3):
            machine.run(0.5)
            machine.hear(Pong())
        self.assertEqual(machine.take(HangUp), [HangUp()])
        machine.lose()
        machine.due()
        self.assertEqual(machine.take(Connect), [Connect("south:1")])

    def test_forgotten_once_welcomed(self) -> None:
        machine = Machine().online()
        machine.hear(Redirect(["south:1", "east:1"], "draining", 0))
        machine.due()
        machine.lose()
        machine.connect()
        machine.welcome("s1")
        machine.lose()
        machine.take(Connect)
        machine.due()
        self.assertEqual(machine.take(Connect), [Connect(1)], "east is not where it was sent any more")

    def test_twice(self) -> None:
        """Said again it is no news, and no reason to stay longer; if it says something else, it is."""
        machine = Machine().online()
        machine.hear(Redirect(["south:1"], "isolated", 500))
        machine.run(0.3)
        machine.hear(Redirect(["south:1"], "isolated", 500), Redirect([], "isolated", 500))
        self.assertEqual(machine.events(), [Redirected(("south:1",), "isolated"), Redirected((), "isolated")])
        machine.run(0.2)
        self.assertEqual(machine.take(HangUp), [HangUp()])

    def test_in_a_circle(self) -> None:
        """Servers that send a client to one another are each tried once in a round; then there is a wait that grows."""
        machine = Machine(places=2)
        machine.start()
        tried: list[tuple[float, Any]] = []
        while len(tried) < 20:
            (place,) = [connect.place for connect in machine.take(Connect)]
            tried.append((machine.now, place))
            machine.connected()
            machine.hear(Redirect(["south:1" if place in (0, "north:1") else "north:1"], "full", 0))
            machine.run(0)
            machine.lose()
            assert machine.alarm is not None
            machine.run(machine.alarm - machine.now)
        self.assertEqual([at for at, _ in tried], [0] * 4 + [1] * 4 + [3] * 4 + [7] * 4 + [15] * 4)
        self.assertEqual([place for _, place in tried[:4]], [0, "south:1", "north:1", 1])
