"""Tests for chatproto.cli.conversation."""

from twisted.trial.unittest import SynchronousTestCase

from chatproto.cli import conversation as shown
from chatproto.cli.conversation import Conversation, Message, Note, Pending, PrivateMessage, Tone, Unread
from chatproto.client import events
from tests.unit.cli.fake import NOON, said


def texts(conversation: Conversation, room: str = "MainHall") -> list[str]:
    """What a room shows, one word of a kind before each text."""
    lines = []
    for item in conversation.rooms[room].lines():
        match item:
            case Message():
                lines.append(f"{item.index} {item.identity}: {item.content}")
            case PrivateMessage():
                lines.append(f"{'to' if item.own else 'from'} {item.identity}: {item.content}")
            case Note():
                lines.append(f"* {item.text}")
            case Pending():
                lines.append(f"{'…' if item.index is None else item.index} {item.content}")
            case Unread():
                lines.append("---")
    return lines


class ConversationTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.conversation = Conversation()
        self.hear(
            events.Welcomed("alice", False),
            events.Moved("alice", "", "MainHall"),
            events.Members("MainHall", ("alice", "bob"), ""),
        )

    def hear(self, *heard: events.Event, now: float = NOON) -> None:
        for event in heard:
            self.conversation.heard(event, now)

    def shows(self, *lines: str, room: str = "MainHall") -> None:
        self.assertEqual(texts(self.conversation, room), list(lines))


class Said(ConversationTestCase):
    def test_messages_stand_in_order(self) -> None:
        self.hear(said(1, "bob", "one"), said(2, "alice", "two", own=True))
        self.shows("1 bob: one", "2 alice: two")

    def test_in_a_room_that_we_are_not_in_nothing_is_shown(self) -> None:
        self.hear(said(1, "bob", "one", "Den"))
        self.shows()

    def test_a_message_again_is_not_shown_again(self) -> None:
        self.hear(said(1, "bob", "one"), said(2, "bob", "two"), said(1, "bob", "one"), said(2, "bob", "two"))
        self.shows("1 bob: one", "2 bob: two")

    def test_behind_a_hole_older_ones_are_forgotten_and_can_be_fetched(self) -> None:
        room = self.conversation.rooms["MainHall"]
        self.hear(said(1, "bob", "one"), said(2, "bob", "two"))
        room.more = False
        self.hear(said(9, "bob", "nine"))
        self.shows("9 bob: nine")
        self.assertTrue(room.more)

    def test_missing_ones_make_no_hole(self) -> None:
        self.hear(said(1, "bob", "one"), events.Missing("MainHall", 2, 8, "retention"), said(9, "bob", "nine"))
        self.shows("1 bob: one", "* Messages 2 to 8 are no longer kept (retention).", "9 bob: nine")

    def test_after_a_rewind_they_come_again(self) -> None:
        self.hear(*(said(index, "bob", str(index)) for index in (1, 2, 3)))
        self.hear(events.Rewound("MainHall", 2), said(2, "bob", "other"))
        self.shows(
            "1 bob: 1",
            "* The servers went back to before message 2; what was said since may come again.",
            "2 bob: other",
        )

    def test_only_so_many_lines_are_held(self) -> None:
        room = self.conversation.rooms["MainHall"]
        room.more = False
        self.hear(*(said(index, "bob", str(index)) for index in range(1, shown.ITEMS_HELD_MAX + 2)))
        self.assertEqual(len(room.items), shown.ITEMS_HELD_MAX + 1 - shown.ITEMS_DROPPED)
        self.assertEqual((room.first, room.more), (shown.ITEMS_DROPPED + 1, True))

    def test_messages_that_name_us(self) -> None:
        self.hear(said(1, "bob", "Alice: hi"), said(2, "bob", "malice"), said(3, "alice", "alice", own=True))
        self.assertEqual(
            [item.to_us for item in self.conversation.rooms["MainHall"].items if isinstance(item, Message)],
            [True, False, False],
        )


