from twisted.trial.unittest import SynchronousTestCase

from chatproto.news.contracting.nodes import DeliveryNodes, node_of
from chatproto.news.contracting.policy import Node
from chatproto.registry import Registration


def node(name: str, capacity: int = 20_000, kind: str = "news-delivery", **attributes: str) -> Registration:
    return Registration("news", name, kind, capacity=capacity, attributes=attributes)


class NodeTests(SynchronousTestCase):
    def test_one_in_twenty_readers_may_be_paid_unless_it_says_otherwise(self) -> None:
        said = {"paid-max": "7"}
        self.assertEqual(node_of(node("north", substitute="south")), Node("north", 20_000, 1_000, "south"))
        self.assertEqual(node_of(node("north", 3)), Node("north", 3, 1))
        self.assertEqual(node_of(node("north", 3, **said)), Node("north", 3, 7))
        self.assertEqual(node_of(node("north", 0)), Node("north"))
        self.assertEqual(node_of(node("north", 0, **said)), Node("north", 0, 7))
        self.assertEqual(node_of(node("north", 0, **{"paid-max": "many"})), Node("north"))

    def test_those_that_are_there(self) -> None:
        told: list[int] = []
        nodes = DeliveryNodes(lambda: told.append(len(nodes.there)))
        nodes.names_listed([node("north"), node("root", kind="news-root")])
        nodes.name_registered(node("south"))
        nodes.name_registered(node("root", kind="news-root"))
        nodes.name_gone(node("root", kind="news-root"))
        nodes.name_gone(node("north"))
        self.assertEqual((list(nodes.there), told), (["south"], [1, 2, 1]))
        nodes.names_listed([])
        self.assertEqual(nodes.there, {})

    def test_from_which_a_proxy_reads(self) -> None:
        def proxied() -> list[str]:
            return [name for name, node in nodes.there.items() if node.has_proxy]

        nodes = DeliveryNodes()
        proxy = node("phones", kind="news-proxy", delivery="south")
        nodes.names_listed([proxy, node("north"), node("south")])
        self.assertEqual(proxied(), ["south"])
        nodes.name_gone(proxy)
        self.assertEqual(proxied(), [])
        nodes.name_registered(node("phones", kind="news-proxy", delivery="north"))
        nodes.name_registered(node("north"))
        self.assertEqual(proxied(), ["north"])
        nodes.names_listed([node("north")])
        self.assertEqual(proxied(), [])
