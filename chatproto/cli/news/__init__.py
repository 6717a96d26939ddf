"""`chatproto news`: publish, read, contract, and how a deployment is."""
