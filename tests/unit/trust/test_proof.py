from twisted.trial.unittest import SynchronousTestCase

from chatproto.trust.proof import BELIEVED, NOTHING, Proof


class ProofTests(SynchronousTestCase):
    def test_the_names_proven_and_no_others(self) -> None:
        proof = Proof(("east", "one.example", "we_st-2"))
        for name in ("east", "one.example", "we_st-2"):
            self.assertTrue(proof.covers(name), name)
        for name in ("west", "eas", "east.example", "example", "", "one-example", "ea st"):
            self.assertFalse(proof.covers(name), name)

    def test_case_does_not_count(self) -> None:
        self.assertTrue(Proof(("East",)).covers("eAST"))

    def test_one_for_many_is_for_nobody(self) -> None:
        self.assertFalse(Proof(("*.example",)).covers("one.example"))
        self.assertFalse(Proof(("*.example",)).covers("x.example"))

    def test_names_that_read_as_addresses_are_equal_or_not(self) -> None:
        for name in ("7", "10.0.0.1"):
            self.assertTrue(Proof((name,)).covers(name))
            self.assertFalse(Proof(("east",)).covers(name))
            self.assertFalse(Proof((name,)).covers("east"))

    def test_nothing_proves_nothing(self) -> None:
        self.assertFalse(NOTHING.covers("east"))
        self.assertFalse(NOTHING.proven)
        self.assertTrue(Proof(("east",)).proven)

    def test_who_is_believed_may_be_anybody(self) -> None:
        self.assertTrue(BELIEVED.covers("east"))
        self.assertTrue(BELIEVED.proven)
