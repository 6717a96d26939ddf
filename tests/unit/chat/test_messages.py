import typing
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.chat import messages
from chatproto.chat.messages import (
    Ack,
    BaseRequest,
    Contact,
    ContactAsked,
    CreateRoom,
    Delete,
    Error,
    ExtendedRequest,
    Gap,
    Hello,
    History,
    HistoryAsked,
    IdentityChange,
    Join,
    JoinExtended,
    Kick,
    Leave,
    List,
    Message,
    NewIdentity,
    Notice,
    PeerStatus,
    Ping,
    Pong,
    Private,
    PrivateAck,
    PrivateAsked,
    Quit,
    Redirect,
    Resume,
    Rewind,
    RoomChange,
    RoomContents,
    RoomCount,
    RoomList,
    RoomStatus,
    Said,
    SaidExtended,
    Say,
    SayExtended,
    ServerMessage,
    Status,
    StatusAsked,
    Welcome,
    Who,
    decode_content,
    decode_server_line,
    encode,
)
from chatproto.errors import WireError

_base = msgspec.json.Decoder(BaseRequest)
_extended = msgspec.json.Decoder(ExtendedRequest)

# What travels is UTF-8, so half a surrogate pair cannot; every other text can.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1)
st.register_type_strategy(str, texts)
st.register_type_strategy(int, numbers)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def any_of(union: Any) -> st.SearchStrategy[Any]:
    return st.one_of([st.builds(kind) for kind in typing.get_args(union)])


class RoundTripTests(SynchronousTestCase):
    def check(self, message: Any, there: Any) -> None:
        line = encode(message)
        self.assertTrue(line.endswith(b"}\n"))
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(there(line), message)

    @given(any_of(BaseRequest))
    def test_every_base_request(self, message: Message) -> None:
        self.check(message, _base.decode)

    @given(any_of(ExtendedRequest))
    def test_every_extended_request(self, message: Message) -> None:
        self.check(message, _extended.decode)

    @given(any_of(ServerMessage))
    def test_every_message_from_the_server(self, message: Message) -> None:
        self.check(message, decode_server_line)

    @given(st.builds(PrivateAck))
    def test_the_other_ack(self, message: PrivateAck) -> None:
        self.check(message, decode_server_line)

    @given(st.builds(NewIdentity) | st.builds(RoomChange) | st.builds(RoomContents) | st.builds(RoomList))
    def test_base_clients_read_the_base_lines(self, message: Message) -> None:
        kinds = NewIdentity | RoomChange | RoomContents | RoomList | Said
        self.check(message, msgspec.json.Decoder(kinds).decode)

    def test_every_message_is_read_by_somebody(self) -> None:
        kinds = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, Message)}
        read = {*typing.get_args(BaseRequest), *typing.get_args(ExtendedRequest), *typing.get_args(ServerMessage)}
        self.assertEqual(kinds - read, {Message, Said, PrivateAck})


