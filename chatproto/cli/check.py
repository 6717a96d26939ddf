"""`chatproto check`: whether a daemon could start with some options. Opens no port, starts nothing, changes nothing."""

import os
import sqlite3
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.python.usage import UsageError

from chatproto.cli.servers import Misuse
from chatproto.disk.directory import in_use
from chatproto.errors import StoreError, TrustError
from chatproto.log.sqlite import LOG
from chatproto.options import Options
from chatproto.readers import ENDPOINT_ERRORS
from chatproto.trust.certificates import CERTIFICATE, Certificates, date, names_of
from chatproto.trust.endpoints import plain
from chatproto.trust.sharing import read_secret

CHECKED = """\
usage: chatproto check [options of twistd chatserver, such as --config FILE]

Says whether `twistd chatserver` could start with these options: that the options and the file are understood and go
together, that the certificates of --tls, or the secret, can be used, that each endpoint can be made (with a certificate
of its own, if it names one), that what it needs is installed, and that the data directory is one of this release, or
can be made. Opens no port, starts nothing, changes nothing; a
running daemon is not disturbed. Run it as the user that the daemon runs as.

Exit status: 0 it could start, 1 it could not, with the reasons on standard error, 2 the options are wrong.
`twistd chatserver --help` explains the options."""


def check(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Check what a daemon would be started with.

    Args:
        arguments: options, as for `twistd chatserver`.

    Returns:
        what it would be, in lines for an operator; and what is in its way, each in one line.

    Raises:
        Misuse: the options, or the file, are not understood, or do not go together.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    options = Options()
    try:
        options.parseOptions(arguments)
    except UsageError as error:
        raise Misuse(str(error)) from None
    found = [f"role: {options['role']}, called {options['name']}"]
    problems: list[str] = []
    try:
        found += _proof(options)
    except TrustError as error:
        problems.append(str(error))
    for option, description, serves in options.endpoints():
        found.append(f"{'serves' if serves else 'connects'}: {option}={description}")
        # What shows the node's certificate has none of its own that would have to be there.
        beneath = plain(description) if serves and options["tls"] else None
        try:
            (serverFromString if serves else clientFromString)(reactor, beneath or description)
        except ENDPOINT_ERRORS as error:
            problems.append(f"cannot use {option}={description}: {error}")
    if options["metrics"] and find_spec("prometheus_client") is None:
        problems.append("--metrics needs prometheus_client: pip install chatproto[metrics]")
    try:
        found.append(f"data: {options['data']}, {_data(options)}")
    except (StoreError, OSError, sqlite3.Error) as error:
        problems.append(f"cannot use --data={options['data']}: {error}")
    return found, problems


def _proof(options: Options) -> list[str]:
    """Return what proves to other nodes who this one is.

    Raises:
        TrustError: it cannot be used.
    """
    if options["secret-file"]:
        read_secret(options["secret-file"])
        return [f"proves: that it knows what is in --secret-file={options['secret-file']}"]
    if not options["tls"]:
        return []
    certificates = Certificates(options["tls"], options["name"], time.time)
    held = certificates.held
    names = ", ".join(names_of(held.chain[0])[0])
    proves = f"proves: --tls={options['tls']}, that it is {names}, until {date(held.ends[CERTIFICATE])}"
    return [proves, *certificates.endings()]


def _data(options: Options) -> str:
    """Return how a data directory is.

    Raises:
        StoreError: it is not such as these options need.
        OSError: it cannot be read.
    """
    directory = options["data"]
    if not os.path.exists(LOG.path_in(directory)):
        _check_writable(directory)
        return "which is made at the first start" if not os.path.exists(directory) else "which is empty yet"
    _check_writable(directory)
    database = LOG.connect(directory)
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        paired = database.execute("SELECT 1 FROM pair WHERE key = 'configuration'").fetchone() if version > 1 else None
        filled = database.execute("SELECT 1 FROM log LIMIT 1").fetchone()
    finally:
        database.close()
    if options["role"] == "registry" and filled:
        raise StoreError("it is the data directory of a chat node: the registry needs one of its own")
    if options["role"] != "registry" and options.settings().peer is None and paired:
        raise StoreError("it is that of a node of a pair, or of a registry: name the other node with --peer")
    state = "in use by a running daemon" if in_use(directory) else "nobody runs on it"
    upgrade = "" if version == LOG.version else f", brought up to {LOG.version} at the next start"
    return f"schema version {version}{upgrade}, {state}"


def _check_writable(directory: str) -> None:
    there = Path(directory).absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise StoreError(f"{there} is not a directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StoreError(f"{there} cannot be written by this user")
