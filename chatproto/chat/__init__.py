"""Rooms: wire messages, the hall (replayed state), sessions, and the link that clients speak."""
