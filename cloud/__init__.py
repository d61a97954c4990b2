"""The aggregator: a log of frames and what is computed from it. Imports devices only."""
