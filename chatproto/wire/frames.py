"""Length-prefixed framing: four bytes, big-endian, then so many bytes of frame."""

LENGTH_BYTES = 4


class FrameBuffer:
    """Collects bytes and hands out whole frames.

    A frame has at most `frame_bytes_max` bytes, and the first one, in which a stranger says who it is, at most
    `first_bytes_max`. Once a longer one is announced, `too_long` is true, the frames before it have been handed out,
    and nothing more comes out: the connection is to be ended.
    """

    __slots__ = ("_first_bytes_max", "_needed", "_rest", "frame_bytes_max", "too_long")

    def __init__(self, frame_bytes_max: int, first_bytes_max: int | None = None) -> None:
        self.frame_bytes_max = frame_bytes_max
        self.too_long = False
        self._first_bytes_max = first_bytes_max
        # Not a list of pieces: of a frame that comes byte by byte each would cost forty times what it holds.
        self._rest = bytearray()
        self._needed = LENGTH_BYTES

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; return all frames that are whole now."""
        if self.too_long:
            return []
        if self._rest or len(data) < self._needed:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
        frames: list[bytes] = []
        start, end = 0, len(data)
        while end - start >= LENGTH_BYTES:
            size = int.from_bytes(data[start : start + LENGTH_BYTES], "big")
            if size > (self.frame_bytes_max if self._first_bytes_max is None else self._first_bytes_max):
                self.too_long = True
                break
            self._needed = LENGTH_BYTES + size
            if end - start < self._needed:
                break
            start += LENGTH_BYTES
            frames.append(data[start : start + size])
            start += size
            self._first_bytes_max = None
            self._needed = LENGTH_BYTES
        self._rest = bytearray() if self.too_long else bytearray(data[start:])
        return frames


def framed(payload: bytes) -> bytes:
    """Return the frame of a payload."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload
