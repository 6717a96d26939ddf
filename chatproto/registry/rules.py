"""Which change of a configuration the witness grants to whom, and what it says where it does not. Pure.

The table in the documentation is printed from `FORMS` by `describe`.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from chatproto.pair.configuration import Configuration, after


class Standing(Enum):
    """What an asker is to the configuration that is held."""

    FOUNDER = "founder"
    LEADER = "leader"
    MEMBER = "other member"
    OUTSIDER = "no member, lossy"


class Form(NamedTuple):
    """One form of change that is granted.

    Attributes:
        standing: to whom.
        name: what it is called.
        fits: whether what is asked for has this form, by the asker's name, what is held, and what is asked for.
        unheard: whether the leader must not have been heard.
        reason: why it is safe.
    """

    standing: Standing
    name: str
    fits: Callable[[str, Configuration | None, Configuration], bool]
    unheard: bool
    reason: str


def _alone(asker: str, held: Configuration | None, asked: Configuration) -> bool:
    return asked.leader == asker and asked.members == (asker,)


def _newcomers(held: Configuration | None, asked: Configuration) -> int:
    return len(set(asked.members).difference(held.members if held is not None else ()))


def _grows(asker: str, held: Configuration | None, asked: Configuration) -> bool:
    return (
        held is not None
        and asked.leader == asker
        and set(asked.members) > set(held.members)
        and _newcomers(held, asked) == 1
    )


def _swaps(asker: str, held: Configuration | None, asked: Configuration) -> bool:
    return (
        held is not None
        and asked.leader == asker
        and len(asked.members) == len(held.members)
        and _newcomers(held, asked) == 1
    )


def _hands_over(asker: str, held: Configuration | None, asked: Configuration) -> bool:
    return held is not None and asked.leader != asker and asked.members == held.members


def _leaves(asker: str, held: Configuration | None, asked: Configuration) -> bool:
    return held is not None and set(asked.members) == set(held.members) - {asker}


BRINGS_A_LOG = frozenset({Standing.FOUNDER, Standing.OUTSIDER})
"""Who may skip epochs: its log may have been copied from that of another pair, and epochs never fall in a log."""

FORMS = (
    Form(
        Standing.FOUNDER,
        "found",
        _alone,
        False,
        "the primary leads alone: nobody claims to hold anything, so there is nothing that could be lost",
    ),
    Form(
        Standing.LEADER,
        "go on alone",
        _alone,
        False,
        "it holds all that is committed, and commits nothing more in the old epoch",
    ),
    Form(
        Standing.LEADER,
        "grow",
        _grows,
        False,
        "it has required every commit of the newcomer before it asked, so the newcomer holds them all",
    ),
    Form(
        Standing.LEADER,
        "swap",
        _swaps,
        False,
        "as with growing: it stays itself, and the newcomer, in the other's place, holds all that is committed",
    ),
    Form(
        Standing.LEADER,
        "hand over",
        _hands_over,
        False,
        "a member holds all that is committed, so it may lead; the members stay",
    ),
    Form(
        Standing.LEADER,
        "hand over and leave",
        _leaves,
        False,
        "whoever stays was a member, and holds all that is committed",
    ),
    Form(
        Standing.MEMBER,
        "take over",
        _alone,
        True,
        "a member holds all that is committed, and the old leader, if it lives, commits nothing without it",
    ),
    Form(
        Standing.OUTSIDER,
        "take over, losing data",
        _alone,
        True,
        "the operator has said that what this node does not hold may be lost",
    ),
)
"""Every form of change there is. What is held is the configuration before; the epoch is one above its, or more."""

DENIALS = {
    "not-allowed": "no form of change that this node may ask for",
    "busy": "another change of this service is being made durable; ask again",
    "forgotten": "a node holds a newer configuration than the witness, which lost its disk or was given an old one: it "
    "knows again once all members of the newest one, and two nodes at least, are connected and claim it",
    "stale": "the epoch does not follow that of the configuration held",
    "not-founder": "nothing is held, and only the primary makes the first configuration",
    "too-early": "the witness has just begun, and others may not have been heard yet; ask again",
    "not-a-member": "this node may miss what is committed; only --allow-data-loss lets it lead",
    "blank": "this node is a member and has no configuration on its disk, so it has lost what it held; "
    "only --allow-data-loss lets it lead",
    "leader-heard": "the witness hears the leader, or heard it too short a time ago; ask again",
}
"""What a denial means, by its code."""

ALARMS = frozenset({"forgotten", "blank"})
"""Denials that somebody should look into."""


def follows(standing: Standing, held: Configuration | None, asked: Configuration) -> bool:
    """Whether the epoch of what is asked for follows that of what is held; see `form_of`."""
    return asked.epoch == after(held) or (standing in BRINGS_A_LOG and asked.epoch > after(held))


def form_of(standing: Standing, asker: str, held: Configuration | None, asked: Configuration) -> Form | None:
    """Return the form of change that somebody asks for; None if there is none for such an asker.

    Args:
        standing: of the asker.
        asker: its name.
        held: the configuration before.
        asked: the one asked for, which is a possible one: see `configuration_allowed`.
    """
    if not follows(standing, held, asked):
        return None
    return next((form for form in FORMS if form.standing is standing and form.fits(asker, held, asked)), None)


def describe() -> str:
    """Return the tables as text: each form of change, to whom it is granted and why, and each denial."""
    lines = []
    for form in FORMS:
        condition = ", the leader not heard" if form.unheard else ""
        lines.append(f"{form.standing.value}: {form.name}{condition}\n    {form.reason}")
    lines += [f"{code}\n    {meaning}" for code, meaning in DENIALS.items()]
    return "\n".join(lines) + "\n"
