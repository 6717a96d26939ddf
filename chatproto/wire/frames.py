"""Length-prefixed framing: four bytes, big-endian, then so many bytes of frame."""

LENGTH_BYTES = 4


class FrameBuffer:
    """Collects bytes and hands out whole frames.

    A frame has at most `frame_bytes_max` bytes. Once a longer one is announced, `too_long` is true, the frames before
    it have been handed out, and nothing more comes out: the connection is to be ended.
    """

    __slots__ = ("_needed", "_pieces", "_size", "frame_bytes_max", "too_long")

    def __init__(self, frame_bytes_max: int) -> None:
        self.frame_bytes_max = frame_bytes_max
        self.too_long = False
        # Pieces are joined only once a frame is whole: joining at every piece would copy a large one again and again.
        self._pieces: list[bytes] = []
        self._size = 0
        self._needed = LENGTH_BYTES

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; return all frames that are whole now."""
        if self.too_long:
            return []
        self._pieces.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return []
        whole = b"".join(self._pieces)
        frames: list[bytes] = []
        start, end = 0, len(whole)
        while end - start >= LENGTH_BYTES:
            size = int.from_bytes(whole[start : start + LENGTH_BYTES], "big")
            if size > self.frame_bytes_max:
                self.too_long = True
                break
            self._needed = LENGTH_BYTES + size
            if end - start < self._needed:
                break
            start += LENGTH_BYTES
            frames.append(whole[start : start + size])
            start += size
            self._needed = LENGTH_BYTES
        rest = b"" if self.too_long else whole[start:]
        self._pieces, self._size = [rest] if rest else [], len(rest)
        return frames


def framed(payload: bytes) -> bytes:
    """Return the frame of a payload."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload
