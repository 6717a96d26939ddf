"""Test Twisted programs on a simulated network and disk, in simulated time, with faults drawn from a seed.

A program that takes its reactor, or clock and endpoints, from outside runs here unchanged: give it a
host's `reactor`, or build it from the host's `world`. One seed gives one run; a hundred seeds give a
hundred timings.

    network = SimNetwork(SimClock(), random.Random(seed))
    server, client = network.host("server"), network.host("client")
    TCP4ServerEndpoint(server.reactor, 4444).listen(factory)
    TCP4ClientEndpoint(client.reactor, "server", 4444).connect(other_factory)
    network.clock.run(1)
    network.cut("server", "client")
    network.clock.run(10)

`SimDeployment` boots chat servers on such a network, and checks after every event what `chatproto.testing.checkers`
knows that must hold. docs/testing.md has whole examples, and says what is modelled and what is not.
"""

from chatproto.testing.checkers import Violation
from chatproto.testing.clock import Livelock, NeverHappened, SimClock
from chatproto.testing.deployment import SimDeployment, node_settings
from chatproto.testing.disk import SimDisk, SimStore
from chatproto.testing.faults import DISK_FAULTS, FAULTS, Fault, FaultPlan, Struck
from chatproto.testing.host import SimHost
from chatproto.testing.network import SimNetwork, TraceEvent
from chatproto.testing.nodes import SimNode, SimPairNode, SimProcess, SimRegistry
from chatproto.testing.table import SimTable

__all__ = [
    "DISK_FAULTS",
    "FAULTS",
    "Fault",
    "FaultPlan",
    "Livelock",
    "NeverHappened",
    "SimClock",
    "SimDeployment",
    "SimDisk",
    "SimHost",
    "SimNetwork",
    "SimNode",
    "SimPairNode",
    "SimProcess",
    "SimRegistry",
    "SimStore",
    "SimTable",
    "Struck",
    "TraceEvent",
    "Violation",
    "node_settings",
]
