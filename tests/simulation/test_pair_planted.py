"""The storms on two servers can fail: each known mistake, planted into the code, is caught within a few seeds."""

from typing import Any

from chatproto.chat.acts import Depart
from chatproto.chat.hall import Hall
from chatproto.chat.hearing import Hearing
from chatproto.chat.seat import Seat
from chatproto.log.entry import Entry, Run
from chatproto.pair import following
from chatproto.pair import log as pair_log
from chatproto.pair.configuration import Configuration
from chatproto.pair.following import Following
from chatproto.pair.journal import Journal
from chatproto.pair.leading import Leading
from chatproto.pair.link import PeerLink
from chatproto.pair.log import PairLog
from chatproto.pair.messages import Appended, Begin, Forward, received_entry
from chatproto.pair.replica import Replica, Store
from chatproto.pair.states import LEADING
from chatproto.pair.submissions import Submissions
from chatproto.registry import witness as registry_witness
from chatproto.registry.rules import Standing
from tests.simulation.pair_storm import PairStorm
from tests.simulation.planting import Planting
from tests.simulation.weather import Weather

NOT_EVERYWHERE = ("does not hold what is committed", "of what epochs members hold it", "was committed", "was Record(")


class WitnessPlantedTests(Planting):
    seeds = range(60)

    def storm(self, seed: int) -> Weather:
        return PairStorm(seed)

    # What is committed

    def test_committed_before_the_peer_has_it(self) -> None:
        """A leader of two commits what its own disk has."""

        def count(replica: Replica, now: float) -> None:
            if replica.role in LEADING:
                replica.commit = max(replica.commit, replica.durable)

        self.plant(Replica, "_count", count)
        self.catch(*NOT_EVERYWHERE)

    def test_grown_without_requiring_it_first(self) -> None:
        """A leader asks for the other as a member while it still commits without it."""

        def look(replica: Replica, now: float) -> None:
            right(replica, now)
            replica.require = ""

        right = self.plant(Replica, "_look_alone", look)
        self.catch(*NOT_EVERYWHERE)

    def test_appended_said_of_what_is_parted_from(self) -> None:
        """A node that meets the leader says that it has what it is about to part from."""

        def begin(side: Following, link: PeerLink, message: Begin) -> None:
            end = side._journal.tail.end
            right(side, link, message)
            link.say(Appended(side._node.epoch, end))

        right = Following._begin
        self.patch(following, "_STEPS", {**following._STEPS, Begin: begin})
        self.catch(*NOT_EVERYWHERE, "has entry")

    # Who leads

    def test_witness_that_ignores_membership(self) -> None:
        """The witness lets a node lead that is no member, and such a node asks."""

        def standing(held: Configuration | None, node: Any, *, lossy: bool) -> Standing | None:
            found = right(held, node, lossy=lossy)
            return Standing.MEMBER if found is None and held is not None else found

        right = registry_witness._standing
        self.patch(registry_witness, "_standing", standing)
        self.plant(Replica, "_look_learning", Replica._look_following)
        # In some storms such a node comes to where the table of states knows no way on, before it commits anything.
        self.catch(*NOT_EVERYWHERE, "Cue.CUT_OFF")

    def test_led_before_the_epoch_is_durable(self) -> None:
        """A node leads as soon as the witness agrees, and writes that down later."""

        def store(log: PairLog, effect: Store) -> None:
            log.perform(log.replica.stored(effect.configuration, log.now()))
            right(log, effect)

        right = PairLog._store
        self.patch(pair_log, "_PERFORMERS", {**pair_log._PERFORMERS, Store: store})
        self.catch("leads with")

    def test_alone_again_without_asking(self) -> None:
        """A leader that was alone leads at once in its next life, whatever the witness has agreed to meanwhile."""

        def start(replica: Replica, *arguments: Any, **options: Any) -> Any:
            effects = right(replica, *arguments, **options)
            replica.require = ""
            return effects

        right = self.plant(Replica, "start", start)
        self.catch(*NOT_EVERYWHERE)

    # What is sent

    def test_sent_before_it_is_durable(self) -> None:
        """A leader sends what its own disk does not have yet, and after a crash numbers something else so."""

        def append(journal: Journal, runs: list[Run], stored: Any) -> None:
            leading = journal._durable.__self__._leading  # type: ignore[attr-defined]
            leading.durable(runs)
            right(journal, runs, stored)

        right = self.plant(Journal, "_append", append)
        self.catch("with this number there was", "was sent", *NOT_EVERYWHERE)

    def test_parted_from_by_the_commit_mark(self) -> None:
        """A follower keeps all that it believes committed or has applied, whatever the leader has."""

        def part(journal: Journal, common: int) -> bool:
            journal._cut(max(common, journal.tail.applied), journal.tail.unapplied_after(journal.tail.applied))
            return True

        self.plant(Journal, "part", part)
        # About one storm in fifty has it.
        self.seeds = range(80, 200)
        self.catch("aborting", "is missing", "is learner", "not within", "committed", "in a log twice")

    # Ids

    def test_ids_not_recognised(self) -> None:
        """What is said again is added again."""

        def known(journal: Journal, entry: Entry) -> bool:
            return False

        def forwarded(leading: Leading, link: PeerLink, message: Forward) -> None:
            if link in leading.feeds:
                for sent in message.entries:
                    leading._journal.submissions.forward(link.name, received_entry(sent))
                leading._node.number_pending()

        self.plant(Journal, "known", known)
        self.plant(Leading, "on_forward", forwarded)
        self.catch("one id is in a log twice")

    # Sessions

    def test_grace_ends_a_session_that_has_moved(self) -> None:
        """The node that a client has left ends its session when the grace is over, although it goes on elsewhere."""

        def depart(hall: Hall, act: Depart) -> Any:
            member = hall.members.get(act.session)
            if member is not None:
                yield from hall._gone(member, lost=act.lost)

        self.plant(Hall, "_depart", depart)
        self.plant(Seat, "cancel_grace", lambda seat: None)
        self.catch("is not present", "hears", "is online", "is not online")


class StaticPlantedTests(Planting):
    seeds = range(60)

    def storm(self, seed: int) -> Weather:
        return PairStorm(seed, witness=False)

    def test_tail_not_submitted_again(self) -> None:
        """What a node parts from is lost."""

        def part(submissions: Submissions, runs: list[Run]) -> list[Entry]:
            return []

        self.plant(Submissions, "part", part)
        self.catch("was acknowledged, and is in no log")

    def test_orphans_not_kept(self) -> None:
        """What a node parts from is submitted again, unless it dies before that is committed."""

        def part(submissions: Submissions, runs: list[Run]) -> list[Entry]:
            right(submissions, runs)
            return []

        right = self.plant(Submissions, "part", part)
        # About one storm in a hundred has it: a node that has parted from something dies within moments.
        self.seeds = range(340, 460)
        self.catch("was acknowledged, and is in no log")

    def test_orphans_forgotten_before_they_are_committed(self) -> None:
        """An orphan is dropped as soon as the leader is told of it, who may die before it is committed."""

        def forward(side: Following, entries: list[Entry]) -> None:
            right(side, entries)
            side._journal._settle_orphans([entry.id for entry in entries])

        right = self.plant(Following, "_forward", forward)
        self.catch("which it had parted from and nobody committed since", "was acknowledged, and is in no log")

    def test_clients_not_rewound(self) -> None:
        """Whoever comes from a side that is no more goes on with the other one."""
        self.plant(Hearing, "_shared", lambda hearing, room, index, epoch: min(index, room.last + 1))
        self.catch("of another log", "is told", "holds")
