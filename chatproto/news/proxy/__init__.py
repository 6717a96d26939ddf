"""What pulls news on behalf of mobile readers, keeps it until they have read it, and shows it on a page for them.

Public: `Shelf` (what is kept, and for whom; pure), `Sessions` (who is logged in; pure), `PULLED` (what
comes to a delivery node from it), `ProxyDesk` (answers it there).
"""
