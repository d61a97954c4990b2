"""The demo site written down: `site.yaml` for the edge, `ledger.yaml` for the cloud."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from simulators.site import (
    AISLE_CENTRES_M,
    CROSS_LEFT_X_M,
    CROSS_RIGHT_X_M,
    FLOOR_HEIGHT_M,
    FLOOR_WIDTH_M,
    MAP_ID,
    Equipment,
    Name,
    Site,
)

MODBUS_PORT_FIRST = 5021  # the examples number their servers from here, in the order of `Site.connections`
MQTT_PORT = 1883
COMMISSIONED = "2026-01-01"
ZONE_MARGIN_M = 1.0  # a robot cannot patrol inside a wall
COVERAGE_RADIUS_M = 3.0
SPEED_MAX_M_S = 1.5
PATROL_INTERVAL_MIN = 120
CHECKPOINT_RADIUS_M = 3.0

_SITE_HEADER = """\
# What one gateway reads: `gatehouse edge run site.yaml`.
# Written by `gatehouse sim example`: the simulated site answers at these addresses.
"""
_LEDGER_HEADER = """\
# What stands on the site and what is asked of it: `gatehouse cloud ledger import ledger.yaml`.
# Lengths are metres in the floor's frame, origin lower left, y upwards. Written by `gatehouse sim example`.
"""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the simulated site answers: ports of the Modbus servers by connection, and of the broker."""

    modbus: Mapping[str, int]
    mqtt: int
    host: str = "127.0.0.1"
    mqtt_host: str = "127.0.0.1"
    cloud_url: str = "http://127.0.0.1:8080"


def example_endpoints(site: Site) -> Endpoints:
    """The fixed ports of the example files."""
    return Endpoints({name: MODBUS_PORT_FIRST + index for index, name in enumerate(site.connections)}, MQTT_PORT)


def _flow(value: object) -> str:
    """A value in YAML's flow style; JSON is a part of it."""
    return json.dumps(value, ensure_ascii=False)


def _name(name: Name) -> dict[str, str]:
    return {"en": name.en, "zh-CN": name.zh}


def _cloud(url: str) -> dict[str, object]:
    """Plain http to another machine is refused unless it is asked for: the compose network is such a place."""
    parts = urlsplit(url)
    leaves = parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}
    return {"url": url, "allow_plain_http": True} if leaves else {"url": url}


def site_yaml(site: Site, endpoints: Endpoints) -> str:
    """Text of `site.yaml`, complete for this site."""
    lines = [
        _SITE_HEADER.rstrip(),
        f"site: {site.id}",
        f"gateway: {site.gateway}",
        f"cloud: {_flow(_cloud(endpoints.cloud_url))}",
        f"key_file: {site.gateway}.key",
        "data_dir: edge-data",
        "connections:",
    ]
    for connection in site.connections:
        lines.append(f"  - id: {connection}")
        lines.append(f"    modbus: {_flow({'host': endpoints.host, 'port': endpoints.modbus[connection]})}")
        lines.append("    devices:")
        lines += [f"      - {_flow(_polled(one))}" for one in site.equipment if one.connection == connection]
    lines.append("  - id: site-broker")
    lines.append(f"    mqtt: {_flow({'host': endpoints.mqtt_host, 'port': endpoints.mqtt})}")
    lines.append("    devices:")
    lines += [
        f"      - {_flow({'id': robot.id, 'profile': 'vda5050-robot', 'topic': robot.topic})}" for robot in site.robots
    ]
    for space in site.sensed_spaces:
        topic = f"application/+/device/{space.dev_eui}/event/up"
        lines.append(f"      - {_flow({'id': space.device, 'profile': 'nwave-nps405', 'topic': topic})}")
    return "\n".join(lines) + "\n"


def _polled(one: Equipment) -> dict[str, object]:
    return {"id": one.id, "profile": one.profile, "unit": one.unit, "criticality": one.criticality}


