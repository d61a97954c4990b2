"""What the commands over an aggregator's data share: where the aggregator keeps things, and how errors are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from devices.errors import ConfigurationError, GatehouseError

EXIT_FAILURE, EXIT_CONFIGURATION = 1, 3

DataDir = Annotated[Path, typer.Option("--data-dir", help="Where the aggregator keeps everything.")]
DATA_DIR = Path("cloud-data")


@contextmanager
def reporting(command: str = "cloud") -> Iterator[None]:
    """Turn our own errors into one line each, with `command` in front, and an exit code."""
    try:
        yield
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None
    except GatehouseError as error:
        typer.echo(f"gatehouse {command}: {error}", err=True)
        raise typer.Exit(EXIT_FAILURE) from None
