"""The table of forms, against every configuration there is of a few names."""

from collections.abc import Iterator
from itertools import chain, combinations, product

from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.configuration import MEMBERS_MAX, Configuration
from chatproto.registry.rules import DENIALS, FORMS, Standing, describe, form_of

NAMES = ("a", "b", "c", "d")


def configurations(epoch: int) -> Iterator[Configuration]:
    for members in chain(*(combinations(NAMES, size) for size in range(1, MEMBERS_MAX + 1))):
        for leader in members:
            yield Configuration(epoch, leader, members)


def expected(standing: Standing, asker: str, held: Configuration | None, asked: Configuration) -> str | None:
    """The rules once more, told another way: by what was there before and what is there after."""
    before = held.members if held is not None else ()
    if asked.members == (asker,):
        return {
            Standing.FOUNDER: "found",
            Standing.LEADER: "go on alone",
            Standing.MEMBER: "take over",
            Standing.OUTSIDER: "take over, losing data",
        }[standing]
    if standing is not Standing.LEADER:
        return None
    (other,) = (name for name in before if name != asker) if len(before) > 1 else (None,)
    stays, goes = asker in asked.members, other is not None and other not in asked.members
    if asked.leader == asker:
        if other is None:
            return "grow"
        return "swap" if goes else None
    if asked.leader != other:
        return None
    return "hand over" if stays else "hand over and leave" if len(asked.members) == 1 else None


class FormTests(SynchronousTestCase):
    def test_every_change_there_is(self) -> None:
        seen = set()
        for held, asker in product(configurations(4), NAMES):
            if asker == held.leader:
                standing = Standing.LEADER
            else:
                standing = Standing.MEMBER if asker in held.members else Standing.OUTSIDER
            for asked in configurations(5):
                form = form_of(standing, asker, held, asked)
                name = form.name if form is not None else None
                self.assertEqual(name, expected(standing, asker, held, asked), (asker, held, asked))
                seen.add(name)
        self.assertEqual(seen, {form.name for form in FORMS} - {"found"} | {None})

    def test_every_first_one(self) -> None:
        for asker, asked in product(NAMES, configurations(1)):
            form = form_of(Standing.FOUNDER, asker, None, asked)
            self.assertEqual(form is not None, asked == Configuration(1, asker, (asker,)), asked)

    def test_an_epoch_follows_the_one_before(self) -> None:
        held = Configuration(4, "a", ("a", "b"))
        for epoch in (0, 1, 3, 4, 6, 2**63):
            self.assertIsNone(form_of(Standing.LEADER, "a", held, Configuration(epoch, "a", ("a",))))
        self.assertIsNone(form_of(Standing.FOUNDER, "a", None, Configuration(0, "a", ("a",))))

    def test_who_brings_a_log_may_skip_epochs(self) -> None:
        for standing, held in ((Standing.FOUNDER, None), (Standing.OUTSIDER, Configuration(4, "b", ("b",)))):
            self.assertIsNotNone(form_of(standing, "a", held, Configuration(99, "a", ("a",))))

    def test_one_node_at_a_time(self) -> None:
        """Whatever the ceiling of members is."""
        held = Configuration(4, "a", ("a",))
        self.assertIsNone(form_of(Standing.LEADER, "a", held, Configuration(5, "a", ("a", "b", "c"))))
        held = Configuration(4, "a", ("a", "b", "c"))
        self.assertIsNone(form_of(Standing.LEADER, "a", held, Configuration(5, "a", ("a", "d", "e"))))

    def test_whoever_leads_after_held_everything_before(self) -> None:
        """What makes all forms but the lossy one safe: the new leader was a member, or is the first of all."""
        for held, asker in product(configurations(4), NAMES):
            for standing in (Standing.LEADER, Standing.MEMBER):
                if asker not in held.members or (asker == held.leader) != (standing is Standing.LEADER):
                    continue
                for asked in configurations(5):
                    if form_of(standing, asker, held, asked) is not None:
                        self.assertIn(asked.leader, held.members)

    def test_only_leaders_need_not_wait(self) -> None:
        self.assertEqual({form.standing for form in FORMS if form.unheard}, {Standing.MEMBER, Standing.OUTSIDER})
        self.assertEqual({form.standing for form in FORMS if not form.unheard}, {Standing.FOUNDER, Standing.LEADER})


class DescribeTests(SynchronousTestCase):
    def test_says_every_form_and_every_denial_with_its_reason(self) -> None:
        text = describe()
        for form in FORMS:
            self.assertIn(f"{form.standing.value}: {form.name}", text)
            self.assertIn(form.reason, text)
        for code, meaning in DENIALS.items():
            self.assertIn(f"{code}\n    {meaning}", text)
