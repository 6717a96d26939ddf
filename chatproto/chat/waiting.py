"""Messages that wait until enough clients are there. Pure."""

from chatproto.chat.messages import Error, decode_content
from chatproto.log.entry import Entry


class Waiting:
    """What was said on a node before the chat has begun, in the order in which it came.

    It is held before anything is agreed on: nothing is acknowledged, a node that dies takes it along, and whoever
    keeps ids sends it again. What its sender does meanwhile, be it leaving, takes nothing of it back.
    """

    def __init__(self, count_max: int, bytes_max: int) -> None:
        """Hold nothing, and never more than so many messages, or so many bytes of them."""
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._entries: dict[str, Entry] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def hold(self, entry: Entry) -> Error | None:
        """Hold a message, once however often it is sent; return why not, if it is refused."""
        held = self._entries.get(entry.id)
        if held is not None:
            if _content(held) != _content(entry):
                return Error("id-reused", "this id was used for another message", id=entry.id)
            # Whoever sent it again may have come back, and waits for the acknowledgement where it is now.
            held.origin = entry.origin
            return None
        size = len(entry.head) + len(entry.tail)
        if len(self._entries) >= self._count_max or self._bytes + size > self._bytes_max:
            id = entry.id if entry.retriable else None
            return Error("too-many-held", f"your message was not kept: {len(self)} are held already", id=id)
        self._entries[entry.id] = entry
        self._bytes += size
        return None

    def release(self) -> list[Entry]:
        """Return all that is held, in order, and hold it no longer."""
        entries, self._entries, self._bytes = list(self._entries.values()), {}, 0
        return entries


def _content(entry: Entry) -> str:
    # A name may have changed between two tries, which makes them no other message.
    return decode_content(entry.head + b"}")
