"""Everything that handles alerts, built and connected: one for a database."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloud.alerts.attachments import AttachmentStore
from cloud.alerts.book import AlertBook
from cloud.alerts.desk import AlertDesk
from cloud.alerts.items import ItemBook, ItemStore
from cloud.alerts.outbox import Outbox
from cloud.alerts.places import SitePlaces
from cloud.alerts.storms import Silences
from cloud.facts.answered import AnsweredRequests
from cloud.facts.store import FactStore
from cloud.live import LiveState
from devices.rules import known_rules


@dataclass(frozen=True, slots=True)
class Office:
    """The parts. Background work is `desk.run()`; senders take messages from `outbox`."""

    desk: AlertDesk
    items: ItemBook
    item_store: ItemStore
    outbox: Outbox
    attachments: AttachmentStore
    answered: AnsweredRequests


def open_office(
    store: FactStore, live: LiveState, book: AlertBook, attachments: Path, now: Callable[[], int]
) -> Office:
    """Build it over the database of the facts. `attachments` is the folder of their files."""
    outbox = Outbox(store.engine)
    item_store = ItemStore(store.engine, outbox)
    items = ItemBook(item_store, now)
    places = SitePlaces(store, live)
    silences = Silences.of(known_rules())
    return Office(
        desk=AlertDesk(store.engine, book, items=items, outbox=outbox, places=places, silences=silences, now=now),
        items=items,
        item_store=item_store,
        outbox=outbox,
        attachments=AttachmentStore(store.engine, attachments),
        answered=AnsweredRequests(store.engine),
    )
