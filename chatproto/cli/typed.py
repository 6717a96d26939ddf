"""What may be typed to several commands: spans of time, and passwords."""

import argparse
import getpass

from chatproto.cli.servers import Misuse

UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""Seconds of a unit, by the letter after the number."""


def seconds(value: str) -> float:
    """Read a number of seconds, for `argparse`."""
    try:
        found = float(value)
    except ValueError:
        found = 0
    if not 0 < found <= 10**6:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of seconds from 0 to 1000000")
    return found


def add_password(parser: argparse.ArgumentParser) -> None:
    """Let a command be given a password by a program."""
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password from the first line of standard input (default: ask for it on the terminal)",
    )


def password_asked(prompt: str) -> str:
    """Ask for a password on the terminal, without echo.

    Raises:
        Misuse: there is no terminal.
    """
    try:
        with open("/dev/tty"):
            return getpass.getpass(prompt)
    except (OSError, EOFError):
        raise Misuse("there is no terminal to ask for the password on") from None
