"""`ChatClient` against real nodes, and against nodes that misbehave, on a simulated network."""

import json
import random
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError, ConnectionAborted
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chatproto.chat.messages import RoomChange, SaidExtended, Welcome, encode
from chatproto.chat.settings import ChatSettings
from chatproto.client import (
    ChatClient,
    ContactExpected,
    Delivered,
    Members,
    Missing,
    Moved,
    PrivateSaid,
    QueueFull,
    Redirected,
    Refusal,
    Said,
    Sent,
    StateChanged,
    Uncertain,
    Welcomed,
)
from chatproto.errors import ClientError, ClientStopped, Refused
from tests.unit.client.rig import Deployment, Listening, PlayedNode


class AskingTests(SynchronousTestCase):
    """Everything that can be asked, of a real node."""

    def setUp(self) -> None:
        self.deployment = Deployment()
        self.ada = self.deployment.online("ada")
        self.eve = self.deployment.online("eve")

    def result(self, waiting: "Deferred[Any]") -> Any:
        return self.deployment.result(waiting)

    def refused(self, waiting: "Deferred[Any]") -> str:
        with self.assertRaises(Refused) as caught:
            self.deployment.result(waiting)
        return caught.exception.code

    def test_what_is_so(self) -> None:
        new = self.deployment.client(start=False)
        self.assertEqual((new.identity, new.room, new.rooms, new.state), ("", "", (), "stopped"))
        self.assertEqual((new.server, new.redundancy, new.session), ("", "", None))
        ada = self.ada
        self.assertEqual((ada.identity, ada.room, ada.rooms, ada.state), ("ada", "MainHall", ("MainHall",), "online"))
        self.assertEqual((ada.server, ada.redundancy), ("primary", "single"))
        self.assertEqual(len(ada.session or ""), 32)

    def test_send(self) -> None:
        sent = self.result(self.ada.send("hi"))
        self.assertEqual(sent, Sent("MainHall", 1, 1))
        self.deployment.run(0.1)
        for client, own in ((self.ada, True), (self.eve, False)):
            (said,) = client.view()
            self.assertEqual((said.index, said.identity, said.content, said.own), (1, "ada", "hi", own))
        self.assertEqual(len(said.id), 32)

    def test_send_elsewhere(self) -> None:
        self.result(self.ada.create_room("Tea"))
        self.assertEqual(self.refused(self.ada.send("hi", "Tea")), "not-a-member")
        self.result(self.ada.join("Tea", stay=True))
        self.assertEqual(self.result(self.ada.send("hi")).room, "Tea")
        self.assertEqual(self.result(self.ada.send("hi", "MainHall")), Sent("MainHall", 1, 1))

    def test_private(self) -> None:
        self.assertEqual(self.result(self.ada.private("eve", "psst")), 1)
        self.deployment.run(0.1)
        (said,) = self.eve.heard(PrivateSaid)
        self.assertEqual((said.identity, said.content), ("ada", "psst"))
        self.assertEqual(self.refused(self.ada.private("bob", "psst")), "no-such-identity")

    def test_direct(self) -> None:
        listening = self.eve.accept_direct(TCP4ServerEndpoint(self.eve.where.reactor, 7000), self.eve.where.name)
        self.assertEqual(self.successResultOf(listening), f"{self.eve.where.name}:7000")
        self.deployment.run(0.1)
        self.assertEqual(self.result(self.ada.send_direct("eve", "psst")), Delivered(True, 1))
        self.assertEqual(self.result(self.eve.send_direct("ada", "what?")), Delivered(True, 1))
        ((at_eve,), (at_ada,)) = (client.heard(PrivateSaid) for client in (self.eve, self.ada))
        self.assertEqual((at_eve.identity, at_eve.content, at_eve.direct, len(at_eve.id)), ("ada", "psst", True, 32))
        self.assertEqual((at_ada.identity, at_ada.content, at_ada.direct), ("eve", "what?", True))

    def test_direct_to_who_takes_no_connections(self) -> None:
        self.assertEqual(self.result(self.ada.send_direct("eve", "psst")), Delivered(False, 1))
        self.deployment.run(0.1)
        (said,) = self.eve.heard(PrivateSaid)
        self.assertEqual((said.identity, said.content, said.direct), ("ada", "psst", False))
        self.assertEqual(self.refused(self.ada.send_direct("bob", "psst")), "no-such-identity")

    def test_who_stops_takes_no_connections_any_more(self) -> None:
        """A later start is a new beginning; an address given by hand is kept."""
        self.eve.accept_direct(TCP4ServerEndpoint(self.eve.where.reactor, 7000), self.eve.where.name)
        for address, code in (("", "no-address"), ("eve.example:7000", "")):
            if address:
                self.eve.accept_contacts(address)
            self.result(self.eve.stopService())
            self.assertIsNone(self.eve.where.listener_for((self.eve.where.address, 7000)))
            self.failureResultOf(self.eve.send_direct("ada", "hi"), ClientStopped)
            self.eve.startService()
            self.deployment.until(lambda: self.eve.room)
            self.deployment.run(0.1)
            if code:
                self.assertEqual(self.refused(self.ada.contact("eve")), code)
            else:
                self.assertEqual(self.result(self.ada.contact("eve")).address, address)

    def test_an_endpoint_that_is_taken(self) -> None:
        for taken in (False, True):
            endpoint = TCP4ServerEndpoint(self.eve.where.reactor, 7000)
            listening = self.eve.accept_direct(endpoint, "eve.example")
            if taken:
                self.failureResultOf(listening, CannotListenError)
            else:
                self.successResultOf(listening)

    def test_contact(self) -> None:
        """Both sides hear of the same token, and each call makes another."""
        self.assertEqual(self.refused(self.ada.contact("eve")), "no-address")
        self.assertEqual(self.refused(self.ada.contact("bob")), "no-such-identity")
        self.eve.accept_contacts("eve.example:7000")
        self.deployment.run(0.1)
        tokens = []
        for _ in range(2):
            found = self.result(self.ada.contact("eve"))
            self.assertEqual((found.identity, found.address), ("eve", "eve.example:7000"))
            tokens.append(found.token)
        self.deployment.run(0.1)
        self.assertEqual(self.eve.heard(ContactExpected), [ContactExpected("ada", token) for token in tokens])
        self.assertNotEqual(*tokens)
        self.deployment.network.reset_all()
        self.deployment.run(1)
        self.assertEqual(self.result(self.ada.contact("eve")).address, "eve.example:7000", "told anew")
        self.assertRaises(ClientError, self.eve.accept_contacts, "")

    def test_rename(self) -> None:
        self.assertEqual(self.result(self.ada.rename("bob")), "bob")
        self.assertEqual(self.ada.identity, "bob")
        self.assertEqual(self.result(self.ada.rename("bob")), "bob")
        self.assertEqual(self.refused(self.ada.rename("eve")), "identity-taken")
        self.assertEqual(self.refused(self.ada.rename("x")), "identity-invalid")
        self.assertEqual(self.ada.identity, "bob")

    def test_rooms(self) -> None:
        ada, eve = self.ada, self.eve
        self.result(ada.create_room("Tea"))
        self.assertEqual(self.refused(eve.create_room("Tea")), "room-taken")
        self.assertEqual(self.refused(eve.create_room("1")), "room-invalid")
        self.assertEqual(self.result(eve.list_rooms()), {"MainHall": 2, "Tea": 0})
        self.result(ada.join("Tea"))
        self.assertEqual(ada.rooms, ("Tea",))
        self.result(eve.join("Tea", stay=True))
        self.assertEqual(eve.rooms, ("MainHall", "Tea"))
        self.assertEqual(self.refused(eve.join("Tea")), "already-there")
        self.assertEqual(self.refused(eve.join("Den")), "no-such-room")
        self.assertEqual(self.result(eve.who()), Members("Tea", ("ada", "eve"), "ada"))
        self.assertEqual(self.result(eve.who("MainHall")), Members("MainHall", ("eve",), ""))
        self.assertEqual(self.result(eve.who("Nowhere")), Members("Nowhere", (), ""))
        self.result(eve.leave("MainHall"))
        self.assertEqual(eve.rooms, ("Tea",))
        self.assertEqual(self.refused(eve.leave("MainHall")), "not-a-member")
        self.result(eve.leave("Tea"))
        self.assertEqual(eve.rooms, ("MainHall",))
        self.assertEqual(self.refused(eve.leave("MainHall")), "last-room")
        self.assertEqual(self.refused(eve.delete_room("Tea")), "not-the-owner")
        self.assertEqual(self.refused(eve.delete_room("Den")), "no-such-room")
        self.result(ada.delete_room("Tea"))
        self.assertEqual(self.result(ada.list_rooms()), {"MainHall": 2})
        self.assertEqual(ada.rooms, ("MainHall",))

    def test_kick(self) -> None:
        ada, eve = self.ada, self.eve
        self.result(ada.create_room("Tea"))
        self.assertEqual(self.refused(ada.kick("Tea", "eve", 5)), "not-a-member")
        self.result(eve.join("Tea"))
        self.assertEqual(self.refused(ada.kick("Tea", "eve", 0)), "bad-request")
        self.assertEqual(self.refused(ada.kick("Tea", "ada", 5)), "not-oneself")
        self.assertEqual(self.refused(eve.kick("Tea", "ada", 5)), "not-the-owner")
        self.result(ada.leave("MainHall").addErrback(lambda failure: failure.trap(Refused)))
        self.result(ada.kick("Tea", "eve", 5))
        self.deployment.run(0.1)
        self.assertEqual(eve.rooms, ("MainHall",))
        self.assertEqual(self.refused(eve.join("Tea")), "banned")

    def test_pages(self) -> None:
        for number in range(5):
            self.ada.send(f"{number}")
        self.deployment.run(1)

        def contents(**how: Any) -> tuple[list[str], bool]:
            page = self.result(self.ada.history_page("MainHall", **how))
            self.assertTrue(all(said.own for said in page.messages))
            return [said.content for said in page.messages], page.more

        self.assertEqual(contents(), (list("01234"), False))
        self.assertEqual(contents(limit=2), (list("34"), True))
        self.assertEqual(contents(before=4, limit=2), (list("12"), True))
        self.assertEqual(contents(start=4), (list("34"), False))
        self.assertEqual(self.refused(self.ada.history_page("Den")), "no-such-room")
        self.assertEqual(self.refused(self.ada.history_page("MainHall", limit=0)), "bad-request")

    def test_status(self) -> None:
        self.result(self.ada.send("hi"))
        status = self.result(self.eve.status())
        self.assertEqual((status.archived, status.transferred, status.role), (1, 1, "leader"))

    def test_no_delay(self) -> None:
        self.assertTrue(self.ada._link.transport.getTcpNoDelay())  # type: ignore[union-attr]

    def test_in_order(self) -> None:
        """What is asked in one breath is done in order, whatever needs an answer."""
        self.ada.create_room("Tea")
        self.ada.send("before")
        self.ada.join("Tea")
        self.ada.send("between", "Tea")
        self.ada.rename("bob")
        last = self.ada.send("after", "Tea")
        self.assertEqual(self.result(last), Sent("Tea", 2, 1))
        self.deployment.run(0.1)
        self.assertEqual([(said.identity, said.content) for said in self.ada.view()], [("ada", "before")])
        told = [(said.identity, said.content) for said in self.ada.view("Tea")]
        self.assertEqual(told, [("ada", "between"), ("bob", "after")])

    def test_not_sendable(self) -> None:
        """What no server takes is refused here; it would end the connection."""
        self.assertEqual(self.refused(self.ada.send("x" * 70_000)), "line-too-long")
        self.assertEqual(self.refused(self.ada.send("x" * 20_000)), "content-too-long")
        self.failureResultOf(self.ada.send("\ud800"), ClientError)
        self.assertEqual(self.ada.state, "online")

    def test_cancel(self) -> None:
        """What was not sent yet is taken back; what was cannot be, and nobody is told any more."""
        self.deployment.host.crash()
        self.deployment.until(lambda: self.ada.state == "waiting")
        taken_back = self.ada.send("never")
        self.ada.send("said")
        taken_back.cancel()
        self.failureResultOf(taken_back, CancelledError)
        self.deployment.host.boot()
        self.deployment.until(lambda: self.ada.state == "online")
        sent = self.ada.send("sent")
        sent.cancel()
        self.failureResultOf(sent, CancelledError)
        self.deployment.run(1)
        self.assertEqual([said.content for said in self.eve.view()], ["said", "sent"])

    def test_too_many(self) -> None:
        client = self.deployment.client(start=False, queue_max=1)
        waiting = client.send("a")
        self.failureResultOf(client.send("b"), QueueFull)
        self.assertNoResult(waiting)
        self.assertEqual(len(client._waiting), 1, "what was not taken is not kept")


