"""What the mobile page answers to each request: who may see what, and what is done. Knows no HTTP beyond its words."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chatproto.chat.attempts import Attempts
from chatproto.chat.passwords import PASSWORD_BYTES_MAX
from chatproto.news.items import name_allowed
from chatproto.news.proxy.interface import CODES, Accounts
from chatproto.news.proxy.pages import PICTURE_BYTES_MAX, is_picture, is_text, item_page, list_page, login_page, page
from chatproto.news.proxy.sessions import Session, Sessions
from chatproto.news.proxy.shelf import Changes, Kept, Shelf, body_key
from chatproto.tally import Tally
from chatproto.wire.addresses import origin_of

DOOR = "news-web"
COOKIE = "news"
WRONG = "login-failed"
PLACE_MAX = 2**63 - 1
HTML = "text/html; charset=utf-8"

log = Logger()


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        method: `GET` or `POST`; a `HEAD` is asked as `GET`.
        path: without the query.
        fields: of the query, or of the form.
        token: of the session, as the cookie says; empty without.
        host: address that it came from.
        secure: whether it came by TLS.
        from_here: whether no other site's page has sent it, as far as the browser says.
    """

    method: str
    path: str
    fields: dict[str, str] = field(default_factory=dict)
    token: str = ""
    host: str = ""
    secure: bool = False
    from_here: bool = True


@dataclass(frozen=True)
class Reply:
    """What is answered: a status of HTTP, a media type, a body, and other headers."""

    status: int
    type: str = HTML
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def from_here(origin: str | None, fetch_site: str | None, host: str) -> bool:
    """Whether a request that changes something may come from this page: neither header says otherwise.

    Args:
        origin: the header `Origin`; light browsers may send none.
        fetch_site: the header `Sec-Fetch-Site`.
        host: the header `Host`.
    """
    if fetch_site not in (None, "same-origin", "none"):
        return False
    try:
        return origin is None or (bool(host) and urlsplit(origin).netloc == host)
    except ValueError:
        return False


