"""Indicators of how alerts are dealt with: a table that the registry merges, and what each of them is."""

from cloud.indicators.asking import Computation
from cloud.indicators.definition import Definition

ALARMS: dict[str, Computation] = {}
ALARMS_DEFINITIONS: tuple[Definition, ...] = ()
