"""Tools for the day on which devices are wired up: what will be read, whether it fits, what a device says."""
