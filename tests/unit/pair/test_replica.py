from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.configuration import Configuration
from chatproto.pair.replica import ASK_AGAIN_S, EXPECTED_S_MAX, Configured, Follower, Propose, Replica, Rules, Store
from chatproto.pair.states import Cue, Role, cue_of
from tests.unit.pair.bench import (
    BOTH,
    EAST,
    FOUNDING,
    SUSPECT_S,
    TICK_S,
    WEST,
    WEST_LEADS,
    Bench,
    alone,
    follower,
    handing,
    leader,
)
from tests.unit.pair.scenes import follower_cut_off, leader_cut_off


class FirstStartTests(SynchronousTestCase):
    def test_the_primary_makes_the_first_configuration_where_the_witness_holds_none(self) -> None:
        bench = Bench("east")
        bench.wait(10)
        self.assertEqual(bench.effects, [])
        bench.witness_up(None)
        self.assertEqual(bench.effects, [Store(FOUNDING, False)])
        bench.store()
        self.assertEqual(bench.effects[1:], [Propose(EAST)])
        bench.witness_holds(EAST)
        self.assertEqual((bench.effects[2:], bench.replica.epoch), ([Store(EAST)], 0))
        bench.store()
        self.assertEqual(bench.effects[3], Configured(EAST))
        self.assertEqual((bench.role, bench.replica.configuration, bench.replica.epoch), (Role.LEADER_SOLO, EAST, 1))

    def test_it_asks_when_it_is_known_on_its_disk_that_it_does(self) -> None:
        """If it ends before it hears that it was agreed to, its disk tells it from one that was wiped."""
        bench = Bench("east")
        bench.witness_up(None)
        bench.wait(5)
        self.assertEqual(bench.effects, [Store(FOUNDING, False)])
        again = Bench("east", FOUNDING)
        self.assertEqual((again.role, again.replica.configuration, again.replica.epoch), (Role.BOOT, None, 0))
        again.witness_up(EAST)
        again.store()
        self.assertIs(again.role, Role.LEADER_SOLO)
        not_agreed_to = Bench("east", FOUNDING)
        not_agreed_to.witness_up(None)
        self.assertEqual(not_agreed_to.effects, [Propose(EAST)])
        outdated = Bench("east", FOUNDING)
        outdated.witness_up(BOTH)
        self.assertTrue(outdated.replica.dispossessed)

    def test_a_secondary_waits_for_it(self) -> None:
        bench = Bench("west")
        bench.witness_up(None)
        bench.wait(10)
        self.assertEqual(bench.effects, [])
        bench.hold(EAST)
        self.assertIs(bench.role, Role.LEARNER)

    def test_the_first_configuration_is_asked_for_again_when_it_was_denied(self) -> None:
        bench = Bench("east")
        bench.witness_up(None)
        bench.store()
        bench.witness_denied(None)
        bench.tick()
        self.assertEqual(len(bench.proposals), 1)
        bench.wait(TICK_S)
        self.assertEqual(bench.proposals, [Propose(EAST)] * 2)

    def test_a_primary_that_had_a_log_of_its_own_takes_it_along(self) -> None:
        bench = Bench("east", None, 7)
        bench.witness_up(None)
        bench.store()
        bench.agree()
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 7))

    def test_the_witness_knows_better_than_the_disk(self) -> None:
        bench = Bench("east", BOTH)
        bench.witness_up(WEST)
        self.assertIs(bench.role, Role.LEADER_PAIR)
        bench.store()
        self.assertIs(bench.role, Role.LEARNER)

    def test_what_is_old_news_changes_nothing(self) -> None:
        bench = leader()
        bench.effects.clear()
        for old in (EAST, BOTH):
            bench.peer_says(old)
            bench.witness_holds(old)
            bench.stored(old)
        bench.peer_says(None)
        self.assertEqual(bench.effects, [])

    def test_whoever_hears_of_a_newer_leader_before_its_own_leading_is_stored_does_not_lead(self) -> None:
        """It may follow that leader by then, and have entries of its epoch."""
        bench = Bench("west", BOTH, 5, static=True)
        bench.peer_says(BOTH)
        bench.leader_reached()
        bench.leader_lost()
        bench.wait(2 * SUSPECT_S)
        (own,) = bench.to_store
        self.assertEqual(own.leader, "west")
        newer = Configuration(own.epoch + 1, "east", ("east",))
        bench.peer_says(newer)
        self.assertEqual(bench.to_store, [own, newer])
        bench.store()
        self.assertEqual(bench.configured, [newer])
        self.assertNotIn(Role.LEADER_SOLO, bench.roles)

    def test_the_newest_of_several_to_be_stored_is_what_holds_in_the_end(self) -> None:
        bench = Bench("west", EAST)
        bench.peer_says(BOTH)
        bench.peer_says(WEST_LEADS)
        bench.peer_says(BOTH)
        self.assertEqual(bench.to_store, [BOTH, WEST_LEADS])
        bench.store()
        self.assertEqual(bench.configured, [BOTH, WEST_LEADS])
        self.assertIs(bench.role, Role.LEADER_PAIR)


class BroughtLogTests(SynchronousTestCase):
    """A log that was copied from that of another pair may have epochs far ahead, and they never fall."""

    def test_the_founder_goes_on_in_its_epoch(self) -> None:
        bench = Bench("east", None, 5, epoch=1700000000)
        bench.witness_up(None)
        bench.store()
        bench.agree()
        self.assertEqual(bench.replica.configuration, Configuration(1700000000, "east", ("east",)))
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 5))
        again = Bench("east", FOUNDING, 5, epoch=1700000000)
        again.witness_up(Configuration(1700000000, "east", ("east",)))
        again.store()
        self.assertIs(again.role, Role.LEADER_SOLO)

    def test_without_a_witness_in_one_of_its_own_kind_from_there_on(self) -> None:
        for name, brought, epoch in (("east", 6, 7), ("east", 7, 7), ("east", 1, 1), ("east", 0, 1)):
            bench = Bench(name, None, 5, epoch=brought, static=True)
            bench.wait(SUSPECT_S)
            self.assertEqual(bench.to_store, [Configuration(epoch, name, (name,))])

    def test_where_there_is_a_pair_already_it_has_no_part_in_it_until_the_operator_says_so(self) -> None:
        for lossy in (False, True):
            bench = Bench("east", None, 5, epoch=1700000000, allow_data_loss=lossy)
            bench.witness_up(BOTH)
            bench.wait(10 * SUSPECT_S)
            self.assertTrue(bench.replica.dispossessed)
            wanted = [Propose(Configuration(1700000000, "east", ("east",)), lossy=True)] if lossy else []
            self.assertEqual(bench.proposals[:1], wanted)

    def test_once_there_is_a_configuration_epochs_are_counted_from_that(self) -> None:
        bench = Bench("east", BOTH, 5, epoch=1700000000)
        bench.witness_up(BOTH)
        bench.wait(2 * SUSPECT_S)
        self.assertEqual(bench.proposed.epoch, 3)


class AckTests(SynchronousTestCase):
    """An entry is committed when it is durable on every member, and on whom the leader wants as one."""

    def test_alone_it_is_committed_when_it_is_durable(self) -> None:
        bench = alone()
        bench.replica.appended(4)
        self.assertEqual((bench.commit, bench.replica.end), (0, 4))
        bench.stored_to(3)
        self.assertEqual(bench.commit, 3)

    def test_what_a_single_member_finds_on_its_disk_is_committed(self) -> None:
        bench = Bench("east", EAST, 5)
        self.assertEqual((bench.role, bench.replica.require, bench.commit), (Role.LEADER_SOLO, "", 5))

    def test_unless_its_disk_says_that_it_was_about_to_ask_for_another_until_the_witness_is_heard(self) -> None:
        """Whom it asked for, in its earlier life, may be a member."""
        bench = Bench("east", EAST, 5, required="west")
        bench.write(index=6)
        bench.wait(60)
        self.assertEqual((bench.role, bench.replica.require, bench.commit), (Role.LEADER_SOLO, "west", 0))
        bench.witness_up(EAST)
        self.assertEqual((bench.replica.require, bench.commit), ("", 6))

    def test_whom_it_asked_for_is_a_member_if_the_witness_says_so(self) -> None:
        bench = Bench("east", EAST, 5, required="west")
        bench.witness_up(BOTH)
        self.assertEqual((bench.replica.require, bench.commit), ("west", 0))
        bench.store()
        self.assertEqual((bench.role, bench.replica.require, bench.commit), (Role.LEADER_PAIR, "", 0))
        bench.follower_came("west")
        bench.follower_has("west", 4)
        self.assertEqual(bench.commit, 4)

    def test_a_witness_that_is_behind_does_not_know_what_was_asked_for(self) -> None:
        bench = Bench("east", Configuration(5, "east", ("east",)), 5, required="west")
        bench.witness_up(None)
        bench.witness_holds(EAST)
        self.assertEqual(bench.commit, 0)
        bench.witness_holds(Configuration(5, "east", ("east",)))
        self.assertEqual(bench.commit, 5)

    def test_or_once_whom_it_asked_for_has_it_too(self) -> None:
        bench = Bench("east", EAST, 5, required="west")
        bench.follower_came("north")
        bench.follower_has("north", 5)
        self.assertEqual(bench.commit, 0, "that is somebody else")
        bench.follower_came("west")
        bench.follower_has("west", 3)
        self.assertEqual(bench.commit, 3)

    def test_it_does_not_wait_for_a_learner_that_is_behind_once_the_witness_is_heard(self) -> None:
        bench = Bench("east", EAST, 5, required="west")
        bench.follower_came("west")
        bench.witness_up(EAST)
        self.assertEqual((bench.replica.require, bench.commit), ("", 5))

    def test_in_a_pair_nothing_found_is_committed_before_the_follower_has_it(self) -> None:
        bench = Bench("east", BOTH, 5)
        self.assertEqual(bench.commit, 0)
        bench.follower_came("west")
        bench.follower_has("west", 2)
        self.assertEqual(bench.commit, 2)
        bench.follower_has("west", 4)
        self.assertEqual(bench.commit, 4)

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 20))))
    def test_in_a_pair_it_is_committed_when_both_have_it(self, steps: list[tuple[bool, int]]) -> None:
        bench = leader()
        bench.replica.appended(20)
        mine = theirs = 5
        for own, index in steps:
            if own:
                mine = max(mine, index)
                bench.stored_to(mine)
            else:
                theirs = max(theirs, index)
                bench.follower_has("west", index)
            self.assertEqual(bench.commit, min(mine, theirs))

    def test_with_the_follower_gone_nothing_is_committed_until_it_is_dropped(self) -> None:
        bench = leader()
        bench.follower_lost("west")
        bench.write(index=8)
        bench.wait(SUSPECT_S)
        bench.witness_holds(bench.proposed)
        self.assertEqual(bench.commit, 5)
        bench.store()
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 8))

    def test_a_follower_counts_nothing_itself(self) -> None:
        bench = follower()
        bench.write(index=8)
        self.assertEqual(bench.commit, 0)
        bench.replica.told_commit(7)
        bench.replica.told_commit(6)
        self.assertEqual(bench.commit, 7)

    def test_a_leader_that_hands_over_still_counts(self) -> None:
        bench = handing()
        bench.follower_has("west", 6)
        self.assertEqual(bench.commit, 6)

    def test_who_is_isolated_commits_nothing(self) -> None:
        bench = leader_cut_off()
        bench.write(index=9)
        bench.followed("north", 9)
        self.assertEqual((bench.role, bench.commit), (Role.ISOLATED, 5))

    def test_what_is_parted_from_was_neither_durable_nor_committed(self) -> None:
        bench = follower()
        bench.write(index=9)
        bench.replica.told_commit(8)
        bench.replica.cut(6)
        self.assertEqual((bench.replica.end, bench.replica.durable, bench.commit), (6, 6, 6))
        bench.replica.cut(6)
        bench.replica.appended(7)
        bench.replica.cut(7)
        self.assertEqual((bench.replica.end, bench.replica.durable, bench.commit), (7, 6, 6))


