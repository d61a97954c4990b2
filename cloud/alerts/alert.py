"""An alert as it stands, one change of it, and what can be wrong with what people ask for.

What the machine says (condition) and what people do (handling) are kept apart. Times are Unix ms UTC. Terms follow
ANSI/ISA-18.2 (domain.md section 6).
"""

import hashlib
from enum import StrEnum

import msgspec

from cloud.alerts.rules import Rule
from devices import rules
from devices.errors import Permanent
from devices.rules import Severity

HOLD_MS = 10 * 60 * 1000  # a condition that comes back within this time after its end is the same alert
SHELF_MS_MAX = 7 * 24 * 3_600_000
CLOUD = "cloud"  # the source of what the cloud's own rules say; other sources are gateways, by id
CAUSES = (
    "wear", "power", "communication", "sensor", "control", "operation", "environment", "vandalism", "planned-work",
    "false-alarm", "unknown",
)  # fmt: skip
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Machine(StrEnum):
    """What the machine says."""

    ACTIVE = "active"
    CLEARED = "cleared"


class Handling(StrEnum):
    """What people have done."""

    NEW = "new"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Key(msgspec.Struct, frozen=True):
    """Under which one alert stands at a time. `thing` is a ledger id or a gateway id."""

    site: str
    rule: str
    thing: str


class Terms(msgspec.Struct, frozen=True):
    """What a rule says about the alerts it raises. `text` and `runbook` are keys of the catalogue."""

    severity: Severity
    text: str
    latched: bool = False  # stays open until a person resolves it, however the machine goes on
    runbook: str = ""


class Alert(msgspec.Struct, frozen=True):
    """An alert as it stands. `version` counts its entries; `text` is a catalogue key, rendered by the reader."""

    id: str
    key: Key
    severity: Severity
    condition: Machine
    handling: Handling
    opened_ms: int
    last_ms: int
    text: str
    parameters: dict[str, str]
    version: int = 0
    cleared_ms: int | None = None
    count: int = 1
    latched: bool = False
    assignee: str | None = None
    acknowledged_by: str | None = None
    acknowledged_ms: int | None = None
    historical: bool = False
    drill: bool = False
    sources: tuple[str, ...] = ()  # who says so while it is active
    runbook: str = ""
    new_ms: int = 0  # when people last had to take notice of it: what they have to do counts from here
    shelved_until_ms: int | None = None
    shelved_by: str | None = None
    shelf_reason: str = ""
    suppressed_by: str | None = None  # the alert of its cause
    arrived_by: str | None = None
    arrived_ms: int | None = None
    resolved_by: str | None = None
    resolved_ms: int | None = None
    cause: str = ""
    ticket: str = ""
    severity_ms: int = 0  # since when it is as bad as it is, or somebody has to plan against it again
    escalated_for: str = ""  # what was not done in time the last time that it became worse
    missed: tuple[str, ...] = ()  # what else was not done in time

    @property
    def is_open(self) -> bool:
        """Whether it still concerns anybody. Acknowledged alerts stay open."""
        return self.handling is not Handling.RESOLVED and not self.historical

    @property
    def is_active(self) -> bool:
        """Whether the machine says so now."""
        return self.condition is Machine.ACTIVE

    @property
    def is_shelved(self) -> bool:
        """Whether somebody put it aside for a while."""
        return self.shelved_until_ms is not None

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is told and nothing falls due: put aside, or told with its cause."""
        return self.is_shelved or self.suppressed_by is not None

    def active_by(self, source: str) -> bool:
        """Whether this source says that the condition holds."""
        return self.is_active and source in (self.sources or (CLOUD,))


class Entry(msgspec.Struct, frozen=True):
    """One change. `at_ms` is when it was true, `recorded_ms` when it was learned; `actor` is empty for machines."""

    version: int
    kind: str
    at_ms: int
    recorded_ms: int
    actor: str = ""
    note: str = ""
    detail: dict[str, str] = {}


class AlreadyAcknowledged(Permanent):
    """Another person was first."""

    def __init__(self, actor: str, at_ms: int) -> None:
        self.actor = actor
        self.at_ms = at_ms
        super().__init__(f"{actor} has acknowledged this alert already.")


class AlreadyResolved(Permanent):
    """The alert is closed; there is nothing left to do."""


class ConditionActive(Permanent):
    """The machine still says so: an alert is resolved after its condition has ended."""


class BadRequest(Permanent):
    """What a person asks for lacks something or goes too far; `field` says what of it."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


def alert_id(key: Key, opened_ms: int) -> str:
    """ULID of the opening time and the key.

    The same raise has the same id however often it is evaluated, so that a crash between two steps cannot
    make it two alerts.
    """
    digest = hashlib.sha256(f"{key.site}\0{key.rule}\0{key.thing}".encode()).digest()
    number = (opened_ms << 80) | int.from_bytes(digest[:10], "big")
    return "al_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def terms_of(rule: Rule | rules.Rule) -> Terms:
    """What this rule says about its alerts."""
    runbook = rule.runbook if isinstance(rule, rules.Rule) else None
    return Terms(rule.severity, rule.text, rule.latched, runbook or "")
