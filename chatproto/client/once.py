"""Private messages that may come twice, over a direct connection and relayed, and are to be shown once. Pure."""


class Once:
    """The ids of what came lately, on either way.

    A sender that sees no acknowledgement of a direct message has it relayed under the same id. Whichever comes first is
    new. Of what was relayed nothing is compared with what else was relayed: a server passes on each request once.
    """

    def __init__(self, ids_max: int) -> None:
        """Remember nothing yet, and never more than so many ids of each way."""
        self._ids_max = ids_max
        self._direct: dict[str, None] = {}
        self._relayed: dict[str, None] = {}

    def direct(self, id: str) -> bool:
        """Take what came over a direct connection; return whether it is new."""
        new = id not in self._direct and id not in self._relayed
        self._note(self._direct, id)
        return new

    def relayed(self, id: str) -> bool:
        """Take what a server has relayed; return whether it is new."""
        self._note(self._relayed, id)
        return id not in self._direct

    def _note(self, ids: dict[str, None], id: str) -> None:
        ids.pop(id, None)
        ids[id] = None
        if len(ids) > self._ids_max:
            del ids[next(iter(ids))]
