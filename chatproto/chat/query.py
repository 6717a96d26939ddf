"""What a client looks for, in the words of SQLite's full-text search. Pure.

Words, and "several words in quotation marks" that stand together; each may end with `*`, for all that begin so. All of
it has to be in a message. Case and accents make no difference. Nothing else means anything, so there are no mistakes.
"""

import re

QUERY_CHARS_MAX = 256
TERMS_MAX = 16

_TERM = re.compile(r'"([^"]*)(?:"(\*?)|$)|([^\s"]+)')


def match_of(query: str) -> str | None:
    """Return the FTS5 expression of a query; None for one that is too long or has no word in it."""
    if len(query) > QUERY_CHARS_MAX:
        return None
    terms = []
    for phrase, ended, word in _TERM.findall(query):
        text = phrase or word.rstrip("*")
        if any(map(str.isalnum, text)):
            begins = ended if phrase else word.endswith("*")
            terms.append(f'"{text}"*' if begins else f'"{text}"')
    if not 0 < len(terms) <= TERMS_MAX:
        return None
    # It ends the expression where it stands.
    return " ".join(terms).replace("\0", " ")
