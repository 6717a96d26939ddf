from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.contracting import book as books
from chatproto.news.contracting.acts import (
    AGREE,
    CANCEL,
    CLOSE,
    RENEW,
    RETURN,
    STAND_IN,
    TELL,
    Change,
    Opened,
    decode_act,
    encode_act,
)
from chatproto.news.contracting.book import Book, Contract, Failed, Room
from chatproto.news.placing.actions import Place, Remove
from chatproto.news.placing.ledger import Begun, Completed, Decided, Lost, Took
from chatproto.news.terms import Placement
from tests.unit.news.contracting.desk import MOBILE, PAID, SPORT, SomeDesk


class ActTests(SynchronousTestCase):
    def test_there_and_back_in_one_line(self) -> None:
        for act in (
            Opened("ada", "secret", b"\x00salt\n", "ticket"),
            Change("ada", 3, AGREE, "p", PAID, "north", "south"),
            Change("ada", 3, CANCEL, gone=("north",)),
            Change("ada", 3, RENEW, opened=Opened("ada", "secret", b"salt", "ticket")),
            Lost("north"),
            Took(1, "life"),
            Begun("ada/1", {"north": (Place(Placement("ada", SPORT, "ticket")),), "south": (Remove("ada", 2),)}),
            Decided(1, False, "full", "north"),
            Completed(1),
        ):
            line = encode_act(act)
            self.assertNotIn(b"\n", line)
            self.assertEqual(decode_act(line), act)


class ReadersTests(SynchronousTestCase):
    def test_a_name_is_given_once(self) -> None:
        desk = SomeDesk()
        desk.apply(Opened("ada", "another secret", b"", ""))
        self.assertEqual(desk.account().secret, "ada's secret")

    def test_there_are_so_many(self) -> None:
        self.patch(books, "READERS_MAX", 2)
        desk = SomeDesk()
        desk.apply(Opened("eve", "secret", b"", ""))
        self.assertEqual((list(desk.book.accounts), desk.book.full), (["ada", "bob"], True))


class ChangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.desk = SomeDesk()
        self.book = self.desk.book

    def steps(self, name: str) -> object:
        return self.book.pending[name].steps

    def test_a_first_contract(self) -> None:
        self.desk.apply(Change("ada", 0, AGREE, "p", PAID, "north", "south"))
        account = self.desk.account()
        self.assertEqual((account.version, account.pending, account.contract), (1, "ada/1", None))
        self.assertEqual(self.steps("ada/1"), {"north": (Place(Placement("ada", PAID, "ada's ticket", 1)),)})
        self.assertEqual(self.book.taken["north"], Room(1, 1))
        self.desk.decide("ada/1")
        self.assertEqual(account.contract, Contract("p", PAID, "north", "south", 1))
        self.assertEqual((account.pending, self.book.pending, self.book.ledger.open), ("", {}, {}))
        self.assertEqual(self.book.taken["north"], Room(1, 1))

    def test_one_that_comes_to_nothing(self) -> None:
        self.desk.apply(Change("ada", 0, AGREE, "p", PAID, "north"))
        self.desk.decide("ada/1", committed=False, code="full", node="north")
        account = self.desk.account()
        self.assertEqual((account.contract, account.pending, account.version), (None, "", 1))
        self.assertEqual(account.failed, Failed(1, "north", "full"))
        self.assertEqual(self.book.taken["north"], Room())

    def test_one_after_something_that_is_so_no_more_changes_nothing(self) -> None:
        self.desk.agree(SPORT, "north")
        before = self.book.capture()
        self.desk.apply(Change("ada", 0, AGREE, "p", PAID, "north"), Change("eve", 0, AGREE, "p", PAID, "north"))
        self.assertEqual(self.book.capture(), before)

    def test_one_at_a_time(self) -> None:
        self.desk.apply(Change("ada", 0, AGREE, "p", SPORT, "north"), Change("ada", 1, AGREE, "q", PAID, "south"))
        self.assertEqual(list(self.book.pending), ["ada/1"])

    def test_nothing_to_change(self) -> None:
        for purpose in (CANCEL, STAND_IN, RETURN, AGREE):
            self.desk.apply(Change("ada", 0, purpose))
        self.desk.agree(SPORT, "north", substitute="south")
        self.desk.apply(Change("ada", 1, STAND_IN), Change("ada", 1, RETURN))
        self.desk.agree(PAID, "north")
        self.desk.apply(Change("ada", 2, STAND_IN))
        self.assertEqual((self.book.pending, self.desk.account().version), ({}, 2))

    def test_other_terms_at_another_node(self) -> None:
        self.desk.agree(SPORT, "north")
        self.desk.apply(Change("ada", 1, AGREE, "p", PAID, "south"))
        placed = Place(Placement("ada", PAID, "ada's ticket", 2))
        self.assertEqual(self.steps("ada/2"), {"south": (placed,), "north": (Remove("ada", 2),)})
        self.assertEqual((self.book.taken["north"], self.book.taken["south"]), (Room(1), Room(1, 1)))
        self.desk.decide("ada/2")
        self.assertEqual((self.book.taken["north"], self.book.taken["south"]), (Room(), Room(1, 1)))

    def test_a_contract_is_cancelled(self) -> None:
        self.desk.agree(MOBILE, "north")
        self.assertEqual(self.book.mobile("north", "", 9), ["ada"])
        self.desk.apply(Change("ada", 1, CANCEL))
        self.assertEqual(self.steps("ada/2"), {"north": (Remove("ada", 2),)})
        self.desk.decide("ada/2", committed=False, code="no-answer", node="north")
        self.assertEqual(self.desk.account().failed, Failed(2, "north", "no-answer"))
        self.desk.apply(Change("ada", 2, CANCEL))
        self.desk.decide("ada/3")
        self.assertEqual((self.desk.account().contract, self.book.taken["north"]), (None, Room()))
        self.assertEqual(self.book.mobile("north", "", 9), [])

    def test_a_temporary_reader_and_its_way_home(self) -> None:
        self.desk.agree(PAID, "north", substitute="south")
        self.desk.apply(Change("ada", 1, STAND_IN))
        placed = Place(Placement("ada", PAID, "ada's ticket", 2, home="north"))
        self.assertEqual(self.steps("ada/2"), {"south": (placed,)})
        self.assertEqual(self.book.guests("north"), [])
        self.desk.decide("ada/2")
        self.assertEqual(self.book.guests("north"), ["ada"])
        contract = self.desk.account().contract
        assert contract is not None
        self.assertEqual((contract.standing, contract.version), ("south", 1))
        self.desk.apply(Change("ada", 2, STAND_IN))
        self.assertEqual(self.book.pending, {})
        self.desk.apply(Change("ada", 2, RETURN))
        self.assertEqual(self.steps("ada/3"), {"south": (Remove("ada", 3),)})
        self.assertEqual(self.book.guests("north"), [], "about to go")
        self.desk.decide("ada/3")
        self.assertEqual((self.book.guests("north"), self.book.taken["north"]), ([], Room(1, 1)))

    def test_a_temporary_reader_who_agrees_to_stay(self) -> None:
        self.desk.agree(PAID, "north", substitute="south")
        self.desk.apply(Change("ada", 1, STAND_IN))
        self.desk.decide("ada/2")
        self.desk.apply(Change("ada", 2, AGREE, "p", SPORT, "south"))
        placed = Place(Placement("ada", SPORT, "ada's ticket", 3))
        self.assertEqual(self.steps("ada/3"), {"south": (placed,), "north": (Remove("ada", 3),)})


class LedgerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.desk = SomeDesk()
        self.desk.apply(Change("ada", 0, AGREE, "p", SPORT, "north"))

    def test_only_a_change_that_goes_on_is_begun(self) -> None:
        """A coordinator that was cut off may begin what another one has ended."""
        steps = self.desk.book.pending["ada/1"].steps
        self.desk.decide("ada/1", committed=False)
        self.assertIsNone(self.desk.book.apply(Begun("ada/1", steps)))
        self.assertEqual(self.desk.book.ledger.open, {})

    def test_what_is_decided_twice_is_decided_as_at_first(self) -> None:
        number = self.desk.begin("ada/1")
        self.desk.apply(Decided(number, True), Decided(number, False, "no-answer"))
        self.assertIsNotNone(self.desk.account().contract)

    def test_what_is_no_change_of_a_reader_is_the_ledgers(self) -> None:
        """As one that a newer release has begun."""
        number = self.desk.begin("ada/1")
        del self.desk.book.pending["ada/1"]
        self.desk.apply(Decided(number, True))
        self.assertIsNone(self.desk.account().contract)


class CaptureTests(SynchronousTestCase):
    def test_what_is_restored_goes_on_as_if_nothing_had_been(self) -> None:
        desk = SomeDesk()
        desk.agree(PAID, "north", substitute="south")
        desk.agree(MOBILE, "south", "bob")
        desk.apply(Change("ada", 1, STAND_IN))
        desk.decide("ada/2")
        desk.apply(Change("bob", 1, AGREE, "p", PAID, "north"))
        number = desk.begin("bob/2")
        other = Book()
        other.restore(desk.book.capture())
        self.assertEqual(other.capture(), desk.book.capture())
        for book in (desk.book, other):
            self.assertEqual((book.taken["north"], book.taken["south"]), (Room(2, 2), Room(1)))
            self.assertEqual((book.guests("north"), book.mobile("south", "", 9)), (["ada"], ["bob"]))
            book.apply(Decided(number, True))
            self.assertEqual((book.taken["north"], book.taken["south"]), (Room(2, 2), Room()))
        self.assertEqual(other.capture(), desk.book.capture())

    def test_mobile_readers_by_the_page(self) -> None:
        desk = SomeDesk()
        desk.agree(MOBILE, "north")
        desk.agree(MOBILE, "north", "bob")
        self.assertEqual(desk.book.mobile("north", "", 1), ["ada"])
        self.assertEqual(desk.book.mobile("north", "ada", 1), ["bob"])
        self.assertEqual(desk.book.mobile("south", "", 1), [])


