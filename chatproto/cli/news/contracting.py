"""`chatproto news contract`: negotiates a reader's contract, with somebody at the terminal or by options alone."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong

from chatproto.cli.news.offers import ASK, NEAREST, NOTHING
from chatproto.cli.news.reaching import Reach, on_reactor
from chatproto.cli.streams import LineInput
from chatproto.errors import ChatprotoError, ContractError, ContractRefused
from chatproto.news.contracting.client import ContractClient
from chatproto.news.items import TOPICS
from chatproto.news.terms import DELAY_S_MAX, ITEMS_AN_HOUR_MAX, PULL, PUSH, Place, Terms

CONTRACTS = "news-contracts"
"""What the contracting service is registered as."""

PAID_ITEMS_AN_HOUR = 50
"""At most, of a paid contract, unless said otherwise: the seed's."""


class ContractFailed(ChatprotoError):
    """There is no contract, or nobody knows."""


@dataclass(frozen=True)
class Wish:
    """What is wanted of the contracting service.

    Attributes:
        reach: where that is.
        reader: the name.
        password: which proves it.
        opens: whether the reader may be a new one.
        terms: of the contract; None to ask whoever is at the terminal.
        offers: what to do with offers of other terms.
        ends: whether the contract is to be ended instead.
        looks: whether the contract that holds is only to be shown.
        renewed: the password that proves the name from then on; empty to keep the one there is.
        closes: whether the account is to be deleted.
    """

    reach: Reach
    reader: str
    password: str = field(repr=False)
    opens: bool = False
    terms: Terms | None = None
    offers: str = NOTHING
    ends: bool = False
    looks: bool = False
    renewed: str = field(default="", repr=False)
    closes: bool = False


Say = Callable[[str], None]
Hear = Callable[[str], Awaitable[str | None]]
"""Asks a question of whoever is there; the answer, or None where there will be none any more."""


class Negotiating:
    """Speaks with the service on one side, and with whoever wants a contract on the other."""

    def __init__(self, client: Any, wish: Wish, say: Say, hear: Hear) -> None:
        """Make one; `client` is a `ContractClient` that runs.

        Args:
            client: asks the service.
            wish: what is wanted.
            say: is called with each line to tell.
            hear: asks, where `wish` leaves something open.
        """
        self._client = client
        self._wish = wish
        self._say = say
        self._hear = hear

    async def go(self) -> Place | None:
        """Do what is wished; return the contract that holds then, None where there is none.

        Raises:
            ContractFailed: it is refused, or given up.
        """
        wish, client = self._wish, self._client
        try:
            if wish.closes:
                await client.delete_account()
                return None
            if wish.renewed:
                await client.change_password(wish.renewed)
                return None
            if wish.ends:
                await client.cancel()
                return None
            if wish.looks:
                place: Place = await client.where()
                return place
            return await self._negotiate(wish.terms or await self._ask_terms(Terms(())))
        except ContractRefused as error:
            raise ContractFailed(str(error)) from None

    async def _negotiate(self, terms: Terms) -> Place:
        while True:
            answer = await self._client.propose(terms)
            if isinstance(answer, Place):
                return answer
            options: Sequence[Terms] = answer
            self._say("That cannot be had. These can:")
            for number, option in enumerate(options, 1):
                self._say(f"  {number}  {terms_in_words(option)}")
            if self._wish.offers == NEAREST and options:
                terms = options[0]
                continue
            chosen = await self._choose(options, terms) if self._wish.offers == ASK else None
            if chosen is None:
                await self._client.give_up()
                raise ContractFailed("given up: what was asked for cannot be had, and no offer was taken")
            terms = chosen

    async def _choose(self, options: Sequence[Terms], wanted: Terms) -> Terms | None:
        while True:
            answer = await self._hear("Take a number, c to ask for something else, q to give up: ")
            if answer is None or answer == "q":
                return None
            if answer == "c":
                return await self._ask_terms(wanted)
            if answer.isascii() and answer.isdecimal() and 0 < int(answer[:6]) <= len(options):
                return options[int(answer) - 1]
            self._say(f"{answer!r} is neither.")

    async def _ask_terms(self, wanted: Terms) -> Terms:
        topics = await self._asked(f"Topics, with commas ({', '.join(wanted.topics) or ', '.join(TOPICS)}): ", _topics)
        terms = replace_terms(wanted, topics=topics or wanted.topics or tuple(sorted(TOPICS)))
        mobile = await self._yes("Read on a phone, by a page", wanted.mobile)
        if mobile:
            return Terms(terms.topics, mode=PULL, mobile=True, maximum=wanted.maximum)
        pull = await self._yes("Ask for the news yourself, rather than be sent them", wanted.mode == PULL)
        terms = replace_terms(terms, mode=PULL if pull else PUSH, mobile=False)
        if not await self._yes("Paid: nothing is lost, and in time", wanted.paid):
            return replace_terms(terms, paid=False, exclusives=False, minimum=0, delay_s_max=0.0)
        exclusives = await self._yes("With exclusives", wanted.exclusives)
        minimum = await self._asked(f"At least how many an hour ({wanted.minimum}): ", _number)
        maximum = await self._asked(f"At most how many an hour ({min(wanted.maximum, PAID_ITEMS_AN_HOUR)}): ", _number)
        delay = await self._asked(f"At most how late, in seconds ({wanted.delay_s_max or DELAY_S_MAX:g}): ", _number)
        return replace_terms(
            terms,
            paid=True,
            exclusives=exclusives,
            minimum=wanted.minimum if minimum is None else minimum,
            maximum=min(wanted.maximum, PAID_ITEMS_AN_HOUR) if maximum is None else maximum,
            delay_s_max=float(wanted.delay_s_max or DELAY_S_MAX if delay is None else delay),
        )

    async def _yes(self, question: str, default: bool) -> bool:
        answer = await self._asked(f"{question}, y or n ({'y' if default else 'n'}): ", _yes_or_no)
        return default if answer is None else bool(answer)

    async def _asked(self, question: str, read: Callable[[str], Any]) -> Any:
        """Ask until the answer can be read; return None for an empty one."""
        while True:
            answer = await self._hear(question)
            if answer is None:
                raise ContractFailed("given up: the input has ended")
            if not answer:
                return None
            try:
                return read(answer)
            except ValueError as error:
                self._say(str(error))


