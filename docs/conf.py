"""How `make docs` builds these pages: nothing is fetched, and every warning is an error."""

import sys
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))  # for the two of ours

PUBLIC = ("chatproto", "chatproto.messaging", "chatproto.monitor", "chatproto.testing")
"""What imports all that is documented."""

project = "chatproto"
author = "the chatproto founders"
for package in PUBLIC:
    import_module(package)
release = import_module("chatproto").__version__
html_title = f"chatproto {release}"
html_theme = "alabaster"
html_theme_options = {"description": "Chat that survives the loss of a server", "page_width": "1100px"}
html_show_copyright = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "commandlines", "interfaces"]
exclude_patterns = ["_build"]

# Plain Markdown, as a forge shows it: links to headings, and to files of the project.
myst_heading_anchors = 3

# Docstrings set `names` in single backquotes: a link where the name is known, a name otherwise.
default_role = "py:obj"
napoleon_use_ivar = True
napoleon_attr_annotations = False
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autoclass_content = "both"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
add_module_names = False

nitpicky = True
# Signatures name what is not public, and what is not of this project: there is no inventory to fetch.
nitpick_ignore_regex = [("py:(obj|class)", ".*"), ("py:.*", r"(?!chatproto\.).*")]


def keep_enumerated(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Show the values of an enumeration, whose names say what they are."""
    return False if isinstance(obj, Enum) else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Show conversations, which the tests replay, as they are."""
    app.add_lexer("conversation", TextLexer)
    app.connect("autodoc-skip-member", keep_enumerated)
    return {"parallel_read_safe": True}
