import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.trust.proof import NOTHING, PEER, REGISTRY, Proof
from chatproto.trust.secret import NONCE_BYTES, VERSION, Dialled, Dialling, Step

SECRET = b"correct horse battery staple"
EAST_NONCE, WEST_NONCE = b"e" * NONCE_BYTES, b"w" * NONCE_BYTES


def dialling(secret: bytes = SECRET, door: str = PEER, name: str = "east", nonce: bytes = EAST_NONCE) -> Dialling:
    return Dialling(secret, door, name, nonce)


def dialled(secret: bytes = SECRET, door: str = PEER, name: str = "west", nonce: bytes = WEST_NONCE) -> Dialled:
    return Dialled(secret, door, name, nonce)


def exchange(one: Dialling, other: Dialled) -> tuple[Step, Step]:
    """Let two sides speak; return where that ends for each."""
    here, there = one.begin(), other.begin()
    while here.send and not (here.refusal or here.proof):
        there = other.received(here.send)
        if there.send:
            here = one.received(there.send)
    return here, there


def word(*fields: object) -> bytes:
    return msgspec.msgpack.encode(fields)


class ExchangeTests(SynchronousTestCase):
    def test_both_know_the_secret_and_then_each_other(self) -> None:
        here, there = exchange(dialling(), dialled())
        self.assertEqual((here.proof, there.proof), (Proof(("west",)), Proof(("east",))))

    def test_a_program_that_is_no_node_may_call_itself_anything(self) -> None:
        here, there = exchange(dialling(name="", door=REGISTRY), dialled(name="registry", door=REGISTRY))
        self.assertEqual((here.proof, there.proof), (Proof(("registry",)), Proof(None)))

    def test_another_secret_is_refused_and_whoever_dialled_is_told(self) -> None:
        here, there = exchange(dialling(secret=b"correct horse battery stable"), dialled())
        self.assertEqual((here.refusal, here.told), ("wrong-secret", True))
        self.assertEqual((there.refusal, there.told), ("wrong-secret", False))

    def test_a_proof_for_one_door_is_none_for_another(self) -> None:
        _, there = exchange(dialling(door=REGISTRY), dialled())
        self.assertEqual(there.refusal, "wrong-secret")

    def test_each_proof_is_for_these_names_and_numbers_alone(self) -> None:
        first, other = dialling(), dialled()
        proof = first.received(other.received(first.begin().send).send)
        for changed in (dialling(name="south"), dialling(nonce=b"x" * NONCE_BYTES)):
            another = dialled()
            another.received(changed.begin().send)
            self.assertEqual(another.received(proof.send).refusal, "wrong-secret")
        for another in (dialled(name="south"), dialled(nonce=b"x" * NONCE_BYTES)):
            another.received(first.begin().send)
            self.assertEqual(another.received(proof.send).refusal, "wrong-secret")

    def test_who_answers_has_to_know_it_too(self) -> None:
        one, other = dialling(), dialled()
        one.received(other.received(one.begin().send).send)
        self.assertEqual(one.received(word("proven", b"x" * 32)), Step(refusal="wrong-secret"))

    def test_a_proof_cannot_be_sent_back(self) -> None:
        one, other = dialling(), dialled()
        proof = one.received(other.received(one.begin().send).send)
        mac = msgspec.msgpack.decode(proof.send)[1]
        self.assertEqual(one.received(word("proven", mac)).refusal, "wrong-secret")

    def test_nothing_is_proven_to_whoever_has_not(self) -> None:
        other = dialled()
        self.assertEqual(other.begin(), Step())
        answer = msgspec.msgpack.decode(other.received(dialling().begin().send).send)
        self.assertEqual(answer, ["challenge", "west", WEST_NONCE])

    def test_who_does_not_speak_of_secrets_is_no_peer(self) -> None:
        self.assertEqual(dialled().received(b"hello"), Step(refusal="no-secret"))

    def test_at_the_registry_it_is_let_in_with_nothing_proven(self) -> None:
        self.assertEqual(dialled(door=REGISTRY).received(b"hello"), Step(proof=NOTHING, unread=b"hello"))

    def test_but_not_once_it_has_begun_to(self) -> None:
        other = dialled(door=REGISTRY)
        other.received(dialling(door=REGISTRY).begin().send)
        self.assertRaises(WireError, other.received, b"hello")

    def test_who_was_dialled_and_speaks_of_something_else_asks_for_none(self) -> None:
        self.assertEqual(dialling().received(b"hello"), Step(refusal="no-secret"))

    def test_a_reason_that_is_not_known_is_the_usual_one(self) -> None:
        self.assertEqual(dialling().received(word("no", "elsewise")), Step(refusal="wrong-secret", told=True))

    def test_words_at_the_wrong_time(self) -> None:
        opening, challenge = word("open", VERSION, "east", EAST_NONCE), word("challenge", "west", WEST_NONCE)
        begun, answered = dialled(), dialling()
        begun.received(opening)
        answered.received(challenge)
        for side, said in (
            (dialling(), opening),
            (dialling(), word("proven", b"")),
            (answered, challenge),
            (dialled(), challenge),
            (dialled(), word("prove", b"")),
            (begun, opening),
        ):
            self.assertRaises(WireError, side.received, said)

    def test_numbers_names_and_versions_that_are_none(self) -> None:
        for said in (
            word("open", VERSION, "east", b"short"),
            word("open", VERSION, "x" * 65, EAST_NONCE),
            word("open", VERSION + 1, "east", EAST_NONCE),
        ):
            self.assertRaises(WireError, dialled().received, said)
        self.assertRaises(WireError, dialling().received, word("challenge", "west", b""))
