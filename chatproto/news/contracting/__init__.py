"""The contracting service: readers, what they have agreed on, and where it is fulfilled."""
