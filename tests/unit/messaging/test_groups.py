"""Who hears what is said to a group, or to everybody."""

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import Rejected
from chatproto.messaging.groups import REFUSALS, Groups


class GroupsTests(SynchronousTestCase):
    def make(self, *members: str, members_max: int = 10, groups_per_member_max: int = 10) -> Groups[str, str, int]:
        self.groups: Groups[str, str, int] = Groups(members_max, groups_per_member_max)
        for member in members:
            self.groups.enter(member)
        return self.groups

    def hearers(self, *groups: str) -> list[list[tuple[str, int]]]:
        return [self.groups.notify(group) for group in groups]

    def test_those_who_joined_are_told_in_the_order_of_joining(self) -> None:
        """Each by its own key."""
        groups = self.make("ada", "ben", "carl")
        groups.join("tea", "carl", 7)
        groups.join("tea", "ada", 1)
        groups.join("milk", "ben", 1)
        self.assertEqual(self.hearers("tea", "milk", "water"), [[("carl", 7), ("ada", 1)], [("ben", 1)], []])

    def test_everybody_is_told_what_is_broadcast(self) -> None:
        """Once, in the order of entering, in however many groups."""
        groups = self.make("carl", "ada", "ben")
        for under, group in enumerate(("tea", "milk")):
            groups.join(group, "ada", under)
        groups.enter("carl")
        self.assertEqual(groups.broadcast(), ["carl", "ada", "ben"])

    def test_under_two_keys_a_group_is_heard_twice(self) -> None:
        groups = self.make("ada")
        groups.join("tea", "ada", 1)
        groups.join("tea", "ada", 2)
        self.assertEqual(self.hearers("tea"), [[("ada", 1), ("ada", 2)]])
        groups.leave("ada", 1)
        self.assertEqual(self.hearers("tea"), [[("ada", 2)]])

    def test_under_one_key_the_last_group_is_heard(self) -> None:
        groups = self.make("ada")
        groups.join("tea", "ada", 1)
        groups.join("milk", "ada", 1)
        self.assertEqual(self.hearers("tea", "milk"), [[], [("ada", 1)]])
        groups.gone("ada")
        self.assertEqual(self.hearers("tea", "milk"), [[], []])

    def test_whoever_leaves_hears_no_more_of_that_group(self) -> None:
        groups = self.make("ada", "ben")
        for member in ("ada", "ben"):
            groups.join("tea", member, 1)
        groups.join("milk", "ada", 2)
        self.assertTrue(groups.leave("ada", 1))
        self.assertFalse(groups.leave("ada", 1))
        self.assertFalse(groups.leave("zoe", 1))
        self.assertEqual(self.hearers("tea", "milk"), [[("ben", 1)], [("ada", 2)]])

    def test_whoever_is_gone_hears_nothing(self) -> None:
        groups = self.make("ada", "ben")
        for under, group in enumerate(("tea", "milk")):
            groups.join(group, "ada", under)
        groups.join("tea", "ben", 1)
        groups.gone("ada")
        groups.gone("ada")
        self.assertEqual(self.hearers("tea", "milk"), [[("ben", 1)], []])
        self.assertEqual((groups.broadcast(), len(groups)), (["ben"], 1))
        self.assertNotIn("ada", groups)
        self.assertIn("ben", groups)

    def test_nothing_is_left_of_a_group_that_nobody_is_in(self) -> None:
        groups = self.make("ada")
        groups.join("tea", "ada", 1)
        groups.leave("ada", 1)
        groups.join("milk", "ada", 1)
        groups.gone("ada")
        self.assertEqual((groups._groups, groups._members), ({}, {}))

    def test_so_many_groups_for_one(self) -> None:
        """One that it hears instead of another is not one more."""
        groups = self.make("ada", "ben", groups_per_member_max=1)
        groups.join("tea", "ada", 1)
        refused = self.assertRaises(Rejected, groups.join, "milk", "ada", 2)
        self.assertEqual(refused.reason, "too-many-groups")
        self.assertIn(refused.reason, REFUSALS)
        self.assertEqual(self.hearers("tea", "milk"), [[("ada", 1)], []])
        groups.join("milk", "ada", 1)
        groups.join("milk", "ben", 1)
        self.assertEqual(self.hearers("tea", "milk"), [[], [("ada", 1), ("ben", 1)]])

    def test_so_many_members(self) -> None:
        groups = self.make("ada", members_max=1)
        refused = self.assertRaises(Rejected, groups.enter, "ben")
        self.assertEqual(refused.reason, "too-many-members")
        self.assertIn(refused.reason, REFUSALS)
        groups.enter("ada")
        self.assertEqual(groups.broadcast(), ["ada"])
        groups.gone("ada")
        groups.enter("ben")
