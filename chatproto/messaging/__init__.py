"""Ways to communicate, for whichever link needs them: queues with acknowledgement, and groups.

Public: `Sender` (a queue on a link), `SendQueue` (that queue, without Twisted), `QueueLimits`; `Groups` (who hears
what is said to a group, or to everybody; pure), `GroupLimits`.
"""

from chatproto.messaging.groups import GroupLimits, Groups
from chatproto.messaging.queue import QueueLimits, SendQueue
from chatproto.messaging.sending import Sender

__all__ = ["GroupLimits", "Groups", "QueueLimits", "SendQueue", "Sender"]