def _zone(site: Site) -> dict[str, object]:
    low, right, top = ZONE_MARGIN_M, FLOOR_WIDTH_M - ZONE_MARGIN_M, FLOOR_HEIGHT_M - ZONE_MARGIN_M
    ring = [[low, low], [right, low], [right, top], [low, top], [low, low]]
    return {
        "id": "b1-patrol",
        "name": _name(Name(f"{MAP_ID} patrol area", f"{MAP_ID} 巡逻区")),
        "floor": "b1",
        "requires_patrol": bool(site.robots),
        "required_hours": ["00:00-24:00"],
        "max_interval_min": PATROL_INTERVAL_MIN,
        "robots": [robot.id for robot in site.robots],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def _checkpoints() -> list[dict[str, object]]:
    """Both ends of every aisle."""
    ends = {"w": (CROSS_LEFT_X_M, "west", "西"), "e": (CROSS_RIGHT_X_M, "east", "东")}
    return [
        {
            "id": f"aisle-{aisle}{end}", "name": _name(Name(f"Aisle {aisle}, {en}", f"{aisle} 号通道{zh}端")),
            "zone": "b1-patrol", "position": [round(x_m, 1), round(y_m, 1)], "radius_m": CHECKPOINT_RADIUS_M,
        }
        for aisle, y_m in enumerate(AISLE_CENTRES_M, 1)
        for end, (x_m, en, zh) in ends.items()
    ]  # fmt: skip


def _things(site: Site) -> dict[str, list[dict[str, object]]]:
    equipment: list[dict[str, object]] = [
        {
            "id": one.id, "name": _name(one.name), "code": one.code, "class": one.category,
            "criticality": one.criticality, "device": one.id, "floor": "b1", "position": [one.x_m, one.y_m],
        }
        for one in site.equipment
    ]  # fmt: skip
    spaces: list[dict[str, object]] = []
    for space in site.spaces:
        entry: dict[str, object] = {"id": space.id, "group": "b1-cars"}
        entry |= {"device": space.device} if space.device else {}
        entry["rect"] = [space.x_m, space.y_m, space.width_m, space.height_m]
        spaces.append(entry | ({"state": space.state} if space.state else {}))
    robots: list[dict[str, object]] = [
        {
            "id": robot.id, "name": {"en": robot.name, "zh-CN": robot.name}, "device": robot.id,
            "radius_m": COVERAGE_RADIUS_M, "speed_max_m_s": SPEED_MAX_M_S,
        }
        for robot in site.robots
    ]  # fmt: skip
    things = {"equipment": equipment, "spaces": spaces, "robots": robots, "zones": [_zone(site)]}
    return things | ({"checkpoints": _checkpoints()} if site.robots else {})


def ledger_yaml(site: Site) -> str:
    """Text of `ledger.yaml`, complete for this site."""
    wall = [[0, 0], [FLOOR_WIDTH_M, 0], [FLOOR_WIDTH_M, FLOOR_HEIGHT_M], [0, FLOOR_HEIGHT_M], [0, 0]]
    floor = {
        "id": "b1", "name": _name(Name(MAP_ID, MAP_ID)), "map": MAP_ID,
        "width_m": FLOOR_WIDTH_M, "height_m": FLOOR_HEIGHT_M, "walls": [wall],
    }  # fmt: skip
    parking = {"id": "b1-cars", "name": _name(Name(f"{MAP_ID} car park", f"{MAP_ID} 停车场")), "floor": "b1"}
    head = {
        "id": site.id, "name": _name(site.name), "type": "commercial", "zone": site.zone, "commissioned": COMMISSIONED,
    }  # fmt: skip
    lines = [_LEDGER_HEADER.rstrip(), "site:"]
    lines += [f"  {key}: {_flow(value) if isinstance(value, dict) else value}" for key, value in head.items()]
    lines += ["floors:", f"  - {_flow(floor)}"]
    lines += ["parking:", f"  - {_flow(parking | {'vehicle': 'car'})}"]
    for section, entries in _things(site).items():
        lines.append(f"{section}:")
        lines += [f"  - {_flow(entry)}" for entry in entries]
    lines.append(f"targets: {_flow({'equipment.intact_rate': 0.98, 'robot.coverage': 0.6})}")
    return "\n".join(lines) + "\n"
