"""One client's conversation. Pure: requests and time come in, entries for the log and replies go out.

A session answers in the order it was asked. Messages are submitted one after another without waiting; whatever
depends on the replayed state (every other request) waits until what this session submitted before is applied.
A session never knows its door, and outlives its connection.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from chatproto.chat.acts import (
    Act,
    Allow,
    Announce,
    Attach,
    Create,
    Depart,
    Destroy,
    Enter,
    Expel,
    Forbid,
    Move,
    Part,
    Rename,
    Silence,
    encode_act,
)
from chatproto.chat.authority import NOT_ALLOWED, SILENCED
from chatproto.chat.bans import Ban, is_address, network_of
from chatproto.chat.hall import Hall
from chatproto.chat.messages import (
    AnnounceAsked,
    BanAsked,
    BanEntry,
    BanList,
    BansAsked,
    CloseAsked,
    ContactAsked,
    CreateRoom,
    Delete,
    Error,
    Hello,
    HistoryAsked,
    HistoryWanted,
    IdentityChange,
    Join,
    JoinExtended,
    Kick,
    Leave,
    List,
    Message,
    Ping,
    Pong,
    PrivateAsked,
    Quit,
    Request,
    Said,
    Say,
    SayExtended,
    SearchAsked,
    SilenceAsked,
    StatusAsked,
    UnbanAsked,
    UnsilenceAsked,
    Who,
)
from chatproto.chat.people import Member
from chatproto.chat.query import QUERY_CHARS_MAX, match_of
from chatproto.log.entry import ACT, MESSAGE, Entry
from chatproto.wire.fields import ID_CHARS_MAX, SERVER_IDENTITY

KICK_S_MAX = 10 * 365 * 86400
"""A longer kick, ban or silence is as long as this one."""

REASON_CHARS_MAX = 200
"""Of the reason of a ban."""


class HangUp(msgspec.Struct, frozen=True):
    """A request that no wire message stands for: close the connection when all before it is answered."""


class Reply(msgspec.Struct, gc=False):
    """A line for this client."""

    line: Message


class Hold(msgspec.Struct, gc=False):
    """A message that is submitted once enough clients are there; the session does not wait for it."""

    entry: Entry


class Ask(msgspec.Struct, gc=False):
    """A request that needs more than the hall: the node answers it."""

    request: HistoryAsked | SearchAsked | StatusAsked | PrivateAsked | ContactAsked | HangUp


Effect = Entry | Hold | Reply | Ask


class EntryMaker:
    """Makes the entries that a node submits, with ids for those that clients give none."""

    def __init__(self, prefix: str) -> None:
        """Start after a prefix of ASCII letters, digits and dots that no other start of any node has."""
        self._prefix = prefix
        self._count = 0
        self._now = float("nan")
        self._end = b""

    def id(self) -> str:
        """Return an id never returned before."""
        self._count += 1
        return f"{self._prefix}{self._count}"

    def act(self, act: Act, id: str, now: float, origin: Any) -> Entry:
        """Make the entry of an act."""
        return Entry(ACT, "", id, now, encode_act(act), origin=origin)

    def message(self, room: str, head: bytes, id: str | None, now: float, origin: Any) -> Entry:
        """Make the entry of a message whose stored line begins with `head`; None for an id of ours."""
        if now != self._now:
            self._now = now
            self._end = b',"time":%.3f}' % now
        if id is not None:
            return Entry(MESSAGE, room, id, now, head, b',"id":' + _encode_str(id) + self._end, True, origin)
        self._count += 1
        id = f"{self._prefix}{self._count}"
        return Entry(MESSAGE, room, id, now, head, b',"id":"' + id.encode() + b'"' + self._end, False, origin)


class Proof(msgspec.Struct, frozen=True):
    """What the node has seen of whose session begins.

    Attributes:
        account: the identity that was proved.
        opens: whether there is an account from here on, if there was none: something else than the log knows it.
        ticket: the hash of what it may show next time instead of a password; None for none.
        ticket_until: until when, in Unix seconds.
    """

    account: str
    opens: bool = False
    ticket: str | None = None
    ticket_until: float = 0.0


class SessionRules(msgspec.Struct):
    """What all sessions of a node share, and may be changed for all at once.

    Attributes:
        node: the node's name.
        message_chars_max: the longest content.
        rooms_per_owner_max: how many rooms one session may own (0: any number).
        rooms_per_session_max: how many rooms one session may be in.
        clients_min: how many have to be there at once before the chat begins.
    """

    node: str
    message_chars_max: int = 16384
    rooms_per_owner_max: int = 100
    rooms_per_session_max: int = 100
    clients_min: int = 0


_encode_str: Callable[[str], bytes] = msgspec.json.Encoder().encode
# A heartbeat must not wait for a disk.
_HEARTBEATS = frozenset({Ping, Pong})
# These depend on nothing that this session submitted, but for its being there.
_ASIDE = frozenset({PrivateAsked, ContactAsked})


class Session:
    """One client's conversation.

    Attributes:
        key: the session's key in the hall.
        member: what the hall knows of it; None until its `Enter` is applied, and after its end.
        extended: whether it speaks the extensions.
        unconfirmed: messages submitted and not committed yet.
        waiting: requests that wait for what was submitted before them.
        origin: what its entries carry as their origin.
    """

    __slots__ = (
        "_acting",
        "_hall",
        "_make",
        "_prefix",
        "_prefix_identity",
        "_rules",
        "extended",
        "key",
        "member",
        "origin",
        "unconfirmed",
        "waiting",
    )

    def __init__(
        self, key: str, hall: Hall, rules: SessionRules, make: EntryMaker, *, extended: bool, origin: Any = None
    ) -> None:
        """Make a session that has not entered, or, with the key of a member, one that goes on."""
        self.key = key
        self.member: Member | None = hall.members.get(key)
        self.extended = extended
        self.origin = origin
        self.unconfirmed = 0
        self._hall = hall
        self._rules = rules
        self._make = make
        self._acting = 0
        self.waiting: deque[Request | HangUp] | None = None
        self._prefix = b""
        self._prefix_identity = ""

    @property
    def in_flight(self) -> int:
        """How many of its requests are not answered yet."""
        return self.unconfirmed + self._acting + (len(self.waiting) if self.waiting else 0)

    def enter(
        self, now: float, hello: Hello | None, token: str | None, history: HistoryWanted, proof: Proof | None = None
    ) -> Entry:
        """Ask for presence; `token` is the hash of the session's token, for an extended client."""
        stay = hello.resume if hello else []
        identity = hello.identity if hello else None
        entering = Enter(self.key, self._rules.node, identity, token, history, stay)
        if proof is not None:
            entering = msgspec.structs.replace(
                entering,
                identity=None,
                account=proof.account,
                opens=proof.opens,
                ticket=proof.ticket,
                ticket_until=proof.ticket_until,
                time=now,
            )
        return self._act(entering, now)

    def attach(self, now: float, token: str, epoch: int) -> Entry:
        """Ask, by the hash of a token, for the session that the client had, for as long as the epoch is this one."""
        return self._act(Attach(token, self._rules.node, epoch), now)

    def depart(self, now: float, *, lost: bool = False) -> Entry:
        """End: whatever still waits is dropped."""
        self.waiting = None
        return self._act(Depart(self.key, self._rules.node, lost), now)

    def over(self) -> None:
        """Hear that it has ended, or goes on elsewhere."""
        self.member = self.waiting = None

    def received(self, requests: Sequence[Request | HangUp], now: float) -> list[Effect]:
        """Take requests in the order they came; `now` is the time of day in Unix seconds."""
        effects: list[Effect] = []
        for request in requests:
            kind = type(request)
            if kind in _SAYINGS and not self.waiting and not self._acting:
                _SAYINGS[kind](self, request, now, effects)
            elif (
                not (self.waiting or self._acting or self.unconfirmed)
                or kind in _HEARTBEATS
                or (kind in _ASIDE and self.member is not None)
            ):
                _STEPS[kind](self, request, now, effects)
                if kind is HangUp:
                    break  # What came after it is not taken.
            else:
                self.await_turn([request])
        return effects

    def await_turn(self, requests: Iterable[Request | HangUp]) -> None:
        """Have requests wait until `go_on`."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.extend(requests)

    def hang_up(self, now: float) -> list[Effect]:
        """Hear that the client sends no more: it is let go when all is answered."""
        return self.received([HangUp()], now)

    @property
    def may_go_on(self) -> bool:
        """Whether requests waited for what is applied now."""
        return bool(self.waiting) and not self._acting and not self.unconfirmed

    def pause(self) -> None:
        """Answer nothing more until `acted`."""
        self._acting += 1

    def acted(self) -> None:
        """Hear that an act of this session is applied, a page of history was sent, or a pause is over."""
        self._acting -= 1

    def go_on(self, now: float) -> list[Effect]:
        """Take up what waited, as far as it goes now."""
        waiting, self.waiting = self.waiting, None
        return self.received(list(waiting), now) if waiting else []

    # Steps

    def _act(self, act: Act, now: float) -> Entry:
        self._acting += 1
        return self._make.act(act, self.key if isinstance(act, Enter) else self._make.id(), now, self.origin)

    def _say(self, request: Say, now: float, effects: list[Effect]) -> None:
        content = request.content
        if len(content) > self._rules.message_chars_max:
            text = f"your message was not sent: it has more than {self._rules.message_chars_max} characters"
            effects.append(Reply(Said(SERVER_IDENTITY, text)))
        elif self.member is not None and now < self.member.person.silenced:
            effects.append(Reply(Said(SERVER_IDENTITY, SILENCED.message)))
        elif self.member is not None:
            effects.append(self._message(self.member, self.member.rooms[-1], content, None, now))

    def _say_extended(self, request: SayExtended, now: float, effects: list[Effect]) -> None:
        member = self.member
        if member is None:
            return
        refusal = self._refusal(request, member, now)
        if refusal is not None:
            effects.append(Reply(refusal))
        else:
            room = member.rooms[-1] if request.roomid is None else request.roomid
            effects.append(self._message(member, room, request.content, request.id, now))

    def _message(self, member: Member, room: str, content: str, id: str | None, now: float) -> Entry | Hold:
        if self._prefix_identity is not member.identity:
            self._prefix_identity = member.identity
            self._prefix = b'{"type":"message","identity":"%b","content":' % member.identity.encode()
        entry = self._make.message(room, self._prefix + _encode_str(content), id, now, self.origin)
        if self._hall.most < self._rules.clients_min:
            return Hold(entry)
        self.unconfirmed += 1
        return entry

    def _refusal(self, request: SayExtended, member: Member, now: float) -> Error | None:
        if request.id is not None and not 1 <= len(request.id) <= ID_CHARS_MAX:
            return Error("id-invalid", f"an id has 1 to {ID_CHARS_MAX} characters", id=request.id[:ID_CHARS_MAX])
        if request.roomid is not None and request.roomid not in member.rooms:
            name = request.roomid[:ID_CHARS_MAX]
            return Error("not-a-member", f"you are not in {name}", id=request.id, roomid=name)
        if len(request.content) > self._rules.message_chars_max:
            most = self._rules.message_chars_max
            return Error("content-too-long", f"a message has at most {most} characters", id=request.id)
        if now < member.person.silenced:
            return Error(SILENCED.code, SILENCED.message, id=request.id)
        return None

    def _rename(self, request: IdentityChange, now: float, effects: list[Effect]) -> None:
        effects.append(self._act(Rename(self.key, request.identity), now))

    def _join(self, request: Join, now: float, effects: list[Effect]) -> None:
        effects.append(self._act(Move(self.key, request.roomid, now), now))

    def _join_extended(self, request: JoinExtended, now: float, effects: list[Effect]) -> None:
        if not history_allowed(request.history) or (request.index is not None and request.index < 1):
            effects.append(Reply(Error("bad-request", "history is all, none or a number; from is 1 or more")))
        elif request.stay and self.member and len(self.member.rooms) >= self._rules.rooms_per_session_max:
            most = self._rules.rooms_per_session_max
            effects.append(Reply(Error("too-many-rooms", f"one session is in at most {most} rooms")))
        else:
            act = Move(self.key, request.roomid, now, request.stay, request.index, request.history, request.epoch)
            effects.append(self._act(act, now))

    def _leave(self, request: Leave, now: float, effects: list[Effect]) -> None:
        effects.append(self._act(Part(self.key, request.roomid), now))

    def _create(self, request: CreateRoom, now: float, effects: list[Effect]) -> None:
        effects.append(self._act(Create(self.key, request.roomid, self._rules.rooms_per_owner_max), now))

    def _delete(self, request: Delete, now: float, effects: list[Effect]) -> None:
        effects.append(self._act(Destroy(self.key, request.roomid), now))

    def _kick(self, request: Kick, now: float, effects: list[Effect]) -> None:
        if request.time < 1:
            if self.extended:
                effects.append(Reply(Error("bad-request", "time is a positive number of seconds")))
            return
        until = now + min(request.time, KICK_S_MAX)
        effects.append(self._act(Expel(self.key, request.roomid, request.identity, until), now))

    def _quit(self, request: Quit, now: float, effects: list[Effect]) -> None:
        effects.append(self.depart(now))

    def _who(self, request: Who, now: float, effects: list[Effect]) -> None:
        effects.append(Reply(self._hall.contents(request.roomid)))

    def _list(self, request: List, now: float, effects: list[Effect]) -> None:
        effects.append(Reply(self._hall.listing()))

    def _ask(self, request: Any, now: float, effects: list[Effect]) -> None:
        effects.append(Ask(request))

    def _history(self, request: HistoryAsked, now: float, effects: list[Effect]) -> None:
        refusal = self._no_archive(request.roomid)
        if (request.index is None) == (request.before is None) or request.limit < 1:
            text = "history needs a limit of 1 or more, and either from or before"
            refusal = Error("bad-request", text, roomid=request.roomid[:ID_CHARS_MAX])
        self._ask_the_disk(request, refusal, effects)

    def _search(self, request: SearchAsked, now: float, effects: list[Effect]) -> None:
        refusal = None if request.roomid is None else self._no_archive(request.roomid)
        if match_of(request.query) is None:
            text = f"a query has words, 1 to {QUERY_CHARS_MAX} characters in all"
            refusal = Error("bad-query", text)
        elif request.limit < 1 or (request.before is not None and request.roomid is None):
            refusal = Error("bad-request", "search needs a limit of 1 or more, and before only with a roomid")
        self._ask_the_disk(request, refusal, effects)

    def _no_archive(self, room: str) -> Error | None:
        """Return why this session does not get to see a room's archive; None if it does."""
        name = room[:ID_CHARS_MAX]
        if room not in self._hall.rooms:
            return Error("no-such-room", f"there is no room {name}", roomid=name)
        if self.member is None or room not in self.member.rooms:
            return Error("not-a-member", f"you are not in {name}", roomid=name)
        return None

    def _ask_the_disk(self, request: HistoryAsked | SearchAsked, refusal: Error | None, effects: list[Effect]) -> None:
        if refusal is not None:
            effects.append(Reply(refusal))
        else:
            # What is asked next is answered after it, when `acted` is called.
            self._acting += 1
            effects.append(Ask(request))

    def _hello(self, request: Hello, now: float, effects: list[Effect]) -> None:
        # The first hello of a connection makes its session, so what arrives here is another one.
        effects.append(Reply(Error("already-welcome", "a connection says hello once")))

    def _ping(self, request: Ping, now: float, effects: list[Effect]) -> None:
        effects.append(Reply(Pong()))

    def _pong(self, request: Pong, now: float, effects: list[Effect]) -> None:
        """Having been heard is all that matters."""

    def _private(self, request: PrivateAsked, now: float, effects: list[Effect]) -> None:
        id = request.id[:ID_CHARS_MAX]
        if not 1 <= len(request.id) <= ID_CHARS_MAX:
            effects.append(Reply(Error("id-invalid", f"an id has 1 to {ID_CHARS_MAX} characters", id=id)))
        elif len(request.content) > self._rules.message_chars_max:
            most = self._rules.message_chars_max
            effects.append(Reply(Error("content-too-long", f"a message has at most {most} characters", id=id)))
        elif self.member is not None and now < self.member.person.silenced:
            effects.append(Reply(Error(SILENCED.code, SILENCED.message, id=id)))
        else:
            effects.append(Ask(request))

    # Of those who keep order, as the hall decides

    def _ban(self, request: BanAsked, now: float, effects: list[Effect]) -> None:
        subject = _subject(request)
        if isinstance(subject, Error):
            effects.append(Reply(subject))
        elif request.time < 1 or len(request.reason) > REASON_CHARS_MAX:
            text = f"time is a positive number of seconds, a reason has at most {REASON_CHARS_MAX} characters"
            effects.append(Reply(Error("bad-request", text)))
        else:
            until = now + min(request.time, KICK_S_MAX)
            ban = Forbid(session=self.key, subject=subject, until=until, time=now, reason=request.reason)
            effects.append(self._act(ban, now))

    def _unban(self, request: UnbanAsked, now: float, effects: list[Effect]) -> None:
        subject = _subject(request)
        if isinstance(subject, Error):
            effects.append(Reply(subject))
        else:
            effects.append(self._act(Allow(session=self.key, subject=subject), now))

    def _bans(self, request: BansAsked, now: float, effects: list[Effect]) -> None:
        if self.member is not None:
            allowed = self.member.person.is_admin
            effects.append(Reply(ban_list(self._hall.bans.listed(now)) if allowed else NOT_ALLOWED))

    def _silence(self, request: SilenceAsked, now: float, effects: list[Effect]) -> None:
        if request.time < 1:
            effects.append(Reply(Error("bad-request", "time is a positive number of seconds")))
        else:
            until = now + min(request.time, KICK_S_MAX)
            effects.append(self._act(Silence(session=self.key, identity=request.identity, until=until), now))

    def _unsilence(self, request: UnsilenceAsked, now: float, effects: list[Effect]) -> None:
        effects.append(self._act(Silence(session=self.key, identity=request.identity, until=0.0), now))

    def _close(self, request: CloseAsked, now: float, effects: list[Effect]) -> None:
        effects.append(self._act(Destroy(self.key, request.roomid, close=True), now))

    def _announce(self, request: AnnounceAsked, now: float, effects: list[Effect]) -> None:
        if len(request.content) > self._rules.message_chars_max:
            most = self._rules.message_chars_max
            effects.append(Reply(Error("content-too-long", f"a message has at most {most} characters")))
        else:
            effects.append(self._act(Announce(session=self.key, content=request.content), now))


