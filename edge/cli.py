"""`gatehouse edge`: the agent of a site from the command line."""

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from devices.instants import parse_instant
from edge.cli_commissioning import commissioning
from edge.cli_running import EXIT_FAILURE, EXIT_USAGE, SiteFile, reporting, run
from edge.config import Site, is_loopback, load_site

_SITE_SUFFIXES = {".yaml", ".yml"}

app = typer.Typer(no_args_is_help=True, help="The agent on a site's gateway: reads devices, keeps, sends.")


@app.command("run")
def run_agent(
    site_file: SiteFile,
    clock_rate: Annotated[float, typer.Option(hidden=True, min=0.1, max=10_000)] = 1.0,
    clock_start: Annotated[str | None, typer.Option("--start", hidden=True, help="RFC 3339; now if absent.")] = None,
) -> None:
    """Run the agent until SIGINT or SIGTERM."""
    from edge.clock import Clock
    from edge.gateway import run_gateway

    start_ms = _instant(clock_start)
    with reporting():
        site = load_site(site_file)
        if clock_rate != 1.0 or start_ms is not None:
            _refuse_false_time(site)
        clock = Clock(rate=clock_rate, start_ms=start_ms)
        run(lambda: run_gateway(site, clock))


@app.command()
def key(
    path: Annotated[Path, typer.Argument(metavar="SITE_YAML", help="The site.yaml, or the key file itself.")],
) -> None:
    """Make the gateway's key unless it exists, and print its public half for `gatehouse cloud gateway add`."""
    from edge.enrol import make_key, public_text

    with reporting():
        key_path = load_site(path).key_path if path.suffix in _SITE_SUFFIXES else path
        print(public_text(make_key(key_path).public_key()))


@app.command("import")
def import_history(
    first: Annotated[Path, typer.Argument(metavar="SITE_YAML", help="The site.yaml of this gateway.")],
    second: Annotated[Path | None, typer.Argument(metavar="FILE", help="JSON lines; - is standard input.")] = None,
    config: Annotated[Path | None, typer.Option(hidden=True, help="The site.yaml, when only FILE is given.")] = None,
) -> None:
    """Send readings of the past: lines of {device, point, time, value, quality}, in order of time."""
    from edge.importer import run_import

    site_file, file = (config, first) if config is not None else (first, second)
    if file is None or site_file is None:
        raise typer.BadParameter("expected SITE_YAML and FILE")
    with reporting():
        site = load_site(site_file)
        summary = run(lambda: run_import(site, file, sys.stderr))
    print(summary)


@app.command()
def status(
    site_file: SiteFile,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The status file as it is.")] = False,
) -> None:
    """Say how the agent is doing; works without any network."""
    from edge.status import read_status
    from edge.status_text import lines_of, status_json

    with reporting():
        found = read_status(load_site(site_file).data_path)
    if found is None:
        typer.echo("gatehouse edge: the agent has not run here yet", err=True)
        raise typer.Exit(EXIT_FAILURE)
    print(status_json(found) if as_json else "\n".join(lines_of(found)))


def _instant(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _refuse_false_time(site: Site) -> None:
    cloud = site.config.cloud
    if cloud is not None and not is_loopback(urlsplit(cloud.url).hostname or ""):
        typer.echo("gatehouse edge: a clock that runs at another rate is for a cloud on this machine only", err=True)
        raise typer.Exit(EXIT_USAGE)


app.add_typer(commissioning)
