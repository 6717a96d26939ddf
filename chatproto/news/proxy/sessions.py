"""Who is logged in at the mobile page, and for how long. Pure.

Times are `now` in seconds of any clock that only goes forward.
"""

import hmac
from dataclasses import dataclass

from chatproto.chat.passwords import token_hash

IDLE_S_MAX = 3600.0
SESSION_S_MAX = 12 * 3600.0
SESSIONS_MAX = 20_000
PER_READER_MAX = 5
TOKEN_CHARS_MAX = 128


@dataclass
class Session:
    """A reader that is logged in.

    Attributes:
        reader: its name.
        form_token: what each form that changes something has to bring along, so that no other site's form does.
        began: when it logged in.
        seen: when it was last there.
    """

    reader: str
    form_token: str
    began: float
    seen: float

    def allows(self, form_token: str) -> bool:
        """Whether a form is of a page that was shown in this session."""
        return hmac.compare_digest(self.form_token.encode(), form_token.encode("utf-8", "surrogatepass"))


class Sessions:
    """Sessions by their tokens, of which only hashes are kept: the one that was idle for longest makes room."""

    def __init__(self) -> None:
        """Know of none."""
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, reader: str, token: str, form_token: str, now: float) -> Session:
        """Begin a session; both tokens are drawn by the caller, unguessable."""
        self.expire(now)
        own = [key for key, session in self._sessions.items() if session.reader == reader]
        for key in own[: max(0, len(own) - PER_READER_MAX + 1)]:
            del self._sessions[key]
        if len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        session = self._sessions[token_hash(token)] = Session(reader, form_token, now, now)
        return session

    def find(self, token: str, now: float) -> Session | None:
        """Return a session that is not over, and note that it goes on."""
        key = token_hash(token[:TOKEN_CHARS_MAX])
        session = self._sessions.pop(key, None)
        if session is None or _over(session, now):
            return None
        session.seen = now
        # Those that were seen last stand last.
        self._sessions[key] = session
        return session

    def end(self, token: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(token_hash(token[:TOKEN_CHARS_MAX]), None)

    def expire(self, now: float) -> None:
        """Forget those that are over."""
        for key in [key for key, session in self._sessions.items() if _over(session, now)]:
            del self._sessions[key]


def _over(session: Session, now: float) -> bool:
    return now - session.seen >= IDLE_S_MAX or now - session.began >= SESSION_S_MAX