class MakingTests(SynchronousTestCase):
    def test_no_endpoint(self) -> None:
        self.assertRaises(ClientError, ChatClient, Deployment().host.reactor, [])

    def test_unknown_setting(self) -> None:
        self.assertRaises(TypeError, Deployment().client, retry_max=5)

    def test_ids_are_not_guessed(self) -> None:
        """Without dice they come from the system's source."""
        host = Deployment().host
        client = ChatClient(host.reactor, [host.world().client("tcp:node:4444")])
        self.assertIsInstance(client._dice, random.SystemRandom)


class ListenerTests(SynchronousTestCase):
    def test_failing(self) -> None:
        """A listener that fails is logged; the others hear all the same."""
        deployment = Deployment()
        client = deployment.client(start=False)
        heard: list[Any] = []

        def failing(event: Any) -> None:
            raise ZeroDivisionError

        unsubscribe_failing = client.subscribe(failing)
        unsubscribe = client.subscribe(heard.append)
        client.startService()
        self.assertEqual(heard, client.events)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), len(heard))
        unsubscribe_failing()
        unsubscribe()
        unsubscribe()
        deployment.run(1)
        self.assertEqual(len(heard), 1)
        self.assertGreater(len(client.events), 2)

    def test_order(self) -> None:
        """All listeners hear all events in one order, whatever one of them makes happen on hearing one."""
        deployment = Deployment()
        client = deployment.client("ada", start=False)
        heard: list[Any] = []
        client.subscribe(lambda event: client.stopService() if isinstance(event, Welcomed) else None)
        client.subscribe(heard.append)
        client.startService()
        deployment.run(1)
        self.assertIn(StateChanged("stopped", "", "", "asked to"), heard)
        self.assertEqual(heard, client.events)

    def test_asking_from_a_listener(self) -> None:
        """What a listener asks comes after all else that is to be done."""
        deployment = Deployment()
        client = deployment.client("ada", start=False)
        asked: list[Deferred[Any]] = []

        def greet(event: Any) -> None:
            if isinstance(event, Moved) and event.identity == "ada":
                asked.append(client.send(f"hello {event.room}"))
            if isinstance(event, Said) and len(asked) < 3:
                asked.append(client.send("again"))

        client.subscribe(greet)
        client.startService()
        deployment.run(1)
        self.assertEqual([said.content for said in client.view()], ["hello MainHall", "again", "again"])

    def test_stopping_from_a_listener(self) -> None:
        for state in ("connecting", "online", "waiting"):
            deployment = Deployment()
            client = deployment.client("ada", start=False, targets=["empty" if state == "waiting" else "node"])
            deployment.network.host("empty")

            def stop(event: Any, client: Listening = client, state: str = state) -> None:
                if isinstance(event, StateChanged) and event.state == state:
                    client.stopService()

            client.subscribe(stop)
            client.startService()
            deployment.run(5)
            self.assertEqual(client.events[-1], StateChanged("stopped", "", "", "asked to"))
            self.assertEqual(client.where.reactor.getDelayedCalls(), [])
            self.assertEqual(deployment.node.server.seats, {})


class StoppingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.deployment = Deployment()
        self.eve = self.deployment.online("eve")

    def test_politely(self) -> None:
        """What was said is acknowledged, others hear of the leaving at once, nothing is left behind."""
        ada = self.deployment.online("ada")
        sent = ada.send("bye")
        took = self.deployment.clock.seconds()
        self.deployment.result(ada.stopService())
        self.assertEqual(self.successResultOf(sent), Sent("MainHall", 1, 1))
        self.assertLess(self.deployment.clock.seconds() - took, 0.5)
        self.deployment.run(0.1)
        self.assertEqual(self.eve.events[-1], Moved("ada", "MainHall", ""))
        self.assertEqual(ada.where.reactor.getDelayedCalls(), [])
        self.assertIsNone(ada.session)
        self.assertEqual(ada.heard(StateChanged)[-1], StateChanged("stopped", "", "", "asked to"))
        self.failureResultOf(ada.send("too late"), ClientStopped)
        self.assertIsNone(self.successResultOf(ada.stopService()))

    def test_never_started(self) -> None:
        ada = self.deployment.client(start=False)
        waiting = ada.send("x")
        self.assertIsNone(self.successResultOf(ada.stopService()))
        self.failureResultOf(waiting, ClientStopped)

    def test_while_connecting(self) -> None:
        ada = self.deployment.client("ada")
        self.assertIsNone(self.successResultOf(ada.stopService()))
        self.deployment.run(5)
        self.assertEqual(ada.where.reactor.getDelayedCalls(), [])
        self.assertEqual([seat.session.member.identity for seat in self.deployment.node.server.seats.values()], ["eve"])

    def test_while_greeting(self) -> None:
        """The session that begins is ended, not left to its grace."""
        ada = self.deployment.client("ada")
        self.deployment.until(lambda: ada._link is not None)
        self.deployment.result(ada.stopService())
        self.deployment.run(0.1)
        self.assertEqual(len(self.deployment.node.server.seats), 1)

    def test_in_a_partition(self) -> None:
        """A server that is not there is not waited for longer than was said."""
        ada = self.deployment.online("ada", stop_s_max=2.0)
        self.deployment.network.cut("node", ada.where.name)
        waiting = ada.send("nobody hears")
        stopped = [ada.stopService(), ada.stopService()]
        self.deployment.run(1.9)
        self.assertNoResult(stopped[0])
        self.deployment.run(0.2)
        for each in stopped:
            self.assertIsNone(self.successResultOf(each))
        self.failureResultOf(waiting, ClientStopped)
        self.assertEqual(ada.where.reactor.getDelayedCalls(), [])

    def test_session_kept(self) -> None:
        """Without quitting, a later client goes on with the session, and others hear nothing of it."""
        ada = self.deployment.online("ada", quit_on_stop=False)
        session = ada.session
        self.deployment.result(ada.stopService(), 0.5)
        self.assertEqual(ada.session, session)
        events = len(self.eve.events)
        later = self.deployment.online(None, session=session)
        self.assertEqual(later.heard(Welcomed), [Welcomed("ada", True)])
        self.assertEqual((later.rooms, len(self.eve.events)), (("MainHall",), events))

    def test_session_moved(self) -> None:
        ada = self.deployment.online("ada")
        later = self.deployment.online(None, session=ada.session)
        self.deployment.run(1)
        self.assertEqual((later.state, later.identity), ("online", "ada"))
        self.assertEqual(ada.events[-1], StateChanged("stopped", "", "", "session-moved"))
        self.assertEqual(ada.where.reactor.getDelayedCalls(), [])
        self.assertIsNone(self.successResultOf(ada.stopService()))

    def test_start_again(self) -> None:
        """Of what was read before nothing comes again, and what was said meanwhile does."""
        ada = self.deployment.online("ada")
        self.eve.send("one")
        self.deployment.run(1)
        self.deployment.result(ada.stopService())
        self.eve.send("two")
        self.deployment.run(1)
        ada.startService()
        self.deployment.run(1)
        self.assertEqual([said.content for said in ada.view()], ["one", "two"])

    def test_start_while_stopping(self) -> None:
        """It waits for the end, which is told to whoever waits for that."""
        ada = self.deployment.online("ada")
        stopped = ada.stopService()
        ada.startService()
        ada.startService()
        self.deployment.run(1)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(ada.state, "online")
        self.assertEqual(ada.heard(Welcomed), [Welcomed("ada", False)] * 2)


