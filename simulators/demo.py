"""`gatehouse demo`: the whole of Gatehouse on one machine, with a simulated site."""

import asyncio
import shutil
import signal
import tempfile
import time
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from devices.errors import GatehouseError
from simulators.demonstration import DemoOptions, port_is_taken, run_demo

EXIT_FAILURE, EXIT_USAGE = 1, 2
FAILURES = (GatehouseError, OSError, TimeoutError)


class Terminal:
    """Talks on stderr; the URL is the one thing on stdout."""

    def __init__(self, *, browser: bool, days: int) -> None:
        self._browser = browser
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            console=self._console, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._days = days

    def say(self, text: str) -> None:
        """One line of talk."""
        self._console.print(text, soft_wrap=True, markup=False)

    def ready(self, url: str) -> None:
        """The page is up: print where, open it."""
        print(url, flush=True)  # noqa: T201 - the answer of this command
        self.say("Ctrl-C stops everything. Try next: gatehouse sim do --help")
        if self._browser:
            webbrowser.open(url)

    def progress(self, done: float) -> None:
        """Move the bar; 1 ends it."""
        if self._task is None:
            self.say(f"Filling in {self._days} days of history")
            self._bar.start()
            self._task = self._bar.add_task("History", total=1.0)
        self._bar.update(self._task, completed=done)
        if done >= 1.0:
            self.close()

    def close(self) -> None:
        """Give the terminal back."""
        self._bar.stop()


def demo(
    *,
    port: Annotated[int, typer.Option(help="Port of the page.", min=1, max=65_535)] = 8080,
    data_dir: Annotated[Path | None, typer.Option(help="Keep everything here; else nothing is kept.")] = None,
    days: Annotated[int, typer.Option(help="Days of history to fill in.", min=0, max=365)] = 30,
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
    seed: Annotated[int, typer.Option(help="The same seed gives the same site again.")] = 7,
) -> None:
    """Start a simulated site, its gateway and the cloud, and open the page. Ctrl-C stops and removes everything."""
    if port_is_taken(port):
        typer.echo(f"gatehouse demo: port {port} is taken; choose another with --port", err=True)
        raise typer.Exit(EXIT_USAGE)
    terminal = Terminal(browser=browser, days=days)
    with ExitStack() as stack:
        stack.callback(terminal.close)
        if data_dir is None:
            folder = Path(tempfile.mkdtemp(prefix="gatehouse-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        else:
            folder = data_dir.absolute()
            folder.mkdir(parents=True, exist_ok=True)
        options = DemoOptions(folder, port, days, seed, lambda: time.time_ns() // 1_000_000)
        failures: list[BaseException] = []
        try:
            asyncio.run(_until_signal(options, terminal))
        except FAILURES as error:
            failures = [error]
        except BaseExceptionGroup as group:
            if group.split(FAILURES)[1] is not None:
                raise
            failures = _leaves(group)
        for failure in failures:
            terminal.say(f"gatehouse demo: {str(failure) or 'a part did not become ready in time'}")
        if failures:
            raise typer.Exit(EXIT_FAILURE)


async def _until_signal(options: DemoOptions, terminal: Terminal) -> None:
    task = asyncio.ensure_future(run_demo(options, terminal))
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        if not stopping.is_set():  # a second Ctrl-C must not cut the stop short: children would stay behind
            stopping.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    await asyncio.wait({task})
    if task.cancelled():
        terminal.say("Stopped.")
    else:
        task.result()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
