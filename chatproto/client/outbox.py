"""What a client wants to say: kept in order, sent as far as the server may have it, and again if need be. Pure."""

from collections import deque

import msgspec

from chatproto.chat.messages import Error, Message, Who, encode
from chatproto.client.requests import Request, Speech
from chatproto.client.settings import ClientSettings
from chatproto.errors import ClientError, Refused


class QueueFull(ClientError):
    """Too much waits to be sent or acknowledged already; nothing was queued."""


class Uncertain(ClientError):
    """The connection broke before the answer: it may or may not have happened."""


class Done(msgspec.Struct, frozen=True):
    """What became of something queued: a value, or an error."""

    key: str
    value: object = None
    error: ClientError | None = None


class Outbox:
    """The order in which a program asked is the order in which the server is asked.

    What has an id goes out up to a window, and waits for its acknowledgement. Of the rest one is under way at a
    time; a second one holds up all that comes after it.

    Attributes:
        under_way: the request that waits for its answer.
    """

    def __init__(self, settings: ClientSettings, fence: str) -> None:
        """Start empty.

        Args:
            settings: of the ceilings.
            fence: what the names of fences start with; must be like no other client's.
        """
        self.under_way: Request | None = None
        self._settings = settings
        self._queue: deque[Speech | Request] = deque()
        self._sent: dict[str, Speech] = {}
        self._sent_bytes = 0
        self._bytes = 0
        self._fence = f"?{fence}."
        self._fences = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._sent) + (self.under_way is not None)

    @property
    def awaits(self) -> bool:
        """Whether anything that was sent waits for its answer."""
        return bool(self._sent) or self.under_way is not None

    # In

    def add(self, item: Speech | Request) -> None:
        """Queue something.

        Raises:
            Refused: its line is longer than servers take.
            QueueFull: there is no room for it.
        """
        settings = self._settings
        if len(item.line) - 1 > settings.line_bytes_max:
            raise Refused("line-too-long", f"a line has at most {settings.line_bytes_max} bytes")
        if len(self) >= settings.queue_max or self._bytes + len(item.line) > settings.queue_bytes_max:
            raise QueueFull(f"{len(self)} messages and requests wait already, {self._bytes} bytes")
        self._bytes += len(item.line)
        self._queue.append(item)

    def withdraw(self, key: str) -> None:
        """Forget what was not sent yet."""
        for item in self._queue:
            if item.key == key:
                self._queue.remove(item)
                self._bytes -= len(item.line)
                return

    # Out

    def begin(self, request: Request) -> bytes:
        """Put a request under way, before all that is queued; return what to send."""
        self.under_way = request
        self._fences += 1
        return request.line + encode(Who(f"{self._fence}{self._fences}"))

    def due(self, *, requests: bool) -> bytes:
        """Return the lines to be sent now, of requests only if so said."""
        lines = []
        while self._queue:
            head = self._queue[0]
            if isinstance(head, Request):
                if self.under_way is not None or not requests:
                    break
                lines.append(self.begin(head))
            elif self._window_takes(head):
                self._sent[head.key] = head
                self._sent_bytes += len(head.line)
                lines.append(head.line)
            else:
                break
            self._queue.popleft()
        return b"".join(lines)

    def _window_takes(self, speech: Speech) -> bool:
        settings = self._settings
        if not self._sent:
            return True
        return (
            len(self._sent) < settings.in_flight_max
            and self._sent_bytes + len(speech.line) <= settings.in_flight_bytes_max
        )

    # Answers

    def acknowledge(self, key: str) -> bool:
        """Take that something with an id has its answer; return whether it waited for one."""
        speech = self._sent.pop(key, None)
        if speech is None:
            return False
        self._sent_bytes -= len(speech.line)
        self._bytes -= len(speech.line)
        return True

    def hear(self, message: Message, me: str) -> None:
        """Note what answers the request under way; `me` is the client's identity before this message."""
        request = self.under_way
        if request is not None:
            answer = request.hears(message, me)
            if answer is not None:
                request.answer = answer

    def refuse(self, error: Error) -> bool:
        """Note an error without an id; return whether it is for the request under way."""
        request = self.under_way
        if request is None or not (error.roomid is None or _same(error.roomid, request.room)):
            return False
        request.refusal = error
        return True

    def is_fence(self, room: str) -> bool:
        """Whether a room is a fence, perhaps an old one."""
        return room.startswith(self._fence)

    def fenced(self, room: str) -> None:
        """Take a fence's answer: what did not answer the request under way by now will not, unless it may be late."""
        if self.under_way is not None and room == f"{self._fence}{self._fences}":
            self.under_way.fenced = True

    def ended(self) -> Done | None:
        """Return the end of the request under way, if it has come; its key is empty where nobody waits for it."""
        request = self.under_way
        if request is None or not request.fenced:
            return None
        if request.late and request.answer is None and request.refusal is None:
            return None
        self.under_way = None
        self._bytes -= len(request.line) if request.key else 0
        refusal = request.refusal
        if refusal is not None:
            return Done(request.key, error=Refused(refusal.code, refusal.message))
        if request.answer is None:
            return Done(request.key, error=ClientError("the server gave no answer"))
        return Done(request.key, request.answer.value)

    def longest(self) -> str | None:
        """Return the key of the longest line that waits for its acknowledgement."""
        return max(self._sent, key=lambda key: len(self._sent[key].line), default=None)

    @property
    def line_bytes_max(self) -> int:
        """The length of the longest line that waits for its acknowledgement; 0 where none does."""
        return max((len(speech.line) for speech in self._sent.values()), default=0)

    # Ends

    def lost(self) -> list[Done]:
        """Take that the connection is gone: what is safe to say again is queued again, in order; return the rest."""
        ended = []
        if self.under_way is not None:
            request, self.under_way = self.under_way, None
            if request.key:
                self._bytes -= len(request.line)
                ended.append(request.key)
        again = []
        for speech in self._sent.values():
            if speech.again:
                again.append(speech)
            else:
                self._bytes -= len(speech.line)
                ended.append(speech.key)
        self._sent.clear()
        self._sent_bytes = 0
        self._queue.extendleft(reversed(again))
        return [Done(key, error=Uncertain("connection lost: it may or may not have happened")) for key in ended]

    def give_up_queued(self) -> list[str]:
        """Forget what was not sent; return its keys."""
        keys = [item.key for item in self._queue]
        self._bytes -= sum(len(item.line) for item in self._queue)
        self._queue.clear()
        return keys

    def give_up(self) -> list[str]:
        """Forget everything; return its keys."""
        keys = list(self._sent)
        if self.under_way is not None and self.under_way.key:
            keys.append(self.under_way.key)
        keys += self.give_up_queued()
        self._sent.clear()
        self.under_way = None
        self._sent_bytes = self._bytes = 0
        return keys


def _same(named: str, room: str | None) -> bool:
    # Servers cut a name that is too long to be one.
    return room is not None and named[:64] == room[:64]
