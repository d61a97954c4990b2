"""What is behind what, by ledger and inventory."""

from pathlib import Path

from cloud.alerts.places import SitePlaces
from cloud.facts.database import open_database
from cloud.facts.ledgers import import_ledger
from cloud.facts.store import FactStore
from cloud.live import LiveState
from devices.frame import Content
from devices.records import Inventory
from tests.cloud.live_world import LEDGER, PROFILE, SITE, START_MS, sealed

NAME = "name: {en: N, zh-CN: N}"
MACHINES = f"""
equipment:
  - {{id: panel-1, {NAME}, code: P, class: panel, criticality: A, device: d-0}}
  - {{id: fan-1, {NAME}, code: F1, class: fan, criticality: B, device: d-1, fed_by: panel-1}}
  - {{id: fan-2, {NAME}, code: F2, class: fan, criticality: C, device: d-2, fed_by: fan-1}}
"""


def test_things_are_behind_panels_buses_and_gateways(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "facts.sqlite")
    site = LEDGER.split("floors:", maxsplit=1)[0]
    import_ledger(engine, site + MACHINES, "ledger.yaml", actor="li", now_ms=START_MS)
    live = LiveState()
    infos = tuple(PROFILE.device_info(f"d-{number}", None, "bus-a" if number else "") for number in range(4))
    frame = sealed(Content(records=(Inventory(START_MS, "0", "", infos),)), START_MS)
    live.frames_arrived(SITE, [frame], START_MS)
    places = SitePlaces(FactStore(engine, eager=False), live)
    due = places.is_due(SITE, START_MS)
    places.refresh(SITE, START_MS)
    above = {thing: list(places.upstream(SITE, thing)) for thing in ("panel-1", "fan-1", "gw-1/bus-a", "nobody")}
    behind = [places.behind(SITE, thing) for thing in ("gw-1", "gw-1/bus-a", "panel-1", "fan-2")]
    engine.dispose()

    assert (due, places.is_due(SITE, START_MS + 1)) == (True, False)
    assert above == {"panel-1": ["gw-1"], "fan-1": ["panel-1", "gw-1/bus-a"], "gw-1/bus-a": ["gw-1"], "nobody": []}
    assert behind == [4, 2, 2, 0]
    assert (places.criticality(SITE, "fan-1"), places.criticality(SITE, "d-1")) == ("B", "")