class ResumingTests(SynchronousTestCase):
    """Connections and nodes come and go; nobody leaves, and nothing is missed or heard twice."""

    def test_connections_reset(self) -> None:
        deployment = Deployment()
        ada, eve = deployment.online("ada"), deployment.online("eve")
        sent = []
        for number in range(50):
            sent.append(ada.send(f"{number}"))
            deployment.run(0.05)
            if number % 10 == 5:
                deployment.network.reset_all()
        deployment.run(2)
        self.assertEqual([self.successResultOf(each).index for each in sent], list(range(1, 51)))
        for client in (ada, eve):
            self.assertEqual([said.content for said in client.view()], [f"{number}" for number in range(50)])
            self.assertEqual(
                client.heard(Welcomed), [Welcomed(client.identity, False)] + [Welcomed(client.identity, True)] * 5
            )
            self.assertEqual([event for event in client.heard(Moved) if not event.room], [])

    def test_silent_server(self) -> None:
        """A cut is noticed by silence; the client goes on trying, and is back soon after it heals."""
        deployment = Deployment()
        ada, eve = deployment.online("ada"), deployment.online("eve")
        deployment.network.cut("node", ada.where.name)
        eve.send("while away")
        deployment.run(14)
        self.assertEqual(ada.state, "online")
        deployment.until(lambda: ada.state == "waiting", 6.1)
        deployment.run(6)
        self.assertIn("no connection in time", [event.reason for event in ada.heard(StateChanged)])
        deployment.network.heal("node", ada.where.name)
        self.assertLess(deployment.until(lambda: ada.view(), 10), 7)
        self.assertEqual(ada.heard(Welcomed)[-1], Welcomed("ada", True))

    def test_silent_server_that_owes_an_answer(self) -> None:
        """Then it is noticed within a second."""
        deployment = Deployment()
        ada = deployment.online("ada")
        deployment.host.pause()
        deployment.run(3)
        self.assertEqual(ada.state, "online", "nothing is owed")
        sent = ada.send("hello")
        self.assertLess(deployment.until(lambda: ada.state != "online", 2), 1.02)
        deployment.run(3)
        deployment.host.resume()
        self.assertEqual(deployment.result(sent, 3), Sent("MainHall", 1, 1))
        self.assertEqual(ada.heard(Welcomed)[1:], [Welcomed("ada", True)])

    def test_heartbeat(self) -> None:
        """A server that was asked for nothing is asked whether it lives, once in a while."""
        deployment = Deployment()
        played = PlayedNode(deployment.network, "played")
        ada = deployment.client("ada", targets=["played"], heartbeat_s=1.0, silence_s_max=3.0)
        deployment.until(lambda: played.links)
        deployment.run(0.1)
        (link,) = played.links
        link.welcome()
        deployment.run(0.1)
        link.say("roomcontents", roomid=link.lines[-1]["roomid"], identities=[], owner="")
        deployment.run(10)
        self.assertEqual(link.pings, 9)
        link.silent = True
        deployment.run(1.9)
        self.assertEqual(ada.state, "online")
        deployment.until(lambda: ada.state != "online", 2)

    def test_client_that_stood_still(self) -> None:
        """It finds the answers where they are: in its socket."""
        deployment = Deployment()
        ada = deployment.online("ada")
        for pause_s in (0.3, 1.5, 4.0):
            sent = ada.send("hello")
            deployment.run(0.001)
            ada.where.pause()
            deployment.run(pause_s)
            ada.where.resume()
            deployment.result(sent, 0.5)
            ada.where.pause()
            deployment.run(pause_s)
            ada.where.resume()
            deployment.run(0.1)
        self.assertEqual(len(ada.heard(Welcomed)), 1)

    def test_long_archive_on_a_slow_line(self) -> None:
        """Bytes are a sign of life: a line that takes seconds to come is none of silence."""
        deployment = Deployment()
        played = PlayedNode(deployment.network, "played")
        ada = deployment.client("ada", targets=["played"])
        deployment.until(lambda: played.links)
        deployment.run(0.1)
        (link,) = played.links
        link.welcome()
        link.say("roomchange", identity="ada", former="", roomid="MainHall")
        sent = ada.send("hello")
        said = {"identity": "eve", "roomid": "MainHall", "epoch": 1, "time": 1.0}
        line = json.dumps({"type": "message", "content": "x" * 100, "index": 1, "id": "m", **said}).encode() + b"\n"
        for at in range(len(line)):
            link.transport.write(line[at : at + 1])
            deployment.run(0.2)
        self.assertEqual((ada.state, link.pings, len(ada.view())), ("online", 0, 1))
        link.say("ack", id=link.lines[-1]["id"], roomid="MainHall", index=2, epoch=1, durable=1)
        self.assertEqual(deployment.result(sent), Sent("MainHall", 2, 1))

    def test_acknowledgement_held_back(self) -> None:
        """A server that waits for its peer answers pings: it is kept, however long that takes."""
        deployment = Deployment()
        played, other = PlayedNode(deployment.network, "played"), PlayedNode(deployment.network, "other")
        ada = deployment.client("ada", targets=["played", "other"])
        deployment.until(lambda: played.links)
        deployment.run(0.1)
        (link,) = played.links
        link.welcome()
        ada.send("hello")
        deployment.run(10)
        self.assertEqual((ada.state, link.lost, other.links), ("online", 0, []))
        self.assertGreater(link.pings, 10)
        link.silent = True
        deployment.until(lambda: other.links, 1.6)

    def test_grace_over(self) -> None:
        """A new session takes up where the old one was: rooms, positions, what was not acknowledged."""
        deployment = Deployment(chat=ChatSettings(session_grace_s=2.0))
        ada, eve = deployment.online("ada", history="none"), deployment.online("eve")
        deployment.result(eve.create_room("Tea"))
        for client in (eve, ada):
            deployment.result(client.join("Tea"))
        deployment.result(eve.send("before"))
        deployment.run(0.1)
        deployment.network.cut("node", ada.where.name)
        ada.send("unheard")
        eve.send("while away")
        deployment.until(lambda: ada.state == "waiting", 30)
        deployment.until(lambda: Moved("ada", "Tea", "") in eve.events, 90)
        deployment.network.heal("node", ada.where.name)
        deployment.until(lambda: len(ada.heard(Welcomed)) == 2, 20)
        deployment.run(1)
        self.assertEqual(ada.heard(Welcomed)[-1], Welcomed("ada", False))
        self.assertEqual(ada.rooms, ("Tea",))
        self.assertEqual([said.content for said in ada.view("Tea")], ["before", "while away", "unheard"])
        self.assertEqual([said.index for said in ada.view("Tea")], [1, 2, 3])

    def test_quiet_rooms(self) -> None:
        """Where nothing was said yet, what is said during an outage is heard after it, whatever the history."""
        deployment = Deployment()
        eve = deployment.online("eve")
        deployment.result(eve.send("old"))
        ada = deployment.online("ada", history="none")
        deployment.run(0.5)
        deployment.network.cut("node", ada.where.name)
        deployment.result(eve.send("missed"))
        deployment.network.reset_all()
        deployment.run(1)
        deployment.network.heal_all()
        deployment.run(8)
        self.assertEqual([said.content for said in ada.view()], ["missed"])

    def test_request_under_way(self) -> None:
        """Nobody can tell whether it happened; what was queued behind it is asked of the next server."""
        deployment = Deployment()
        ada = deployment.online("ada")
        deployment.network.cut("node", ada.where.name)
        under_way, queued = ada.rename("bob"), ada.list_rooms()
        deployment.run(0.5)
        deployment.network.reset_all()
        deployment.network.heal_all()
        deployment.run(5)
        self.failureResultOf(under_way, Uncertain)
        self.assertEqual(self.successResultOf(queued), {"MainHall": 1})

    def test_big_queue(self) -> None:
        """Ten thousand messages wait for a node that takes two hundred lines a second; none ends the link."""
        deployment = Deployment()
        ada = deployment.client("ada", start=False)
        sent = [ada.send(f"{number} {'x' * 100}") for number in range(10_000)]
        ada.startService()
        deployment.run(60)
        self.assertEqual([self.successResultOf(each).index for each in sent], list(range(1, 10_001)))
        self.assertEqual(len(ada.heard(Welcomed)), 1)

    def test_retention(self) -> None:
        deployment = Deployment()
        ada, eve = deployment.online("ada"), deployment.online("eve")
        deployment.result(eve.send("1"))
        deployment.run(0.1)
        deployment.network.cut("node", ada.where.name)
        for number in "2345":
            deployment.result(eve.send(number))
        deployment.node.server.forget({"MainHall": 5})
        deployment.run(1)
        deployment.network.reset_all()
        deployment.network.heal_all()
        deployment.run(2)
        self.assertEqual(ada.heard(Missing), [Missing("MainHall", 2, 4, "retention")])
        self.assertEqual([said.index for said in ada.view()], [1, 5])

    def check_storm(self, seed: int, **network: Any) -> None:
        """Nodes crash, connections reset, paths are cut, while two clients speak and a third listens."""
        deployment = Deployment(seed, ChatSettings(session_grace_s=5.0), **network)
        dice = random.Random(seed)
        names = ("ada", "bob", "eve")
        clients = [deployment.client(name, heartbeat_s=0.5, silence_s_max=1.5, connect_s_max=1.0) for name in names]
        acked: dict[str, Sent] = {}
        asked: list[str] = []

        def speak(client: Listening) -> None:
            content = f"{client.where.name} {len(asked)}"
            asked.append(content)
            client.send(content, "MainHall").addCallback(lambda sent: acked.update({content: sent}))

        troubles = 0
        for _ in range(60):
            for client in clients[:2]:
                if dice.random() < 0.7:
                    speak(client)
            luck = dice.random()
            if luck < 0.05:
                deployment.host.crash()
                deployment.run(dice.uniform(0, 1))
                deployment.host.boot()
            elif luck < 0.15:
                deployment.network.reset_all()
            elif luck < 0.22:
                deployment.network.cut_one_way(*dice.sample(["node", dice.choice(clients).where.name], 2))
            elif luck < 0.35:
                deployment.network.heal_all()
            troubles += luck < 0.22
            deployment.run(dice.uniform(0, 0.3))
        deployment.network.heal_all()
        deployment.until(lambda: len(acked) == len(asked), 30)
        self.assertGreater(troubles, 2)
        reader = deployment.online("reader")
        deployment.run(10)
        archive = {said.index: said.content for said in reader.view()}
        self.assertEqual(sorted(archive), list(range(1, len(asked) + 1)), "each once")
        self.assertEqual(sorted(archive.values()), sorted(asked))
        for content, sent in acked.items():
            self.assertEqual(archive[sent.index], content)
        for client in clients:
            view = client.view()
            self.assertEqual([said.index for said in view], list(range(view[0].index, len(asked) + 1)))
            self.assertEqual([said.content for said in view], [archive[said.index] for said in view])
            self.assertEqual({said.own for said in view if said.content.startswith(client.where.name)} - {True}, set())
        for client in clients[:2]:
            mine = [content for content in archive.values() if content.startswith(client.where.name)]
            self.assertEqual(mine, [content for content in asked if content.startswith(client.where.name)])

    def test_storms(self) -> None:
        """Every message acknowledged is in the room once and in order, and every view is a prefix of it."""
        for seed in range(30):
            try:
                self.check_storm(seed)
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error

    def test_byte_by_byte(self) -> None:
        """However the bytes are chopped."""
        self.check_storm(5, piece_bytes_max=3)

    def check_acts(self, seed: int) -> None:
        """Three clients ask for all sorts of things while connections and nodes break."""
        deployment = Deployment(seed, ChatSettings(session_grace_s=3.0))
        dice = random.Random(seed)
        clients = [
            deployment.client(name, heartbeat_s=0.5, silence_s_max=1.5, connect_s_max=1.0, history="none")
            for name in ("ada", "bob", "eve")
        ]
        asked: list[Deferred[Any]] = []

        def ask(client: Listening) -> "Deferred[Any]":
            room = dice.choice(["Tea", "Den", "Attic", "MainHall"])
            asking: list[Any] = [
                lambda: client.create_room(room),
                lambda: client.join(room),
                lambda: client.join(room, stay=True),
                lambda: client.leave(room),
                lambda: client.delete_room(room),
                lambda: client.kick(room, dice.choice(clients).identity or "x", 1),
                lambda: client.rename(dice.choice(["ada", "bob", "eve", "cat", "dan"])),
                lambda: client.send("x", room),
                lambda: client.send("x"),
                lambda: client.who(room),
                lambda: client.history_page(room),
                lambda: client.status(),
                lambda: client.private("cat", "psst"),
            ]
            return dice.choice(asking)()  # type: ignore[no-any-return]

        for _ in range(60):
            for client in clients:
                if dice.random() < 0.5:
                    asked.append(ask(client).addErrback(lambda failure: failure.trap(Refused, Uncertain) and failure))
            luck = dice.random()
            if luck < 0.04:
                deployment.host.crash()
                deployment.run(dice.uniform(0, 1))
                deployment.host.boot()
            elif luck < 0.15:
                deployment.network.reset_all()
            elif luck < 0.2:
                deployment.network.cut("node", dice.choice(clients).where.name)
            elif luck < 0.3:
                deployment.network.heal_all()
            deployment.run(dice.uniform(0, 0.2))
        deployment.network.heal_all()
        deployment.until(lambda: all(each.called for each in asked), 30)
        deployment.run(10)
        outcomes = [each.result for each in asked]
        errors = [outcome.type for outcome in outcomes if isinstance(outcome, Failure)]
        self.assertIn(Refused, errors)
        self.assertLess(len(errors), len(outcomes))
        for each in asked:
            each.addErrback(lambda failure: None)
        for client in clients:
            self.assertEqual(client.state, "online")
            (member,) = deployment.node.server.hall.identities[client.identity].devices.values()
            self.assertEqual(client.rooms, member.rooms)
            self.assertEqual(client._machine._outbox._bytes, 0)
            for room in client.rooms:
                (resume,) = client._machine.positions.resume((room,))
                self.assertEqual(resume.index, deployment.node.server.hall.rooms[room].last + 1)

    def test_acts_in_storms(self) -> None:
        """Everything asked is answered, and in the end a client knows who and where it is."""
        for seed in range(30):
            try:
                self.check_acts(seed)
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error


