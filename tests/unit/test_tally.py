from twisted.trial.unittest import SynchronousTestCase

from chatproto.tally import Tally


class TallyTests(SynchronousTestCase):
    def test_drops_are_counted_by_door_and_reason(self) -> None:
        tally = Tally()
        self.assertEqual(tally.summary(), "")
        for door, reason in (("peer", "silent"), ("client", "full"), ("client", "full"), ("client", "silent")):
            tally.drop(door, reason)
        self.assertEqual(tally.dropped, {("client", "full"): 2, ("client", "silent"): 1, ("peer", "silent"): 1})
        self.assertEqual(tally.summary(), "client full 2, peer silent 1, client silent 1")
