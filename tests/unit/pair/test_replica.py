from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.configuration import Configuration
from chatproto.pair.replica import ASK_AGAIN_S, Configured, Propose, Store
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

    def test_the_newest_of_several_to_be_stored_is_what_holds_in_the_end(self) -> None:
        bench = Bench("west", EAST)
        bench.peer_says(BOTH)
        bench.peer_says(WEST_LEADS)
        bench.peer_says(BOTH)
        self.assertEqual(bench.to_store, [BOTH, WEST_LEADS])
        bench.store()
        self.assertEqual(bench.configured, [BOTH, WEST_LEADS])
        self.assertIs(bench.role, Role.LEADER_PAIR)


class AckTests(SynchronousTestCase):
    """An entry is committed when it is durable on every member, and on whom the leader wants as one."""

    def test_alone_it_is_committed_when_it_is_durable(self) -> None:
        bench = alone()
        bench.replica.appended(4)
        self.assertEqual((bench.commit, bench.replica.end), (0, 4))
        bench.stored_to(3)
        self.assertEqual(bench.commit, 3)

    def test_what_a_single_member_finds_on_its_disk_is_committed_once_the_witness_is_heard(self) -> None:
        """It may have asked, in its earlier life, to have the other for a member."""
        bench = Bench("east", EAST, 5)
        bench.wait(60)
        self.assertEqual((bench.role, bench.replica.require, bench.commit), (Role.LEADER_SOLO, True, 0))
        bench.witness_up(EAST)
        self.assertEqual((bench.replica.require, bench.commit), (False, 5))

    def test_a_witness_that_is_behind_does_not_know_what_was_asked_for(self) -> None:
        bench = Bench("east", Configuration(5, "east", ("east",)), 5)
        bench.witness_up(None)
        bench.witness_holds(EAST)
        self.assertEqual(bench.commit, 0)
        bench.witness_holds(Configuration(5, "east", ("east",)))
        self.assertEqual(bench.commit, 5)

    def test_or_once_the_other_has_it_too(self) -> None:
        bench = Bench("east", EAST, 5)
        bench.follower_came("west", 0)
        bench.follower_has(3)
        self.assertEqual(bench.commit, 3)

    def test_it_does_not_wait_for_a_learner_that_is_behind_once_the_witness_is_heard(self) -> None:
        bench = Bench("east", EAST, 5)
        bench.follower_came("west", 0)
        bench.witness_up(EAST)
        self.assertEqual((bench.replica.require, bench.commit), (False, 5))

    def test_in_a_pair_nothing_found_is_committed_before_the_follower_has_it(self) -> None:
        bench = Bench("east", BOTH, 5)
        self.assertEqual(bench.commit, 0)
        bench.follower_came("west", 2)
        self.assertEqual(bench.commit, 2)
        bench.follower_has(4)
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
                bench.follower_has(index)
            self.assertEqual(bench.commit, min(mine, theirs))

    def test_with_the_follower_gone_nothing_is_committed_until_it_is_dropped(self) -> None:
        bench = leader()
        bench.follower_lost()
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
        bench.follower_has(6)
        self.assertEqual(bench.commit, 6)

    def test_who_is_isolated_commits_nothing(self) -> None:
        bench = leader_cut_off()
        bench.write(index=9)
        bench.follower_has(9)
        self.assertEqual(bench.commit, 5)

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
        bench.follower_lost()
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
        bench.follower_lost()
        bench.peer_gone()
        self.assertEqual(len(bench.proposals), 1)

    def test_who_is_gone_and_heard_again_is_not_gone(self) -> None:
        on_its_link, with_hello = leader(), leader()
        on_its_link.peer_gone()
        on_its_link.peer_heard()
        with_hello.peer_gone()
        with_hello.peer_says(None)
        for bench in (on_its_link, with_hello):
            bench.follower_lost()
            self.assertEqual(bench.proposals, [])

    def test_a_denial_is_not_the_end_of_it(self) -> None:
        bench = leader()
        bench.follower_lost()
        bench.peer_gone()
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
        bench.follower_lost()
        bench.peer_gone()
        self.assertIs(bench.role, Role.LEADER_PAIR, "another may come within the time")
        bench.wait(SUSPECT_S)
        self.assertEqual((bench.role, bench.proposals), (Role.ISOLATED, []))

    def test_while_it_waits_for_the_answer_the_follower_may_come_back(self) -> None:
        bench = leader()
        bench.follower_lost()
        bench.wait(SUSPECT_S)
        bench.follower_came("west", 0)
        bench.follower_has(5)
        bench.witness_denied(BOTH)
        bench.wait_heard(5)
        self.assertEqual((bench.role, len(bench.proposals)), (Role.LEADER_PAIR, 1))

    def test_a_follower_that_beats_and_takes_nothing_is_dropped(self) -> None:
        bench = leader()
        bench.follower_lost()
        bench.follower_came("west", 0)
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
        bench.peer_gone()
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
        bench.peer_gone()
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
        bench.follower_came("west", 0)
        bench.follower_has(3)
        bench.follower_caught_up()
        bench.write(index=8)
        self.assertEqual((bench.replica.require, bench.commit), (False, 8), "nothing waits for what it was sent before")
        bench.follower_has(5)
        self.assertEqual((bench.replica.require, bench.proposals), (True, []), "it has not all that is committed")
        bench.write(index=9)
        self.assertEqual(bench.commit, 8, "nothing more is committed without it")
        bench.follower_has(8)
        self.assertEqual(bench.proposals, [Propose(BOTH)])
        bench.follower_has(9)
        self.assertEqual(bench.commit, 9)
        bench.agree()
        self.assertEqual((bench.role, bench.replica.require, bench.commit), (Role.LEADER_PAIR, False, 9))

    def test_members_are_sorted(self) -> None:
        bench = Bench("west", WEST, 5)
        bench.witness_up(WEST)
        bench.follower_came("east", 0)
        bench.follower_has(5)
        bench.follower_caught_up()
        self.assertEqual(bench.proposed, Configuration(4, "west", ("east", "west")))

    def test_it_is_not_asked_for_while_the_witness_cannot_be(self) -> None:
        bench = alone(5)
        bench.witness_down()
        bench.follower_came("west", 0)
        bench.follower_has(5)
        bench.follower_caught_up()
        bench.write(index=6)
        self.assertEqual((bench.replica.require, bench.commit), (False, 6))
        bench.witness_up(EAST)
        self.assertEqual((bench.replica.require, bench.proposals), (True, []))
        bench.follower_has(6)
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
        bench.follower_came("west", 0)
        bench.follower_caught_up()
        bench.write(index=8)
        bench.follower_lost()
        self.assertEqual((bench.replica.require, bench.commit, bench.replica.match), (False, 8, 0))

    def growing(self) -> Bench:
        bench = Bench("east", EAST, 5).paired(5)
        bench.write(index=8)
        self.assertEqual(bench.proposals, [Propose(BOTH)])
        return bench

    def test_a_follower_that_goes_while_the_witness_is_asked_is_required_still(self) -> None:
        bench = self.growing()
        bench.follower_lost()
        bench.wait(10)
        self.assertEqual((bench.replica.require, bench.commit), (True, 5))

    def test_it_is_required_no_more_when_the_witness_denies(self) -> None:
        bench = self.growing()
        bench.follower_lost()
        bench.witness_denied(EAST)
        self.assertEqual((bench.replica.require, bench.commit), (False, 8))

    def test_it_is_required_while_it_is_there_though_the_witness_denies(self) -> None:
        bench = self.growing()
        bench.witness_denied(EAST)
        self.assertEqual((bench.replica.require, bench.commit), (True, 5))
        bench.wait(TICK_S)
        self.assertEqual(len(bench.proposals), 2)

    def test_it_is_required_while_nobody_knows_what_the_witness_has_done(self) -> None:
        bench = self.growing()
        bench.witness_down()
        bench.follower_lost()
        bench.wait(10)
        self.assertEqual((bench.role, bench.replica.require, bench.commit), (Role.LEADER_SOLO, True, 5))
        bench.witness_up(EAST)
        self.assertEqual((bench.replica.require, bench.commit), (False, 8))

    def test_what_the_witness_has_done_is_found_out(self) -> None:
        bench = self.growing()
        bench.follower_lost()
        bench.witness_down()
        bench.witness_up(BOTH)
        self.assertEqual((bench.replica.require, bench.commit), (True, 5))
        bench.store()
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_PAIR, 5))
        bench.wait(SUSPECT_S)
        bench.agree()
        self.assertEqual((bench.role, bench.commit), (Role.LEADER_SOLO, 8))

    def test_who_went_while_it_was_agreed_to_is_dropped_again(self) -> None:
        bench = self.growing()
        bench.witness_holds(BOTH)
        bench.follower_lost()
        self.assertEqual((bench.replica.require, bench.commit), (True, 5), "agreed to, and not yet on this disk")
        bench.store()
        bench.wait(SUSPECT_S)
        self.assertEqual(bench.proposed, Configuration(3, "east", ("east",)))

    def test_a_follower_is_not_required_before_it_has_said_that_it_follows(self) -> None:
        """Even with an empty log: only by then it knows that it is complete."""
        bench = Bench("east", EAST)
        bench.witness_up(EAST)
        bench.follower_came("west", 0)
        bench.follower_caught_up()
        self.assertEqual((bench.replica.require, bench.proposals), (False, []))
        bench.follower_has(0)
        self.assertEqual((bench.replica.require, bench.proposals), (True, [Propose(BOTH)]))

    def test_a_follower_that_comes_again_has_to_catch_up_again(self) -> None:
        bench = Bench("east", EAST, 5)
        bench.follower_came("west", 0)
        bench.follower_caught_up()
        bench.follower_lost()
        bench.follower_came("west", 0)
        bench.follower_has(5)
        bench.witness_up(EAST)
        self.assertEqual(bench.proposals, [])
        bench.follower_caught_up()
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
        bench.follower_lost()
        bench.wait(10)
        self.assertEqual((bench.proposals, bench.hand_over()), ([], False))

    def test_an_isolated_leader_leads_on_when_the_other_follows_in_its_epoch(self) -> None:
        bench = leader_cut_off()
        bench.follower_came("west", 5)
        self.assertIs(bench.role, Role.LEADER_PAIR)
        bench.write(index=6)
        bench.follower_has(6)
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
            bench.replica.follower_lost(bench.now)
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
        bench.follower_has(6)
        self.assertEqual(bench.proposals, [])
        bench.follower_has(7)
        self.assertEqual(bench.proposals, [Propose(WEST_LEADS)])
        bench.agree()
        self.assertEqual((bench.role, bench.commit), (Role.FOLLOWER, 7))

    def test_the_other_need_not_have_what_is_not_durable_here_and_then_it_is_waited_for(self) -> None:
        bench = leader()
        bench.replica.appended(7)
        bench.hand_over()
        bench.follower_has(7)
        self.assertEqual(bench.proposals, [])
        bench.stored_to(7)
        self.assertEqual(bench.proposals, [Propose(WEST_LEADS)])

    def test_with_nothing_to_wait_for_it_is_asked_for_at_once(self) -> None:
        bench = leader()
        bench.hand_over()
        self.assertEqual(bench.proposals, [Propose(WEST_LEADS)])

    def test_only_the_leader_of_a_pair_with_a_follower_may(self) -> None:
        lonely = leader()
        lonely.follower_lost()
        unwitnessed = leader()
        unwitnessed.witness_down()
        asking = leader()
        asking.follower_lost()
        asking.wait(SUSPECT_S)
        asking.follower_came("west", 5)
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
        bench.follower_has(6)
        bench.wait_heard(5)
        self.assertEqual((bench.role, bench.proposals), (Role.LEADER_PAIR, []))

    def test_a_question_that_is_open_is_not_given_up_for_time(self) -> None:
        bench = handing(hand_over_s_max=2.0)
        bench.follower_has(6)
        bench.wait_heard(10)
        self.assertIs(bench.role, Role.HANDING)
        bench.agree()
        self.assertIs(bench.role, Role.FOLLOWER)

    def test_what_is_agreed_to_is_not_given_up_while_it_is_on_its_way_to_the_disk(self) -> None:
        for static in (False, True):
            bench = handing(hand_over_s_max=2.0, static=static)
            bench.follower_has(6)
            if not static:
                bench.witness_holds(bench.proposed)
            bench.wait_heard(10)
            self.assertIs(bench.role, Role.HANDING)
            bench.store()
            self.assertEqual((bench.role, bench.replica.configuration), (Role.FOLLOWER, WEST_LEADS))

    def test_it_is_given_up_when_the_witness_denies(self) -> None:
        bench = handing()
        bench.follower_has(6)
        bench.witness_denied(BOTH)
        self.assertIs(bench.role, Role.LEADER_PAIR)
        bench.wait_heard(5)
        self.assertEqual(len(bench.proposals), 1)

    def test_it_is_given_up_when_the_witness_goes_while_it_is_asked(self) -> None:
        bench = handing()
        bench.follower_has(6)
        bench.witness_down()
        self.assertIs(bench.role, Role.LEADER_PAIR)

    def test_it_goes_on_when_the_witness_goes_before_it_is_asked(self) -> None:
        bench = handing()
        bench.witness_down()
        self.assertIs(bench.role, Role.HANDING)
        bench.follower_has(6)
        bench.witness_up(BOTH)
        self.assertEqual(bench.proposals, [Propose(WEST_LEADS)])

    def test_after_the_compare_and_set_the_other_leads_whether_it_was_heard_or_not(self) -> None:
        bench = handing()
        bench.follower_has(6)
        bench.witness_down()
        bench.write(index=7)
        bench.witness_up(WEST_LEADS)
        bench.store()
        self.assertEqual((bench.role, bench.commit), (Role.FOLLOWER, 6))

    def test_a_follower_that_goes_ends_it_in_time(self) -> None:
        bench = handing(hand_over_s_max=0.25)
        bench.follower_lost()
        bench.wait(0.25)
        self.assertEqual([role.value for role in bench.roles[-2:]], ["handing", "leader-pair"])
        bench.wait(SUSPECT_S)
        self.assertEqual(bench.proposals, [Propose(Configuration(3, "east", ("east",)))])

    def test_a_follower_whose_process_is_gone_is_dropped_at_once(self) -> None:
        bench = handing()
        bench.follower_lost()
        bench.peer_gone()
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
        bench.follower_came("east", 0)
        bench.follower_has(5)
        bench.follower_caught_up()
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
        bench.follower_came("east", 0)
        bench.follower_has(5)
        bench.follower_caught_up()
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
        refused.peer_gone()
        met.peer_says(None)
        self.assertEqual((refused.effects, met.effects), ([Store(EAST)], [Store(EAST)]))

    def test_a_secondary_waits_for_the_primary(self) -> None:
        bench = Bench("west", static=True)
        bench.peer_gone()
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
        bench.peer_gone()
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
        bench.peer_gone()
        bench.follower_came("west", 0)
        bench.follower_has(5)
        bench.follower_caught_up()
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
        bench.follower_lost()
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
        bench.follower_came("east", 0)
        bench.follower_has(5)
        bench.follower_caught_up()
        self.assertEqual(bench.proposed, Configuration(3, "west", ("east", "west")))

    def test_a_follower_never_asks_for_it(self) -> None:
        bench = follower(allow_data_loss=True)
        bench.leader_lost()
        self.assertEqual([proposal.lossy for proposal in bench.proposals], [False])


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
