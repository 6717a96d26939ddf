"""Accounts, bans, silence and announcements: what those do who keep order. Pure."""

from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

from chatproto.chat.acts import Allow, Announce, Decree, Enroll, Forbid, Revoke, Silence, Strike
from chatproto.chat.bans import BANS_MAX, Ban, Bans, is_address
from chatproto.chat.effects import Announced, Dismissed, Effect, Refuse, Traced, Verdict, Warned
from chatproto.chat.messages import Error
from chatproto.chat.people import Account, Member, Person
from chatproto.wire import identity_allowed

ACCOUNTS_MAX = 100_000
"""Accounts of one deployment."""

Ruling = Generator[Effect, None, Error | None]
"""What follows from a decree, and at the end why it is refused, if it is."""

NOT_ALLOWED = Error("not-allowed", "that is for those with the role admin")


class Realm(Protocol):
    """What an authority needs of the hall."""

    members: dict[str, Member]
    identities: dict[str, Person]
    accounts: dict[str, Account]
    bans: Bans

    def end(self, member: Member) -> Iterator[Effect]:
        """End a session."""

    def enroll(self, name: str, account: Account) -> Iterator[Effect]:
        """Give an identity an account; a guest of that name gets another one."""

    def strike(self, name: str) -> Iterator[Effect]:
        """Take an account away from somebody who is not there."""


class Authority:
    """Applies decrees to a hall."""

    def __init__(self, realm: Realm) -> None:
        """Keep order in a hall."""
        self._realm = realm
        self._steps: dict[type[Decree], Callable[[Any, str], Ruling]] = {
            Enroll: self._enroll,
            Strike: self._strike,
            Revoke: self._revoke,
            Forbid: self._forbid,
            Allow: self._allow,
            Silence: self._silence,
            Announce: self._announce,
        }

    def apply(self, decree: Decree) -> Iterator[Effect]:
        """Take a decree; whoever asked for it hears if it is refused, an operator also if it is not."""
        if not decree.session:
            yield Verdict((yield from self._steps[type(decree)](decree, "")))
            return
        asker = self._realm.members.get(decree.session)
        if asker is None:
            return
        refusal: Error | None = NOT_ALLOWED
        if asker.person.is_admin:
            refusal = yield from self._steps[type(decree)](decree, asker.identity)
        if refusal is not None:
            yield Refuse(asker, refusal)

    # Accounts

    def _enroll(self, act: Enroll, by: str) -> Ruling:
        account = self._realm.accounts.get(act.name)
        if account is not None:
            if act.new:
                return Error("account-taken", f"there is an account {act.name} already")
            if act.secret is not None:
                account.secret, account.tickets = act.secret, {}
            if act.roles is not None:
                account.roles = act.roles
            return None
        if act.new is False:
            return _no_account(act.name)
        if not account_allowed(act.name):
            text = f"{act.name[:64]!r} cannot be an account: 3 to 16 letters and digits, and not a guest's name"
            return Error("identity-invalid", text)
        if len(self._realm.accounts) >= ACCOUNTS_MAX:
            return Error("too-many-accounts", f"there are {ACCOUNTS_MAX} accounts already")
        yield from self._realm.enroll(act.name, Account(act.secret or "", act.roles or []))
        return None

    def _strike(self, act: Strike, by: str) -> Ruling:
        if act.name not in self._realm.accounts:
            return _no_account(act.name)
        yield from self._dismiss(act.name, Error("account-gone", f"the account {act.name} is no more"))
        yield from self._realm.strike(act.name)
        return None

    def _revoke(self, act: Revoke, by: str) -> Ruling:
        if act.name not in self._realm.accounts:
            return _no_account(act.name)
        self._realm.accounts[act.name].tickets = {}
        yield from self._dismiss(act.name, Error("logged-out", "this account was logged out everywhere"))
        return None

    def _dismiss(self, identity: str, error: Error) -> Iterator[Effect]:
        for member in list(self._realm.identities[identity].devices.values()):
            yield Dismissed(member, error)
            yield from self._realm.end(member)

    # Order

    def _forbid(self, act: Forbid, by: str) -> Ruling:
        ban = Ban(act.subject, act.until, act.reason, by or act.by)
        if by and act.subject == by:
            return Error("not-oneself", "you cannot ban yourself")
        person = self._realm.identities.get(act.subject)
        if person is None and not is_address(act.subject):
            return Error("no-such-identity", f"nobody is called {act.subject[:64]}")
        if person is not None and person.account is None:
            for member in person.devices.values():
                yield Traced(member, ban)
        elif not self._realm.bans.add(ban, act.time):
            return Error("too-many-bans", f"there are {BANS_MAX} bans already")
        if person is not None:
            yield from self._dismiss(act.subject, banned(ban))
        return None

    def _allow(self, act: Allow, by: str) -> Ruling:
        if not self._realm.bans.lift(act.subject):
            return Error("not-banned", f"{act.subject[:64]} is not banned")
        yield from ()
        return None

    def _silence(self, act: Silence, by: str) -> Ruling:
        person = self._realm.identities.get(act.identity)
        if person is None:
            return Error("no-such-identity", f"nobody is called {act.identity[:64]}")
        person.silenced = act.until
        if act.until:
            for member in person.devices.values():
                yield Warned(member, SILENCED)
        return None

    def _announce(self, act: Announce, by: str) -> Ruling:
        yield Announced(act.content)
        return None


SILENCED = Error("silenced", "nothing that you say is published for a while")


def banned(ban: Ban) -> Error:
    """Return what somebody is told who is kept out."""
    return Error("banned", f"you are banned: {ban.reason}" if ban.reason else "you are banned")


def account_allowed(name: str) -> bool:
    """Whether an account may be called so: like an identity, but not `guest` and a number."""
    return identity_allowed(name) and not (name.startswith("guest") and name[5:].isdecimal())


def _no_account(name: str) -> Error:
    return Error("no-such-account", f"there is no account {name[:64]}")
