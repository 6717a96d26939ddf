"""A client without a server: what it is asked is noted, what it answers and tells is up to the test."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed

from chatproto.chat.messages import PeerStatus, RoomStatus, Status
from chatproto.client import events
from chatproto.client.events import Event, Sent
from chatproto.errors import ClientStopped, Refused

NOON = 1_790_000_000.0
"""Some time of day."""


class FakeClient(Service):
    """Has the face of `ChatClient`.

    Attributes:
        asked: what was asked and is not answered yet, in order: what, with what, and the Deferred.
        stopping: fires `stopService`; None to have that done at once.
    """

    def __init__(self) -> None:
        self.identity = ""
        self.rooms: tuple[str, ...] = ()
        self.state = "stopped"
        self.asked: list[tuple[str, tuple[Any, ...], Deferred[Any]]] = []
        self.stopping: Deferred[None] | None = None
        self._listeners: list[Callable[[Event], None]] = []

    @property
    def room(self) -> str:
        return self.rooms[-1] if self.rooms else ""

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def stopService(self) -> "Deferred[None]":
        super().stopService()
        self.state = "stopped"
        for what, _, answer in self.asked:
            if what in ("send", "send_direct"):
                answer.errback(ClientStopped("stopped before the server answered"))
        self.asked.clear()
        return self.stopping or succeed(None)

    # What a test does

    def tell(self, *told: Event) -> None:
        """Have the listeners hear events, and be as they say."""
        for event in told:
            match event:
                case events.StateChanged():
                    self.state = event.state
                case events.Welcomed():
                    self.identity = event.identity
                case events.Renamed(former=self.identity):
                    self.identity = event.identity
                case events.Moved(identity=self.identity):
                    self.rooms = tuple(room for room in self.rooms if room != event.former)
                    self.rooms += (event.room,) if event.room else ()
            for listener in list(self._listeners):
                listener(event)

    def come_online(self, identity: str = "alice", *rooms: str, members: tuple[str, ...] = ("alice", "bob")) -> None:
        """Be welcomed, and be in MainHall and these rooms."""
        self.tell(
            events.StateChanged("online", "east", "paired", ""),
            events.Welcomed(identity, False),
            events.Moved(identity, "", "MainHall"),
            events.Members("MainHall", members, ""),
        )
        for room in rooms:
            self.tell(events.Moved(identity, "", room))

    def say(self, index: int, identity: str, content: str, room: str = "MainHall", *, own: bool = False) -> None:
        """Have something said in a room."""
        self.tell(said(index, identity, content, room, own=own))

    def take(self, what: str) -> tuple[tuple[Any, ...], "Deferred[Any]"]:
        """Return what was asked of this kind first, with the Deferred that answers it."""
        for place, (asked, arguments, answer) in enumerate(self.asked):
            if asked == what:
                del self.asked[place]
                return arguments, answer
        raise AssertionError(f"{what} was not asked; these were: {self.asked}")

    def acknowledge(self, index: int) -> tuple[Any, ...]:
        """Acknowledge the message sent first; return its arguments."""
        arguments, answer = self.take("send")
        answer.callback(Sent(arguments[1], index, 1))
        return arguments

    def refuse(self, what: str, code: str, message: str) -> None:
        """Refuse what was asked of this kind first."""
        self.take(what)[1].errback(Refused(code, message))

    # What is asked

    def _ask(self, what: str, *arguments: Any) -> "Deferred[Any]":
        answer: Deferred[Any] = Deferred()
        self.asked.append((what, arguments, answer))
        return answer

    def send(self, content: str, room: str | None = None) -> "Deferred[Any]":
        return self._ask("send", content, room)

    def send_direct(self, to: str, content: str) -> "Deferred[Any]":
        return self._ask("send_direct", to, content)

    def rename(self, identity: str) -> "Deferred[Any]":
        return self._ask("rename", identity)

    def join(self, room: str, *, stay: bool = False) -> "Deferred[Any]":
        return self._ask("join", room, stay)

    def leave(self, room: str) -> "Deferred[Any]":
        return self._ask("leave", room)

    def create_room(self, room: str) -> "Deferred[Any]":
        return self._ask("create_room", room)

    def delete_room(self, room: str) -> "Deferred[Any]":
        return self._ask("delete_room", room)

    def kick(self, room: str, identity: str, seconds: int) -> "Deferred[Any]":
        return self._ask("kick", room, identity, seconds)

    def who(self, room: str | None = None) -> "Deferred[Any]":
        return self._ask("who", room)

    def list_rooms(self) -> "Deferred[Any]":
        return self._ask("list_rooms")

    def history_page(
        self, room: str, *, before: int | None = None, start: int | None = None, limit: int = 100
    ) -> "Deferred[Any]":
        return self._ask("history_page", room, before, start, limit)

    def search(self, query: str) -> "Deferred[Any]":
        return self._ask("search", query)

    def status(self) -> "Deferred[Any]":
        return self._ask("status")


def said(index: int, identity: str, content: str, room: str = "MainHall", *, own: bool = False) -> events.Said:
    """Something said, a minute later with each index."""
    return events.Said(room, index, 1, f"id{index}", identity, content, NOON + 60 * index, own)


def status(archived: int = 7, transferred: int = 7, redundancy: str = "paired") -> Status:
    """What a server answers to `status`."""
    rooms = [RoomStatus("MainHall", archived, transferred)]
    return Status(rooms, archived, transferred, 3, "leader", redundancy, [PeerStatus("west", "follower", 0)])
