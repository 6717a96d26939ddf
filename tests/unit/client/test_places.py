"""Where to connect next, and after how long."""

from twisted.trial.unittest import SynchronousTestCase

from chatproto.client.places import STAY_S_MIN, Place, Places


def take(places: Places, count: int) -> list[Place]:
    return [places.next() for _ in range(count)]


class PlacesTests(SynchronousTestCase):
    def test_round(self) -> None:
        """Without anything told it goes round what was given."""
        self.assertEqual(take(Places(2, 1, 8), 5), [0, 1, 0, 1, 0])

    def test_all_places_before_a_wait(self) -> None:
        """Each place is tried once in a round, without waiting; the waits between rounds double, up to an end."""
        places = Places(2, 0.1, 0.5)
        waits = []
        for place in (0, 1, 0, 1, 0, 1, 0, 1):
            self.assertEqual(places.next(), place)
            waits.append(places.wait_s_max())
        self.assertEqual(waits, [0, 0.1, 0, 0.2, 0, 0.4, 0, 0.5])
        self.assertEqual(places.rounds, 4)

    def test_long_outage(self) -> None:
        """An outage of many rounds does not overflow anything."""
        places = Places(1, 0.1, 5)
        waits = set()
        for _ in range(2000):
            places.next()
            waits.add(places.wait_s_max())
        self.assertEqual(waits - {5}, {0.1 * 2**n for n in range(6)})

    def test_others_at_once_after_a_good_place(self) -> None:
        """A server that went away is the last to be tried again, and those it told of are tried too."""
        places = Places(2, 1, 8)
        self.assertEqual(take(places, 2), [0, 1])
        places.welcomed("south", ["b:2", "c:3", "b:2"])
        places.lost(60)
        self.assertEqual(places.wait_s_max(), 0)
        self.assertEqual(take(places, 7), [0, "c:3", "b:2", 0, 1, "c:3", "b:2"])

    def test_places_with_tls(self) -> None:
        places = Places(1, 1, 8)
        places.next()
        places.prefer(["tls:b:2", "tls:b", "ssl:b:2"])
        self.assertEqual(take(places, 3), ["tls:b:2", "tls:b:2", 0])

    def test_only_place(self) -> None:
        """It is waited for, if shortly."""
        places = Places(1, 0.1, 5)
        places.next()
        places.lost(60)
        self.assertEqual(places.wait_s_max(), 0.1)
        self.assertEqual(places.next(), 0)

    def test_one_server_by_two_names(self) -> None:
        """A server lost is lost by all its names that are known, those of others are not."""
        places = Places(2, 1, 8)
        places.next()
        places.welcomed("north", ["n:1", "s:1"])
        places.lost(60)
        places.next()
        places.welcomed("south", ["s:1", "n:1"])
        places.lost(60)
        self.assertEqual(take(places, 2), [0, "n:1"], "which s:1 is was not seen yet, nor n:1")
        places.welcomed("north", ["n:1", "s:1"])
        places.lost(60)
        self.assertEqual(take(places, 2), [1, "s:1"], "all that is known to be north comes last")

    def test_told_last(self) -> None:
        """What a later server tells is in place of what an earlier one told."""
        places = Places(1, 1, 8)
        places.next()
        places.welcomed("north", ["a:1"])
        self.assertEqual(places.next(), "a:1")
        places.welcomed("south", ["b:1"])
        self.assertEqual(take(places, 4), ["b:1", 0, "b:1", 0])

    def test_preferred_first(self) -> None:
        """A redirect's places come first, in its order, if they were not tried in this round."""
        places = Places(2, 1, 8)
        places.next()
        places.prefer(["b:1", "c:1"])
        self.assertEqual(take(places, 3), ["b:1", "c:1", 1])
        places.prefer(["c:1"])
        self.assertEqual(places.wait_s_max(), 1, "it was tried, as all were")
        self.assertEqual(take(places, 3), ["c:1", 0, 1])

    def test_unreachable(self) -> None:
        """What cannot be reached, or is no address, is not tried."""
        places = Places(1, 1, 8, told=False)
        places.next()
        places.welcomed("north", ["b:1"])
        places.prefer(["b:1"])
        self.assertEqual(take(places, 2), [0, 0])
        places = Places(1, 1, 8)
        places.prefer(["b", "b:0", "c:1"])
        self.assertEqual(take(places, 2), ["c:1", 0])

    def test_short_stay_keeps_the_wait_long(self) -> None:
        """A server that welcomes and drops at once must not be hammered; a stay as long as the wait resets it."""
        places = Places(1, 0.1, 5)
        for _ in range(5):
            places.next()
            places.wait_s_max()
        places.next()
        places.lost(3.1)
        self.assertEqual(places.wait_s_max(), 3.2)
        places.next()
        places.lost(5)
        self.assertEqual(places.wait_s_max(), 0.1)

    def test_short_stays_with_two(self) -> None:
        """Two servers that drop everybody after a moment are not run to and fro between."""
        places = Places(2, 0.1, 5)
        waits = []
        for _ in range(6):
            places.next()
            places.welcomed("north", [])
            places.lost(STAY_S_MIN - 0.1)
            waits.append(places.wait_s_max())
        self.assertEqual(waits, [0, 0.1, 0, 0.2, 0, 0.4])
