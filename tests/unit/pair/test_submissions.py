from twisted.trial.unittest import SynchronousTestCase

from chatproto.log.entry import ACT, Entry, Numbering, Run
from chatproto.pair.submissions import Submissions
from tests.unit.log.contract import act, message


def said(content: str, id: str = "", *, room: str = "jokes", origin: object = "us") -> Entry:
    entry = message(room, content, id=id)
    entry.origin = origin
    return entry


def sealed(*entries: Entry, epoch: int = 1) -> Run:
    (run,) = Numbering(0, {}, epoch).seal(list(entries))
    return run


def numbered_elsewhere(*entries: Entry) -> Run:
    """Return a run as the other node sends it."""
    run = sealed(*entries)
    run.entries = []
    return run


class SubmissionsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.submissions = Submissions()


class RepeatTests(SubmissionsTestCase):
    def test_an_id_that_is_on_its_way_is_answered_at_the_commit(self) -> None:
        first, again, once_more = said("1", "x"), said("1", "x"), said("1", "x")
        self.assertFalse(self.submissions.repeat(first))
        self.submissions.note(first)
        self.assertTrue(self.submissions.on_its_way("x"))
        self.assertTrue(self.submissions.repeat(again))
        self.assertTrue(self.submissions.repeat(once_more))
        run = sealed(said("0"), first)
        self.assertEqual(self.submissions.settle(run), [(again, 1), (once_more, 1)])
        self.assertEqual(self.submissions.settle(run), [])
        self.assertFalse(self.submissions.on_its_way("x"))

    def test_an_id_that_the_node_chose_is_not_watched(self) -> None:
        self.submissions.note(said("1"))
        self.assertFalse(self.submissions.on_its_way(said("1").id))

    def test_an_id_that_is_in_the_log_and_not_committed_is_waited_for(self) -> None:
        again, once_more = said("1", "x"), said("1", "x")
        self.submissions.await_commit(again)
        self.submissions.await_commit(once_more)
        self.assertEqual(self.submissions.settle(sealed(said("1", "x"))), [(again, 0), (once_more, 0)])

    def test_only_what_is_committed_is_answered(self) -> None:
        for id in ("x", "y"):
            self.submissions.note(said("1", id))
            self.submissions.repeat(said("1", id))
        self.assertEqual([offset for _, offset in self.submissions.settle(sealed(said("1", "y")))], [0])
        self.assertTrue(self.submissions.on_its_way("x"))


class WaitTests(SubmissionsTestCase):
    def test_what_waits_is_taken_once_in_order_own_entries_first(self) -> None:
        own, foreign = [said("1", "x"), act("a"), said("2")], [said("3", "y"), said("4")]
        for entry in foreign:
            self.submissions.forward("west", entry)
        self.submissions.wait(own)
        self.assertEqual(self.submissions.take(), [*own, *foreign])
        self.assertEqual(self.submissions.take(), [])
        self.assertTrue(self.submissions.on_its_way("x") and self.submissions.on_its_way("y"))

    def test_acts_are_dropped(self) -> None:
        self.submissions.wait([said("1", "x"), act("a"), act("b")])
        self.assertEqual(self.submissions.drop_nameless(), ["act-a", "act-b"])
        self.assertEqual([entry.id for entry in self.submissions.take()], ["x"])

    def test_what_was_forwarded_is_forgotten(self) -> None:
        self.submissions.forward("west", said("1", "x"))
        self.submissions.forward("west", said("2"))
        self.submissions.forward("north", said("3", "z"))
        self.submissions.drop_forwarded()
        self.assertEqual((self.submissions.take(), self.submissions.forwarded), ([], {}))
        self.assertFalse(self.submissions.on_its_way("x"), "so that it can be brought again")
        self.assertFalse(self.submissions.on_its_way("z"))

    def test_of_one_node_alone_where_that_is_named(self) -> None:
        theirs = said("3", "z")
        self.submissions.forward("west", said("1", "x"))
        self.submissions.forward("north", theirs)
        self.submissions.drop_forwarded("west")
        self.submissions.drop_forwarded("south")
        self.assertFalse(self.submissions.on_its_way("x"))
        self.assertEqual(self.submissions.take(), [theirs])

    def test_what_was_forwarded_and_said_here_again_stays_for_those_who_said_it_here(self) -> None:
        here, once_more = said("1", "x"), said("1", "x")
        self.submissions.forward("west", said("1", "x"))
        self.submissions.repeat(here)
        self.submissions.repeat(once_more)
        self.submissions.drop_forwarded()
        self.assertEqual(self.submissions.take(), [here])
        self.assertEqual(self.submissions.settle(sealed(here)), [(once_more, 0)])


