"""Commands for a running node, over the socket in its data directory."""

import os
import socket
from collections.abc import Callable

from chatproto.errors import ChatprotoError

ANSWER_S_MAX = 15.0


class ControlFailed(ChatprotoError):
    """The node refused, or was not reached."""


class NotRunning(ControlFailed):
    """Nobody takes commands there."""


def command(
    directory: str,
    line: str,
    answer_s_max: float | None = None,
    *,
    ends: bool = False,
    tell: Callable[[str], object] | None = None,
) -> str:
    """Have the node that runs on a data directory do something; return what it says of it.

    Args:
        directory: the data directory.
        line: the command.
        answer_s_max: how long an answer is waited for; `ANSWER_S_MAX`, unless given.
        ends: whether the node ends with it, which is waited for, too.
        tell: called with each line that comes before the last one.

    Raises:
        NotRunning: no node runs there.
        ControlFailed: it refused, with its reason.
    """
    path = os.path.join(directory, "control")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(ANSWER_S_MAX if answer_s_max is None else answer_s_max)
            link.connect(path)
            link.sendall(line.encode() + b"\n")
            with link.makefile("r", encoding="utf-8") as said:
                answer = said.readline().strip()
                while tell is not None and answer and not answer.startswith(("done", "refused")):
                    tell(answer)
                    answer = said.readline().strip()
                if ends and answer.startswith("done"):
                    said.read()
    except (FileNotFoundError, ConnectionRefusedError):
        missing = "" if os.path.isdir(directory) else ", which is no directory"
        raise NotRunning(f"no node runs on {directory}{missing}") from None
    except OSError as error:
        raise ControlFailed(f"{path}: {error.strerror or error}") from None
    outcome, _, why = answer.partition(": ")
    if outcome != "done":
        raise ControlFailed(why or "the node ended before it answered")
    return why
