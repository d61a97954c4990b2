"""What the rules watch: equipment of the newest ledgers, and gateways that were heard at least once."""

from collections.abc import Iterable, Sequence
from datetime import date

from cloud.alerts.engine import Watched
from cloud.facts.failures import asking
from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.identities import Identities


class SiteWatch:
    """`cloud.alerts.engine.Watch` over facts and ingest. `refresh` runs in a thread, the rest in the event loop."""

    def __init__(self, facts: FactStore, keys: GatewayKeys, identities: Identities) -> None:
        self._facts = facts
        self._keys = keys
        self._identities = identities
        self._equipment: dict[str, tuple[Ledger, tuple[Watched, ...]]] = {}
        self._gateways: dict[str, tuple[str, ...]] = {}
        self._heard: set[str] = set()

    def refresh(self) -> None:
        """Take up ledgers and gateways that were entered since. Blocks. Raises StorageUnavailable."""
        with asking("ledgers"):
            ledgers = self._facts.sites()
        for ledger in ledgers:
            known = self._equipment.get(ledger.site.id)
            if known is None or known[0] is not ledger:
                self._equipment[ledger.site.id] = (ledger, _watched(ledger))
        gateways: dict[str, list[str]] = {}
        for gateway in self._keys.all():
            gateways.setdefault(gateway.site, []).append(gateway.id)
        self._gateways = {site: tuple(names) for site, names in gateways.items()}

    def sites(self) -> Iterable[str]:
        """Every site that has a ledger or a gateway."""
        return sorted(self._equipment.keys() | self._gateways.keys())

    def equipment(self, site: str) -> Sequence[Watched]:
        """Equipment of a site; the same object while its ledger is."""
        return self._equipment[site][1] if site in self._equipment else ()

    def gateways(self, site: str) -> Iterable[str]:
        """Gateways of a site that have sent a frame at some time: a new one is not silent but not yet there."""
        return [gateway for gateway in self._gateways.get(site, ()) if self._was_heard(gateway)]

    def _was_heard(self, gateway: str) -> bool:
        if gateway not in self._heard and self._identities.states(gateway):
            self._heard.add(gateway)
        return gateway in self._heard


def _watched(ledger: Ledger) -> tuple[Watched, ...]:
    # A retired machine may still be wired up; a date still to come is taken up at the next import.
    return tuple(
        Watched(one.id, one.device, one.criticality)
        for one in ledger.equipment
        if (one.retired or date.max) == date.max
    )
