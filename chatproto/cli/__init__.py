"""The `chatproto` command: a chat in the terminal or in lines, and the export of archives."""

from chatproto.cli.main import main

__all__ = ["main"]
