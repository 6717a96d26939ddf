import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.client.direct.messages import Accepted, Ack, Call, Error, Nack, Private, decode_line, encode
from chatproto.errors import WireError

LINES = {
    '{"type":"direct","version":1,"identity":"ada","to":"eve","token":"t1"}': Call(1, "ada", "eve", "t1"),
    '{"type":"accepted"}': Accepted(),
    '{"type":"private","id":"p1","content":"hi"}': Private("p1", "hi"),
    '{"type":"ack","id":"p1"}': Ack("p1"),
    '{"type":"nack","id":"p1","code":"content-too-long"}': Nack("p1", "content-too-long"),
    '{"type":"error","code":"not-expected","message":"who?"}': Error("not-expected", "who?"),
}


class LineTests(SynchronousTestCase):
    def test_every_line_there_and_back(self) -> None:
        for line, message in LINES.items():
            self.assertEqual(encode(message), line.encode() + b"\n")
            self.assertEqual(decode_line(line.encode()), message)
            self.assertEqual(decode_line(json.dumps({**json.loads(line), "more": 1}).encode()), message)

    def test_what_is_no_line_of_the_protocol(self) -> None:
        for line in (b"", b"null", b"{}", b'{"type":"message"}', b'{"type":"ack"}', b'{"type":"ack","id":7}',
                     b'{"type":"private","id":"p1","content":"\xff"}', b"[" * 3000, b"\xff\xfe"):  # fmt: skip
            self.assertRaises(WireError, decode_line, line)

    @given(st.binary(max_size=200))
    def test_garbage_is_an_error_and_nothing_else(self, line: bytes) -> None:
        with contextlib.suppress(WireError):
            decode_line(line)
