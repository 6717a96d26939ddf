"""Options that may stand on the command line and in a TOML file, and those that every daemon has."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Self

import msgspec
from twisted.python.reflect import accumulateClassList
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from chatproto.readers import (
    default_data_directory,
    named,
    read_log_format,
    read_name,
    read_token,
)
from chatproto.trust.endpoints import listens_beyond

HERE = ":interface=127.0.0.1"


class ConfiguredOptions(UsageOptions):
    """The options of a daemon. Each may stand in the TOML file that `--config` names; the command line wins.

    A subclass adds a `role` without which there is no name, and what it wants repeated.

    Attributes:
        arguments: what was parsed.
        repeated: options that may be said several times, and what is said of them where nothing is.
    """

    synopsis = "[options]"
    repeated: ClassVar[dict[str, tuple[str, ...]]] = {"listen": ()}

    optParameters: ClassVar[list[list[Any]]] = [
        ["name", None, None, "this node's name, unique in a deployment [default: the role]", read_name],
        ["data", None, None, "data directory [default: chatproto/NAME under $XDG_STATE_HOME]"],
        ["registry-token", None, None, "what protects this node's name in the registry: whoever has it may register in "
         "its place [default: a secret that the data directory keeps]", read_token],
        ["tls", None, None, "directory with ca.pem, node.pem and node.key, as `chatproto certs` makes it: links among "
         "nodes and to the registry are encrypted, and each side proves its name; `ssl:PORT` listens with that "
         "certificate [default: none]"],
        ["registry-name", None, "registry", "the name that the registry's certificate has to be for", read_name],
        ["secret-file", None, None, "file with a secret, the same on each node: links among nodes and to the registry "
         "prove that they know it, and are not encrypted; instead of --tls [default: none]"],
        ["metrics", None, None, "server endpoint of /metrics (for Prometheus), /healthz and /readyz, like "
         "tcp:9464:interface=127.0.0.1 [default: none]"],
        ["log-format", None, "text", "text, or json: one object a line", read_log_format],
        ["config", None, None, "TOML file with any of these options"],
    ]  # fmt: skip
    optFlags: ClassVar[list[list[Any]]] = [
        ["insecure-links", None, "let anybody who reaches its port be a node, or change what is registered: for a "
         "network where nobody else is"],
    ]  # fmt: skip

    def __init_subclass__(cls) -> None:
        """Have each option say its name when it cannot be read."""
        super().__init_subclass__()
        _say_names(cls)

    @classmethod
    def rows(cls) -> tuple[list[list[Any]], list[list[Any]]]:
        """Return the rows of all options with a value, and of all flags."""
        parameters: list[list[Any]] = []
        flags: list[list[Any]] = []
        accumulateClassList(cls, "optParameters", parameters)
        accumulateClassList(cls, "optFlags", flags)
        return parameters, flags

    def __init__(self) -> None:
        """Start with the defaults."""
        self.arguments: list[str] = []
        self._said: dict[str, list[str]] = {name: [] for name in self.repeated}
        self._configured: dict[str, list[str]] = {name: list(default) for name, default in self.repeated.items()}
        super().__init__()

    @property
    def listen(self) -> tuple[str, ...]:
        """The server endpoints that may be repeated."""
        return tuple(self._said["listen"] or self._configured["listen"])

    @property
    def kind(self) -> str:
        """What a data directory is for, where this node has it: see `chatproto.disk.directory.lock`."""
        raise NotImplementedError

    def parseOptions(self, options: Any = None) -> None:
        """Parse; the file first, so that the command line wins."""
        self.arguments = arguments = sys.argv[1:] if options is None else list(options)
        look = type(self)()
        # The file is not read yet: nothing can be completed, or checked.
        look.postOptions = lambda: None  # type: ignore[method-assign]
        UsageOptions.parseOptions(look, arguments)
        path = look["config"]
        if path is not None:
            for key, value in read_config(path, type(self)).items():
                if key in self.repeated:
                    self._configured[key] = [value] if isinstance(value, str) else value
                elif isinstance(value, bool):
                    self[key] = int(value)
                else:
                    self[key] = self._coerced(path, key, value)
        super().parseOptions(arguments)

    def _coerced(self, path: str, key: str, value: Any) -> Any:
        (row,) = (row for row in self.rows()[0] if row[0] == key)
        try:
            return row[4](str(value)) if len(row) > 4 else str(value)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None

    def postOptions(self) -> None:
        """Fill in what depends on other options."""
        if self["name"] is None:
            self["name"] = self["role"]
        if self["data"] is None:
            self["data"] = default_data_directory(self["name"])
        if self["log-format"] == "json" and self.parent is not None and self.parent["syslog"]:
            raise UsageError("--log-format=json is for a file or the standard output, not for --syslog")
        if self["tls"] and self["secret-file"]:
            raise UsageError("--tls and --secret-file are two ways to one end: give one of them")

    def endpoints(self) -> list[tuple[str, str, bool]]:
        """Return each endpoint: the option that names it, its description, and whether it is a server's."""
        raise NotImplementedError

    def keep(self, other: Self, names: Iterable[str]) -> None:
        """Say of some options, by name, what others say.

        Raises:
            UsageError: what this says of the rest does not go with that.
        """
        for name in names:
            if name in self.repeated:
                self._said[name], self._configured[name] = other._said[name], other._configured[name]
            else:
                self[name] = other[name]
        self.postOptions()

    @property
    def _guarded(self) -> bool:
        """Whether it is said how nodes know each other, if only that they do not."""
        return bool(self["tls"] or self["secret-file"] or self["insecure-links"])

    def _check_guarded(self, option: str, listen: str) -> None:
        """Check that only whoever proves who it is comes in from another machine, unless that is wanted."""
        if not self._guarded and listens_beyond(listen):
            raise UsageError(
                f"--{option}={listen} may be reached from other machines, and anybody could be a node: give --tls=DIR "
                "(`chatproto certs` makes one), --secret-file=FILE, or --insecure-links to have it so; or listen for "
                f"this machine alone, with {HERE[1:]}"
            )


def _say_names(options: type[UsageOptions]) -> None:
    for row in vars(options).get("optParameters", ()):
        if len(row) > 4:
            row[4] = named(row[0], row[4])


_say_names(ConfiguredOptions)


def read_config(path: str, options: type[ConfiguredOptions]) -> dict[str, Any]:
    """Read a TOML file of options.

    Raises:
        UsageError: it cannot be read, is not TOML, or has an unknown key, which is named.
    """
    several = str | Annotated[list[str], msgspec.Meta(min_length=1)] | None
    fields: list[Any] = [(name, several, None) for name in options.repeated]
    parameters, flags = options.rows()
    for row in parameters:
        if row[0] != "config":
            fields.append((row[0].replace("-", "_"), str | int | float | None, None))
    fields += [(row[0].replace("-", "_"), bool | None, None) for row in flags]
    shape = msgspec.defstruct("Config", fields, rename="kebab", forbid_unknown_fields=True)
    try:
        with open(path, "rb") as file:
            config = msgspec.toml.decode(file.read(), type=shape)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    return {key: value for key, value in msgspec.to_builtins(config).items() if value is not None}
