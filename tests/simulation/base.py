"""A stranger's client: base lines and nothing else, every one of them drawn from the dice."""

from typing import ClassVar

import msgspec

from chatproto.chat.messages import (
    CreateRoom,
    Delete,
    IdentityChange,
    Join,
    Kick,
    List,
    Message,
    NewIdentity,
    Quit,
    RoomChange,
    RoomContents,
    RoomList,
    Said,
    Say,
    Who,
    encode,
)
from chatproto.testing.checkers import BaseView, Presence, Violation
from chatproto.wire.fields import SERVER_IDENTITY
from tests.simulation.talking import IDENTITIES, Actions, TalkingClient

NONSENSE = (b"\n", b"null\n", b"4444\n", b"{}\n", b'{"type":"join"}\n', b'{"type":"who","roomid":7}\n', b"\xff\xfe\r\n",
            b'{"type":"message","content":null}\n', b'{"type":"message","content":"\\ud800"}\n',
            b'{"type":"fly","to":"the moon"}\n', b"[" * 3000 + b"\n")  # fmt: skip

_line = msgspec.json.Decoder(NewIdentity | RoomChange | RoomContents | RoomList | Said)


class BaseClient(TalkingClient):
    """Says anything that a base client may, and some that it may not; keeps what it was told.

    Attributes:
        presence: who is where, as it was told.
        view: what it was told in its room; None while it is in none.
        notices: what the server itself said to it.
    """

    def reset(self) -> None:
        self.presence = Presence(self.name)
        self.notices: list[str] = []
        self.lost()

    def lost(self) -> None:
        self.presence.begin()
        self.view: BaseView | None = None
        self._last_words = ""
        self._last_words_heard = False
        self._listed: RoomList | None = None
        self._asked: set[str] = set()

    def greet(self) -> None:
        if self.dice.random() < 0.3:
            # The greeting comes with the first line, or after a moment.
            self.act()

    # What it hears

    def hear(self, line: bytes) -> None:
        try:
            message = _line.decode(line)
        except msgspec.MsgspecError as error:
            raise Violation(f"{self.name} is sent {line!r}, which is no base line: {error}") from None
        if encode(message) != line + b"\n":
            raise Violation(f"{self.name} is sent {line!r}, which has more than a base line has")
        own = self.presence.identity
        self.presence.hear(message)
        if isinstance(message, RoomChange) and message.identity == own and message.former != message.roomid:
            self._entered(message.roomid)
        elif isinstance(message, Said):
            self._hear_said(message)
        elif isinstance(message, RoomList):
            self._listed = message
        elif isinstance(message, RoomContents):
            self._asked.discard(message.roomid)

    def _entered(self, room: str) -> None:
        chronicle = self.deployment.chronicle
        self.view = BaseView(chronicle, room, self.name, self.history) if room else None

    def _hear_said(self, said: Said) -> None:
        if said.identity == SERVER_IDENTITY:
            self.notices.append(said.content)
            return
        if self.view is None:
            raise Violation(f"{self.name} is in no room and hears {said}")
        self.view.said(said.identity, said.content)
        self._last_words_heard |= said.content == self._last_words

    # What it says

    def act(self) -> None:
        self.draw(self.ACTIONS)(self)

    def ask(self) -> None:
        self.tell(List())

    def tell(self, message: Message) -> None:
        self.send(encode(message))

    def _say(self) -> None:
        self.tell(Say(self.content()))

    def _say_at_once(self) -> None:
        self.send(b"".join(encode(Say(self.content())) for _ in range(self.dice.randint(2, 12))))

    def _join(self) -> None:
        self.tell(Join(self.draw_room()))
        self.tell(Who(self.draw_room()))

    def _kick(self) -> None:
        room, identity = self.draw_victim(self.presence.identity)
        self.tell(Kick(room, identity, self.dice.randint(-1, 3)))

    ACTIONS: ClassVar[Actions] = (
        (30, _say),
        (4, _say_at_once),
        (10, _join),
        (6, lambda self: self.tell(Who(self.draw_room()))),
        (2, lambda self: self.tell(List())),
        (5, lambda self: self.tell(IdentityChange(self.dice.choice(IDENTITIES)))),
        (6, lambda self: self.tell(CreateRoom(self.draw_room()))),
        (1, lambda self: self.tell(Delete(self.draw_room()))),
        (6, _kick),
        (2, lambda self: self.send(self.dice.choice(NONSENSE))),
        (1, lambda self: self.tell(Quit())),
    )

    # The end

    def finish(self) -> None:
        if self.view is None:
            return
        if not self._last_words:
            self._last_words = self.content()
            self.tell(Say(self._last_words))
        self._asked = set(self.presence.rooms)
        self._listed = None
        self.tell(List())
        for room in self.presence.rooms:
            self.tell(Who(room))

    def unsettled(self) -> list[str]:
        return [] if self.view is not None else [f"{self.name} is not online"]

    def unfinished(self) -> list[str]:
        found = self.presence.differences(self.deployment.chronicle.hall)
        if not self._last_words_heard:
            found.append(f"{self.name} has not heard its own last words {self._last_words!r}")
        if self._asked:
            found.append(f"{self.name} has asked who is in {self._asked}")
        if self._listed != self.deployment.chronicle.hall.listing():
            found.append(f"{self.name} was told {self._listed}")
        for room in self.presence.rooms:
            last = self.deployment.chronicle.last(room)
            if self.view is not None and self.view.position != last:
                found.append(f"{self.name} was brought to {self.view.position} in {room}, which ends at {last}")
        return found
