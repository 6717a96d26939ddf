"""One client's conversation. Pure: requests and time come in, entries for the log and replies go out.

A session answers in the order it was asked. Messages are submitted one after another without waiting; whatever
depends on the replayed state (every other request) waits until what this session submitted before is applied.
A session never knows its door, and outlives its connection.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from chatproto.chat.acts import Act, Create, Depart, Destroy, Enter, Expel, Move, Part, Rename, encode_act
from chatproto.chat.hall import Hall, Member
from chatproto.chat.messages import (
    SERVER_IDENTITY,
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
    StatusAsked,
    Who,
)
from chatproto.log.entry import ACT, MESSAGE, Entry
from chatproto.wire.fields import ID_CHARS_MAX

KICK_S_MAX = 10 * 365 * 86400
"""A longer kick is as long as this one."""


class HangUp(msgspec.Struct, frozen=True):
    """A request that no wire message stands for: close the connection when all before it is answered."""


class Reply(msgspec.Struct, gc=False):
    """A line for this client."""

    line: Message


class Ask(msgspec.Struct, gc=False):
    """A request that needs more than the hall: the node answers it."""

    request: HistoryAsked | StatusAsked | PrivateAsked | ContactAsked | HangUp


Effect = Entry | Reply | Ask


class EntryIds:
    """Makes ids for the entries that a node submits for clients that give none."""

    def __init__(self, prefix: str) -> None:
        """Start after a prefix that no other start of any node has."""
        self._prefix = prefix
        self._count = 0

    def next(self) -> str:
        """Return an id never returned before."""
        self._count += 1
        return f"{self._prefix}{self._count}"


class SessionRules(msgspec.Struct, frozen=True):
    """What all sessions of a node share.

    Attributes:
        node: the node's name.
        message_chars_max: the longest content.
        rooms_per_owner_max: how many rooms one session may own (0: any number).
        rooms_per_session_max: how many rooms one session may be in.
    """

    node: str
    message_chars_max: int = 16384
    rooms_per_owner_max: int = 100
    rooms_per_session_max: int = 100


_encode_str: Callable[[str], bytes] = msgspec.json.Encoder().encode
# These depend on nothing that this session submitted, and a heartbeat must not wait for a disk.
_AT_ONCE = frozenset({Ping, Pong, PrivateAsked, ContactAsked})


class Session:
    """One client's conversation.

    Attributes:
        key: the session's key in the hall.
        member: what the hall knows of it; None until its `Enter` is applied, and after its end.
        extended: whether it speaks the extensions.
        unconfirmed: messages submitted and not committed yet.
        origin: what its entries carry as their origin.
    """

    __slots__ = (
        "_acting",
        "_hall",
        "_ids",
        "_prefix",
        "_prefix_identity",
        "_rules",
        "_waiting",
        "extended",
        "key",
        "member",
        "origin",
        "unconfirmed",
    )

    def __init__(
        self, key: str, hall: Hall, rules: SessionRules, ids: EntryIds, *, extended: bool, origin: Any = None
    ) -> None:
        """Make a session that has not entered, or, with the key of a member, one that goes on."""
        self.key = key
        self.member: Member | None = hall.members.get(key)
        self.extended = extended
        self.origin = origin
        self.unconfirmed = 0
        self._hall = hall
        self._rules = rules
        self._ids = ids
        self._acting = 0
        self._waiting: deque[Request | HangUp] | None = None
        self._prefix = b""
        self._prefix_identity = ""

    @property
    def in_flight(self) -> int:
        """How many of its requests are not answered yet."""
        return self.unconfirmed + self._acting + (len(self._waiting) if self._waiting else 0)

    def enter(self, now: float, hello: Hello | None, token: str | None, history: HistoryWanted) -> Entry:
        """Ask for presence; `token` is the hash of the session's token, for an extended client."""
        stay = [(wanted.roomid, wanted.index) for wanted in hello.resume] if hello else []
        identity = hello.identity if hello else None
        return self._act(Enter(self.key, self._rules.node, identity, token, history, stay), now)

    def depart(self, now: float, *, lost: bool = False) -> Entry:
        """End: whatever still waits is dropped."""
        self._waiting = None
        return self._act(Depart(self.key, lost), now)

    def received(self, requests: Sequence[Request | HangUp], now: float) -> list[Effect]:
        """Take requests in the order they came; `now` is the time of day in Unix seconds."""
        effects: list[Effect] = []
        time = b',"time":%.3f}' % now
        for request in requests:
            kind = type(request)
            if not self._waiting and not self._acting and (kind is Say or kind is SayExtended):
                self._say(request, now, time, effects)  # type: ignore[arg-type]
            elif kind in _AT_ONCE or not (self._waiting or self._acting or self.unconfirmed):
                _STEPS[kind](self, request, now, effects)
            else:
                if self._waiting is None:
                    self._waiting = deque()
                self._waiting.append(request)
        return effects

    def hang_up(self, now: float) -> list[Effect]:
        """Hear that the client sends no more: when all is answered, a base client quits, an extended one is let go."""
        return self.received([HangUp() if self.extended else Quit()], now)

    @property
    def may_go_on(self) -> bool:
        """Whether requests waited for what is applied now."""
        return bool(self._waiting) and not self._acting and not self.unconfirmed

    def acted(self) -> None:
        """Hear that an act of this session is applied, or a page of history was sent."""
        self._acting -= 1

    def go_on(self, now: float) -> list[Effect]:
        """Take up what waited, as far as it goes now."""
        waiting, self._waiting = self._waiting, None
        return self.received(list(waiting), now) if waiting else []

    # Steps

    def _act(self, act: Act, now: float) -> Entry:
        self._acting += 1
        id = self.key if isinstance(act, Enter) else self._ids.next()
        return Entry(ACT, "", id, now, encode_act(act), origin=self.origin)

    def _say(self, request: Say | SayExtended, now: float, time: bytes, effects: list[Effect]) -> None:
        member = self.member
        if member is None:
            return
        content = request.content
        room = member.rooms[-1]
        retriable = False
        if type(request) is SayExtended:
            if request.roomid is not None:
                room = request.roomid
            refusal = self._refusal(request, member)
            if refusal is not None:
                effects.append(Reply(refusal))
                return
            retriable = request.id is not None
        elif len(content) > self._rules.message_chars_max:
            text = f"your message was not sent: it has more than {self._rules.message_chars_max} characters"
            effects.append(Reply(Said(SERVER_IDENTITY, text)))
            return
        id = request.id if retriable else self._ids.next()  # type: ignore[union-attr]
        if self._prefix_identity is not member.identity:
            self._prefix_identity = member.identity
            self._prefix = b'{"type":"message","identity":"%b","content":' % member.identity.encode()
        effects.append(
            Entry(
                MESSAGE,
                room,
                id,  # type: ignore[arg-type]
                now,
                self._prefix + _encode_str(content),
                b',"id":' + _encode_str(id) + time,  # type: ignore[arg-type]
                retriable,
                self.origin,
            )
        )
        self.unconfirmed += 1

    def _refusal(self, request: SayExtended, member: Member) -> Error | None:
        if request.id is not None and not 1 <= len(request.id) <= ID_CHARS_MAX:
            return Error("id-invalid", f"an id has 1 to {ID_CHARS_MAX} characters", id=request.id[:ID_CHARS_MAX])
        if request.roomid is not None and request.roomid not in member.rooms:
            name = request.roomid[:ID_CHARS_MAX]
            return Error("not-a-member", f"you are not in {name}", id=request.id, roomid=name)
        if len(request.content) > self._rules.message_chars_max:
            most = self._rules.message_chars_max
            return Error("content-too-long", f"a message has at most {most} characters", id=request.id)
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
            act = Move(self.key, request.roomid, now, request.stay, request.index, request.history)
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
        name = request.roomid[:ID_CHARS_MAX]
        if (request.index is None) == (request.before is None) or request.limit < 1:
            text = "history needs a limit of 1 or more, and either from or before"
            effects.append(Reply(Error("bad-request", text, roomid=name)))
        elif request.roomid not in self._hall.rooms:
            effects.append(Reply(Error("no-such-room", f"there is no room {name}", roomid=name)))
        elif self.member is None or request.roomid not in self.member.rooms:
            effects.append(Reply(Error("not-a-member", f"you are not in {name}", roomid=name)))
        else:
            # Answered by the disk; what is asked next is answered after it, when `acted` is called.
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
        else:
            effects.append(Ask(request))


def history_allowed(history: HistoryWanted) -> bool:
    """Whether a client may ask for this much."""
    return history is None or history in ("all", "none") or (isinstance(history, int) and history >= 0)


_STEPS: dict[type[Any], Callable[[Session, Any, float, list[Effect]], None]] = {
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
    StatusAsked: Session._ask,
    PrivateAsked: Session._private,
    ContactAsked: Session._ask,
    HangUp: Session._ask,
    Ping: Session._ping,
    Pong: Session._pong,
}
