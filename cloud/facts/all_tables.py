"""Every table there is, for the migrations: importing this module declares them all."""

from cloud.facts import (
    database,
    tables_access,
    tables_alerts,
    tables_clocks,
    tables_evidence,
    tables_handling,
    tables_inputs,
    tables_notify,
    tables_patrol,
    tables_results,
)
from cloud.facts.schema import metadata

__all__ = [
    "database",
    "metadata",
    "tables_access",
    "tables_alerts",
    "tables_clocks",
    "tables_evidence",
    "tables_handling",
    "tables_inputs",
    "tables_notify",
    "tables_patrol",
    "tables_results",
]