class ShrinkTests(SynchronousTestCase):
    def test_a_leader_whose_follower_is_silent_asks_to_go_on_alone(self) -> None:
        bench = leader()
        bench.wait_heard(10)
        bench.follower_lost("west")
        bench.wait(SUSPECT_S - TICK_S)
        self.assertEqual(bench.proposals, [])
        bench.wait(TICK_S)
        self.assertEqual(bench.proposals, [Propose(Configuration(3, "east", ("east",)))])
        bench.wait(5)
        self.assertEqual(len(bench.proposals), 1, "one at a time")

    def test_silence_alone_is_no_reason_while_the_link_lives(self) -> None:
        bench = leader()
        bench.wait(10)
        self.assertEqual((bench.proposals, bench.role), ([], Role.LEADER_PAIR))

    def test_a_follower_whose_process_is_gone_is_given_up_at_once(self) -> None:
        bench = leader()
        bench.follower_lost("west")
        bench.peer_gone("")
        self.assertEqual(len(bench.proposals), 1)

    def test_who_is_gone_and_heard_again_is_not_gone(self) -> None:
        on_its_link, with_hello = leader(), leader()
        on_its_link.peer_gone("")
        on_its_link.peer_heard("west")
        with_hello.peer_gone("")
        with_hello.peer_says(None)
        for bench in (on_its_link, with_hello):
            bench.follower_lost("west")
            self.assertEqual(bench.proposals, [])

    def test_a_denial_is_not_the_end_of_it(self) -> None:
        bench = leader()
        bench.follower_lost("west")
        bench.peer_gone("")
        bench.witness_denied(BOTH)
        bench.now += ASK_AGAIN_S / 2
        bench.tick()
        self.assertEqual(len(bench.proposals), 1)
        bench.now += ASK_AGAIN_S
        bench.tick()
        self.assertEqual(len(bench.proposals), 2)

    def test_without_a_witness_to_ask_it_stops(self) -> None:
        bench = leader()
        bench.witness_down()
        bench.follower_lost("west")
        bench.peer_gone("")
        self.assertIs(bench.role, Role.LEADER_PAIR, "another may come within the time")
        bench.wait(SUSPECT_S)
        self.assertEqual((bench.role, bench.proposals), (Role.ISOLATED, []))

    def test_while_it_waits_for_the_answer_the_follower_may_come_back(self) -> None:
        bench = leader()
        bench.follower_lost("west")
        bench.wait(SUSPECT_S)
        bench.follower_came("west")
        bench.follower_has("west", 5)
        bench.witness_denied(BOTH)
        bench.wait_heard(5)
        self.assertEqual((bench.role, len(bench.proposals)), (Role.LEADER_PAIR, 1))

    def test_a_follower_that_beats_and_takes_nothing_is_dropped(self) -> None:
        bench = leader()
        bench.follower_lost("west")
        bench.follower_came("west")
        bench.wait_heard(SUSPECT_S - 0.1)
        self.assertEqual(bench.proposals, [])
        bench.wait_heard(0.2)
        self.assertEqual(bench.proposed.members, ("east",))

    def test_a_member_that_never_came_since_the_start_is_dropped(self) -> None:
        bench = Bench("east", BOTH)
        bench.witness_up(BOTH)
        bench.wait(SUSPECT_S)
        self.assertEqual(bench.proposed, Configuration(3, "east", ("east",)))


class TakeoverTests(SynchronousTestCase):
    def test_a_follower_that_lost_its_leader_asks_at_once(self) -> None:
        bench = follower()
        bench.leader_lost()
        self.assertEqual(bench.proposals, [Propose(WEST)])
        bench.agree()
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 5), "all it has is committed")

    def test_a_follower_of_a_leader_that_is_gone_asks_at_once(self) -> None:
        bench = Bench("west", BOTH)
        bench.witness_up(BOTH)
        self.assertEqual(bench.proposals, [])
        bench.peer_gone("")
        self.assertEqual(bench.proposals, [Propose(WEST)])

    def test_a_follower_of_a_silent_leader_asks(self) -> None:
        bench = follower()
        bench.wait_heard(10)
        self.assertEqual(bench.proposals, [])
        bench.wait(SUSPECT_S)
        self.assertEqual(bench.proposals, [Propose(WEST)])

    def test_a_follower_that_never_reached_its_leader_asks(self) -> None:
        bench = Bench("west", BOTH)
        bench.witness_up(BOTH)
        bench.wait(SUSPECT_S)
        self.assertEqual(bench.proposals, [Propose(WEST)])

    def test_it_asks_until_it_may_or_is_let_follow(self) -> None:
        bench = follower()
        bench.leader_lost()
        for count in range(2, 5):
            bench.witness_denied(BOTH)
            bench.wait(TICK_S)
            self.assertEqual(len(bench.proposals), count)
        bench.witness_denied(BOTH)
        bench.leader_reached()
        bench.wait_heard(5)
        self.assertEqual(len(bench.proposals), 4)

    def test_a_learner_never_asks(self) -> None:
        bench = Bench("west", EAST, 5)
        bench.witness_up(EAST)
        bench.leader_reached()
        bench.leader_lost()
        bench.peer_gone("")
        bench.wait(60)
        self.assertEqual((bench.proposals, bench.role), ([], Role.LEARNER))

    def test_nobody_asks_while_its_log_is_in_pieces(self) -> None:
        bench = follower()
        bench.replica.busy = True
        bench.leader_lost()
        bench.wait(5)
        self.assertEqual(bench.proposals, [])
        bench.replica.busy = False
        bench.tick()
        self.assertEqual(bench.proposals, [Propose(WEST)])

    def test_nobody_asks_while_a_newer_configuration_is_on_its_way_to_the_disk(self) -> None:
        bench = follower()
        bench.witness_holds(WEST_LEADS)
        bench.leader_lost()
        bench.wait(5)
        self.assertEqual(bench.proposals, [])

    def test_a_witness_that_is_behind_is_not_asked(self) -> None:
        """It has lost its disk, or was given an old one; whoever asked it might be agreed to."""
        bench = Bench("west", BOTH)
        bench.witness_up(EAST)
        bench.wait(5)
        self.assertEqual((bench.proposals, bench.role), ([], Role.ISOLATED))
        bench.witness_holds(BOTH)
        self.assertIs(bench.role, Role.FOLLOWER, "both nodes have told it")

    def test_a_witness_that_is_ahead_is_followed_and_not_asked(self) -> None:
        bench = Bench("west", BOTH)
        bench.witness_up(Configuration(9, "east", ("east",)))
        bench.wait(5)
        self.assertEqual(bench.proposals, [])
        bench.store()
        self.assertIs(bench.role, Role.LEARNER)

    def test_when_another_was_faster_that_is_what_holds(self) -> None:
        bench = follower()
        bench.leader_lost()
        bench.hold(Configuration(3, "east", ("east",)))
        self.assertIs(bench.role, Role.LEARNER)
        bench.wait(5)
        self.assertEqual(len(bench.proposals), 1)

    def test_an_older_one_that_is_heard_late_does_not_answer_the_question(self) -> None:
        bench = follower()
        bench.leader_lost()
        bench.witness_holds(BOTH)
        bench.wait(5)
        self.assertEqual(len(bench.proposals), 1, "the question is still open")
        bench.agree()
        self.assertIs(bench.role, Role.LEADER_SOLO)

    def test_in_a_new_role_nothing_is_held_against_the_other_yet(self) -> None:
        bench = Bench("west", EAST)
        bench.witness_up(EAST)
        bench.wait(10)
        bench.hold(BOTH)
        bench.wait(SUSPECT_S - TICK_S)
        self.assertEqual(bench.proposals, [])
        bench.wait(TICK_S)
        self.assertEqual(len(bench.proposals), 1)


