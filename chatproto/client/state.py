"""A client's conversation with one server after another, as a state machine. Pure.

What happened comes in by a method and its effects go out as values, in the order in which they are to be
performed. Time comes in as `now`, in seconds of any clock that only goes forward; the next deadline goes out as
`Wake`, and there is only one at a time. The transitions and their reasons are in `phases`.
"""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from chatproto.chat.messages import (
    VERSION,
    Ack,
    Contact,
    Error,
    Gap,
    Hello,
    JoinExtended,
    Leave,
    Message,
    NewIdentity,
    Notice,
    Ping,
    Private,
    PrivateAck,
    Quit,
    Redirect,
    Rewind,
    RoomChange,
    RoomContents,
    RoomList,
    SaidExtended,
    Status,
    Welcome,
    encode,
)
from chatproto.client import requests
from chatproto.client.effects import Connect, Effect, HangUp, Send, Sleep, Tell, Wake
from chatproto.client.events import (
    ContactExpected,
    Event,
    Missing,
    Moved,
    Noticed,
    PrivateSaid,
    Redirected,
    Refusal,
    Renamed,
    Rewound,
    Rooms,
    Sent,
    StateChanged,
    Welcomed,
    said_from,
)
from chatproto.client.once import Once
from chatproto.client.outbox import Done, Outbox
from chatproto.client.phases import STATES, TRANSITIONS, Cue, Phase
from chatproto.client.places import Places
from chatproto.client.positions import Positions, Verdict
from chatproto.client.requests import Request, Speech
from chatproto.client.settings import ClientSettings
from chatproto.client.watch import EARLY_S, Finding, Watch
from chatproto.client.whereabouts import Whereabouts
from chatproto.errors import ClientStopped, Refused
from chatproto.wire.addresses import join_tls
from chatproto.wire.fields import MAIN_HALL

PRIVATES_REMEMBERED_MAX = 1000
"""Ids of private messages, of each way that they come."""

# What belongs to a connection, and so is no answer to anything asked.
_LAST_WORDS = frozenset({"backlog", "full", "line-too-long", "session-moved", "too-much-nonsense", "version"})
# After these it is no use to come back.
_DISMISSALS = frozenset({"account-gone", "banned", "login-failed", "login-required", "logged-out", "session-moved"})
# What a survey's wishes may well be answered with, where a session was resumed that has them fulfilled.
_NO_NEWS = frozenset({"already-there", "last-room"})
_ON_A_LINK = frozenset({Phase.GREETING, Phase.ONLINE})
_PING = encode(Ping())


