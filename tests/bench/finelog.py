"""How the benchmarks' daemons log: to standard output, with microseconds, everything."""

import sys

from twisted.logger import ILogObserver, textFileLogObserver


def observer() -> ILogObserver:
    """For `twistd --logger`."""
    return textFileLogObserver(sys.stdout, timeFormat="%Y-%m-%dT%H:%M:%S.%f%z")
