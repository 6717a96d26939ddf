"""Who hears what is said to a group, or to everybody."""

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import Rejected
from chatproto.messaging.groups import REFUSALS, GroupLimits, Groups


class GroupsTests(SynchronousTestCase):
    def make(self, *members: int, **limits: int) -> Groups[int]:
        groups: Groups[int] = Groups(GroupLimits(**limits))
        for member in members:
            groups.enter(member)
        return groups

    def check_refused(self, reason: str, groups: Groups[int], group: str, member: int) -> None:
        before = groups.notify(group)
        refused = self.assertRaises(Rejected, groups.join, group, member)
        self.assertEqual(refused.reason, reason)
        self.assertIn(reason, REFUSALS)
        self.assertEqual(groups.notify(group), before)

    def test_those_who_joined_are_told_in_the_order_of_joining(self) -> None:
        groups = self.make(3, 1, 2)
        self.assertTrue(groups.join("tea", 2))
        self.assertTrue(groups.join("tea", 3))
        self.assertTrue(groups.join("coffee", 1))
        self.assertEqual(groups.notify("tea"), [2, 3])
        self.assertEqual(groups.notify("coffee"), [1])
        self.assertEqual(groups.notify("water"), [])

    def test_everybody_is_told_what_is_broadcast(self) -> None:
        """In a group or in none."""
        groups = self.make(3, 1, 2)
        groups.join("tea", 1)
        self.assertEqual(groups.broadcast(), [3, 1, 2])

    def test_once_each(self) -> None:
        groups = self.make(1)
        groups.enter(1)
        groups.join("tea", 1)
        self.assertFalse(groups.join("tea", 1))
        self.assertEqual((groups.notify("tea"), groups.broadcast()), ([1], [1]))

    def test_whoever_leaves_hears_no_more_of_that_group(self) -> None:
        groups = self.make(1, 2)
        for member in (1, 2):
            groups.join("tea", member)
        groups.join("coffee", 1)
        self.assertTrue(groups.leave("tea", 1))
        self.assertFalse(groups.leave("tea", 1))
        self.assertFalse(groups.leave("water", 1))
        self.assertFalse(groups.leave("tea", 99))
        self.assertEqual((groups.notify("tea"), groups.notify("coffee")), ([2], [1]))

    def test_whoever_is_gone_hears_nothing(self) -> None:
        groups = self.make(1, 2)
        for group in ("tea", "coffee"):
            groups.join(group, 1)
        groups.join("tea", 2)
        self.assertEqual(groups.gone(1), ["coffee", "tea"])
        self.assertEqual(groups.gone(1), [])
        self.assertEqual((groups.notify("tea"), groups.notify("coffee"), groups.broadcast()), ([2], [], [2]))
        self.assertEqual(len(groups), 1)

    def test_names(self) -> None:
        groups = self.make(1, group_chars_max=3)
        self.check_refused("group-name", groups, "", 1)
        self.check_refused("group-name", groups, "teas", 1)
        groups.join("tea", 1)

    def test_so_many_groups(self) -> None:
        """A group that nobody is in any more makes room; one that is there may be joined."""
        groups = self.make(1, 2, groups_max=1)
        groups.join("tea", 1)
        self.check_refused("too-many-groups", groups, "coffee", 2)
        groups.join("tea", 2)
        groups.leave("tea", 1)
        self.check_refused("too-many-groups", groups, "coffee", 1)
        groups.gone(2)
        groups.join("coffee", 1)

    def test_so_many_groups_for_one(self) -> None:
        groups = self.make(1, 2, groups_per_member_max=1)
        groups.join("tea", 1)
        self.check_refused("too-many-groups", groups, "coffee", 1)
        groups.join("coffee", 2)
        self.check_refused("too-many-groups", groups, "coffee", 1)

    def test_so_many_members(self) -> None:
        groups = self.make(1, members_max=1)
        refused = self.assertRaises(Rejected, groups.enter, 2)
        self.assertEqual(refused.reason, "too-many-members")
        groups.enter(1)
        self.assertEqual(groups.broadcast(), [1])
        groups.gone(1)
        groups.enter(2)