class GrowTests(SynchronousTestCase):
    def test_first_the_other_is_required_then_asked_for(self) -> None:
        bench = alone(5)
        bench.follower_came("west")
        bench.follower_has("west", 3)
        bench.follower_caught_up("west")
        bench.write(index=8)
        self.assertEqual((bench.replica.require, bench.commit), ("", 8), "nothing waits for what it was sent before")
        bench.follower_has("west", 5)
        self.assertEqual((bench.replica.require, bench.proposals), ("west", []), "it has not all that is committed")
        bench.write(index=9)
        self.assertEqual(bench.commit, 8, "nothing more is committed without it")
        bench.follower_has("west", 8)
        self.assertEqual(bench.effects[-1], Store(EAST, required="west"))
        bench.store()
        self.assertEqual(bench.proposals, [Propose(BOTH)])
        bench.follower_has("west", 9)
        self.assertEqual(bench.commit, 9)
        bench.agree()
        self.assertEqual((bench.role, bench.replica.require, bench.commit), (Role.LEADER_PAIR, "", 9))

    def test_nobody_is_asked_for_before_the_disk_knows_it(self) -> None:
        """If this node ends before it hears the answer, its next life has to wait for whom it asked for."""
        bench = alone(5)
        bench.followed("west", 5)
        bench.wait_heard(5)
        self.assertEqual((bench.to_store, bench.proposals, bench.hand_over()), ([EAST], [], False))
        bench.store()
        self.assertEqual(bench.effects[-2:], [Store(EAST, required="west"), Propose(BOTH)])
        self.assertEqual((bench.configured, bench.replica.epoch), ([], 1))

    def test_the_disk_is_told_once(self) -> None:
        bench = alone(5).paired(5)
        bench.witness_denied(EAST)
        bench.wait(TICK_S)
        self.assertEqual((len(bench.proposals), bench.stores), (2, [Store(EAST, required="west")]))

    def test_and_of_everybody_who_is_asked_for(self) -> None:
        bench = alone(5).paired(5)
        bench.follower_lost("west")
        bench.witness_denied(EAST)
        bench.wait(TICK_S)
        bench.followed("north", 5)
        self.assertEqual(bench.stores, [Store(EAST, required="west"), Store(EAST, required="north")])
        self.assertEqual(len(bench.proposals), 1)
        bench.store()
        self.assertEqual(bench.proposed, Configuration(2, "east", ("east", "north")))

    def test_a_follower_that_goes_while_the_disk_is_told_is_not_asked_for(self) -> None:
        bench = alone(5)
        bench.followed("west", 5)
        bench.write(index=6)
        bench.follower_lost("west")
        self.assertEqual((bench.replica.require, bench.commit), ("west", 5))
        bench.store()
        self.assertEqual((bench.replica.require, bench.commit, bench.proposals), ("", 6, []))

    def test_who_leads_by_then_matters_more_than_whom_the_disk_was_told_of(self) -> None:
        bench = alone(5)
        bench.followed("west", 5)
        bench.peer_says(Configuration(9, "west", ("west",)))
        bench.store()
        self.assertEqual((bench.role, bench.proposals), (Role.LEARNER, []))

    def test_in_another_configuration_the_disk_is_told_anew(self) -> None:
        bench = alone(5).paired(5)
        bench.agree()
        bench.follower_lost("west")
        bench.wait(SUSPECT_S)
        bench.agree()
        bench.followed("west", 5)
        self.assertEqual(bench.stores[-1], Store(Configuration(3, "east", ("east",)), required="west"))

    def test_whom_the_disk_knew_at_the_start_is_asked_for_without_telling_it_again(self) -> None:
        bench = Bench("east", EAST, 5, required="west").paired(5)
        self.assertEqual((bench.stores, bench.proposals), ([], [Propose(BOTH)]))

    def test_members_are_sorted(self) -> None:
        bench = Bench("west", WEST, 5)
        bench.witness_up(WEST)
        bench.followed("east", 5)
        bench.store()
        self.assertEqual(bench.proposed, Configuration(4, "west", ("east", "west")))

    def test_it_is_not_asked_for_while_the_witness_cannot_be(self) -> None:
        bench = alone(5)
        bench.witness_down()
        bench.followed("west", 5)
        bench.write(index=6)
        self.assertEqual((bench.replica.require, bench.commit), ("", 6))
        bench.witness_up(EAST)
        self.assertEqual((bench.replica.require, bench.proposals), ("west", []))
        bench.follower_has("west", 6)
        bench.store()
        self.assertEqual(bench.proposals, [Propose(BOTH)])

    def test_it_is_not_asked_for_while_the_witness_is_behind(self) -> None:
        bench = Bench("east", Configuration(5, "east", ("east",)), 5).paired(5)
        bench.witness_holds(EAST)
        proposals = len(bench.proposals)
        bench.witness_denied(EAST)
        bench.wait_heard(5)
        self.assertEqual(len(bench.proposals), proposals)

    def test_a_follower_that_goes_before_it_was_asked_for_is_required_no_more(self) -> None:
        bench = Bench("east", EAST, 5)
        bench.witness_up(EAST)
        bench.follower_came("west")
        bench.follower_caught_up("west")
        bench.write(index=8)
        bench.follower_lost("west")
        self.assertEqual((bench.replica.require, bench.commit, bench.replica.followers), ("", 8, {}))

    def growing(self) -> Bench:
        bench = Bench("east", EAST, 5).paired(5)
        bench.write(index=8)
        self.assertEqual(bench.proposals, [Propose(BOTH)])
        return bench

    def test_a_follower_that_goes_while_the_witness_is_asked_is_required_still(self) -> None:
        bench = self.growing()
        bench.follower_lost("west")
        bench.wait(10)
        self.assertEqual((bench.replica.require, bench.commit), ("west", 5))

    def test_it_is_required_no_more_when_the_witness_denies(self) -> None:
        bench = self.growing()
        bench.follower_lost("west")
        bench.witness_denied(EAST)
        self.assertEqual((bench.replica.require, bench.commit), ("", 8))

    def test_it_is_required_while_it_is_there_though_the_witness_denies(self) -> None:
        bench = self.growing()
        bench.witness_denied(EAST)
        self.assertEqual((bench.replica.require, bench.commit), ("west", 5))
        bench.wait(TICK_S)
        self.assertEqual(len(bench.proposals), 2)

    def test_it_is_required_while_nobody_knows_what_the_witness_has_done(self) -> None:
        bench = self.growing()
        bench.witness_down()
        bench.follower_lost("west")
        bench.wait(10)
        self.assertEqual((bench.role, bench.replica.require, bench.commit), (Role.LEADER_SOLO, "west", 5))
        bench.witness_up(EAST)
        self.assertEqual((bench.replica.require, bench.commit), ("", 8))

    def test_what_the_witness_has_done_is_found_out(self) -> None:
        bench = self.growing()
        bench.follower_lost("west")
        bench.witness_down()
        bench.witness_up(BOTH)
        self.assertEqual((bench.replica.require, bench.commit), ("west", 5))
        bench.store()
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_PAIR, 5))
        bench.wait(SUSPECT_S)
        bench.agree()
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 8))

    def test_who_went_while_it_was_agreed_to_is_dropped_again(self) -> None:
        bench = self.growing()
        bench.witness_holds(BOTH)
        bench.follower_lost("west")
        self.assertEqual((bench.replica.require, bench.commit), ("west", 5), "agreed to, and not yet on this disk")
        bench.store()
        bench.wait(SUSPECT_S)
        self.assertEqual(bench.proposed, Configuration(3, "east", ("east",)))

    def test_a_follower_is_not_required_before_it_has_said_that_it_follows(self) -> None:
        """Even with an empty log: only by then it knows that it is complete."""
        bench = Bench("east", EAST)
        bench.witness_up(EAST)
        bench.follower_came("west")
        bench.follower_caught_up("west")
        self.assertEqual((bench.replica.require, bench.proposals), ("", []))
        bench.follower_has("west", 0)
        bench.store()
        self.assertEqual((bench.replica.require, bench.proposals), ("west", [Propose(BOTH)]))

    def test_a_follower_that_comes_again_has_to_catch_up_again(self) -> None:
        bench = Bench("east", EAST, 5)
        bench.follower_came("west")
        bench.follower_caught_up("west")
        bench.follower_lost("west")
        bench.follower_came("west")
        bench.follower_has("west", 5)
        bench.witness_up(EAST)
        self.assertEqual((bench.stores, bench.proposals), ([], []))
        bench.follower_caught_up("west")
        bench.store()
        self.assertEqual(bench.proposals, [Propose(BOTH)])


class FenceTests(SynchronousTestCase):
    def test_a_leader_steps_down_for_a_higher_epoch(self) -> None:
        bench = leader()
        bench.write(index=9)
        bench.peer_says(WEST)
        bench.store()
        self.assertEqual((bench.role, bench.commit), (Role.LEARNER, 5))
        bench.stored_to(9)
        self.assertEqual(bench.commit, 5)

    def test_it_asks_for_nothing_while_that_is_on_its_way_to_the_disk(self) -> None:
        bench = leader()
        bench.peer_says(WEST)
        bench.follower_lost("west")
        bench.wait(10)
        self.assertEqual((bench.proposals, bench.hand_over()), ([], False))

    def test_an_isolated_leader_leads_on_when_the_other_follows_in_its_epoch(self) -> None:
        bench = leader_cut_off()
        bench.follower_came("west")
        self.assertIs(bench.role, Role.LEADER_PAIR)
        bench.write(index=6)
        bench.follower_has("west", 6)
        self.assertEqual(bench.commit, 6)

    def test_an_isolated_follower_follows_on_when_its_leader_lets_it(self) -> None:
        bench = follower_cut_off()
        bench.leader_reached()
        self.assertIs(bench.role, Role.FOLLOWER)

    def test_a_follower_whose_link_was_only_slow_follows_on(self) -> None:
        bench = follower()
        bench.witness_down()
        bench.wait(SUSPECT_S)
        self.assertIs(bench.role, Role.ISOLATED)
        bench.wait(5)
        self.assertIs(bench.role, Role.ISOLATED)
        bench.wait_heard(2 * TICK_S)
        self.assertIs(bench.role, Role.FOLLOWER)

    def test_who_is_isolated_waits_for_a_witness_that_knows_as_much(self) -> None:
        bench = leader_cut_off()
        bench.witness_up(EAST)
        bench.wait(5)
        self.assertIs(bench.role, Role.ISOLATED)

    def test_a_process_that_stood_still_holds_nothing_against_the_other(self) -> None:
        for bench in (leader(), follower()):
            bench.wait_heard(5)
            for name in list(bench.replica.followers):
                bench.replica.follower_lost(name, bench.now)
            bench.now += 60
            bench.tick()
            self.assertEqual((bench.proposals, len(bench.became)), ([], 1))
            bench.wait(SUSPECT_S)
            self.assertEqual(len(bench.proposals), 1)