NEW = Opened("ada", "new secret", b"new salt", "new ticket")


class GoneTests(SynchronousTestCase):
    """A node that is gone is owed what it has to hear."""

    def setUp(self) -> None:
        self.desk = SomeDesk()
        self.book = self.desk.book
        self.desk.agree(PAID, "north", substitute="south")

    def steps(self, name: str) -> object:
        return self.book.pending[name].steps

    def test_a_contract_is_cancelled_while_its_node_is_gone(self) -> None:
        self.desk.apply(Change("ada", 1, CANCEL, gone=("north",)))
        account = self.desk.account()
        self.assertEqual((account.contract, account.pending, account.version), (None, "", 2), "nobody is to be asked")
        self.assertEqual((account.owed, self.book.owing("north")), (("north",), ["ada"]))
        self.desk.apply(Change("ada", 2, TELL, gone=("north",)))
        self.assertEqual((account.version, self.book.pending), (2, {}), "it is still gone")
        self.desk.apply(Change("ada", 2, TELL))
        self.assertEqual((self.steps("ada/3"), self.book.owing("north")), ({"north": (Remove("ada", 3),)}, []))
        self.desk.decide("ada/3")
        self.assertEqual((account.owed, self.book.owing("north")), ((), []))

    def test_another_node_while_the_one_before_is_gone(self) -> None:
        self.desk.apply(Change("ada", 1, AGREE, "p", PAID, "south", gone=("north",)))
        self.assertEqual(self.steps("ada/2"), {"south": (Place(Placement("ada", PAID, "ada's ticket", 2)),)})
        self.assertEqual(self.book.owing("north"), [])
        self.desk.decide("ada/2")
        self.assertEqual(self.book.owing("north"), ["ada"])
        book = Book()
        book.restore(self.book.capture())
        self.assertEqual(book.owing("north"), ["ada"])
        # Back at the first node: there is nothing left to say.
        self.desk.agree(SPORT, "north")
        self.assertEqual(self.desk.account().owed, ())

    def test_nobody_is_placed_at_a_node_that_is_gone(self) -> None:
        self.desk.apply(Change("ada", 1, STAND_IN, gone=("north", "south")))
        self.assertEqual(set(self.book.pending["ada/2"].steps), {"south"})

    def test_what_it_hears_is_what_holds_by_then(self) -> None:
        self.desk.apply(Change("ada", 1, STAND_IN))
        self.desk.decide("ada/2")
        self.desk.apply(Change("ada", 2, RENEW, gone=("north", "south"), opened=NEW))
        self.assertEqual(self.desk.account().owed, ("north", "south"))
        self.desk.apply(Change("ada", 3, TELL))
        own, other = (Placement("ada", PAID, "new ticket", 4, home=home) for home in ("", "north"))
        self.assertEqual(self.steps("ada/4"), {"north": (Place(own),), "south": (Place(other),)})


class AccountTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.desk = SomeDesk()
        self.book = self.desk.book

    def test_another_password(self) -> None:
        self.desk.agree(SPORT, "north")
        self.desk.apply(Change("ada", 1, RENEW), Change("ada", 1, RENEW, opened=NEW))
        account = self.desk.account()
        self.assertEqual(account.secret, "ada's secret", "not before the node has it")
        placed = Place(Placement("ada", SPORT, "new ticket", 2))
        self.assertEqual(self.book.pending["ada/2"].steps, {"north": (placed,)})
        self.desk.decide("ada/2")
        self.assertEqual((account.secret, account.salt, account.ticket), ("new secret", b"new salt", "new ticket"))
        assert account.contract is not None
        self.assertEqual(account.contract.version, 1)

    def test_one_that_a_node_says_no_to(self) -> None:
        self.desk.agree(SPORT, "north")
        self.desk.apply(Change("ada", 1, RENEW, opened=NEW))
        self.desk.decide("ada/2", committed=False, code="full", node="north")
        self.assertEqual(self.desk.account().secret, "ada's secret")

    def test_an_account_is_closed(self) -> None:
        self.desk.agree(SPORT, "north")
        self.desk.apply(Change("ada", 1, CLOSE))
        self.assertTrue(self.book.knows("ada"))
        self.desk.decide("ada/2")
        self.assertFalse(self.book.knows("ada"))
        self.assertEqual((list(self.book.accounts), self.book.taken["north"]), (["bob"], Room()))
        # Somebody else has the name: what is still said of the one before is not about this one.
        self.desk.apply(Opened("ada", "secret", b"", "ticket"), Change("ada", 0, CANCEL))
        self.assertEqual((self.desk.account().version, self.book.pending), (2, {}))

    def test_a_name_is_kept_until_all_have_heard_of_the_end(self) -> None:
        self.desk.agree(SPORT, "north")
        self.desk.apply(Change("ada", 1, CLOSE, gone=("north",)))
        self.desk.apply(Opened("ada", "secret", b"", "ticket"), Change("ada", 2, AGREE, "p", SPORT, "south"))
        self.assertEqual((self.book.knows("ada"), "ada" in self.book.accounts, self.book.pending), (False, True, {}))
        self.desk.apply(Change("ada", 2, TELL))
        self.desk.decide("ada/3")
        self.assertNotIn("ada", self.book.accounts)
        self.assertEqual(self.book.floor, 3)


class LostTests(SynchronousTestCase):
    """A node is given up: its readers have none, until they are given another one."""

    def setUp(self) -> None:
        self.desk = SomeDesk()
        self.book = self.desk.book

    def test_its_readers_are_adrift(self) -> None:
        self.desk.agree(PAID, "north", substitute="south")
        self.desk.agree(SPORT, "south", reader="bob")
        self.assertEqual([self.book.names(node) for node in ("north", "south", "west")], [True, True, False])
        self.desk.apply(Lost("north"))
        self.assertEqual((self.book.homeless(), self.book.taken["north"]), (["ada"], Room()))
        self.assertEqual((self.book.names("north"), self.book.losses), (False, 1))
        book = Book()
        book.restore(self.book.capture())
        self.assertEqual(book.homeless(), ["ada"])
        self.desk.apply(Change("ada", 1, AGREE, "p", PAID, "south"))
        self.assertEqual(self.book.homeless(), [], "it is about to be placed")
        self.desk.decide("ada/2")
        self.assertEqual((self.book.adrift, self.book.taken["south"]), (set(), Room(2, 1)))

    def test_a_temporary_reader_stays_where_it_is(self) -> None:
        self.desk.agree(PAID, "north", substitute="south")
        self.desk.apply(Change("ada", 1, STAND_IN))
        self.desk.decide("ada/2")
        self.desk.apply(Lost("north"))
        contract = self.desk.account().contract
        assert contract is not None
        self.assertEqual((contract.node, contract.standing), ("", "south"))
        self.desk.apply(Change("ada", 2, AGREE, "p", PAID, "south"))
        placed = Place(Placement("ada", PAID, "ada's ticket", 3))
        self.assertEqual(self.book.pending["ada/3"].steps, {"south": (placed,)})

    def test_a_temporary_reader_whose_substitute_is_lost(self) -> None:
        self.desk.agree(PAID, "north", substitute="south")
        self.desk.apply(Change("ada", 1, STAND_IN))
        self.desk.decide("ada/2")
        self.desk.apply(Lost("south"))
        contract = self.desk.account().contract
        assert contract is not None
        self.assertEqual((contract.node, contract.standing, self.book.guests("north")), ("north", "", []))

    def test_nothing_waits_for_it(self) -> None:
        self.desk.agree(SPORT, "north")
        self.desk.apply(Change("ada", 1, CLOSE, gone=("north",)), Lost("north"))
        self.assertNotIn("ada", self.book.accounts)
        self.desk.agree(SPORT, "north", reader="bob")
        self.desk.apply(Change("bob", 1, CANCEL))
        number = self.desk.begin("bob/2")
        self.desk.apply(Decided(number, True), Lost("north"))
        self.assertEqual((self.book.ledger.open[number].steps, self.book.names("north")), ({}, False))

    def test_a_change_that_is_not_begun_is_done(self) -> None:
        self.desk.agree(SPORT, "north")
        self.desk.apply(Change("ada", 1, CANCEL), Lost("north"))
        self.assertEqual((self.desk.account().contract, self.book.pending), (None, {}))

    def test_a_change_that_goes_on_ends_without_it(self) -> None:
        self.desk.apply(Change("ada", 0, AGREE, "p", SPORT, "north"))
        number = self.desk.begin("ada/1")
        self.desk.apply(Lost("north"), Decided(number, True))
        self.assertEqual((self.book.homeless(), self.book.taken["north"]), (["ada"], Room()))
