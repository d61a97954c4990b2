"""Readings for charts, by series and time."""
