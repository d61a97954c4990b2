"""From a register to the alert in the API, with real Modbus, gateway and cloud; and what evaluation costs.

Twenty fire panels and twenty mains supervisions are polled every second. Each is switched at a random moment; the
time counts until the API shows the alert, for a delayed rule from the end of its delay. Then 1,000 sites of 20
machines under 200 rules each, in this process: what one change, one quiet second and the start cost.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.figures import Figure
from cloud.alerts.engine import AlertEngine
from cloud.alerts.store import AlertStore
from cloud.alerts.view import SiteView, Watched
from cloud.facts.database import open_database
from cloud.live import LiveState
from devices.columns import Numbers
from devices.frame import Content, Frame
from devices.profile import packaged_profile
from devices.reading import Series
from devices.records import Inventory, ProfileText
from devices.rules import Mode, Rule, known_rules, parse_rules
from simulators.modbus import SimulatedDevice, serve
from tests.cloud.live_world import START_MS, sealed
from tests.scenarios.site import GATEWAY, SITE, SmallSite, command, free_port

PANELS = 20
ROUNDS = 6
DELAY_S = 5.0  # of the rule about lost mains
LOOK_S = 0.02
PATIENCE_S = 30.0
SITES, MACHINES, RULES = 1_000, 20, 200
CHANGES = 2_000

SITE_YAML = """
site: {site}
gateway: {gateway}
cloud: {{url: "http://127.0.0.1:{cloud_port}"}}
key_file: gw.key
data_dir: edge-data
connections:
  - id: plant-room
    modbus: {{host: 127.0.0.1, port: {modbus_port}}}
    devices:
{devices}
"""
LEDGER = """
site: {{id: {site}, name: {{en: S, zh-CN: S}}, zone: Asia/Shanghai}}
equipment:
{equipment}
"""


def measure() -> list[Figure]:
    """Latency in seconds, cost in microseconds of this process."""
    prompt, delayed = asyncio.run(_latencies())
    return [
        *_percentiles("event rule: register -> alert in the API", prompt),
        *_percentiles("delayed rule: end of delay -> alert in the API", delayed),
        *asyncio.run(_costs()),
    ]


def _percentiles(what: str, taken: list[float]) -> Iterator[Figure]:
    ordered = sorted(taken)
    yield Figure(f"{what}, p50 of {len(taken)}", [statistics.median(ordered)], "s")
    yield Figure(f"{what}, p99", [ordered[round(0.99 * (len(ordered) - 1))]], "s", "<= 2")


async def _latencies() -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        folder = Path(name)
        kinds = {"panel": packaged_profile("fire-alarm-contact"), "mains": packaged_profile("mains-loss")}
        names = [f"{kind}-{number}" for kind in kinds for number in range(PANELS)]
        devices = {one: SimulatedDevice(one, unit, kinds[one.partition("-")[0]]) for unit, one in enumerate(names, 1)}
        for one, device in devices.items():
            if one.startswith("mains"):
                device.set("mains_present", 1.0)
        async with serve(devices.values()) as modbus_port:
            site = await _site(folder, devices, modbus_port)
            try:
                await site.start_cloud()
                await site.edge.start()
                await _until_polled(site, len(devices))
                return await _switched(site)
            finally:
                await site.close()


async def _site(folder: Path, devices: dict[str, SimulatedDevice], modbus_port: int) -> SmallSite:
    cloud_port = free_port()
    listed = "\n".join(
        f"      - {{id: {one.id}, profile: {one.profile.id}, unit: {one.unit}}}" for one in devices.values()
    )
    text = SITE_YAML.format(site=SITE, gateway=GATEWAY, cloud_port=cloud_port, modbus_port=modbus_port, devices=listed)
    (folder / "site.yaml").write_text(text)
    equipment = "\n".join(
        f"  - {{id: e-{one}, name: {{en: E, zh-CN: E}}, code: E, class: x, criticality: C, device: {one}}}"
        for one in devices
    )
    (folder / "ledger.yaml").write_text(LEDGER.format(site=SITE, equipment=equipment))
    public = (await command(folder, "edge", "key", "site.yaml")).strip()
    data = ("--data-dir", "cloud-data")
    await command(folder, "cloud", "gateway", "add", GATEWAY, "--site", SITE, "--public-key", public, *data)
    await command(folder, "cloud", "ledger", "import", "ledger.yaml", *data)
    return SmallSite(folder, devices, cloud_port)


async def _until_polled(site: SmallSite, count: int) -> None:
    async with asyncio.timeout(60):
        while True:
            rows = (await site.api(f"/api/v1/sites/{SITE}/equipment"))["items"]
            if sum(row["state"] != "UNKNOWN" for row in rows) >= count:
                return
            await asyncio.sleep(0.5)


async def _switched(site: SmallSite) -> tuple[list[float], list[float]]:
    """Every device switched once a round, each at its own moment."""
    rng = random.Random(7)
    prompt: list[float] = []
    delayed: list[float] = []
    for number in range(1, ROUNDS + 1):
        waiting: dict[str, float] = {}
        switching = asyncio.gather(*(_switch(site, name, rng.random() * 3, waiting) for name in site.devices))
        seen: set[str] = set()
        async with asyncio.timeout(PATIENCE_S):
            while len(seen) < len(site.devices):
                items = (await site.api("/api/v1/alerts", site=SITE, limit="500"))["items"]
                at_s = time.perf_counter()
                for item in items:
                    name = item["thing"].removeprefix("e-")
                    told = item["condition"] == "active" and item["count"] >= number
                    if told and item["rule"] in {"fire-alarm", "mains-lost"} and name not in seen and name in waiting:
                        seen.add(name)
                        mains = name.startswith("mains")
                        (delayed if mains else prompt).append(at_s - waiting[name] - (DELAY_S if mains else 0))
                await asyncio.sleep(LOOK_S)
        await switching
        for name, device in site.devices.items():
            device.set("mains_present" if name.startswith("mains") else "fire", float(name.startswith("mains")))
        await _until_cleared(site)
    return prompt, delayed


async def _switch(site: SmallSite, name: str, after_s: float, waiting: dict[str, float]) -> None:
    await asyncio.sleep(after_s)
    mains = name.startswith("mains")
    site.devices[name].set("mains_present" if mains else "fire", float(not mains))
    waiting[name] = time.perf_counter()


async def _until_cleared(site: SmallSite) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            items = (await site.api("/api/v1/alerts", site=SITE, limit="500"))["items"]
            if not any(one["condition"] == "active" and one["rule"] in {"fire-alarm", "mains-lost"} for one in items):
                return
            await asyncio.sleep(0.2)


class _Sites:
    """`cloud.alerts.view.Watch` of many sites alike."""

    def __init__(self, count: int, rules: dict[str, Rule]) -> None:
        things = tuple(Watched(f"m-{n}", f"d-{n}", "ABC"[n % 3], "ups") for n in range(MACHINES))
        self._views = {f"s-{n}": SiteView(f"s-{n}", rules, things) for n in range(count)}

    def refresh(self) -> None:
        """Nothing changes."""

    def sites(self) -> list[str]:
        return list(self._views)

    def view(self, site: str) -> SiteView:
        return self._views[site]

    def gateways(self, site: str) -> list[str]:
        return [f"gw-{site}"]


def _rules() -> dict[str, Rule]:
    """The packaged rules and further ones up to `RULES`, none of which tells anybody."""
    known = known_rules()
    measures = ("charge", "runtime", "load", "temperature")
    own = "\n".join(
        f"  - {{id: own-{n}, severity: yellow, name: N, when: {{kind: threshold, measure: {measures[n % 4]},"
        f" side: above, limit: {n + 100}}}}}"
        for n in range(RULES - len(known))
    )
    more = parse_rules(f"id: own\nversion: 1\nrules:\n{own}\n", "own.yaml").rules
    every = [*known.values(), *more]
    return {rule.id: rule.model_copy(update={"mode": Mode.SHADOW}) for rule in every}


async def _costs() -> list[Figure]:
    figures = []
    for count in (10, SITES):
        start, change, quiet = await _cost_of(count)
        what = f"{count:,} sites x {MACHINES} machines x {RULES} rules"
        figures += [
            Figure(f"{what}: start", [start], "s"),
            Figure(f"{what}: a change, frame and rules", [change * 1e6], "us"),
            Figure(f"{what}: a quiet second", [quiet * 1e6], "us"),
        ]
    return figures


async def _cost_of(count: int) -> tuple[float, float, float]:
    profile = packaged_profile("apc-smart-ups")
    points = sorted(profile.state_points)
    now = [START_MS]
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        database = open_database(Path(name) / "facts.sqlite")
        live = LiveState()
        infos = tuple(profile.device_info(f"d-{n}") for n in range(MACHINES))
        records = (ProfileText(profile.hash, profile.text), Inventory(START_MS, "0", "", infos))
        series = tuple(Series(f"d-{n}", point, "", 60) for n in range(MACHINES) for point in points)
        size = len(series)
        calm = Numbers.of(list(range(size)), [START_MS] * size, [0.0] * size, [0] * size)
        for n in range(count):
            live.frames_arrived(
                f"s-{n}", [_of(f"gw-s-{n}", Content(series, calm, records=records), START_MS)], START_MS
            )
        start = time.process_time()
        engine = AlertEngine(AlertStore(database), live, _Sites(count, _rules()), lambda: now[0])
        await engine.load()
        await engine.step()
        started = time.process_time() - start
        change = await _cost_of_changes(engine, live, now, count)
        quiet = await _cost_of_seconds(engine, now)
        database.dispose()
    return started, change, quiet


async def _cost_of_changes(engine: AlertEngine, live: LiveState, now: list[int], count: int) -> float:
    start = time.process_time()
    for n in range(CHANGES):
        now[0] += 1
        site, value = f"s-{n % count}", 4.0 * ((n // count + 1) % 2)
        content = Content((Series("d-0", "battery_errors", "", 60),), Numbers.of([0], [now[0]], [value], [0]))
        live.frames_arrived(site, [_of(f"gw-{site}", content, now[0])], now[0])
        await engine.step()
    return (time.process_time() - start) / CHANGES


async def _cost_of_seconds(engine: AlertEngine, now: list[int], seconds: int = 60) -> float:
    start = time.process_time()
    for _ in range(seconds):
        now[0] += 1000
        await engine.step()
    return (time.process_time() - start) / seconds


def _of(gateway: str, content: Content, to_ms: int) -> Frame:
    """Every site has a gateway of its own."""
    return Frame(msgspec.structs.replace(sealed(content, to_ms).header, gateway=gateway), content, b"")
