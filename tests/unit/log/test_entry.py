import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.log.entry import ACT, MESSAGE, RUN_BYTES_MAX, Entry, Numbering, Run, unseal
from tests.unit.log.contract import act, message


class NumberingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.numbering = Numbering(0, {}, 1)

    def test_a_message_is_sealed_with_its_place(self) -> None:
        entry = Entry(MESSAGE, "jokes", "f81d", 9.5, b'{"content":"x"', b',"id":"f81d"}', retriable=True)
        (run,) = Numbering(6, {"jokes": 11}, 3).seal([entry])
        self.assertEqual(
            run,
            Run(
                index=7,
                epoch=3,
                kind=MESSAGE,
                room="jokes",
                position=12,
                time=9.5,
                ids=["f81d"],
                body=b'{"content":"x","roomid":"jokes","index":12,"epoch":3,"id":"f81d"}',
                retriable=[0],
                entries=[entry],
            ),
        )

    def test_an_act_is_sealed_as_it_is(self) -> None:
        entry = Entry(ACT, "", "p1", 9.5, b'{"act":"depart"}')
        (run,) = Numbering(6, {"jokes": 11}, 3).seal([entry])
        self.assertEqual(run, Run(7, 3, ACT, "", 0, 9.5, ["p1"], b'{"act":"depart"}', [], [entry]))

    def test_a_percent_sign_in_a_message_is_a_percent_sign(self) -> None:
        (run,) = self.numbering.seal([message("jokes", "100 %d"), message("jokes", "%s")])
        self.assertIn(b'"100 %d"', run.lines()[0])
        self.assertIn(b'"%s"', run.lines()[1])

    def test_what_follows_one_another_in_a_room_is_one_run(self) -> None:
        entries = [
            message("jokes", "1", time=5.0),
            message("jokes", "2", id="x", time=6.0),
            message("jokes", "3", id="y"),
        ]
        (run,) = self.numbering.seal(entries)
        self.assertEqual((run.time, run.ids, run.retriable), (5.0, [entry.id for entry in entries], [1, 2]))
        for at, line in enumerate(run.lines(), 1):
            self.assertIn(b'"content":"%d","roomid":"jokes","index":%d,"epoch":1,' % (at, at), line)

    def test_another_room_or_kind_begins_another_run(self) -> None:
        runs = self.numbering.seal(
            [
                message("jokes", "1"),
                message("MainHall", "1"),
                message("MainHall", "2"),
                act("a"),
                act("b"),
                message("jokes", "2"),
            ]
        )
        self.assertEqual(
            [(run.index, run.kind, run.room, run.position, len(run.ids)) for run in runs],
            [
                (1, MESSAGE, "jokes", 1, 1),
                (2, MESSAGE, "MainHall", 1, 2),
                (4, ACT, "", 0, 2),
                (6, MESSAGE, "jokes", 2, 1),
            ],
        )

    def test_a_message_of_no_room_and_an_act_are_two_runs(self) -> None:
        runs = self.numbering.seal([message("", "1"), act("a")])
        self.assertEqual([run.kind for run in runs], [MESSAGE, ACT])

    def test_a_run_ends_once_it_is_long(self) -> None:
        half = RUN_BYTES_MAX // 2
        runs = self.numbering.seal([message("jokes", "x" * half) for _ in range(5)])
        self.assertEqual([len(run.ids) for run in runs], [2, 2, 1])
        self.assertEqual([(run.index, run.position) for run in runs], [(1, 1), (3, 3), (5, 5)])

    def test_a_run_may_reach_its_bound(self) -> None:
        head = b"x" * (RUN_BYTES_MAX // 2)
        entries = [Entry(MESSAGE, "jokes", str(number), 0.0, head) for number in range(3)]
        self.assertEqual([len(run.ids) for run in self.numbering.seal(entries)], [3])

    @given(st.lists(st.lists(st.sampled_from(["", "MainHall", "jokes", "news"]), min_size=1), min_size=1))
    def test_numbers_have_no_gaps(self, batches: list[list[str]]) -> None:
        numbering = Numbering(100, {"jokes": 7}, 1)
        index, positions = 100, {"MainHall": 0, "jokes": 7, "news": 0}
        for batch in batches:
            for run in numbering.seal([message(room, "x") if room else act("x") for room in batch]):
                self.assertEqual(run.index, index + 1)
                index += len(run.ids)
                if run.kind == MESSAGE:
                    self.assertEqual(run.position, positions[run.room] + 1)
                    positions[run.room] += len(run.ids)
                else:
                    self.assertEqual(run.position, 0)
        self.assertEqual(index, 100 + sum(map(len, batches)))
        self.assertEqual(numbering.index, index)
        self.assertEqual({**positions, **numbering.positions}, positions)


class UnsealTests(SynchronousTestCase):
    def test_what_was_sealed_comes_out_as_it_went_in(self) -> None:
        entries = [message("jokes", "1", id="x"), message("jokes", "2"), message("jokes", "3", id="y")]
        entries[1].origin = self
        (run,) = Numbering(6, {"jokes": 11}, 3).seal(entries)
        self.assertEqual(unseal(run), entries)

    def test_an_act_has_no_tail(self) -> None:
        entry = Entry(ACT, "", "p1", 9.5, b'{"act":"depart","roomid":"jokes","index":1,"epoch":1}')
        self.assertEqual(unseal(*Numbering(0, {}, 1).seal([entry])), [entry])

    def test_a_run_of_the_other_node_has_no_origins(self) -> None:
        entry = message("jokes", "1", id="x")
        entry.origin = self
        (run,) = Numbering(0, {}, 1).seal([entry])
        run.entries = []
        (unsealed,) = unseal(run)
        self.assertEqual((unsealed.head, unsealed.tail, unsealed.origin), (entry.head, entry.tail, None))

    def test_all_of_a_run_have_the_time_of_its_first(self) -> None:
        """Only that is kept."""
        (run,) = Numbering(0, {}, 1).seal([message("jokes", "1", time=5.0), message("jokes", "2", time=6.0)])
        self.assertEqual([entry.time for entry in unseal(run)], [5.0, 5.0])

    def test_what_somebody_said_is_not_taken_for_the_numbers(self) -> None:
        """Within a JSON string a quotation mark is escaped."""
        said = json.dumps('x,"roomid":"jokes","index":1,"epoch":1,y')
        entry = Entry(MESSAGE, "jokes", "x", 0.0, b'{"content":%b' % said.encode(), b',"time":1}')
        self.assertEqual(unseal(*Numbering(0, {}, 1).seal([entry])), [entry])

    @given(
        st.sampled_from(["MainHall", "jokes"]),
        st.lists(st.tuples(st.text(), st.text(), st.booleans()), min_size=1, max_size=20),
        st.integers(0, 10**9),
        st.integers(0, 10**6),
    )
    def test_and_is_sealed_again_to_the_same_bytes(
        self, room: str, said: list[tuple[str, str, bool]], position: int, epoch: int
    ) -> None:
        entries = [
            Entry(
                MESSAGE,
                room,
                str(at),
                5.0,
                b'{"content":%b' % json.dumps(content).encode(),
                b',"by":%b}' % json.dumps(by).encode(),
                retriable,
            )
            for at, (content, by, retriable) in enumerate(said)
        ]
        sealed = Numbering(0, {room: position}, epoch).seal(entries)
        unsealed = [entry for run in sealed for entry in unseal(run)]
        self.assertEqual(unsealed, entries)
        again = Numbering(0, {room: position}, epoch).seal(unsealed)
        self.assertEqual([run.body for run in again], [run.body for run in sealed])
