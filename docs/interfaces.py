"""Shows zope interfaces as classes whose methods are documented: autodoc takes them for plain objects."""

import ast
import inspect
import re
import sys
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from zope.interface.interface import InterfaceClass


def as_class(module: ModuleType, name: str) -> type:
    """Return a class with the docstrings and signatures that the source of an interface has."""
    tree = ast.parse(inspect.getsource(module))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    found.bases = []
    attributes = []
    for node in list(found.body):
        if isinstance(node, ast.FunctionDef):
            node.args.args.insert(0, ast.arg("self"))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            attributes.append(f"    {node.targets[0].id}: {ast.literal_eval(node.value.args[0])}")  # type: ignore[attr-defined]
            found.body.remove(node)
    names = dict(vars(module))
    exec(compile(ast.fix_missing_locations(ast.Module([found], [])), str(module.__file__), "exec"), names)
    made: type = names[name]
    if attributes:
        made.__doc__ = "\n".join([inspect.cleandoc(made.__doc__ or ""), "", "Attributes:", *attributes])
    return made


def show_interfaces(app: Sphinx) -> None:
    """Put the classes where the interfaces are, in this process alone."""
    for module in [module for name, module in sys.modules.items() if name.startswith("chatproto.")]:
        for name, value in list(vars(module).items()):
            if isinstance(value, InterfaceClass) and value.__module__.startswith("chatproto."):
                home = sys.modules[value.__module__]
                made = vars(home)[name] if isinstance(vars(home)[name], type) else as_class(home, name)
                setattr(home, name, made)
                setattr(module, name, made)


def name_interfaces(app: Sphinx, what: str, name: str, obj: Any, options: Any, args: str, returns: str) -> Any:
    """Name interfaces in signatures as classes are."""
    return tuple(part and re.sub(r"<InterfaceClass ([\w.]+)>", r"~\1", part) for part in (args, returns))


def setup(app: Sphinx) -> dict[str, Any]:
    """Add it to a project that has imported what it documents."""
    app.connect("builder-inited", show_interfaces)
    app.connect("autodoc-process-signature", name_interfaces)
    return {"parallel_read_safe": True}
