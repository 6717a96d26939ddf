"""The embeddable client: failover, resumed sessions, a queue while there is no server, private messages.

Public: `ChatClient`, its events, the values it answers with, and the errors that are the client's own (`Refused` and
`ClientStopped` are in `chatproto.errors`); `SRVEndpoint` and `FoundEndpoint`, which look for servers each time they are
needed, and what they ask: a `Finder`, such as `SRVFinder`.
"""

from chatproto.chat.messages import Status
from chatproto.client.events import (
    ContactExpected,
    ContactFound,
    Event,
    HistoryPage,
    Members,
    Missing,
    Moved,
    Noticed,
    PrivateSaid,
    Redirected,
    Refusal,
    Renamed,
    Rewound,
    Rooms,
    Said,
    Sent,
    StateChanged,
    Welcomed,
)
from chatproto.client.finding import Finder, FoundEndpoint, NoServer, SRVEndpoint, SRVFinder
from chatproto.client.outbox import QueueFull, Uncertain
from chatproto.client.service import ChatClient
from chatproto.client.settings import ClientSettings

__all__ = [
    "ChatClient",
    "ClientSettings",
    "ContactExpected",
    "ContactFound",
    "Event",
    "Finder",
    "FoundEndpoint",
    "HistoryPage",
    "Members",
    "Missing",
    "Moved",
    "NoServer",
    "Noticed",
    "PrivateSaid",
    "QueueFull",
    "Redirected",
    "Refusal",
    "Renamed",
    "Rewound",
    "Rooms",
    "SRVEndpoint",
    "SRVFinder",
    "Said",
    "Sent",
    "StateChanged",
    "Status",
    "Uncertain",
    "Welcomed",
]
