"""The command line of `chatproto news`: what may be typed, and what it means."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chatproto.cli.news.offers import ASK, NEAREST, NOTHING
from chatproto.cli.servers import Misuse
from chatproto.cli.typed import UNITS_S, add_password, password_asked, seconds
from chatproto.news.delivery.records import HOURS, HOURS_KEPT
from chatproto.news.items import LIFE_S_MAX, PRIORITIES, TITLE_CHARS_MAX, TOPICS, name_allowed
from chatproto.news.terms import DELAY_S_MAX, ITEMS_AN_HOUR_MAX, PULL, PUSH, Terms

TIMEOUT_S = 30.0
LIFE_S = 86400
STANDARD_INPUT = "-"

Subparsers = Any


def add_news(subparsers: Subparsers) -> None:
    """Add the commands."""
    news = subparsers.add_parser(
        "news",
        help="publish and read news, make contracts, and see how a deployment is",
        description="The news system, whose daemon is `twistd newsserver`. Passwords are asked for on the terminal, or "
        "read from standard input.",
    )
    doings = news.add_subparsers(title="what to do", metavar="DO", required=True)
    _add_publish(doings)
    _add_read(doings)
    _add_contract(doings)
    _add_account(doings)
    _add_lost(doings)
    _add_delete(doings)
    _add_status(doings)
    _add_source(doings)
    _add_children(doings)


def _doing(doings: Subparsers, word: str, run: Callable[[argparse.Namespace], str], does: str, more: str = "") -> Any:
    doing = doings.add_parser(word, help=does, description=f"{does[0].upper()}{does[1:]}. {more}".strip())
    doing.set_defaults(run=run)
    return doing


def _add_reach(doing: argparse.ArgumentParser, server: str = "") -> None:
    if server:
        doing.add_argument(
            server,
            dest="server",
            metavar="SERVER",
            help="HOST, HOST:PORT, tls:HOST:PORT or a Twisted client endpoint (default: found by --registry; default "
            "port: 4848)",
        )
    doing.add_argument(
        "--registry",
        metavar="REGISTRY",
        help="HOST, HOST:PORT, tls:HOST:PORT or a Twisted client endpoint of the registry (default port: 4646)",
    )
    doing.add_argument("--service", default="news", metavar="NAME", help="the deployment (default: %(default)s)")
    doing.add_argument("--ca", metavar="FILE", help="PEM file of the authorities to trust with TLS (default: system's)")
    doing.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help="how long an answer is waited for (default: %(default)g)",
    )


def _reach(given: argparse.Namespace) -> Any:
    from chatproto.cli.news.reaching import Reach

    return Reach(getattr(given, "server", None), given.registry, given.service, given.ca, given.timeout)


def _password(given: argparse.Namespace, *, new: bool = False) -> str:
    if given.password_stdin:
        # No more than the line, unbuffered: what follows may be what is to be published, or answers.
        unbuffered: Any = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        line: bytes = unbuffered.readline()
        return line.decode("utf-8", "surrogateescape").rstrip("\r\n")
    password = password_asked("password: ")
    if new and password_asked("again: ") != password:
        raise Misuse("the two passwords differ; nothing was done")
    return password


# publish


def _add_publish(doings: Subparsers) -> None:
    doing = _doing(
        doings,
        "publish",
        _publish,
        "publish an item",
        "Prints its number once the root has it on its disk. With the same --id it may be repeated: it is published "
        "once.",
    )
    doing.add_argument("file", metavar="FILE", help="what to publish; - for standard input")
    doing.add_argument("--source", type=_name, required=True, metavar="NAME", help="who publishes")
    doing.add_argument(
        "--topic", required=True, metavar="TOPIC", help=f"one of the deployment's, by default {', '.join(TOPICS)}"
    )
    doing.add_argument(
        "--title", default="", help=f"what it is about, at most {TITLE_CHARS_MAX} characters (default: none)"
    )
    doing.add_argument(
        "--expires-in",
        type=_life,
        default=LIFE_S,
        metavar="SPAN",
        help="seconds, or like 30m, 12h, 7d: nobody gets it after that (default: 1d)",
    )
    doing.add_argument("--media-type", metavar="TYPE", help="like text/plain (default: what the file's name says)")
    doing.add_argument("--exclusive", action="store_true", help="only for paid contracts that include exclusives")
    doing.add_argument("--id", metavar="ID", help="the same at every try of this item (default: drawn)")
    add_password(doing)
    _add_reach(doing, "--root")


def _publish(given: argparse.Namespace) -> str:
    from chatproto.cli.news.publishing import Publication, media_type_of, publish, read_body

    if given.file == STANDARD_INPUT and not given.password_stdin and sys.stdin.isatty():
        print("Type the item; end with Ctrl-D.", file=sys.stderr)
    password = _password(given)
    number = publish(
        Publication(
            _reach(given),
            given.source,
            password,
            given.topic,
            given.title,
            read_body(given.file),
            given.media_type or media_type_of(given.file),
            given.expires_in,
            given.exclusive,
            given.id,
        )
    )
    print(number)
    return ""


# read


def _add_read(doings: Subparsers) -> None:
    doing = _doing(
        doings,
        "read",
        _read,
        "read what a reader's contract is about",
        "A pull contract ends with what is there, a push contract with Ctrl-C, unless told otherwise. What was shown "
        "of a paid contract does not come again; where another node stands in, it may, to a new command.",
    )
    doing.add_argument("--reader", type=_name, required=True, metavar="NAME", help="who reads")
    doing.add_argument("--count", type=_count, default=0, metavar="N", help="read so many items (default: any number)")
    doing.add_argument("--for", type=seconds, default=0.0, dest="for_s", metavar="SECONDS", help="read for so long")
    doing.add_argument("--save", metavar="DIR", help="keep bodies there, each in a file (default: show texts only)")
    doing.add_argument("--json", action="store_true", help="an item is a line of JSON (default: in words)")
    add_password(doing)
    _add_reach(doing, "--contracts")


def _read(given: argparse.Namespace) -> str:
    from chatproto.cli.news.reading import Reading, read

    wanted = given.count, given.for_s, given.save, given.json
    reading = Reading(_reach(given), given.reader, _password(given), *wanted)
    read(reading, lambda line: print(line, flush=True), lambda line: print(line, file=sys.stderr, flush=True))
    return ""


# contract


def _add_contract(doings: Subparsers) -> None:
    doing = _doing(
        doings,
        "contract",
        _contract,
        "make, change, show or end a reader's contract",
        "Without --topics it asks for the terms, and when they cannot be had, what to take instead.",
    )
    doing.add_argument("--reader", type=_name, required=True, metavar="NAME", help="who reads")
    doing.add_argument("--new", action="store_true", help="the reader may be a new one, with this password")
    doing.add_argument("--topics", type=_topics, metavar="A,B", help="what to hear of (default: ask)")
    way = doing.add_mutually_exclusive_group()
    way.add_argument("--push", action="store_true", help="be sent what comes (default)")
    way.add_argument("--pull", action="store_true", help="ask for it")
    way.add_argument("--mobile", action="store_true", help="read the mobile page: free")
    doing.add_argument("--paid", action="store_true", help="nothing is lost, and in time (default: free, no promise)")
    doing.add_argument("--exclusives", action="store_true", help="with exclusives; paid")
    doing.add_argument("--minimum", type=int, default=0, metavar="N", help="items an hour at least; paid (default: 0)")
    doing.add_argument(
        "--maximum",
        type=int,
        metavar="N",
        help="items an hour at most (default: 50 if paid, else any number)",
    )
    doing.add_argument(
        "--max-delay",
        type=seconds,
        metavar="SECONDS",
        help=f"from publishing to delivery; paid (default: {DELAY_S_MAX:g} if paid)",
    )
    doing.add_argument(
        "--offers",
        choices=(ASK, NEAREST, NOTHING),
        help="where the terms cannot be had: ask, take the nearest offer, or nothing (default: ask without --topics, "
        "else nothing)",
    )
    doing.add_argument("--show", action="store_true", help="show the contract that holds")
    doing.add_argument("--end", action="store_true", help="end the contract")
    doing.add_argument("--json", action="store_true", help="as JSON (default: in words)")
    add_password(doing)
    _add_reach(doing, "--contracts")


def _contract(given: argparse.Namespace) -> str:
    from chatproto.cli.news.contracting import Wish, contract, place_as_json, place_in_words

    if given.show and given.end:
        raise Misuse("either --show or --end")
    if given.topics is None and (given.json and not (given.show or given.end)):
        raise Misuse("--json needs --topics: nobody is asked where a program reads")
    offers = given.offers or (ASK if given.topics is None else NOTHING)
    wish = Wish(
        _reach(given),
        given.reader,
        _password(given, new=given.new),
        given.new,
        _terms(given) if given.topics is not None else None,
        offers,
        given.end,
        given.show,
    )
    # What is told on the way is not the answer.
    place = contract(wish, lambda line: print(line, file=sys.stderr if given.json else sys.stdout, flush=True))
    if place is None:
        print("null" if given.json else f"{given.reader} has no contract.")
    else:
        print(place_as_json(place) if given.json else "\n".join(place_in_words(place)))
    return ""


def _terms(given: argparse.Namespace) -> Terms:
    from chatproto.cli.news.contracting import PAID_ITEMS_AN_HOUR

    delay_s = given.max_delay if given.max_delay is not None else DELAY_S_MAX if given.paid else 0.0
    return Terms(
        given.topics,
        mode=PULL if given.pull or given.mobile else PUSH,
        paid=given.paid,
        exclusives=given.exclusives,
        mobile=given.mobile,
        minimum=given.minimum,
        maximum=given.maximum if given.maximum is not None else PAID_ITEMS_AN_HOUR if given.paid else ITEMS_AN_HOUR_MAX,
        delay_s_max=delay_s,
    )


# account


def _add_account(doings: Subparsers) -> None:
    doing = _doing(doings, "account", _account, "change a reader's password, or delete its account")
    doing.add_argument("--reader", type=_name, required=True, metavar="NAME", help="who reads")
    what = doing.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--change-password",
        action="store_true",
        help="have another password: with --password-stdin the second line",
    )
    what.add_argument("--delete", action="store_true", help="end the contract, and have no account any more")
    add_password(doing)
    _add_reach(doing, "--contracts")


def _account(given: argparse.Namespace) -> str:
    from chatproto.cli.news.contracting import Wish, contract

    password = _password(given)
    if given.change_password and not given.password_stdin:
        print("The new one:", file=sys.stderr)
    renewed = _password(given, new=True) if given.change_password else ""
    if given.change_password and not renewed:
        raise Misuse("no new password; nothing was done")
    contract(Wish(_reach(given), given.reader, password, renewed=renewed, closes=given.delete), print)
    print(f"{given.reader} has no account any more." if given.delete else f"{given.reader} has another password.")
    return ""


# What an operator has the contracting service do


def _add_lost(doings: Subparsers) -> None:
    doing = _doing(
        doings,
        "lost",
        _lost,
        "give up a delivery node whose disk is gone: its readers are given another one",
        "It must not come back with its old data directory. What it alone knew is lost: which items its readers had "
        "acknowledged, and whether their contracts were met.",
    )
    _add_directory(doing)
    doing.add_argument("node", type=_name, metavar="NODE", help="its name")


def _lost(given: argparse.Namespace) -> str:
    return _command(given.directory, f"lost {given.node}")


def _add_delete(doings: Subparsers) -> None:
    doing = _doing(doings, "delete", _delete, "delete a reader's account, and its contract")
    _add_directory(doing)
    doing.add_argument("reader", type=_name, metavar="READER", help="its name")


def _delete(given: argparse.Namespace) -> str:
    return _command(given.directory, f"delete {given.reader}")


def _add_directory(doing: argparse.ArgumentParser) -> None:
    doing.add_argument(
        "directory", metavar="DATA_DIR", help="data directory of a server of the contracting service, which runs"
    )


def _command(directory: str, line: str) -> str:
    from chatproto.cli.control import command

    print(command(directory, line))
    return ""


# status, source


def _add_status(doings: Subparsers) -> None:
    doing = _doing(doings, "status", _status, "say how each node is, and whether news gets through")
    doing.add_argument(
        "--check",
        action="store_true",
        help="exit status 1 unless news gets through now (default: only if nothing is registered)",
    )
    doing.add_argument("--json", action="store_true", help="as JSON, with all figures (default: as a table)")
    instead = doing.add_mutually_exclusive_group()
    for option, does in {
        "--contracts": "whether paid contracts were met, hour by hour",
        "--undelivered": "what expired before readers who pay for it had it, and why",
    }.items():
        what = f"instead: {does}; of a delivery node, or of all"
        instead.add_argument(option, nargs="?", const="", type=_node, metavar="NODE", help=what)
    doing.add_argument(
        "--hours",
        type=_hours,
        default=HOURS,
        metavar="N",
        help=f"of the clock, with --contracts, the present one included; up to {HOURS_KEPT} (default: %(default)s)",
    )
    proof = doing.add_mutually_exclusive_group()
    proof.add_argument(
        "--secret-file", metavar="FILE", help="the deployment's, which tells some things to its own only"
    )
    proof.add_argument("--tls", metavar="DIR", help="certificates of a node of the deployment, for the same")
    doing.add_argument("--name", type=_node, default="", metavar="NAME", help="the node that --tls is for")
    _add_reach(doing)
    doing.set_defaults(timeout=5.0)


def _status(given: argparse.Namespace) -> str:
    from chatproto.cli.news.inspecting import news_contracts, news_undelivered
    from chatproto.cli.news.status import news_status

    reach = replace(_reach(given), shared_file=given.secret_file, certificates=given.tls, name=given.name)
    if given.contracts is not None:
        print(news_contracts(reach, given.contracts, given.hours, json_wanted=given.json))
    elif given.undelivered is not None:
        print(news_undelivered(reach, given.undelivered, json_wanted=given.json))
    else:
        said, gets_through = news_status(reach, json_wanted=given.json)
        print(said)
        return "" if gets_through or not given.check else "news does not get through"
    return ""


def _add_source(doings: Subparsers) -> None:
    doing = _doing(
        doings,
        "source",
        _source,
        "write what lets a source in, for the file that the root's --sources names",
        "Only the salted hash of the password is in it.",
    )
    doing.add_argument("name", type=_name, metavar="NAME", help="of the source")
    doing.add_argument(
        "--priority",
        type=int,
        choices=PRIORITIES,
        default=5,
        metavar="0-9",
        help="of its items: the higher passes the lower (default: %(default)d)",
    )
    add_password(doing)


def _source(given: argparse.Namespace) -> str:
    from chatproto.cli.news.publishing import source_line

    print(source_line(given.name, _password(given, new=True), given.priority))
    return ""


def _add_children(doings: Subparsers) -> None:
    doing = _doing(
        doings,
        "children",
        _children,
        "say what a root or router holds for its children, or have it forget one for good",
        "A child that is forgotten and comes back gets what is held then, and what comes from then on.",
    )
    doing.add_argument("directory", metavar="DIR", help="the data directory on which the root or router runs")
    what = doing.add_mutually_exclusive_group()
    what.add_argument("--forget", type=_name, metavar="CHILD", help="hold nothing for it any more; it must be stopped")
    what.add_argument("--json", action="store_true", help="a JSON object for each, in lines (default: as a table)")


def _children(given: argparse.Namespace) -> str:
    from chatproto.cli.news.children import children, forget

    print(forget(given.directory, given.forget) if given.forget else children(given.directory, json_wanted=given.json))
    return ""


# Values


def _name(value: str) -> str:
    if not name_allowed(value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a name: letters, digits, dots, hyphens and underscores")
    return value


def _node(value: str) -> str:
    return value and _name(value)


def _topics(value: str) -> tuple[str, ...]:
    found = tuple(sorted({part.strip() for part in value.split(",")} - {""}))
    if not found:
        raise argparse.ArgumentTypeError(f"{value!r} has no topic")
    return found


def _count(value: str) -> int:
    if value.isascii() and value.isdecimal() and 0 < int(value[:10]) < 10**9:
        return int(value)
    raise argparse.ArgumentTypeError(f"{value!r} is not a number of items above 0")


def _hours(value: str) -> int:
    if value.isascii() and value.isdecimal() and 0 < int(value[:10]) <= HOURS_KEPT:
        return int(value)
    raise argparse.ArgumentTypeError(f"{value!r} is not a number of hours from 1 to {HOURS_KEPT}")


def _life(value: str) -> int:
    number, unit = value.rstrip("smhd"), value.lstrip("0123456789")
    known = number.isascii() and number.isdecimal() and len(number) <= 9 and unit in UNITS_S
    life_s = int(number) * UNITS_S[unit] if known else 0
    if not 0 < life_s <= LIFE_S_MAX:
        raise argparse.ArgumentTypeError(
            f"{value!r} is neither seconds nor like 30m, 12h, 7d, and {LIFE_S_MAX // 86400} days at most"
        )
    return life_s
