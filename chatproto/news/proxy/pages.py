"""The mobile page as HTML: a login, a list, an item. Pure; all that strangers wrote is escaped.

There is no script: what is done is done by forms, each of which brings the token of its session along.
"""

import html
from collections.abc import Sequence
from datetime import UTC, datetime

from chatproto.news.proxy.shelf import LEAD_CHARS_MAX, Kept, Missed

PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Media types that are shown as pictures: browsers run nothing of them."""
PICTURE_BYTES_MAX = 256 * 1024
"""Of a picture that is shown with the list; a larger one is had by its link."""
PAGE_ITEMS = 20

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What the page may do: show its own style and pictures, and send its own forms."""


def is_text(media_type: str) -> bool:
    """Whether a body is shown as text: what is plain only, for a browser would do something with the others."""
    return media_type.partition(";")[0] == "text/plain"


def is_picture(media_type: str) -> bool:
    """Whether a body may be shown as a picture."""
    return media_type in PICTURES


def page(title: str, body: str, who: str = "", form_token: str = "") -> bytes:
    """Return a whole page; `title` and `who` are escaped here, `body` is HTML."""
    out = ""
    if who:
        logout = _form("/logout", form_token, '<button type="submit">Log out</button>')
        out = f'<span class="who">{_escaped(who)}</span>{logout}'
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{_escaped(title)}</title>\n<link rel="icon" href="/news.svg">\n'
        '<link rel="stylesheet" href="/news.css">\n</head>\n<body>\n'
        f"<header><h1>{_escaped(title)}</h1>{out}</header>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
    return text.encode("utf-8", "replace")


def login_page(told: str = "", reader: str = "") -> bytes:
    """Return the page to log in by; with what went wrong, and the name that was typed."""
    body = (
        f"{_told(told, bad=True)}"
        '<form class="login" method="post" action="/login">\n'
        '<label for="name">Name</label>\n'
        f'<input type="text" id="name" name="name" value="{_escaped(reader)}" autocomplete="username"'
        ' autocapitalize="none" maxlength="64" required>\n'
        '<label for="password">Password</label>\n'
        '<input type="password" id="password" name="password" autocomplete="current-password" maxlength="1024"'
        " required>\n"
        '<button class="main" type="submit">Log in</button>\n</form>\n'
    )
    return page("News", body)


def list_page(
    reader: str,
    form_token: str,
    unread: Sequence[Kept],
    before: int | None,
    last: int,
    missed: Missed,
    told: str = "",
) -> bytes:
    """Return what a reader has not read.

    Args:
        reader: its name.
        form_token: of its session.
        unread: all of it, the newest first.
        before: the place before which this page begins; None for the first page.
        last: the place up to which `unread` and `missed` are all there is.
        missed: what is gone.
        told: what else it is to know.
    """
    rest = [kept for kept in unread if before is None or kept.place < before]
    shown = rest[:PAGE_ITEMS]
    parts = [_told(told), _told(missed_in_words(missed))]
    count = len(unread)
    news = "Nothing new" if not count else f"{count} new item{'' if count == 1 else 's'}"
    all_read = ""
    if count or missed != Missed():
        label = f"Mark all {count} as read" if count > 1 else "Mark as read" if count else "Understood"
        fields = f'<input type="hidden" name="up_to" value="{last}"><button type="submit">{label}</button>'
        all_read = _form("/read-all", form_token, fields)
    parts.append(
        f'<div class="row"><p class="none">{news}</p><a class="button" href="/">Look again</a>{all_read}</div>\n'
    )
    parts += [_article(kept, form_token) for kept in shown]
    links = []
    if before is not None:
        links.append('<a class="button" href="/">Newest</a>')
    if len(rest) > len(shown):
        links.append(f'<a class="button" href="/?before={shown[-1].place}">Older</a>')
    if links:
        parts.append(f'<nav class="row" aria-label="Pages">{"".join(links)}</nav>\n')
    return page("News", "".join(parts), reader, form_token)


def item_page(reader: str, form_token: str, kept: Kept, text: str | None) -> bytes:
    """Return a page with one item, and its whole text if it has one."""
    body = f'{_article(kept, form_token, text)}<p class="row"><a class="button" href="/">Back to the list</a></p>\n'
    return page("News", body, reader, form_token)


def missed_in_words(missed: Missed) -> str:
    """Return what a reader is told of what it has missed; empty where that is nothing."""
    said = []
    if missed.expired:
        said.append(f"{_items(missed.expired)} expired before you read {_them(missed.expired)}.")
    if missed.crowded_out:
        gone = missed.crowded_out
        said.append(f"{_items(gone)} had to make room for newer ones before you read {_them(gone)}.")
    return " ".join(said)


def _items(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _article(kept: Kept, form_token: str, text: str | None = None) -> str:
    item = kept.item
    title = f"<h2>{_escaped(item.title) or 'Untitled'}</h2>\n"
    about = (
        f'<p class="about"><span class="topic">{_escaped(item.topic)}</span> · {_escaped(item.source)} · '
        f'{_time(item.injected or kept.arrived)} <span class="until">until {_time(item.expires)}</span></p>\n'
    )
    read = _form(
        "/read",
        form_token,
        f'<input type="hidden" name="place" value="{kept.place}">'
        f'<button type="submit" aria-label="Mark as read: {_escaped(item.title)}">Mark as read</button>',
    )
    return f'<article>\n{title}{about}{_body(kept, text)}<div class="row">{read}</div>\n</article>\n'


def _body(kept: Kept, text: str | None) -> str:
    item, link = kept.item, f"/body/{kept.place}"
    if is_picture(item.media_type) and item.size <= PICTURE_BYTES_MAX:
        return f'<img src="{link}" alt="Picture: {_escaped(item.title)}">\n'
    if not is_text(item.media_type):
        return f'<p><a class="button" href="{link}">Get {_escaped(item.media_type)}, {_size(item.size)}</a></p>\n'
    if text is not None:
        return f'<div class="text" dir="auto">{_escaped(text)}</div>\n'
    shown = f'<div class="text" dir="auto">{_escaped(kept.lead)}</div>\n' if kept.lead else ""
    if len(kept.lead) >= LEAD_CHARS_MAX:
        shown += f'<p><a href="/item/{kept.place}">Read on: {_escaped(item.title) or "the whole text"}</a></p>\n'
    return shown


def _form(action: str, form_token: str, fields: str) -> str:
    token = f'<input type="hidden" name="token" value="{_escaped(form_token)}">'
    return f'<form method="post" action="{action}">{token}{fields}</form>'


def _told(text: str, *, bad: bool = False) -> str:
    kind = 'class="told bad" role="alert"' if bad else 'class="told" role="status"'
    return f"<p {kind}>{_escaped(text)}</p>\n" if text else ""


def _time(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return "?"  # It comes from the network, and need not be a time.
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%d %b, %H:%M} UTC</time>'


def _size(count: int) -> str:
    if count < 1024:
        return f"{count} bytes"
    return f"{count / 1024:.0f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MiB"


def _escaped(text: str) -> str:
    return html.escape(text)