class Older(ConversationTestCase):
    def page(self, *indexes: int) -> list[Message]:
        return [self.conversation.message(said(index, "bob", str(index))) for index in indexes]

    def test_a_page_stands_before(self) -> None:
        room = self.conversation.rooms["MainHall"]
        self.hear(said(5, "bob", "5"))
        room.older(self.page(3, 4), more=True)
        self.assertEqual((room.first, room.more), (3, True))
        room.older(self.page(1, 2), more=False)
        self.assertEqual((room.first, room.more), (1, False))
        self.shows("1 bob: 1", "2 bob: 2", "3 bob: 3", "4 bob: 4", "5 bob: 5")

    def test_a_page_of_what_is_held_already_is_the_last(self) -> None:
        room = self.conversation.rooms["MainHall"]
        self.hear(said(5, "bob", "5"))
        room.older(self.page(5, 6), more=True)
        self.assertFalse(room.more)
        self.shows("5 bob: 5")

    def test_the_first_page_of_a_room_without_history(self) -> None:
        room = self.conversation.rooms["MainHall"]
        room.older(self.page(1, 2), more=False)
        self.hear(said(2, "bob", "2"), said(3, "bob", "3"))
        self.shows("1 bob: 1", "2 bob: 2", "3 bob: 3")


class OwnMessages(ConversationTestCase):
    def say(self, content: str = "hello") -> tuple[shown.RoomView, Pending]:
        saying = self.conversation.say(content, NOON)
        assert saying is not None
        return saying

    def test_pending_until_it_comes_back(self) -> None:
        room, pending = self.say()
        self.shows("… hello")
        self.assertEqual(self.conversation.unacknowledged, 1)
        room.acknowledged(pending, 4)
        self.shows("4 hello")
        self.assertEqual(self.conversation.unacknowledged, 0)
        self.hear(said(4, "alice", "hello", own=True))
        self.shows("4 alice: hello")

    def test_it_may_come_back_before_it_is_acknowledged(self) -> None:
        room, pending = self.say()
        self.hear(said(4, "alice", "hello", own=True))
        self.shows("4 alice: hello")
        room.acknowledged(pending, 4)
        self.shows("4 alice: hello")
        self.assertEqual(self.conversation.unacknowledged, 0)

    def test_it_may_have_come_back_as_somebody_else_s(self) -> None:
        room, pending = self.say()
        self.hear(said(4, "alice", "hello"))
        self.shows("4 alice: hello", "… hello")
        room.acknowledged(pending, 4)
        self.shows("4 alice: hello")

    def test_what_others_say_stands_before_what_is_pending(self) -> None:
        self.say()
        self.hear(said(1, "bob", "hi"))
        self.shows("1 bob: hi", "… hello")

    def test_the_same_words_twice(self) -> None:
        room, _ = self.say()
        _, second = self.say()
        self.hear(said(1, "alice", "hello", own=True))
        self.shows("1 alice: hello", "… hello")
        room.acknowledged(second, 2)
        self.shows("1 alice: hello", "2 hello")

    def test_refused(self) -> None:
        room, pending = self.say()
        self.conversation.failed(room, pending, "too long", NOON)
        self.shows("* Not said: 'hello' (too long)")
        self.assertEqual(self.conversation.unacknowledged, 0)

    def test_nowhere_to_say_it(self) -> None:
        self.assertIsNone(Conversation().say("hello", NOON))


