"""Warns of certificates whose time ends."""

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatproto.trust.certificates import Certificates

LOOK_EVERY_S = 86400.0

log = Logger()


class CertificateWatch(TimerService):
    """Looks at the certificates in use when it starts, once a day, and when they are read again."""

    def __init__(self, certificates: Certificates, clock: IReactorTime) -> None:
        """Look at certificates."""
        super().__init__(LOOK_EVERY_S, self.look)
        self.clock = clock
        self._certificates = certificates

    def look(self) -> None:
        """Warn of each that ends soon."""
        for line in self._certificates.endings():
            log.warn("{line}", line=line)

    def read_again(self) -> list[str]:
        """Take into use what the files hold now, and look at that; return a line for what cannot be used.

        It is warned of authorities of which none was believed before: a change goes by way of believing both.
        """
        before = self._certificates.held.authorities
        unchanged = self._certificates.read_again()
        if not set(before) & set(self._certificates.held.authorities):
            log.warn(
                "no authority is believed that was believed before: nodes that still have certificates of those are "
                "refused, and refuse this one, from now on; see docs/security.md, Renewing certificates"
            )
        self.look()
        return unchanged
