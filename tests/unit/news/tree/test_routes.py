"""Which way exclusive items go."""

from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.tree.routes import Routes
from tests.unit.news.samples import item_of


class RoutesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.routes = Routes()
        self.routes.reported("r1", (("west", ("finance", "sport")), ("east", ())))
        self.routes.reported("r2", (("south", ("sport",)),))

    def test_an_ordinary_item_goes_everywhere(self) -> None:
        self.assertIsNone(self.routes.route_of(item_of()))
        self.assertTrue(self.routes.leads_to("r1", item_of()))
        self.assertTrue(self.routes.leads_to("stranger", item_of()))

    def test_an_exclusive_goes_to_who_has_paid_for_its_topic(self) -> None:
        for topic, route in (("sport", ("south", "west")), ("finance", ("west",)), ("gossip", ())):
            self.assertEqual(self.routes.route_of(item_of(topic=topic, exclusive=True)), route)
        item = item_of(exclusive=True, route=("west",))
        self.assertTrue(self.routes.leads_to("r1", item))
        self.assertFalse(self.routes.leads_to("r2", item))
        self.assertFalse(self.routes.leads_to("stranger", item))
        self.assertFalse(self.routes.leads_to("r1", item_of(exclusive=True, route=())))

    def test_what_is_reported_upwards(self) -> None:
        self.assertEqual(self.routes.reach(), (("east", ()), ("south", ("sport",)), ("west", ("finance", "sport"))))
        self.assertTrue(self.routes.here("here", frozenset({"gossip"})))
        self.assertFalse(self.routes.here("here", frozenset({"gossip"})))
        self.assertIn(("here", ("gossip",)), self.routes.reach())

    def test_only_news_is_news(self) -> None:
        self.assertFalse(self.routes.reported("r2", (("south", ("sport",)),)))
        self.assertTrue(self.routes.reported("r2", (("south", ()),)))
        self.routes.forget("r2")
        self.routes.forget("stranger")
        self.assertEqual([name for name, _ in self.routes.reach()], ["east", "west"])

    def test_a_node_that_moves_is_below_both_for_a_while(self) -> None:
        self.routes.reported("r2", (("west", ("gossip",)),))
        self.assertIn(("west", ("finance", "gossip", "sport")), self.routes.reach())
