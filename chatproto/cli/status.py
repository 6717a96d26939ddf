"""`chatproto status`: how each server stands, and whether one of them can be lost now."""

import json
from collections.abc import Generator, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from chatproto.chat.inquiry import inquire as ask
from chatproto.chat.messages import NONSENSE, Status
from chatproto.cli.servers import endpoint, registry_endpoint
from chatproto.errors import ChatprotoError, RegistryError
from chatproto.registry import Registration, RegistryClient
from chatproto.services.registering import KIND, STATUS

_status = msgspec.json.Decoder(Status)

STANDBY = "standby"
"""The role of a server that waits for another one's place."""


class Unanswered(msgspec.Struct, frozen=True):
    """A server that did not say how it stands."""

    why: str


Answer = Status | Unanswered


class StatusFailed(ChatprotoError):
    """No server has answered."""


def inquire(reactor: Any, server: str, timeout_s: float, tls: bool, ca: str | None) -> "Deferred[Answer]":
    """Ask a server how it stands; always answered, within `timeout_s` seconds.

    Raises:
        Misuse: there can be no such server, or registry.
    """
    asking: Deferred[Any] = ask(endpoint(reactor, server, tls=tls, ca=ca))
    # A server that was stopped takes connections and answers nothing.
    asking.addTimeout(timeout_s, reactor, lambda *_: _raise(StatusFailed(f"no answer in {timeout_s:g} s")))
    return asking.addErrback(lambda failure: Unanswered(failure.getErrorMessage()))


def _raise(error: Exception) -> None:
    raise error


@inlineCallbacks
def inquire_registry(
    reactor: Any, registry: IStreamClientEndpoint, service: str, timeout_s: float
) -> Generator["Deferred[Any]", Any, list[tuple[str, Answer]]]:
    """Ask all nodes of a service how they stand, through the registry: so it need not be possible to reach them.

    Returns:
        The address, or else the name, of each, and its answer; within twice `timeout_s` seconds.

    Raises:
        RegistryError: the registry does not say who there is.
    """
    client = RegistryClient(registry, reactor, who="status", timeout_s=timeout_s)
    client.startService()
    try:
        found: list[Registration] = yield client.list(service=service, kind=KIND)
        answers: list[Answer] = yield gatherResults([_call(client, one, timeout_s) for one in found])
    finally:
        yield client.stopService()
    return [(one.place or one.name, answer) for one, answer in zip(found, answers, strict=True)]


@inlineCallbacks
def _call(client: RegistryClient, one: Registration, timeout_s: float) -> Generator["Deferred[Any]", Any, Answer]:
    try:
        answer: bytes = yield client.call(one.service, one.name, STATUS, timeout_s)
        return _status.decode(answer)
    except RegistryError as error:
        return Unanswered(str(error))
    except NONSENSE:
        return Unanswered("it does not speak this protocol")


def verdict(answers: Sequence[Answer]) -> tuple[bool, str]:
    """Return whether a server can be lost now without losing anything or waiting, and why, in one sentence."""
    said = {answer.server: answer for answer in answers if isinstance(answer, Status)}.values()
    if not said:
        return False, "no server answers"
    known = [status for status in said if status.role != STANDBY]
    if not known:
        return False, "all that answer stand by"
    states = {status.redundancy for status in known}
    if states == {"single"}:
        ready = len(said) - len(known)
        return False, "there is one server only" + (f"; {ready} stand by, to move to while it lives" if ready else "")
    leaders = [status for status in known if status.role == "leader" and status.serving]
    if not leaders:
        return False, _why_nobody_leads(known)
    agreed = len({status.epoch for status in known}) == 1
    # Who leads alone in the latest epoch is right, whatever one that is cut off still believes.
    cut_off = leaders[0].redundancy != "paired" and leaders[0].epoch == max(status.epoch for status in known)
    if len(leaders) > 1 or not (agreed or cut_off):
        return False, "the servers are of different minds who leads; ask again"
    if leaders[0].redundancy != "paired":
        return False, f"{leaders[0].server} is {leaders[0].redundancy}: it alone holds every message"
    if leaders[0].witness == "not reached":
        return False, "both hold every message, but the registry is not reached, and without it nobody takes over"
    unheard = sum(isinstance(answer, Unanswered) for answer in answers)
    if unheard:
        return True, f"both hold every message, though {unheard} did not answer here"
    return True, "both hold every message"


def _why_nobody_leads(known: Sequence[Status]) -> str:
    for status in known:
        if status.waits_for and not status.serving:
            return (
                f"{status.server} waits for {status.waits_for}, which may hold messages that it misses; "
                "if that one is lost for good, see --allow-data-loss"
            )
    if any(status.witness == "not reached" for status in known):
        return "no server that answers leads, and the registry is not reached: nobody may take over without it"
    if len(known) == 1 and any(peer.role == "leader" for peer in known[0].peers):
        return f"{known[0].peers[0].name} leads: name it, too"
    return "no server that answers leads"