class HandoverTests(SynchronousTestCase):
    def test_nothing_is_numbered_until_the_other_has_all_and_then_it_leads(self) -> None:
        bench = leader()
        bench.replica.appended(7)
        self.assertTrue(bench.hand_over())
        self.assertEqual((bench.role, bench.proposals), (Role.HANDING, []))
        bench.stored_to(7)
        bench.follower_has("west", 6)
        self.assertEqual(bench.proposals, [])
        bench.follower_has("west", 7)
        self.assertEqual(bench.proposals, [Propose(WEST_LEADS)])
        bench.agree()
        self.assertEqual((bench.role, bench.commit), (Role.FOLLOWER, 7))

    def test_the_other_need_not_have_what_is_not_durable_here_and_then_it_is_waited_for(self) -> None:
        bench = leader()
        bench.replica.appended(7)
        bench.hand_over()
        bench.follower_has("west", 7)
        self.assertEqual(bench.proposals, [])
        bench.stored_to(7)
        self.assertEqual(bench.proposals, [Propose(WEST_LEADS)])

    def test_with_nothing_to_wait_for_it_is_asked_for_at_once(self) -> None:
        bench = leader()
        bench.hand_over()
        self.assertEqual(bench.proposals, [Propose(WEST_LEADS)])

    def test_only_the_leader_of_a_pair_with_a_follower_may(self) -> None:
        lonely = leader()
        lonely.follower_lost("west")
        unwitnessed = leader()
        unwitnessed.witness_down()
        asking = leader()
        asking.follower_lost("west")
        asking.wait(SUSPECT_S)
        asking.follower_came("west")
        for bench in (Bench("east", EAST).paired(), follower(), handing(), lonely, unwitnessed, asking):
            before = bench.role
            self.assertFalse(bench.hand_over())
            self.assertIs(bench.role, before)

    def test_a_follower_that_does_not_catch_up_in_time_ends_it(self) -> None:
        bench = handing(hand_over_s_max=2.0)
        bench.wait_heard(2.0 - TICK_S)
        self.assertIs(bench.role, Role.HANDING)
        bench.wait_heard(TICK_S)
        self.assertIs(bench.role, Role.LEADER_PAIR)
        bench.follower_has("west", 6)
        bench.wait_heard(5)
        self.assertEqual((bench.role, bench.proposals), (Role.LEADER_PAIR, []))

    def test_a_question_that_is_open_is_not_given_up_for_time(self) -> None:
        bench = handing(hand_over_s_max=2.0)
        bench.follower_has("west", 6)
        bench.wait_heard(10)
        self.assertIs(bench.role, Role.HANDING)
        bench.agree()
        self.assertIs(bench.role, Role.FOLLOWER)

    def test_what_is_agreed_to_is_not_given_up_while_it_is_on_its_way_to_the_disk(self) -> None:
        for static in (False, True):
            bench = handing(hand_over_s_max=2.0, static=static)
            bench.follower_has("west", 6)
            if not static:
                bench.witness_holds(bench.proposed)
            bench.wait_heard(10)
            self.assertIs(bench.role, Role.HANDING)
            bench.store()
            self.assertEqual((bench.role, bench.replica.configuration), (Role.FOLLOWER, WEST_LEADS))

    def test_it_is_given_up_when_the_witness_denies(self) -> None:
        bench = handing()
        bench.follower_has("west", 6)
        bench.witness_denied(BOTH)
        self.assertIs(bench.role, Role.LEADER_PAIR)
        bench.wait_heard(5)
        self.assertEqual(len(bench.proposals), 1)

    def test_it_is_given_up_when_the_witness_goes_while_it_is_asked(self) -> None:
        bench = handing()
        bench.follower_has("west", 6)
        bench.witness_down()
        self.assertIs(bench.role, Role.LEADER_PAIR)

    def test_it_goes_on_when_the_witness_goes_before_it_is_asked(self) -> None:
        bench = handing()
        bench.witness_down()
        self.assertIs(bench.role, Role.HANDING)
        bench.follower_has("west", 6)
        bench.witness_up(BOTH)
        self.assertEqual(bench.proposals, [Propose(WEST_LEADS)])

    def test_after_the_compare_and_set_the_other_leads_whether_it_was_heard_or_not(self) -> None:
        bench = handing()
        bench.follower_has("west", 6)
        bench.witness_down()
        bench.write(index=7)
        bench.witness_up(WEST_LEADS)
        bench.store()
        self.assertEqual((bench.role, bench.commit), (Role.FOLLOWER, 6))

    def test_a_follower_that_goes_ends_it_in_time(self) -> None:
        bench = handing(hand_over_s_max=0.25)
        bench.follower_lost("west")
        bench.wait(0.25)
        self.assertEqual([role.value for role in bench.roles[-2:]], ["handing", "leader-pair"])
        bench.wait(SUSPECT_S)
        self.assertEqual(bench.proposals, [Propose(Configuration(3, "east", ("east",)))])

    def test_a_follower_whose_process_is_gone_is_dropped_at_once(self) -> None:
        bench = handing()
        bench.follower_lost("west")
        bench.peer_gone("")
        bench.agree()
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 6))

    def test_back_and_forth(self) -> None:
        bench = Bench("east", EAST, 5).paired(5)
        bench.agree()
        self.assertTrue(bench.hand_over())
        bench.agree()
        bench.leader_reached()
        bench.hold(Configuration(4, "east", ("east", "west")))
        self.assertEqual(
            [role.value for role in bench.roles],
            ["boot", "leader-solo", "leader-pair", "handing", "follower", "leader-pair"],
        )


class PreferPrimaryTests(SynchronousTestCase):
    def secondary(self, **rules: object) -> Bench:
        bench = Bench("west", WEST, 5, **rules)
        bench.witness_up(WEST)
        bench.followed("east", 5, primary=True)
        bench.store()
        bench.agree()
        return bench

    def test_the_secondary_hands_over_to_a_primary_that_has_caught_up(self) -> None:
        bench = self.secondary(prefer_primary=True)
        bench.wait_heard(SUSPECT_S - TICK_S)
        self.assertIs(bench.role, Role.LEADER_PAIR, "not in the same breath")
        bench.wait_heard(TICK_S)
        self.assertEqual(bench.proposed, Configuration(5, "east", ("east", "west")))
        bench.agree()
        self.assertIs(bench.role, Role.FOLLOWER)

    def test_only_when_it_is_wanted(self) -> None:
        bench = self.secondary()
        bench.wait_heard(10)
        self.assertEqual((bench.role, len(bench.proposals)), (Role.LEADER_PAIR, 1))

    def test_the_primary_keeps_it(self) -> None:
        bench = leader(prefer_primary=True)
        bench.wait_heard(10)
        self.assertEqual((bench.role, bench.proposals), (Role.LEADER_PAIR, []))

    def test_it_is_tried_again_after_a_while(self) -> None:
        bench = self.secondary(prefer_primary=True)
        bench.wait_heard(SUSPECT_S)
        bench.witness_denied(bench.replica.configuration)
        bench.wait_heard(SUSPECT_S - TICK_S)
        self.assertEqual(len(bench.proposals), 2)
        bench.wait_heard(2 * TICK_S)
        self.assertEqual(len(bench.proposals), 3)

    def test_not_while_the_witness_is_away(self) -> None:
        bench = self.secondary(prefer_primary=True)
        bench.witness_down()
        bench.wait_heard(10)
        self.assertIs(bench.role, Role.LEADER_PAIR)

    def test_in_both_modes_what_is_needed_is_the_same(self) -> None:
        bench = Bench("west", WEST, 5, static=True, prefer_primary=True)
        bench.wait(SUSPECT_S)
        bench.followed("east", 5, primary=True)
        bench.store()
        self.assertIs(bench.role, Role.LEADER_PAIR)
        bench.wait_heard(SUSPECT_S)
        bench.store()
        self.assertIs(bench.role, Role.FOLLOWER)


