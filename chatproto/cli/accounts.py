"""`chatproto account`, `ban`, `unban` and `bans`: what an operator has a running node do about people."""

import argparse
import re
import secrets
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from chatproto.chat.acts import Allow, AnyDecree, Enroll, Forbid, Revoke, Strike, encode_act
from chatproto.chat.authority import account_allowed
from chatproto.chat.bans import network_of
from chatproto.chat.passwords import SALT_BYTES, secret_of
from chatproto.chat.people import ADMIN
from chatproto.chat.session import KICK_S_MAX, REASON_CHARS_MAX
from chatproto.cli.control import command
from chatproto.cli.servers import Misuse
from chatproto.cli.text import in_columns
from chatproto.cli.typed import UNITS_S, add_password, password_asked
from chatproto.services.administration import AccountShown, BanShown
from chatproto.wire import identity_allowed

_ROLES = re.compile(r"[a-z][a-z0-9-]{0,31}")

Subparsers = Any


def add_accounts(subparsers: Subparsers) -> None:
    """Add the commands."""
    account = subparsers.add_parser(
        "account",
        help="add, change, remove or list accounts",
        description="Accounts, of the deployment that the running node belongs to. Run it on either node's machine, as "
        "a user who may write to its data directory. A password is asked for without echo, or read from standard "
        "input; only its salted hash leaves this command.",
    )
    account.add_argument("directory", metavar="DIR", help="the node's data directory")
    doings = account.add_subparsers(title="what to do", metavar="DO", required=True)
    add = _doing(doings, "add", _add, "make an account")
    add.add_argument("--admin", action="store_true", help="who keeps order in every room (default: who does not)")
    add_password(add)
    add_password(_doing(doings, "password", _password, "give an account another password; its tickets are revoked"))
    _doing(doings, "remove", _remove, "end an account, its sessions, and its ownership of rooms")
    _doing(doings, "logout", _logout, "end an account's sessions, and have each need the password again")
    roles = _doing(doings, "roles", _roles, "say what an account may do, in place of what it might")
    roles.add_argument("roles", nargs="*", type=_role, metavar="ROLE", help=f"like {ADMIN} (default: none)")
    listing = doings.add_parser("list", help="list the accounts", description="List the accounts.")
    listing.add_argument("--json", action="store_true", help="as JSON (default: as a table)")
    listing.set_defaults(run=_list)

    ban = subparsers.add_parser(
        "ban",
        help="keep an account or an address out",
        description="Keep an account out, whose sessions end at once, or an address or network, from where nobody can "
        "connect any more. The session of a guest ends, and the address that it came from is kept out.",
    )
    ban.add_argument("directory", metavar="DIR", help="a node's data directory")
    ban.add_argument("subject", type=_subject, metavar="WHO", help="NAME, ADDRESS or NETWORK (192.0.2.0/24)")
    ban.add_argument(
        "--for",
        type=_span,
        default=KICK_S_MAX,
        dest="span_s",
        metavar="SPAN",
        help="seconds, or like 30m, 12h, 7d, 4w (default: ten years)",
    )
    ban.add_argument("--reason", default="", help="what they are told (default: nothing)")
    ban.set_defaults(run=_ban)
    unban = subparsers.add_parser("unban", help="let somebody in again", description="Let somebody in again.")
    unban.add_argument("directory", metavar="DIR", help="a node's data directory")
    unban.add_argument("subject", type=_subject, metavar="WHO", help="as it was banned")
    unban.set_defaults(run=_unban)
    bans = subparsers.add_parser("bans", help="list who is kept out", description="List who is kept out.")
    bans.add_argument("directory", metavar="DIR", help="a node's data directory")
    bans.add_argument("--json", action="store_true", help="as JSON (default: as a table)")
    bans.set_defaults(run=_bans)


def _doing(doings: Subparsers, word: str, run: Any, does: str) -> argparse.ArgumentParser:
    doing: argparse.ArgumentParser = doings.add_parser(word, help=does, description=f"{does[0].upper()}{does[1:]}.")
    doing.add_argument("name", type=_name, metavar="NAME", help="the account")
    doing.set_defaults(run=run)
    return doing


# What is done


def _add(given: argparse.Namespace) -> str:
    roles = [ADMIN] if given.admin else []
    _decree(given, Enroll(name=given.name, secret=_secret(given), roles=roles, new=True))
    return ""


def _password(given: argparse.Namespace) -> str:
    _decree(given, Enroll(name=given.name, secret=_secret(given), new=False))
    return ""


def _remove(given: argparse.Namespace) -> str:
    _decree(given, Strike(name=given.name))
    return ""


def _logout(given: argparse.Namespace) -> str:
    _decree(given, Revoke(name=given.name))
    return ""


def _roles(given: argparse.Namespace) -> str:
    _decree(given, Enroll(name=given.name, roles=list(dict.fromkeys(given.roles)), new=False))
    return ""


def _list(given: argparse.Namespace) -> str:
    said = command(given.directory, "accounts")
    if given.json:
        print(said)
        return ""
    rows = [
        (account.name, ", ".join(account.roles), "yes" if account.password else "elsewhere", str(account.devices))
        for account in msgspec.json.decode(said, type=list[AccountShown])
    ]
    _print_table(("ACCOUNT", "ROLES", "PASSWORD", "DEVICES"), rows)
    return ""


def _ban(given: argparse.Namespace) -> str:
    if len(given.reason) > REASON_CHARS_MAX:
        raise Misuse(f"--reason has at most {REASON_CHARS_MAX} characters")
    now = time.time()
    _decree(given, Forbid(subject=given.subject, until=now + given.span_s, time=now, reason=given.reason))
    return ""


def _unban(given: argparse.Namespace) -> str:
    _decree(given, Allow(subject=given.subject))
    return ""


def _bans(given: argparse.Namespace) -> str:
    said = command(given.directory, "bans")
    if given.json:
        print(said)
        return ""
    rows = [
        (ban.subject, time.strftime("%Y-%m-%d %H:%M", time.localtime(ban.until)), ban.by or "an operator", ban.reason)
        for ban in msgspec.json.decode(said, type=list[BanShown])
    ]
    _print_table(("WHO", "UNTIL", "BY", "REASON"), rows)
    return ""


def _decree(given: argparse.Namespace, decree: AnyDecree) -> None:
    command(given.directory, f"decree {encode_act(decree).decode()}")


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("\n".join(in_columns((titles, *rows))))


# Passwords


def _secret(given: argparse.Namespace) -> str:
    if given.password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = password_asked("password: ")
        if password_asked("again: ") != password:
            raise Misuse("the two passwords differ; nothing was changed")
    try:
        return secret_of(password, secrets.token_bytes(SALT_BYTES))
    except ValueError as error:
        raise Misuse(f"{error}; nothing was changed") from None


# Values


def _name(value: str) -> str:
    if not account_allowed(value):
        raise argparse.ArgumentTypeError(
            f"{value!r} is not a name: a letter, then letters and digits, 3 to 16 in all, and not guest with a number"
        )
    return value


def _role(value: str) -> str:
    if not _ROLES.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a role: small letters, digits and hyphens")
    return value


def _subject(value: str) -> str:
    if identity_allowed(value):
        return value
    try:
        return network_of(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is neither a name nor an address") from None


def _span(value: str) -> int:
    matched = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", value)
    if matched is None or int(matched[1]) == 0:
        raise argparse.ArgumentTypeError(f"{value!r} is neither seconds nor like 30m, 12h, 7d, 4w")
    return min(int(matched[1]) * UNITS_S[matched[2]], KICK_S_MAX)
