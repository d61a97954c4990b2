"""What the rules watch: things of the newest ledgers, rules as they hold at each site, gateways heard at least once."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import structlog

from cloud.alerts.site_rules import RulesInForce
from cloud.alerts.view import SiteView, Span, Watched, WatchedRobot, WatchedSpace
from cloud.facts.failures import asking
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_values import minutes_of_hours
from cloud.facts.store import FactStore
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.identities import Identities
from devices.rules import Rule

_log = structlog.get_logger(__name__)


class SiteWatch:
    """`cloud.alerts.view.Watch` over facts and ingest. `refresh` runs in a thread, the rest in the event loop."""

    def __init__(self, facts: FactStore, keys: GatewayKeys, identities: Identities) -> None:
        self._facts = facts
        self._keys = keys
        self._identities = identities
        self._rules = RulesInForce(facts.engine)
        self._views: dict[str, tuple[tuple[object, ...], SiteView]] = {}
        self._gateways: dict[str, tuple[str, ...]] = {}
        self._heard: set[str] = set()

    def refresh(self) -> None:
        """Take up ledgers, rules, drills and gateways that were entered since. Blocks. Raises StorageUnavailable."""
        with asking("ledgers"):
            ledgers = {ledger.site.id: ledger for ledger in self._facts.sites()}
            self._rules.refresh()
        gateways: dict[str, list[str]] = {}
        for gateway in self._keys.all():
            gateways.setdefault(gateway.site, []).append(gateway.id)
        self._gateways = {site: tuple(names) for site, names in gateways.items()}
        for site in ledgers.keys() | gateways.keys():
            self._take(site, ledgers.get(site))

    def sites(self) -> Iterable[str]:
        """Every site that has a ledger or a gateway."""
        return sorted(self._views)

    def view(self, site: str) -> SiteView:
        """What the rules of a site look at; the same object while nothing changed."""
        known = self._views.get(site)
        return known[1] if known is not None else self._take(site, None)

    def gateways(self, site: str) -> Iterable[str]:
        """Gateways of a site that have sent a frame at some time: a new one is not silent but not yet there."""
        return [gateway for gateway in self._gateways.get(site, ()) if self._was_heard(gateway)]

    def _take(self, site: str, ledger: Ledger | None) -> SiteView:
        rules, drills = self._rules.of(site), self._rules.drills(site)
        made_of: tuple[object, ...] = (ledger, rules, drills)
        known = self._views.get(site)
        if known is not None and all(one is other for one, other in zip(known[0], made_of, strict=True)):
            return known[1]
        view = _view(ledger, rules, drills) if ledger is not None else SiteView(site, rules)
        self._views[site] = made_of, view
        return view

    def _was_heard(self, gateway: str) -> bool:
        if gateway not in self._heard and self._identities.states(gateway):
            self._heard.add(gateway)
        return gateway in self._heard


def _view(ledger: Ledger, rules: Mapping[str, Rule], drills: Mapping[str, Sequence[Span]]) -> SiteView:
    # A retired machine may still be wired up; a date still to come is taken up at the next import.
    equipment = tuple(
        Watched(one.id, one.device, one.criticality, one.class_)
        for one in ledger.equipment
        if (one.retired or date.max) == date.max
    )
    robots = tuple(WatchedRobot(one.id, one.device, _required(ledger, one.id)) for one in ledger.robots)
    spaces = tuple(
        WatchedSpace(one.id, one.group, one.device, one.point, one.ledger_state)
        for one in ledger.spaces
        if one.device is not None
    )
    return SiteView(ledger.site.id, rules, equipment, robots, spaces, ledger.site.time_zone, drills)


def _required(ledger: Ledger, robot: str) -> tuple[tuple[int, int], ...]:
    """Minutes of the local day in which a zone of this robot must be patrolled; of any zone for one without."""
    patrolled = [zone for zone in ledger.zones if zone.requires_patrol]
    own = [zone for zone in patrolled if robot in zone.robots]
    hours = {text for zone in own or patrolled for text in zone.required_hours}
    return tuple(sorted(minutes_of_hours(text) for text in hours))
