"""A number explained: formula, terms, every thing with its times, what was left out and why, the frames behind it.

Enough to work the number out again by hand; the intervals are those that made it.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from cloud.facts.database import reading
from cloud.facts.equipment_states import BY_HAND, DOWN, EXCLUDED, NOT_KNOWN, UP
from cloud.facts.frame_ranges import Frames, frames_about
from cloud.facts.inputs import EVER_MS, EVERY_SITE, Input
from cloud.facts.ledger import Ledger
from cloud.facts.sessions import FREE, OCCUPIED
from cloud.facts.store import FactStore
from cloud.facts.tables_inputs import inputs
from cloud.facts.timelines import EQUIPMENT_STATES, STATE_BITS, Timeline
from cloud.indicators.asking import Asked, once
from cloud.indicators.catalogue import DEFINITIONS
from cloud.indicators.counted import Counted, chosen_equipment
from cloud.indicators.definition import IndicatorResult, Window
from cloud.indicators.imported import Told, told
from cloud.indicators.parked import Parked, chosen_spaces
from cloud.indicators.patrol_days import patrol_days
from cloud.indicators.registry import AnyWindow, answered, asked_about
from cloud.indicators.terms import terms_at
from cloud.indicators.written import written

INTERVALS_MAX = 20_000  # of an explanation; a longer one says that it is cut
COUNTS_NAMES = {UP: "up", DOWN: "down", NOT_KNOWN: "unknown", EXCLUDED: "excluded", BY_HAND: "excluded by hand"}
_SPACE_STATES = {FREE: "free", OCCUPIED: "occupied"}

Json = dict[str, Any]


def explain(store: FactStore, ledger: Ledger, indicator: str, window: AnyWindow, now_ms: int) -> Json:
    """Everything about one number of a site, as plain values; fractions are "n/d", times Unix ms UTC.

    Raises UnknownIndicator or BadWindow. Blocks.
    """
    asked = asked_about(store, ledger, indicator, window, now_ms)
    result = answered(indicator, asked)
    things = list(_things(indicator, asked))
    intervals = sum(len(one["intervals"]) for one in things)
    return {
        "site": ledger.site.id,
        "as_of_ms": now_ms,
        "result": {**written(result), "final": result.final},
        "formula": {"key": f"indicator.{indicator}.formula", "version": result.formula_version},
        "terms": _terms(store, asked, indicator, result),
        "inputs": [_input_json(one) for one in _inputs(store, ledger, asked.window)],
        "things": _cut(things) if intervals > INTERVALS_MAX else things,
        "is_cut": intervals > INTERVALS_MAX,
        "days": _days(asked) if indicator.startswith("robot.") else [],
        "values": _values(store, ledger, indicator, asked.window),
        "frames": [_frames_json(one) for one in _frames(store, ledger, asked.window)],
    }


def _terms(store: FactStore, asked: Asked, indicator: str, result: IndicatorResult) -> Json:
    target = terms_at(store.engine, asked.ledger, asked.window.from_ms).targets.of(indicator)
    return {
        "policy": asked.policy.model_dump(mode="json"),
        "policy_version": result.policy_version,
        "target": None if target is None else {
            "value": _text(target.value), "version": target.version, "origin": target.origin,
            "is_override": target.is_override,
        },
    }  # fmt: skip


def _things(indicator: str, asked: Asked) -> Iterator[Json]:
    """Every thing that the number is about, with the intervals of the window."""
    by_device = _frames_by_device(asked)
    family = indicator.partition(".")[0]
    if family in {"equipment", "data", "ledger"}:
        for one in chosen_equipment(asked):
            weight = asked.policy.weights.of(one.equipment.criticality)
            yield _equipment_json(one, weight, by_device.get(_device_of(one), ()))
    if family in {"parking", "data", "ledger"}:
        for space in chosen_spaces(asked):
            yield _space_json(space, asked.until_now, by_device.get(space.space.device or "", ()))


def _device_of(one: Counted) -> str:
    return one.equipment.device or ""


def _equipment_json(one: Counted, weight: int, frames: Sequence[Frames]) -> Json:
    return {
        "kind": "equipment", "id": one.equipment.id, "device": one.equipment.device, "weight": weight,
        "class": one.equipment.class_, "criticality": one.equipment.criticality,
        "ms": {
            "up": one.tally.up_ms, "down": one.tally.down_ms, "unknown": one.tally.unknown_ms,
            "excluded": one.tally.excluded_ms,
        },
        "intervals": _both(one.timeline, one.counts), "frames": [_frames_json(frame) for frame in frames],
    }  # fmt: skip


def _both(states: Timeline, counts: Timeline) -> list[list[Any]]:
    """[from_ms, to_ms, state, what it counts as] for every stretch in which neither changes."""
    found: list[list[Any]] = []
    for begin, end, code in _pieces(states):
        for low, high, counted in _pieces(counts.clipped(begin, end)):
            found.append([low, high, EQUIPMENT_STATES[code & STATE_BITS].name, COUNTS_NAMES[counted]])
    return found


def _space_json(one: Parked, window: Window, frames: Sequence[Frames]) -> Json:
    length = window.to_ms - window.from_ms
    pieces = [] if one.states is None else list(_pieces(one.states))
    times = {name: sum(end - begin for begin, end, found in pieces if found == code)
             for code, name in _SPACE_STATES.items()}  # fmt: skip
    return {
        "kind": "space", "id": one.space.id, "device": one.space.device, "weight": 1, "group": one.space.group,
        "ms": {**times, "unknown": length - sum(times.values())},
        "intervals": [[begin, end, _SPACE_STATES.get(code, "unknown")] for begin, end, code in pieces],
        "frames": [_frames_json(frame) for frame in frames],
    }  # fmt: skip


def _pieces(timeline: Timeline) -> Iterator[tuple[int, int, int]]:
    if len(timeline.starts):
        yield from zip(timeline.starts.tolist(), timeline.ends.tolist(), timeline.codes.tolist(), strict=True)


def _days(asked: Asked) -> list[Json]:
    return [
        {
            "cells_covered": day.cells_covered, "cells_required": day.cells_required, "required_ms": day.required_ms,
            "robot_ms": day.robot_ms, "lost_ms": day.lost_ms, "begun": day.begun,
        }
        for day in once(asked, patrol_days)
    ]  # fmt: skip


def _values(store: FactStore, ledger: Ledger, indicator: str, window: Window) -> list[Json]:
    """What was told of an imported indicator."""
    if indicator in DEFINITIONS:
        return []
    with reading(store.engine) as connection:
        found: list[Told] = told(connection, ledger.site.id, window).get(indicator, [])
    return [{**_input_json(one.entry), "value": _text(one.value.exact), "origin": one.value.origin} for one in found]


def _inputs(store: FactStore, ledger: Ledger, window: Window) -> list[Input]:
    """What people entered that is valid in the window: maintenance, exclusions, calendars, policies, targets."""
    table = inputs
    valid = (table.c.valid_from_ms < max(window.to_ms, window.from_ms + 1)) & (
        sa.func.coalesce(table.c.valid_to_ms, EVER_MS) > window.from_ms
    )
    mine = table.c.site.in_([ledger.site.id, EVERY_SITE]) & ~table.c.kind.startswith("indicator-value") & valid
    with reading(store.engine) as connection:
        rows = connection.execute(sa.select(table).where(mine).order_by(table.c.site, table.c.entry)).mappings()
        return [Input(**row) for row in rows]


def _frames(store: FactStore, ledger: Ledger, window: Window) -> list[Frames]:
    with reading(store.engine) as connection:
        return frames_about(connection, ledger.site.id, (window.from_ms, window.to_ms), ledger.devices)


def _frames_by_device(asked: Asked) -> dict[str, list[Frames]]:
    window, site = asked.window, asked.ledger.site.id
    with reading(asked.store.engine) as connection:
        return {
            device: frames_about(connection, site, (window.from_ms, window.to_ms), [device])
            for device in sorted(asked.ledger.devices)
        }


def _cut(things: Iterable[Json]) -> list[Json]:
    """Without intervals: the times of each thing are there, and a shorter window has all of them."""
    return [{**one, "intervals": []} for one in things]


def _input_json(one: Input) -> Json:
    return {
        "site": one.site, "kind": one.kind, "id": one.id, "version": one.version, "actor": one.actor,
        "reason": one.reason, "recorded_ms": one.recorded_ms, "valid_from_ms": one.valid_from_ms,
        "valid_to_ms": one.valid_to_ms, "withdrawn": one.withdrawn, "document": one.document,
    }  # fmt: skip


def _frames_json(one: Frames) -> Json:
    return {
        "gateway": one.gateway, "lane": one.lane, "epoch": one.epoch.hex(), "first_seq": one.first_seq,
        "last_seq": one.last_seq,
    }  # fmt: skip


def _text(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"
