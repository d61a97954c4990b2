"""Random lives of an alert against a model that is small enough to be seen to be right."""

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts.alert import HOLD_MS, Alert, AlreadyAcknowledged, AlreadyResolved, ConditionActive, Key, Terms
from cloud.alerts.handling import (
    Acknowledged,
    Escalated,
    Released,
    Resolved,
    Shelved,
    Suppressed,
    Unshelved,
)
from cloud.alerts.lifecycle import Cleared, Event, Raised, step
from devices.rules import Severity

KEY = Key("s", "r", "t")
COLOURS = list(Severity)
SHELF_MS = 3 * HOLD_MS


@dataclass(frozen=True)
class Model:
    """What should be true of one key, as plain words."""

    exists: bool = False
    number: int = 0  # how many alerts there were
    sources: frozenset[str] = frozenset()
    handled: str = "new"
    by: str = ""
    colour: int = 0
    cleared_ms: int = 0
    shelf_ms: int = 0  # its end, 0 for none
    muted: bool = False

    @property
    def open(self) -> bool:
        return self.exists and self.handled != "resolved"

    def settled(self) -> "Model":
        """Closed, where nobody needs to do anything."""
        if self.sources or not self.open or self.colour == 2:
            return self
        if self.muted or (self.colour == 0 and self.handled == "acknowledged"):
            return replace(self, handled="resolved")
        return self


def expected(model: Model, what: str, who: str, now_ms: int, colour: int) -> Model:
    if what == "raise":
        if model.sources:
            return replace(model, sources=model.sources | {who})
        if model.open or (model.exists and now_ms - model.cleared_ms < HOLD_MS):
            worst = max(model.colour, colour) if model.open else colour
            return replace(model, sources=frozenset({who}), handled="new", by="", colour=worst, muted=False)
        shelf_ms = model.shelf_ms if model.shelf_ms > now_ms else 0
        return Model(True, model.number + 1, frozenset({who}), colour=colour, shelf_ms=shelf_ms)
    if what == "clear":
        left = model.sources - {who}
        if left == model.sources or left:
            return replace(model, sources=left)
        return replace(model, sources=left, cleared_ms=now_ms).settled()
    if what == "unshelve":
        return replace(model, shelf_ms=0) if now_ms >= model.shelf_ms else model
    if what == "release":
        return replace(model, muted=False)
    if not model.open:
        return model
    if what == "acknowledge" and model.handled == "new":
        return replace(model, handled="acknowledged", by=who).settled()
    if what == "resolve" and not model.sources:
        return replace(model, handled="resolved", shelf_ms=0)
    if what == "shelve":
        return replace(model, shelf_ms=now_ms + SHELF_MS)
    if what == "escalate" and model.colour < 2:
        return replace(model, colour=2, handled="new", by="")
    if what == "suppress":
        return replace(model, muted=True).settled()
    return model


def event_of(what: str, who: str, now_ms: int, terms: Terms) -> Event:
    events: dict[str, Event] = {
        "raise": Raised(KEY, terms, now_ms, {}, who),
        "clear": Cleared(now_ms, who),
        "acknowledge": Acknowledged(who),
        "resolve": Resolved(who, "wear", "replaced"),
        "shelve": Shelved(who, "being repaired", now_ms + SHELF_MS),
        "unshelve": Unshelved(),
        "escalate": Escalated(Severity.RED, "plan"),
        "suppress": Suppressed("al_cause"),
        "release": Released(),
    }
    return events[what]


WHAT = st.sampled_from(
    ["raise", "clear", "acknowledge", "resolve", "shelve", "unshelve", "escalate", "suppress", "release"]
)
STEPS = st.lists(st.tuples(st.integers(1, HOLD_MS), WHAT, st.sampled_from(["cloud", "gw-1"])), max_size=40)


@given(STEPS, st.sampled_from([0, 1, 2]))
def test_any_life_of_an_alert_is_that_of_the_model(steps: list[tuple[int, str, str]], colour: int) -> None:
    terms = Terms(COLOURS[colour], "text", latched=colour == 2)
    model, alert, now_ms, versions = Model(), None, 0, 0
    ids: set[str] = set()
    for wait_ms, what, who in steps:
        now_ms += wait_ms
        model = expected(model, what, who, now_ms, colour)
        before: Alert | None = alert
        try:
            alert, entries = step(alert, event_of(what, who, now_ms, terms), now_ms)
        except (AlreadyAcknowledged, AlreadyResolved, ConditionActive):
            continue
        if alert is None:
            assert not model.exists
            continue
        ids.add(alert.id)
        versions = (versions if before is not None and before.id == alert.id else 0) + len(entries)

        assert alert.version == versions, "each change is one entry, and nothing changes without one"
        assert (alert == before) == (not entries)
        said = (frozenset(alert.sources), alert.handling.value, alert.acknowledged_by or "", alert.severity)
        assert said == (model.sources, model.handled, model.by, COLOURS[model.colour])
        assert (alert.shelved_until_ms or 0, alert.suppressed_by is not None) == (model.shelf_ms, model.muted)
        assert alert.is_active == bool(model.sources)
        assert len(ids) == model.number
