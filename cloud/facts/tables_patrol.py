"""Tables of what is derived of patrols."""
