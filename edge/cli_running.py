"""How the commands of `gatehouse edge` run: errors become lines and exit codes, work runs on uvloop where it is."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import structlog
import typer

from devices.errors import ConfigurationError, GatehouseError, LinkDown

EXIT_FAILURE, EXIT_USAGE, EXIT_CONFIGURATION, EXIT_UNREACHABLE = 1, 2, 3, 4

SiteFile = Annotated[Path, typer.Argument(metavar="SITE_YAML", help="The site.yaml of this gateway.")]
Result = TypeVar("Result")


@contextmanager
def reporting() -> Iterator[None]:
    """Turn our own errors into lines and an exit code."""
    try:
        yield
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None
    except GatehouseError as error:
        typer.echo(f"gatehouse edge: {error}", err=True)
        raise typer.Exit(EXIT_UNREACHABLE if isinstance(error, LinkDown) else EXIT_FAILURE) from None


def run(work: Callable[[], Coroutine[None, None, Result]]) -> Result:
    """Run to the end on uvloop where it is installed; of a group of errors the first comes out."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for answers
    try:
        import uvloop
    except ImportError:  # no wheel for this machine: asyncio's own loop does
        factory = None
    else:
        factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(work())
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group
