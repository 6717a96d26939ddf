"""Keepalive: asks a master whether it lives, and has a stand-in serve in its place while it does not.

Public: `MonitorService`; what it is made of: `IAlive` (the question), `IStandIn` (who serves instead) and `IPlace` (the
master's place in the registry), for any service; `Watch` with its `TRANSITIONS` (decides; pure).
"""

from chatproto.monitor.interfaces import IAlive, IPlace, IStandIn
from chatproto.monitor.service import MonitorService
from chatproto.monitor.watch import TRANSITIONS, Event, State, Watch

__all__ = ["TRANSITIONS", "Event", "IAlive", "IPlace", "IStandIn", "MonitorService", "State", "Watch"]
