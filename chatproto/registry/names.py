"""What is registered: names with their addresses. Pure."""

import msgspec


class Registration(msgspec.Struct, frozen=True, array_like=True):
    """What a server says of itself.

    Attributes:
        service: the name of the deployment, such as `chat`.
        name: of the server, unique in its service.
        kind: what it serves, such as `chat`: whoever looks for any server of a kind asks by this.
        address: `HOST:PORT` where its clients reach it; empty for one that has none.
        role: what it is to its service now: `leader`, `follower`, `standby`; empty where that means nothing.
        epoch: the one in which it has this role; 0 where that means nothing.
        capacity: how many clients it takes; 0 for no bound.
        attributes: whatever else others should know, such as `peer`: `HOST:PORT` of its peer link.
        lease_s: the registration ends unless it is renewed within so many seconds.
    """

    service: str
    name: str
    kind: str = "chat"
    address: str = ""
    role: str = ""
    epoch: int = 0
    capacity: int = 0
    attributes: dict[str, str] = {}
    lease_s: float = 3.0
