"""Direct connections between two clients: one listens, another calls and proves who it is, either may speak.

Public: `DirectSettings`; all else is used by `ChatClient.send_direct` and `ChatClient.accept_direct`.
"""

from chatproto.client.direct.settings import DirectSettings

__all__ = ["DirectSettings"]