class ClientState:
    """The state machine.

    Attributes:
        phase: where it stands.
        identity: the current name; empty before the first welcome.
        server: the server's name; empty when not online.
        redundancy: the server's; empty when not online.
        session: the token of the session, None when there is none to return to.
        ticket: what lets the account in without its password; None where there is none.
        roles: what the account may do besides, as the last welcome said.
        positions: what was read of each room.
        once: the private messages that came lately.
    """

    def __init__(self, settings: ClientSettings, places: Places, fence: str, session: str | None = None) -> None:
        """Make one that has not begun.

        Args:
            settings: what can be set.
            places: where to connect.
            fence: random, and like no other client's.
            session: the token of an earlier client's session.
        """
        self.phase = Phase.FRESH
        self.identity = ""
        self.server = ""
        self.redundancy = ""
        self.session = session
        self.ticket = settings.ticket
        self.roles: tuple[str, ...] = ()
        self.positions = Positions()
        self.once = Once(PRIVATES_REMEMBERED_MAX)
        self._settings = settings
        self._places = places
        self._outbox = Outbox(settings, fence)
        self._watch = Watch(settings.answer_s_max, settings.heartbeat_s, settings.silence_s_max)
        self._wanted_identity = settings.identity
        self._own: dict[str, None] = {}
        self._whereabouts = Whereabouts(settings.rooms)
        self._survey_due = False
        self._address_line = b""
        self._redirect: Redirect | None = None
        self._leave_at = math.inf
        self._deaf = False
        self._silent = False
        # A connection of ours that was lost may yet be heard, by a server that stood still, and take the session.
        self._haunted = False
        self._moved = False
        self._why = ""
        # What showing it again before would only make longer.
        self._slowed_until = -math.inf
        self._now = self._online_at = self._connected_at = -math.inf
        # When `due` is called next, where that may be sooner if need be.
        self._wake_at = math.inf
        self._effects: list[Effect] = []

    @property
    def state(self) -> str:
        """`stopped`, `connecting`, `online` or `waiting`."""
        return STATES[self.phase]

    @property
    def rooms(self) -> tuple[str, ...]:
        """Rooms the session is in, the one entered last at the end."""
        return self._whereabouts.rooms

    def is_own(self, id: str) -> bool:
        """Whether this client made an id, as far as it remembers: `queue_max` of them."""
        return id in self._own

    # From the program

    def start(self, now: float) -> list[Effect]:
        """Begin."""
        self._now = now
        self._go(Cue.START)
        self._connect()
        return self._take()

    def stop(self, now: float) -> list[Effect]:
        """End: politely where there is a connection, and then heard of by `lost`."""
        self._now = now
        phase = self.phase
        self._go(Cue.STOP, "asked to")
        if self.phase is Phase.STOPPED:
            if phase is Phase.CONNECTING:
                self._do(HangUp())
            self._end()
        elif phase is not Phase.STOPPING:
            self._fail(self._outbox.give_up_queued())
            self._wake(self._settings.stop_s_max)
            if self._settings.quit_on_stop:
                self.session = None
                self._do(Send(encode(Quit())))
            else:
                self._hang_up(polite=True)
        return self._take()

    def ask(self, item: Speech | Request, now: float) -> list[Effect]:
        """Queue something.

        Raises:
            ClientError: it cannot be: the client is stopped, or the item or the queue is too long.
        """
        self._now = now
        if self.phase in (Phase.STOPPED, Phase.STOPPING):
            raise ClientStopped("the client is stopped")
        self._outbox.add(item)
        if isinstance(item, Speech):
            self._own[item.key] = None
            if len(self._own) > self._settings.queue_max:
                del self._own[next(iter(self._own))]
        self._send_due()
        return self._take()

    def withdraw(self, key: str) -> None:
        """Forget what was not sent yet; nobody waits for what was."""
        self._outbox.withdraw(key)

    def accept_contacts(self, address: str, now: float) -> list[Effect]:
        """Offer an address for direct connections, to this server and to all that follow.

        Raises:
            ClientError: it is no address.
        """
        self._now = now
        self._offer(requests.accept_contacts(address))
        return self._take()

    def refuse_contacts(self, now: float) -> list[Effect]:
        """Offer no address any more."""
        self._now = now
        if self._address_line:
            self._offer(requests.NO_CONTACTS)
            self._address_line = b""
        return self._take()

    def _offer(self, line: bytes) -> None:
        self._address_line = line
        if self.phase is Phase.ONLINE and not self._deaf:
            self._do(Send(line))

    # From the connection

    def due(self, now: float) -> list[Effect]:
        """Hear that the time of `Wake` has come."""
        self._now = now
        self._wake_at = math.inf
        phase = self.phase
        self._go(Cue.DUE, "no connection in time" if phase is Phase.CONNECTING else "")
        if phase is Phase.WAITING:
            self._connect()
        elif phase is Phase.CONNECTING:
            self._do(HangUp())
            self._wait()
        elif phase is Phase.STOPPING:
            self._hang_up()
        elif not self._deaf:
            self._look()
        return self._take()

    def failed(self, reason: str, now: float) -> list[Effect]:
        """Hear that a try to connect has failed."""
        self._now = now
        self._go(Cue.FAILED, reason)
        self._wait()
        return self._take()

    def connected(self, now: float) -> list[Effect]:
        """Hear that there is a connection."""
        self._now = self._connected_at = now
        self._go(Cue.CONNECTED)
        self._watch.begin(now, self._patience_s())
        self._wake_at = math.inf
        resume = self.positions.resume(self.rooms)
        settings = self._settings
        hello = Hello(VERSION, self._wanted_identity, self.session, resume, settings.history, settings.account)
        if self.ticket is not None:
            hello = msgspec.structs.replace(hello, ticket=self.ticket)
        elif settings.account is not None:
            hello = msgspec.structs.replace(hello, password=settings.password)
        self._do(Send(encode(hello)))
        return self._take()

    def lost(self, reason: str, now: float) -> list[Effect]:
        """Hear that the connection is gone."""
        self._now = now
        phase = self.phase
        self._go(Cue.LOST, self._why or reason)
        self._haunted, self._moved = not self._moved, False
        self._whereabouts.lost()
        if self.phase is Phase.STOPPED:
            self._end()
        else:
            self._do(*self._outbox.lost())
            if phase is Phase.ONLINE:
                # It was a good place for as long as it was heard.
                self._places.lost((self._watch.heard_at if self._silent else now) - self._online_at)
            self._wait()
        return self._take()

    def heard(self, now: float) -> None:
        """Hear that something came, be it part of a line."""
        self._watch.heard(now)

    def received(self, messages: list[Message], now: float) -> list[Effect]:
        """Take what the server says, in order."""
        self._now = now
        self._watch.heard(now)
        for message in messages:
            if self._deaf:
                break
            self._hear(message)
        self._send_due()
        return self._take()

    # Phases

    def _go(self, cue: Cue, reason: str = "") -> None:
        state = self.state
        self.phase, _ = TRANSITIONS[self.phase, cue]
        if self.phase is not Phase.ONLINE:
            self.server = self.redundancy = ""
        if self.state != state:
            self._tell(StateChanged(self.state, self.server, self.redundancy, reason))

    def _connect(self) -> None:
        self._deaf = self._silent = self._survey_due = False
        self._redirect = None
        self._leave_at = math.inf
        self._why = ""
        self._wake(min(self._patience_s(), self._settings.connect_s_max))
        self._do(Connect(self._places.next()))

    def _patience_s(self) -> float:
        """How long the next server may be silent: when all have failed, it may be we who are slow or far away."""
        return float(
            min(self._settings.answer_s_max * 2.0 ** min(self._places.rounds, 64), self._settings.silence_s_max)
        )

    def _wait(self) -> None:
        wait_s_max = self._places.wait_s_max()
        # A redirect's time is waited for even if the connection did not last so long: it spreads the clients.
        after_s = max(0.0, self._leave_at - self._now) if self._redirect is not None else 0.0
        after_s = max(after_s, self._slowed_until - self._now)
        # Half of it at least, so that many clients that lost one server do not all come at one moment.
        self._do(Wake(max(wait_s_max / 2, after_s), max(wait_s_max, after_s)))

    def _hang_up(self, *, polite: bool = False) -> None:
        self._deaf = True
        self._do(HangUp(polite))

    def _dismiss(self, reason: str) -> None:
        self.session = None
        self._go(Cue.DISMISSED, reason)
        self._fail(self._outbox.give_up())
        self._wake(self._settings.stop_s_max)
        self._hang_up(polite=True)

    def _end(self) -> None:
        self._do(Sleep())
        self._fail(self._outbox.give_up())

    def _fail(self, keys: list[str]) -> None:
        self._do(*[Done(key, error=ClientStopped("stopped before the server answered")) for key in keys])

    # Time

    def _wake(self, after_s: float) -> None:
        self._do(Wake(after_s, after_s))

    def _set_alarm(self) -> None:
        """Be woken in time, but no sooner for having been heard meanwhile: that is seen then."""
        greeting = self.phase is Phase.GREETING
        self._watch.awaits(greeting or self._outbox.awaits, self._now)
        at = min(self._watch.due_at, self._leave_at)
        if greeting:
            at = min(at, self._connected_at + self._settings.welcome_s_max)
        if at < self._wake_at:
            self._wake_at = at
            self._wake(max(0.0, at - self._now))

    def _look(self) -> None:
        """See what the time has come for, on a connection."""
        soon = self._now + EARLY_S
        if soon >= self._leave_at:
            self._hang_up()
            return
        if self.phase is Phase.GREETING and soon >= self._connected_at + self._settings.welcome_s_max:
            self._why = self._why or "no welcome in time"
            self._hang_up()
            return
        finding = self._watch.due(self._now, self._outbox.line_bytes_max)
        if finding is Finding.ASK:
            self._do(Send(_PING))
        elif finding is Finding.SILENT:
            self._silent = True
            self._why = f"no answer within {self._now - self._watch.quiet_since:.1f} s"
            self._hang_up()

    # What is sent

    def _send_due(self) -> None:
        if self.phase is not Phase.ONLINE or self._deaf:
            return
        lines = b""
        if self._survey_due and self._outbox.under_way is None:
            lines = self._survey(b"")
        # A request that is under way while the client moves on could not be told done from not done.
        lines += self._outbox.due(requests=self._redirect is None)
        if lines:
            self._do(Send(lines))

    def _survey(self, first: bytes) -> bytes:
        self._survey_due = False
        return self._outbox.begin(requests.survey(first))

    # What is heard

    def _hear(self, message: Message) -> None:
        if self.phase is Phase.GREETING:
            if isinstance(message, Welcome):
                self._welcome(message)
                return
            if not isinstance(message, Error | Notice | Redirect):
                return
        self._outbox.hear(message, self.identity)
        hears = _HEARS.get(type(message))
        if hears is not None:
            hears(self, message)
        done = self._outbox.ended()
        if done is not None and done.key:
            self._do(done)
        elif done is not None:
            self._surveyed()

    def _welcome(self, welcome: Welcome) -> None:
        resumed = welcome.session == self.session
        if resumed and self.identity not in ("", welcome.identity):
            # A change of name has come through after its connection broke.
            self._wanted_identity = welcome.identity
        self.session, self.identity = welcome.session, welcome.identity
        self.server, self.redundancy = welcome.server, welcome.redundancy
        self._online_at = self._now
        self._watch.welcomed(self._now)
        self._places.welcomed(welcome.server, join_tls(welcome.servers, welcome.tls))
        self._go(Cue.WELCOMED)
        if self._redirect is None:
            self._places.prefer([])
        self.ticket = welcome.ticket if welcome.ticket is not None else self.ticket
        self.roles = tuple(welcome.roles)
        self._tell(Welcomed(welcome.identity, resumed))
        to_enter, leaves_main_hall = self._whereabouts.welcomed(resumed, self.positions)
        wishes: list[Message] = [JoinExtended(room, stay=True, history=self._settings.history) for room in to_enter]
        if leaves_main_hall:
            wishes.append(Leave(MAIN_HALL))
        self._do(Send(self._survey(self._address_line + b"".join(map(encode, wishes)))))

    def _surveyed(self) -> None:
        if self._whereabouts.surveyed():
            self.positions.keep(self.rooms)

    def _hear_error(self, error: Error) -> None:
        outbox = self._outbox
        if error.code == "session-moved" and self._haunted:
            # Forgiven once: losing the connection for it earns no second time.
            self._moved = True
        elif error.code in _DISMISSALS and error.roomid is None and self.phase is not Phase.STOPPING:
            if error.code != "login-failed" or self.ticket is None or self._settings.password is None:
                if error.code != "session-moved":
                    self._tell(Refusal(error.code, error.message, None, None))
                self._dismiss(error.code)
                return
            # It has ended, or was revoked; the password may still be good.
            self.ticket, self._why = None, error.code
            return
        if error.code == "login-slowed":
            self._slowed_until = self._now + (error.after or 0) / 1000
        if error.id is not None and outbox.acknowledge(error.id):
            self._do(Done(error.id, error=Refused(error.code, error.message)))
            return
        if error.code in _LAST_WORDS or self.phase is Phase.GREETING:
            self._why = error.code
        if error.code == "line-too-long":
            # It does not say which, but if any was, the longest was; sent again it would end every connection.
            longest = outbox.longest()
            if longest is not None and outbox.acknowledge(longest):
                self._do(Done(longest, error=Refused(error.code, error.message)))
                return
        if not self._answers(error):
            self._tell(Refusal(error.code, error.message, error.id, error.roomid))

    def _answers(self, error: Error) -> bool:
        """Take an error for the answer to what is under way, if it can be; return whether it is."""
        under_way = self._outbox.under_way
        if under_way is None or error.id is not None or error.code in _LAST_WORDS:
            return False
        return self._outbox.refuse(error) if under_way.key else error.code in _NO_NEWS

    def _hear_ack(self, ack: Ack) -> None:
        if self._outbox.acknowledge(ack.id):
            self._do(Done(ack.id, Sent(ack.roomid, ack.index, ack.epoch)))

    def _hear_private_ack(self, ack: PrivateAck) -> None:
        if self._outbox.acknowledge(ack.id):
            self._do(Done(ack.id, ack.delivered))

    def _hear_said(self, said: SaidExtended) -> None:
        if not self._whereabouts.reads(said.roomid):
            return
        verdict = self.positions.read(said)
        if verdict is Verdict.NEXT:
            self._tell(said_from(said, own=said.id in self._own))
        elif verdict is Verdict.HOLE:
            # Resuming from where we are, the server has to tell all or to say what is missing.
            self._why = f"messages of {said.roomid} are missing"
            self._hang_up()

    def _hear_gap(self, gap: Gap) -> None:
        reads = self._whereabouts.reads(gap.roomid)
        missing = self.positions.skip(gap.roomid, gap.index, gap.to) if reads else None
        if missing is not None:
            self._tell(Missing(gap.roomid, *missing, gap.reason))

    def _hear_rewind(self, rewind: Rewind) -> None:
        if self.positions.rewind(rewind.roomid, rewind.index):
            self._tell(Rewound(rewind.roomid, rewind.index))

    def _hear_new_identity(self, change: NewIdentity) -> None:
        if change.former in ("", change.identity):
            return
        if change.former == self.identity:
            self.identity = self._wanted_identity = change.identity
        self._tell(Renamed(change.former, change.identity))

    def _hear_room_change(self, change: RoomChange) -> None:
        if change.former == change.roomid:
            return
        if change.identity == self.identity:
            if self.phase is Phase.STOPPING:
                # Our own leaving; what is known of the rooms is for the next start.
                return
            if change.former:
                self._left(change.former)
            if change.roomid:
                self._entered(change.roomid)
        self._tell(Moved(change.identity, change.former, change.roomid))

    def _left(self, room: str) -> None:
        self._whereabouts.left(room)
        self.positions.forget(room)

    def _entered(self, room: str) -> None:
        self._whereabouts.entered(room)
        under_way = self._outbox.under_way
        # A survey whose `status` is still to come covers it.
        self._survey_due |= under_way is None or bool(under_way.key) or under_way.answer is not None

    def _hear_room_contents(self, contents: RoomContents) -> None:
        if self._outbox.is_fence(contents.roomid):
            self._outbox.fenced(contents.roomid)
            return
        self._whereabouts.told(contents.roomid, contents.identities, self.identity)
        self._tell(requests.members_from(contents))

    def _hear_room_list(self, listed: RoomList) -> None:
        self._tell(Rooms(requests.rooms_from(listed)))

    def _hear_status(self, status: Status) -> None:
        for room in status.rooms:
            if room.roomid in self._whereabouts:
                self.positions.start(room.roomid, room.transferred + 1)
        if status.redundancy != self.redundancy and self.phase is Phase.ONLINE:
            self.redundancy = status.redundancy
            self._tell(StateChanged(self.state, self.server, self.redundancy, "the server says so"))

    def _hear_private(self, private: Private) -> None:
        if self.once.relayed(private.id):
            self._tell(PrivateSaid(private.identity, private.content, private.id, private.time))

    def _hear_notice(self, notice: Notice) -> None:
        # What it says in words, `status` says in fields.
        self._survey_due = self.phase is Phase.ONLINE
        self._tell(Noticed(notice.code, notice.content))

    def _hear_contact(self, contact: Contact) -> None:
        if contact.address is None:
            self._tell(ContactExpected(contact.identity, contact.token))

    def _hear_redirect(self, redirect: Redirect) -> None:
        if self.phase is Phase.STOPPING:
            return
        former, self._redirect = self._redirect, redirect
        self._why = f"redirected: {redirect.reason}"
        self._places.prefer(join_tls(redirect.servers, redirect.tls))
        # Said again, it is no reason to stay longer.
        self._leave_at = min(self._leave_at, self._now + max(0, redirect.after) / 1000)
        if former is None or (former.servers, former.reason) != (redirect.servers, redirect.reason):
            self._tell(Redirected(tuple(redirect.servers), redirect.reason))

    # Effects

    def _do(self, *effects: Effect) -> None:
        self._effects.extend(effects)

    def _tell(self, event: Event) -> None:
        self._effects.append(Tell(event))

    def _take(self) -> list[Effect]:
        if self.phase in _ON_A_LINK and not self._deaf:
            self._set_alarm()
        effects, self._effects = self._effects, []
        return effects


_HEARS: dict[type[Any], Callable[[ClientState, Any], None]] = {
    Ack: ClientState._hear_ack,
    Contact: ClientState._hear_contact,
    Error: ClientState._hear_error,
    Gap: ClientState._hear_gap,
    NewIdentity: ClientState._hear_new_identity,
    Notice: ClientState._hear_notice,
    Private: ClientState._hear_private,
    PrivateAck: ClientState._hear_private_ack,
    Redirect: ClientState._hear_redirect,
    Rewind: ClientState._hear_rewind,
    RoomChange: ClientState._hear_room_change,
    RoomContents: ClientState._hear_room_contents,
    RoomList: ClientState._hear_room_list,
    SaidExtended: ClientState._hear_said,
    Status: ClientState._hear_status,
}
