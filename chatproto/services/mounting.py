"""How a service becomes a part of a tree: never without a name."""

from twisted.application.service import MultiService, Service


def mount(tree: MultiService, name: str, service: Service) -> None:
    """Make a service a part of a tree, under a name that no other part of it has; started, if the tree runs.

    Parts start in the order in which they are mounted, and stop in the opposite one.
    """
    service.setName(name)
    service.setServiceParent(tree)
