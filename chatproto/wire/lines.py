"""Newline framing: whatever way the bytes are chopped, whole lines come out, and nothing grows without bound."""


class LineBuffer:
    r"""Collects bytes and hands out whole lines.

    A line ends with ``\n``, which is handed out with it; a line may hold at most `line_bytes_max`
    bytes before it. Once a line was longer, ended or not, `too_long` is true, the lines before it
    have been handed out, and nothing more comes out: the connection is to be ended.
    """

    __slots__ = ("_rest", "line_bytes_max", "too_long")

    def __init__(self, line_bytes_max: int) -> None:
        self.line_bytes_max = line_bytes_max
        self.too_long = False
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take what was read; return all lines that are whole now, in one piece (empty if there is none)."""
        if self.too_long:
            return b""
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n") + 1
        if end == len(data):
            whole, self._rest = data, b""
        else:
            whole, self._rest = data[:end], data[end:]
        # A chunk within the ceiling cannot hold a line beyond it, so the usual case looks at no line.
        if len(whole) > self.line_bytes_max:
            whole = self._cut(whole)
        if len(self._rest) > self.line_bytes_max:
            self.too_long = True
        if self.too_long:
            self._rest = b""
        return whole

    def _cut(self, whole: bytes) -> bytes:
        start = 0
        while start < len(whole):
            end = whole.index(b"\n", start)
            if end - start > self.line_bytes_max:
                self.too_long = True
                return whole[:start]
            start = end + 1
        return whole
