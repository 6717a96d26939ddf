"""What a command asks of the client, and how the answer reads."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chatproto.chat.messages import Status
from chatproto.cli import commands
from chatproto.cli.text import clock_time, day, harmless, iso_time
from chatproto.client import ChatClient, SearchResults
from chatproto.client.events import Banned
from chatproto.errors import ClientError, Refused


def ask(client: ChatClient, request: commands.Request, room: str) -> Deferred[Any]:
    """Ask the server, on behalf of somebody who is in `room`; fires with the answer of `ChatClient`."""
    match request:
        case commands.ChangeIdentity():
            return client.rename(request.identity)
        case commands.Join():
            return client.join(request.room, stay=request.stay)
        case commands.Leave():
            return client.leave(request.room or room)
        case commands.Who():
            return client.who(request.room or room)
        case commands.ListRooms():
            return client.list_rooms()
        case commands.CreateRoom():
            return client.create_room(request.room)
        case commands.DeleteRoom():
            return client.delete_room(request.room)
        case commands.Kick():
            return client.kick(request.room, request.identity, request.seconds)
        case commands.Ban():
            return client.ban(request.who, request.seconds, request.reason)
        case commands.Unban():
            return client.unban(request.who)
        case commands.ListBans():
            return client.bans()
        case commands.Silence():
            return client.silence(request.identity, request.seconds)
        case commands.Unsilence():
            return client.unsilence(request.identity)
        case commands.CloseRoom():
            return client.close_room(request.room)
        case commands.Announce():
            return client.announce(request.content)
        case commands.Private():
            return client.send_direct(request.to, request.content)
        case commands.Search():
            return client.search(request.query)
        case commands.ShowStatus():
            return client.status()


def code(failure: Failure) -> str:
    """Return the stable code of a refusal, `failed` for any other error of the client; others are raised."""
    failure.trap(ClientError)
    return failure.value.code if isinstance(failure.value, Refused) else "failed"


def reason(failure: Failure) -> str:
    """Return in words why the client was refused something, or failed; any other error is raised."""
    return str(failure.value).removeprefix(f"{code(failure)}: ")


def redundancy_in_words(redundancy: str) -> str:
    """Return what the redundancy of the servers means for whoever speaks."""
    return {
        "single": "one server, no second copy",
        "paired": "two servers, every message on both",
        "alone": "one of two servers is away; messages have one copy",
        "isolated": "the server cannot be sure that it leads; nothing is accepted",
    }.get(redundancy, redundancy)


def bans_in_words(bans: Sequence[Banned]) -> list[str]:
    """Return the answer to `#bans` as lines."""
    return [
        f"{ban.who} until {iso_time(ban.until)}, by {ban.by or 'an operator'}{': ' if ban.reason else ''}{ban.reason}"
        for ban in bans
    ] or ["Nobody is banned."]


def status_in_words(status: Status) -> list[str]:
    """Return the answer to `#status` as sentences."""
    behind = status.archived - status.transferred
    lines = [
        f"This server is {status.role} in epoch {status.epoch}: {redundancy_in_words(status.redundancy)}.",
        f"Your rooms hold {status.archived} messages, and "
        + ("you are up to date." if behind <= 0 else f"{behind} are on their way to you."),
    ]
    lines += [f"{peer.name} ({peer.role}) is {peer.lag} entries behind." for peer in status.peers]
    return lines


def results_in_words(results: SearchResults) -> list[str]:
    """Return the answer to `#search`, a line for each message, the newest last, as in a room."""
    if not results.messages:
        return [f"Nothing that was said in your rooms has {results.query}."]
    lines = [
        f"{day(said.time)}, {clock_time(said.time)}, {said.room} {said.index}: "
        f"<{said.identity}> {harmless(said.content)}"
        for said in reversed(results.messages)
    ]
    older = ["There is more that is older: look for more words."] if results.more else []
    return [*older, *lines]
