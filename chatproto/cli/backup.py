"""`chatproto backup` and `chatproto restore`: a copy of the archive in one file, and a new deployment from it."""

import os
import time
from contextlib import closing

import msgspec

from chatproto.chat.acts import Restart, encode_act
from chatproto.cli.archive import replayed
from chatproto.cli.control import NotRunning, command
from chatproto.cli.text import iso_time
from chatproto.disk.directory import in_use
from chatproto.errors import StoreCorrupt, StoreError
from chatproto.log import backup as copying
from chatproto.log.backup import Backup, Log
from chatproto.log.sqlite import LOG

RESTART = encode_act(Restart())
"""The body of the entry with which a log goes on from a copy."""


class Contents(msgspec.Struct, frozen=True):
    """What is in a backup.

    Attributes:
        about: what it says of itself.
        log: what is in its log.
        rooms: the rooms that there are, each with how many messages of its archive are kept.
    """

    about: Backup
    log: Log
    rooms: dict[str, int]

    def __str__(self) -> str:
        log = self.log
        count = sum(self.rooms.values())
        span = f", said from {iso_time(log.earliest)} to {iso_time(log.latest)}" if log.messages else ""
        return (
            f"{count} messages in {len(self.rooms)} rooms{span}; {log.entries} entries up to epoch {log.epoch}; "
            f"taken {iso_time(self.about.taken)} by chatproto {self.about.release}"
        )


def backup(directory: str, path: str, release: str, *, replace: bool = False) -> str:
    """Copy what is committed in a data directory into a file, and check that; a node may be running there.

    Args:
        directory: the data directory.
        path: the file, which is not there before, unless it is to be replaced, and is whole or not there afterwards.
        release: of chatproto.
        replace: whether a file of that name is replaced.

    Returns:
        What is in it.

    Raises:
        StoreError: it cannot be read or written, nothing is in it, or it is not known now what is committed.
        ControlFailed: the node that runs there does not say what is committed.
    """
    if os.path.exists(LOG.path_in(os.path.dirname(os.path.abspath(path)))):
        raise StoreError(f"{path} would be in a data directory, and lost with it: name a file elsewhere")
    with copying.unfinished(path, replace=replace) as part:
        orphans = copying.take(directory, part, lambda: _committed(directory), Backup(time.time(), release))
        contents = verify(part)
        if not contents.log.entries:
            raise StoreError(
                f"{directory} holds no log: of a pair, back up a server that serves; one may stand by empty"
            )
    left_out = f"; {orphans} entries that still wait to be said again are not in it" if orphans else ""
    return f"{contents}{left_out}"


def _committed(directory: str) -> int | None:
    """Return up to where the log in a data directory is committed; None if it all is."""
    with closing(LOG.connect(directory)) as database:
        alone = database.execute("SELECT 1 FROM pair WHERE key = 'configuration'").fetchone() is None
    if alone:
        return None
    try:
        return int(command(directory, "committed"))
    except NotRunning:
        if in_use(directory):
            raise StoreError(
                f"the process that uses {directory} does not say what is committed: back the other node up, or stop it"
            ) from None
        # A member has all that was acknowledged, and would serve all that it has if it were to go on.
        return None


def verify(path: str) -> Contents:
    """Read all of a backup, and replay it.

    Raises:
        StoreError: it is none.
        StoreCorrupt: it is damaged, or something is missing.
    """
    with closing(copying.open_backup(path)) as database:
        about = copying.about(database)
        log = copying.check(database, about.digest)
        try:
            hall = replayed(database)
        except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise StoreCorrupt(f"{path} cannot be replayed: {error!r}") from error
        rooms = {room.name: room.last - room.first + 1 for room in hall.rooms.values()}
        return Contents(about, log, rooms)


def restore(path: str, directory: str) -> Contents:
    """Make a data directory of a backup, for a node alone or the founder of a new pair.

    The sessions that there were are over; rooms wait for their owners.

    Raises:
        StoreError: it is no backup, or the directory has a log already, or cannot be written.
        StoreCorrupt: the backup is damaged.
    """
    contents = verify(path)
    # A clock that is wrong must not lead back into epochs that the log can have had after this.
    copying.restore(path, directory, contents.log, RESTART, max(time.time(), contents.about.taken))
    return contents
