"""Which delivery nodes are below whom, and so which way an exclusive item goes. Pure."""

from chatproto.news.items import Item
from chatproto.news.tree.messages import Reach


class Routes:
    """What a node knows of the tree below it.

    Attributes:
        children: each child's last report, by its name.
    """

    def __init__(self) -> None:
        """Know of nobody."""
        self.children: dict[str, dict[str, frozenset[str]]] = {}
        self._here: dict[str, frozenset[str]] = {}

    def reported(self, child: str, reach: Reach) -> bool:
        """Take a child's report; return whether it says something new."""
        below = {name: frozenset(topics) for name, topics in reach}
        changed = self.children.get(child) != below
        self.children[child] = below
        return changed

    def forget(self, child: str) -> None:
        """Know nothing of a child any more."""
        self.children.pop(child, None)

    def here(self, name: str, topics: frozenset[str]) -> bool:
        """Hear that this node is a delivery node with exclusives on these topics; return whether that is new."""
        changed = self._here != {name: topics}
        self._here = {name: topics}
        return changed

    def reach(self) -> Reach:
        """Return what this node reports to its parent."""
        merged: dict[str, frozenset[str]] = {}
        for below in (*self.children.values(), self._here):
            for name, topics in below.items():
                merged[name] = merged.get(name, frozenset()) | topics
        return tuple((name, tuple(sorted(topics))) for name, topics in sorted(merged.items()))

    def route_of(self, item: Item) -> tuple[str, ...] | None:
        """Return the delivery nodes that an item is for, as it is accepted; None for everywhere."""
        if not item.exclusive:
            return None
        return tuple(name for name, topics in self.reach() if item.topic in topics)

    def leads_to(self, child: str, item: Item) -> bool:
        """Whether an item is for anybody below a child."""
        return item.route is None or not self.children.get(child, {}).keys().isdisjoint(item.route)
