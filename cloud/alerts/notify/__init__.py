"""Telling people: channels, what a message looks like on each, and who was told when."""
