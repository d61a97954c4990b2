"""Indicators of patrol beside area coverage: a table that the registry merges, and what each of them is."""

from cloud.indicators.asking import Computation
from cloud.indicators.definition import Definition

PATROL: dict[str, Computation] = {}
PATROL_DEFINITIONS: tuple[Definition, ...] = ()
