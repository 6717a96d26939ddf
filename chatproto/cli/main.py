"""The command line of `chatproto`: what may be typed, what it means, and the exit status."""

import argparse
import os
import re
import socket
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext

from twisted.internet.abstract import isIPAddress, isIPv6Address

from chatproto.chat.messages import HistoryWanted
from chatproto.cli.accounts import add_accounts
from chatproto.cli.commands import explanations
from chatproto.cli.news.line import add_news
from chatproto.cli.servers import DEFAULT_PORT, DEFAULT_SERVER, Misuse
from chatproto.cli.typed import password_asked, seconds
from chatproto.client.direct.settings import DirectSettings
from chatproto.errors import ChatprotoError
from chatproto.pair.configuration import name_allowed
from chatproto.release import RELEASE
from chatproto.wire import host_and_port, identity_allowed, room_allowed
from chatproto.wire.addresses import speaks_tls

DONE, FAILED, MISUSED = 0, 1, 2
CONNECT_TIMEOUT_S = 10.0
STATUS_TIMEOUT_S = 3.0
DRAIN_TIMEOUT_S = 60.0
HISTORY = 100
HELP_CELLS = 78
NODE_DAYS = 397
DAYS_MAX = 36500
NEWS_PORT, NEWS_PORTS = 4800, 23
PORT_MAX = 65535 - NEWS_PORTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status: 0 done, 1 refused or failed, 2 wrong usage."""
    parser = command_line()
    try:
        given = parser.parse_args(arguments)
    except SystemExit as end:
        return int(end.code or DONE)
    try:
        problem = str(given.run(given))
    except Misuse as error:
        return _say(str(error), MISUSED)
    except ChatprotoError as error:
        return _say(str(error), FAILED)
    except BrokenPipeError:
        # Whoever read has read enough; what Python still holds goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _say("standard output was closed", FAILED)
    except KeyboardInterrupt:
        return _say("interrupted", FAILED)
    return _say(problem, FAILED) if problem else DONE


def _say(problem: str, status: int) -> int:
    print(f"chatproto: {problem}", file=sys.stderr)
    return status


def command_line() -> argparse.ArgumentParser:
    """Return what reads a command line; `run`, of what it gives, does what is said."""
    parser = argparse.ArgumentParser(
        prog="chatproto",
        description="Chat that survives its servers, and news under contract. The daemons are `twistd chatserver` and "
        "`twistd newsserver`.",
        epilog="Exit status: 0 done, 1 refused or failed, with one line on standard error, 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"chatproto {RELEASE}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_chat(subparsers)
    _add_status(subparsers)
    _add_switchover(subparsers)
    _add_drain(subparsers)
    _add_migrate(subparsers)
    _add_reload(subparsers)
    _add_check(subparsers)
    _add_archive(subparsers)
    _add_backup(subparsers)
    _add_restore(subparsers)
    _add_import(subparsers)
    add_accounts(subparsers)
    _add_certs(subparsers)
    add_news(subparsers)
    _add_demo(subparsers)
    return parser


# chat


def _add_chat(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from chatproto.cli.plain import FORMAT

    chat = subparsers.add_parser(
        "chat",
        help="chat in the terminal, or in lines where standard input or output is none",
        description=textwrap.fill(
            "Chat. On a terminal: what is said, the rooms and the members beside it, and a line to type in. In lines, "
            "where standard input or output is no terminal: each line read is a message or a command, each line "
            "written is an event; at the end of the input, leaves when all that was sent is acknowledged.",
            HELP_CELLS,
        ),
        epilog=_indented("what is typed:", explanations())
        + "\n"
        + _indented("what is written in lines (an empty field is -):", FORMAT.splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chat.add_argument(
        "servers",
        nargs="*",
        metavar="SERVER",
        help="HOST, HOST:PORT, srv:DOMAIN (asks the DNS for _chat._tcp.DOMAIN) or a Twisted client endpoint; several "
        "are tried in turn, and again whenever the connection breaks (default: those of --registry, or 127.0.0.1:4444; "
        "default port: 4444)",
    )
    chat.add_argument(
        "--name", type=_identity, help="your name: 3 to 16 letters and digits (default: guest and a number)"
    )
    chat.add_argument(
        "--room",
        type=_room,
        action="append",
        metavar="ROOM",
        default=[],
        dest="rooms",
        help="also enter this room, and speak there; may be repeated (default: MainHall alone)",
    )
    chat.add_argument(
        "--history",
        type=_history,
        default=HISTORY,
        metavar="all|none|N",
        help="what to receive of a room's archive on entering it: all, none or the last N messages "
        "(default: %(default)s)",
    )
    chat.add_argument(
        "--account",
        type=_identity,
        metavar="NAME",
        help="log in to this account, which is your name then; the password is asked for on the terminal (default: be "
        "a guest)",
    )
    chat.add_argument(
        "--password-file",
        metavar="FILE",
        help="take the password from the first line of a file (default: from the terminal)",
    )
    _add_registry(chat)
    _add_tls(chat)
    chat.add_argument(
        "--dns",
        type=_dns,
        metavar="ADDRESS:PORT",
        help="the DNS server that is asked where a srv:DOMAIN is (default: the system's)",
    )
    chat.add_argument("--plain", action="store_true", help="in lines, even on a terminal (default: only elsewhere)")
    chat.add_argument(
        "--connect-timeout",
        type=seconds,
        default=CONNECT_TIMEOUT_S,
        metavar="SECONDS",
        help="in lines: how long to be without a server, at first or with messages still to be acknowledged "
        "after the end of the input, before giving up (default: %(default)g)",
    )
    chat.add_argument(
        "--direct",
        type=_direct,
        metavar="[HOST:]PORT",
        help="also take private messages over connections that others make to this machine, by the name HOST, on PORT "
        "(0: any); who they are is proved, what they say is not encrypted (default: only relayed by the server; HOST: "
        "the name of this machine)",
    )
    chat.set_defaults(run=_chat)


def _chat(given: argparse.Namespace) -> str:
    from chatproto.cli.chat import ChatOptions, chat

    _check_tls(given)
    if given.password_file is not None and given.account is None:
        raise Misuse("--password-file needs --account")
    return chat(
        ChatOptions(
            servers=_servers(given),
            name=given.account or given.name,
            account=given.account,
            password=_password(given),
            rooms=tuple(dict.fromkeys(given.rooms)),
            history=given.history,
            tls=given.tls,
            ca=given.ca,
            plain=given.plain,
            connect_timeout_s=given.connect_timeout,
            dns=given.dns,
            registry=given.registry,
            service=given.service,
            direct=given.direct,
        )
    )


def _password(given: argparse.Namespace) -> str | None:
    if given.account is None:
        return None
    if given.password_file is None:
        return password_asked(f"password of {given.account}: ")
    try:
        with open(given.password_file, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise Misuse(f"--password-file {given.password_file}: {error}") from None


# archive


def _add_archive(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    archive = subparsers.add_parser(
        "archive",
        help="write the archive in a data directory as JSON lines",
        description="Write the committed archive of a data directory, also of a running node's, as JSON lines with "
        "the fields room, index, epoch, id, identity, content and time (Unix seconds).",
    )
    archive.add_argument("directory", metavar="DIR", help="the data directory: what the daemon was given as --data")
    archive.add_argument("--room", help="only this room's archive (default: all rooms')")
    archive.set_defaults(run=_archive)


def _archive(given: argparse.Namespace) -> str:
    from chatproto.cli.archive import archive

    archive(given.directory, given.room, lambda line: print(line, end=""))
    sys.stdout.flush()
    return ""


# backup, restore, import


def _add_backup(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    backup = subparsers.add_parser(
        "backup",
        help="copy what is committed into a file, also while the node runs; or check such a file",
        description="Copy what is committed in a data directory, also of a running node, into a file, and check it; "
        "then say what is in it. The file is whole, or it is not there.",
    )
    backup.add_argument("directory", metavar="DIR", nargs="?", help="the data directory")
    backup.add_argument("file", metavar="FILE", nargs="?", help="the backup; not there before")
    backup.add_argument("--replace", action="store_true", help="have it take the place of FILE (default: refused)")
    backup.add_argument("--verify", metavar="FILE", help="copy nothing: check a backup, and say what is in it")
    backup.set_defaults(run=_backup)


def _backup(given: argparse.Namespace) -> str:
    from chatproto.cli.backup import backup, verify

    if (given.verify is None) == (given.file is None) or (given.verify is not None and given.directory is not None):
        raise Misuse("backup needs DIR and FILE, or --verify=FILE")
    print(
        backup(given.directory, given.file, RELEASE, replace=given.replace)
        if given.verify is None
        else verify(given.verify)
    )
    return ""


def _add_restore(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    restore = subparsers.add_parser(
        "restore",
        help="make a data directory of a backup",
        description="Make the data directory of a new server, or of the primary of a new pair, of a backup. The "
        "secondary starts with an empty one and learns, the registry must know nothing of the old pair; docs/backup.md "
        "says how. The sessions that there were are over; rooms wait for their owners.",
    )
    restore.add_argument("file", metavar="FILE", help="what chatproto backup has written")
    restore.add_argument("directory", metavar="DIR", help="the data directory; no data in it yet")
    restore.set_defaults(run=_restore)


def _restore(given: argparse.Namespace) -> str:
    from chatproto.cli.backup import restore

    print(restore(given.file, given.directory))
    return ""


def _add_import(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    importing = subparsers.add_parser(
        "import",
        help="make a data directory of an archive in JSON lines",
        description="Make a data directory of JSON lines as chatproto archive writes them. Messages keep their ids and "
        "their places; rooms wait for their owner to come.",
    )
    importing.add_argument("file", metavar="FILE", help="the lines; - for standard input")
    importing.add_argument("directory", metavar="DIR", help="the data directory; no data in it yet")
    importing.add_argument(
        "--owner",
        type=_identity,
        help="who owns the rooms (default: nobody; they stay, and nobody can delete them)",
    )
    importing.set_defaults(run=_import)


def _import(given: argparse.Namespace) -> str:
    from chatproto.cli.importing import import_archive

    try:
        with nullcontext(sys.stdin.buffer) if given.file == "-" else open(given.file, "rb") as lines:
            imported = import_archive(lines, given.directory, given.owner)
    except OSError as error:
        return f"cannot read {given.file}: {error.strerror}"
    print(imported)
    return ""


# status


def _add_status(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    status = subparsers.add_parser(
        "status",
        help="how the servers stand, and whether one can be lost now",
        description="Ask servers how they stand: role, epoch, redundancy, clients, and by how many entries the other "
        "one lags. Exit status 1 if none answers.",
    )
    status.add_argument(
        "servers",
        nargs="*",
        metavar="SERVER",
        help="HOST, HOST:PORT or a Twisted client endpoint; name both of a pair (default: those of --registry, "
        "or 127.0.0.1:4444)",
    )
    status.add_argument(
        "--check",
        action="store_true",
        help="exit status 1 unless a server can be lost now (default: only if none answers)",
    )
    shown = status.add_mutually_exclusive_group()
    shown.add_argument(
        "--wide",
        action="store_true",
        help="also the registry as each server sees it, rooms, entries of the log, connections dropped, how long it "
        "runs, and its release",
    )
    shown.add_argument("--json", action="store_true", help="as one JSON object (default: as a table)")
    _add_registry(status)
    _add_tls(status)
    status.add_argument(
        "--timeout",
        type=seconds,
        default=STATUS_TIMEOUT_S,
        metavar="SECONDS",
        help="how long to wait for each (default: %(default)g)",
    )
    status.set_defaults(run=_status)


def _status(given: argparse.Namespace) -> str:
    from chatproto.cli.status import status

    _check_tls(given)
    said, can_lose_one = status(
        _servers(given),
        timeout_s=given.timeout,
        tls=given.tls,
        ca=given.ca,
        json_wanted=given.json,
        wide=given.wide,
        registry=given.registry,
        service=given.service,
    )
    print(said)
    return "" if can_lose_one or not given.check else "no server can be lost now"


# switchover


def _add_switchover(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    switchover = subparsers.add_parser(
        "switchover",
        help="have the node that leads hand leadership to the other one",
        description="Have the node that leads hand leadership to the other one; no message is lost or refused. Run it "
        "on the leader's machine, as a user who may write to its data directory.",
    )
    switchover.add_argument("directory", metavar="DIR", help="the leader's data directory")
    switchover.set_defaults(run=_switchover)


def _switchover(given: argparse.Namespace) -> str:
    from chatproto.cli.control import command

    print(command(given.directory, "switchover"))
    return ""


# migrate


def _add_migrate(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    migrate = subparsers.add_parser(
        "migrate",
        help="move a running server to one that stands by",
        description="Has a server that stands by take the place of a running one: it learns the archive while people "
        "chat, leads, and clients go there by themselves; the old one forgets its archive and stands by in turn. Says "
        "what clients saw of it.",
    )
    migrate.add_argument("directory", metavar="DIR", help="the active server's data directory")
    migrate.add_argument("--to", metavar="NAME", default="", help="which one (default: a random one that stands by)")
    migrate.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        default=600.0,
        help="how long to wait for its end; it goes on in any case (default: %(default)g)",
    )
    migrate.set_defaults(run=_migrate)


def _migrate(given: argparse.Namespace) -> str:
    from chatproto.cli.control import command

    print(command(given.directory, f"migrate {given.to}".strip(), given.timeout))
    return ""


# drain


def _add_drain(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    drain = subparsers.add_parser(
        "drain",
        help="have a node end, with its clients sent to the other one first",
        description="Have a node end: nobody new is let in, its clients are sent to the other node, what they said is "
        "committed and answered, leadership is handed over. Says what clients saw, when the node has ended. Run it on "
        "the node's machine, as a user who may write to its data directory. SIGTERM does the same.",
    )
    drain.add_argument("directory", metavar="DIR", help="the node's data directory")
    drain.add_argument(
        "--timeout",
        type=seconds,
        default=DRAIN_TIMEOUT_S,
        metavar="SECONDS",
        help="how long to wait for its end, which the node's --drain-max bounds (default: %(default)g)",
    )
    drain.set_defaults(run=_drain)


def _drain(given: argparse.Namespace) -> str:
    from chatproto.cli.control import command

    print(command(given.directory, "drain", given.timeout, ends=True))
    return ""


# certs


def _add_certs(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    certs = subparsers.add_parser(
        "certs",
        help="make certificates for the nodes of a deployment, or show one",
        description="Make a certificate for each NAME, signed by the authority in DIR, which is made where there is "
        "none; again, to renew it. Each is in DIR/NAME, to be copied to that node's machine for --tls. The authority's "
        "key, DIR/ca.key, is never replaced. Or, with `show`, tell what the certificates in FILE are for, and until "
        "when.",
    )
    certs.add_argument("directory", metavar="DIR|show", help="where the authority is, or is to be; or the word show")
    certs.add_argument(
        "names",
        nargs="+",
        metavar="NAME|FILE",
        help="the --name of a node (the registry's is `registry` unless told otherwise); or a file to show",
    )
    certs.add_argument(
        "--host",
        type=_host,
        action="append",
        default=[],
        metavar="HOST",
        dest="hosts",
        help="name or address by which clients reach the nodes; may be repeated (default: as in the certificate that "
        "is renewed, or else the name of each alone)",
    )
    certs.add_argument(
        "--days", type=_days, default=NODE_DAYS, metavar="N", help="how long they are good (default: %(default)d)"
    )
    certs.set_defaults(run=_certs)


def _certs(given: argparse.Namespace) -> str:
    from chatproto.cli.certs import make_certificates, show

    if given.directory == "show":
        for path in given.names:
            show(path, print)
        return ""
    for name in given.names:
        if not name_allowed(name):
            raise Misuse(f"{name!r} is no name of a node: letters, digits, dots, hyphens and underscores, 64 at most")
    for host in set(given.hosts) & set(given.names) if len(given.names) > 1 else ():
        raise Misuse(f"with --host={host} every one of them could be {host}, which is a node")
    make_certificates(given.directory, given.names, given.hosts, given.days, print)
    return ""


# reload


def _add_reload(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    reload = subparsers.add_parser(
        "reload",
        help="have a running node read its options and certificates again",
        description="Have a running node read its options and certificates again. Exit status 1, with a line for each, "
        "if something could not be changed: it takes a restart, or there is a mistake in it. SIGHUP does the same, and "
        "says it in the log. Run it on the node's machine, as a user who may write to its data directory.",
    )
    reload.add_argument("directory", metavar="DIR", help="the node's data directory")
    reload.set_defaults(run=_reload)


def _reload(given: argparse.Namespace) -> str:
    from chatproto.cli.control import command

    print(command(given.directory, "reload", tell=print))
    return ""


# check


def _add_check(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    # What is the daemon's begins with hyphens, too, and is not for this parser.
    check = subparsers.add_parser(
        "check",
        help="whether a daemon could start with some options; starts nothing",
        usage="chatproto check [chatserver|newsserver] [its options, such as --config FILE]",
        prefix_chars="\0",
        add_help=False,
    )
    check.add_argument("options", nargs="*")
    check.set_defaults(run=_check)


def _check(given: argparse.Namespace) -> str:
    from chatproto.cli.check import CHECKED, check

    if {"-h", "--help"} & set(given.options):
        print(CHECKED)
        return ""
    found, problems = check(given.options)
    print("\n".join(found))
    return "; ".join(problems)


# demo


def _add_demo(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = subparsers.add_parser(
        "demo",
        help="a whole deployment on this machine, until Ctrl-C",
        description="Start a whole deployment on this machine, say what to do with it and which process to kill, and "
        "tell what becomes of it, until Ctrl-C: of the chat, a registry, a primary and a secondary; of the news, a "
        "tree of nodes, agencies that publish what is invented, and readers.",
    )
    demo.add_argument(
        "what", nargs="?", choices=("chat", "news"), default="chat", help="what is shown (default: %(default)s)"
    )
    demo.add_argument(
        "--data", metavar="DIR", help="keep data and logs there (default: a temporary place that goes with it)"
    )
    demo.add_argument(
        "--port",
        type=_port,
        metavar="PORT",
        help=f"the first that is used, and then those after it: ten for the chat, {NEWS_PORTS} for the news (default: "
        f"{DEFAULT_PORT} for the chat, {NEWS_PORT} for the news)",
    )
    demo.add_argument("--for", type=seconds, dest="for_s", metavar="SECONDS", help="end then (default: at Ctrl-C)")
    demo.add_argument(
        "--kill-primary-after",
        type=seconds,
        metavar="SECONDS",
        help="(chat) kill the primary then, to show a failover",
    )
    demo.add_argument("--pace", type=seconds, metavar="SECONDS", help="(news) from one item to the next (default: 4)")
    demo.set_defaults(run=_demo)


def _demo(given: argparse.Namespace) -> str:
    def say(line: str) -> None:
        print(line, flush=True)

    if given.what == "news":
        from chatproto.cli.news.demo import PACE_S, NewsDemoOptions, news_demo

        if given.kill_primary_after is not None:
            raise Misuse("--kill-primary-after is for the chat")
        news_demo(NewsDemoOptions(given.data, given.port or NEWS_PORT, given.pace or PACE_S, given.for_s), say)
        return ""
    from chatproto.cli.demo import DemoOptions, demo

    if given.pace is not None:
        raise Misuse("--pace is for the news")
    demo(DemoOptions(given.data, given.port or DEFAULT_PORT, given.kill_primary_after, given.for_s), say)
    return ""


# TLS, and the registry


def _add_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--registry",
        metavar="REGISTRY",
        help="HOST, HOST:PORT, with TLS tls:HOST:PORT, or a Twisted client endpoint of a registry that knows the "
        "servers (default: none; default port: 4646)",
    )
    parser.add_argument(
        "--service", default="chat", metavar="NAME", help="the deployment to look for there (default: %(default)s)"
    )


def _servers(given: argparse.Namespace) -> tuple[str, ...]:
    """Return the servers to connect to; where a registry knows them, none need be named."""
    return tuple(given.servers) or (() if given.registry is not None else (DEFAULT_SERVER,))


def _add_tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tls", action="store_true", help="HOST and HOST:PORT mean TLS (default: plain TCP)")
    parser.add_argument(
        "--ca",
        metavar="FILE",
        help="PEM file of the authorities to trust with TLS, such as the ca.pem of `chatproto certs` (default: the "
        "system's)",
    )


def _check_tls(given: argparse.Namespace) -> None:
    # Whoever is told of by a server that speaks TLS does so, too.
    given.tls = given.tls or any(map(speaks_tls, given.servers))
    if given.ca is not None and not given.tls and given.registry is None:
        raise Misuse("--ca needs --tls, tls:HOST:PORT, or --registry")


# Values


def _port(value: str) -> int:
    if value.isascii() and value.isdecimal() and 0 < int(value[:6]) <= PORT_MAX:
        return int(value)
    raise argparse.ArgumentTypeError(f"{value!r} is not a port from 1 to {PORT_MAX}")


def _dns(value: str) -> tuple[str, int]:
    address = host_and_port(value)
    if address is None or (not isIPAddress(address[0]) and not isIPv6Address(address[0])):
        raise argparse.ArgumentTypeError(f"{value!r} is not ADDRESS:PORT of a DNS server")
    return address


def _direct(value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    good = port.isascii() and port.isdecimal() and int(port[:6]) < 65536 and bool(host) == bool(colon)
    if not good or 0 < int(port) < DirectSettings.port_min:
        least = DirectSettings.port_min
        raise argparse.ArgumentTypeError(f"{value!r} is neither PORT nor HOST:PORT, from {least} to 65535, or 0")
    return host or socket.gethostname(), int(port)


def _days(value: str) -> int:
    if value.isascii() and value.isdecimal() and 0 < int(value[:6]) <= DAYS_MAX:
        return int(value)
    raise argparse.ArgumentTypeError(f"{value!r} is not a number of days from 1 to {DAYS_MAX}")


def _host(value: str) -> str:
    if (
        isIPAddress(value)
        or isIPv6Address(value)
        or re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", value)
    ):
        return value
    raise argparse.ArgumentTypeError(f"{value!r} is neither a name of the DNS nor an address")


def _identity(value: str) -> str:
    if not identity_allowed(value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a name: a letter, then letters and digits, 3 to 16 in all")
    return value


def _room(value: str) -> str:
    if not room_allowed(value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a room: a letter, then letters and digits, 3 to 32 in all")
    return value


def _history(value: str) -> HistoryWanted:
    if value in ("all", "none"):
        return value
    if value.isascii() and value.isdecimal() and len(value) <= 9:
        return int(value)
    raise argparse.ArgumentTypeError(f"{value!r} is neither all, none nor a number of messages")


def _indented(title: str, lines: Sequence[str]) -> str:
    return "\n".join((title, *(f"  {line}" for line in lines))) + "\n"
