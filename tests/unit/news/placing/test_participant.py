from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import StoreCorrupt
from chatproto.news.placing.actions import Action, Remove
from chatproto.news.placing.messages import Abort, Commit, Coordinate, Done, Participate, Prepare, Ready, Refuse
from chatproto.news.placing.participant import (
    PREFIX,
    TERM,
    TRANSITIONS,
    Participant,
    Say,
    Stage,
    TurnAway,
    Write,
    describe,
)
from tests.simulation.placing import READERS, Readers, placed

ADA, BOB = placed("ada"), placed("bob")
ROW = msgspec.msgpack.encode


def kept(number: int, *actions: Action) -> tuple[bytes, bytes]:
    return PREFIX + b"%d" % number, ROW(actions)


class ParticipantTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = Readers({}, full_for="cyd")
        self.participant = Participant("east", self.table, [], in_doubt_max=2)
        self.participant.entered(7, Coordinate("master", 3))

    def hear(self, *messages: Any, at: int = 7) -> list[Any]:
        return [effect for message in messages for effect in self.participant.received(at, message)]

    def make_ready(self, number: int, *actions: Action) -> None:
        self.hear(Prepare(number, actions))
        self.assertEqual(self.participant.written(number, Stage.PROMISING), [Say(7, Ready(number))])

    def test_hello(self) -> None:
        self.assertEqual(
            Participant("east", self.table, []).entered(1, Coordinate("master", 1)), [Say(1, Participate("east"))]
        )

    def test_all_the_way(self) -> None:
        promise = (kept(1, ADA), (TERM, b"3"))
        self.assertEqual(self.hear(Prepare(1, (ADA,))), [Write(1, Stage.PROMISING, promise)])
        self.assertEqual((self.table.did, self.participant.in_doubt), ([], 1))
        self.assertEqual(self.table.reserved, [ADA])
        self.assertEqual(self.participant.written(1, Stage.PROMISING), [Say(7, Ready(1))])
        done = ((READERS + b"ada", ROW(ADA.placement)), (PREFIX + b"1", None))
        self.assertEqual(self.hear(Commit(1)), [Write(1, Stage.DOING, done)])
        self.assertEqual(self.table.did, [])
        self.assertEqual(self.participant.written(1, Stage.DOING), [Say(7, Done(1))])
        self.assertEqual((self.table.did, self.participant.in_doubt), ([ADA], 0))
        self.assertEqual(self.table.reserved, [])
        self.assertEqual(self.hear(Commit(1)), [Say(7, Done(1))])

    def test_what_cannot_be_done_as_a_whole_reserves_nothing(self) -> None:
        self.assertEqual(self.hear(Prepare(1, (ADA, placed("cyd"), BOB))), [Say(7, Refuse(1, "full"))])
        self.assertEqual(self.table.reserved, [])

    def test_the_term_is_kept_once(self) -> None:
        self.make_ready(1, ADA)
        self.assertEqual(self.hear(Prepare(2, (BOB,))), [Write(2, Stage.PROMISING, (kept(2, BOB),))])

    def test_refused(self) -> None:
        self.table.held["ada"] = placed("ada", 2).placement
        self.assertEqual(self.hear(Prepare(1, (BOB, placed("cyd")))), [Say(7, Refuse(1, "full"))])
        self.assertEqual(self.hear(Prepare(2, (ADA, placed("cyd")))), [Say(7, Refuse(2, "out-of-date"))])
        self.assertEqual(self.hear(Abort(1)), [])
        self.assertEqual(self.participant.in_doubt, 0)

    def test_too_much_in_doubt(self) -> None:
        self.make_ready(1, ADA)
        self.make_ready(2, BOB)
        self.assertEqual(self.hear(Prepare(3, (placed("dan"),))), [Say(7, Refuse(3, "in-doubt"))])

    def test_aborted(self) -> None:
        self.make_ready(1, ADA)
        self.assertEqual(self.hear(Abort(1)), [Write(1, Stage.DROPPING, ((PREFIX + b"1", None),))])
        self.assertEqual(self.hear(Commit(1), Abort(1), Prepare(1, (ADA,))), [])
        self.assertEqual(self.participant.written(1, Stage.DROPPING), [])
        self.assertEqual((self.table.did, self.participant.in_doubt), ([], 0))

    def test_aborted_while_the_promise_is_written(self) -> None:
        self.hear(Prepare(1, (ADA,)), Abort(1))
        self.assertEqual(self.participant.written(1, Stage.PROMISING), [])
        self.assertEqual(self.participant.written(1, Stage.DROPPING), [])
        self.assertEqual(self.participant.in_doubt, 0)

    def test_a_reader_is_somebody_elses(self) -> None:
        """It is neither promised nor refused, and asked for again."""
        self.make_ready(1, ADA)
        self.assertEqual(self.hear(Prepare(2, (Remove("ada", 2),))), [])
        self.hear(Commit(1))
        self.assertEqual(self.hear(Prepare(2, (Remove("ada", 2),))), [])
        self.participant.written(1, Stage.DOING)
        self.assertEqual(len(self.hear(Prepare(2, (Remove("ada", 2),)))), 1)

    def test_said_again(self) -> None:
        self.assertEqual(len(self.hear(Prepare(1, (ADA,)), Prepare(1, (ADA,)), Commit(1))), 1)
        self.participant.written(1, Stage.PROMISING)
        self.assertEqual(self.hear(Prepare(1, (ADA,))), [Say(7, Ready(1))])
        self.assertEqual(len(self.hear(Commit(1), Commit(1), Abort(1), Prepare(1, (ADA,)))), 1)

    def test_a_crash_leaves_the_promise(self) -> None:
        rows = [kept(4, ADA), kept(5, BOB), (TERM, b"3")]
        participant = Participant("east", self.table, rows)
        self.assertEqual(participant.entered(1, Coordinate("old", 2)), [TurnAway(1)])
        self.assertEqual(
            participant.entered(2, Coordinate("master", 3)),
            [Say(2, Participate("east")), Say(2, Ready(4)), Say(2, Ready(5))],
        )
        self.assertEqual(participant.received(2, Prepare(6, (ADA,))), [])

    def test_a_disk_with_nonsense(self) -> None:
        for row in ((PREFIX + b"x", b""), (PREFIX + b"1", b"\xff"), (TERM, b"ten")):
            self.assertRaises(StoreCorrupt, Participant, "east", self.table, [row])

    def test_the_newest_link_counts(self) -> None:
        self.make_ready(1, ADA)
        self.assertEqual(
            self.participant.entered(8, Coordinate("slave", 4)),
            [TurnAway(7), Say(8, Participate("east")), Say(8, Ready(1))],
        )
        self.assertEqual(self.hear(Commit(1)), [])
        self.assertEqual(self.participant.entered(9, Coordinate("master", 3)), [TurnAway(9)])
        self.participant.left(7)
        self.assertEqual(len(self.hear(Commit(1), at=8)), 1)
        self.participant.left(8)
        self.assertEqual(self.participant.written(1, Stage.DOING), [])

    def test_a_second_hello_says_nothing(self) -> None:
        self.assertEqual(self.hear(Coordinate("master", 3)), [])

    def test_the_table(self) -> None:
        self.assertEqual(describe().count("\n"), len(TRANSITIONS))
        self.assertIn("COMMITTED  READY -> DOING", describe())
