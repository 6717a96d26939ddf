"""The client that programs embed, `chatproto.client.ChatClient`, driven by dice and watched from outside."""

from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chatproto.chat.messages import Ack, Gap, HistoryWanted, Rewind, SaidExtended, Status
from chatproto.chat.passwords import SALT_BYTES, secret_of
from chatproto.client import (
    ChatClient,
    Event,
    Members,
    Missing,
    Moved,
    Renamed,
    Rewound,
    Said,
    Sent,
    StateChanged,
    Welcomed,
)
from chatproto.errors import ClientError
from chatproto.testing import SimDeployment
from chatproto.testing.checkers import Forks, RoomView, Violation, behind
from chatproto.wire import MAIN_HALL
from tests.simulation.talking import IDENTITIES, Actions, SimClient

RESTART_S = 0.3
SECRET = secret_of("sesame", bytes(SALT_BYTES), 1)
"""Of the password of all accounts: as fast as can be."""


class EmbeddedClient(SimClient):
    """A program with a `ChatClient` in it.

    Attributes:
        account: what it logs in to, once there is that account, and again whenever it is told to go; None for a guest.
        chat: the client of this life.
        views: what it was told, by room.
        waiting: what it said and has no answer for.
        answers: how often each kind of answer came, by the name of its class or the code of the refusal.
        rewinds: how often it was told that something holds no more.
    """

    def __init__(
        self,
        deployment: SimDeployment,
        name: str,
        history: HistoryWanted,
        act_every_s: float,
        account: str | None = None,
    ) -> None:
        self.account = account
        super().__init__(deployment, name, history, act_every_s)

    def begin(self) -> None:
        self.views: dict[str, RoomView] = {}
        self.waiting: set[str] = set()
        self.answers: dict[str, int] = {}
        self.rewinds = 0
        self.identity = ""
        self._next: dict[str, int] = {}
        self._status: Status | None = None
        self._last_words: str | None = None
        self._members: dict[str, set[str]] = {}
        servers = self.servers()
        if self.account is not None:
            self.dice.shuffle(servers)
        self.chat = ChatClient(
            self.world.clock,
            servers,
            identity=self.dice.choice(IDENTITIES) if self.account is None else None,
            account=self.account,
            password="sesame",
            history=self.history,
            dice=self.world.dice,
            retry_min_s=0.05,
            retry_max_s=0.8,
            connect_s_max=2.0,
            welcome_s_max=3.0,
            heartbeat_s=1.0,
            silence_s_max=3.0,
        )
        self.chat.subscribe(self._hear)
        self._start()

    def _start(self) -> None:
        if self.account is None:
            self.chat.startService()
            return
        if self.account in self.deployment.chronicle.hall.accounts and self.chat.state == "stopped":
            self.chat.startService()
        self.world.clock.callLater(RESTART_S, self._start)

    # What it hears

    def _hear(self, event: Event) -> None:
        with self.deployment.watching():
            hears = getattr(self, f"_hear_{type(event).__name__.lower()}", None)
            if hears is not None:
                hears(event)

    def _hear_welcomed(self, welcomed: Welcomed) -> None:
        self.identity = welcomed.identity
        self._forget_rooms()
        for room in [room for room, view in self.views.items() if view.next is None]:
            # Nothing was heard there yet, so what is wanted is the archive as it is now.
            self._enter(room)

    def _hear_statechanged(self, changed: StateChanged) -> None:
        if changed.state == "waiting":
            # What it learns of its rooms on the next connection is known before the welcome is told.
            self._forget_rooms()

    def _forget_rooms(self) -> None:
        """Look at rooms no longer that it was in on one side of a fork, and is not on the other: nobody tells it."""
        if isinstance(self.deployment.chronicle, Forks):
            self.views = {room: view for room, view in self.views.items() if room in self.chat.rooms}

    def _hear_renamed(self, renamed: Renamed) -> None:
        if renamed.former == self.identity:
            self.identity = renamed.identity

    def _hear_moved(self, moved: Moved) -> None:
        if moved.identity != self.identity:
            return
        if moved.former:
            self.views.pop(moved.former, None)
            self._next.pop(moved.former, None)
        if moved.room:
            self._enter(moved.room)

    def _enter(self, room: str) -> None:
        self.views[room] = RoomView(self.deployment.chronicle, room, self.name, self.history, self._next.get(room))

    def _hear_said(self, said: Said) -> None:
        if said.room not in self.views:
            # The session came into it while there was no connection.
            self._enter(said.room)
            if isinstance(self.deployment.chronicle, Forks):
                # Until it knows that, it passes over what is said there.
                self.views[said.room].next = said.index
        line = SaidExtended(said.identity, said.content, said.room, said.index, said.epoch, said.id, said.time)
        view = self.views[said.room]
        if view.next is None and said.room == MAIN_HALL:
            # While it does not want to be there, it passes over what is said.
            view.next = said.index
        view.said(line)
        self._next[said.room] = said.index + 1
        if said.own != said.content.startswith(f"{self.name}.{self.host.lives}."):
            raise Violation(f"{self.name} hears {said}")

    def _hear_missing(self, missing: Missing) -> None:
        if missing.room in self.views:
            self.views[missing.room].gap(Gap(missing.room, missing.start, missing.end, missing.reason))
        self._next[missing.room] = missing.end + 1

    def _hear_rewound(self, rewound: Rewound) -> None:
        if not isinstance(self.deployment.chronicle, Forks):
            raise Violation(f"{self.name} hears {rewound}, and nothing was ever lost")
        self.rewinds += 1
        if rewound.room in self.views:
            self.views[rewound.room].rewind(Rewind(rewound.room, rewound.index))
            self._next[rewound.room] = rewound.index

    def _hear_members(self, members: Members) -> None:
        self._members[members.room] = set(members.identities)

    # What it says

    def content(self) -> str:
        return super().content().replace(self.name, f"{self.name}.{self.host.lives}", 1)

    def act(self) -> None:
        self.draw(self.ACTIONS)(self)

    def say(self) -> str:
        """Say something; return it."""
        content = self.content()
        self.waiting.add(content)
        room = self.dice.choice([*self.chat.rooms, None])
        self.chat.send(content, room).addCallbacks(
            self._kept, self._refused, callbackArgs=(content,), errbackArgs=(content,)
        )
        return content

    def _kept(self, sent: Sent, content: str) -> None:
        self.waiting.discard(content)
        self._count("Sent")
        with self.deployment.watching():
            places = self.deployment.chronicle.said(content)
            found = [place for place in places if Sent(place.roomid, place.index, place.epoch) == sent]
            if len(found) != 1 or (len(places) > 1 and not isinstance(self.deployment.chronicle, Forks)):
                raise Violation(f"{self.name} is told {sent} of {content!r}, which is committed as {places}")
            ack = Ack(found[0].id, sent.room, sent.index, sent.epoch, 1)
            self.deployment.acknowledgements.heard(ack, content)

    def _refused(self, failure: Failure, content: str) -> None:
        self.waiting.discard(content)
        self._answered(failure)

    def _answered(self, answer: Any) -> None:
        if not isinstance(answer, Failure):
            self._count(type(answer).__name__)
        elif answer.check(ClientError):
            self._count(getattr(answer.value, "code", type(answer.value).__name__))
        else:
            answer.raiseException()

    def _count(self, answer: str) -> None:
        self.answers[answer] = self.answers.get(answer, 0) + 1

    def _say_at_once(self) -> None:
        for _ in range(self.dice.randint(2, 12)):
            self.say()

    @staticmethod
    def _asks(ask: "Callable[[EmbeddedClient], Deferred[Any]]") -> "Callable[[EmbeddedClient], None]":
        def asking(self: "EmbeddedClient") -> None:
            ask(self).addBoth(self._answered)

        return asking

    ACTIONS: ClassVar[Actions] = (
        (30, say),
        (4, _say_at_once),
        (10, _asks(lambda self: self.chat.join(self.draw_room(), stay=self.dice.random() < 0.6))),
        (4, _asks(lambda self: self.chat.leave(self.draw_room()))),
        (3, _asks(lambda self: self.chat.who(self.draw_room()))),
        (1, _asks(lambda self: self.chat.list_rooms())),
        (3, _asks(lambda self: self.chat.rename(self.dice.choice(IDENTITIES)))),
        (6, _asks(lambda self: self.chat.create_room(self.draw_room()))),
        (1, _asks(lambda self: self.chat.delete_room(self.draw_room()))),
        (2, _asks(lambda self: self.chat.kick(*self.draw_victim(self.identity), 2))),
        (4, _asks(lambda self: self.chat.status())),
        (3, _asks(lambda self: self.chat.history_page(self.draw_room(), limit=self.dice.randint(1, 30)))),
        (2, _asks(lambda self: self.chat.private(self.draw_somebody(), "private " + self.content()))),
    )

    # The end

    def finish(self) -> None:
        if self.chat.state != "online":
            return
        if self._last_words is None:
            self._last_words = self.say()
        self.chat.status().addCallbacks(self._surveyed, self._answered)
        for room in self.chat.rooms:
            self.chat.who(room).addBoth(self._answered)

    def _surveyed(self, status: Status) -> None:
        self._status = status

    def unsettled(self) -> list[str]:
        found = [f"{self.name} waits for the acknowledgement of {content[:30]!r}" for content in sorted(self.waiting)]
        if self.chat.state != "online":
            found.append(f"{self.name} is {self.chat.state}")
        return found

    def unfinished(self) -> list[str]:
        found = self.unsettled()
        chronicle = self.deployment.chronicle
        person = chronicle.hall.identities.get(self.chat.identity)
        devices = person.devices.values() if person is not None else ()
        there = any(set(member.rooms) == set(self.chat.rooms) for member in devices)
        if not there or self.identity != self.chat.identity:
            found.append(f"{self.name} is {self.chat.identity} in {self.chat.rooms}, as it believes")
        if self._status is None:
            found.append(f"{self.name} still asks")
        else:
            found += behind(self._status, chronicle)
        for room in self.chat.rooms:
            there = set(chronicle.hall.contents(room).identities)
            if self._members.get(room) != there:
                found.append(f"{self.name} was told of {self._members.get(room)} in {room}, there are {there}")
            at = self.views[room].next if room in self.views else None
            if at is None and self.history == "all":
                # It may have come back to where it was, and nothing has been said since.
                at = self._next.get(room)
            empty = chronicle.first(room) > chronicle.last(room)
            # Where nothing is in an archive, or nothing was wanted of it, nothing need have been heard.
            if at != chronicle.last(room) + 1 and (at is not None or (self.history == "all" and not empty)):
                found.append(f"{self.name} was brought to {at} in {room}, which ends at {chronicle.last(room)}")
        return found
