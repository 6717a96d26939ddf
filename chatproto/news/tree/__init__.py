"""The distribution tree: items come in at the root, and every node passes them on to its children."""
