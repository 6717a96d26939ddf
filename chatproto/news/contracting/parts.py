"""Connections of other parts of the system to a contracting server: of its stand-in, and of the proxy."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatproto.errors import Rejected, WireError
from chatproto.news.contracting.messages import Alive, Ask, Check, Checked, Mobile, Readers
from chatproto.news.contracting.server import ContractingServer
from chatproto.news.link import NewsLink
from chatproto.news.terms import Place

READERS_AT_ONCE_MAX = 100
"""In one answer, which fits into a frame with all their topics."""

log = Logger()


class Parts:
    """Hears the links of other parts (`NewsHeard`)."""

    def __init__(self, server: ContractingServer) -> None:
        """Answer for a server."""
        self._server = server

    def link_admitted(self, link: NewsLink) -> None:
        """See `NewsHeard.link_admitted`."""

    def link_received(self, link: NewsLink, message: Any) -> None:
        """See `NewsHeard.link_received`."""
        match message:
            case Ask():
                link.introduced()
                link.say(Alive(self._server.name, self._server.serving))
            case Readers():
                link.say(self._mobile(message))
            case Check():
                self._check(link, message)
            case _:
                raise WireError("a question is expected")

    def link_lost(self, link: NewsLink, reason: str) -> None:
        """See `NewsHeard.link_lost`."""

    def _mobile(self, asked: Readers) -> Mobile:
        book = self._server.book
        names = book.mobile(asked.node, asked.after, READERS_AT_ONCE_MAX + 1)
        found = []
        for name in names[:READERS_AT_ONCE_MAX]:
            account = book.accounts[name]
            assert account.contract is not None
            found.append((name, account.ticket, account.contract.terms.topics))
        return Mobile(tuple(found), len(names) > READERS_AT_ONCE_MAX)

    def _check(self, link: NewsLink, asked: Check) -> None:
        checking: Deferred[Any] = self._server.entrance.check(asked.reader, asked.password, asked.host)
        checking.addCallbacks(lambda ticket: self._right(asked, ticket), lambda failure: self._wrong(asked, failure))
        checking.addCallback(lambda answer: link.say(answer) if link.open else None)
        checking.addErrback(lambda failure: log.failure("checking a password failed", failure))

    def _right(self, asked: Check, ticket: str) -> Checked:
        contract = self._server.book.accounts[asked.reader].contract
        if contract is None:
            return Checked(asked.number, "no-contract")
        known = contract.terms, contract.node, contract.substitute, ticket, contract.version
        return Checked(asked.number, "", Place(asked.reader, *known))

    def _wrong(self, asked: Check, failure: Failure) -> Checked:
        failure.trap(Rejected)
        assert isinstance(failure.value, Rejected)
        self._server.refused(failure.value.reason)
        return Checked(asked.number, failure.value.reason)
