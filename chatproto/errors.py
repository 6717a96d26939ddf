"""Every exception family of chatproto, so that a caller can catch by family.

* `ChatprotoError`: all of them.
* `WireError`: bytes that are not what the protocol says.
* `TrustError`: certificates, or a secret, that cannot be used.
* `StoreError`: the durable log cannot be opened.
* `MissingExtra`: an option needs a library that is not installed.
* `ClientError`: what an embedding program hears from `ChatClient`.
* `DeliveryError`: what became of a message, or of a request, that was not acknowledged.
* `RegistryError`: what a program hears from `RegistryClient`.
* `ContractError`: what a program hears from `ContractClient`.
"""


class ChatprotoError(Exception):
    """The root of every exception raised by chatproto on purpose."""


class WireError(ChatprotoError):
    """Bytes from the network that the protocol does not allow."""


class Unproven(WireError):
    """The other side of a link has not proven to be who it says.

    Attributes:
        reason: a code of `chatproto.trust.proof.REASONS`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TrustError(ChatprotoError):
    """Certificates, or a secret, cannot be used or made; the message says which file, and why."""


class StoreError(ChatprotoError):
    """The data directory cannot be used; the message says why and what to look at."""


class StoreBusy(StoreError):
    """Another process uses the data directory."""


class StoreVersion(StoreError):
    """The data directory was written by another version of the schema."""


class StoreCorrupt(StoreError):
    """The data directory does not pass its integrity check."""


class MissingExtra(ChatprotoError):
    """What was asked for needs a library that is not installed; the text names the extra that brings it."""


class MigrationFailed(ChatprotoError):
    """The server's place was not taken by another; the text says why, and who leads."""


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


class DeliveryError(ChatprotoError):
    """A message was not acknowledged, or a request not answered as it was wished."""


class BacklogFull(DeliveryError):
    """Too much waits to be sent or acknowledged already; nothing was queued."""


class Rejected(DeliveryError):
    """The other side has it, and says no: a negative acknowledgement.

    Attributes:
        reason: a stable code; each protocol lists its own.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unacknowledged(DeliveryError):
    """The other side has said neither yes nor no.

    Attributes:
        sent: whether it was sent, so that it may have arrived, and what it asked for may have happened.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(f"{message}: it may or may not have arrived" if sent else f"{message}: it was not sent")
        self.sent = sent


class TimedOut(Unacknowledged):
    """Its time was over."""


class Unreachable(Unacknowledged):
    """There is no connection to the other side, or it ended."""


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


class ContractError(ChatprotoError):
    """What the contracting service, or the lack of one, made of a request of `ContractClient`."""


class ContractRefused(ContractError):
    """The contracting service says no.

    Attributes:
        code: one of `CODES` of `chatproto.news.contracting.messages`, or of `REASONS` of `chatproto.news.terms`.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class ContractStopped(ContractError):
    """The client was stopped before there was an answer; whether what was asked for is so is not known."""