class BytesTests(SynchronousTestCase):
    """Fields and their order, as the protocol reference lists them."""

    def check(self, message: Any, line: bytes) -> None:
        self.assertEqual(encode(message), line + b"\n")

    def test_from_base_clients(self) -> None:
        for message, line in (
            (IdentityChange("aaron"), b'{"type":"identitychange","identity":"aaron"}'),
            (Join("jokes"), b'{"type":"join","roomid":"jokes"}'),
            (Who("jokes"), b'{"type":"who","roomid":"jokes"}'),
            (CreateRoom("jokes"), b'{"type":"createroom","roomid":"jokes"}'),
            (Delete("jokes"), b'{"type":"delete","roomid":"jokes"}'),
            (List(), b'{"type":"list"}'),
            (Quit(), b'{"type":"quit"}'),
            (Say("Hi there!"), b'{"type":"message","content":"Hi there!"}'),
            (Kick("jokes", "adel", 3600), b'{"type":"kick","roomid":"jokes","identity":"adel","time":3600}'),
        ):
            self.check(message, line)
            self.assertEqual(_base.decode(line), message)
            self.assertEqual(_base.decode(line + b"\r"), message)

    def test_to_base_clients(self) -> None:
        self.check(NewIdentity("", "guest5"), b'{"type":"newidentity","former":"","identity":"guest5"}')
        self.check(
            RoomChange("guest5", "", "MainHall"),
            b'{"type":"roomchange","identity":"guest5","former":"","roomid":"MainHall"}',
        )
        self.check(
            RoomContents("MainHall", ["aaron", "adel"], ""),
            b'{"type":"roomcontents","roomid":"MainHall","identities":["aaron","adel"],"owner":""}',
        )
        self.check(
            RoomList([RoomCount("MainHall", 5), RoomCount("jokes", 0)]),
            b'{"type":"roomlist","rooms":[{"roomid":"MainHall","count":5},{"roomid":"jokes","count":0}]}',
        )
        self.check(Said("adel", "Hi"), b'{"type":"message","identity":"adel","content":"Hi"}')

    def test_from_extended_clients(self) -> None:
        for message, line in (
            (Hello(1), b'{"type":"hello","version":1}'),
            (
                Hello(1, "adel", "78dd3c", [Resume("jokes", 4711, 1), Resume("MainHall", 1)], 50),
                b'{"type":"hello","version":1,"identity":"adel","session":"78dd3c",'
                b'"resume":[{"roomid":"jokes","from":4711,"epoch":1},{"roomid":"MainHall","from":1}],"history":50}',
            ),
            (Hello(1, history="none"), b'{"type":"hello","version":1,"history":"none"}'),
            (SayExtended("Hi"), b'{"type":"message","content":"Hi"}'),
            (
                SayExtended("Hi", "f81d4fae", "jokes"),
                b'{"type":"message","content":"Hi","id":"f81d4fae","roomid":"jokes"}',
            ),
            (JoinExtended("jokes"), b'{"type":"join","roomid":"jokes"}'),
            (
                JoinExtended("jokes", True, 12, "all"),
                b'{"type":"join","roomid":"jokes","stay":true,"from":12,"history":"all"}',
            ),
            (Leave("jokes"), b'{"type":"leave","roomid":"jokes"}'),
            (HistoryAsked("jokes", 12), b'{"type":"history","roomid":"jokes","from":12}'),
            (
                HistoryAsked("jokes", before=12, limit=500),
                b'{"type":"history","roomid":"jokes","before":12,"limit":500}',
            ),
            (StatusAsked(), b'{"type":"status"}'),
            (PrivateAsked("adel", "Hi", "f81d"), b'{"type":"private","to":"adel","content":"Hi","id":"f81d"}'),
            (ContactAsked("127.0.0.1:5"), b'{"type":"contact","address":"127.0.0.1:5"}'),
            (ContactAsked(identity="adel"), b'{"type":"contact","identity":"adel"}'),
            (Ping(), b'{"type":"ping"}'),
            (Pong(), b'{"type":"pong"}'),
        ):
            self.check(message, line)
            self.assertEqual(_extended.decode(line), message)

    def test_to_extended_clients(self) -> None:
        said = SaidExtended("adel", "Hi", "jokes", 12, 1, "f81d", 1700000000.125)
        said_line = (
            b'{"type":"message","identity":"adel","content":"Hi",'
            b'"roomid":"jokes","index":12,"epoch":1,"id":"f81d","time":1700000000.125}'
        )
        for message, line in (
            (
                Welcome(1, "primary", "78dd3c", "adel", 1, "leader", "single", ["127.0.0.1:4444"]),
                b'{"type":"welcome","version":1,"server":"primary","session":"78dd3c","identity":"adel",'
                b'"epoch":1,"role":"leader","redundancy":"single","servers":["127.0.0.1:4444"]}',
            ),
            (said, said_line),
            (
                Ack("f81d", "jokes", 12, 1, 1),
                b'{"type":"ack","id":"f81d","roomid":"jokes","index":12,"epoch":1,"durable":1}',
            ),
            (PrivateAck("f81d", "adel", 1), b'{"type":"ack","id":"f81d","to":"adel","delivered":1}'),
            (Rewind("jokes", 12), b'{"type":"rewind","roomid":"jokes","index":12}'),
            (
                Gap("jokes", 1, 11, "retention"),
                b'{"type":"gap","roomid":"jokes","from":1,"to":11,"reason":"retention"}',
            ),
            (
                History("jokes", [said], True),
                b'{"type":"history","roomid":"jokes","messages":[' + said_line + b'],"more":true}',
            ),
            (
                Status(
                    [RoomStatus("jokes", 12, 11)],
                    12,
                    11,
                    1,
                    "leader",
                    "paired",
                    [PeerStatus("secondary", "follower", 3)],
                    "primary",
                    7,
                    100,
                    False,
                    "not reached",
                    "secondary",
                ),
                b'{"type":"status","rooms":[{"roomid":"jokes","archived":12,"transferred":11}],"archived":12,'
                b'"transferred":11,"epoch":1,"role":"leader","redundancy":"paired",'
                b'"peers":[{"name":"secondary","role":"follower","lag":3}],"server":"primary","clients":7,"capacity":100,'
                b'"serving":false,"witness":"not reached","waits_for":"secondary","pages":[]}',
            ),
            (
                Private("adel", "Hi", "f81d", 1700000000.125),
                b'{"type":"private","identity":"adel","content":"Hi","id":"f81d","time":1700000000.125}',
            ),
            (Contact("adel", "78dd"), b'{"type":"contact","identity":"adel","token":"78dd"}'),
            (
                Contact("adel", "78dd", "127.0.0.1:5"),
                b'{"type":"contact","identity":"adel","token":"78dd","address":"127.0.0.1:5"}',
            ),
            (
                Redirect(["127.0.0.1:4444"], "draining", 250),
                b'{"type":"redirect","servers":["127.0.0.1:4444"],"reason":"draining","after":250}',
            ),
            (
                Notice("shutting-down", "primary is shutting down"),
                b'{"type":"notice","code":"shutting-down","content":"primary is shutting down"}',
            ),
            (Error("full", "try later"), b'{"type":"error","code":"full","message":"try later"}'),
            (
                Error("no-such-room", "gone", "f81d", "jokes"),
                b'{"type":"error","code":"no-such-room","message":"gone","id":"f81d","roomid":"jokes"}',
            ),
        ):
            self.check(message, line)
            self.assertEqual(decode_server_line(line), message)

    def test_text_travels_as_utf_8(self) -> None:
        self.assertEqual(encode(Say('é\n"☃')), '{"type":"message","content":"é\\n\\"☃"}\n'.encode())


