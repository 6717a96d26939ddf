"""What can be set of the page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PageSettings:
    """What can be set of the page.

    Attributes:
        listen: server endpoint string.
        origins: origins of the only pages that may open a WebSocket here, beside those of the deployment; empty for
            the host that the browser asked for.
    """

    listen: str
    origins: tuple[str, ...] = ()