class NoWitnessTests(SynchronousTestCase):
    def test_the_primary_begins_once_nobody_answers(self) -> None:
        bench = Bench("east", static=True)
        bench.wait(SUSPECT_S - TICK_S)
        self.assertEqual(bench.effects, [])
        bench.wait(TICK_S)
        self.assertEqual(bench.effects, [Store(EAST)])
        bench.store()
        self.assertIs(bench.role, Role.LEADER_SOLO)

    def test_the_primary_begins_at_once_where_nobody_listens_or_somebody_knows_nothing(self) -> None:
        refused, met = Bench("east", static=True), Bench("east", static=True)
        refused.peer_gone("")
        met.peer_says(None)
        self.assertEqual((refused.effects, met.effects), ([Store(EAST)], [Store(EAST)]))

    def test_a_secondary_waits_for_the_primary(self) -> None:
        bench = Bench("west", static=True)
        bench.peer_gone("")
        bench.peer_says(None)
        bench.wait(60)
        self.assertEqual(bench.effects, [])
        bench.peer_says(EAST)
        bench.store()
        self.assertIs(bench.role, Role.LEARNER)

    def test_who_was_alone_waits_for_word_of_the_other_before_it_goes_on(self) -> None:
        """Without a witness the other may have led since."""
        bench = Bench("east", EAST, 5, static=True)
        self.assertEqual((bench.role, bench.commit), (Role.BOOT, 0))
        bench.wait(SUSPECT_S)
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 5))

    def test_who_was_alone_goes_on_when_the_other_knows_nothing_newer(self) -> None:
        bench = Bench("east", Configuration(5, "east", ("east",)), 5, static=True)
        bench.peer_says(EAST)
        self.assertIs(bench.role, Role.LEADER_SOLO)

    def test_who_was_alone_never_leads_when_the_other_has_led_since(self) -> None:
        bench = Bench("east", EAST, 5, static=True)
        bench.peer_says(Configuration(2, "west", ("west",)))
        bench.wait(SUSPECT_S)
        self.assertIs(bench.role, Role.BOOT)
        bench.store()
        self.assertEqual(bench.roles, [Role.BOOT, Role.LEARNER])

    def test_a_follower_takes_over_after_silence_with_an_epoch_of_its_own_kind(self) -> None:
        for found, epoch in ((2, 4), (3, 4), (4, 6)):
            bench = Bench("west", Configuration(found, "east", ("east", "west")), 5, static=True)
            bench.leader_reached()
            bench.leader_lost()
            self.assertEqual(bench.to_store, [], "a link that is lost is no silence")
            bench.wait(SUSPECT_S)
            self.assertEqual(bench.to_store, [Configuration(epoch, "west", ("west",))])
            bench.store()
            self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 5))

    def test_a_follower_takes_over_at_once_when_the_process_is_gone(self) -> None:
        bench = Bench("west", BOTH, static=True)
        bench.peer_gone("")
        self.assertEqual(bench.to_store, [Configuration(4, "west", ("west",))])

    def test_a_leader_goes_on_alone_with_an_epoch_of_its_own_kind(self) -> None:
        for found, epoch in ((1, 3), (2, 3), (3, 5)):
            bench = Bench("east", Configuration(found, "east", ("east", "west")), 5, static=True)
            bench.wait(SUSPECT_S)
            self.assertEqual(bench.to_store, [Configuration(epoch, "east", ("east",))])

    @given(st.integers(1, 50), st.integers(1, 50))
    def test_two_nodes_never_make_the_same_epoch(self, east: int, west: int) -> None:
        made: dict[str, int] = {}
        for name, found, heard in (("east", east, west), ("west", west, east)):
            bench = Bench(name, Configuration(found, "north", ("east", "west")), static=True)
            bench.peer_says(Configuration(heard, "north", ("east", "west")))
            self.assertIs(bench.role, Role.FOLLOWER)
            bench.store()
            bench.wait(SUSPECT_S)
            made[name] = bench.to_store[0].epoch
            self.assertGreater(made[name], max(east, west))
            self.assertLessEqual(made[name], max(east, west) + 2)
        self.assertEqual((made["east"] % 2, made["west"] % 2), (1, 0))

    def test_the_lower_epoch_learns_and_the_higher_goes_on(self) -> None:
        east = Bench("east", Configuration(3, "east", ("east",)), 5, static=True)
        west = Bench("west", Configuration(4, "west", ("west",)), 5, static=True)
        for bench in (east, west):
            bench.wait(SUSPECT_S)
            self.assertIs(bench.role, Role.LEADER_SOLO)
        east.peer_says(west.replica.configuration)
        west.peer_says(east.replica.configuration)
        east.store()
        west.store()
        self.assertEqual((east.role, west.role), (Role.LEARNER, Role.LEADER_SOLO))

    def test_pairing_and_handing_over_are_agreed_to_by_the_leader_alone(self) -> None:
        bench = Bench("east", EAST, 5, static=True)
        bench.peer_gone("")
        bench.followed("west", 5)
        bench.store()
        self.assertEqual(bench.replica.configuration, Configuration(3, "east", ("east", "west")))
        self.assertTrue(bench.hand_over())
        bench.store()
        self.assertEqual(bench.replica.configuration, Configuration(5, "west", ("east", "west")))
        self.assertEqual((bench.role, bench.proposals), (Role.FOLLOWER, []))

    def test_nobody_is_isolated(self) -> None:
        bench = Bench("east", BOTH, 5, static=True)
        bench.wait(60)
        bench.store()
        self.assertNotIn(Role.ISOLATED, bench.roles)


class DispossessedTests(SynchronousTestCase):
    """A node whose disk knows nothing of a pair that it is counted to."""

    def blank(self, **rules: object) -> Bench:
        bench = Bench("east", **rules)
        bench.peer_says(BOTH)
        return bench

    def test_a_member_without_a_configuration_has_lost_its_disk_and_takes_no_part(self) -> None:
        bench = self.blank()
        bench.witness_up(BOTH)
        bench.wait(60)
        self.assertTrue(bench.replica.dispossessed)
        self.assertEqual((bench.effects, bench.role), ([], Role.BOOT))

    def test_without_a_witness_neither(self) -> None:
        bench = self.blank(static=True)
        bench.wait(60)
        self.assertEqual((bench.effects, bench.role), ([], Role.BOOT))

    def test_it_makes_no_first_configuration_though_the_witness_holds_none(self) -> None:
        """There is a pair: the other node has its log, and the witness has lost its disk as well."""
        bench = self.blank()
        bench.witness_up(None)
        bench.wait(5)
        self.assertEqual(bench.effects, [])

    def test_it_learns_once_it_is_left_out(self) -> None:
        bench = self.blank()
        bench.peer_says(WEST)
        bench.store()
        self.assertEqual((bench.role, bench.replica.dispossessed), (Role.LEARNER, False))

    def test_a_log_of_its_own_is_not_given_up_for_a_pair_that_it_meets(self) -> None:
        bench = Bench("west", None, 7)
        bench.peer_says(EAST)
        bench.wait(60)
        self.assertTrue(bench.replica.dispossessed)
        self.assertEqual(bench.effects, [])

    def test_the_operator_may_let_it_lead(self) -> None:
        bench = Bench("east", allow_data_loss=True)
        bench.witness_up(Configuration(7, "west", ("east", "west")))
        bench.wait(SUSPECT_S)
        self.assertEqual(bench.proposals, [Propose(Configuration(8, "east", ("east",)), lossy=True)])
        bench.agree()
        self.assertIs(bench.role, Role.LEADER_SOLO)

    def test_and_it_asks_one_question_at_a_time(self) -> None:
        bench = self.blank(allow_data_loss=True)
        bench.witness_up(BOTH)
        bench.wait(5)
        self.assertEqual(len(bench.proposals), 1)
        bench.witness_denied(BOTH)
        bench.tick()
        self.assertEqual(len(bench.proposals), 1)
        bench.wait(TICK_S)
        self.assertEqual(len(bench.proposals), 2)

    def test_not_while_the_witness_is_away(self) -> None:
        bench = self.blank(allow_data_loss=True)
        bench.wait(5)
        self.assertEqual(bench.proposals, [])

    def test_without_a_witness_the_operator_may_let_it_lead_too(self) -> None:
        bench = self.blank(static=True, allow_data_loss=True)
        self.assertEqual(bench.to_store, [])
        bench.wait(SUSPECT_S)
        self.assertEqual(bench.to_store, [Configuration(3, "east", ("east",))])


class BlankTests(SynchronousTestCase):
    """A disk that has never held all that was committed may be taken for that of a member: another was in its place."""

    def learner(self) -> Bench:
        bench = Bench("west")
        bench.peer_says(EAST)
        bench.store()
        bench.leader_reached()
        self.assertIs(bench.role, Role.LEARNER)
        return bench

    def test_a_learner_that_was_never_fed_is_no_member(self) -> None:
        bench = self.learner()
        bench.peer_says(BOTH)
        bench.wait(5)
        self.assertEqual((bench.role, bench.replica.dispossessed, bench.to_store), (Role.LEARNER, True, []))

    def test_one_that_was_fed_is(self) -> None:
        bench = self.learner()
        bench.fed()
        self.assertEqual(bench.effects[-1], Store(EAST, True))
        bench.peer_says(BOTH)
        bench.store()
        self.assertIs(bench.role, Role.FOLLOWER)

    def test_that_is_kept_once(self) -> None:
        bench = self.learner()
        bench.fed()
        effects = len(bench.effects)
        bench.fed()
        self.assertEqual(len(bench.effects), effects)

    def test_what_was_on_its_way_to_the_disk_is_not_undone_by_it(self) -> None:
        bench = self.learner()
        newer = Configuration(5, "east", ("east",))
        bench.peer_says(newer)
        bench.fed()
        self.assertEqual(bench.effects[-1], Store(newer, True))

    def test_its_disk_says_so(self) -> None:
        for complete, role in ((False, Role.LEARNER), (True, Role.FOLLOWER)):
            bench = Bench("west")
            bench.effects += bench.replica.start(EAST, 0, 0.0, complete=complete)
            bench.peer_says(BOTH)
            bench.store()
            self.assertIs(bench.role, role)

    def test_a_leader_that_notices_goes_on_alone_at_once(self) -> None:
        bench = leader()
        bench.follower_lost("west")
        bench.member_incomplete()
        self.assertEqual(bench.proposals, [Propose(Configuration(3, "east", ("east",)))])

    def test_whoever_does_not_lead_a_pair_has_no_member_to_drop(self) -> None:
        bench = alone()
        bench.member_incomplete()
        self.assertEqual(bench.proposals, [])


class DataLossTests(SynchronousTestCase):
    def test_a_learner_leads_when_the_operator_says_so_and_nobody_else_is_there(self) -> None:
        bench = Bench("west", EAST, 5, allow_data_loss=True)
        bench.witness_up(EAST)
        bench.wait(SUSPECT_S - TICK_S)
        self.assertEqual(bench.proposals, [])
        bench.wait(TICK_S)
        self.assertEqual(bench.proposals, [Propose(Configuration(2, "west", ("west",)), lossy=True)])
        bench.agree()
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 5))

    def test_not_while_it_is_let_follow(self) -> None:
        bench = Bench("west", EAST, 5, allow_data_loss=True)
        bench.witness_up(EAST)
        bench.leader_reached()
        bench.wait_heard(5)
        self.assertEqual(bench.proposals, [])

    def test_what_it_did_not_have_is_not_committed(self) -> None:
        """Else it would wait for a follower to have as much as was lost before it counts on it."""
        bench = Bench("west", EAST, 5, allow_data_loss=True)
        bench.witness_up(EAST)
        bench.replica.told_commit(100)
        bench.wait(SUSPECT_S)
        bench.agree()
        self.assertEqual(bench.commit, 5)
        bench.followed("east", 5)
        bench.store()
        self.assertEqual(bench.proposed, Configuration(3, "west", ("east", "west")))

    def test_a_follower_never_asks_for_it(self) -> None:
        bench = follower(allow_data_loss=True)
        bench.leader_lost()
        self.assertEqual([proposal.lossy for proposal in bench.proposals], [False])


