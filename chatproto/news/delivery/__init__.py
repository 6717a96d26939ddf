"""What a delivery node does for its readers: what goes next to whom, and what was made of their contracts."""
