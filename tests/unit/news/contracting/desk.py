"""What negotiations look at, in tests: a book that acts are put into by hand, and nodes."""

from chatproto.news.contracting.acts import AGREE, Act, Change, Opened
from chatproto.news.contracting.book import Account, Book
from chatproto.news.contracting.policy import Node, Policy
from chatproto.news.placing.ledger import Begun, Completed, Decided, Took
from chatproto.news.terms import PULL, Terms

SPORT = Terms(("sport",))
MOBILE = Terms(("sport",), PULL, mobile=True)
PAID = Terms(("sport",), paid=True, minimum=5, maximum=50, delay_s_max=200.0)


class SomeDesk:
    """A server's book and what it knows; the readers ada and bob are there."""

    def __init__(self, *nodes: Node) -> None:
        self.book = Book()
        self.policy = Policy()
        self.nodes = {node.name: node for node in nodes}
        for reader in ("ada", "bob"):
            self.book.apply(Opened(reader, f"{reader}'s secret", b"salt", f"{reader}'s ticket"))
        self.book.apply(Took(1, "life"))

    def apply(self, *acts: Act) -> None:
        for act in acts:
            self.book.apply(act)

    def account(self, reader: str = "ada") -> Account:
        return self.book.accounts[reader]

    def begin(self, name: str) -> int:
        """Have the transaction of a change begun; return its number."""
        transaction = self.book.apply(Begun(name, self.book.pending[name].steps))
        assert transaction is not None
        return transaction.number

    def decide(self, name: str, *, committed: bool = True, code: str = "", node: str = "") -> None:
        """Have a change begun, decided and, if it is committed, completed."""
        number = self.begin(name)
        self.book.apply(Decided(number, committed, code, node))
        if committed:
            self.book.apply(Completed(number))

    def agree(self, terms: Terms, node: str, reader: str = "ada", substitute: str = "") -> None:
        """Have a reader agree on terms and be placed."""
        after = self.account(reader).version
        self.book.apply(Change(reader, after, AGREE, f"proposal {after}", terms, node, substitute))
        self.decide(f"{reader}/{after + 1}")
