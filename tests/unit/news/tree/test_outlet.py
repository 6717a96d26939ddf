"""Which bytes of which item go to a follower next."""

import random

from twisted.trial.unittest import SynchronousTestCase

from chatproto.errors import WireError
from chatproto.news.tree.outlet import (
    HEADER_BYTES,
    LINK_BYTES_PER_S,
    LONG_WINDOW_BYTES_MAX,
    TURNS,
    WINDOW_BYTES_MAX,
    Outlet,
    Send,
    window_for,
)

CHUNK = 100


def outlet(window_bytes: int = 10**9) -> Outlet:
    return Outlet(window_bytes, CHUNK)


def drain(sending: Outlet, sends_max: int = 10_000) -> list[Send]:
    sends: list[Send] = []
    while len(sends) < sends_max and (send := sending.next_send()) is not None:
        sends.append(send)
    return sends


class OutletTests(SynchronousTestCase):
    def test_an_item_is_announced_and_then_sent_chunk_by_chunk(self) -> None:
        sending = outlet()
        sending.offer(7, 5, 250, 250)
        self.assertEqual(drain(sending), [Send(7, 0, 100, True), Send(7, 100, 100, False), Send(7, 200, 50, False)])
        self.assertIn(7, sending)
        self.assertTrue(sending.taken(7, 250))
        self.assertEqual((len(sending), sending.unacknowledged), (0, 0))

    def test_an_empty_item_is_announced(self) -> None:
        sending = outlet()
        sending.offer(7, 5, 0, 0)
        self.assertEqual(drain(sending), [Send(7, 0, 0, True)])
        self.assertTrue(sending.taken(7, 0))

    def test_no_more_than_is_there_is_sent(self) -> None:
        sending = outlet()
        sending.offer(7, 5, 250, 0)
        self.assertEqual(drain(sending), [Send(7, 0, 0, True)])
        sending.grow(7, 130)
        self.assertEqual(drain(sending), [Send(7, 0, 100, False), Send(7, 100, 30, False)])
        sending.grow(7, 130)
        sending.grow(8, 130)
        self.assertEqual(drain(sending), [])
        sending.grow(7, 250)
        self.assertEqual(drain(sending), [Send(7, 130, 70, False), Send(7, 200, 50, False)])

    def test_it_goes_on_where_the_follower_is(self) -> None:
        sending = outlet()
        sending.offer(7, 5, 250, 250, taken=100)
        self.assertEqual(drain(sending), [Send(7, 100, 100, True), Send(7, 200, 50, False)])

    def test_a_follower_may_have_more_than_is_here(self) -> None:
        sending = outlet()
        sending.offer(7, 5, 250, 100, taken=200)
        self.assertEqual(drain(sending), [Send(7, 200, 0, True)])
        sending.grow(7, 200)
        self.assertEqual(drain(sending), [])
        sending.grow(7, 250)
        self.assertEqual(drain(sending), [Send(7, 200, 50, False)])

    def test_a_follower_that_has_more_than_was_sent_gets_the_rest(self) -> None:
        sending = outlet(1)
        sending.offer(7, 5, 250, 250)
        self.assertEqual(drain(sending), [Send(7, 0, 100, True)])
        self.assertFalse(sending.taken(7, 200))
        sending = outlet()
        sending.offer(7, 5, 250, 250)
        self.assertEqual(sending.next_send(), Send(7, 0, 100, True))
        self.assertFalse(sending.taken(7, 200))
        self.assertEqual(drain(sending), [Send(7, 200, 50, False)])

    def test_a_follower_that_has_lost_something_gets_it_again(self) -> None:
        sending = outlet()
        sending.offer(7, 5, 250, 250)
        drain(sending)
        sending.taken(7, 200)
        self.assertFalse(sending.taken(7, 0))
        self.assertEqual(sending.unacknowledged, 0)
        self.assertEqual(drain(sending)[0], Send(7, 0, 100, True))

    def test_at_most_a_window_is_unacknowledged(self) -> None:
        sending = outlet(CHUNK * 3 + HEADER_BYTES)
        sending.offer(7, 5, 1000, 1000)
        self.assertEqual(len(drain(sending)), 3)
        self.assertEqual(sending.unacknowledged, 300 + HEADER_BYTES)
        sending.taken(7, 100)
        self.assertEqual(drain(sending), [Send(7, 300, 100, False)])

    def test_a_long_way_has_room_for_what_is_on_it(self) -> None:
        self.assertEqual(window_for(0.0), WINDOW_BYTES_MAX)
        self.assertEqual(window_for(0.5), WINDOW_BYTES_MAX + LINK_BYTES_PER_S)
        self.assertEqual(window_for(1e6), LONG_WINDOW_BYTES_MAX)
        self.assertEqual(window_for(1.0, 10**9), 10**9)
        sending = outlet(1)
        sending.offer(7, 5, 1000, 1000)
        self.assertEqual(len(drain(sending)), 1)
        sending.window_bytes = 10**9
        self.assertEqual(len(drain(sending)), 9)

    def test_items_without_a_body_fill_the_window_too(self) -> None:
        sending = outlet(HEADER_BYTES * 4)
        for key in range(10):
            sending.offer(key, 5, 0, 0)
        self.assertEqual(len(drain(sending)), 4)

    def test_an_item_has_no_more_bytes_than_it_has(self) -> None:
        sending = outlet()
        sending.offer(7, 5, 250, 250)
        for size in (-1, 251):
            with self.assertRaises(WireError):
                sending.taken(7, size)
        self.assertFalse(sending.taken(8, 10**9), "it was never offered, or is done with")

    def test_what_is_withdrawn_is_sent_no_further(self) -> None:
        sending = outlet(1)
        sending.offer(7, 5, 250, 250)
        sending.offer(8, 5, 250, 250)
        drain(sending)
        self.assertTrue(sending.withdrawn(7), "the follower has heard of it")
        self.assertFalse(sending.withdrawn(7))
        self.assertEqual(sending.unacknowledged, 0)
        self.assertFalse(sending.withdrawn(8), "it has not heard of this one")
        self.assertEqual(drain(sending), [])

    def test_the_urgent_passes_between_two_chunks(self) -> None:
        sending = outlet()
        sending.offer(1, 1, 300, 300)
        first = sending.next_send()
        sending.offer(2, 9, 150, 150)
        keys = [send.key for send in [first, *drain(sending)] if send is not None]
        self.assertEqual(keys, [1, 2, 2, 1, 1])

    def test_within_a_lane_what_came_first_goes_first_as_far_as_it_is_there(self) -> None:
        sending = outlet()
        sending.offer(1, 5, 300, 100)
        sending.offer(2, 5, 200, 200)
        sends = [sending.next_send(), sending.next_send()]
        sending.grow(1, 300)
        keys = [send.key for send in [*sends, *drain(sending)] if send is not None]
        self.assertEqual(keys, [1, 2, 1, 1, 2])

    def test_of_so_many_chunks_one_goes_to_who_has_waited_longest(self) -> None:
        sending = outlet()
        for key in range(1000):
            sending.offer(key, 9, CHUNK, CHUNK)
        sending.offer(2000, 5, CHUNK * 50, CHUNK * 50)
        sending.offer(3000, 1, CHUNK * 50, CHUNK * 50)
        sends = [send.key for send in drain(sending, 4 * TURNS)]
        self.assertEqual(sends.count(2000), 2)
        self.assertEqual(sends.count(3000), 2)
        self.assertEqual(sends[TURNS - 1 :: TURNS], [3000, 2000, 3000, 2000])

    def test_a_lane_that_had_nothing_to_send_has_not_waited(self) -> None:
        sending = outlet()
        for key in range(100):
            sending.offer(key, 9, CHUNK, CHUNK)
        sending.offer(500, 5, CHUNK * 50, CHUNK * 50)
        drain(sending, TURNS - 1)
        sending.offer(600, 1, CHUNK, CHUNK)
        self.assertEqual(sending.next_send(), Send(500, 0, CHUNK, True))

    def test_whatever_happens_a_follower_has_every_byte_once(self) -> None:
        """A follower that breaks off at random, and says what it has, gets each byte once beyond what was in flight."""
        for seed in range(200):
            dice = random.Random(seed)
            sizes = {key: dice.choice((0, 1, 99, 100, 101, 1000)) for key in range(20)}
            there = {key: dice.randint(0, size) for key, size in sizes.items()}
            has: dict[int, int] = dict.fromkeys(sizes, 0)
            whole: set[int] = set()
            while len(whole) < len(sizes):
                sending = Outlet(dice.choice((1, 300, 1000)), CHUNK)
                for key, size in sizes.items():
                    if key not in whole:
                        sending.offer(key, key % 3, size, there[key], has[key])
                announced: set[int] = set()
                for _ in range(dice.randint(1, 60)):
                    for key in dice.sample(sorted(sizes), 3):
                        there[key] = dice.randint(there[key], sizes[key])
                        sending.grow(key, there[key])
                    send = sending.next_send()
                    if send is None:
                        continue
                    self.assertEqual(send.announces, send.key not in announced, seed)
                    announced.add(send.key)
                    self.assertEqual(send.offset, has[send.key], seed)
                    self.assertLessEqual(send.offset + send.size, there[send.key], seed)
                    has[send.key] += send.size
                    if sending.taken(send.key, has[send.key]):
                        whole.add(send.key)
                self.assertEqual(sending.unacknowledged, HEADER_BYTES * len(announced - whole), seed)
