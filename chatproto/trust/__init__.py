"""How a link between nodes, or to the registry, knows who is at its other end: by certificates, or by a shared secret.

`chatproto.trust.interface` is the seam; `Certified` and `SharedSecret` stand behind it, or nothing, as on one machine.
"""