class Rooms(ConversationTestCase):
    def test_the_first_room_is_shown(self) -> None:
        self.assertEqual(self.conversation.shown, "MainHall")

    def test_whoever_moves_sees_the_room_moved_to(self) -> None:
        self.hear(events.Moved("alice", "MainHall", "Den"))
        self.assertEqual((self.conversation.shown, list(self.conversation.rooms)), ("Den", ["Den"]))

    def test_whoever_enters_one_more_goes_on_seeing_the_one_shown(self) -> None:
        self.hear(events.Moved("alice", "", "Den"))
        self.assertEqual((self.conversation.shown, list(self.conversation.rooms)), ("MainHall", ["MainHall", "Den"]))

    def test_moved_out_of_a_room_that_is_not_shown(self) -> None:
        self.hear(events.Moved("alice", "", "Den"), events.Moved("alice", "Den", ""))
        self.assertEqual((self.conversation.shown, list(self.conversation.rooms)), ("MainHall", ["MainHall"]))
        self.shows("* You are no longer in Den.")

    def test_moved_out_of_the_one_shown(self) -> None:
        self.hear(events.Moved("alice", "", "Den"), events.Moved("alice", "MainHall", ""))
        self.assertEqual((self.conversation.shown, list(self.conversation.rooms)), ("Den", ["Den"]))

    def test_a_room_that_is_gone_after_an_outage(self) -> None:
        self.hear(events.Moved("alice", "", "Den"))
        self.conversation.show("Den")
        self.hear(events.Refusal("no-such-room", "there is no room Den", None, "Den"))
        self.assertEqual((self.conversation.shown, list(self.conversation.rooms)), ("MainHall", ["MainHall"]))
        self.shows("* Refused: there is no room Den")

    def test_an_outage_and_a_new_session_keep_what_is_shown(self) -> None:
        self.hear(said(1, "bob", "one"), events.Welcomed("alice", False), events.Moved("alice", "", "MainHall"))
        self.shows("1 bob: one")

    def test_unread_messages_are_counted_and_marked(self) -> None:
        self.hear(events.Moved("alice", "", "Den"), said(1, "bob", "old", "Den"), now=NOON + 90)
        self.hear(said(2, "bob", "new", "Den"), said(3, "bob", "alice?", "Den"))
        den = self.conversation.rooms["Den"]
        self.assertEqual((den.unread, den.to_us), (2, True))
        self.conversation.show("Den")
        self.assertEqual((den.unread, den.to_us), (0, False))
        self.shows("1 bob: old", "---", "2 bob: new", "3 bob: alice?", room="Den")
        self.conversation.show("MainHall")
        self.shows("1 bob: old", "2 bob: new", "3 bob: alice?", room="Den")

    def test_our_own_messages_are_not_unread(self) -> None:
        self.hear(events.Moved("alice", "", "Den"), said(2, "alice", "hm", "Den", own=True))
        self.assertEqual(self.conversation.rooms["Den"].unread, 0)

    def test_going_through_the_rooms(self) -> None:
        self.hear(events.Moved("alice", "", "Den"), events.Moved("alice", "", "Deck"))
        seen = []
        for step in (1, 1, 1, -1):
            self.conversation.turn(step)
            seen.append(self.conversation.shown)
        self.assertEqual(seen, ["Den", "Deck", "MainHall", "Deck"])

    def test_no_room_to_go_to(self) -> None:
        conversation = Conversation()
        conversation.turn(1)
        conversation.show("Den")
        self.assertEqual(conversation.shown, "")

    def test_counts(self) -> None:
        self.hear(events.Rooms({"MainHall": 2, "Den": 1}), events.Moved("bob", "MainHall", "Den"))
        self.assertEqual(self.conversation.counts, {"MainHall": 1, "Den": 2})
        self.assertEqual(self.conversation.room_names(), ["MainHall", "Den"])


class Members(ConversationTestCase):
    def test_who_comes_and_goes(self) -> None:
        self.hear(events.Moved("carl", "", "MainHall"), events.Moved("bob", "MainHall", "Den"))
        self.assertEqual(self.conversation.names(), ["alice", "carl"])
        self.hear(events.Moved("carl", "MainHall", ""))
        self.shows("* carl came.", "* bob went to Den.", "* carl left.")

    def test_a_refused_move_is_none(self) -> None:
        self.hear(events.Moved("bob", "MainHall", "MainHall"))
        self.shows()

    def test_another_name(self) -> None:
        self.hear(events.Members("MainHall", ("alice", "bob"), "bob"), events.Renamed("bob", "carl"))
        room = self.conversation.rooms["MainHall"]
        self.assertEqual((room.members, room.owner), ({"alice", "carl"}, "carl"))
        self.hear(events.Renamed("alice", "alex"))
        self.assertEqual(self.conversation.identity, "alex")
        self.shows("* bob is now carl.", "* You are now alex.")

    def test_a_refused_name_is_none(self) -> None:
        self.hear(events.Renamed("alice", "alice"))
        self.shows()

    def test_names_of_the_room_shown_come_first(self) -> None:
        self.hear(events.Moved("alice", "", "Den"), events.Members("Den", ("alice", "aaron"), ""))
        self.assertEqual(self.conversation.names(), ["alice", "bob", "aaron"])


