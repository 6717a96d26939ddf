"""The data directory: one process has it at a time, and all who have it one after another are of one kind."""

import fcntl
import os

from chatproto.errors import StoreBusy, StoreError

KIND_CHARS_MAX = 64


def lock(directory: str, kind: str = "") -> int:
    """Make the data directory where it is missing and lock it; the lock goes with the descriptor returned.

    Args:
        directory: its path.
        kind: of the node whose it is, in one word, noted in the lock file by the first who has one; empty where that
            does not matter.

    Raises:
        StoreBusy: another process has it.
        StoreError: it cannot be made, or is one of a node of another kind.
    """
    try:
        if not os.path.isdir(directory):
            os.makedirs(directory, mode=0o700)
            # A new directory is durable only once its parent is.
            sync(os.path.dirname(os.path.abspath(directory)))
        held = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot use the data directory {directory}: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        raise StoreBusy(f"the data directory {directory} is in use by another process") from error
    try:
        noted = os.pread(held, KIND_CHARS_MAX, 0).decode("ascii", "replace").strip()
        if kind and not noted:
            os.pwrite(held, f"{kind}\n".encode("ascii"), 0)
            os.fsync(held)
    except OSError as error:
        os.close(held)
        raise StoreError(f"cannot use the data directory {directory}: {error.strerror}") from error
    if kind and noted not in ("", kind):
        os.close(held)
        raise StoreError(f"the data directory {directory} has what {noted} keeps, not {kind}: give each node its own")
    return held


def in_use(directory: str) -> bool:
    """Whether a process has the lock of a data directory."""
    try:
        held = os.open(os.path.join(directory, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, and for a moment: a daemon that starts just now would be refused by an exclusive one for longer.
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(held)


def sync(path: str) -> None:
    """Make a file, or the names in a directory, durable."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
