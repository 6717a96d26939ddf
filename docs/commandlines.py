"""Shows what may be typed: the options of the daemon and the help of each command, from what reads them."""

import argparse
import inspect
import os
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from chatproto.cli.main import command_line
from chatproto.options import Options

WIDE = {"COLUMNS": "100"}
"""For `argparse`, which asks the terminal."""


class DaemonOptions(SphinxDirective):
    """The options of `twistd chatserver`, with their defaults."""

    def run(self) -> list[nodes.Node]:
        parameters, flags = Options.rows()
        rows = [(row[0], row[2], row[3]) for row in parameters]
        rows += [(row[0], None, row[2]) for row in flags]
        # What is read in a way of its own, such as what may be repeated.
        own = {name.removeprefix("opt_"): read for name, read in vars(Options).items() if name.startswith("opt_")}
        rows += [(name.replace("_", "-"), None, inspect.getdoc(read)) for name, read in own.items()]
        found = nodes.definition_list()
        for name, default, meaning in sorted(rows):
            said = meaning if default is None else f"{meaning} [default: {default}]"
            term = nodes.term("", "", nodes.literal("", f"--{name}"))
            found += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", said)))
        return [found]


class CommandHelp(SphinxDirective):
    """What `--help` of each command of `chatproto` says."""

    def run(self) -> list[nodes.Node]:
        os.environ.update(WIDE)
        (commands,) = (
            action.choices for action in command_line()._actions if isinstance(action, argparse._SubParsersAction)
        )
        found: list[nodes.Node] = []
        for name, parser in commands.items():
            text = parser.format_help()
            section = nodes.section(ids=[f"chatproto-{name}"])
            section += nodes.title("", "", nodes.literal("", f"chatproto {name}"))
            section += nodes.literal_block(text, text, language="text")
            found.append(section)
        return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives."""
    app.add_directive("daemon-options", DaemonOptions)
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
