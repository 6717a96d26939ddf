from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatproto.pair.configuration import Configuration
from chatproto.registry.messages import (
    VERSION,
    Claim,
    Denied,
    Hello,
    Holds,
    Message,
    Propose,
    Refused,
    Welcome,
    decode_state,
)
from chatproto.registry.rules import DENIALS
from chatproto.registry.witness import NODES_MAX, SERVICES_MAX, Abort, Effect, End, Keep, Send, Witness

LEASE = 0.875
BEAT = 0.125
"""Fractions that add up without an error."""


def config(epoch: int, leader: str, *others: str) -> Configuration:
    return Configuration(epoch, leader, tuple(sorted((leader, *others))))


class WitnessTestCase(SynchronousTestCase):
    """A witness whose nodes beat, and whose disk is done when a test says so."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.numbers = 0
        self.at: dict[str, int] = {}
        self.begin()

    def begin(self, **held: Configuration) -> None:
        """Begin a life of the witness, long enough ago that it believes what it does not hear."""
        self.restart(**held)
        self.wait(LEASE)

    def restart(self, **held: Configuration) -> None:
        self.at.clear()
        self.witness = Witness(LEASE, held, self.now)
        self.kept: list[Keep] = []
        self.denials: set[str] = set()

    def wait(self, seconds: float, silent: str = "") -> None:
        """Let time pass; every node that is connected beats, but for the silent one."""
        for _ in range(round(seconds / BEAT)):
            self.now += BEAT
            for name, at in self.at.items():
                if name != silent:
                    self.witness.heard(at, self.now)

    def hello(self, name: str, claim: Configuration | None = None, **more: Any) -> list[Effect]:
        self.numbers += 1
        self.at[name] = self.numbers
        fields = {"version": VERSION, "service": "chat", "founder": False, "life": 1, "dial": self.numbers, **more}
        return self.take(self.witness.hello(self.numbers, Hello(node=name, claim=claim, **fields), self.now))

    def claim(self, name: str, configuration: Configuration) -> list[Effect]:
        return self.take(self.witness.claim(self.at[name], Claim(configuration), self.now))

    def propose(self, name: str, configuration: Configuration, *, lossy: bool = False) -> list[Effect]:
        return self.take(self.witness.propose(self.at[name], Propose(configuration, lossy), self.now))

    def gone(self, name: str, *, closed: bool = True) -> None:
        self.witness.gone(self.at.pop(name), closed=closed, now=self.now)

    def take(self, effects: list[Effect]) -> list[Effect]:
        self.kept += [effect for effect in effects if isinstance(effect, Keep)]
        return effects

    def done(self) -> list[Effect]:
        """The change that was asked for first is durable."""
        return self.take(self.witness.kept(self.kept.pop(0).service))

    def to(self, name: str, message: Message) -> Send:
        return Send(self.at[name], message)

    # Short ways

    def grant(self, name: str, configuration: Configuration, *, lossy: bool = False) -> None:
        """See a proposal granted, kept and told to everybody."""
        (keep,) = self.propose(name, configuration, lossy=lossy)
        assert isinstance(keep, Keep)
        self.assertEqual(decode_state(keep.state)["chat"], configuration)
        self.assertNotEqual(self.witness.held("chat"), configuration)
        told = [Send(at, Holds(configuration)) for at in self.at.values()]
        self.assertCountEqual(self.done(), told)
        self.assertEqual(self.witness.held("chat"), configuration)

    def deny(self, name: str, configuration: Configuration, reason: str, *, lossy: bool = False) -> None:
        """See a proposal denied, and nothing else."""
        self.assertIn(reason, DENIALS)
        denied = Denied(configuration.epoch, reason, self.witness.held("chat"))
        self.assertEqual(self.propose(name, configuration, lossy=lossy), [self.to(name, denied)])

    def pair(self, held: Configuration) -> None:
        """East and west are connected, and both hold this."""
        self.begin(chat=held)
        for name in ("east", "west"):
            self.assertEqual(self.hello(name, held), [self.to(name, Welcome(held))])
        self.wait(LEASE)


class FoundingTests(WitnessTestCase):
    def test_the_primary_makes_the_first_configuration(self) -> None:
        self.assertEqual(self.hello("east", founder=True), [self.to("east", Welcome(None))])
        self.assertIsNone(self.witness.held("chat"))
        self.grant("east", config(1, "east"))

    def test_a_secondary_does_not(self) -> None:
        self.hello("west")
        self.deny("west", config(1, "west"), "not-founder")
        self.deny("west", config(1, "west"), "not-founder", lossy=True)

    def test_only_in_its_one_form(self) -> None:
        self.hello("east", founder=True)
        self.deny("east", config(1, "east", "west"), "not-allowed")
        self.deny("east", config(1, "west"), "not-allowed")
        self.grant("east", config(1, "east"))

    def test_with_the_epoch_of_the_log_that_it_brings(self) -> None:
        self.hello("east", founder=True)
        self.grant("east", config(1_795_000_000, "east"))

    def test_not_once_there_is_one(self) -> None:
        self.begin(chat=config(1, "east"))
        self.hello("west", founder=True)
        self.deny("west", config(1, "west"), "stale")
        self.deny("west", config(2, "west"), "not-a-member")

    def test_not_when_somebody_claims_to_hold_one(self) -> None:
        """The witness has lost its disk, and perhaps the primary as well."""
        self.hello("west", config(5, "east", "west"))
        self.hello("east", founder=True)
        self.deny("east", config(1, "east"), "forgotten")
        self.gone("west")
        self.deny("east", config(1, "east"), "forgotten")

    def test_not_when_it_claims_one_itself(self) -> None:
        self.hello("east", config(5, "east"), founder=True)
        self.deny("east", config(1, "east"), "forgotten")

    def test_not_before_others_could_be_heard(self) -> None:
        self.restart()
        self.hello("east", founder=True)
        self.deny("east", config(1, "east"), "too-early")
        self.wait(LEASE - BEAT)
        self.deny("east", config(1, "east"), "too-early")
        self.wait(BEAT)
        self.grant("east", config(1, "east"))


class LeaderTests(WitnessTestCase):
    def test_goes_on_alone(self) -> None:
        self.pair(config(3, "east", "west"))
        self.grant("east", config(4, "east"))

    def test_alone_already_it_may_begin_anew(self) -> None:
        self.begin(chat=config(3, "east"))
        self.hello("east", config(3, "east"))
        self.grant("east", config(4, "east"))

    def test_grows(self) -> None:
        self.pair(config(3, "east"))
        self.grant("east", config(4, "east", "west"))

    def test_swaps(self) -> None:
        self.pair(config(3, "east", "west"))
        self.grant("east", config(4, "east", "north"))

    def test_hands_over(self) -> None:
        self.pair(config(3, "east", "west"))
        self.grant("east", config(4, "west", "east"))
        self.claim("west", config(4, "west", "east"))
        self.grant("west", config(5, "east", "west"))

    def test_hands_over_and_leaves(self) -> None:
        self.pair(config(3, "east", "west"))
        self.grant("east", config(4, "west"))

    def test_nothing_else(self) -> None:
        self.pair(config(3, "east", "west"))
        for configuration in (
            config(4, "east", "west"),
            config(4, "north"),
            config(4, "north", "east"),
            config(4, "west", "north"),
            config(4, "east", "west", "north"),
            Configuration(4, "east", ("west",)),
            Configuration(4, "east", ()),
            Configuration(4, "east", ("west", "east")),
            Configuration(4, "west west", ("west west",)),
            config(4, "east", "n" * 65),
            Configuration(0, "east", ("east",)),
        ):
            self.deny("east", configuration, "not-allowed")

    def test_does_not_hand_over_to_whoever_is_no_member(self) -> None:
        self.pair(config(3, "east"))
        self.deny("east", config(4, "west"), "not-allowed")
        self.deny("east", config(4, "west", "east"), "not-allowed")

    def test_need_not_be_unheard(self) -> None:
        """It is the leader itself that asks, at any time."""
        self.restart(chat=config(3, "east", "west"))
        self.hello("east", config(3, "east", "west"))
        self.grant("east", config(4, "east"))

    def test_no_more_once_another_has_taken_over(self) -> None:
        self.pair(config(3, "east", "west"))
        self.gone("east")
        self.grant("west", config(4, "west"))
        self.hello("east", config(3, "east", "west"))
        self.deny("east", config(4, "east"), "stale")
        self.deny("east", config(5, "east"), "not-a-member")


class StaleTests(WitnessTestCase):
    def test_the_epoch_is_one_above(self) -> None:
        self.pair(config(3, "east", "west"))
        for epoch in (1, 2, 3, 5, 2**62):
            self.deny("east", config(epoch, "east"), "stale")
        self.grant("east", config(4, "east"))


class TakeoverTests(WitnessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.pair(config(3, "east", "west"))

    def test_not_while_the_leader_is_heard(self) -> None:
        for _ in range(20):
            self.deny("west", config(4, "west"), "leader-heard")
            self.wait(BEAT)

    def test_after_a_lease_of_silence(self) -> None:
        self.wait(LEASE - BEAT, silent="east")
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(BEAT, silent="east")
        self.grant("west", config(4, "west"))

    def test_at_once_when_the_leader_has_closed(self) -> None:
        self.gone("east")
        self.grant("west", config(4, "west"))

    def test_a_lease_later_where_the_witness_hung_up_on_it(self) -> None:
        """The silence began before that."""
        self.wait(5 * BEAT, silent="east")
        self.gone("east", closed=False)
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(BEAT)
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(BEAT)
        self.grant("west", config(4, "west"))

    def test_not_when_the_leader_is_back(self) -> None:
        self.gone("east")
        self.hello("east", config(3, "east", "west"))
        self.deny("west", config(4, "west"), "leader-heard")

    def test_every_message_is_a_sign_of_life(self) -> None:
        held = config(3, "east", "west")
        at = self.at["east"]
        for sign in (
            lambda: self.witness.heard(at, self.now),
            lambda: self.witness.claim(at, Claim(held), self.now),
            lambda: self.witness.propose(at, Propose(held, False), self.now),
        ):
            self.wait(LEASE, silent="east")
            sign()
            self.deny("west", config(4, "west"), "leader-heard")
        self.wait(LEASE, silent="east")
        self.grant("west", config(4, "west"))

    def test_only_to_lead_alone(self) -> None:
        self.gone("east")
        for configuration in (
            config(4, "west", "east"),
            config(4, "west", "north"),
            config(4, "east"),
            config(4, "east", "west"),
            config(4, "north"),
        ):
            self.deny("west", configuration, "not-allowed")
            self.deny("west", configuration, "not-allowed", lossy=True)

    def test_data_loss_allowed_makes_no_difference_to_a_member(self) -> None:
        self.deny("west", config(4, "west"), "leader-heard", lossy=True)
        self.gone("east")
        self.grant("west", config(4, "west"), lossy=True)


class OutsiderTests(WitnessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.pair(config(3, "east"))

    def test_never_leads(self) -> None:
        self.gone("east")
        self.wait(10 * LEASE)
        self.deny("west", config(4, "west"), "not-a-member")

    def test_leads_at_the_operators_word_once_the_leader_is_not_heard(self) -> None:
        self.deny("west", config(4, "west"), "leader-heard", lossy=True)
        self.wait(LEASE, silent="east")
        self.grant("west", config(4, "west"), lossy=True)

    def test_only_to_lead_alone(self) -> None:
        self.gone("east")
        for configuration in (config(4, "west", "east"), config(4, "east"), config(4, "east", "west")):
            self.deny("west", configuration, "not-allowed", lossy=True)

    def test_needs_a_later_epoch_like_anybody_though_it_may_bring_a_log_that_is_far_ahead(self) -> None:
        self.gone("east")
        self.deny("west", config(9, "west"), "stale")
        self.deny("west", config(3, "west"), "stale", lossy=True)
        self.grant("west", config(9, "west"), lossy=True)


class BlankTests(WitnessTestCase):
    """A member without a configuration has lost its disk."""

    def test_a_blank_leader_leads_no_more(self) -> None:
        self.begin(chat=config(3, "east", "west"))
        self.hello("east")
        self.deny("east", config(4, "east"), "blank")
        self.deny("east", config(4, "west", "east"), "blank")

    def test_a_blank_leader_keeps_nobody_from_taking_over(self) -> None:
        self.begin(chat=config(3, "east", "west"))
        self.hello("west", config(3, "east", "west"))
        self.hello("east")
        self.grant("west", config(4, "west"))

    def test_a_blank_member_does_not_take_over(self) -> None:
        self.begin(chat=config(3, "east", "west"))
        self.hello("west")
        self.wait(LEASE)
        self.deny("west", config(4, "west"), "blank")
        self.grant("west", config(4, "west"), lossy=True)

    def test_a_blank_leader_leads_at_the_operators_word(self) -> None:
        self.begin(chat=config(3, "east"))
        self.hello("east")
        self.grant("east", config(4, "east"), lossy=True)

    def test_no_longer_once_it_has_stored_one(self) -> None:
        self.hello("east", founder=True)
        self.grant("east", config(1, "east"))
        self.deny("east", config(2, "east", "west"), "blank")
        self.claim("east", config(1, "east"))
        self.grant("east", config(2, "east", "west"))

    def test_each_connection_says_what_the_disk_has_now(self) -> None:
        self.pair(config(3, "east", "west"))
        self.hello("east")
        self.deny("east", config(4, "east"), "blank")


class RestartTests(WitnessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.restart(chat=config(3, "east", "west"))
        self.hello("west", config(3, "east", "west"))

    def test_a_leader_that_was_not_heard_since_the_start_may_be_there(self) -> None:
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(LEASE - BEAT)
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(BEAT)
        self.grant("west", config(4, "west"))

    def test_a_leader_that_comes_back_meanwhile_stays(self) -> None:
        self.wait(LEASE - BEAT)
        self.hello("east", config(3, "east", "west"))
        self.wait(LEASE)
        self.deny("west", config(4, "west"), "leader-heard")

    def test_so_does_one_that_comes_and_closes(self) -> None:
        self.wait(LEASE - BEAT)
        self.hello("east", config(3, "east", "west"))
        self.gone("east")
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(BEAT)
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(LEASE - BEAT)
        self.grant("west", config(4, "west"))

    def test_after_that_one_that_closes_is_gone(self) -> None:
        self.wait(LEASE)
        self.hello("east", config(3, "east", "west"))
        self.gone("east")
        self.grant("west", config(4, "west"))


class HeardNobodyTests(WitnessTestCase):
    """A witness that heard nobody stood still or was cut off itself: that says nothing about the leader."""

    def setUp(self) -> None:
        super().setUp()
        self.pair(config(3, "east", "west"))

    def test_whoever_asks_first_afterwards_is_not_believed(self) -> None:
        self.now += 10
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(LEASE - BEAT, silent="east")
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(BEAT, silent="east")
        self.grant("west", config(4, "west"))

    def test_nor_on_a_new_connection(self) -> None:
        self.now += 10
        for name in ("east", "west"):
            self.gone(name, closed=False)
        self.hello("west", config(3, "east", "west"))
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(LEASE)
        self.grant("west", config(4, "west"))

    def test_a_leader_that_hung_up_on_a_silent_witness_may_be_there(self) -> None:
        """A process that goes on after standing still finds its links closed, by nodes that live."""
        for first in ("nothing", "what it had sent before"):
            self.pair(config(3, "east", "west"))
            self.now += 10
            if first != "nothing":
                self.witness.heard(self.at["east"], self.now)
            self.gone("east")
            self.deny("west", config(4, "west"), "leader-heard")
            self.hello("east", config(3, "east", "west"))
            self.wait(LEASE)
            self.deny("west", config(4, "west"), "leader-heard")

    def test_a_leader_that_closes_soon_after_it_was_heard_is_gone(self) -> None:
        self.wait(2 * BEAT, silent="east")
        self.gone("east")
        self.grant("west", config(4, "west"))

    def test_a_leader_that_was_silent_and_closes_has_its_lease(self) -> None:
        self.wait(5 * BEAT, silent="east")
        self.gone("east")
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(2 * BEAT)
        self.grant("west", config(4, "west"))

    def test_standing_still_and_a_beat_make_no_lease(self) -> None:
        """A pause that is too short to be noticed is too short to matter."""
        self.now += LEASE / 2
        self.deny("west", config(4, "west"), "leader-heard")
        self.wait(LEASE / 2 - 2 * BEAT, silent="east")
        self.deny("west", config(4, "west"), "leader-heard")

    def test_one_that_is_noticed_makes_none_either(self) -> None:
        self.now += LEASE / 2 + BEAT
        self.wait(LEASE - BEAT, silent="east")
        self.deny("west", config(4, "west"), "leader-heard")

    def test_other_services_say_nothing(self) -> None:
        self.hello("north", service="news")
        for _ in range(20):
            self.now += BEAT
            self.witness.heard(self.at["north"], self.now)
        self.deny("west", config(4, "west"), "leader-heard")


class TwoStepTests(WitnessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.pair(config(3, "east", "west"))

    def test_nothing_is_told_before_it_is_durable(self) -> None:
        (keep,) = self.propose("east", config(4, "east"))
        self.assertIsInstance(keep, Keep)
        self.assertEqual(self.witness.held("chat"), config(3, "east", "west"))
        self.deny("east", config(5, "east"), "busy")

    def test_of_two_askers_one_is_granted(self) -> None:
        self.wait(LEASE, silent="east")
        for first, second in (("east", "west"), ("west", "east")):
            self.pair(config(3, "east", "west"))
            self.wait(LEASE, silent="east")
            granted = config(4, first)
            self.propose(first, granted)
            denied = Denied(4, "busy", config(3, "east", "west"))
            self.assertEqual(self.propose(second, config(4, second)), [self.to(second, denied)])
            self.assertEqual(
                self.witness.kept("chat"), [Send(at, Holds(granted)) for at in self.at.values()], (first, second)
            )
            self.deny(second, config(4, second), "stale")

    def test_whoever_comes_meanwhile_is_welcomed_after_it(self) -> None:
        """What it proposed over an earlier connection has taken effect by then."""
        self.propose("east", config(4, "east"))
        self.gone("east")
        self.assertEqual(self.hello("east", config(3, "east", "west")), [])
        told = self.done()
        self.assertEqual(told, [self.to("west", Holds(config(4, "east"))), self.to("east", Welcome(config(4, "east")))])
        self.claim("east", config(4, "east"))
        self.grant("east", config(5, "east", "west"))

    def test_whoever_comes_and_goes_meanwhile_is_not_told(self) -> None:
        self.propose("east", config(4, "east"))
        self.gone("east")
        self.hello("north")
        self.gone("north")
        self.assertEqual(self.done(), [self.to("west", Holds(config(4, "east")))])

    def test_services_do_not_wait_for_one_another(self) -> None:
        self.hello("news1", service="news", founder=True)
        (first,) = self.propose("east", config(4, "east"))
        (second,) = self.propose("news1", config(1, "news1"))
        assert isinstance(first, Keep) and isinstance(second, Keep)
        self.assertEqual(decode_state(first.state), {"chat": config(4, "east")})
        # What is written second does not undo what is written first.
        self.assertEqual(decode_state(second.state), {"chat": config(4, "east"), "news": config(1, "news1")})
        self.assertEqual((first.service, second.service), ("chat", "news"))
        self.assertEqual(self.done(), [self.to(name, Holds(config(4, "east"))) for name in ("east", "west")])
        self.assertIsNone(self.witness.held("news"))
        self.assertEqual(self.done(), [self.to("news1", Holds(config(1, "news1")))])

    def test_services_do_not_hear_one_another(self) -> None:
        self.hello("east2", service="news")
        self.propose("east", config(4, "east"))
        self.assertNotIn(self.to("east2", Holds(config(4, "east"))), self.done())
        self.assertIsNone(self.witness.held("nowhere"))

    def test_what_is_kept_is_what_a_restart_begins_with(self) -> None:
        (keep,) = self.propose("east", config(4, "east"))
        assert isinstance(keep, Keep)
        self.restart(**decode_state(keep.state))
        self.assertEqual(self.hello("east", config(3, "east", "west")), [self.to("east", Welcome(config(4, "east")))])


class ClaimTests(WitnessTestCase):
    """A witness that lost its disk, or never had one, learns only from nodes that agree."""

    HELD = config(5, "east", "west")

    def test_two_that_agree(self) -> None:
        self.assertEqual(self.hello("east", self.HELD), [self.to("east", Welcome(None))])
        # The second one is welcomed with what is agreed on, once it is durable.
        (keep,) = self.hello("west", self.HELD)
        assert isinstance(keep, Keep)
        self.assertEqual(decode_state(keep.state), {"chat": self.HELD})
        self.assertIsNone(self.witness.held("chat"))
        self.deny("east", config(6, "east"), "busy")
        self.assertEqual(self.done(), [self.to("east", Holds(self.HELD)), self.to("west", Welcome(self.HELD))])
        self.grant("east", config(6, "east"))

    def test_two_that_come_to_agree(self) -> None:
        self.hello("east", self.HELD)
        self.assertEqual(self.hello("west", config(4, "east")), [self.to("west", Welcome(None))])
        (keep,) = self.claim("west", self.HELD)
        self.assertIsInstance(keep, Keep)
        self.assertEqual(self.done(), [self.to(name, Holds(self.HELD)) for name in ("east", "west")])

    def test_one_is_not_enough(self) -> None:
        self.hello("east", config(5, "east"))
        self.deny("east", config(6, "east"), "forgotten")
        self.assertEqual(self.hello("east", config(5, "east"))[1:], [self.to("east", Welcome(None))])
        self.assertEqual(self.kept, [])

    def test_one_and_its_learner_are(self) -> None:
        self.hello("east", config(5, "east"))
        self.hello("west")
        (keep,) = self.claim("west", config(5, "east"))
        self.assertIsInstance(keep, Keep)

    def test_both_have_to_be_there(self) -> None:
        self.hello("east", self.HELD)
        self.gone("east")
        self.hello("west", self.HELD)
        self.assertEqual(self.kept, [])
        self.deny("west", config(6, "west"), "forgotten")
        self.hello("east", self.HELD)
        self.assertEqual(len(self.kept), 1)

    def test_two_that_differ(self) -> None:
        self.hello("east", self.HELD)
        self.hello("west", config(6, "west"))
        self.assertEqual(self.kept, [])
        for name, configuration in (("east", config(6, "east")), ("west", config(7, "west", "east"))):
            self.deny(name, configuration, "forgotten")

    def test_two_that_differ_in_the_same_epoch(self) -> None:
        self.hello("east", config(5, "east"))
        self.hello("west", config(5, "west"))
        self.assertEqual(self.kept, [])

    def test_two_that_have_it_from_a_third(self) -> None:
        """Those who are no members may not know how it went on."""
        for name in ("west", "north"):
            self.hello(name, config(5, "east"))
        self.assertEqual(self.kept, [])

    def test_two_older_ones_and_one_that_knows_better(self) -> None:
        self.hello("north", config(6, "north"))
        for name in ("east", "west"):
            self.hello(name, self.HELD)
        self.gone("north")
        self.claim("east", self.HELD)
        self.assertEqual(self.kept, [])

    def test_newer_than_what_is_held(self) -> None:
        """The witness was given an old disk; or the pair went on without it for a while."""
        self.pair(config(3, "east", "west"))
        self.assertEqual(self.claim("east", self.HELD), [])
        self.deny("east", config(4, "east"), "forgotten")
        self.deny("west", config(4, "west"), "forgotten")
        self.assertEqual(len(self.claim("west", self.HELD)), 1)
        self.assertEqual(self.done(), [self.to(name, Holds(self.HELD)) for name in ("east", "west")])
        self.grant("east", config(6, "east"))

    def test_not_newer_than_what_is_held(self) -> None:
        for epoch in (3, 5):
            self.pair(self.HELD)
            for name in ("east", "west"):
                self.assertEqual(self.claim(name, config(epoch, "west", "east")), [])
            self.assertEqual(self.witness.held("chat"), self.HELD)
            self.grant("east", config(6, "east"))

    def test_what_both_claim_while_a_change_is_under_way_is_adopted_after_it(self) -> None:
        self.pair(config(3, "east", "west"))
        self.propose("east", config(4, "east"))
        for name in ("east", "west"):
            self.assertEqual(self.claim(name, self.HELD), [])
        self.hello("north")
        told = self.done()
        self.assertEqual(told[:2], [self.to(name, Holds(config(4, "east"))) for name in ("east", "west")])
        (keep,) = told[2:]
        assert isinstance(keep, Keep)
        self.assertEqual(decode_state(keep.state), {"chat": self.HELD})
        # Who waited for a welcome waits for this, too.
        self.assertEqual(self.done()[-1], self.to("north", Welcome(self.HELD)))

    def test_what_the_witness_granted_may_be_claimed_by_anybody_in_any_order(self) -> None:
        self.pair(config(3, "east", "west"))
        self.grant("east", config(4, "east"))
        for name in ("west", "east"):
            self.assertEqual(self.claim(name, config(4, "east")), [])
        self.grant("east", config(5, "east", "west"))


class SupersededTests(WitnessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.pair(config(3, "east", "west"))
        self.old = self.at["east"]

    def test_the_older_one_is_aborted_first(self) -> None:
        effects = self.hello("east", config(3, "east", "west"))
        self.assertEqual(effects, [Abort(self.old), self.to("east", Welcome(config(3, "east", "west")))])

    def test_the_loss_of_the_older_one_is_no_loss(self) -> None:
        self.hello("east", config(3, "east", "west"))
        self.witness.gone(self.old, closed=True, now=self.now)
        self.deny("west", config(4, "west"), "leader-heard")

    def test_nothing_of_the_older_one_is_taken(self) -> None:
        self.hello("east", config(3, "east", "west"))
        self.wait(LEASE, silent="east")
        self.witness.heard(self.old, self.now)
        self.assertEqual(self.witness.claim(self.old, Claim(config(9, "east")), self.now), [])
        self.assertEqual(self.witness.propose(self.old, Propose(config(4, "east"), False), self.now), [])
        self.grant("west", config(4, "west"))

    def test_what_the_older_one_had_asked_for_is_done_before_the_welcome(self) -> None:
        self.propose("east", config(4, "east"))
        self.assertEqual(self.hello("east", config(3, "east", "west")), [Abort(self.old)])
        told = self.done()
        self.assertEqual(
            told, [self.to("east", Welcome(config(4, "east"))), self.to("west", Holds(config(4, "east")))][::-1]
        )

    def test_a_connection_that_was_dialled_earlier_and_comes_later_is_the_older_one(self) -> None:
        newer = self.old
        self.assertEqual(self.hello("east", dial=0), [Abort(self.numbers)])
        self.at["east"] = newer
        self.grant("east", config(4, "east"))

    def test_a_process_that_was_started_again_dials_from_one(self) -> None:
        effects = self.hello("east", config(3, "east", "west"), life=2, dial=0)
        self.assertEqual(effects[0], Abort(self.old))
        self.grant("east", config(4, "east"))

    def test_the_same_name_in_another_service_is_another_node(self) -> None:
        self.assertEqual(self.hello("east", service="news"), [self.to("east", Welcome(None))])


class RoomTests(WitnessTestCase):
    def refuse(self, reason: str, name: str, **more: Any) -> None:
        effects = self.hello(name, **more)
        self.assertEqual(effects, [self.to(name, Refused(reason)), End(self.at[name])])
        # It never sat down: nothing else of it counts.
        self.gone(name)

    def test_another_version(self) -> None:
        self.refuse("version", "east", version=VERSION + 1)

    def test_as_many_services_as_there_may_be(self) -> None:
        for number in range(SERVICES_MAX):
            self.assertEqual(len(self.hello(f"node{number}", service=f"service{number}")), 1)
        self.refuse("full", "one-more", service="one-more")
        self.hello("another", service="service3")
        # One that was never more than a name is forgotten with its last node.
        self.gone("node7")
        self.assertEqual(len(self.hello("one-more", service="one-more")), 1)

    def test_a_service_of_which_something_is_known_is_not_forgotten(self) -> None:
        self.hello("east", service="held", founder=True)
        self.propose("east", config(1, "east"))
        self.gone("east")
        self.done()
        self.assertEqual(self.witness.held("held"), config(1, "east"))
        self.hello("east", config(5, "east", "west"), service="claimed")
        self.gone("east")
        self.hello("west", service="claimed", founder=True)
        self.deny("west", config(1, "west"), "forgotten")

    def test_a_service_is_not_forgotten_while_somebody_is_there(self) -> None:
        self.hello("east", founder=True)
        self.hello("west")
        self.gone("west")
        self.grant("east", config(1, "east"))

    def test_as_many_nodes_as_there_may_be(self) -> None:
        self.begin(chat=config(1, "node0"))
        for number in range(NODES_MAX):
            self.assertEqual(len(self.hello(f"node{number}")), 1)
        self.refuse("full", "one-more")
        self.gone("node1")
        self.assertEqual(len(self.hello("one-more")), 1)
        self.refuse("full", "node1")

    def test_the_leader_is_not_forgotten(self) -> None:
        """Or it would count as never heard, which takes longer."""
        self.begin(chat=config(1, "node0"))
        for number in range(NODES_MAX):
            self.hello(f"node{number}", config(1, "node0"))
        self.gone("node0")
        self.refuse("full", "one-more")

    def test_of_a_service_without_a_configuration_anybody_who_is_away_is_forgotten(self) -> None:
        for number in range(NODES_MAX):
            self.hello(f"node{number}")
        self.gone("node0")
        self.assertEqual(len(self.hello("one-more")), 1)
