"""Where to connect next, and after how long."""

from twisted.trial.unittest import SynchronousTestCase

from chatproto.client.places import Place, Places, host_and_port


def take(places: Places, count: int) -> list[Place]:
    return [places.next() for _ in range(count)]


class PlacesTests(SynchronousTestCase):
    def test_round(self) -> None:
        """Without anything told it goes round what was given."""
        self.assertEqual(take(Places(2, 1, 8), 5), [0, 1, 0, 1, 0])

    def test_others_first_after_a_good_place(self) -> None:
        """A server that went away is the last to be tried again, and those it told of are tried too."""
        places = Places(2, 1, 8)
        self.assertEqual(take(places, 2), [0, 1])
        places.welcomed(["b:2", "c:3", "b:2"])
        self.assertEqual(take(places, 7), [0, "b:2", "c:3", 0, 1, "b:2", "c:3"])

    def test_told_last(self) -> None:
        """What a later server tells is in place of what an earlier one told."""
        places = Places(1, 1, 8)
        places.next()
        places.welcomed(["a:1"])
        self.assertEqual(places.next(), "a:1")
        places.welcomed(["b:1"])
        self.assertEqual(take(places, 4), [0, "b:1", 0, "b:1"])

    def test_preferred_once(self) -> None:
        """A redirect's places come first, each once; then it goes on."""
        places = Places(2, 1, 8)
        places.next()
        places.prefer(["b:1", "c:1"])
        self.assertEqual(take(places, 4), ["b:1", "c:1", 1, 0])

    def test_unreachable(self) -> None:
        """What cannot be reached, or is no address, is not tried."""
        places = Places(1, 1, 8, told=False)
        places.welcomed(["b:1"])
        places.prefer(["b:1"])
        self.assertEqual(take(places, 2), [0, 0])
        places = Places(1, 1, 8)
        places.prefer(["b", "b:0", "c:1"])
        self.assertEqual(take(places, 2), ["c:1", 0])

    def test_waits_double_with_every_round(self) -> None:
        """All places are tried before the wait grows, and it ends growing."""
        places = Places(2, 0.1, 0.5)
        self.assertEqual([places.wait_s_max() for _ in range(8)], [0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.5, 0.5])

    def test_long_outage(self) -> None:
        """An outage of many rounds does not overflow anything."""
        places = Places(1, 0.1, 5)
        self.assertEqual({places.wait_s_max() for _ in range(2000)} - {5}, {0.1 * 2**n for n in range(6)})

    def test_short_stay_keeps_the_wait_long(self) -> None:
        """A server that welcomes and drops at once must not be hammered; a stay as long as the wait resets it."""
        places = Places(1, 0.1, 5)
        for _ in range(5):
            places.wait_s_max()
        places.lost(3.1)
        self.assertEqual(places.wait_s_max(), 3.2)
        places.lost(5)
        self.assertEqual(places.wait_s_max(), 0.1)


class AddressTests(SynchronousTestCase):
    def test_good(self) -> None:
        self.assertEqual(host_and_port("chat.example:4444"), ("chat.example", 4444))
        self.assertEqual(host_and_port("[::1]:1"), ("::1", 1))
        self.assertEqual(host_and_port("10.0.0.1:65535"), ("10.0.0.1", 65535))

    def test_bad(self) -> None:
        for address in ("", "host", ":4444", "host:", "host:0", "host:65536", "host:1234567", "host:x", "::1:4444"):
            self.assertIsNone(host_and_port(address), address)
        self.assertIsNone(host_and_port("host:٤"))
