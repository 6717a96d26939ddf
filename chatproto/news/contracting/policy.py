"""What can be agreed on: a deployment's ceilings, the room at its nodes, and what is nearest to a wish. Pure."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from chatproto.news.contracting.book import Book, Contract
from chatproto.news.contracting.messages import OPTIONS_MAX
from chatproto.news.items import TOPICS
from chatproto.news.terms import DELAY_S_MAX, Terms, refusal_of

PAID_SHARE = 0.05
"""Of a node's readers, who may be paid ones, unless the node says otherwise (the seed's sizing)."""


class Node(msgspec.Struct, frozen=True):
    """A delivery node, as it is registered.

    Attributes:
        name: its name.
        readers_max: how many it takes; 0 for no bound.
        paid_max: how many of them may be paid ones; 0 for no bound.
        substitute: the node that stands in for it; empty for none.
        has_proxy: whether a proxy reads from it now, for mobile readers.
    """

    name: str
    readers_max: int = 0
    paid_max: int = 0
    substitute: str = ""
    has_proxy: bool = False


class Policy(msgspec.Struct, frozen=True):
    """The ceilings of a deployment; the defaults are the seed's sizes.

    Attributes:
        topics: that there are.
        minimum_max: items an hour that are guaranteed at most.
        maximum_max: items an hour that a paid contract is about at most.
        delay_s_min: no shorter delay is guaranteed.
    """

    topics: frozenset[str] = frozenset(TOPICS)
    minimum_max: int = 5
    maximum_max: int = 50
    delay_s_min: float = DELAY_S_MAX

    def refusal_of(self, terms: Terms) -> str:
        """Return why terms make no sense, as a code of the terms' `REASONS`; empty if they do."""
        return refusal_of(terms, self.topics)

    def nearest(self, terms: Terms) -> Terms:
        """Return the terms within the ceilings that are nearest to some which make sense: themselves, if they are."""
        if not terms.paid:
            return terms
        delay_s = terms.delay_s_max and max(terms.delay_s_max, self.delay_s_min)
        return msgspec.structs.replace(
            terms,
            minimum=min(terms.minimum, self.minimum_max, self.maximum_max),
            maximum=min(terms.maximum, self.maximum_max),
            delay_s_max=delay_s,
        )

    def nearby(self, terms: Terms) -> list[Terms]:
        """Return what may be offered to whoever wants some terms, the nearest first; all within the ceilings."""
        nearest = self.nearest(terms)
        options = [nearest]
        if terms.paid:
            options.append(_free(terms))
        elif not terms.mobile:
            options.append(self.nearest(msgspec.structs.replace(terms, paid=True)))
        return options[:OPTIONS_MAX]


def _free(terms: Terms) -> Terms:
    return Terms(terms.topics, terms.mode, maximum=terms.maximum)


class Choice(msgspec.Struct, frozen=True):
    """What becomes of a wish: one of three.

    Attributes:
        node: where it can be had.
        options: else, what can be had instead, the nearest first.
        refusal: else, why nothing can, as a code.
    """

    node: Node | None = None
    options: tuple[Terms, ...] = ()
    refusal: str = ""


def consider(
    terms: Terms, policy: Policy, nodes: Mapping[str, Node], book: Book, reader: str, without: Collection[str] = ()
) -> Choice:
    """Look at what a reader wants.

    Args:
        terms: which.
        policy: of the deployment.
        nodes: those that are there, by name.
        book: says how much room is taken.
        reader: who is not in its own way, and rather stays where it is.
        without: nodes that have said no.
    """
    refusal = policy.refusal_of(terms)
    if refusal:
        return Choice(refusal=refusal)
    account = book.accounts[reader]
    left = [node for name, node in nodes.items() if name not in without]
    contract = account.contract
    here = contract.node if contract is not None else ""
    here_paid = contract is not None and contract.terms.paid

    # Where there is no proxy at all, one may come.
    for_mobile = [node for node in left if node.has_proxy] or left

    def place(wish: Terms) -> Node | None:
        return _roomiest(for_mobile if wish.mobile else left, wish, book, here, here_paid=here_paid)

    if policy.nearest(terms) == terms and (node := place(terms)) is not None:
        return Choice(node)
    options = tuple(option for option in policy.nearby(terms) if option != terms and place(option) is not None)
    return Choice(options=options) if options else Choice(refusal="no-room")


def haven(contract: Contract, nodes: Mapping[str, Node], book: Book) -> Node | None:
    """Return where a contract can be fulfilled whose delivery node was lost; None for nowhere, for now.

    It is kept as it was agreed on, whatever the ceilings are by now. Where the reader is already, as a temporary one,
    what it has got is known.
    """
    for name in (contract.standing, contract.substitute):
        if (node := nodes.get(name)) is not None and _roomiest([node], contract.terms, book, "", here_paid=False):
            return node
    return _roomiest(nodes.values(), contract.terms, book, "", here_paid=False)


def _roomiest(nodes: Iterable[Node], terms: Terms, book: Book, here: str, *, here_paid: bool) -> Node | None:
    """Return the node with most room for a contract; where its reader is already, if there is any there."""
    best: Node | None = None
    most = 0.0, 0
    for node in nodes:
        taken = book.taken.get(node.name)
        readers, paid = (taken.readers, taken.paid) if taken is not None else (0, 0)
        if node.name == here:
            readers, paid = readers - 1, paid - here_paid
        room = node.readers_max - readers if node.readers_max else float("inf")
        if terms.paid and node.paid_max:
            room = min(room, node.paid_max - paid)
        if room <= 0:
            continue
        if node.name == here:
            return node
        # Among those without bounds, too, readers are spread.
        if best is None or (room, -readers) > most:
            best, most = node, (room, -readers)
    return best
