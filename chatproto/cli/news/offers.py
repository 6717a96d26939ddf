"""What to do with the offers of the contracting service: ask whoever is there, take the first, or take none. Pure."""

ASK, NEAREST, NOTHING = "ask", "nearest", "nothing"
