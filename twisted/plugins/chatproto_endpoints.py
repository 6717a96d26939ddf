r"""Client endpoints that Twisted's `clientFromString` knows once chatproto is installed: `srv:DOMAIN`.

Whole, after the prefix: `srv:DOMAIN:service=chat:dns=ADDRESS\:PORT`.
"""

from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class SRVParser:
    """Reads `srv:`: the best server of a service, by its SRV records."""

    prefix = "srv"

    def parseStreamClient(self, reactor, domain, service="chat", dns=""):
        """Return the endpoint that a description means."""
        # Not before it is asked for: this file is read for every description of whatever program.
        from chatproto import SRVEndpoint
        from chatproto.wire import host_and_port

        server = host_and_port(dns) if dns else None
        if dns and server is None:
            raise ValueError(f"dns={dns} is not ADDRESS:PORT")
        return SRVEndpoint(reactor, domain, service, dns=server)


srv = SRVParser()