class PlacesTests(SynchronousTestCase):
    """Which server is tried when."""

    def setUp(self) -> None:
        self.deployment = Deployment()

    def played(self, *names: str) -> list[PlayedNode]:
        return [PlayedNode(self.deployment.network, name) for name in names]

    def settle(self, seconds: float = 0.5) -> None:
        self.deployment.run(seconds)

    def test_next_of_several(self) -> None:
        """One that is not there is passed over at once."""
        self.deployment.network.host("empty")
        ada = self.deployment.client("ada", targets=["empty", "node"])
        self.assertLess(self.deployment.until(lambda: ada.state == "online"), 0.2)
        reasons = [event.reason for event in ada.heard(StateChanged)]
        self.assertIn("refused", reasons[1])

    def test_redirect(self) -> None:
        """To the server named, by its name, with the session and after the time told."""
        first, second = self.played("first", "second")
        ada = self.deployment.client("ada", targets=["first"])
        self.settle()
        first.links[0].welcome(servers=["first:4444", "second:4444"])
        self.settle()
        first.links[0].say("redirect", servers=["second:4444"], reason="draining", after=2000)
        self.settle(1.9)
        self.assertEqual((ada.state, second.links), ("online", []))
        self.settle(0.3)
        self.assertEqual(second.links[0].lines[0]["session"], "s1")
        self.assertEqual(first.links[0].lost, 1)
        self.assertEqual(ada.heard(Redirected), [Redirected(("second:4444",), "draining")])

    def test_told_of(self) -> None:
        """When the only server it was given dies, it goes to one that server told of."""
        first, second = self.played("first", "second")
        ada = self.deployment.client("ada", targets=["first"])
        self.settle()
        first.links[0].welcome(servers=["first:4444", "second:4444", "nonsense"])
        self.settle()
        self.deployment.network.host("first").crash("silence")
        self.deployment.until(lambda: second.links, 30)
        self.assertEqual(ada.state, "connecting")

    def test_connector(self) -> None:
        """Whoever gives a connector makes the endpoints of what is told; one that fails is a failed try."""
        (first, second) = self.played("first", "second")
        asked = []

        def connector(address: str) -> IStreamClientEndpoint:
            asked.append(address)
            if address == "bad:1":
                raise ZeroDivisionError("no way")
            return ada.where.world().client("tcp:second:4444")

        ada = self.deployment.client("ada", targets=["first"], connector=connector)
        self.settle()
        first.links[0].welcome()
        first.links[0].say("redirect", servers=["bad:1", "good:1"], reason="full", after=0)
        self.settle(1)
        self.assertEqual(asked, ["bad:1", "good:1"])
        self.assertEqual(len(second.links), 1)
        self.assertIn("no way", [event.reason for event in ada.heard(StateChanged)])

    def test_no_way_to_what_is_told(self) -> None:
        """A clock that is no reactor reaches what it was given, and nothing else."""
        (first,) = self.played("first")
        endpoint = self.deployment.network.host("away").world().client("tcp:first:4444")
        ada = Listening(self.deployment.clock, [endpoint])
        ada.startService()
        self.settle()
        first.links[0].welcome(servers=["second:4444"])
        first.links[0].say("redirect", servers=["second:4444"], reason="full", after=0)
        self.settle(1)
        self.assertEqual(len(first.links), 2)

    def test_capacity(self) -> None:
        """A full server turns away; the client comes in as soon as there is room."""
        deployment = Deployment(chat=ChatSettings(capacity=1))
        eve = deployment.online("eve")
        ada = deployment.client("ada")
        deployment.run(2)
        self.assertEqual(ada.heard(Refusal)[0].code, "full")
        self.assertIn("full", [event.reason for event in ada.heard(StateChanged)])
        deployment.result(eve.stopService())
        deployment.until(lambda: ada.state == "online", 10)

    def test_no_welcome(self) -> None:
        (first,) = self.played("first")
        ada = self.deployment.client("ada", targets=["first", "node"], welcome_s_max=3.0)
        self.settle(2.9)
        self.assertEqual(ada.state, "connecting")
        self.settle(0.5)
        self.assertEqual((ada.state, ada.server), ("online", "primary"))
        self.assertEqual(first.links[0].lost, 1)

    def test_stopped_server_before_the_welcome(self) -> None:
        """It takes connections, and says nothing: within a second the next one has us."""
        self.deployment.network.host("stopped")
        PlayedNode(self.deployment.network, "stopped")
        self.deployment.network.host("stopped").pause()
        ada = self.deployment.client("ada", targets=["stopped", "node"])
        self.assertLess(self.deployment.until(lambda: ada.state == "online"), 1.05)

    def test_machine_without_power(self) -> None:
        """Nobody answers there at all."""
        self.deployment.network.host("off").crash("silence")
        ada = self.deployment.client("ada", targets=["off", "node"])
        self.assertLess(self.deployment.until(lambda: ada.state == "online"), 1.05)
        self.assertIn("no connection in time", [event.reason for event in ada.heard(StateChanged)])

    def test_killed_server(self) -> None:
        """The other one is tried at once, without any wait."""
        first, second = self.played("first", "second")
        ada = self.deployment.client("ada", targets=["first", "second"])
        self.settle()
        first.links[0].welcome()
        self.settle(5)
        self.deployment.network.host("first").crash()
        self.assertLess(self.deployment.until(lambda: second.links), 0.02)
        self.assertIn("the connection broke", [event.reason for event in ada.heard(StateChanged)])

    def test_two_that_send_to_each_other(self) -> None:
        """They get a few connections at once, and then fewer and fewer."""
        played = self.played("first", "second")
        ada = self.deployment.client("ada", targets=["first", "second"])
        counts = []
        for _ in range(4):
            before = sum(len(node.links) for node in played)
            for _ in range(1000):
                self.settle(0.01)
                for node, other in zip(played, ("second", "first"), strict=True):
                    if node.links and not node.links[-1].lost:
                        node.links[-1].say("redirect", servers=[f"{other}:4444"], reason="isolated", after=0)
            counts.append(sum(len(node.links) for node in played) - before)
        self.assertEqual(ada.heard(Welcomed), [])
        self.assertLess(counts[0], 36)
        self.assertLess(counts[-1], 14)
        self.assertGreater(counts[-1], 4, "it does not give up")


