import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.messages import Beat, Message, decoder, encode
from chatproto.news.placing.actions import Remove
from chatproto.news.placing.messages import (
    Abort,
    Commit,
    Coordinate,
    Done,
    FromCoordinator,
    FromParticipant,
    Participate,
    Prepare,
    Ready,
    Refuse,
)
from chatproto.wire import FrameBuffer
from tests.simulation.placing import placed

DOWN = (Coordinate("master", 1), Prepare(2, (placed("ada"), Remove("bob", 4))), Commit(3), Abort(4))
UP = (Participate("east"), Ready(1), Refuse(2, "full"), Done(2**63 - 1))


class MessagesTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for messages, decode in ((DOWN, decoder(FromCoordinator)), (UP, decoder(FromParticipant))):
            for message in (*messages, Beat(1.0)):
                (frame,) = FrameBuffer(65536).feed(encode(message))
                self.assertEqual(decode(frame), message)

    def test_nonsense(self) -> None:
        decode = decoder(FromCoordinator)
        bad: list[Message] = [Commit(0), Abort(-1), Coordinate("master", 0), Coordinate("m" * 65, 1), *UP]
        for message in bad:
            self.assertRaises(WireError, decode, msgspec.msgpack.encode(message))
