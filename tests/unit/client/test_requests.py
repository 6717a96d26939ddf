"""Which lines answer which requests."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat.messages import (
    BanEntry,
    BanList,
    Contact,
    History,
    Message,
    NewIdentity,
    Notice,
    RoomChange,
    RoomContents,
    RoomCount,
    RoomList,
    SaidExtended,
    Search,
    Status,
)
from chatproto.client import requests
from chatproto.client.events import Banned, ContactFound, HistoryPage, Members, Said, SearchResults
from chatproto.client.requests import Request
from chatproto.errors import ClientError

STATUS = Status([], 0, 0, 1, "leader", "single", [])


def listed(*rooms: str) -> RoomList:
    return RoomList([RoomCount(room, 2) for room in rooms])


class AnswerTests(SynchronousTestCase):
    """`ada` asks; each test says what answers and what does not."""

    def answered(self, request: Request, message: Message) -> Any:
        answer = request.hears(message, "ada")
        self.assertIsNotNone(answer, message)
        return answer.value  # type: ignore[union-attr]

    def not_answered(self, request: Request, *messages: Message) -> None:
        for message in (Notice("a", "b"), *messages):
            self.assertIsNone(request.hears(message, "ada"), message)

    def test_rename(self) -> None:
        request = requests.rename("k", "bob")
        self.assertEqual(request.line, b'{"type":"identitychange","identity":"bob"}\n')
        self.assertEqual(self.answered(request, NewIdentity("ada", "bob")), "bob")
        self.not_answered(request, NewIdentity("ada", "ada"), NewIdentity("eve", "bob"), NewIdentity("ada", "eve"))

    def test_rename_to_the_same(self) -> None:
        """The server answers as if it refused, but gives no reason."""
        self.assertEqual(self.answered(requests.rename("k", "ada"), NewIdentity("ada", "ada")), "ada")

    def test_join(self) -> None:
        request = requests.join("k", "Tea", stay=True, history=5)
        self.assertEqual(request.line, b'{"type":"join","roomid":"Tea","stay":true,"history":5}\n')
        self.answered(request, RoomChange("ada", "", "Tea"))
        self.answered(request, RoomChange("ada", "MainHall", "Tea"))
        self.not_answered(request, RoomChange("ada", "Tea", "Tea"), RoomChange("eve", "", "Tea"))
        self.not_answered(request, RoomChange("ada", "Tea", ""), RoomChange("ada", "", "Den"))
        request = requests.join("k", "Tea", stay=False, history=None)
        self.assertEqual(request.line, b'{"type":"join","roomid":"Tea"}\n')

    def test_leave(self) -> None:
        request = requests.leave("k", "Tea")
        self.assertEqual(request.line, b'{"type":"leave","roomid":"Tea"}\n')
        self.answered(request, RoomChange("ada", "Tea", ""))
        self.answered(request, RoomChange("ada", "Tea", "MainHall"))
        self.not_answered(request, RoomChange("ada", "Tea", "Tea"), RoomChange("eve", "Tea", ""))
        self.not_answered(request, RoomChange("ada", "Den", ""))

    def test_create(self) -> None:
        request = requests.create_room("k", "Tea")
        self.assertEqual(request.line, b'{"type":"createroom","roomid":"Tea"}\n')
        self.answered(request, listed("MainHall", "Tea"))
        self.not_answered(request, listed("MainHall"))

    def test_delete(self) -> None:
        request = requests.delete_room("k", "Tea")
        self.assertEqual(request.line, b'{"type":"delete","roomid":"Tea"}\n')
        self.answered(request, listed("MainHall"))
        self.not_answered(request, listed("MainHall", "Tea"))

    def test_kick(self) -> None:
        """Silence is the answer."""
        request = requests.kick("k", "Tea", "eve", 5)
        self.assertEqual(request.line, b'{"type":"kick","roomid":"Tea","identity":"eve","time":5}\n')
        self.assertIsNotNone(request.answer)
        self.not_answered(request)

    def test_orders(self) -> None:
        for request, line in (
            (requests.ban("k", "eve", 5, "why"), b'{"type":"ban","time":5,"identity":"eve","reason":"why"}\n'),
            (requests.ban("k", "192.0.2.7", 5, ""), b'{"type":"ban","time":5,"address":"192.0.2.7"}\n'),
            (requests.unban("k", "eve"), b'{"type":"unban","identity":"eve"}\n'),
            (requests.silence("k", "eve", 5), b'{"type":"silence","identity":"eve","time":5}\n'),
            (requests.unsilence("k", "eve"), b'{"type":"unsilence","identity":"eve"}\n'),
            (requests.announce("k", "hi"), b'{"type":"announce","content":"hi"}\n'),
        ):
            self.assertEqual(request.line, line)
            self.assertIsNotNone(request.answer)
            self.not_answered(request)

    def test_bans(self) -> None:
        request = requests.bans("k")
        self.assertEqual(request.line, b'{"type":"bans"}\n')
        told = BanList([BanEntry(9.0, "why", "zoe", "eve"), BanEntry(9.0, "", "", address="192.0.2.7")])
        self.assertEqual(
            self.answered(request, told), (Banned("eve", 9.0, "why", "zoe"), Banned("192.0.2.7", 9.0, "", ""))
        )
        self.not_answered(request)

    def test_close(self) -> None:
        request = requests.close_room("k", "Tea")
        self.assertEqual(request.line, b'{"type":"close","roomid":"Tea"}\n')
        self.answered(request, listed("MainHall"))
        self.not_answered(request, listed("MainHall", "Tea"))

    def test_who(self) -> None:
        request = requests.who("k", "Tea")
        self.assertEqual(request.line, b'{"type":"who","roomid":"Tea"}\n')
        contents = RoomContents("Tea", ["ada", "eve"], "eve")
        self.assertEqual(self.answered(request, contents), Members("Tea", ("ada", "eve"), "eve"))
        self.not_answered(request, RoomContents("Den", [], ""))

    def test_list(self) -> None:
        request = requests.list_rooms("k")
        self.assertEqual(request.line, b'{"type":"list"}\n')
        self.assertEqual(self.answered(request, listed("Tea", "Den")), {"Tea": 2, "Den": 2})
        self.not_answered(request)

    def test_status(self) -> None:
        request = requests.status("k")
        self.assertEqual(request.line, b'{"type":"status"}\n')
        self.assertIs(self.answered(request, STATUS), STATUS)
        self.not_answered(request)

    def test_history(self) -> None:
        request = requests.history_page("k", "Tea", 9, None, 5, lambda id: id == "m")
        self.assertEqual(request.line, b'{"type":"history","roomid":"Tea","before":9,"limit":5}\n')
        page = History("Tea", [SaidExtended("ada", "hi", "Tea", 8, 1, id, 2.5) for id in "mn"], True)
        own, foreign = (Said("Tea", 8, 1, id, "ada", "hi", 2.5, id == "m") for id in "mn")
        self.assertEqual(self.answered(request, page), HistoryPage("Tea", (own, foreign), True))
        self.not_answered(request, History("Den", [], False))
        request = requests.history_page("k", "Tea", None, 7, 100, lambda id: False)
        self.assertEqual(request.line, b'{"type":"history","roomid":"Tea","from":7}\n')
        request = requests.history_page("k", "Tea", None, None, 1, lambda id: False)
        self.assertIn(b'"before":9007199254740991', request.line, "the newest")

    def test_search(self) -> None:
        request = requests.search("k", "a word", "Tea", 9, 5, lambda id: id == "m")
        self.assertEqual(request.line, b'{"type":"search","query":"a word","roomid":"Tea","before":9,"limit":5}\n')
        results = Search("a word", [SaidExtended("ada", "hi", "Tea", 8, 1, id, 2.5) for id in "mn"], True)
        own, foreign = (Said("Tea", 8, 1, id, "ada", "hi", 2.5, id == "m") for id in "mn")
        self.assertEqual(self.answered(request, results), SearchResults("a word", (own, foreign), True))
        self.not_answered(request, Search("another", [], False), History("Tea", [], False))
        request = requests.search("k", "word", None, None, 20, lambda id: False)
        self.assertEqual(request.line, b'{"type":"search","query":"word"}\n')

    def test_contact(self) -> None:
        """A token without an address is for the other side of a contact."""
        request = requests.contact("k", "eve")
        self.assertEqual(request.line, b'{"type":"contact","identity":"eve"}\n')
        found = self.answered(request, Contact("eve", "t", "e:1"))
        self.assertEqual(found, ContactFound("eve", "e:1", "t"))
        self.not_answered(request, Contact("eve", "t"), Contact("bob", "t", "b:1"))

    def test_accept_contacts(self) -> None:
        self.assertEqual(requests.accept_contacts("é:1"), '{"type":"contact","address":"é:1"}\n'.encode())
        requests.accept_contacts("x" * 256)
        for address in ("", "x" * 257, "\ud800"):
            self.assertRaises(ClientError, requests.accept_contacts, address)

    def test_speech(self) -> None:
        said = requests.say("k", "hi", "Tea")
        self.assertEqual(
            (said.line, said.again), (b'{"type":"message","content":"hi","id":"k","roomid":"Tea"}\n', True)
        )
        self.assertEqual(requests.say("k", "hi", None).line, b'{"type":"message","content":"hi","id":"k"}\n')
        private = requests.private("k", "eve", "hi")
        expected = (b'{"type":"private","to":"eve","content":"hi","id":"k"}\n', False)
        self.assertEqual((private.line, private.again), expected)
