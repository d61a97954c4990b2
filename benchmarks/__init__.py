"""Figures of the building blocks, on this machine: `make bench`. Ratios and percentiles, never a verdict."""
