"""Standard input and output, for the chat in lines."""

import os
import select
from collections.abc import Callable

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

from chatproto.wire import LineBuffer

LINE_BYTES_MAX = 64 * 1024
_READ_BYTES = 64 * 1024


class LineInput(FileDescriptor):
    """Reads lines from a file descriptor, without changing it.

    Twisted's `StandardIO` would make it non-blocking, and with it whatever shares it: on a terminal that is
    standard output, and the shell that comes back afterwards.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        descriptor: int,
        line: Callable[[str], None],
        end: Callable[[str], None],
    ) -> None:
        """Call `line` with each line, then `end` with what went wrong, an empty string for the end of the file."""
        super().__init__(reactor)
        self._descriptor = descriptor
        self._line = line
        self._end = end
        self._lines = LineBuffer(LINE_BYTES_MAX)
        self._last = b""
        self._done = False

    def fileno(self) -> int:
        """Return the file descriptor that is read."""
        return self._descriptor

    def hold(self, held: bool) -> None:
        """Read no more for now, or go on."""
        if not self._done:
            (self.stopReading if held else self.startReading)()

    def doRead(self) -> Exception | None:
        """Called by the reactor: there is something to read, or the end."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            # A terminal that has gone says so in this way.
            data = b""
        if not data:
            return CONNECTION_DONE
        whole = self._lines.feed(data)
        for line in whole.split(b"\n")[:-1]:
            self._line(line.decode("utf-8", "replace"))
        if self._lines.too_long:
            self._finish(f"a line longer than {LINE_BYTES_MAX} bytes was read")
        return None

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor: there will be no more."""
        super().connectionLost(reason)
        if rest := self._lines.feed(b"\n").rstrip(b"\n"):
            self._line(rest.decode("utf-8", "replace"))
        self._finish("")

    def _finish(self, problem: str) -> None:
        if not self._done:
            self._done = True
            self.stopReading()
            self._end(problem)


class LineOutput:
    """Writes lines to a file descriptor, at once; when nobody reads them any more, says so, once."""

    def __init__(self, descriptor: int, lost: Callable[[str], None]) -> None:
        """Call `lost` with the reason when a line could not be written; later lines go nowhere."""
        self._descriptor = descriptor
        self._lost = lost
        self._open = True

    def write(self, line: str) -> None:
        """Write a line, given without its newline."""
        data = line.encode("utf-8", "replace") + b"\n"
        while data and self._open:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Whoever shares it made it non-blocking; a line is written whole all the same.
                select.select((), (self._descriptor,), ())
            except OSError as error:
                self._open = False
                self._lost(f"cannot write to standard output: {error.strerror}")
