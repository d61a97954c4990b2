"""A site made up for the page: 320 spaces, 120 equipment, 6 robots, in the shapes of the public interface."""

import math
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

CELL_M = 0.5
WIDTH_M = 96.0
HEIGHT_M = 60.0
COLUMNS = int(WIDTH_M / CELL_M)
ROWS = int(HEIGHT_M / CELL_M)
AISLES_M = (9.4, 23.2, 37.0, 50.8)
SPACE_M = (2.0, 4.2)
KINDS = (
    ("pump", "PUMP", "Fire pump", "消防泵", "percent"),
    ("fan", "FAN", "Exhaust fan", "排风机", "hertz"),
    ("lift", "LIFT", "Lift", "电梯", None),
    ("gate", "GATE", "Barrier gate", "道闸", None),
    ("meter", "MTR", "Power meter", "电表", "kilowatt"),
    ("ahu", "AHU", "Air handler", "空调机组", "percent"),
    ("light", "LGT", "Lighting loop", "照明回路", None),
    ("co", "CO", "CO sensor", "一氧化碳传感器", "ppm"),
)

Json = dict[str, Any]


def instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class MadeUpSite:
    """State of the site as a snapshot; every change returns the delta that tells it."""

    def __init__(self, now: datetime, seed: int = 7) -> None:
        self.now = now
        self.rng = Random(seed)
        self.epoch = f"{self.rng.getrandbits(32):08x}"
        self.seq = 17
        self.spaces = self._spaces()
        self.equipment = self._equipment()
        self.robots = [self._robot(number) for number in range(1, 7)]
        self.passes: dict[int, int] = {}
        self.alerts = self._alerts()
        for _ in range(900):
            self.drive(1.0)

    def _spaces(self) -> dict[str, Json]:
        spaces: dict[str, Json] = {}
        for aisle in AISLES_M:
            for below in (True, False):
                y = aisle - 2.6 - SPACE_M[1] if below else aisle + 2.6
                for column in range(40):
                    x = 4.6 + column * 2.17 + (column // 10) * 0.5
                    state = self.rng.choices(
                        ("free", "occupied", "unknown", "reserved", "closed"), (32, 60, 3, 1.5, 1.5)
                    )[0]
                    spaces[f"b1-{len(spaces) + 1:03d}"] = {
                        "rect": [round(x, 2), round(y, 2), *SPACE_M],
                        "floor": "b1",
                        "state": state,
                    }
        return spaces

    def _equipment(self) -> list[Json]:
        rows = []
        special = {
            8: "FAULT",
            23: "DEGRADED",
            41: "UNKNOWN",
            57: "PM",
            66: "EXT",
            74: "PM",
            90: "UNKNOWN",
            99: "OFF_DUTY",
        }
        for index in range(120):
            kind, code, english, chinese, unit = KINDS[index % len(KINDS)]
            number = index // len(KINDS) + 1
            state = special.get(index, "RUN" if self.rng.random() < 0.8 else "STANDBY")
            hours = 1 if state in {"RUN", "STANDBY"} else self.rng.randint(2, 9)
            strip = [("FAULT" if self.rng.random() < 0.01 else "RUN") for _ in range(24 - hours)] + [state] * hours
            share = strip.count("FAULT") / 24
            rows.append(
                {
                    "id": f"{kind}-{number}",
                    "name": {"en": f"{english} {number}", "zh-CN": f"{chinese} {number}"},
                    "code": f"{code}-{number:02d}",
                    "class": kind,
                    "criticality": "A" if kind == "pump" else "B",
                    "device": f"{kind}-{number}",
                    "floor": "b1",
                    "position": [round(self.rng.uniform(3, 93), 1), self.rng.choice([1.5, 16.3, 30.1, 43.9, 58.6])],
                    "state": state,
                    "since": instant(self.now - timedelta(minutes=self.rng.randint(3, 4000))),
                    "value": None if unit is None or state == "UNKNOWN" else round(self.rng.uniform(5, 90), 1),
                    "value_unit": unit,
                    "strip": strip,
                    "intact_24h": None if state == "OFF_DUTY" else round(1 - share * 0.3, 4),
                }
            )
        return rows

    def _robot(self, number: int) -> Json:
        states = ("patrolling", "patrolling", "charging", "patrolling", "offline", "fault")
        return {
            "id": f"r{number}",
            "name": {"en": f"R{number}", "zh-CN": f"R{number}"},
            "x": 6.0 + 14 * number,
            "y": AISLES_M[(number - 1) % 4],
            "heading": 0.0 if number % 2 else math.pi,
            "battery": [81.0, 55.0, 34.0, 18.0, None, 62.0][number - 1],
            "state": states[number - 1],
            "floor": "b1",
            "seen_at": instant(self.now - timedelta(seconds=5400 if number == 5 else 1)),
        }

    def _alerts(self) -> list[Json]:
        by_id = {row["id"]: row for row in self.equipment}
        made = [
            ("red", "pump-2", "new", 6, 4, "active"),
            ("orange", "light-3", "new", 14, 1, "active"),
            ("orange", "fan-6", "acknowledged", 52, 1, "active"),
            ("yellow", "meter-12", "new", 71, 2, "cleared"),
            ("yellow", "gw-2", "new", 95, 12, "active"),
        ]
        return [
            self._alert(index, *entry, name=by_id[entry[1]]["name"] if entry[1] in by_id else {"en": entry[1]})
            for index, entry in enumerate(made)
        ]

    def _alert(  # noqa: PLR0917 -- the columns of the table above
        self,
        index: int,
        severity: str,
        thing: str,
        handling: str,
        age_min: int,
        count: int,
        condition: str,
        *,
        name: Json,
    ) -> Json:
        opened = instant(self.now - timedelta(minutes=age_min))
        key = "alert.gateway_silent" if thing.startswith("gw-") else "alert.equipment_fault"
        acknowledged = handling == "acknowledged"
        return {
            "id": f"al_{index:03d}",
            "site": "jinji-lake",
            "rule": "equipment-fault-a",
            "thing": thing,
            "thing_name": name,
            "severity": severity,
            "condition": condition,
            "handling": handling,
            "opened_at": opened,
            "cleared_at": None,
            "last_at": opened,
            "count": count,
            "text": {"key": key, "parameters": {"thing": thing, "since": opened}},
            "assignee": None,
            "acknowledged_by": "Li Wei" if acknowledged else None,
            "acknowledged_at": instant(self.now - timedelta(minutes=40)) if acknowledged else None,
            "historical": False,
            "version": 1,
        }

    def snapshot(self) -> Json:
        """As `GET .../snapshot` answers."""
        return deepcopy(
            {
                "seq": self.seq,
                "epoch": self.epoch,
                "time": instant(self.now),
                "site": {
                    "id": "jinji-lake",
                    "name": {"en": "Jinji Lake Centre", "zh-CN": "金鸡湖中心"},
                    "zone": "Asia/Shanghai",
                },
                "floors": [
                    {
                        "id": "b1",
                        "name": {"en": "B1", "zh-CN": "B1"},
                        "width_m": WIDTH_M,
                        "height_m": HEIGHT_M,
                        "walls": [
                            [[0, 0], [WIDTH_M, 0], [WIDTH_M, HEIGHT_M], [0, HEIGHT_M], [0, 0]],
                            [[0, 30], [2.5, 30]],
                            [[93.5, 30], [WIDTH_M, 30]],
                        ],
                    }
                ],
                "spaces": self.spaces,
                "robots": self.robots,
                "equipment": self.equipment,
                "coverage": {
                    "b1": {
                        "cell_m": CELL_M,
                        "columns": COLUMNS,
                        "rows": ROWS,
                        "cells": [[index, count] for index, count in sorted(self.passes.items())],
                    }
                },
                "alerts": self.alerts,
                "indicators": self.indicators(),
            }
        )

    def indicators(self) -> list[Json]:
        taken = sum(space["state"] == "occupied" for space in self.spaces.values())
        known = sum(space["state"] in {"occupied", "free"} for space in self.spaces.values())
        total = 120 * 24 * 3_600_000
        cells = len(self.passes)
        return [
            self._indicator("equipment.intact_rate", int(total * 0.9795), total, "ms", 0.98, (0.9712, 0.9803)),
            self._indicator("robot.coverage", min(cells, 18000), 18000, "cells", 0.60, None),
            self._indicator(
                "parking.occupancy", taken, known, "spaces", None, (taken / 320, (taken + 320 - known) / 320)
            ),
        ]

    def _indicator(  # noqa: PLR0917 -- the columns of the table above
        self,
        name: str,
        numerator: int,
        denominator: int,
        unit: str,
        target: float | None,
        bounds: tuple[float, float] | None,
    ) -> Json:
        value = numerator / denominator
        verdict = None if target is None else ("PASS" if value >= target else "FAIL")
        if bounds and target and bounds[0] < target <= bounds[1]:
            verdict = "INDETERMINATE"
        return {
            "id": name,
            "value": value,
            "low": bounds[0] if bounds else value,
            "high": bounds[1] if bounds else value,
            "coverage": 0.998,
            "verdict": verdict,
            "target": target,
            "numerator": numerator,
            "denominator": denominator,
            "unit": unit,
            "window": {"from": instant(self.now - timedelta(hours=24)), "to": instant(self.now)},
            "revision": 1,
            "final": False,
        }

    def trend(self, name: str, days: int) -> Json:
        """As `GET .../trend` answers: one value per day, or per hour for occupancy."""
        rng = Random(name)
        if name == "parking.occupancy":
            start = self.now.replace(minute=0, second=0, microsecond=0)
            items = []
            for back in range(days * 24 - 1, -1, -1):
                at = start - timedelta(hours=back)
                hour = (at.hour + 8) % 24
                share = 0.12 + 0.74 * max(0.0, math.sin((hour - 5) / 17 * math.pi)) ** 1.5 + rng.uniform(-0.02, 0.02)
                items.append([instant(at), None if back in {30, 31} else round(max(0.0, share), 4)])
            return {"items": items, "step": "hour", "target": None}
        base, spread, target = (0.9865, 0.007, 0.98) if name == "equipment.intact_rate" else (0.64, 0.06, 0.60)
        midnight = self.now.replace(hour=16, minute=0, second=0, microsecond=0)
        values = [round(base + spread * math.sin(back / 2.2) + rng.uniform(-0.002, 0.002), 5) for back in range(days)]
        items = [
            [instant(midnight - timedelta(days=back + 1)), None if back == 9 else values[back]]
            for back in range(days - 1, -1, -1)
        ]
        return {"items": items, "step": "day", "target": target}

    def drive(self, seconds: float) -> Json:
        """Moves the patrolling robots along the aisles and marks the cells under them. Returns the parts of a delta."""
        changed: dict[int, int] = {}
        robots = [robot for robot in self.robots if robot["state"] == "patrolling"]
        for robot in robots:
            robot["x"] += math.cos(robot["heading"]) * 1.2 * seconds
            robot["seen_at"] = instant(self.now)
            if not 5 < robot["x"] < 91:
                robot["x"] = min(max(robot["x"], 5), 91)
                robot["heading"] = 0.0 if robot["heading"] else math.pi
                robot["y"] = self.rng.choice(AISLES_M)
            changed |= self._cover(robot["x"], robot["y"], 3.0)
        return {"robots": deepcopy(robots), "coverage": {"b1": [[index, passes] for index, passes in changed.items()]}}

    def _cover(self, x: float, y: float, radius_m: float) -> dict[int, int]:
        changed: dict[int, int] = {}
        reach = int(radius_m / CELL_M)
        row, column = int(y / CELL_M), int(x / CELL_M)
        for r in range(max(0, row - reach), min(ROWS, row + reach + 1)):
            for c in range(max(0, column - reach), min(COLUMNS, column + reach + 1)):
                edge = int(math.sqrt(max(0, reach**2 - (r - row) ** 2)))
                if math.hypot(r - row, c - column) <= reach and abs(c - column) == edge:
                    self.passes[r * COLUMNS + c] = changed[r * COLUMNS + c] = self.passes.get(r * COLUMNS + c, 0) + 1
        return changed

    def park(self, space: str, state: str) -> Json:
        self.spaces[space]["state"] = state
        return {"spaces": {space: state}, "indicators": self.indicators()[2:]}

    def acknowledge(self, alert_id: str, actor: str) -> Json:
        """The alert after it; raises KeyError when there is none, PermissionError when someone else was first."""
        alert = {alert["id"]: alert for alert in self.alerts}[alert_id]
        if alert["handling"] != "new" and alert["acknowledged_by"] != actor:
            raise PermissionError(alert["acknowledged_by"])
        alert |= {"handling": "acknowledged", "acknowledged_by": actor, "acknowledged_at": instant(self.now)}
        return deepcopy(alert)