def _subject(request: BanAsked | UnbanAsked) -> str | Error:
    """Return who or what is meant."""
    if request.identity is not None and request.address is None and not is_address(request.identity):
        return request.identity
    if request.address is not None and request.identity is None:
        with suppress(ValueError):
            return network_of(request.address)
    return Error("bad-request", "either an identity, or an address like 192.0.2.7 or 192.0.2.0/24")


def ban_list(bans: Iterable[Ban]) -> BanList:
    """Return bans as they are told."""

    def entry(ban: Ban) -> BanEntry:
        identity, address = (None, ban.subject) if is_address(ban.subject) else (ban.subject, None)
        return BanEntry(ban.until, ban.reason, ban.by, identity, address)

    return BanList([entry(ban) for ban in bans])


def history_allowed(history: HistoryWanted) -> bool:
    """Whether a client may ask for this much."""
    return history is None or history in ("all", "none") or (isinstance(history, int) and history >= 0)


_Step = Callable[[Session, Any, float, list[Effect]], None]
# Messages need not wait for one another.
_SAYINGS: dict[type[Any], _Step] = {Say: Session._say, SayExtended: Session._say_extended}
_STEPS: dict[type[Any], _Step] = {
    IdentityChange: Session._rename,
    Join: Session._join,
    JoinExtended: Session._join_extended,
    Leave: Session._leave,
    CreateRoom: Session._create,
    Delete: Session._delete,
    Kick: Session._kick,
    Quit: Session._quit,
    Who: Session._who,
    List: Session._list,
    Hello: Session._hello,
    HistoryAsked: Session._history,
    SearchAsked: Session._search,
    StatusAsked: Session._ask,
    PrivateAsked: Session._private,
    ContactAsked: Session._ask,
    BanAsked: Session._ban,
    UnbanAsked: Session._unban,
    BansAsked: Session._bans,
    SilenceAsked: Session._silence,
    UnsilenceAsked: Session._unsilence,
    CloseAsked: Session._close,
    AnnounceAsked: Session._announce,
    HangUp: Session._ask,
    Ping: Session._ping,
    Pong: Session._pong,
}
