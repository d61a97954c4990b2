"""Conditions that somebody must act on, and what was done about them."""
