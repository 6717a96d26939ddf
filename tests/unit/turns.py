"""A clock that tells one reactor turn from the next."""

from twisted.internet.task import Clock


class TurnClock(Clock):
    """A `Clock` whose `turn` runs, as a turn of a reactor does, only what was due when it began."""

    def turn(self) -> None:
        due = [call for call in self.getDelayedCalls() if call.getTime() <= self.seconds()]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
