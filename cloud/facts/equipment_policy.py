"""What domain.md leaves open about the states of equipment: choices with a default, entered as inputs, versioned."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from cloud.facts.inputs import EVERY_SITE, Input
from devices.document import Section

EQUIPMENT_POLICY = "equipment-policy"  # the kind of input that sets it, for one site or for every site
PROPERTY_GRACE_H = 72  # "a failed unit of a duty/standby pair counts only from day 4" (domain.md 1.1)
GRACE_H_MAX = 31 * 24
HOUR_MS = 3_600_000

ClassName = Annotated[str, Field(min_length=1, max_length=100)]
GraceH = Annotated[int, Field(ge=0, le=GRACE_H_MAX)] | Literal["property"]


def grace_ms_of(grace: "int | str") -> int:
    """Milliseconds of hours, or of a preset."""
    return (PROPERTY_GRACE_H if isinstance(grace, str) else grace) * HOUR_MS


class EquipmentPolicy(Section):
    """How states come about and what they count as. Defaults are those of domain.md 1.2 to 1.4."""

    debounce_s: int = Field(default=10, ge=0, le=3_600)  # shorter states take the state before them
    pm: Literal["exclude", "up", "down"] = "exclude"  # what planned maintenance counts as
    degraded_class_a_red: Literal["up", "down"] = "up"  # DEGRADED of criticality A while a red alert stands
    redundancy_grace_h: GraceH = 0  # how long a failed member of a group that delivers stays up; property = 72
    silent_fault_classes: tuple[ClassName, ...] = Field(default=(), max_length=200)  # silence is a fault of theirs
    silent_fault_after_h: int = Field(default=4, ge=1, le=GRACE_H_MAX)  # of silence while the gateway is heard
    robots_are_equipment: bool = True  # every robot of the ledger counts as equipment of class patrol-robot

    @property
    def debounce_ms(self) -> int:
        """The shortest state that counts."""
        return self.debounce_s * 1000

    @property
    def silent_fault_after_ms(self) -> int:
        """The longest silence of such a class."""
        return self.silent_fault_after_h * HOUR_MS

    @cached_property
    def version(self) -> str:
        """A digest of everything in it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]


DEFAULT_POLICY = EquipmentPolicy()


@dataclass(frozen=True, slots=True)
class Policies:
    """Which policy holds from when on: ascending, the first for all time before it."""

    since_ms: tuple[int, ...] = (-(2**62),)
    policies: tuple[EquipmentPolicy, ...] = (DEFAULT_POLICY,)

    def at(self, time_ms: int) -> EquipmentPolicy:
        """The policy of a moment."""
        held = [one for since, one in zip(self.since_ms, self.policies, strict=True) if since <= time_ms]
        return (held or self.policies)[-1 if held else 0]

    @property
    def version(self) -> str:
        """What is printed beside a number."""
        return "+".join(one.version for one in self.policies)


def policies_of(versions: Sequence[Input]) -> Policies:
    """Versions of the policies of a site and of every site, in the order of their entry; those of the site go first.

    A version holds from its beginning to its end or to that of a later one; what no version covers has the default.
    """
    ordered = sorted(versions, key=lambda one: (one.site != EVERY_SITE, one.recorded_ms, one.version))
    last = {(one.site, one.id): one for one in ordered}
    held = [one for one in ordered if not last[one.site, one.id].withdrawn and not one.withdrawn]
    edges = sorted({-(2**62), *(edge for one in held for edge in one.span)})
    since: list[int] = []
    chosen: list[EquipmentPolicy] = []
    for edge in edges:
        covering = [one for one in held if one.span[0] <= edge < one.span[1]]
        policy = _parsed(covering[-1]) if covering else DEFAULT_POLICY
        if not chosen or policy != chosen[-1]:
            since.append(edge)
            chosen.append(policy)
    return Policies(tuple(since), tuple(chosen))


def _parsed(one: Input) -> EquipmentPolicy:
    return EquipmentPolicy.model_validate_json(one.document)  # checked when it was entered
