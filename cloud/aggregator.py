"""The aggregator: builds every part, runs them in one process, stops them in the order data flow.

The one module of the cloud that sees all parts and reads the clock.
"""

import asyncio
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import structlog
import uvicorn
from fastapi import APIRouter, Response

from cloud.access.door import Door
from cloud.alerts.engine import AlertEngine
from cloud.alerts.local import LocalAlerts
from cloud.alerts.notify.opening import open_dispatcher
from cloud.alerts.office import open_office
from cloud.alerts.past import PastAlerts
from cloud.alerts.periodic import PeriodicRules, Sources
from cloud.alerts.red import red_spans
from cloud.alerts.store import AlertStore
from cloud.alerts.trials import TrialRecord
from cloud.alerts.watch import SiteWatch
from cloud.api.app import build_api
from cloud.api.numbers import SiteNumbers
from cloud.api.pages import SitePages
from cloud.api.services import Services
from cloud.api.store_routes import store_routes
from cloud.evidence.package import Sources as EvidenceSources
from cloud.evidence.package import deployment_key
from cloud.evidence.root_record import RootRecord
from cloud.facts.database import open_database
from cloud.facts.deriving import Deriver
from cloud.facts.newest import newest
from cloud.facts.parked import Releases
from cloud.facts.progress import losses_known
from cloud.facts.store import FactStore
from cloud.history.embedded import EmbeddedHistory
from cloud.history.feed import HistoryFeed
from cloud.history.influx import InfluxHistory, InfluxSettings
from cloud.history.store import HistoryWriter
from cloud.indicators.comparing import Compared, compared_with, forget_derived
from cloud.indicators.recording import Recorder
from cloud.ingest.admission import Admission
from cloud.ingest.checkpoint import Checkpoint
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.integrity import IntegrityRecord
from cloud.ingest.log_segments import SegmentLog
from cloud.ingest.receive import receiving
from cloud.ingest.tokens import Tokens
from cloud.live import LiveState
from cloud.processor import Processor
from cloud.settings import Places, Settings, owning
from cloud.web.pages import static_routes
from devices.errors import ConfigurationError, Problem
from devices.version import software_version

EPOCH_BYTES = 4  # of the pages' streams: another one after every start
KEEP_ALIVE_S = 75  # longer than gateways keep a connection (60 s): a sign of life must not need a new one
OPEN_REQUESTS_S = 1.5  # how long a stop waits for requests that are being answered
THREADS = 12  # questions that wait for the store must not keep frames and alerts from it; the store takes 16 at once
LAST_BATCH_S = 5.0  # how long it waits for the batch at hand of each reader
_log = structlog.get_logger(__name__)


def server_now_ms() -> int:
    """Server time: Unix ms UTC."""
    return time.time_ns() // 1_000_000