class News(ConversationTestCase):
    def test_the_state(self) -> None:
        self.hear(events.StateChanged("waiting", "", "", "it died"))
        conversation = self.conversation
        self.assertEqual((conversation.state, conversation.reason), ("waiting", "it died"))
        self.hear(events.StateChanged("connecting", "", "", ""))
        self.assertEqual((conversation.state, conversation.reason), ("connecting", "it died"))
        self.hear(events.StateChanged("online", "west", "alone", ""))
        self.assertEqual((conversation.state, conversation.reason, conversation.server), ("online", "", "west"))

    def test_failover(self) -> None:
        """One line, when it is over: the state tells of it meanwhile."""
        online, waiting = events.StateChanged("online", "east", "paired", ""), ("waiting", "", "")
        self.hear(online)
        self.hear(events.StateChanged(*waiting, "the connection broke"), now=NOON + 1)
        self.hear(events.StateChanged("connecting", "", "", ""), now=NOON + 1)
        self.shows()
        self.hear(events.StateChanged("online", "west", "alone", ""), now=NOON + 1.34)
        self.shows("* east is gone (the connection broke); on west within 0.3 s.")
        self.hear(events.StateChanged(*waiting, "no answer within 1.0 s"), now=NOON + 2)
        self.hear(events.StateChanged(*waiting, "refused"), now=NOON + 3)
        self.hear(events.StateChanged("online", "west", "alone", ""), now=NOON + 64)
        self.shows(
            "* east is gone (the connection broke); on west within 0.3 s.",
            "* The connection to west was lost (no answer within 1.0 s); back within 62 s.",
        )
        self.hear(events.StateChanged("online", "west", "paired", "the server says so"), now=NOON + 65)
        self.assertEqual((len(texts(self.conversation)), self.conversation.redundancy), (2, "paired"))

    def test_redirect(self) -> None:
        self.hear(events.StateChanged("online", "east", "paired", ""), events.Redirected((), "isolated"))
        self.hear(events.StateChanged("waiting", "", "", "redirected: isolated"))
        self.hear(events.Redirected(("b:2",), "elsewhere"))
        self.hear(events.StateChanged("online", "west", "alone", ""))
        self.shows(
            "* east is cut off and cannot serve; going to another one.",
            "* The server sends us on (elsewhere); going to b:2.",
            "* On west within 0.1 s.",
        )

    def test_the_end_is_no_failover(self) -> None:
        self.hear(events.StateChanged("online", "east", "paired", ""))
        self.hear(events.StateChanged("stopped", "", "", "asked to"), events.StateChanged("online", "east", "x", ""))
        self.shows()

    def test_redundancy(self) -> None:
        """What is said from now on has one copy: that is worth a colour."""
        self.hear(events.Noticed("redundancy", "alone: x"), events.Noticed("redundancy", "paired: y"))
        tones = [item.tone for item in self.conversation.rooms["MainHall"].items if isinstance(item, Note)]
        self.assertEqual(tones, [Tone.WRONG, Tone.QUIET])

    def test_what_the_server_has_to_say(self) -> None:
        self.hear(
            events.Noticed("alone", "one server is away"),
            events.Redirected(("a:1", "b:2"), "draining"),
            events.Refusal("bad-line", "", None, None),
            events.PrivateSaid("bob", "psst", "i", NOON),
        )
        self.conversation.private("bob", "what?", NOON, own=True)
        self.shows(
            "* one server is away",
            "* The server is shutting down; going to a:1 or b:2.",
            "* Refused: bad-line",
            "from bob: psst",
            "to bob: what?",
        )

    def test_news_from_before_the_first_room_is_shown_there(self) -> None:
        self.conversation = Conversation()
        for number in range(shown.EARLY_NOTES_MAX + 1):
            self.conversation.note(str(number), NOON, Tone.WRONG)
        self.conversation.private("bob", "lost", NOON, own=False)
        self.hear(events.Welcomed("alice", False), events.Moved("alice", "", "MainHall"))
        self.shows(*(f"* {number}" for number in range(1, shown.EARLY_NOTES_MAX + 1)))
