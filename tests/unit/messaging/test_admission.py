"""Readers together, writers alone, nobody overtakes."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import Rejected
from chatproto.messaging.admission import Access, Admission

READ, WRITE = Access.READ, Access.WRITE


class AdmissionTests(SynchronousTestCase):
    def make(self, at_once_max: int, waiting_max: int = 100) -> None:
        self.admission: Admission[str] = Admission(at_once_max, waiting_max)

    def ask(self, requests: str) -> None:
        """Ask for each of some requests, of which those in capitals write."""
        for request in requests:
            self.admission.ask(request, WRITE if request.isupper() else READ)

    def begun(self) -> str:
        return "".join(iter(self.admission.begin, None))

    def test_readers_are_under_way_together_up_to_a_number(self) -> None:
        self.make(2)
        self.ask("abc")
        self.assertEqual(self.begun(), "ab")
        self.admission.ended("b")
        self.assertEqual(self.begun(), "c")
        self.assertEqual(self.admission.under_way, ["a", "c"])

    def test_a_writer_is_alone(self) -> None:
        self.make(3)
        self.ask("aWX")
        self.assertEqual(self.begun(), "a")
        self.admission.ended("a")
        self.assertEqual(self.begun(), "W")
        self.admission.ended("W")
        self.assertEqual(self.begun(), "X")

    def test_nobody_overtakes(self) -> None:
        """A reader could begin beside those under way, but a writer came before it."""
        self.make(3)
        self.ask("aWbc")
        self.assertEqual(self.begun(), "a")
        self.assertEqual(self.admission.waiting, ["W", "b", "c"])
        self.admission.ended("a")
        self.assertEqual(self.begun(), "W")
        self.admission.ended("W")
        self.assertEqual(self.begun(), "bc")

    def test_so_many_wait(self) -> None:
        """Those who need not wait are not counted, and a newcomer waits behind those who do."""
        self.make(1, waiting_max=1)
        self.ask("a")
        self.begun()
        self.ask("b")
        for request in "cW":
            refused = self.assertRaises(Rejected, self.ask, request)
            self.assertEqual(refused.reason, "busy")
        self.assertEqual(len(self.admission), 2)
        self.admission.ended("a")
        self.assertRaises(Rejected, self.ask, "c")

    def test_nobody_has_to_wait(self) -> None:
        self.make(1, waiting_max=0)
        self.ask("a")
        self.assertEqual(self.begun(), "a")
        self.assertRaises(Rejected, self.ask, "b")
        self.admission.ended("a")
        self.ask("B")
        self.assertEqual(self.begun(), "B")

    def test_withdrawn(self) -> None:
        """What has begun cannot be."""
        self.make(2)
        self.ask("aWb")
        self.begun()
        self.assertFalse(self.admission.withdraw("a"))
        self.assertTrue(self.admission.withdraw("W"))
        self.assertFalse(self.admission.withdraw("W"))
        self.assertEqual(self.begun(), "b")

    @given(st.integers(1, 4), st.lists(st.sampled_from(["read", "write", "end", "withdraw"]), max_size=80))
    def test_whatever_comes_all_are_served_in_order(self, at_once_max: int, acts: list[str]) -> None:
        admission: Admission[tuple[int, Access]] = Admission(at_once_max, 6)
        taken, begun, withdrawn = [], [], []

        def begin() -> None:
            begun.extend(iter(admission.begin, None))
            under_way = [access for _, access in admission.under_way]
            self.assertLessEqual(len(under_way), 1 if WRITE in under_way else at_once_max)
            if admission.waiting:
                self.assertTrue(
                    len(under_way) == at_once_max or WRITE in (*under_way, admission.waiting[0][1]),
                    "nobody waits without a reason",
                )

        for number, act in enumerate(acts):
            match act:
                case "read" | "write":
                    request = number, Access[act.upper()]
                    try:
                        admission.ask(request, request[1])
                        taken.append(request)
                    except Rejected:
                        self.assertEqual(len(admission.waiting), 6)
                case "end" if admission.under_way:
                    admission.ended(admission.under_way[0])
                case "withdraw" if admission.waiting:
                    withdrawn.append(admission.waiting[-1])
                    admission.withdraw(withdrawn[-1])
            begin()
        while admission.under_way:
            admission.ended(admission.under_way[0])
            begin()
        self.assertEqual(begun, [request for request in taken if request not in withdrawn])
        self.assertEqual(len(admission), 0)
