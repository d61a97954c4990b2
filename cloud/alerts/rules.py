"""Alert rules as data: what to look at, when it is wrong, how long it must last, how bad it is."""

import msgspec

from devices.conditions import Delays
from devices.rules import Severity


class EquipmentState(msgspec.Struct, frozen=True, tag="equipment-state"):
    """Equipment of these criticalities is in one of these states."""

    criticalities: frozenset[str]
    states: frozenset[str]


class GatewaySilent(msgspec.Struct, frozen=True, tag="gateway-silent"):
    """A gateway has sent nothing; the silence allowed is the rule's on-delay."""


class Rule(msgspec.Struct, frozen=True):
    """One rule. `text` is the key of its sentence in the catalogue."""

    id: str
    severity: Severity
    when: EquipmentState | GatewaySilent
    text: str
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    latched: bool = False  # stays open until a person resolves it, however the machine goes on

    @property
    def delays(self) -> Delays:
        """The delays in milliseconds."""
        return Delays(on_ms=round(self.on_delay_s * 1000), off_ms=round(self.off_delay_s * 1000))


def _fault(criticality: str, severity: Severity, on_delay_s: float) -> Rule:
    return Rule(
        id=f"equipment-fault-{criticality.lower()}",
        severity=severity,
        when=EquipmentState(criticalities=frozenset({criticality}), states=frozenset({"FAULT"})),
        text="alert.equipment_fault",
        on_delay_s=on_delay_s,
        off_delay_s=5.0,  # domain.md section 6: discrete signals 5 s
        latched=severity is Severity.RED,
    )


# domain.md section 6, default alert pack: the first rows of it
DEFAULT_RULES: tuple[Rule, ...] = (
    _fault("A", Severity.RED, 10.0),
    _fault("B", Severity.ORANGE, 60.0),
    _fault("C", Severity.YELLOW, 60.0),
    Rule(
        id="gateway-silent",
        severity=Severity.ORANGE,
        when=GatewaySilent(),
        text="alert.gateway_silent",
        on_delay_s=180.0,
    ),
)
