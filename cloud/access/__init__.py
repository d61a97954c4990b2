"""Who may do what: people, their rights, their sessions, keys of scripts, and the record of changes."""
