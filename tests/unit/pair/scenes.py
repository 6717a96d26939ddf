"""A scene for every row of the table of roles; each ends with the step in question."""

from collections.abc import Callable

from chatproto.pair.configuration import Configuration
from chatproto.pair.states import Cue, Role
from tests.unit.pair.bench import BOTH, EAST, SUSPECT_S, WEST, WEST_LEADS, Bench, follower, handing, leader


def boot_alone() -> Bench:
    return Bench("east", EAST)


def boot_pair() -> Bench:
    return Bench("east", BOTH)


def boot_follows() -> Bench:
    return Bench("west", BOTH)


def boot_learns() -> Bench:
    return Bench("west", EAST)


def boot_stands_by() -> Bench:
    return Bench("north", standby=True)


def takeover() -> Bench:
    bench = follower()
    bench.leader_lost()
    bench.agree()
    return bench


def handed_over() -> Bench:
    bench = follower()
    bench.hold(WEST_LEADS)
    return bench


def dropped() -> Bench:
    bench = follower()
    bench.hold(Configuration(3, "east", ("east",)))
    return bench


def follower_cut_off() -> Bench:
    bench = follower()
    bench.witness_down()
    bench.leader_lost()
    bench.wait(SUSPECT_S)
    return bench


def learner_grown() -> Bench:
    bench = boot_learns()
    bench.hold(BOTH)
    return bench


def learner_grown_and_handed_over() -> Bench:
    """It was away when the witness agreed to the first of the two, and hears of the second only."""
    bench = boot_learns()
    bench.witness_up(WEST_LEADS)
    bench.store()
    return bench


def learner_leads_lossy() -> Bench:
    bench = Bench("west", EAST, allow_data_loss=True)
    bench.witness_up(EAST)
    bench.wait(SUSPECT_S)
    bench.agree()
    return bench


def forgotten() -> Bench:
    bench = boot_learns()
    bench.effects += bench.replica.forgotten()
    return bench


def invited() -> Bench:
    bench = boot_stands_by()
    bench.replica.invited()
    bench.peer_says(BOTH)
    bench.store()
    return bench


def grown() -> Bench:
    bench = Bench("east", EAST).paired()
    bench.agree()
    return bench


def alone_then_follows() -> Bench:
    bench = boot_alone()
    bench.witness_up(Configuration(9, "west", ("east", "west")))
    bench.store()
    return bench


def alone_then_learns() -> Bench:
    bench = boot_alone()
    bench.peer_says(Configuration(9, "west", ("west",)))
    bench.store()
    return bench


def shrunk() -> Bench:
    bench = leader()
    bench.follower_lost("west")
    bench.wait(SUSPECT_S)
    bench.agree()
    return bench


def pair_then_follows() -> Bench:
    """A handover took effect whose outcome was not heard."""
    bench = leader()
    bench.hand_over()
    bench.witness_down()
    bench.witness_up(WEST_LEADS)
    bench.store()
    return bench


def taken_over() -> Bench:
    bench = leader()
    bench.peer_says(WEST)
    bench.store()
    return bench


def leader_cut_off() -> Bench:
    bench = leader()
    bench.witness_down()
    bench.follower_lost("west")
    bench.wait(SUSPECT_S)
    return bench


def begins_to_hand_over() -> Bench:
    return handing()


def handed() -> Bench:
    bench = handing()
    bench.follower_has("west", 6)
    bench.agree()
    return bench


def handover_given_up() -> Bench:
    bench = handing()
    bench.follower_has("west", 6)
    bench.witness_denied(BOTH)
    return bench


def handing_then_alone() -> Bench:
    bench = handing()
    bench.follower_lost("west")
    bench.wait(SUSPECT_S)
    bench.agree()
    return bench


def handed_and_dropped() -> Bench:
    bench = handing()
    bench.follower_has("west", 6)
    bench.hold(Configuration(4, "west", ("west",)))
    return bench


def handing_cut_off() -> Bench:
    bench = handing()
    bench.witness_down()
    bench.follower_lost("west")
    bench.wait(SUSPECT_S)
    return bench


def isolated_took_over() -> Bench:
    """The takeover that it had asked for took effect, and it hears of it late."""
    bench = follower()
    bench.leader_lost()
    bench.witness_down()
    bench.wait(SUSPECT_S)
    bench.witness_up(bench.proposed)
    bench.store()
    return bench


def isolated_leads_on() -> Bench:
    bench = leader_cut_off()
    bench.witness_up(BOTH)
    return bench


def isolated_follows_on() -> Bench:
    bench = follower_cut_off()
    bench.witness_up(BOTH)
    return bench


def isolated_dropped() -> Bench:
    bench = leader_cut_off()
    bench.witness_up(WEST)
    bench.store()
    return bench


SCENES: dict[tuple[Role, Cue], Callable[[], Bench]] = {
    (Role.BOOT, Cue.LEADS_ALONE): boot_alone,
    (Role.BOOT, Cue.LEADS_PAIR): boot_pair,
    (Role.BOOT, Cue.FOLLOWS): boot_follows,
    (Role.BOOT, Cue.LEARNS): boot_learns,
    (Role.BOOT, Cue.STANDS_BY): boot_stands_by,
    (Role.FOLLOWER, Cue.LEADS_ALONE): takeover,
    (Role.FOLLOWER, Cue.LEADS_PAIR): handed_over,
    (Role.FOLLOWER, Cue.LEARNS): dropped,
    (Role.FOLLOWER, Cue.CUT_OFF): follower_cut_off,
    (Role.LEARNER, Cue.FOLLOWS): learner_grown,
    (Role.LEARNER, Cue.LEADS_PAIR): learner_grown_and_handed_over,
    (Role.LEARNER, Cue.LEADS_ALONE): learner_leads_lossy,
    (Role.LEARNER, Cue.STANDS_BY): forgotten,
    (Role.STANDBY, Cue.LEARNS): invited,
    (Role.LEADER_SOLO, Cue.LEADS_PAIR): grown,
    (Role.LEADER_SOLO, Cue.FOLLOWS): alone_then_follows,
    (Role.LEADER_SOLO, Cue.LEARNS): alone_then_learns,
    (Role.LEADER_PAIR, Cue.LEADS_ALONE): shrunk,
    (Role.LEADER_PAIR, Cue.FOLLOWS): pair_then_follows,
    (Role.LEADER_PAIR, Cue.LEARNS): taken_over,
    (Role.LEADER_PAIR, Cue.CUT_OFF): leader_cut_off,
    (Role.LEADER_PAIR, Cue.HAND_OVER): begins_to_hand_over,
    (Role.HANDING, Cue.FOLLOWS): handed,
    (Role.HANDING, Cue.GIVEN_UP): handover_given_up,
    (Role.HANDING, Cue.LEADS_ALONE): handing_then_alone,
    (Role.HANDING, Cue.LEARNS): handed_and_dropped,
    (Role.HANDING, Cue.CUT_OFF): handing_cut_off,
    (Role.ISOLATED, Cue.LEADS_ALONE): isolated_took_over,
    (Role.ISOLATED, Cue.LEADS_PAIR): isolated_leads_on,
    (Role.ISOLATED, Cue.FOLLOWS): isolated_follows_on,
    (Role.ISOLATED, Cue.LEARNS): isolated_dropped,
}
