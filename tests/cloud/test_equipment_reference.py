"""Timelines of equipment against a brute-force reading of the text, on random histories on whole seconds."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
import pytest

from cloud.facts import equipment_past, equipment_policy
from cloud.facts.days import Span, merged
from cloud.facts.equipment_inputs import DRILL, EXCLUSION, INSPECTION, WINDOW, entered_of
from cloud.facts.equipment_past import EquipmentTimeline, Given, put_together
from cloud.facts.equipment_policy import EQUIPMENT_POLICY, policies_of
from cloud.facts.equipment_roster import Member
from cloud.facts.inputs import Input
from cloud.facts.ledger_duty import Redundancy
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.timelines import EQUIPMENT_STATES, Timeline
from devices.states import EquipmentState
from tests.cloud.equipment_reference import Machine, Rules, Version, counts

LENGTH_S = 1_800
HOUR_S = 60  # an hour of the policies lasts a minute here, a day ten, so that histories are short
DAY_S = 600
HISTORIES, SOAK_HISTORIES = 120, 4_000
RAW = ("run", "standby", "degraded", "ext", "fault", "unknown")
MEANINGS = ("up", "down", "unknown", "excluded", "by_hand", "")
NAME = {"en": "N", "zh-CN": "N"}


def some_spans(rng: random.Random, most: int, longest: int = 900) -> list[Span]:
    begins = [rng.randrange(-100, LENGTH_S) for _ in range(rng.randint(0, most))]
    return [(begin, begin + rng.randint(1, longest)) for begin in begins]


def seconds(spans: list[Span]) -> list[bool]:
    return [any(begin <= second < end for begin, end in spans) for second in range(LENGTH_S)]


def in_ms(spans: list[Span]) -> list[Span]:
    return list(merged((begin * 1000, end * 1000) for begin, end in spans))


def raw_states(rng: random.Random) -> list[str]:
    """Long and short stretches, so that all limits are crossed in both directions."""
    found: list[str] = []
    while len(found) < LENGTH_S:
        length = rng.choice([rng.randint(1, 12), rng.randint(5, 90), rng.randint(60, 400), 10, 300])
        found += [rng.choice(RAW)] * length
    return found[:LENGTH_S]


def as_timeline(states: list[str]) -> Timeline:
    codes = np.array([EQUIPMENT_STATES.index(EquipmentState(one)) for one in states], np.uint8)
    keep = np.append(True, codes[1:] != codes[:-1])
    return Timeline(np.flatnonzero(keep).astype(np.int64) * 1000, codes[keep], LENGTH_S * 1000)


class World:
    """Random machines, told to the reference and to the engine."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.machines: dict[str, Machine] = {}
        self.members: dict[str, Member] = {}
        self.devices: dict[str, Timeline] = {}
        self.heard: dict[str, list[Span]] = {}
        self.red: dict[str, list[Span]] = {}
        self.inputs: dict[str, list[Input]] = {WINDOW: [], DRILL: [], EXCLUSION: [], INSPECTION: []}
        self.rules = self._policies()
        self.group = Redundancy.model_validate(
            {"id": "g", "name": NAME, "needed": rng.randint(1, 2), "grace_h": rng.choice([None, 0, 2, 10])}
        )
        for index in range(rng.randint(1, 3)):
            self._machine(f"m{index}")

    def policy(self, second: int) -> Rules:
        return [one for one in self.rules if one.since_s <= second][-1]

    def _policies(self) -> list[Rules]:
        rng = self.rng
        since = sorted({-(10**9), *(rng.randrange(LENGTH_S) for _ in range(rng.randint(0, 2)))})
        return [
            Rules(one, rng.choice([0, 10, 30]), rng.choice(["exclude", "up", "down"]), rng.choice(["up", "down"]),
                  HOUR_S * rng.choice([0, 1, 5]), rng.choice([None, HOUR_S * 2]))
            for one in since
        ]  # fmt: skip

    def _input(self, kind: str, name: str, document: Mapping[str, object], span: Span, at_s: int, **more: int) -> None:
        entry = sum(map(len, self.inputs.values())) + 1
        end_ms = None if kind == INSPECTION else span[1] * 1000
        self.inputs[kind].append(
            Input("s", kind, name, more.get("number", 1), entry, at_s * 1000, "li", "why", span[0] * 1000, end_ms,
                  json.dumps(document), bool(more.get("gone")))
        )  # fmt: skip

    def _history(self, kind: str, name: str, machine: str) -> list[Version]:
        """A window or a drill that was changed up to twice, perhaps withdrawn, perhaps not approved."""
        rng, found = self.rng, []
        begin = rng.randrange(-50, LENGTH_S)
        span, at_s = (begin, begin + rng.randint(20, 500)), begin - rng.choice([100, 100, 0, -60])
        for number in range(1, rng.choice([2, 2, 3, 4])):
            about = rng.random() < 0.9
            approved = kind == DRILL or rng.random() < 0.9
            gone = number > 1 and rng.random() < 0.15
            document: dict[str, object] = {"equipment": [machine] if about else ["other"]}
            if kind == WINDOW:
                document |= {"work": "w"} | ({"approved_by": "wang"} if approved else {})
            self._input(kind, name, document, span, at_s, number=number, gone=gone)
            found.append(Version(at_s, *span, counts=about and approved and not gone))
            at_s += rng.randint(1, 200)
            span = (span[0] + rng.choice([0, 0, 30, -30]), span[1] + rng.choice([0, 60, 200, -10]))
        return found

    def _machine(self, name: str) -> None:
        rng = self.rng
        lives = [(rng.choice([0, 0, rng.randrange(LENGTH_S)]), LENGTH_S)]
        if rng.random() < 0.3:
            cut = rng.randrange(LENGTH_S)
            lives = [(begin, min(end, cut)) for begin, end in lives if begin < cut] + [(cut + 100, LENGTH_S)]
        lives = [(begin, end) for begin, end in lives if begin < end]
        off, by_hand, red, heard = (some_spans(rng, most) for most in (2, 1, 2, 2))
        heard = [*heard, (0, rng.randrange(LENGTH_S))]
        device = None if rng.random() < 0.2 else raw_states(rng)
        findings = sorted(
            {rng.randrange(LENGTH_S): rng.random() < 0.6 for _ in range(rng.choice([0, 0, 1, 3]))}.items()
        )
        grouped = rng.random() < 0.7
        windows = [self._history(WINDOW, f"{name}-w{number}", name) for number in range(rng.choice([0, 1, 3]))]
        drills = [self._history(DRILL, f"{name}-d{number}", name) for number in range(rng.choice([0, 0, 1]))]
        for number, (second, intact) in enumerate(findings):
            found = {"equipment": name, "result": "intact" if intact else "not-intact", "inspector": "li"}
            self._input(INSPECTION, f"{name}-i{number}", found, (second, 0), second)
        for number, span in enumerate(by_hand):
            self._input(EXCLUSION, f"{name}-x{number}", {"equipment": [name]}, span, 0)
        days = rng.randint(1, 2)
        grace = self.group.grace_h
        self.machines[name] = Machine(
            device, seconds(lives), [not one for one in seconds(off)], windows, drills, findings, days * DAY_S,
            seconds(by_hand), seconds(red), seconds(heard), "g" if grouped else "",
            None if grace is None else int(grace) * HOUR_S,
        )  # fmt: skip
        one = {"id": name, "name": NAME, "code": "c", "class": "gate", "criticality": "A", "inspection_days": days}
        equipment = Equipment.model_validate(one | ({"device": name} if device else {}))
        group = self.group if grouped else None
        self.members[name] = Member(equipment, tuple(in_ms(lives)), tuple(in_ms(off)), group)
        if device:
            self.devices[name] = as_timeline(device)
        self.heard[name], self.red[name] = in_ms(heard), in_ms(red)

    def expected(self) -> dict[str, tuple[list[str], list[str]]]:
        return counts(self.machines, {"g": self.group.needed}, self.policy)

    def found(self) -> dict[str, EquipmentTimeline]:
        versions = []
        for number, one in enumerate(self.rules):
            document = {
                "debounce_s": one.debounce_s, "pm": one.pm, "degraded_class_a_red": one.degraded_red,
                "redundancy_grace_h": one.grace_s // HOUR_S,
            }  # fmt: skip
            if one.silent_fault_s is not None:
                document |= {"silent_fault_classes": ["gate"], "silent_fault_after_h": one.silent_fault_s // HOUR_S}
            versions.append(
                Input("s", EQUIPMENT_POLICY, "p", number + 1, number, 0, "li", "why", max(one.since_s, -(10**9)) * 1000,
                      None, json.dumps(document))
            )  # fmt: skip
        given = Given(policies_of(versions), entered_of(self.inputs))
        window = (0, LENGTH_S * 1000)
        timelines = put_together(self.members, given, self.devices, window, heard=self.heard, red=self.red)
        return {one.equipment.id: one for one in timelines}


def by_second(timeline: Timeline, name: Callable[[int], str]) -> list[str]:
    starts, codes = timeline.starts, timeline.codes
    found = []
    for second in range(LENGTH_S):
        inside = len(starts) and starts[0] <= second * 1000 < timeline.end_ms
        code = int(codes[int(np.searchsorted(starts, second * 1000, "right")) - 1]) if inside else -1
        found.append(name(code) if inside else "")
    return found


def differences(seed: int) -> list[object]:
    world = World(random.Random(seed))
    expected, found = world.expected(), world.found()
    wrong: list[object] = []
    for name, (states, meanings) in expected.items():
        got = by_second(found[name].states, lambda code: EQUIPMENT_STATES[code].value)
        meant = by_second(found[name].counts, lambda code: MEANINGS[code])
        for second in range(LENGTH_S):
            should = (states[second], meanings[second]) if meanings[second] else ("", "")
            did = (got[second], meant[second]) if meant[second] else ("", "")
            if should != did:
                wrong.append((seed, name, second, should, did, asdict(world.machines[name])["windows"]))
                break
    return wrong


@pytest.fixture(autouse=True)
def short_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equipment_policy, "HOUR_MS", HOUR_S * 1000)
    monkeypatch.setattr(equipment_past, "DAY_MS", DAY_S * 1000)


@pytest.mark.parametrize("chunk", range(8))
def test_states_and_what_they_count_as_equal_the_reference_second_by_second(chunk: int) -> None:
    assert [one for seed in range(chunk, HISTORIES, 8) for one in differences(seed)] == []


@pytest.mark.soak
def test_thousands_of_histories_equal_the_reference() -> None:
    assert [one for seed in range(HISTORIES, SOAK_HISTORIES) for one in differences(seed)] == []
