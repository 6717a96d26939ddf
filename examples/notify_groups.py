"""A notice board: whoever connects hears what is said to everybody, and to the groups that it has joined.

    python examples/notify_groups.py tcp:4000

With `nc localhost 4000`: `join GROUP`, `leave GROUP`, `notify GROUP TEXT`, `broadcast TEXT`. Whoever notifies a group
need not be in it, and does not know who is.
"""

import sys

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from chatproto.errors import Rejected
from chatproto.messaging import Groups


class Member(LineOnlyReceiver):
    """One connection."""

    delimiter = b"\n"
    groups = Groups(members_max=100, groups_per_member_max=3)

    def connectionMade(self):
        try:
            self.groups.enter(self)
        except Rejected as refusal:
            self.sendLine(f"refused: {refusal.reason}".encode())
            self.transport.loseConnection()

    def connectionLost(self, reason):
        self.groups.gone(self)

    def lineReceived(self, line):
        try:
            match line.decode(errors="replace").split(" ", 2):
                case ["join", group]:
                    self.groups.join(group, self, under=group)
                case ["leave", group]:
                    self.groups.leave(self, under=group)
                case ["notify", group, text]:
                    self.tell([member for member, _ in self.groups.notify(group)], f"{group}: {text}")
                case ["broadcast", *words]:
                    self.tell(self.groups.broadcast(), f"all: {' '.join(words)}")
        except Rejected as refusal:
            self.sendLine(f"refused: {refusal.reason}".encode())

    def tell(self, members, text):
        for member in members:
            member.sendLine(text.encode())


if __name__ == "__main__":
    listening = serverFromString(reactor, sys.argv[1]).listen(Factory.forProtocol(Member))
    listening.addErrback(lambda failure: (print(failure.getErrorMessage(), file=sys.stderr), reactor.stop()))
    reactor.run()
