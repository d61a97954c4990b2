"""The choices that domain.md leaves open, as one versioned document that is printed beside every number."""

import hashlib
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from devices.document import Section, parse_document
from devices.point import Id

POLICY_KIND = "indicator-policy"  # of the input that sets it, for one site or (site "") for all
Weight = Annotated[int, Field(ge=1, le=1_000)]
MINUTE_MS = 60_000


class Weights(Section):
    """How much an equipment counts, by criticality. Equal by default; A=3, B=2, C=1 is the other common choice."""

    A: Weight = 1
    B: Weight = 1
    C: Weight = 1

    def of(self, criticality: Literal["A", "B", "C"]) -> int:
        """The weight of a criticality."""
        return {"A": self.A, "B": self.B, "C": self.C}[criticality]


class IndicatorPolicy(Section):
    """Policy of counting and of assessing. Defaults are those of domain.md 1.3 and 1.4."""

    id: Id = "default"
    weights: Weights = Weights()
    intact_day_down_max_min: int = Field(default=60, ge=0, le=24 * 60)  # a day with more down time is not intact
    failures_apart_min: int = Field(default=5, ge=0, le=24 * 60)  # closer faults are one failure
    repair_time: Literal["required", "elapsed"] = "required"  # to mend: required time only, or all that passed
    parking_full_at: int = Field(default=0, ge=0, le=10_000)  # free spaces at which a group is full
    parking_hysteresis: int = Field(default=2, ge=1, le=1_000)  # more free spaces than that to be open again
    red_card_fails: int = Field(default=2, ge=1, le=24)  # failed assessments running
    indeterminate_ends_run: bool = True  # False: an assessment without a verdict is passed over
    bottom_percent: int = Field(default=10, ge=1, le=100)  # of the ranking
    bottom_periods: int = Field(default=2, ge=1, le=24)  # running at the bottom for a yellow card
    below_periods: int = Field(default=6, ge=1, le=60)  # running below target for a reorganisation (2-34)
    benchmark_coverage_min_percent: int = Field(default=95, ge=0, le=100)
    benchmark_months: int = Field(default=12, ge=1, le=120)  # then a benchmark has expired

    @cached_property
    def version(self) -> str:
        """Name and a digest of everything in it."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()
        return f"{self.id}@{digest[:8]}"

    @property
    def intact_day_down_max_ms(self) -> int:
        """The most down time of an intact day."""
        return self.intact_day_down_max_min * MINUTE_MS

    @property
    def failures_apart_ms(self) -> int:
        """Faults with less between them are one failure."""
        return self.failures_apart_min * MINUTE_MS


DEFAULT_POLICY = IndicatorPolicy()


def parse_policy(text: str, name: str) -> IndicatorPolicy:
    """Check a document. Raises ConfigurationError."""
    return parse_document(text, name, IndicatorPolicy)
