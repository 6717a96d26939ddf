"""Who may be who: the `twisted.cred` portal of a node's chat.

Our own accounts, in the replayed state, are always known; further checkers, like those of `--auth`, are asked for
names that have no password there. Whoever embeds a node may log in to the same portal by a door of their own.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from zope.interface import Attribute, Interface, implementer

from chatproto.chat.authority import account_allowed
from chatproto.chat.hall import Hall
from chatproto.chat.passwords import NOBODY, matches, token_hash

T = TypeVar("T")
Aside = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Runs what takes its time where it holds nobody up; see `World.aside`."""


class IAvatar(Interface):
    """Somebody who has proved who they are."""

    account: str = Attribute("The identity that is theirs.")
    roles: tuple[str, ...] = Attribute("What they may do besides, like `admin`.")


class ITicket(ICredentials):
    """What an earlier `welcome` gave out, instead of a password."""

    username: bytes = Attribute("The account.")
    ticket: str = Attribute("What lets it in.")


@implementer(IAvatar)
class Avatar:
    """See `IAvatar`."""

    def __init__(self, account: str, roles: Sequence[str]) -> None:
        """Be somebody."""
        self.account = account
        self.roles = tuple(roles)


@implementer(ITicket)
class Ticket:
    """See `ITicket`."""

    def __init__(self, username: bytes, ticket: str) -> None:
        """Show a ticket."""
        self.username = username
        self.ticket = ticket


@implementer(IRealm)
class AccountRealm:
    """The accounts of a hall."""

    def __init__(self, hall: Hall) -> None:
        """Let the accounts of a hall be."""
        self._hall = hall

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> Any:
        """Return the avatar of an account."""
        if IAvatar not in interfaces:
            raise NotImplementedError("there are no other avatars here")
        name = _text(avatarId)
        account = self._hall.accounts.get(name)
        return IAvatar, Avatar(name, account.roles if account is not None else ()), lambda: None


@implementer(ICredentialsChecker)
class PasswordChecker:
    """Knows the passwords of a hall's accounts, and asks further checkers for other names."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, hall: Hall, aside: Aside, further: Sequence[ICredentialsChecker] = ()) -> None:
        """Check passwords.

        Args:
            hall: whose accounts are known.
            aside: runs what takes its time.
            further: asked in turn.
        """
        self._hall = hall
        self._aside = aside
        self._further = further

    def requestAvatarId(self, credentials: Any) -> "Deferred[Any]":
        """Return the account that a name and a password are of; a name that nobody has takes as long as any other."""
        return ensureDeferred(self._check(credentials))

    async def _check(self, credentials: Any) -> str:
        name, password = _text(credentials.username), _text(credentials.password)
        account = self._hall.accounts.get(name)
        secret = account.secret if account is not None else ""
        if await self._aside(lambda: matches(password, secret or NOBODY)):
            return name
        if not secret and account_allowed(name):
            for checker in self._further:
                try:
                    await maybeDeferred(
                        checker.requestAvatarId, UsernamePassword(credentials.username, credentials.password)
                    )
                except UnauthorizedLogin:
                    continue
                return name
        raise UnauthorizedLogin


@implementer(ICredentialsChecker)
class TicketChecker:
    """Knows the tickets of a hall's accounts."""

    credentialInterfaces = (ITicket,)

    def __init__(self, hall: Hall, time: Callable[[], float]) -> None:
        """Check tickets; `time` is that of the day, in Unix seconds."""
        self._hall = hall
        self._time = time

    def requestAvatarId(self, credentials: Any) -> Any:
        """Return the account that a ticket is of."""
        name = _text(credentials.username)
        account = self._hall.accounts.get(name)
        if account is None or not account.admits(token_hash(credentials.ticket), self._time()):
            raise UnauthorizedLogin
        return name


def portal_of(
    hall: Hall, aside: Aside, time: Callable[[], float], further: Sequence[ICredentialsChecker] = ()
) -> Portal:
    """Return the portal to a hall; see the checkers for the arguments."""
    return Portal(AccountRealm(hall), [PasswordChecker(hall, aside, further), TicketChecker(hall, time)])


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
