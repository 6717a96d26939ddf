"""`chatproto news status`: how each node of a deployment is, and whether news gets through now."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults

from chatproto.cli.news.reaching import Reach, on_reactor
from chatproto.cli.status import span
from chatproto.cli.text import harmless, in_columns
from chatproto.errors import ChatprotoError, RegistryError
from chatproto.registry import Registration, RegistryClient
from chatproto.services.news.status import NewsStatus, decode_status
from chatproto.services.registering import PAGE, PEER, STATUS

KIND = "news-"
"""How the kinds of what is registered here begin."""
ROLES = ("root", "router", "delivery", "contracts", "proxy")
HEADS = ("NODE", "ROLE", "SERVES", "UP", "ADDRESS", "HOW IT IS")


class NewsStatusFailed(ChatprotoError):
    """Nothing is known of the deployment."""


class Found(msgspec.Struct, frozen=True):
    """A node that is registered.

    Attributes:
        registration: what it has said there.
        status: what it has answered; None if it has not.
        why: why not.
    """

    registration: Registration
    status: NewsStatus | None
    why: str = ""

    @property
    def role(self) -> str:
        """What `--role` calls it."""
        return self.registration.kind.removeprefix(KIND)

    @property
    def place(self) -> str:
        """Where others reach it: readers and sources, or those with a browser, or other nodes alone."""
        known = self.registration.attributes
        return self.registration.place or known.get(PAGE) or known.get(PEER) or "-"

    @property
    def serves(self) -> bool:
        """Whether it says that it does what it is there for."""
        return self.status is not None and self.status.serving


def verdict(found: Sequence[Found]) -> tuple[bool, str]:
    """Return whether an item that is published now reaches readers, and new ones can be had; and why, in a sentence."""
    serving = {role: [one for one in found if one.role == role and one.serves] for role in ROLES}
    silent = [one.registration.name for one in found if not one.serves]
    missing = {
        "root": "no root serves: nothing can be published",
        "delivery": "no delivery node serves: nobody can be delivered to",
        "contracts": "no contracting service serves: what is agreed on holds, and nothing new can be",
    }
    for role, why in missing.items():
        if not serving[role]:
            return False, why
    if silent:
        return False, f"not all serve: {', '.join(sorted(silent))}"
    count = len(serving["delivery"])
    return True, f"the root, {count} delivery node{'' if count == 1 else 's'} and the contracting service serve"


def table(found: Sequence[Found]) -> str:
    """Return a line for each node, and the verdict under it."""
    rows = [HEADS]
    for one in sorted(found, key=_order):
        status, at = one.status, one.place
        if status is None:
            rows.append((one.registration.name, one.role, "?", "-", at, harmless(one.why)))
        else:
            serves = "yes" if status.serving else "no"
            rows.append((one.registration.name, one.role, serves, span(status.up_s), at, harmless(status.summary)))
    good, why = verdict(found)
    return "\n".join([*in_columns(rows), f"Does news get through? {'Yes' if good else 'No'}: {why}."])


def as_json(found: Sequence[Found]) -> str:
    """Return the same as one JSON object, with all figures."""
    nodes = []
    for one in sorted(found, key=_order):
        known = {"name": one.registration.name, "role": one.role, "address": one.registration.place}
        answer = msgspec.to_builtins(one.status) if one.status is not None else {"error": one.why}
        nodes.append({**known, "attributes": one.registration.attributes, **answer})
    good, why = verdict(found)
    return json.dumps({"nodes": nodes, "gets_through": good, "why": why})


def _order(one: Found) -> tuple[int, str]:
    return (ROLES.index(one.role) if one.role in ROLES else len(ROLES), one.registration.name)


def news_status(reach: Reach, *, json_wanted: bool) -> tuple[str, bool]:
    """Ask every node of a deployment how it is, through the registry; return what to print, and whether all is well.

    Raises:
        Misuse: there can be no such registry.
        NewsStatusFailed: nothing is registered.
        RegistryError: the registry does not answer.
    """
    found = on_reactor(lambda reactor: inquiring(reactor, reach))
    if not found:
        raise NewsStatusFailed(f"no node of {reach.service} is registered")
    return as_json(found) if json_wanted else table(found), verdict(found)[0]


async def inquiring(reactor: Any, reach: Reach) -> list[Found]:
    """Ask all that is registered; each answers within the timeout, or not."""
    client = RegistryClient(reach.registry_endpoint(reactor), reactor, who="news status", timeout_s=reach.timeout_s)
    client.startService()
    try:
        return await asking(client, reach)
    finally:
        await client.stopService()


async def asking(client: RegistryClient, reach: Reach) -> list[Found]:
    """Do that through a client of the registry that runs."""
    listed: list[Registration] = await client.list(service=reach.service)
    nodes = [one for one in listed if one.kind.startswith(KIND)]

    async def ask(one: Registration) -> Found:
        try:
            answer = await client.call(one.service, one.name, STATUS, reach.timeout_s)
            return Found(one, decode_status(answer))
        except RegistryError as error:
            return Found(one, None, str(error))
        except (msgspec.MsgspecError, ValueError):
            return Found(one, None, "it does not speak this protocol")

    found: list[Found] = await gatherResults([Deferred.fromCoroutine(ask(one)) for one in nodes])
    return found
