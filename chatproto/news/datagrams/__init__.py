"""Free delivery: items in datagrams, whole and undamaged or not at all, and no promise that they come.

A reader proves in its datagrams that it has its ticket, without saying it, and that it is where it says it is.
"""
