"""Ways to communicate, for whichever link needs them; `docs/patterns.md` says which is used where.

Public: `Sender` (a queue on a link, each message acknowledged or not) and `SendQueue` (that queue, without Twisted),
`Requests` (request and reply), `QueueLimits`; `SequentialServer` and `ConcurrentServer` (bounded; `Access`: readers
together, writers alone); `Groups` (who hears what is said to a group, or to everybody; pure).
"""

from chatproto.messaging.admission import Access
from chatproto.messaging.groups import Groups
from chatproto.messaging.queue import QueueLimits, SendQueue
from chatproto.messaging.requests import Requests
from chatproto.messaging.sending import Sender
from chatproto.messaging.servers import ConcurrentServer, SequentialServer

__all__ = [
    "Access",
    "ConcurrentServer",
    "Groups",
    "QueueLimits",
    "Requests",
    "SendQueue",
    "Sender",
    "SequentialServer",
]
