"""The dispatcher of a deployment, built over its stores."""

from collections.abc import Callable

from cloud.alerts.book import AlertBook
from cloud.alerts.notify.addresses import EnteredAddresses
from cloud.alerts.notify.deliveries import DeliveryLog
from cloud.alerts.notify.dispatcher import Dispatcher
from cloud.alerts.outbox import Outbox
from cloud.facts.store import FactStore


def open_dispatcher(
    store: FactStore, outbox: Outbox, book: AlertBook, now: Callable[[], int], *, public_url: str
) -> Dispatcher:
    """Build it. `public_url` is where people find our pages, empty if nobody said."""
    return Dispatcher(outbox, DeliveryLog(store.engine), book, EnteredAddresses(store, public_url), now)
