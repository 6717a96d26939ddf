"""Fast tests of one part at a time; see CONTRIBUTING.md."""

from hypothesis import settings

# The same examples in every run: what decides about a change is the change, and coverage does not vary by luck.
settings.register_profile("unit", derandomize=True, database=None, deadline=None)
settings.load_profile("unit")
