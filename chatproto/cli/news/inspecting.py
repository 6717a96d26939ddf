"""`chatproto news status --contracts` and `--undelivered`: were contracts met, and what was not delivered, and why."""

import json
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred

from chatproto.cli.news.reaching import Reach, on_reactor
from chatproto.cli.news.status import NewsStatusFailed
from chatproto.cli.text import harmless, in_columns, iso_time
from chatproto.errors import RegistryError
from chatproto.news.delivery.inspection import (
    CONTRACTS,
    UNDELIVERED,
    ContractsWanted,
    ContractTold,
    UndeliveredTold,
    UndeliveredWanted,
    call_of,
    decode_contracts,
    decode_undelivered,
)
from chatproto.news.delivery.records import REASONS, VERDICTS
from chatproto.registry import Registration, RegistryClient
from chatproto.trust.proof import REGISTRY

KIND = "news-delivery"
CONTRACT_HEADS = ("NODE", "READER", "HERE", "CONTRACT", "HOURS", *map(str.upper, VERDICTS), "DELIVERED", "NOW")
UNDELIVERED_HEADS = ("NODE", "EXPIRED", "ITEM", "SOURCE", "WHY", "READERS", "WHO", "TITLE")

Calling = Callable[[bytes], Coroutine["Deferred[Any]", Any, bytes]]


class Told(NamedTuple):
    """What a delivery node has told.

    Attributes:
        node: its name.
        listed: what it has listed; nothing if it has not answered.
        why: why not; empty if it has.
    """

    node: str
    listed: Sequence[Any]
    why: str = ""


def news_contracts(reach: Reach, node: str, hours: int, *, json_wanted: bool) -> str:
    """Ask delivery nodes whether contracts were met; return what to print.

    Args:
        reach: how the registry is reached.
        node: the name of the one to ask; empty for all of them.
        hours: of the clock that are wanted, the present one included.
        json_wanted: as JSON, else as a table.

    Raises:
        Misuse: there can be no such registry.
        NewsStatusFailed: no such node is registered, or none answers.
        RegistryError: the registry does not answer.
    """
    told = _inspect(reach, node, lambda call: contracts_of(call, hours))
    return as_json(told, "contracts") if json_wanted else contracts_table(told)


def news_undelivered(reach: Reach, node: str, *, json_wanted: bool) -> str:
    """Ask delivery nodes what they could not deliver; return what to print. See `news_contracts`."""
    told = _inspect(reach, node, undelivered_of)
    return as_json(told, "undelivered") if json_wanted else undelivered_table(told)


def _inspect(
    reach: Reach, node: str, ask: Callable[[Calling], Coroutine["Deferred[Any]", Any, Sequence[Any]]]
) -> list[Told]:
    async def inspecting(reactor: Any) -> list[Told]:
        trust = reach.trust()
        registry = trust.client(reach.registry_endpoint(reactor), REGISTRY)
        client = RegistryClient(registry, reactor, who="news status", timeout_s=reach.timeout_s, trust=trust)
        client.startService()
        try:
            listed: list[Registration] = await client.list(service=reach.service)
            names = sorted(one.name for one in listed if one.kind == KIND and node in ("", one.name))
            return [await one_told(client, name) for name in names]
        finally:
            await client.stopService()

    async def one_told(client: RegistryClient, name: str) -> Told:
        async def call(said: bytes) -> bytes:
            calling: Deferred[bytes] = client.call(reach.service, name, said, reach.timeout_s)
            return await calling

        try:
            return Told(name, await ask(call))
        except RegistryError as error:
            return Told(name, (), str(error))
        except (msgspec.MsgspecError, ValueError):
            return Told(name, (), "it does not speak this protocol")

    told = on_reactor(inspecting)
    if not told:
        named = f"delivery node {node}" if node else "delivery node"
        raise NewsStatusFailed(f"no {named} of {reach.service} is registered")
    if all(one.why for one in told):
        raise NewsStatusFailed("; ".join(f"{one.node}: {one.why}" for one in told))
    return told


async def contracts_of(call: Calling, hours: int) -> Sequence[ContractTold]:
    """Ask for all pages of a node's contracts."""
    found: list[ContractTold] = []
    wanted = ContractsWanted(hours=hours)
    while True:
        page = decode_contracts(await call(call_of(CONTRACTS, wanted)))
        found += page.contracts
        if not page.after > wanted.after:
            return found
        wanted = ContractsWanted(page.after, hours)


async def undelivered_of(call: Calling) -> Sequence[UndeliveredTold]:
    """Ask for all pages of what a node could not deliver; the newest comes first."""
    found: list[UndeliveredTold] = []
    before = 0
    while True:
        page = decode_undelivered(await call(call_of(UNDELIVERED, UndeliveredWanted(before))))
        found += page.undelivered
        if not page.before or 0 < before <= page.before:
            return found
        before = page.before


def contracts_table(told: Sequence[Told]) -> str:
    """Return a line for each contract, those that were not always met first, and how many there are under it."""
    rows, broken, count = [], 0, 0
    for node, listed, _ in told:
        for contract in listed:
            verdicts = Counter(hour.verdict for hour in contract.hours)
            count += 1
            bad = bool(verdicts["late"] or verdicts["too-few"])
            broken += bad
            row = (
                node,
                contract.reader,
                "yes" if contract.here else "no",
                _terms(contract),
                str(len(contract.hours)),
                *(str(verdicts[verdict]) for verdict in VERDICTS),
                str(sum(hour.delivered for hour in contract.hours)),
                contract.hours[-1].verdict if contract.hours else "-",
            )
            rows.append((not bad, row))
    rows.sort(key=lambda row: row[0])
    said = "every hour was met" if not broken else f"{broken} of them not always met"
    lines = [f"{count} paid contract{'' if count == 1 else 's'}: {said}, as far as their readers were there."]
    if not count:
        return "\n".join(["There are no paid contracts.", *_silent(told)])
    return "\n".join([*in_columns([CONTRACT_HEADS, *(row for _, row in rows)]), *lines, *_silent(told)])


def _terms(contract: ContractTold) -> str:
    within = f", within {contract.delay_s_max:g} s" if contract.delay_s_max else ""
    home = f", for {contract.home}" if contract.home else ""
    return f"{contract.mode}, {contract.minimum} to {contract.maximum} an hour{within}{home}"


def undelivered_table(told: Sequence[Told]) -> str:
    """Return a line for each item that a node could not deliver, the newest first, and under it what the codes mean."""
    rows = [
        (
            node,
            iso_time(entry.at),
            str(entry.item),
            entry.source,
            entry.why,
            str(entry.readers),
            ",".join(entry.names) + (",…" if entry.readers > len(entry.names) else ""),
            harmless(entry.title),
        )
        for node, listed, _ in told
        for entry in listed
    ]
    if not rows:
        return "\n".join(["Nothing has expired before the readers who pay for it had it.", *_silent(told)])
    whys = dict.fromkeys(row[4] for row in rows)
    meanings = [f"{why}: {REASONS.get(why, 'a reason that is not known here')}" for why in whys]
    return "\n".join([*in_columns([UNDELIVERED_HEADS, *rows]), *meanings, *_silent(told)])


def _silent(told: Sequence[Told]) -> list[str]:
    return [f"{one.node} is not among them: {harmless(one.why)}" for one in told if one.why]


def as_json(told: Sequence[Told], word: str) -> str:
    """Return the same as one JSON object, with all that was told."""
    nodes = [
        {"name": one.node, **({"error": one.why} if one.why else {word: msgspec.to_builtins(list(one.listed))})}
        for one in told
    ]
    return json.dumps({"nodes": nodes})
