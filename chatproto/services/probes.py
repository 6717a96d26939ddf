"""What whoever watches a process can ask of it over HTTP: `/metrics`, `/healthz` and `/readyz`.

Each connection has one question, without a body, and little time for it; see `chatproto.http`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from chatproto.errors import MissingExtra
from chatproto.gate import Gate, Limits
from chatproto.http import RequestChannel
from chatproto.services.listener import Listener
from chatproto.services.measures import COUNTER, HISTOGRAM, Measure, Measures
from chatproto.services.systemd import Health
from chatproto.world import World

DOOR = "metrics"
"""What its connections are counted as in `Tally.dropped`."""
LIMITS = Limits(connections_max=64, per_address_max=32)

PAGES = b"/metrics   for Prometheus\n/healthz   200 if the process gets on\n/readyz    200 if it serves\n"


def build_probes(world: World, description: str, health: Callable[[], Health], measures: Measures) -> Listener:
    """Build what answers on a server endpoint.

    Args:
        world: the outside. `world.fatal` is called when the endpoint is busy.
        description: server endpoint string.
        health: says how the process is.
        measures: measures it, at each scrape.

    Raises:
        MissingExtra: the library that writes metrics is not installed.
    """
    root = Resource()
    root.putChild(b"", _Text(lambda: (True, PAGES)))
    root.putChild(b"metrics", _metrics(measures))
    root.putChild(b"healthz", _Text(lambda: _healthz(health())))
    root.putChild(b"readyz", _Text(lambda: _readyz(health())))
    return Listener(description, world.server(description), ProbesSite(root, world), world.fatal)


def _healthz(health: Health) -> tuple[bool, bytes]:
    sane = health.sane()
    return sane, b"ok\n" if sane else b"the disk takes nothing of what it is given\n"


def _readyz(health: Health) -> tuple[bool, bytes]:
    return health.serving, health.status.encode() + b"\n"


class _Text(Resource):
    """A page that says whether, in status and body."""

    isLeaf = True

    def __init__(self, say: Callable[[], tuple[bool, bytes]]) -> None:
        super().__init__()
        self._say = say

    def render_GET(self, request: Request) -> bytes:
        good, text = self._say()
        request.setResponseCode(200 if good else 503)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        request.setHeader(b"cache-control", b"no-store")
        return text


def _metrics(measures: Measures) -> Resource:
    try:
        from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
        from prometheus_client.exposition import choose_encoder
    except ImportError:
        raise MissingExtra("--metrics needs prometheus_client: pip install chatproto[metrics]") from None
    # Its own resource for Twisted answers in a thread, which must not read what the reactor's thread changes.
    registry = CollectorRegistry()
    PlatformCollector(registry=registry)
    ProcessCollector(registry=registry)
    registry.register(_Collector(measures))

    class Metrics(Resource):
        isLeaf = True

        def render_GET(self, request: Request) -> bytes:
            encode, content_type = choose_encoder(request.getHeader("accept") or "")
            request.setHeader(b"content-type", content_type.encode())
            return encode(registry)

    return Metrics()


class _Collector:
    """Says what was measured as the library wants it."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Any]:
        """See `prometheus_client.registry.Collector`."""
        return map(_family, self._measures())


def _family(measure: Measure) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if measure.kind == HISTOGRAM:
        assert measure.histogram is not None
        buckets = [
            ("+Inf" if bound == float("inf") else repr(float(bound)), count)
            for bound, count in measure.histogram.up_to()
        ]
        return HistogramMetricFamily(measure.name, measure.meaning, buckets=buckets, sum_value=measure.histogram.sum)
    names = tuple(measure.values[0][0]) if measure.values else ()
    make = CounterMetricFamily if measure.kind == COUNTER else GaugeMetricFamily
    family = make(measure.name, measure.meaning, labels=names)
    for labels, value in measure.values:
        family.add_metric([labels[name] for name in names], float(value))
    return family


class _Channel(RequestChannel):
    """A connection with one question."""

    def allHeadersReceived(self) -> None:
        super().allHeadersReceived()
        if self.length != 0:  # None where it is not known before.
            self.drop("body")


class ProbesSite(Site):
    """Answers, and logs nothing of it.

    Attributes:
        gate: has the connections.
        clock: how long they last.
    """

    protocol = _Channel  # type: ignore[assignment]

    def __init__(self, root: Resource, world: World) -> None:
        """Serve pages."""
        super().__init__(root, timeout=None, reactor=world.clock)
        self.gate: Gate[RequestChannel] = Gate(DOOR, world.tally, lambda: LIMITS)
        self.clock = world.clock
        self.noisy = False

    def log(self, request: Request) -> None:
        """See `HTTPFactory.log`: who asks every few seconds is not worth a line."""