class RecogniseTests(SubmissionsTestCase):
    def test_ones_own_are_known_in_what_the_other_numbered(self) -> None:
        mine, other = said("1", "x"), said("2")
        self.submissions.wait([mine, act("later")])
        run = numbered_elsewhere(other, said("1", "x", origin=None))
        self.submissions.recognise(run)
        self.assertIs(run.entries[1], mine)
        self.assertEqual((run.entries[0].id, run.entries[0].origin), ("", None))
        self.assertEqual(list(self.submissions.pending), ["act-later"])

    def test_a_run_of_others_stays_as_it_is(self) -> None:
        run = numbered_elsewhere(said("2"))
        self.submissions.recognise(run)
        self.submissions.wait([said("1", "x")])
        self.submissions.recognise(run)
        self.assertEqual((run.entries, list(self.submissions.pending)), ([], ["x"]))

    def test_acts_are_known_too(self) -> None:
        mine = act("a")
        self.submissions.wait([mine])
        run = numbered_elsewhere(act("a"))
        self.submissions.recognise(run)
        self.assertIs(run.entries[0], mine)

    def test_what_somebody_else_said_under_the_same_id_answers_as_a_repetition(self) -> None:
        for other in (
            said("another", "x"),
            said("1", "x", room="MainHall"),
            Entry(ACT, "", "x", 0.0, b"{}", b"", True),
        ):
            self.setUp()
            mine = said("1", "x")
            self.submissions.wait([mine])
            run = numbered_elsewhere(other)
            self.submissions.recognise(run)
            self.assertEqual((run.entries, self.submissions.pending), ([], {}))
            self.assertEqual(self.submissions.settle(run), [(mine, 0)])


class PartTests(SubmissionsTestCase):
    def test_what_is_parted_from_comes_first_and_is_an_orphan(self) -> None:
        mine, foreign, waiting = said("1", "x"), said("2", origin=None), said("3", "z")
        self.submissions.wait([waiting])
        parted = self.submissions.part([sealed(mine, foreign), sealed(act("a"))])
        self.assertEqual(parted, [mine, foreign, act("a")])
        self.assertEqual(self.submissions.orphans, {"x", foreign.id, "act-a"})
        self.assertEqual(self.submissions.take(), [mine, foreign, act("a"), waiting])

    def test_a_repetition_of_what_is_parted_from_still_waits_for_its_commit(self) -> None:
        mine, again = said("1", "x"), said("1", "x")
        self.submissions.await_commit(again)
        self.submissions.part([sealed(mine)])
        self.assertTrue(self.submissions.on_its_way("x"))
        self.assertEqual(self.submissions.settle(sealed(mine, epoch=2)), [(again, 0)])

    def test_orphans_are_settled_once(self) -> None:
        self.assertEqual(self.submissions.settle_orphans(["x"]), [])
        self.submissions.part([sealed(said("1", "x"), said("2", "y"))])
        self.assertEqual(self.submissions.settle_orphans(["elsewhere", "y"]), ["y"])
        self.assertEqual(self.submissions.settle_orphans(["x", "y"]), ["x"])
        self.assertEqual(self.submissions.orphans, set())
