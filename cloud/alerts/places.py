"""What the desk knows of sites: what is behind what, how much each thing matters, and who is there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC

from cloud.alerts.people import Roster, roster_of
from cloud.facts.database import reading
from cloud.facts.failures import asking
from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from cloud.live import LiveDevice, LiveState

BUS = "/"  # between a gateway's id and that of its connection
ROSTER_MS = 15_000  # how old what is known of people may be


@dataclass(slots=True)
class _Plan:
    """A ledger as the desk looks at it: of each thing its device and the panel that feeds it."""

    ledger: Ledger | None = None
    devices: dict[str, str] = field(default_factory=dict)
    fed_by: dict[str, str] = field(default_factory=dict)
    criticality: dict[str, str] = field(default_factory=dict)


_NOTHING = _Plan()


class SitePlaces:
    """`cloud.alerts.desk.Places` over ledgers, live state and inputs."""

    def __init__(self, store: FactStore, live: LiveState) -> None:
        self._store = store
        self._live = live
        self._plans: dict[str, _Plan] = {}
        self._rosters: dict[str, tuple[int, Roster]] = {}

    def is_due(self, site: str, now_ms: int) -> bool:
        """Whether what is known of a site is too old to decide by."""
        return site not in self._rosters or not 0 <= now_ms - self._rosters[site][0] < ROSTER_MS

    def refresh(self, site: str, now_ms: int) -> None:
        """Take up the ledger of a site and who is there. Blocks. Raises StorageUnavailable."""
        with asking("people"):
            ledger = self._store.ledger(site)
            with reading(self._store.engine) as connection:
                zone = ledger.site.time_zone if ledger is not None else UTC
                found = roster_of(connection, site, zone, now_ms)
        known = self._plans.get(site)
        if known is None or known.ledger is not ledger:
            self._plans[site] = _planned(ledger)
        self._rosters[site] = now_ms, found

    def upstream(self, site: str, thing: str) -> Iterable[str]:
        """Give the panel that feeds a thing, and the bus that its device is on, or else its gateway."""
        gateway, shared, _ = thing.partition(BUS)
        if shared:
            yield gateway
            return
        plan = self._plan(site)
        panel = plan.fed_by.get(thing)
        if panel is not None:
            yield panel
        device = self._live.site(site).devices.get(plan.devices.get(thing, thing))
        if device is not None:
            yield _bus_of(device) or device.gateway.id

    def behind(self, site: str, thing: str) -> int:
        """Count what a gateway reads, what a bus has of the ledger, or what a panel feeds at whatever distance."""
        plan, live = self._plan(site), self._live.site(site)
        if BUS in thing:
            known = (live.devices.get(name) for name in set(plan.devices.values()))
            return sum(device is not None and _bus_of(device) == thing for device in known)
        if thing in live.gateways:
            return sum(device.gateway.id == thing for device in live.devices.values())
        fed, ahead = set[str](), {thing}
        while ahead:
            ahead = {name for name, panel in plan.fed_by.items() if panel in ahead} - fed
            fed |= ahead
        return len(fed - {thing})

    def criticality(self, site: str, thing: str) -> str:
        """Give the class (A, B, C) of an equipment, empty for anything else."""
        return self._plan(site).criticality.get(thing, "")

    def roster(self, site: str) -> Roster:
        """Give everybody of a site, as of the last `refresh`."""
        return self._rosters[site][1] if site in self._rosters else Roster()

    def _plan(self, site: str) -> _Plan:
        return self._plans.get(site, _NOTHING)


def _bus_of(device: LiveDevice) -> str:
    """The bus of a device, within its site; empty where its gateway has not told."""
    connection = device.info.connection if device.info is not None else ""
    return f"{device.gateway.id}{BUS}{connection}" if connection else ""


def _planned(ledger: Ledger | None) -> _Plan:
    plan = _Plan(ledger)
    if ledger is None:
        return plan
    for one in ledger.equipment:
        plan.criticality[one.id] = one.criticality
        if one.fed_by is not None:
            plan.fed_by[one.id] = one.fed_by
    plan.devices |= {one.id: one.device for one in ledger.equipment}
    plan.devices |= {one.id: one.device for one in ledger.robots}
    plan.devices |= {one.id: one.device for one in ledger.spaces if one.device is not None}
    return plan
