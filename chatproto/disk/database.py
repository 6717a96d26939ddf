"""A database file in a data directory, in SQLite: which program's it is, and of which version of the schema."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from chatproto.errors import StoreCorrupt, StoreError, StoreVersion

CHECKPOINT_PAGES = 4000


@contextmanager
def told(path: str, doing: str = "use") -> Iterator[None]:
    """Have what goes wrong with a database file raised as a `StoreError` that says which."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"cannot {doing} {path}: {error}") from error


@dataclass(frozen=True)
class DatabaseFile:
    """A kind of database file.

    Attributes:
        name: of the file, in a data directory.
        application_id: by which SQLite, and `file`, know whose it is.
        schema: the statements that each version of the schema adds to the one before.
        remedy: what an operator can do when the file is damaged.
    """

    name: str
    application_id: int
    schema: tuple[str, ...]
    remedy: str

    @property
    def version(self) -> int:
        """The version of the schema that this release writes; the first is 1."""
        return len(self.schema)

    def path_in(self, directory: str) -> str:
        """Return the path of the database in a data directory."""
        return os.path.join(directory, self.name)

    def schema_after(self, version: int) -> str:
        """Return the statements that bring a database up from a version of the schema, 0 for an empty one."""
        marks = f"PRAGMA application_id={self.application_id}; PRAGMA user_version={self.version};"
        return f"{''.join(self.schema[version:])} {marks}"

    def connect(self, directory: str, *, writing: bool = False) -> sqlite3.Connection:
        """Open the database of a data directory and check that it is one of ours.

        Raises:
            StoreVersion: it was written by another version.
            StoreError: there is none, or it is another program's.
        """
        path = self.path_in(directory)
        with ExitStack() as opened, told(path, "open"):
            if not writing and not os.path.exists(path):
                raise StoreError(f"no chatproto data in {directory}")
            database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            opened.callback(database.close)
            self._check(database, path)
            # Only now: a database of somebody else is not to be changed.
            if writing:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=FULL")
                database.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            else:
                database.execute("PRAGMA query_only=ON")
            opened.pop_all()
        return database

    def open(self, directory: str) -> sqlite3.Connection:
        """Open the database of a data directory to write to it, whole: checked, and of this release's version.

        It is made where there is none. The directory is there, and locked.

        Raises:
            StoreVersion: it was written by another version.
            StoreCorrupt: SQLite's integrity check found something.
            StoreError: it is another program's, or cannot be made or written.
        """
        path = self.path_in(directory)
        with ExitStack() as opened:
            database = self.connect(directory, writing=True)
            opened.callback(database.close)
            with told(path):
                (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise StoreCorrupt(f"{path} is damaged ({' '.join(verdict.split())}): {self.remedy}")
                self._bring_up(database)
            opened.pop_all()
        return database

    def check_version(self, database: sqlite3.Connection, path: str) -> None:
        """See that this release knows the schema of a database.

        Raises:
            StoreVersion: it does not.
        """
        version = _version(database)
        if not 1 <= version <= self.version:
            raise StoreVersion(
                f"{path} has schema version {version}, not {self.version}: use the release that wrote it"
            )

    def _check(self, database: sqlite3.Connection, path: str) -> None:
        if _empty(database):
            return
        if database.execute("PRAGMA application_id").fetchone() != (self.application_id,):
            raise StoreError(f"{path} is a database of another program")
        self.check_version(database, path)

    def _bring_up(self, database: sqlite3.Connection) -> None:
        """Make the tables that are missing, all in one transaction."""
        version = 0 if _empty(database) else _version(database)
        if version < self.version:
            database.executescript(f"BEGIN; {self.schema_after(version)} COMMIT;")


def _empty(database: sqlite3.Connection) -> bool:
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables


def _version(database: sqlite3.Connection) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version
