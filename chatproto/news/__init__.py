"""News under contract: from agencies to readers, through a tree of nodes, with quality of service."""