class SeveralFollowersTests(SynchronousTestCase):
    """A leader may have more followers than members: what counts is who has to have everything."""

    @given(st.lists(st.tuples(st.sampled_from(["east", "west", "north"]), st.integers(0, 20))))
    def test_only_members_are_needed_for_a_commit(self, steps: list[tuple[str, int]]) -> None:
        bench = leader()
        bench.replica.appended(20)
        bench.follower_came("north")
        bench.follower_caught_up("north")
        durable = {"east": 5, "west": 5, "north": 0}
        for name, index in steps:
            durable[name] = max(durable[name], index)
            if name == "east":
                bench.stored_to(durable[name])
            else:
                bench.follower_has(name, index)
            self.assertEqual(bench.commit, min(durable["east"], durable["west"]))
        self.assertEqual((bench.replica.require, bench.stores, bench.proposals), ("", [], []))

    @given(st.lists(st.tuples(st.sampled_from(["east", "west", "north"]), st.integers(5, 20))))
    def test_and_whoever_is_to_be_one(self, steps: list[tuple[str, int]]) -> None:
        bench = leader()
        bench.make_way("north")
        bench.followed("north", 5)
        bench.store()
        bench.replica.appended(20)
        durable = {"east": 5, "west": 5, "north": 5}
        for name, index in steps:
            durable[name] = max(durable[name], index)
            if name == "east":
                bench.stored_to(durable[name])
            else:
                bench.follower_has(name, index)
            self.assertEqual(bench.commit, min(durable.values()))

    def test_a_spare_follower_does_not_stand_for_a_member_that_is_gone(self) -> None:
        bench = leader()
        bench.followed("north", 5)
        bench.follower_lost("west")
        bench.write(index=6)
        bench.follower_has("north", 6)
        bench.wait(SUSPECT_S - TICK_S)
        self.assertEqual((bench.commit, bench.proposals), (5, []))
        bench.peer_heard("north")
        bench.wait(TICK_S)
        self.assertEqual(bench.proposals, [Propose(Configuration(3, "east", ("east",)))], "it is silent all the same")

    def test_a_spare_follower_may_go_and_nothing_is_held_against_the_member(self) -> None:
        bench = leader()
        bench.followed("north", 5)
        bench.follower_lost("north")
        bench.peer_gone("north")
        bench.wait_heard(5)
        bench.write(index=6)
        bench.follower_has("west", 6)
        self.assertEqual((bench.commit, bench.proposals, bench.role), (6, [], Role.LEADER_PAIR))

    def test_the_one_that_matters_is_known_by_its_name(self) -> None:
        bench = leader()
        bench.follower_lost("west")
        bench.peer_gone("north")
        self.assertEqual(bench.proposals, [])
        bench.peer_gone("west")
        self.assertEqual(len(bench.proposals), 1)

    def test_to_a_follower_that_is_its_leader(self) -> None:
        bench = Bench("west", BOTH)
        bench.witness_up(BOTH)
        bench.peer_gone("north")
        self.assertEqual(bench.proposals, [])
        bench.wait(SUSPECT_S - TICK_S)
        bench.peer_heard("north")
        bench.wait(TICK_S)
        self.assertEqual(bench.proposals, [Propose(WEST)])

    def test_before_there_is_a_configuration_everybody_matters(self) -> None:
        bench = Bench("east", static=True)
        bench.peer_gone("north")
        self.assertEqual(bench.to_store, [EAST])

    def test_alone_somebody_who_wants_to_be_a_member_is_taken_in_and_nobody_else(self) -> None:
        bench = alone(5)
        bench.followed("north", 5, counts=False)
        self.assertEqual(bench.stores, [])
        bench.followed("west", 5)
        bench.store()
        self.assertEqual(bench.proposals, [Propose(BOTH)])

    def test_one_that_takes_nothing_keeps_nobody_out(self) -> None:
        bench = alone(5)
        bench.follower_came("north")
        bench.followed("west", 5)
        bench.store()
        self.assertEqual(bench.proposals, [Propose(BOTH)])

    def test_whoever_is_required_is_not_exchanged_for_another(self) -> None:
        bench = alone(5)
        bench.follower_came("north")
        bench.followed("west", 5)
        bench.follower_has("north", 5)
        bench.follower_caught_up("north")
        self.assertEqual(bench.replica.require, "west")
        bench.store()
        self.assertEqual((bench.proposals, bench.replica.require), ([Propose(BOTH)], "west"))

    def test_a_leader_that_goes_on_alone_takes_a_spare_follower_in(self) -> None:
        bench = leader()
        bench.followed("north", 5)
        bench.follower_lost("west")
        bench.wait(SUSPECT_S)
        bench.agree()
        self.assertEqual(bench.role, Role.LEADER_SOLO)
        bench.store()
        bench.agree()
        self.assertEqual(bench.replica.configuration, Configuration(4, "east", ("east", "north")))

    def test_who_is_isolated_waits_for_the_member_or_the_witness(self) -> None:
        bench = leader_cut_off()
        bench.followed("north", 5)
        bench.peer_heard("north")
        bench.tick()
        self.assertIs(bench.role, Role.ISOLATED)
        bench.follower_came("west")
        self.assertIs(bench.role, Role.LEADER_PAIR)

    def test_a_handover_is_to_the_member(self) -> None:
        bench = leader()
        bench.followed("north", 5)
        bench.write(index=6)
        bench.hand_over()
        bench.follower_has("north", 6)
        self.assertEqual(bench.proposals, [])
        bench.follower_has("west", 6)
        self.assertEqual(bench.proposals, [Propose(WEST_LEADS)])


