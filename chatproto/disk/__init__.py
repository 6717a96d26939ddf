"""What all that is kept on a disk has in common: the data directory, SQLite's databases in it, and their threads."""
