"""Tables of users, sessions, keys, audit log."""
