"""The table of indicators in the documentation, printed from the catalogue so that it cannot lag behind."""

from cloud.indicators.catalogue import DEFINITIONS
from cloud.indicators.definition import Better
from devices.words import say

BEGIN, END = "<!-- indicators: begin -->", "<!-- indicators: end -->"
_SIGN = {Better.HIGHER: "≥", Better.LOWER: "≤"}


def table(language: str = "en") -> str:
    """Markdown: a row for each indicator that is computed, by id."""
    rows = [
        "| Indicator | What it is | Formula | Value in | Good | Asked by | Issued |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in sorted(DEFINITIONS.values(), key=lambda found: found.id):
        name, formula = (say(language, f"indicator.{one.id}.{what}") for what in ("name", "formula"))
        by, issued = ", ".join(one.by) or "-", ", ".join(one.recorded) or "live only"
        rows.append(f"| `{one.id}` | {name} | {formula} | {one.value_unit} | {_SIGN[one.better]} | {by} | {issued} |")
    return "\n".join(rows)