class Aggregator:
    """Everything, built and connected; belongs to the running event loop."""

    def __init__(
        self, places: Places, influx: InfluxSettings | None = None, *, asks_who: bool = False, public_url: str = ""
    ) -> None:
        self.log = SegmentLog(places.log)
        self.keys = GatewayRegister(places.gateways)
        self.facts = open_database(places.facts)
        self.live = LiveState()
        self.integrity = IntegrityRecord(places.integrity)
        self.checkpoint = Checkpoint(places.log / "identities", self.log, server_now_ms)
        self.admission = Admission(self.log, self.keys, self.checkpoint.identities(), server_now_ms, self.integrity)
        self.processor = Processor(
            self.log, self.keys, self.facts, lambda finding: self.integrity.note(finding, server_now_ms())
        )
        self.processor.listen(self.live.frames_arrived)
        self.processor.listen(self.admission.identities.losses_arrived)
        self.processor.listen(self.admission.identities.losses_arrived, parked=True)
        self.admission.identities.account_for_all(losses_known(self.facts))
        self.history = EmbeddedHistory(places.history, self.log.log_id)
        self.writers: list[HistoryWriter] = [self.history]
        if influx is not None:
            self.writers.append(InfluxHistory(influx, places.influx_position, self.log.log_id))
        self.feeds = [self._feed(writer) for writer in self.writers]
        self.roots = RootRecord(self.facts, self.log, self.keys, server_now_ms)
        store = FactStore(self.facts, eager=False)
        store.of_equipment.red_alerts = partial(red_spans, self.facts)
        self.deriver = Deriver(store, server_now_ms)
        self.processor.listen(self.deriver.frames_arrived)
        self.recorder = Recorder(store, server_now_ms)
        for ledger in store.sites():
            self.live.site(ledger.site.id).restore(newest(self.facts, ledger.site.id))
        watch = SiteWatch(store, self.keys, self.admission.identities)
        alert_store = AlertStore(self.facts)
        self.alerts = AlertEngine(alert_store, self.live, watch, server_now_ms, trials=TrialRecord(self.facts))
        sources = Sources(store, self.live, self.history, self.integrity)
        self.periodic_rules = PeriodicRules(self.alerts, sources, server_now_ms)
        self.past_alerts = PastAlerts(self.alerts, self.live, store, server_now_ms)
        self.local_alerts = LocalAlerts(self.alerts, self.facts, server_now_ms)
        self.processor.listen(self.local_alerts.frames_arrived)
        self.office = open_office(store, self.live, self.alerts.book, places.attachments, server_now_ms)
        told = (self.office.outbox, self.alerts.book)
        self.dispatcher = open_dispatcher(store, *told, server_now_ms, public_url=public_url)
        numbers = SiteNumbers(store)
        self.pages = SitePages(numbers, self.live, self.alerts, secrets.token_hex(EPOCH_BYTES), server_now_ms)
        self.services = Services(
            now=server_now_ms,
            live=self.live,
            alerts=self.alerts,
            alert_store=alert_store,
            pages=self.pages,
            numbers=numbers,
            history=self.history,
            gateways=self.keys,
            identities=self.admission.identities,
            version=software_version(),
            office=self.office,
            door=Door(self.facts) if asks_who else None,
        )
        uplink = receiving(self.admission, Tokens(self.keys), server_now_ms)
        more = store_routes(store, self.dispatcher, self._evidence(places), server_now_ms)
        self.app = build_api(self.services, uplink, *more, _health_route(), static_routes())

    def _evidence(self, places: Places) -> EvidenceSources:
        key = deployment_key(places.audit_key)
        return EvidenceSources(self.facts, self.log, self.keys, key, software_version(), server_now_ms)

    def _feed(self, writer: HistoryWriter) -> HistoryFeed:
        feed = HistoryFeed(self.log, self.keys, writer, server_now_ms, Releases(self.facts))
        self.processor.listen(feed.frames_arrived)  # frames may have been released that came long ago
        return feed

    async def run(self, listening: socket.socket, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then stop intake, readers, stores, in this order."""
        server = _Server(
            uvicorn.Config(
                self.app,
                loop="none",
                http="httptools",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )
        readers: list[Processor | HistoryFeed] = [self.processor, *self.feeds]
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(one.run(), name=type(one).__name__) for one in readers]
            watching = [
                group.create_task(self.alerts.run(), name="alerts"),
                group.create_task(self.past_alerts.run(), name="past alerts"),
                group.create_task(self.office.desk.run(), name="alert desk"),
                group.create_task(self.local_alerts.run(), name="local alerts"),
                group.create_task(self.periodic_rules.run(), name="periodic rules"),
                group.create_task(self.pages.run(), name="pages"),
                group.create_task(self.dispatcher.run(), name="notifications"),
                group.create_task(self.deriver.run(), name="deriver"),
                group.create_task(self.roots.run(), name="daily roots"),
                group.create_task(self.checkpoint.run(), name="checkpoint"),
                group.create_task(self.recorder.run(), name="recorder"),
            ]
            serving = group.create_task(server.serve([listening]), name="server")
            stopped = group.create_task(stop.wait(), name="stop")
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
            self.pages.stop()
            server.should_exit = True
            await asyncio.wait({serving}, timeout=OPEN_REQUESTS_S)
            for one in readers:
                one.stop()
            _, late = await asyncio.wait(reading, timeout=LAST_BATCH_S)
            for task in (serving, stopped, *watching, *late):
                task.cancel()

    def close(self) -> None:
        """Close everything, the log last: what reads it is gone by then."""
        for writer in self.writers:
            writer.close()
        self.facts.dispose()
        self.keys.close()
        self.integrity.close()
        self.log.close()


class _Server(uvicorn.Server):
    """Signals are the aggregator's own matter: it stops more than the server."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _health_route() -> APIRouter:
    async def health() -> Response:
        """Answer while the process can."""
        return Response('{"status":"ok"}', media_type="application/json")

    router = APIRouter(tags=["health"])
    router.add_api_route("/healthz", health, methods=["GET"])
    return router


def run(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM. Raises InUse, ConfigurationError or StorageUnavailable before it serves."""
    with owning(settings.data_dir) as places, _listening(settings) as listening:
        runner = asyncio.Runner(loop_factory=_loop_factory())
        with runner:
            runner.run(_serve(settings, places, listening))


def rebuild(data_dir: Path) -> tuple[int, Compared]:
    """Forget what is derived, compute it from the log again, compare; how many frames were read. Raises InUse."""
    with owning(data_dir) as places:
        before = forget_derived(places.facts)
        if places.history.exists():
            shutil.rmtree(places.history)
        places.influx_position.unlink(missing_ok=True)  # releases are counted anew: an InfluxDB is told all again
        return asyncio.run(_catch_up(places)), compared_with(places.facts, before, server_now_ms())


async def _catch_up(places: Places) -> int:
    aggregator = Aggregator(places)
    frames = 0
    try:
        while read := await aggregator.processor.step():
            frames += read
        for feed in aggregator.feeds:
            while await asyncio.to_thread(feed.step):
                pass
        await asyncio.to_thread(aggregator.history.flush)
    finally:
        aggregator.close()
    return frames


async def _serve(settings: Settings, places: Places, listening: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "cloud"))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    aggregator = Aggregator(places, settings.influx, asks_who=settings.asks_who, public_url=settings.public_url)
    try:
        host, port = listening.getsockname()[:2]
        _log.info("serving", address=f"http://{host}:{port}", data_dir=str(places.root))
        await aggregator.run(listening, stop)
    finally:
        aggregator.close()


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        raise ConfigurationError([Problem(place, 0, 0, f"cannot listen there: {error.strerror or error}")]) from error


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:  # not there for every machine: the standard loop does
        return None
    return uvloop.Loop
