"""The demo: a simulated site, its gateway and the cloud on one machine, as child processes of the front door.

The page comes first, then the gateway, then thirty days of history through the real path, then a fault.
"""

import asyncio
import contextlib
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from devices.errors import LinkDown, Permanent
from devices.instants import format_instant, parse_instant
from devices.segments import write_durably
from simulators.broker import STAND_IN_NOTICE, mosquitto_configuration, mosquitto_path
from simulators.children import Child, Children
from simulators.control import command
from simulators.documents import ledger_yaml
from simulators.running import CONTROL_SOCKET, LEDGER_FILE, SITE_FILE
from simulators.site import SCRIPTED_FAULT, Site, demo_site

FRONT_DOOR = (sys.executable, "-m", "gatehouse")
READY_TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.1
FAULT_AFTER_S = 20.0
FAULT_FOR_S = 240.0
STOP_BUDGET_S = 2.4  # of the 3 s that Ctrl-C may take
DEATH_NOTICE_S = 0.5
SUBSCRIBED_AFTER_S = 4.0
RELAY_BYTES = 1 << 18
DAY_MS = 86_400_000
HISTORY_FILE = "history.json"
# The agent stops while its devices and the cloud still answer: what it read still arrives.
STOP_ORDER = (("history", "import"), ("edge",), ("simulators", "cloud"), ("broker",))


class Announcer(Protocol):
    """Tells the person at the terminal what happens."""

    def say(self, text: str) -> None:
        """One line of talk."""

    def ready(self, url: str) -> None:
        """The page is up."""

    def progress(self, done: float) -> None:
        """Share of the history that was handed over, 0 to 1; 1 also ends the bar."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`folder` exists; whoever made it removes it. `now_ms` is the wall clock, Unix ms UTC."""

    folder: Path
    port: int
    days: int
    seed: int
    now_ms: Callable[[], int]

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}"


class HistoryPlan(msgspec.Struct, frozen=True):
    """Which days a demo's folder was promised, and whether the cloud has confirmed them all.

    A demo that was cut off fills in the very same lines again, which the import knows; a restart adds nothing.
    """

    until_ms: int
    days: int
    seed: int
    done: bool = False


def history_plan(options: DemoOptions) -> HistoryPlan:
    """The plan that the folder holds, else a new one, noted durably. Raises Permanent when it cannot be read."""
    path = options.folder / HISTORY_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=HistoryPlan)
    except FileNotFoundError:
        plan = HistoryPlan(options.now_ms(), options.days, options.seed)
        write_history_plan(options, plan)
        return plan
    except (OSError, msgspec.MsgspecError) as error:
        raise Permanent(f"{path} cannot be read, and it alone says whether the history is there: {error}") from error


def write_history_plan(options: DemoOptions, plan: HistoryPlan) -> None:
    """Note durably what is promised. Raises StorageUnavailable."""
    write_durably(options.folder / HISTORY_FILE, msgspec.json.encode(plan))


def free_port() -> int:
    """A TCP port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_taken(port: int) -> bool:
    """Whether somebody already listens on a port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