class MakeWayTests(SynchronousTestCase):
    """North is to lead in East's place."""

    NORTH_TOO = Configuration(3, "east", ("east", "north"))
    NORTH_LEADS = Configuration(4, "north", ("east", "north"))

    def making_way(self) -> Bench:
        """Return a leader of a pair that has asked for its successor, and has no answer yet."""
        bench = leader()
        bench.make_way("north")
        bench.followed("north", 5)
        bench.store()
        self.assertEqual(bench.proposals, [Propose(self.NORTH_TOO)])
        return bench

    def test_a_successor_takes_the_place_of_the_other_and_then_leads(self) -> None:
        bench = leader()
        bench.make_way("north")
        bench.wait_heard(5)
        bench.follower_came("north")
        bench.follower_has("north", 4)
        bench.follower_caught_up("north")
        self.assertEqual((bench.effects[1:], bench.replica.require), ([], ""), "it has not what it had been sent")
        bench.follower_has("north", 5)
        self.assertEqual((bench.effects[1:], bench.replica.require), ([Store(BOTH, required="north")], "north"))
        bench.store()
        self.assertEqual(bench.proposals, [Propose(self.NORTH_TOO)])
        bench.witness_holds(self.NORTH_TOO)
        bench.write(index=6)
        bench.follower_has("north", 6)
        self.assertEqual(bench.commit, 5, "on this disk the other is a member still")
        bench.store()
        self.assertEqual((bench.role, bench.commit, bench.replica.require), (Role.HANDING, 6, ""))
        self.assertEqual(bench.configured, [self.NORTH_TOO])
        bench.agree()
        self.assertEqual((bench.role, bench.replica.configuration), (Role.FOLLOWER, self.NORTH_LEADS))
        self.assertEqual((bench.replica.successor, bench.replica.other), ("", "north"))

    def test_a_successor_of_a_leader_that_is_alone_is_taken_in_like_anybody(self) -> None:
        bench = alone(5)
        bench.make_way("north")
        bench.followed("west", 5)
        self.assertEqual(bench.stores, [], "another might be a member for no time at all")
        bench.followed("north", 5)
        bench.store()
        bench.agree()
        self.assertEqual(bench.proposed, Configuration(3, "north", ("east", "north")))
        bench.agree()
        self.assertIs(bench.role, Role.FOLLOWER)

    def test_a_successor_that_is_the_other_member_is_handed_leadership_at_once(self) -> None:
        bench = leader()
        bench.make_way("west")
        self.assertEqual((bench.role, bench.proposals), (Role.HANDING, [Propose(WEST_LEADS)]))

    def test_one_that_does_not_want_to_be_a_member_is_not_taken_in(self) -> None:
        bench = leader()
        bench.make_way("north")
        bench.followed("north", 5, counts=False)
        bench.wait_heard(5)
        self.assertEqual(bench.stores, [])

    def test_it_is_required_until_the_answer_is_known(self) -> None:
        bench = self.making_way()
        bench.follower_lost("north")
        bench.write(index=6)
        bench.follower_has("west", 6)
        bench.wait_heard(5)
        self.assertEqual((bench.replica.require, bench.commit), ("north", 5))
        bench.witness_denied(BOTH)
        self.assertEqual((bench.replica.require, bench.commit), ("", 6))

    def test_so_is_the_other(self) -> None:
        bench = self.making_way()
        bench.write(index=6)
        bench.follower_has("north", 6)
        self.assertEqual(bench.commit, 5)

    def test_a_member_that_goes_meanwhile_is_out_as_soon_as_the_successor_is_in(self) -> None:
        bench = self.making_way()
        bench.follower_lost("west")
        bench.peer_gone("west")
        bench.agree()
        self.assertEqual((bench.role, bench.proposed), (Role.HANDING, self.NORTH_LEADS))

    def test_a_member_that_is_gone_before_is_done_without_first(self) -> None:
        bench = leader()
        bench.make_way("north")
        bench.follower_lost("west")
        bench.peer_gone("west")
        bench.followed("north", 5)
        bench.agree()
        bench.store()
        bench.agree()
        self.assertEqual((bench.role, bench.proposed), (Role.HANDING, Configuration(5, "north", ("east", "north"))))

    def test_a_successor_that_goes_once_it_is_a_member_is_dropped(self) -> None:
        bench = self.making_way()
        bench.witness_holds(self.NORTH_TOO)
        bench.follower_lost("north")
        bench.store()
        bench.wait(SUSPECT_S - TICK_S)
        self.assertEqual((bench.role, len(bench.proposals)), (Role.LEADER_PAIR, 1))
        bench.wait(TICK_S)
        self.assertEqual(bench.proposed, Configuration(4, "east", ("east",)))
        bench.agree()
        bench.follower_has("west", 5)
        self.assertEqual(bench.replica.require, "", "the successor is waited for")

    def test_beside_another_node_nothing_is_held_against_that_one_yet(self) -> None:
        bench = self.making_way()
        bench.peer_gone("west")
        bench.wait(5)
        bench.witness_holds(self.NORTH_TOO)
        bench.follower_lost("north")
        bench.store()
        self.assertEqual((bench.role, len(bench.proposals)), (Role.LEADER_PAIR, 1))

    def test_a_handover_that_fails_is_tried_again(self) -> None:
        bench = self.making_way()
        bench.agree()
        bench.witness_denied(self.NORTH_TOO)
        self.assertEqual((bench.role, bench.replica.successor), (Role.LEADER_PAIR, "north"))
        bench.now += TICK_S
        bench.tick()
        self.assertEqual((bench.role, bench.proposals[1:]), (Role.HANDING, [Propose(self.NORTH_LEADS)] * 2))

    def test_a_leader_may_think_better_of_it(self) -> None:
        bench = leader()
        bench.make_way("north")
        bench.follower_came("north")
        bench.follower_caught_up("north")
        bench.make_way("")
        bench.follower_has("north", 5)
        bench.wait_heard(5)
        self.assertEqual((bench.stores, bench.replica.require), ([], ""))

    def required(self) -> Bench:
        """Return a leader whose successor is required, and not asked for yet: it lacks the last entry."""
        bench = leader()
        bench.make_way("north")
        bench.replica.appended(6)
        bench.follower_came("north")
        bench.follower_caught_up("north")
        bench.stored_to(6)
        bench.follower_has("west", 6)
        bench.follower_has("north", 5)
        bench.replica.appended(7)
        bench.stored_to(7)
        bench.follower_has("west", 7)
        self.assertEqual((bench.replica.require, bench.commit, bench.stores), ("north", 6, []))
        return bench

    def test_and_then_nothing_waits_for_the_successor_any_more(self) -> None:
        bench = self.required()
        bench.make_way("")
        self.assertEqual((bench.replica.require, bench.commit), ("", 7))
        bench.follower_has("north", 7)
        self.assertEqual(bench.stores, [])

    def test_what_is_under_way_is_waited_for_all_the_same(self) -> None:
        bench = leader()
        bench.make_way("north")
        bench.followed("north", 5)
        bench.write(index=6)
        bench.follower_has("west", 6)
        bench.make_way("")
        self.assertEqual((bench.replica.require, bench.commit), ("north", 5), "its disk is told")
        bench.store()
        self.assertEqual((bench.replica.require, bench.commit, bench.proposals), ("", 6, []))

    def test_or_takes_effect(self) -> None:
        bench = self.making_way()
        bench.make_way("")
        bench.write(index=6)
        bench.follower_has("west", 6)
        self.assertEqual((bench.replica.require, bench.commit), ("north", 5))
        bench.agree()
        self.assertEqual((bench.role, bench.replica.configuration), (Role.LEADER_PAIR, self.NORTH_TOO))

    def test_or_not_and_then_the_successor_is_a_spare_follower(self) -> None:
        bench = self.making_way()
        bench.make_way("")
        bench.write(index=6)
        bench.follower_has("west", 6)
        bench.witness_denied(BOTH)
        self.assertEqual((bench.replica.require, bench.commit), ("", 6))
        bench.wait_heard(5)
        self.assertEqual(len(bench.proposals), 1)

    def taken_in(self) -> Bench:
        """Return a leader that hands over to its successor, which has its place in the pair, and not everything yet."""
        bench = self.making_way()
        bench.write(index=6)
        bench.agree()
        self.assertEqual((bench.role, bench.replica.other), (Role.HANDING, "north"))
        return bench

    def hear_north(self, bench: Bench, seconds: float) -> None:
        for _ in range(int(seconds / TICK_S)):
            bench.wait(TICK_S)
            bench.peer_heard("north")

    def test_or_has_and_then_the_one_before_has_its_place_again(self) -> None:
        bench = self.taken_in()
        bench.make_way("")
        self.assertEqual((bench.replica.unwanted, bench.replica.expected), ("north", "west"))
        bench.follower_has("west", 6)
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_PAIR, 5), "a member counts as long as it is one")
        bench.follower_has("north", 6)
        self.assertEqual(bench.commit, 6)
        bench.store()
        bench.agree()
        self.assertEqual(bench.replica.configuration, Configuration(4, "east", ("east", "west")))
        self.assertEqual((bench.role, bench.replica.unwanted, bench.replica.expected), (Role.LEADER_PAIR, "", ""))

    def test_it_is_unwanted_still_by_a_leader_that_was_isolated_meanwhile(self) -> None:
        bench = self.taken_in()
        bench.follower_lost("west")
        bench.make_way("")
        bench.witness_down()
        bench.wait(SUSPECT_S)
        bench.follower_lost("north")
        self.assertIs(bench.role, Role.ISOLATED)
        bench.witness_up(self.NORTH_TOO)
        self.assertEqual((bench.role, bench.replica.unwanted), (Role.LEADER_PAIR, "north"))

    def test_or_nobody_has_if_there_was_nobody_before(self) -> None:
        bench = alone(5)
        bench.make_way("north")
        bench.followed("north", 5)
        bench.store()
        bench.agree()
        bench.witness_denied(bench.replica.configuration)
        bench.make_way("")
        self.assertEqual((bench.role, bench.replica.unwanted, bench.replica.expected), (Role.LEADER_PAIR, "north", ""))
        bench.now += TICK_S
        bench.tick()
        self.assertEqual(bench.proposed, Configuration(3, "east", ("east",)))

    def test_a_handover_that_is_asked_for_takes_effect_all_the_same(self) -> None:
        bench = self.taken_in()
        bench.follower_has("north", 6)
        bench.make_way("")
        self.assertEqual((bench.role, bench.proposed), (Role.HANDING, self.NORTH_LEADS))
        bench.agree()
        self.assertEqual((bench.role, bench.replica.unwanted), (Role.FOLLOWER, ""))
        bench.hold(Configuration(5, "east", ("east", "north")))
        bench.followed("north", 6)
        self.hear_north(bench, 10)
        self.assertEqual((bench.role, bench.replica.epoch), (Role.LEADER_PAIR, 5), "another time it is welcome")

    def test_one_that_is_wanted_after_all_leads(self) -> None:
        bench = self.taken_in()
        bench.make_way("")
        bench.make_way("north")
        bench.store()
        bench.follower_has("north", 6)
        self.assertEqual((bench.role, bench.replica.unwanted), (Role.HANDING, ""))
        self.assertEqual(bench.proposed, self.NORTH_LEADS)
        bench.witness_denied(self.NORTH_TOO)
        bench.make_way("")
        self.assertEqual((bench.replica.unwanted, bench.replica.expected), ("north", "west"))

    def test_a_member_that_was_one_before_stays_one(self) -> None:
        bench = leader()
        bench.make_way("west")
        bench.witness_denied(BOTH)
        bench.make_way("")
        bench.wait_heard(10)
        self.assertEqual((bench.role, bench.replica.unwanted, bench.replica.epoch), (Role.LEADER_PAIR, "", 2))

    def test_it_is_required_still_by_a_leader_that_was_isolated_before_it_heard_the_answer(self) -> None:
        """The other may not have heard either that it is no member any more, and follows."""
        asking, restarted = self.making_way(), Bench("east", BOTH, 5, required="north")
        asking.witness_down()
        asking.follower_lost("west")
        for bench, committed in ((asking, 5), (restarted, 0)):
            bench.wait(SUSPECT_S)
            self.assertIs(bench.role, Role.ISOLATED)
            bench.followed("west", 5)
            bench.write(index=6)
            bench.follower_has("west", 6)
            self.assertEqual((bench.role, bench.commit), (Role.LEADER_PAIR, committed))
            bench.witness_up(BOTH)
            self.assertEqual(bench.commit, 6)

    def test_the_answer_may_be_heard_of_from_a_node(self) -> None:
        bench = self.making_way()
        bench.witness_down()
        bench.peer_says(self.NORTH_TOO)
        bench.store()
        self.assertEqual((bench.role, bench.replica.require, bench.replica.undecided), (Role.LEADER_PAIR, "", False))

    def test_whoever_leads_no_more_makes_way_for_nobody(self) -> None:
        bench = self.making_way()
        bench.hold(Configuration(9, "west", ("east", "west")))
        self.assertEqual((bench.role, bench.replica.successor, bench.replica.require), (Role.FOLLOWER, "", ""))

    def test_after_a_restart_both_are_needed_until_the_witness_is_heard(self) -> None:
        for held, commits, then in ((BOTH, 7, Role.LEADER_PAIR), (self.NORTH_TOO, 6, Role.LEADER_PAIR)):
            bench = Bench("east", BOTH, 8, required="north")
            bench.followed("west", 7)
            bench.write(index=9)
            self.assertEqual(bench.commit, 0)
            bench.follower_came("north")
            bench.follower_has("north", 6)
            self.assertEqual((bench.role, bench.commit), (Role.LEADER_PAIR, 6))
            bench.follower_lost("north")
            bench.witness_up(held)
            bench.store()
            self.assertEqual((bench.role, bench.commit), (then, commits))


