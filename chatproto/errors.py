"""Every exception family of chatproto, so that a caller can catch by family.

* `ChatprotoError`: all of them.
* `WireError`: bytes that are not what the protocol says.
* `StoreError`: the durable log cannot be opened.
* `ClientError`: what an embedding program hears from `ChatClient`.
* `RegistryError`: what a program hears from `RegistryClient`.
"""


class ChatprotoError(Exception):
    """The root of every exception raised by chatproto on purpose."""


class WireError(ChatprotoError):
    """Bytes from the network that the protocol does not allow."""


class StoreError(ChatprotoError):
    """The data directory cannot be used; the message says why and what to look at."""


class StoreBusy(StoreError):
    """Another process uses the data directory."""


class StoreVersion(StoreError):
    """The data directory was written by another version of the schema."""


class StoreCorrupt(StoreError):
    """The data directory does not pass its integrity check."""


class ClientError(ChatprotoError):
    """What the server, or the lack of one, made of a request of `ChatClient`."""


class Refused(ClientError):
    """The server refused a request.

    Attributes:
        code: the stable code of the `error` line, as listed in the protocol reference.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class ClientStopped(ClientError):
    """The client was stopped before the server acknowledged."""


class RegistryError(ChatprotoError):
    """What the registry, or the lack of one, made of a request of `RegistryClient`."""


class RegistryRefused(RegistryError):
    """The registry refused a request, or a call that it passed on has failed.

    Attributes:
        code: one of `chatproto.registry.REASONS`.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class RegistryUnanswered(RegistryError):
    """The registry did not answer in time, or the link broke first; whether it did what was asked is not known."""


class RegistryStopped(RegistryError):
    """The client of the registry was stopped, or not started, before the registry answered."""


class CallRejected(RegistryError):
    """Raised by whoever serves calls: it does not take this one; the caller hears `rejected`."""
