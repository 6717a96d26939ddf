"""The embeddable client: a service that stays in conversation with a deployment, whichever of its nodes lives."""

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.chat.messages import Message, Status
from chatproto.client import requests
from chatproto.client.direct.service import DirectMessages
from chatproto.client.direct.settings import DirectSettings
from chatproto.client.effects import Connect, Effect, HangUp, Send, Sleep, Tell, Wake
from chatproto.client.events import Banned, ContactFound, Delivered, Event, HistoryPage, Members, SearchResults, Sent
from chatproto.client.outbox import Done
from chatproto.client.phases import Phase
from chatproto.client.places import Place, Places
from chatproto.client.protocol import ServerLink, ServerLinkFactory
from chatproto.client.reaching import Connector, endpoint_of, reaching
from chatproto.client.requests import Request, Speech
from chatproto.client.settings import ClientSettings
from chatproto.client.state import ClientState
from chatproto.errors import ClientError
from chatproto.link import Turn
from chatproto.tally import Tally
from chatproto.wire import MAIN_HALL

log = Logger()

Listener = Callable[[Event], None]


class ChatClient(Service):
    """A chat client for programs.

    It connects to one of the endpoints it was given, and to another when that fails, goes on with its session
    where it was, and sends what was not acknowledged again under the same id. A server that is silent for
    `answer_s_max` while it owes an answer is left, too. So a message said is in its room
    once; and a room is heard in order, without gap or repeat, as long as the session lasts.

    All that is asked is asked in order, and waits while there is no connection. A Deferred fails with `Refused`
    where the server says no, with `Uncertain` where the connection broke before it answered (`send` is
    sent again instead), with `QueueFull` where too much waits already, and with `ClientStopped`. Cancelling
    one takes back what was not sent yet.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoints: Sequence[IStreamClientEndpoint],
        *,
        identity: str | None = None,
        history: str | int | None = None,
        rooms: Sequence[str] = (),
        dice: random.Random | None = None,
        session: str | None = None,
        connector: Connector | None = None,
        tls_connector: Connector | None = None,
        direct_connector: Callable[[str], IStreamClientEndpoint] | None = None,
        direct: DirectSettings | None = None,
        now: Callable[[], float] = time.time,
        tally: Tally | None = None,
        **settings: Any,
    ) -> None:
        """Make a client; `startService` begins.

        Args:
            clock: the reactor, as far as time goes.
            endpoints: of the deployment's servers, one at least.
            identity: the name wanted; None for whatever the server gives.
            history: what is wanted of a room's archive on entering it: `all`, `none`, or how many of the last
                messages; None for the server's default.
            rooms: rooms to enter besides MainHall.
            dice: makes ids and spreads waits; the system's source where it is not given.
            session: the token of an earlier client, to go on with its session.
            connector: makes an endpoint of `HOST:PORT`, which servers tell of one another; where it is not
                given and `clock` is a reactor, a `HostnameEndpoint` without TLS.
            tls_connector: the same for those that are said to speak TLS with their clients; where it is not given,
                `connector` makes these, too, or if there is none they need a certificate for HOST that the system
                believes.
            direct_connector: the same for other clients, by default without TLS as well.
            direct: what can be set of direct connections.
            now: the time of day in Unix seconds.
            tally: counts the direct connections that this side drops, and why.
            **settings: any other of `ClientSettings`.
        """
        if not endpoints:
            raise ClientError("a client needs an endpoint to connect to")
        self._clock = clock
        self._endpoints = list(endpoints)
        self._dice = dice if dice is not None else random.SystemRandom()
        self._settings = ClientSettings(identity=identity, history=history, rooms=tuple(rooms), **settings)
        self._connector = reaching(clock, connector, tls_connector)
        places = Places(
            len(self._endpoints),
            self._settings.retry_min_s,
            self._settings.retry_max_s,
            told=self._connector is not None,
        )
        self._machine = ClientState(self._settings, places, self._new_id(), session)
        self._turn = Turn(clock)
        if direct_connector is None and IReactorTCP.providedBy(clock):
            direct_connector = partial(endpoint_of, clock)
        tally = tally if tally is not None else Tally()
        direct = direct or DirectSettings()
        self._direct = DirectMessages(self, self._machine.once, self._turn, clock, now, direct_connector, direct, tally)
        self._listeners: list[Listener] = []
        self._waiting: dict[str, Deferred[Any]] = {}
        self._stopped: list[Deferred[None]] = []
        self._link: ServerLink | None = None
        self._try: Deferred[Any] | None = None
        self._trying = False
        self._tries = 0
        self._timer: IDelayedCall | None = None
        self._effects: deque[Effect] = deque()
        self._performing = False
        self._performers: dict[type[Any], Callable[[Any], None]] = {
            Connect: self._connect,
            HangUp: self._hang_up,
            Send: self._send,
            Wake: self._wake,
            Sleep: self._sleep,
            Tell: self._tell,
            Done: self._done,
        }

    # What is so

    @property
    def identity(self) -> str:
        """The current name; empty before the first welcome."""
        return self._machine.identity

    @property
    def room(self) -> str:
        """Where `send` without a room goes, the room entered last; empty before the first welcome."""
        return self.rooms[-1] if self.rooms else ""

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms the session is in."""
        return self._machine.rooms

    @property
    def state(self) -> str:
        """`stopped`, `connecting`, `online`, or `waiting` between two tries."""
        return self._machine.state

    @property
    def server(self) -> str:
        """The name of the server; empty when not online."""
        return self._machine.server

    @property
    def redundancy(self) -> str:
        """`single`, `paired`, `alone` or `isolated`, as the server says; empty when not online."""
        return self._machine.redundancy

    @property
    def session(self) -> str | None:
        """The session's token, to hand to a later client; None when there is none to go on with."""
        return self._machine.session

    @property
    def ticket(self) -> str | None:
        """What lets the account in without its password, to hand to a later client; None where there is none."""
        return self._machine.ticket

    @property
    def roles(self) -> tuple[str, ...]:
        """What the account may do besides, like `admin`; none for a guest."""
        return self._machine.roles

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have a listener hear every event from here on; return what ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    # What can be asked

    def send(self, content: str, room: str | None = None) -> "Deferred[Sent]":
        """Say something in a room, by default in `room`; answered when it is durable."""
        key = self._new_id()
        return self._ask(key, lambda: requests.say(key, content, room or self.room or None))

    def private(self, to: str, content: str) -> "Deferred[int]":
        """Say something to one identity; the answer is how many of its sessions it reached. Not archived."""
        return self.relay(self._new_id(), to, content)

    def relay(self, id: str, to: str, content: str) -> "Deferred[int]":
        """Do as `private` does, under an id that may have been used for this message on another way."""
        return self._ask(id, lambda: requests.private(id, to, content))

    def rename(self, identity: str) -> "Deferred[str]":
        """Take another name."""
        key = self._new_id()
        return self._ask(key, lambda: requests.rename(key, identity))

    def join(self, room: str, *, stay: bool = False) -> "Deferred[None]":
        """Enter a room; without `stay`, the one entered last is left for it."""
        key = self._new_id()
        history = self._settings.history
        return self._ask(key, lambda: requests.join(key, room, stay=stay, history=history))

    def leave(self, room: str) -> "Deferred[None]":
        """Leave a room; whoever leaves the last one is in MainHall."""
        key = self._new_id()
        return self._ask(key, lambda: requests.leave(key, room))

    def create_room(self, room: str) -> "Deferred[None]":
        """Make a room, and own it; it is not entered."""
        key = self._new_id()
        return self._ask(key, lambda: requests.create_room(key, room))

    def delete_room(self, room: str) -> "Deferred[None]":
        """Delete a room of one's own, with its archive."""
        key = self._new_id()
        return self._ask(key, lambda: requests.delete_room(key, room))

    def kick(self, room: str, identity: str, seconds: int) -> "Deferred[None]":
        """Put a member out of a room of one's own for a number of seconds."""
        key = self._new_id()
        return self._ask(key, lambda: requests.kick(key, room, identity, seconds))

    def close_room(self, room: str) -> "Deferred[None]":
        """Delete anybody's room but MainHall; for those with the role `admin`, like all from here to `announce`."""
        key = self._new_id()
        return self._ask(key, lambda: requests.close_room(key, room))

    def ban(self, who: str, seconds: int, reason: str = "") -> "Deferred[None]":
        """Keep an identity, or an address or network, out; of a guest that is the address that it came from."""
        key = self._new_id()
        return self._ask(key, lambda: requests.ban(key, who, seconds, reason))

    def unban(self, who: str) -> "Deferred[None]":
        """Let an identity, or an address or network, in again."""
        key = self._new_id()
        return self._ask(key, lambda: requests.unban(key, who))

    def bans(self) -> "Deferred[tuple[Banned, ...]]":
        """Ask who is kept out."""
        key = self._new_id()
        return self._ask(key, lambda: requests.bans(key))

    def silence(self, identity: str, seconds: int) -> "Deferred[None]":
        """Have nothing published, for a while, that somebody says."""
        key = self._new_id()
        return self._ask(key, lambda: requests.silence(key, identity, seconds))

    def unsilence(self, identity: str) -> "Deferred[None]":
        """Let somebody speak again."""
        key = self._new_id()
        return self._ask(key, lambda: requests.unsilence(key, identity))

    def announce(self, content: str) -> "Deferred[None]":
        """Have everybody, in every room of both nodes, hear something from the server itself."""
        key = self._new_id()
        return self._ask(key, lambda: requests.announce(key, content))

    def who(self, room: str | None = None) -> "Deferred[Members]":
        """Ask who is in a room, by default in `room`; nobody is in one that does not exist."""
        key = self._new_id()
        return self._ask(key, lambda: requests.who(key, room or self.room or MAIN_HALL))

    def list_rooms(self) -> "Deferred[dict[str, int]]":
        """Ask for all rooms, each with how many are in it."""
        key = self._new_id()
        return self._ask(key, lambda: requests.list_rooms(key))

    def history_page(
        self, room: str, *, before: int | None = None, start: int | None = None, limit: int = 100
    ) -> "Deferred[HistoryPage]":
        """Ask for messages of a room's archive: from `start` on, or the last ones before `before`, or the newest.

        A server gives fewer than `limit` where they would be too long, or more than 500.
        """
        key = self._new_id()
        is_own = self._machine.is_own
        return self._ask(key, lambda: requests.history_page(key, room, before, start, limit, is_own))

    def search(
        self, query: str, room: str | None = None, *, before: int | None = None, limit: int = 20
    ) -> "Deferred[SearchResults]":
        """Look for messages, newest first: in a room, there before an index, or in all rooms that the session is in.

        A query is words, and "several words in quotation marks" that stand together, each with a `*` at its end for
        all that begin so; a message has to have all of them. A server gives 100 at most, and what was said in the last
        moment may not be found yet. Refused with `bad-query` where there is no word in it.
        """
        key = self._new_id()
        is_own = self._machine.is_own
        return self._ask(key, lambda: requests.search(key, query, room, before, limit, is_own))

    def status(self) -> "Deferred[Status]":
        """Ask how far this client has been brought, and how the server stands."""
        key = self._new_id()
        return self._ask(key, lambda: requests.status(key))

    # Direct connections

    def send_direct(self, to: str, content: str) -> "Deferred[Delivered]":
        """Say something to one identity, over a connection between the two where there is one or can be made.

        Where that fails at any step, or takes longer than `DirectSettings.answer_s_max`, it is relayed as by
        `private`, under the same id: a receiver that has `ChatClient`'s memory of ids is told it once. What is said
        to one identity in this way arrives in the order in which it was said. The other side sees our address.

        Fails as `private` does.
        """
        return self._direct.send(self._new_id(), to, content)

    def accept_direct(self, endpoint: IStreamServerEndpoint, host: str) -> "Deferred[str]":
        """Take direct connections, until the client stops, of those whom the server has told of us.

        Args:
            endpoint: where to listen.
            host: the name or address of this machine that others are told, with the port listened on.

        Called back with the address, `HOST:PORT`; fails where it cannot be listened on.
        """

        def listening(address: str) -> str:
            self.accept_contacts(address)
            return address

        return self._direct.listen(endpoint, host).addCallback(listening)

    def accept_contacts(self, address: str) -> None:
        """Offer an address, of whatever form, to those who want to connect directly; later servers are told it too.

        For everybody who is told it there is a `ContactExpected` with the token that they are to show; they may be
        there a moment before it.

        Raises:
            ClientError: it is empty, longer than 256 characters, or not encodable.
        """
        self._do(self._machine.accept_contacts(address, self._clock.seconds()))

    def contact(self, identity: str) -> "Deferred[ContactFound]":
        """Ask for somebody's address, and a token to show there, which is good for one connection.

        Refused with `no-such-identity`, and with `no-address` where they accept no direct connections or are away.
        """
        key = self._new_id()
        return self._ask(key, lambda: requests.contact(key, identity))

    def _new_id(self) -> str:
        return f"{self._dice.getrandbits(128):032x}"

    def _ask(self, key: str, make: Callable[[], Speech | Request]) -> "Deferred[Any]":
        waiting: Deferred[Any] = Deferred(lambda _: self._cancelled(key))
        self._waiting[key] = waiting
        try:
            doings = self._machine.ask(make(), self._clock.seconds())
        except ClientError:
            del self._waiting[key]
            return fail()
        self._do(doings)
        return waiting

    def _cancelled(self, key: str) -> None:
        self._waiting.pop(key, None)
        self._machine.withdraw(key)

    # Life

    def startService(self) -> None:
        """Begin to connect, and stay connected until `stopService`."""
        super().startService()
        if self._machine.phase in (Phase.FRESH, Phase.STOPPED):
            self._do(self._machine.start(self._clock.seconds()))

    def stopService(self) -> "Deferred[None]":
        """Take leave of the server, or hang up on it if it takes long; called back when the connection is gone."""
        super().stopService()
        if self._direct.listening:
            self._do(self._machine.refuse_contacts(self._clock.seconds()))
        self._do(self._machine.stop(self._clock.seconds()))
        closed = self._direct.stop()
        if self._machine.phase is Phase.STOPPED:
            return closed
        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        return stopped.addCallback(lambda _: closed)

    # From the link

    def link_made(self, link: ServerLink) -> None:
        """See `Listens.link_made`."""
        if link.number != self._tries or not self._trying:
            # A try that was given up has come through after all.
            link.abort()
            return
        self._trying = False
        self._link = link
        self._do(self._machine.connected(self._clock.seconds()))

    def link_heard(self) -> None:
        """See `Listens.link_heard`."""
        self._machine.heard(self._clock.seconds())

    def link_received(self, messages: list[Message]) -> None:
        """See `Listens.link_received`."""
        self._do(self._machine.received(messages, self._clock.seconds()))

    def link_lost(self, link: ServerLink, reason: str) -> None:
        """See `Listens.link_lost`."""
        if link is not self._link:
            return
        self._link = None
        self._do(self._machine.lost(reason, self._clock.seconds()))
        if self._machine.phase is Phase.STOPPED:
            stopped, self._stopped = self._stopped, []
            for waiting in stopped:
                waiting.callback(None)
            if stopped and self.running:
                # It was started again while its end was under way.
                self.startService()

    # Effects

    def _do(self, doings: list[Effect]) -> None:
        # A listener or a callback may ask for more: that comes after all that was to be done before.
        self._effects.extend(doings)
        if self._performing:
            return
        self._performing = True
        try:
            while self._effects:
                doing = self._effects.popleft()
                self._performers[type(doing)](doing)
        finally:
            self._performing = False

    def _connect(self, doing: Connect) -> None:
        if self._machine.phase is not Phase.CONNECTING:
            # A listener has stopped us on hearing that we connect.
            return
        self._tries += 1
        self._trying = True
        number = self._tries
        factory = ServerLinkFactory(number, self, self._turn, self._clock, self._settings)
        try:
            trying: Deferred[Any] = self._endpoint(doing.place).connect(factory)
        except Exception:
            trying = fail()
        self._try = trying
        trying.addErrback(self._try_failed, number)
        trying.addErrback(lambda failure: log.failure("hearing of a failed try failed", failure))

    def _endpoint(self, place: Place) -> IStreamClientEndpoint:
        if isinstance(place, int):
            return self._endpoints[place]
        assert self._connector is not None
        return self._connector(place)

    def _try_failed(self, failure: Failure, number: int) -> None:
        if number == self._tries and self._trying:
            self._trying = False
            self._do(self._machine.failed(failure.getErrorMessage(), self._clock.seconds()))

    def _hang_up(self, doing: HangUp) -> None:
        if self._link is not None:
            if doing.polite:
                self._link.close()
            else:
                self._link.abort()
        elif self._trying and self._try is not None:
            self._trying = False
            self._try.cancel()

    def _send(self, doing: Send) -> None:
        # A transport that ends at once when it is hung up on may be gone before what is left to do is done.
        if self._link is not None:
            self._link.send(doing.lines)

    def _wake(self, doing: Wake) -> None:
        self._sleep(None)
        after_s = self._dice.uniform(doing.least_s, doing.most_s)
        self._timer = self._clock.callLater(after_s, self._due)

    def _sleep(self, doing: Sleep | None) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _due(self) -> None:
        self._timer = None
        self._do(self._machine.due(self._clock.seconds()))

    def _tell(self, doing: Tell) -> None:
        self._direct.heard(doing.event)
        self.tell(doing.event)

    def tell(self, event: Event) -> None:
        """Have every listener hear an event."""
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:
                log.failure("a listener failed on {kind}; the others go on", kind=type(event).__name__)

    def _done(self, doing: Done) -> None:
        waiting = self._waiting.pop(doing.key, None)
        if waiting is None:
            return
        if doing.error is None:
            waiting.callback(doing.value)
        else:
            waiting.errback(doing.error)