class LeavingTests(SynchronousTestCase):
    """North has East's place; East, a member, follows to bring what still waits, and wants to leave."""

    BEFORE = Configuration(4, "north", ("east", "north"))
    ALONE = Configuration(5, "north", ("north",))
    AFTER = Configuration(5, "north", ("north", "west"))

    def leaving(self, expected: str = "") -> Bench:
        bench = Bench("north", self.BEFORE, 5)
        bench.replica.expected = expected
        bench.witness_up(self.BEFORE)
        bench.followed("east", 5, counts=False)
        return bench

    def wait_heard(self, bench: Bench, seconds: float) -> None:
        for _ in range(int(seconds / TICK_S)):
            bench.wait(TICK_S)
            bench.peer_heard("east")

    def test_it_is_let_go_at_once_where_nobody_is_to_take_its_place(self) -> None:
        bench = self.leaving()
        self.assertEqual(bench.proposals, [Propose(self.ALONE)])
        bench.agree()
        self.assertIs(bench.role, Role.LEADER_SOLO)
        self.wait_heard(bench, 5)
        self.assertEqual((bench.stores[1:], len(bench.proposals)), ([], 1), "and not taken in again")

    def test_leadership_is_not_handed_to_it(self) -> None:
        bench = self.leaving("west")
        self.assertFalse(bench.hand_over())

    def test_whoever_is_to_take_its_place_is_waited_for(self) -> None:
        bench = self.leaving("west")
        self.wait_heard(bench, 2)
        self.assertEqual(bench.proposals, [])
        bench.followed("west", 5)
        self.assertEqual(bench.stores, [Store(self.BEFORE, required="west")])
        bench.store()
        self.assertEqual(bench.proposals, [Propose(self.AFTER)])
        bench.agree()
        self.assertEqual((bench.role, bench.replica.expected), (Role.LEADER_PAIR, ""))
        self.wait_heard(bench, 10)
        self.assertEqual((len(bench.proposals), bench.role), (1, Role.LEADER_PAIR))

    def test_but_not_for_ever(self) -> None:
        bench = self.leaving("west")
        bench.tick()
        self.wait_heard(bench, EXPECTED_S_MAX - TICK_S)
        self.assertEqual(bench.proposals, [])
        self.wait_heard(bench, TICK_S)
        self.assertEqual(bench.proposals, [Propose(self.ALONE)])
        bench.agree()
        bench.followed("west", 5)
        bench.store()
        bench.agree()
        self.assertEqual((bench.replica.configuration.members, bench.replica.expected), (("north", "west"), ""))

    def test_somebody_else_who_is_there_does_as_well(self) -> None:
        bench = Bench("north", self.BEFORE, 5)
        bench.witness_up(self.BEFORE)
        bench.followed("west", 5)
        self.assertEqual(bench.stores, [], "not while there is no place for it")
        bench.followed("east", 5, counts=False)
        bench.store()
        self.assertEqual(bench.proposals, [Propose(self.AFTER)])

    def test_it_counts_as_long_as_it_is_a_member(self) -> None:
        bench = self.leaving("west")
        bench.write(index=6)
        self.assertEqual(bench.commit, 5)
        bench.follower_has("east", 6)
        self.assertEqual(bench.commit, 6)

    def test_one_that_is_gone_is_waited_for_no_more(self) -> None:
        bench = self.leaving("west")
        bench.follower_lost("east")
        bench.peer_gone("east")
        self.assertEqual(bench.proposals, [Propose(self.ALONE)])

    def test_each_that_leaves_has_its_time(self) -> None:
        bench = self.leaving("west")
        bench.tick()
        bench.followed("west", 5)
        bench.store()
        bench.agree()
        bench.replica.expected = "south"
        self.wait_heard(bench, 10)
        bench.followed("west", 5, counts=False)
        bench.tick()
        self.assertEqual(len(bench.proposals), 1)


class DismissalTests(SynchronousTestCase):
    """Who follows and is to be no member may forget the log when it is none for sure."""

    NORTH_TOO = Configuration(3, "east", ("east", "north"))

    def may_go(self, bench: Bench, name: str) -> bool:
        return bench.replica.may_dismiss(bench.replica.followers[name])

    def test_whoever_is_no_member_and_does_not_want_to_be_may_go(self) -> None:
        bench = leader()
        bench.followed("north", 5, counts=False)
        self.assertTrue(self.may_go(bench, "north"))

    def test_whoever_wants_to_be_one_may_not(self) -> None:
        bench = leader()
        bench.followed("north", 5)
        self.assertFalse(self.may_go(bench, "north"))

    def test_a_member_may_not_before_it_is_let_go(self) -> None:
        bench = leader()
        bench.followed("west", 5, counts=False)
        self.assertFalse(self.may_go(bench, "west"))
        bench.agree()
        self.assertEqual(bench.replica.configuration.members, ("east",))
        self.assertTrue(self.may_go(bench, "west"))

    def test_whoever_may_be_one_already_may_not_before_the_answer_is_known(self) -> None:
        bench = leader()
        bench.make_way("north")
        bench.followed("north", 5)
        bench.store()
        self.assertEqual(bench.proposals, [Propose(self.NORTH_TOO)])
        bench.followed("north", 5, counts=False)
        self.assertFalse(self.may_go(bench, "north"))
        bench.witness_down()
        self.assertFalse(self.may_go(bench, "north"))
        bench.witness_up(BOTH)
        self.assertTrue(self.may_go(bench, "north"))

    def test_only_whoever_leads_knows(self) -> None:
        bench = leader()
        bench.followed("north", 5, counts=False)
        bench.peer_says(WEST)
        bench.store()
        self.assertFalse(self.may_go(bench, "north"))
        self.assertFalse(Replica(Rules("east", True, True)).may_dismiss(Follower("north", 0.0, counts=False)))


class StandbyTests(SynchronousTestCase):
    def standby(self, **rules: object) -> Bench:
        bench = Bench("north", standby=True, **rules)
        self.assertIs(bench.role, Role.STANDBY)
        return bench

    def test_it_takes_no_part_in_what_it_hears_of(self) -> None:
        bench = self.standby(allow_data_loss=True)
        bench.witness_up(None)
        bench.witness_holds(BOTH)
        bench.peer_says(Configuration(3, "east", ("east", "north")))
        bench.peer_gone("")
        bench.wait(60)
        self.assertEqual((bench.effects[1:], bench.replica.dispossessed), ([], False))

    def test_invited_it_learns(self) -> None:
        bench = self.standby()
        bench.witness_up(BOTH)
        bench.replica.invited()
        bench.peer_says(BOTH)
        self.assertEqual(bench.stores, [Store(BOTH, False)])
        bench.store()
        self.assertIs(bench.role, Role.LEARNER)

    def test_and_goes_on_like_anybody(self) -> None:
        bench = self.standby()
        bench.replica.invited()
        bench.peer_says(BOTH)
        bench.store()
        bench.leader_reached()
        bench.fed()
        bench.store()
        bench.hold(Configuration(3, "east", ("east", "north")))
        bench.hold(Configuration(4, "north", ("east", "north")))
        self.assertEqual(bench.roles[1:], [Role.STANDBY, Role.LEARNER, Role.FOLLOWER, Role.LEADER_PAIR])

    def test_one_whose_disk_has_something_is_what_that_says(self) -> None:
        self.assertIs(Bench("north", BOTH, standby=True).role, Role.LEARNER)
        self.assertIs(Bench("north", Configuration(1, "north", ("north",)), standby=True).role, Role.LEADER_SOLO)
        self.assertIs(Bench("north", None, 7, standby=True).role, Role.BOOT, "a log of its own")
        founding = Bench("north", Configuration(0, "north", ("north",)), standby=True)
        self.assertIs(founding.role, Role.BOOT)

    def test_without_a_witness_it_stands_by_too(self) -> None:
        bench = self.standby(static=True)
        bench.wait(5)
        self.assertEqual(bench.effects[1:], [])

    def forgetting(self) -> Bench:
        """Return a node that has retired, and has forgotten everything."""
        bench = follower()
        bench.write(index=6)
        bench.replica.told_commit(6)
        bench.hold(Configuration(5, "north", ("east", "north")))
        bench.effects += bench.replica.forgotten()
        return bench

    def test_who_has_forgotten_all_stands_by(self) -> None:
        bench = self.forgetting()
        replica = bench.replica
        self.assertIs(bench.role, Role.STANDBY)
        self.assertEqual((replica.configuration, replica.epoch, replica.other), (None, 0, ""))
        self.assertEqual((replica.end, replica.durable, replica.commit), (0, 0, 0))
        self.assertTrue(replica.blank)
        effects = len(bench.effects)
        bench.peer_says(Configuration(6, "north", ("north",)))
        bench.leader_lost()
        bench.wait(60)
        self.assertEqual((bench.effects[effects:], bench.replica.undecided), ([], False))

    def test_while_it_forgets_it_takes_nothing_in(self) -> None:
        """What is stored then would be forgotten, too, or not, as the disk has it."""
        bench = follower()
        bench.hold(Configuration(5, "north", ("east", "north")))
        bench.replica.forgetting = True
        bench.peer_says(Configuration(6, "north", ("north", "west")))
        self.assertEqual((bench.to_store, bench.replica.undecided), ([], False))
        bench.effects += bench.replica.forgotten()
        self.assertEqual((bench.role, bench.replica.forgetting), (Role.STANDBY, False))

    def test_nor_what_was_under_way_to_the_disk(self) -> None:
        bench = follower()
        bench.hold(Configuration(5, "north", ("east", "north")))
        bench.peer_says(Configuration(6, "north", ("north", "west")))
        self.assertTrue(bench.replica.undecided)
        bench.replica.forgetting = True
        bench.store()
        self.assertEqual((bench.role, bench.replica.epoch, bench.replica.undecided), (Role.LEARNER, 5, False))

    def test_and_can_be_invited_again(self) -> None:
        bench = self.forgetting()
        bench.replica.invited()
        newer = Configuration(6, "north", ("north",))
        bench.peer_says(newer)
        self.assertEqual(bench.stores[-1], Store(newer, False))
        bench.store()
        self.assertIs(bench.role, Role.LEARNER)

    def test_what_is_a_new_place_is_not_asked_about_before_it_is_taken(self) -> None:
        """An invitation is for once."""
        bench = self.standby()
        bench.replica.invited()
        bench.peer_says(BOTH)
        bench.store()
        bench.effects += bench.replica.forgotten()
        bench.peer_says(Configuration(6, "east", ("east",)))
        self.assertIs(bench.role, Role.STANDBY)
        self.assertEqual(bench.to_store, [])


class RoleTests(SynchronousTestCase):
    @given(st.integers(1, 5), st.sampled_from(["east", "west", "north"]))
    def test_the_role_is_what_the_configuration_says(self, epoch: int, leads: str) -> None:
        roles = {
            Cue.LEADS_ALONE: Role.LEADER_SOLO,
            Cue.LEADS_PAIR: Role.LEADER_PAIR,
            Cue.FOLLOWS: Role.FOLLOWER,
            Cue.LEARNS: Role.LEARNER,
        }
        for members in {(leads,), tuple(sorted({leads, "west"}))}:
            found = Configuration(epoch, leads, members)
            self.assertIs(Bench("east", found).role, roles[cue_of(found, "east")])
