"""What an operator is told of a delivery node: its contracts, hour by hour, and what could not be delivered. Pure.

Asked for through the registry, whose answers are small: so each is a page, and says where the next one begins. A call
is a word and, after a space, what is wanted, as JSON; the answer is JSON, too.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from chatproto.news.delivery.reader import Reader
from chatproto.news.delivery.records import HOURS, HOURS_KEPT, Record, Undeliverable

CONTRACTS, UNDELIVERED = b"!contracts", b"!undelivered"
"""The calls. They begin with `chatproto.registry.names.OURS`: who reads what is nobody else's business."""
PAGE_BYTES_MAX = 48 * 1024
"""Of what is listed in an answer, unless it is one thing only."""
HOUR_S = 3600


class ContractsWanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wanted of the contracts.

    Attributes:
        after: the readers whose names come after this one.
        hours: so many hours of the clock, the present one included.
    """

    after: str = ""
    hours: int = HOURS


class HourTold(msgspec.Struct, frozen=True):
    """What was made of a contract in an hour of the clock in which anything happened.

    Attributes:
        at: when it began, Unix seconds.
        verdict: see `Record.verdict`; of the present hour, so far.
        delivered: see `Record`, as for the rest.
    """

    at: int
    verdict: str
    delivered: int
    available: int
    late: int
    held: int
    away: bool


class ContractTold(msgspec.Struct, frozen=True):
    """A paid contract.

    Attributes:
        reader: whose it is.
        mode: `push` or `pull`.
        minimum: see `chatproto.news.terms.Terms`, as for the next two.
        home: the node for which this one stands in; empty at the reader's own.
        here: whether the reader is connected.
        hours: the oldest first.
    """

    reader: str
    mode: str
    minimum: int
    maximum: int
    delay_s_max: float
    home: str
    here: bool
    hours: tuple[HourTold, ...]


class ContractsTold(msgspec.Struct, frozen=True):
    """A page of contracts, by the names of the readers.

    Attributes:
        contracts: some of them.
        after: what to ask for next; empty where that was all.
    """

    contracts: tuple[ContractTold, ...]
    after: str = ""


class UndeliveredWanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wanted of the list of what could not be delivered: entries before this one; 0 for the newest."""

    before: int = 0


class UndeliveredTold(msgspec.Struct, frozen=True):
    """An item that expired before some paid readers had it: see `chatproto.news.delivery.records.Undelivered`."""

    at: float
    item: int
    source: str
    title: str
    why: str
    readers: int
    names: tuple[str, ...]


class UndeliveredPage(msgspec.Struct, frozen=True):
    """A page of that list.

    Attributes:
        undelivered: the newest first.
        before: what to ask for next; 0 where that was all.
    """

    undelivered: tuple[UndeliveredTold, ...]
    before: int = 0


def contracts_told(
    readers: dict[str, Reader], records: Callable[[str], Iterable[Record]], wanted: ContractsWanted, hour: int
) -> bytes:
    """Return a page of contracts.

    Args:
        readers: the paid ones, by name.
        records: those of a reader that are durable, the oldest first.
        wanted: which.
        hour: the present one, since 1970.
    """
    first = hour + 1 - min(max(1, wanted.hours), HOURS_KEPT)
    told: list[ContractTold] = []
    room = PAGE_BYTES_MAX
    for name in sorted(name for name in readers if name > wanted.after):
        contract = _contract(readers[name], records(name), first)
        room -= len(_encode(contract))
        if room < 0 and told:
            return _encode(ContractsTold(tuple(told), told[-1].reader))
        told.append(contract)
    return _encode(ContractsTold(tuple(told)))


def _contract(reader: Reader, records: Iterable[Record], first: int) -> ContractTold:
    placement, terms = reader.placement, reader.placement.terms
    # What is durable may be older than what is known.
    by_hour = {record.hour: record for record in (*records, *([reader.last] if reader.last else []), reader.record)}
    hours = tuple(
        HourTold(
            record.hour * HOUR_S,
            record.verdict(terms),
            record.delivered,
            record.available,
            record.late,
            record.held,
            record.away,
        )
        for hour, record in sorted(by_hour.items())
        if hour >= first
    )
    return ContractTold(
        placement.reader,
        terms.mode,
        terms.minimum,
        terms.maximum,
        terms.delay_s_max,
        placement.home,
        reader.outlet is not None,
        hours,
    )


def undelivered_told(undeliverable: Undeliverable, wanted: UndeliveredWanted) -> bytes:
    """Return a page of what could not be delivered."""
    told: list[UndeliveredTold] = []
    room = PAGE_BYTES_MAX
    last = 0
    for number, entry in undeliverable.before(wanted.before):
        one = UndeliveredTold(entry.at, entry.number, entry.source, entry.title, entry.why, entry.readers, entry.names)
        room -= len(_encode(one))
        if room < 0 and told:
            return _encode(UndeliveredPage(tuple(told), last))
        told.append(one)
        last = number
    return _encode(UndeliveredPage(tuple(told)))


def call_of(word: bytes, wanted: ContractsWanted | UndeliveredWanted) -> bytes:
    """Return what to ask a node."""
    return word + b" " + _encode(wanted)


def _wanted(kind: Any) -> Callable[[bytes], Any]:
    decode = msgspec.json.Decoder(kind).decode
    return lambda said: decode(said) if said else kind()


_encode = msgspec.json.Encoder().encode
contracts_wanted: Callable[[bytes], ContractsWanted] = _wanted(ContractsWanted)
"""Reads what is wanted, nothing for the defaults; raises `msgspec.MsgspecError`."""
undelivered_wanted: Callable[[bytes], UndeliveredWanted] = _wanted(UndeliveredWanted)
"""The same."""
decode_contracts = msgspec.json.Decoder(ContractsTold).decode
"""Reads an answer; raises `msgspec.MsgspecError`."""
decode_undelivered = msgspec.json.Decoder(UndeliveredPage).decode
"""The same."""
