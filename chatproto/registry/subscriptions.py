"""Who is to hear what: connections by topic, bounded. Pure."""

TOPICS_PER_VISITOR_MAX = 64

Topic = tuple[str, str]
"""What sort it is, and its name: `("group", "cooks")`, or `("service", "chat")` for changes of its registrations."""


class Subscriptions:
    """Which connections hear of which topic, each under the number of its request."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._topics: dict[Topic, dict[tuple[int, int], None]] = {}
        self._of: dict[int, dict[int, Topic]] = {}

    def add(self, topic: Topic, at: int, number: int) -> bool:
        """Have a connection hear of a topic under a number, in place of what it heard under that before.

        Returns:
            Whether there was room for it.
        """
        self.drop(at, number)
        topics = self._of.setdefault(at, {})
        if len(topics) >= TOPICS_PER_VISITOR_MAX:
            return False
        topics[number] = topic
        self._topics.setdefault(topic, {})[at, number] = None
        return True

    def drop(self, at: int, number: int) -> None:
        """Have a connection hear nothing more under a number."""
        topic = self._of.get(at, {}).pop(number, None)
        if topic is not None:
            hearers = self._topics[topic]
            del hearers[at, number]
            if not hearers:
                del self._topics[topic]

    def gone(self, at: int) -> None:
        """Have a connection hear nothing more."""
        for number in list(self._of.get(at, ())):
            self.drop(at, number)
        self._of.pop(at, None)

    def hearers(self, topic: Topic) -> list[tuple[int, int]]:
        """Return the connections that hear of a topic, each with its number for it, in the order they came."""
        return list(self._topics.get(topic, ()))
