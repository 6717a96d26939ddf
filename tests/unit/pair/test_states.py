from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.configuration import Configuration
from chatproto.pair.replica import Became
from chatproto.pair.states import LEADING, NUMBERING, SERVING, TRANSITIONS, Cue, Role, cue_of, picture
from tests.unit.pair.bench import handing
from tests.unit.pair.scenes import SCENES


class CueTests(SynchronousTestCase):
    def test_a_configuration_has_a_part_for_everybody(self) -> None:
        alone = Configuration(1, "east", ("east",))
        both = Configuration(2, "east", ("east", "west"))
        self.assertEqual([cue_of(alone, name) for name in ("east", "west")], [Cue.LEADS_ALONE, Cue.LEARNS])
        self.assertEqual(
            [cue_of(both, name) for name in ("east", "west", "north")], [Cue.LEADS_PAIR, Cue.FOLLOWS, Cue.LEARNS]
        )


class TableTests(SynchronousTestCase):
    def test_every_row_says_why(self) -> None:
        for (before, cue), (after, reason) in TRANSITIONS.items():
            self.assertRegex(reason, r"^[a-z].*[^.]$", (before, cue))
            self.assertGreater(len(reason.split()), 3, (before, cue))
            self.assertIsNot(before, after)

    def test_every_role_can_be_left_and_all_but_the_first_reached(self) -> None:
        self.assertEqual({before for before, _ in TRANSITIONS}, set(Role))
        self.assertEqual({after for after, _ in TRANSITIONS.values()}, set(Role) - {Role.BOOT})

    def test_who_numbers_leads_and_who_leads_serves(self) -> None:
        self.assertLess(NUMBERING, LEADING)
        self.assertLess(LEADING, SERVING)


class SceneTests(SynchronousTestCase):
    def test_every_row_has_a_scene(self) -> None:
        self.assertEqual(set(SCENES), set(TRANSITIONS))

    def test_every_scene_ends_with_its_row(self) -> None:
        for row, scene in SCENES.items():
            after, reason = TRANSITIONS[row]
            bench = scene()
            self.assertEqual(bench.became[-1:], [Became(row[0], after, reason)], row)
            self.assertIs(bench.role, after)
            self.assertIs(bench.replica.leads, after in LEADING)

    def test_a_pair_that_is_not_listed_raises(self) -> None:
        """No witness makes anybody else's handover to this node out of its own."""
        bench = handing()
        bench.witness_holds(Configuration(3, "east", ("east", "west")))
        self.assertRaises(KeyError, bench.store)


class PictureTests(SynchronousTestCase):
    def test_it_has_every_role_and_every_row_under_its_role(self) -> None:
        text = picture()
        sections: dict[str, list[str]] = {}
        for line in text.splitlines():
            if line.startswith(" "):
                next(reversed(sections.values())).append(line)
            else:
                sections[line] = []
        self.assertEqual(list(sections), [role.value for role in Role])
        self.assertEqual(sum(map(len, sections.values())), len(TRANSITIONS))
        for (before, cue), (after, reason) in TRANSITIONS.items():
            (line,) = [line for line in sections[before.value] if line.split("→")[0].strip() == cue.value]
            self.assertEqual(line.split("→")[1].split(maxsplit=1), [after.value, reason])
        self.assertTrue(text.endswith("\n"))
