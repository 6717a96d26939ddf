"""The embeddable client: failover, resumed sessions, a queue while there is no server, private messages,
also over a connection between two clients.

Public: `ChatClient`, its events, the values it answers with, and the errors that are the client's own (`Refused` and
`ClientStopped` are in `chatproto.errors`); `SRVEndpoint` and `RegistryEndpoint`, which look for servers each time they
are needed, and what they are made of: `FoundEndpoint` and a `Finder`.
"""

from chatproto.chat.messages import Status
from chatproto.client.direct import DirectSettings
from chatproto.client.events import (
    ContactExpected,
    ContactFound,
    Delivered,
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
    SearchResults,
    Sent,
    StateChanged,
    Welcomed,
)
from chatproto.client.finding import Finder, FoundEndpoint
from chatproto.client.outbox import QueueFull, Uncertain
from chatproto.client.reaching import tls_endpoint_of
from chatproto.client.registered import RegistryEndpoint, RegistryFinder
from chatproto.client.service import ChatClient
from chatproto.client.settings import ClientSettings
from chatproto.client.srv import SRVEndpoint, SRVFinder

__all__ = [
    "ChatClient",
    "ClientSettings",
    "ContactExpected",
    "ContactFound",
    "Delivered",
    "DirectSettings",
    "Event",
    "Finder",
    "FoundEndpoint",
    "HistoryPage",
    "Members",
    "Missing",
    "Moved",
    "Noticed",
    "PrivateSaid",
    "QueueFull",
    "Redirected",
    "Refusal",
    "RegistryEndpoint",
    "RegistryFinder",
    "Renamed",
    "Rewound",
    "Rooms",
    "SRVEndpoint",
    "SRVFinder",
    "Said",
    "SearchResults",
    "Sent",
    "StateChanged",
    "Status",
    "Uncertain",
    "Welcomed",
    "tls_endpoint_of",
]