HEADS = ("SERVER", "NAME", "ROLE", "EPOCH", "REDUNDANCY", "CLIENTS", "LAG")
WIDE_HEADS = ("REGISTRY", "ROOMS", "ENTRIES", "DROPPED", "UP", "RELEASE")


def table(servers: Sequence[str], answers: Sequence[Answer], *, wide: bool = False) -> str:
    """Return what the servers say as a table, and the verdict under it."""
    heads = HEADS + WIDE_HEADS if wide else HEADS
    rows: list[tuple[str, ...]] = [heads]
    for server, answer in zip(servers, answers, strict=True):
        if isinstance(answer, Unanswered):
            rows.append((server, f"- {answer.why}"))
            continue
        behind = ", ".join(f"{peer.name} {peer.lag}" for peer in answer.peers if answer.role == "leader") or "-"
        clients = f"{answer.clients} of {answer.capacity}"
        role = answer.role if answer.serving or answer.role == STANDBY else f"{answer.role}, not serving"
        state = "-" if answer.role == STANDBY else answer.redundancy
        row = (server, answer.server, role, str(answer.epoch), state, clients, behind)
        rows.append(row + _more(answer) if wide else row)
    whole = [row for row in rows if len(row) == len(heads)]
    widths = [max(len(row[column]) for row in whole) for column in range(len(heads))]
    widths[0] = max(len(row[0]) for row in rows)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    can, why = verdict(answers)
    lines.append(f"Can I lose a server now? {'Yes' if can else 'No'}: {why}.")
    return "\n".join(lines)


def _more(answer: Status) -> tuple[str, ...]:
    """Return what a wide table has besides; a server of an older release does not say all of it."""
    told = (answer.room_count, answer.entries, answer.dropped)
    counts = tuple("-" if count is msgspec.UNSET else str(count) for count in told)
    up = "-" if isinstance(answer.up_s, msgspec.UnsetType) else span(answer.up_s)
    return (answer.witness or "-", *counts, up, answer.version or "-")


def span(seconds: float) -> str:
    """Return a span as an operator reads it: its two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])


def as_json(servers: Sequence[str], answers: Sequence[Answer]) -> str:
    """Return what the servers say as one JSON object."""
    can, why = verdict(answers)
    said = [
        {"address": server, "error": answer.why}
        if isinstance(answer, Unanswered)
        else {"address": server, **_facts(answer)}
        for server, answer in zip(servers, answers, strict=True)
    ]
    return json.dumps({"servers": said, "can_lose_one": can, "why": why})


def _facts(answer: Status) -> dict[str, Any]:
    """Return what a server says of itself, without what it says of the rooms of whoever asks: that is in none."""
    facts: dict[str, Any] = msgspec.to_builtins(answer)
    for name in ("type", "rooms", "archived", "transferred"):
        facts.pop(name, None)
    return facts


def status(
    servers: Sequence[str],
    *,
    timeout_s: float,
    tls: bool,
    ca: str | None,
    json_wanted: bool,
    wide: bool = False,
    registry: str | None = None,
    service: str = KIND,
) -> tuple[str, bool]:
    """Ask the servers, and all that a registry knows; return what to print, and whether one can be lost now.

    Raises:
        Misuse: there can be no such server, or registry.
        StatusFailed: none of them has answered.
        RegistryError: the registry has not.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    at = registry_endpoint(reactor, registry, ca) if registry is not None else None
    inquiries = [inquire(reactor, server, timeout_s, tls, ca) for server in servers]
    found: list[tuple[str, Answer]] = []
    failures: list[Failure] = []

    @inlineCallbacks
    def ask() -> Generator["Deferred[Any]", Any, None]:
        answers: list[Answer] = yield gatherResults(inquiries)
        found.extend(zip(servers, answers, strict=True))
        if at is not None:
            found.extend((yield inquire_registry(reactor, at, service, timeout_s)))

    def begin() -> None:
        asking = ask().addErrback(failures.append)
        asking.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    for failure in failures:
        failure.raiseException()
    if not found:
        raise StatusFailed(f"no server of {service} is registered")
    if all(isinstance(answer, Unanswered) for _, answer in found):
        raise StatusFailed("; ".join(f"{name}: {one.why}" for name, one in found if isinstance(one, Unanswered)))
    names, answers = [name for name, _ in found], [answer for _, answer in found]
    said = as_json(names, answers) if json_wanted else table(names, answers, wide=wide)
    return said, verdict(answers)[0]