class LinkTests(SynchronousTestCase):
    """What a server may send."""

    def setUp(self) -> None:
        self.deployment = Deployment()
        self.node = PlayedNode(self.deployment.network, "played")
        self.ada = self.deployment.client("ada", targets=["played"], server_line_bytes_max=1000)
        self.deployment.until(lambda: self.node.links)
        self.deployment.run(0.1)
        (self.link,) = self.node.links

    def test_ping(self) -> None:
        """Its fields come back with the answer, before and after the welcome."""
        self.link.say("ping", at=1.5, more={"x": [1]})
        self.link.welcome()
        self.link.say("ping")
        self.deployment.run(0.1)
        self.assertEqual(
            [line for line in self.link.lines if line["type"] == "pong"],
            [{"type": "pong", "at": 1.5, "more": {"x": [1]}}, {"type": "pong"}],
        )

    def test_not_of_the_protocol(self) -> None:
        """What is not understood is passed over: a newer server may say it."""
        for line in (b"", b"nonsense", b"null", b'{"type":"news"}', b'{"type":"ack"}', b"\xff", b"[" * 500):
            self.link.sendLine(line)
        self.link.welcome()
        self.deployment.run(0.1)
        self.assertEqual(self.ada.state, "online")

    def test_line_without_end(self) -> None:
        self.link.transport.write(b"x" * 1001)
        self.deployment.run(0.05)
        self.assertEqual(self.link.lost, 1)
        self.assertEqual(self.ada.state, "waiting")

    def test_hole(self) -> None:
        """Messages before others that are missing are not handed out; the next connection asks for them."""
        self.link.welcome()
        self.link.say("roomchange", identity="ada", former="", roomid="MainHall")
        said = {"identity": "eve", "content": "x", "roomid": "MainHall", "epoch": 1, "id": "m", "time": 1.0}
        for index in (1, 3, 4):
            self.link.say("message", index=index, **said)
        self.deployment.run(1)
        self.assertEqual([event.index for event in self.ada.view()], [1])
        again = self.node.links[1]
        self.assertEqual(again.lines[0]["resume"], [{"roomid": "MainHall", "from": 2, "epoch": 1}])


