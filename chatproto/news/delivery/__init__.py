"""What a delivery node does for its readers: who gets what next, how much of it, and what was kept of their contracts."""
