"""How much of the ledger is monitored (R1-4): things that were heard in the window / things that were there."""

from cloud.facts.timelines import SILENT, UNKNOWN, Timeline
from cloud.indicators.asking import Asked, once
from cloud.indicators.counted import all_equipment
from cloud.indicators.definition import Definition, IndicatorResult
from cloud.indicators.pooling import Parts, Pooled, share

LEDGER_COVERAGE = "ledger.coverage"
DEFINITION = Definition(LEDGER_COVERAGE, unit="things", recorded=("day", "month"))


def _heard(asked: Asked) -> dict[str, bool]:
    """Whether anything was known at any time of the window, by kind and id, of what the ledger says is there."""
    ledger, window = asked.ledger, asked.until_now
    heard = {
        f"equipment/{one.equipment.id}": one.is_heard
        for one in once(asked, all_equipment)
        if len(one.timeline.starts)
    }  # fmt: skip
    named = [(f"spaces/{one.id}", one.sensor) for one in ledger.spaces if one.state != "closed"]
    named += [(f"robots/{one.id}", one.device) for one in ledger.robots]
    if window.from_ms >= window.to_ms or not named:
        return heard
    wanted = [device for _, device in named if device]
    devices = asked.store.timelines(ledger, window.from_ms, window.to_ms, wanted)
    for name, device in named:
        heard[name] = _is_heard(devices.get(device) if device else None, window.from_ms, window.to_ms)
    return heard


def _is_heard(timeline: Timeline | None, from_ms: int, to_ms: int) -> bool:
    if timeline is None:
        return False
    codes = timeline.clipped(from_ms, to_ms).codes
    return bool(((codes != UNKNOWN) & (codes & SILENT == 0)).any())


def coverage_parts(asked: Asked) -> Parts:
    """Things heard, and all things."""
    heard = [is_heard for name, is_heard in once(asked, _heard).items() if asked.counts(name.partition("/")[2])]
    return {"heard": sum(heard), "things": len(heard)}


def coverage_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Heard / all; nothing about it is unknown."""
    return share(definition, yes=parts["heard"], no=parts["things"] - parts["heard"], unknown=0)


LEDGER = Pooled(DEFINITION, coverage_parts, coverage_made)