class ReadingTests(SynchronousTestCase):
    def test_unknown_fields_are_ignored(self) -> None:
        self.assertEqual(_base.decode(b'{"more":[1],"type":"join","roomid":"jokes","stay":"what"}'), Join("jokes"))
        self.assertEqual(_extended.decode(b'{"type":"list","more":{}}'), List())
        self.assertEqual(decode_server_line(b'{"type":"rewind","roomid":"a","index":1,"more":0}'), Rewind("a", 1))

    def test_extensions_are_unknown_to_a_base_client(self) -> None:
        for line in (b'{"type":"ping"}', b'{"type":"status"}', b'{"type":"leave","roomid":"jokes"}'):
            self.assertRaises(msgspec.ValidationError, _base.decode, line)

    def test_what_is_not_of_the_protocol_is_refused(self) -> None:
        for line in (
            b"",
            b"null",
            b"4444",
            b"[]",
            b"garbage",
            b"{}",
            b'{"type":null}',
            b'{"type":"sing"}',
            b'{"roomid":"jokes"}',
            b'{"type":"join"}',
            b'{"type":"join","roomid":null}',
            b'{"type":"join","roomid":5}',
            b'{"type":"message","content":5}',
            b'{"type":"kick","roomid":"jokes","identity":"adel","time":"5"}',
            b'{"type":"kick","roomid":"jokes","identity":"adel","time":1.5}',
            b'{"type":"kick","roomid":"jokes","identity":"adel","time":true}',
            b'{"type":"list"} {"type":"list"}',
            b'{"type":"hello"}',
            b'{"type":"hello","version":"1"}',
            b'{"type":"hello","version":1,"resume":[{"roomid":"jokes"}]}',
            b'{"type":"hello","version":1,"history":[]}',
        ):
            for decoder in (_base, _extended):
                self.assertRaises(msgspec.MsgspecError, decoder.decode, line)
        for line in (
            b'{"type":"message","content":"Hi","id":7}',
            b'{"type":"join","roomid":"jokes","stay":"yes"}',
            b'{"type":"history","roomid":"jokes","from":"1"}',
            b'{"type":"history","roomid":"jokes","limit":null}',
        ):
            self.assertRaises(msgspec.ValidationError, _extended.decode, line)

    def test_numbers_beyond_all_bounds_are_not_of_the_protocol(self) -> None:
        """A snapshot holds numbers of 64 bits."""
        huge = b"9" * 30
        for line in (
            b'{"type":"kick","roomid":"jokes","identity":"adel","time":' + huge + b"}",
            b'{"type":"hello","version":1,"history":' + huge + b"}",
            b'{"type":"hello","version":1,"resume":[{"roomid":"jokes","from":' + huge + b"}]}",
        ):
            self.assertRaises(msgspec.ValidationError, _base.decode, line)
            self.assertRaises(msgspec.ValidationError, _extended.decode, line)
        for line in (
            b'{"type":"join","roomid":"jokes","from":' + huge + b"}",
            b'{"type":"join","roomid":"jokes","history":' + huge + b"}",
            b'{"type":"history","roomid":"jokes","from":' + huge + b"}",
            b'{"type":"history","roomid":"jokes","before":' + huge + b"}",
            b'{"type":"history","roomid":"jokes","limit":' + huge + b"}",
        ):
            self.assertRaises(msgspec.ValidationError, _extended.decode, line)

    def test_bytes_that_are_no_text_and_depth_beyond_all_bounds(self) -> None:
        for line in (
            b'{"type":"private","identity":"\xff"}',
            b'{"type":"ack","id":"\xff","to":"adel","delivered":1}',
            b'{"type":"ack","to":"\xff","id":"x","delivered":1}',
            b'{"type":"notice","more":' + b"[" * 100_000,
        ):
            self.assertRaises(WireError, decode_server_line, line)

    def test_a_line_from_a_server_that_is_not_of_the_protocol(self) -> None:
        for line in (
            b"",
            b"null",
            b"garbage",
            b'{"type":"sing"}',
            b'{"type":"ack"}',
            b'{"type":"ack","id":"a","to":1}',
        ):
            error = self.assertRaises(WireError, decode_server_line, line)
            self.assertTrue(str(error), line)

    def test_the_reason_is_that_of_the_type_it_claims_to_be(self) -> None:
        error = self.assertRaises(WireError, decode_server_line, b'{"type":"rewind","roomid":"jokes"}')
        self.assertIn("index", str(error))

    @given(texts)
    def test_the_content_of_a_stored_line(self, content: str) -> None:
        self.assertEqual(decode_content(encode(SaidExtended("adel", content, "jokes", 1, 1, "x", 0.5))), content)