class TryTests(SynchronousTestCase):
    """Endpoints of all manners."""

    def client(self, connect: Any) -> Listening:
        @implementer(IStreamClientEndpoint)
        class Endpoint:
            def connect(self, factory: Any) -> Any:
                return connect(factory)

        self.deployment = Deployment()
        return Listening(self.deployment.clock, [Endpoint()], dice=random.Random(1))

    def made(self, factory: Any, transport: Any = None) -> Any:
        link = factory.buildProtocol(None)
        link.makeConnection(transport or StringTransport())
        return link

    def test_at_once(self) -> None:
        """An endpoint may connect before it returns."""
        links = []

        def connect(factory: Any) -> Any:
            connected: Deferred[Any] = Deferred()
            links.append(self.made(factory))
            connected.callback(links[-1])
            return connected

        ada = self.client(connect)
        ada.startService()
        ada.stopService()
        self.deployment.run(0.1)
        self.assertEqual(links[0].transport.value(), b'{"type":"hello","version":1}\n{"type":"quit"}\n')

    def test_what_tls_has_ended_is_said_in_words(self) -> None:
        factories: list[Any] = []

        def connect(factory: Any) -> Any:
            factories.append(factory)
            return Deferred()

        ada = self.client(connect)
        ada.startService()
        self.made(factories[0]).connectionLost(Failure(SSL.Error([("SSL routines", "", "wrong version number")])))
        self.assertEqual(ada.events[-1], StateChanged("waiting", "", "", "TLS failed: wrong version number"))

    def test_failing_at_once(self) -> None:
        ada = self.client(lambda factory: fail(ZeroDivisionError("no way")))
        ada.startService()
        self.assertEqual(ada.events[-1], StateChanged("waiting", "", "", "no way"))

    def test_stopped_on_connecting(self) -> None:
        """A client that is stopped as soon as it tells that it connects does not."""
        tries: list[Any] = []
        ada = self.client(lambda factory: tries.append(factory) or fail(ZeroDivisionError("no way")))
        ada.subscribe(lambda event: ada.stopService() if ada.state == "connecting" else None)
        ada.startService()
        self.assertEqual(ada.events[-1], StateChanged("stopped", "", "", "asked to"))
        self.assertEqual(tries, [])

    def test_not_to_be_cancelled(self) -> None:
        """A try that was given up may come through all the same: nobody wants it any more."""
        factories: list[Any] = []
        cancelled: list[Any] = []

        def connect(factory: Any) -> Any:
            factories.append(factory)
            return Deferred(cancelled.append)

        ada = self.client(connect)
        ada.startService()
        self.deployment.until(lambda: len(factories) == 2)
        self.assertEqual(len(cancelled), 1)
        late = self.made(factories[0])
        self.assertTrue(late.transport.disconnected)
        self.assertEqual(ada.state, "connecting")
        link = self.made(factories[1])
        self.assertFalse(link.transport.disconnected)
        twice = self.made(factories[1])
        self.assertTrue(twice.transport.disconnected)
        late.connectionLost()
        self.assertEqual(ada.state, "connecting")

    def test_gone_at_once(self) -> None:
        """A transport may tell that it is gone while it is hung up on, with more to be done."""

        class Abrupt(StringTransport):
            def abortConnection(self) -> None:
                link.connectionLost(Failure(ConnectionAborted()))

        factories: list[Any] = []

        def connect(factory: Any) -> Any:
            factories.append(factory)
            return Deferred()

        ada = self.client(connect)
        ada.startService()
        link = self.made(factories[0], Abrupt())
        ada.subscribe(lambda event: ada.stopService() if isinstance(event, Said) else None)
        welcome = Welcome(1, "played", "s1", "ada", 1, "leader", "single", [])
        said = [SaidExtended("eve", "x", "MainHall", index, 1, f"{index}", 0.0) for index in (1, 3)]
        link.dataReceived(b"".join(map(encode, [welcome, RoomChange("ada", "", "MainHall"), *said])))
        self.assertEqual([event.state for event in ada.heard(StateChanged)], ["connecting", "online", "stopped"])
        self.assertIsNone(ada._link)
        self.deployment.run(1)
        self.assertEqual(len(factories), 1)
