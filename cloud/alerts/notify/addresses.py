"""Who is reached how, by what people entered. Blocks."""

from collections.abc import Mapping, Sequence

import msgspec
import structlog

from cloud.alerts.notify.channels import KIND, Channel, parse_channel
from cloud.alerts.notify.texts import Site, site_of
from cloud.alerts.people import roster_of
from cloud.facts.database import reading
from cloud.facts.failures import asking
from cloud.facts.inputs import EVERY_SITE, in_force, inputs_of
from cloud.facts.store import FactStore

_log = structlog.get_logger(__name__)


class EnteredAddresses:
    """`dispatcher.Addresses` over inputs and ledgers. `public_url` is where people find our pages, empty if unknown."""

    def __init__(self, store: FactStore, public_url: str) -> None:
        self._store = store
        self._public_url = public_url.rstrip("/")

    def channels(self, site: str) -> Mapping[str, Channel]:
        """The channels of a site and of all sites, by id; the site's own ones win."""
        found: dict[str, Channel] = {}
        with asking("channels"), reading(self._store.engine) as connection:
            for where in (EVERY_SITE, site):
                for one in in_force(inputs_of(connection, where, KIND)):
                    try:
                        found[one.id] = parse_channel(one.document)
                    except msgspec.MsgspecError as error:
                        _log.warning("a channel cannot be used", site=where, id=one.id, problem=str(error))
        return found

    def of_people(self, site: str, people: Sequence[str]) -> Sequence[str]:
        """The channels that people named for themselves."""
        if not people:
            return ()
        about = self.site(site)
        with asking("people"), reading(self._store.engine) as connection:
            roster = roster_of(connection, site, about.zone, 2**62)
        return [channel for name in people if name in roster.people for channel in roster.people[name].channels]

    def site(self, site: str) -> Site:
        """What messages must know of a site."""
        with asking("ledgers"):
            return site_of(self._store.ledger(site), site, self._public_url)
