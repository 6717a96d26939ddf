"""What twistd offers once chatproto is installed; no __init__.py may stand beside this file."""

from twisted.application.service import ServiceMaker

chatserver = ServiceMaker(
    "chatproto chat server",
    "chatproto.tap",
    "A chat node: rooms over line JSON, durable and ordered.",
    "chatserver",
)

newsserver = ServiceMaker(
    "chatproto news server",
    "chatproto.newstap",
    "A node of the news system: from agencies to readers, under contract.",
    "newsserver",
)
