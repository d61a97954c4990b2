"""Devices that are not there: an independent witness for tests, demos and drills. Imports devices only."""
