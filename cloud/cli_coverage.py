"""`gatehouse coverage`: pictures of patrols, blind spots and zones from the command line. The aggregator may run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devices.errors import ConfigurationError, GatehouseError, Permanent

if TYPE_CHECKING:
    from cloud.api.patrol_views import PatrolViews

EXIT_FAILURE, EXIT_CONFIGURATION = 1, 3
DATA_DIR = Path("cloud-data")

app = typer.Typer(no_args_is_help=True, help="Where robots were, how often, and what they missed.")
zones = typer.Typer(no_args_is_help=True, help="Zones, no-go areas and checkpoints as GeoJSON.")
app.add_typer(zones, name="zones")
Site = Annotated[str, typer.Argument(help="The site's id.")]
DataDir = Annotated[Path, typer.Option("--data-dir", help="Where the aggregator keeps everything.")]
Degrees = Annotated[bool, typer.Option("--degrees", help="WGS 84 rather than metres; floors need a GPS origin.")]


class NoData(Permanent):
    """A folder in which no aggregator ever kept anything."""


@contextmanager
def _views(data_dir: Path) -> "Iterator[PatrolViews]":
    """The store of facts, our own errors as one line each and an exit code."""
    from cloud.api.patrol_views import PatrolViews
    from cloud.facts.database import open_database
    from cloud.facts.store import FactStore
    from cloud.settings import Places

    try:
        if not Places(data_dir).facts.exists():
            raise NoData(f"there is no aggregator's data in {data_dir}")
        facts = open_database(Places(data_dir).facts)
        try:
            # The aggregator alone derives: two that did it at once could undo each other's work.
            yield PatrolViews(FactStore(facts, eager=False), derives=False)
        finally:
            facts.dispose()
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None
    except (GatehouseError, OSError) as error:
        typer.echo(f"gatehouse coverage: {error}", err=True)
        raise typer.Exit(EXIT_FAILURE) from None


@app.command("render")
def render_picture(
    site: Site,
    out: Annotated[Path, typer.Argument(help="A file that ends in .png, .svg or .json.", dir_okay=False)],
    *,
    day: Annotated[str | None, typer.Option(help="Local day, like 2026-05-01; today without.")] = None,
    floor: Annotated[str | None, typer.Option(help="A floor; the first one with zones without.")] = None,
    zone: Annotated[str | None, typer.Option(help="A zone.")] = None,
    robot: Annotated[str | None, typer.Option(help="One robot; all without.")] = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Draw a day: paths, passes by cell, and what was not visited."""
    from cloud.aggregator import server_now_ms
    from cloud.api.patrol_drawing import picture_png, picture_svg

    if out.suffix not in {".png", ".svg", ".json"}:
        raise typer.BadParameter("expected a file that ends in .png, .svg or .json", param_hint="OUT")
    if not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="OUT")
    with _views(data_dir) as views:
        picture, head = views.picture(site, _day(day), server_now_ms(), floor=floor, zone=zone, robot=robot)
        if out.suffix == ".png":
            out.write_bytes(picture_png(picture))
        elif out.suffix == ".svg":
            title = " ".join(str(part) for part in (site, *head.values()) if part)
            out.write_text(picture_svg(picture, title), encoding="utf-8")
        else:
            out.write_text(json.dumps(views.picture_data(picture, head)), encoding="utf-8")
        seen = int((picture.required & (picture.passes > 0)).sum())
        if not views.is_settled(site, server_now_ms()):
            typer.echo("not everything is derived yet; a running aggregator does that", err=True)
        typer.echo(f"{out}: {seen} of {int(picture.required.sum())} cells visited")


@app.command("blind-spots")
def list_blind_spots(site: Site, data_dir: DataDir = DATA_DIR, *, degrees: Degrees = False) -> None:
    """What no robot visited, or too long ago, as GeoJSON in order of rank."""
    from cloud.aggregator import server_now_ms

    with _views(data_dir) as views:
        found = views.blind_spots_geojson(site, server_now_ms(), "wgs84" if degrees else "metres")
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))


@zones.command("export")
def export_zones(
    site: Site,
    day: Annotated[str | None, typer.Option(help="Those of a local day; the newest without.")] = None,
    data_dir: DataDir = DATA_DIR,
    *,
    degrees: Degrees = False,
) -> None:
    """Print the zones of a site."""
    with _views(data_dir) as views:
        typer.echo(
            json.dumps(views.zones(site, "wgs84" if degrees else "metres", _day(day)), ensure_ascii=False, indent=1)
        )


@zones.command("import")
def import_zones(
    site: Site,
    file: Annotated[Path, typer.Argument(help="GeoJSON", exists=True, dir_okay=False)],
    *,
    reason: Annotated[str, typer.Option(help="Why.")],
    valid_from: Annotated[str | None, typer.Option(help="Local day from which they hold; now without.")] = None,
    actor: Annotated[str, typer.Option(help="Who enters it.")] = "cli",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Replace the zones of a site from a day on: a version of its ledger."""
    from cloud.aggregator import server_now_ms
    from devices.document import read_text

    with _views(data_dir) as views:
        entered = views.enter_zones(
            site, read_text(file), actor=actor, reason=reason, valid_from=_day(valid_from), now_ms=server_now_ms()
        )
        typer.echo(", ".join(f"{count} {name.replace('_', '-')}" for name, count in entered.items()))


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day like 2026-05-01") from None