async def run_demo(options: DemoOptions, announcer: Announcer) -> None:
    """Run the demo until cancelled. Raises GatehouseError when a part of it failed."""
    site = demo_site()
    logs = options.folder / "logs"
    logs.mkdir(exist_ok=True)
    # Python's own search path stands first: the front door may be a file next to the packages.
    here = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH", "")])])
    async with _children(Children(logs, os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"})) as children:
        await _Demo(site, options, announcer, children).run()


@contextlib.asynccontextmanager
async def _children(children: Children) -> AsyncIterator[Children]:
    try:
        yield children
    finally:
        await asyncio.shield(children.stop(STOP_ORDER, STOP_BUDGET_S))


class _Demo:
    """One run of the demo. Methods stand in the order in which they run."""

    def __init__(self, site: Site, options: DemoOptions, announcer: Announcer, children: Children) -> None:
        self._site = site
        self._options = options
        self._announcer = announcer
        self._children = children
        self._folder = options.folder
        self._started: list[Child] = []

    async def run(self) -> None:
        broker_port = free_port()
        # Before the gateway starts: the history ends where the present begins.
        plan = history_plan(self._options) if self._options.days else None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_site(broker_port), name="site")
            group.create_task(self._start_cloud(), name="cloud")
        edge = await self._start("edge", "edge", "run", str(self._folder / SITE_FILE))
        work = asyncio.ensure_future(self._play(plan))
        watch = asyncio.ensure_future(self._children.watch(*self._started, edge))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            # Work that failed because a child is gone: the child's end is what to tell.
            await asyncio.wait({watch}, timeout=DEATH_NOTICE_S)
            if watch.done():
                watch.result()
            await work
        finally:
            for task in (work, watch):
                task.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)

    async def _start(self, name: str, *words: str) -> Child:
        child = await self._children.start(name, [*FRONT_DOOR, *words])
        self._started.append(child)
        return child

    async def _start_site(self, broker_port: int) -> None:
        """Broker and simulators; done when `site.yaml` is there."""
        path = mosquitto_path()
        if path is None:
            self._announcer.say(STAND_IN_NOTICE)
            await self._start("broker", "sim", "broker", "--port", str(broker_port), "--stand-in")
        else:
            configuration = self._folder / "mosquitto.conf"
            configuration.write_text(mosquitto_configuration(broker_port), "utf-8")
            self._started.append(await self._children.start("broker", [path, "-c", str(configuration)]))
        (self._folder / SITE_FILE).unlink(missing_ok=True)  # of an earlier run: its ports are gone
        simulators = await self._start(
            "simulators", "sim", "run", "--folder", str(self._folder), "--mqtt-port", str(broker_port),
            "--seed", str(self._options.seed), "--cloud-url", self._options.url,
        )  # fmt: skip
        await self._until((self._folder / SITE_FILE).exists, simulators)

    async def _start_cloud(self) -> None:
        """The page first, then what it shows: ledger and gateway."""
        data = ["--data-dir", str(self._folder / "cloud-data")]
        cloud = await self._start(
            "cloud", "cloud", "run", "--host", "127.0.0.1", "--port", str(self._options.port), *data
        )
        key = asyncio.ensure_future(self._make_key())
        try:
            await self._until_answers("/healthz", cloud)
            self._announcer.ready(self._options.url)
            ledger = self._folder / LEDGER_FILE
            ledger.write_text(ledger_yaml(self._site), "utf-8")
            entering = ["cloud", "ledger", "import", str(ledger), *data]
            adding = ["cloud", "gateway", "add", self._site.gateway, "--site", self._site.id, "--public-key", await key]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._children.run("ledger-import", [*FRONT_DOOR, *entering]))
                group.create_task(self._children.run("gateway-add", [*FRONT_DOOR, *adding, *data]))
        finally:
            key.cancel()

    async def _make_key(self) -> str:
        """The gateway's public key; made when there is none yet."""
        key_file = self._folder / f"{self._site.gateway}.key"
        printed = await self._children.run("edge-key", [*FRONT_DOOR, "edge", "key", str(key_file)])
        return printed.split()[-1]

    async def _until_answers(self, path: str, child: Child) -> None:
        url = f"{self._options.url}{path}"
        answered = False
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not answered:
                if not child.running:
                    raise child.failure()
                answered = await asyncio.to_thread(_answers, url)
                await asyncio.sleep(0 if answered else LOOK_EVERY_S)

    async def _until(self, ready: Callable[[], bool], child: Child) -> None:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not ready():
                if not child.running:
                    raise child.failure()
                await asyncio.sleep(LOOK_EVERY_S)

    async def _until_heard(self) -> None:
        """Parking sensors speak rarely: ask them all, when the gateway has had the time to subscribe."""
        await asyncio.sleep(SUBSCRIBED_AFTER_S)
        await self._do("announce")

    async def _play(self, plan: HistoryPlan | None) -> None:
        """Sensors that report once, history, then the scripted fault."""
        await self._until_heard()
        if plan is not None and plan.done:
            self._announcer.say(f"The history up to {format_instant(plan.until_ms)} is there already.")
        elif plan is not None:
            await self._fill_in(plan)
            write_history_plan(self._options, msgspec.structs.replace(plan, done=True))
        self._announcer.say(f"Live. In {FAULT_AFTER_S:.0f} s something will break.")
        await asyncio.sleep(FAULT_AFTER_S)
        await self._do(f"fail {SCRIPTED_FAULT}")
        self._announcer.say(f"{SCRIPTED_FAULT} reports a fault: see the alerts. It mends itself in a few minutes.")
        await asyncio.sleep(FAULT_FOR_S)
        await self._do(f"mend {SCRIPTED_FAULT}")
        self._announcer.say(f"{SCRIPTED_FAULT} is well again.")
        await asyncio.Event().wait()

    async def _fill_in(self, plan: HistoryPlan) -> None:
        """The days of the plan through importer, journal, uplink and ingest; all confirmed when this returns."""
        from_ms, to_ms = plan.until_ms - plan.days * DAY_MS, plan.until_ms
        wanted = ["--days", str(plan.days), "--seed", str(plan.seed), "--until", format_instant(to_ms)]
        source = await self._children.start(
            "history", [*FRONT_DOOR, "sim", "history", "-", *wanted], stdout=asyncio.subprocess.PIPE
        )
        sink = await self._children.start(
            "import",
            [*FRONT_DOOR, "edge", "import", str(self._folder / SITE_FILE), "-"],
            stdin=asyncio.subprocess.PIPE,
        )
        await self._relay(source, sink, from_ms, to_ms)
        await self._children.finish(source)
        await self._children.finish(sink)
        self._announcer.progress(1.0)

    async def _relay(self, source: Child, sink: Child, from_ms: int, to_ms: int) -> None:
        """Pass the lines on; the time in the last of them is the progress."""
        output, into = source.process.stdout, sink.process.stdin
        if output is None or into is None:
            raise LinkDown("the history has no pipe")
        try:
            while chunk := await output.read(RELAY_BYTES):
                into.write(chunk)
                await into.drain()
                time_ms = last_time_ms(chunk)
                if time_ms is not None:
                    self._announcer.progress(min(max((time_ms - from_ms) / (to_ms - from_ms), 0.0), 0.99))
            into.close()
        except (BrokenPipeError, ConnectionResetError):
            await sink.process.wait()
            raise sink.failure() from None

    async def _do(self, line: str) -> None:
        await asyncio.to_thread(command, self._folder / CONTROL_SOCKET, line)


def last_time_ms(chunk: bytes) -> int | None:
    """The time of the last whole `"time"` in a piece of history, Unix ms UTC; None if there is none."""
    label = b'"time":"'
    at = chunk.rfind(label, 0, max(len(chunk) - 40, 0))
    if at < 0:
        return None
    end = chunk.find(b'"', at + len(label))
    try:
        return parse_instant(chunk[at + len(label) : end].decode())
    except ValueError:
        return None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own page on the loopback
            return int(answer.status) == 200
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