class MobilePage:
    """Answers requests."""

    def __init__(
        self,
        shelf: Shelf,
        accounts: Accounts,
        keep: Callable[[Changes, Callable[[], None]], None],
        read: Callable[[bytes], "Deferred[bytes | None]"],
        trouble: Callable[[], str],
        clock_s: Callable[[], float],
        now: Callable[[], float],
        tally: Tally,
        newcomer: Callable[[], None] = lambda: None,
    ) -> None:
        """Answer from a shelf.

        Args:
            shelf: what there is.
            accounts: checks passwords.
            keep: makes what the shelf has changed durable, then calls back.
            read: reads a body.
            trouble: says, in words, what readers should know of the proxy's state; empty for nothing.
            clock_s: seconds of a clock that only goes forward.
            now: Unix seconds.
            tally: counts what is refused.
            newcomer: called when somebody has logged in for whom nothing is kept yet.
        """
        self.sessions = Sessions()
        self._shelf = shelf
        self._accounts = accounts
        self._keep = keep
        self._read = read
        self._trouble = trouble
        self._clock_s = clock_s
        self._now = now
        self._tally = tally
        self._newcomer = newcomer
        self._attempts = Attempts()

    def answer(self, asked: Asked) -> "Reply | Deferred[Reply]":
        """Answer a request."""
        if asked.method == "POST" and not asked.from_here:
            return self._refused(403, "other-site", "This was sent by the page of another site. Nothing was done.")
        session = self.sessions.find(asked.token, self._clock_s()) if asked.token else None
        if asked.method == "POST":
            return self._post(asked, session)
        if session is None:
            return Reply(200 if asked.path == "/" else 401, body=login_page())
        return self._get(asked, session)

    # What is looked at

    def _get(self, asked: Asked, session: Session) -> "Reply | Deferred[Reply]":
        if asked.path == "/":
            return self._list(asked, session)
        root, _, place = asked.path[1:].partition("/")
        kept = self._shelf.find(session.reader, _number(place), self._now())
        if kept is None or root not in ("item", "body"):
            return self._refused(404, "", "There is no such item, or no more.")
        if root == "item" and not is_text(kept.item.media_type):
            return Reply(200, body=item_page(session.reader, session.form_token, kept, None))
        reading = self._read(body_key(kept.place))
        return reading.addCallback(partial(self._item if root == "item" else self._body, session, kept))

    def _list(self, asked: Asked, session: Session) -> Reply:
        before = _number(asked.fields["before"]) if "before" in asked.fields else None
        told = self._trouble()
        if not self._shelf.serves(session.reader):
            told = "Your contract has just been made, or has ended: nothing is kept for you yet."
        missed, unread = self._shelf.missed(session.reader), self._shelf.unread(session.reader, self._now())
        shown = list_page(session.reader, session.form_token, unread, before, self._shelf.last, missed, told)
        return Reply(200, body=shown)

    def _item(self, session: Session, kept: Kept, body: bytes | None) -> Reply:
        if body is None:
            return self._refused(404, "", "There is no such item any more.")
        text = body.decode("utf-8", "replace")
        return Reply(200, body=item_page(session.reader, session.form_token, kept, text))

    def _body(self, session: Session, kept: Kept, body: bytes | None) -> Reply:
        if body is None:
            return self._refused(404, "", "There is no such item any more.")
        kind = kept.item.media_type
        if is_picture(kind) and kept.item.size <= PICTURE_BYTES_MAX:
            return Reply(200, kind, body, {"Cache-Control": "private, max-age=3600"})
        # Nothing of another kind is opened as a page of this site.
        name = f'attachment; filename="item-{kept.item.number}"'
        return Reply(200, kind if is_picture(kind) else "application/octet-stream", body, {"Content-Disposition": name})

    # What is done

    def _post(self, asked: Asked, session: Session | None) -> "Reply | Deferred[Reply]":
        if asked.path == "/login":
            return self._login(asked)
        if session is None:
            return Reply(401, body=login_page("You were logged out in the meantime. Nothing was done."))
        if not session.allows(asked.fields.get("token", "")):
            return self._refused(403, "no-token", "This form is out of date. Nothing was done; go back and try again.")
        if asked.path == "/logout":
            self.sessions.end(asked.token)
            return _back({"Set-Cookie": _cookie("", 0, asked.secure)})
        if asked.path == "/read":
            return self._kept(self._shelf.mark(session.reader, _number(asked.fields.get("place", ""))))
        if asked.path == "/read-all":
            return self._kept(self._shelf.mark_all(session.reader, _number(asked.fields.get("up_to", ""))))
        return self._refused(404, "", "There is nothing here.")

    def _kept(self, changes: Changes) -> "Reply | Deferred[Reply]":
        if not changes:
            return _back()
        done: Deferred[Reply] = Deferred()
        self._keep(changes, lambda: done.callback(_back()))
        return done

    def _login(self, asked: Asked) -> "Reply | Deferred[Reply]":
        reader, password = asked.fields.get("name", "").strip(), asked.fields.get("password", "")
        origin = origin_of(asked.host)
        wait_s = self._attempts.wait_s(origin, reader, self._clock_s())
        if wait_s:
            self._tally.drop(DOOR, "slowed")
            told = f"That was tried too often: try again in {wait_s:.0f} seconds." if wait_s >= 1 else "Try again."
            return Reply(429, body=login_page(told, reader), headers={"Retry-After": str(int(wait_s) + 1)})
        if not name_allowed(reader) or not 0 < len(password.encode("utf-8", "replace")) <= PASSWORD_BYTES_MAX:
            return self._not_let_in(reader, origin, WRONG)
        checking = self._accounts.check(reader, password, asked.host)
        return checking.addCallbacks(
            partial(self._checked, asked, reader, origin),
            lambda failure: self._unchecked(reader, failure.getErrorMessage()),
        )

    def _checked(self, asked: Asked, reader: str, origin: str, code: str) -> Reply:
        if code:
            return self._not_let_in(reader, origin, code)
        self._attempts.passed(origin, reader)
        if not self._shelf.serves(reader):
            self._newcomer()
        # A session that was there before in this browser is another's, or this one's, and over.
        self.sessions.end(asked.token)
        token = secrets.token_urlsafe(32)
        self.sessions.begin(reader, token, secrets.token_urlsafe(16), self._clock_s())
        return _back({"Set-Cookie": _cookie(token, None, asked.secure)})

    def _not_let_in(self, reader: str, origin: str, code: str) -> Reply:
        if code not in CODES:
            return self._unchecked(reader, code)
        if code == WRONG:
            self._attempts.failed(origin, reader, self._clock_s())
        self._tally.drop(DOOR, code)
        return Reply(429 if code == "slowed" else 401, body=login_page(CODES[code], reader))

    def _unchecked(self, reader: str, why: str) -> Reply:
        log.info("a login could not be checked: {why}", why=why)
        self._tally.drop(DOOR, "login-unchecked")
        told = "Your password cannot be checked at the moment. Try again in a few seconds."
        return Reply(503, body=login_page(told, reader), headers={"Retry-After": "5"})

    def _refused(self, status: int, reason: str, told: str) -> Reply:
        if reason:
            self._tally.drop(DOOR, reason)
        back = '<p><a class="button" href="/">To the news</a></p>\n'
        return Reply(status, body=page(told, back))


def _back(headers: dict[str, Any] | None = None) -> Reply:
    # As a GET: to load the page again does nothing again.
    return Reply(303, body=b"", headers={"Location": "/", **(headers or {})})


def _cookie(token: str, age_s: int | None, secure: bool) -> str:
    parts = [f"{COOKIE}={token}", "Path=/", "HttpOnly", "SameSite=Strict"]
    if age_s is not None:
        parts.append(f"Max-Age={age_s}")
    if secure:
        parts.append("Secure")
    return "; ".join(parts)


def _number(text: str) -> int:
    """Read a place; 0, which nothing has, where that is none."""
    good = text.isascii() and text.isdecimal() and len(text) <= 19
    return min(int(text), PLACE_MAX) if good else 0