def _topics(text: str) -> tuple[str, ...]:
    found = tuple(sorted({part.strip() for part in text.split(",")} - {""}))
    if not found:
        raise ValueError("no topic")
    return found


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise ValueError(f"{text!r} is no number")
    return int(text)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("y", "yes", "n", "no"):
        raise ValueError("y or n")
    return text.lower() in ("y", "yes")


def replace_terms(terms: Terms, **changes: Any) -> Terms:
    """Return terms with some of them changed."""
    return msgspec.structs.replace(terms, **changes)


def terms_in_words(terms: Terms) -> str:
    """Return terms as a reader reads them."""
    way = "on the mobile page" if terms.mobile else "asked for" if terms.mode == PULL else "sent"
    parts = [", ".join(terms.topics) or "nothing", way, "paid" if terms.paid else "free"]
    if terms.exclusives:
        parts.append("with exclusives")
    if terms.minimum:
        parts.append(f"at least {terms.minimum} an hour")
    if terms.maximum < ITEMS_AN_HOUR_MAX:
        parts.append(f"at most {terms.maximum} an hour")
    if terms.delay_s_max:
        parts.append(f"at most {terms.delay_s_max:g} s late")
    return "; ".join(parts)


def place_in_words(place: Place) -> list[str]:
    """Return a contract as a reader reads it, without what lets it in."""
    lines = [f"{place.reader}: {terms_in_words(place.terms)}", f"delivered by {place.node}"]
    if place.substitute:
        lines[1] += f", or {place.substitute} in its place"
    return lines


def place_as_json(place: Place) -> str:
    """Return a contract as one JSON object, without what lets its reader in."""
    return json.dumps(
        {
            "reader": place.reader,
            "node": place.node,
            "substitute": place.substitute,
            "version": place.version,
            "terms": {name: getattr(place.terms, name) for name in place.terms.__struct_fields__},
        }
    )


def contract(wish: Wish, say: Say) -> Place | None:
    """Do what is wished; return the contract that holds then, None where there is none any more.

    Raises:
        Misuse: there can be no such server.
        ContractFailed: it was refused, given up, or took too long.
    """
    return on_reactor(lambda reactor: contracting(reactor, wish, say))


async def contracting(reactor: Any, wish: Wish, say: Say) -> Place | None:
    """See `contract`."""
    client = ContractClient(
        wish.reach.endpoint(reactor, CONTRACTS), reactor, wish.reader, wish.password, opens=wish.opens
    )
    client.told = say
    typed = _Typed(reactor, say)
    client.startService()
    try:
        entering: Deferred[Any] = client.enter()
        await entering.addTimeout(wish.reach.timeout_s, reactor)
        return await Negotiating(client, wish, say, typed.ask).go()
    except TookTooLong:
        raise ContractFailed(f"{wish.reach.place} does not answer in {wish.reach.timeout_s:g} s") from None
    except ContractError as error:
        raise ContractFailed(str(error)) from None
    finally:
        typed.end()
        # That it is lost then is no news.
        client.told = lambda text: None
        client.stopService()


class _Typed:
    """What is typed on standard input, a line when it is asked for."""

    def __init__(self, reactor: Any, say: Say) -> None:
        self._reactor = reactor
        self._say = say
        self._input: LineInput | None = None
        self._lines: list[str] = []
        self._ended = False
        self._waiting: Deferred[str | None] | None = None

    async def ask(self, question: str) -> str | None:
        self._say(question)
        if self._input is None:
            self._input = LineInput(self._reactor, 0, self._typed, lambda problem: self._typed(None))
            self._input.startReading()
        if self._lines:
            return self._lines.pop(0)
        if self._ended:
            return None
        self._waiting = Deferred()
        return await self._waiting

    def _typed(self, line: str | None) -> None:
        waiting, self._waiting = self._waiting, None
        self._ended = self._ended or line is None
        answer = line.strip() if line is not None else None
        if waiting is not None:
            waiting.callback(answer)
        elif answer is not None:
            self._lines.append(answer)

    def end(self) -> None:
        if self._input is not None:
            self._input.hold(True)
