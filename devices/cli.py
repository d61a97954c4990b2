"""`gatehouse profiles`: the products that Gatehouse knows, and the check of a new one. Needs no extra."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from devices.dumps import differences, load_dump
from devices.errors import ConfigurationError
from devices.expectations import nearest_key
from devices.known_profiles import known_profiles
from devices.profile import LoadedProfile, load_profile
from devices.profile_reference import protocol_of, reference

EXIT_FAILURE, EXIT_USAGE, EXIT_CONFIGURATION = 1, 2, 3
_COLUMNS = ("id", "product", "kind", "protocol", "verified")

app = typer.Typer(no_args_is_help=True, help="The products that Gatehouse knows, and the check of a new one.")

OwnFolder = Annotated[Path | None, typer.Option("--own", metavar="FOLDER", help="A site's own profiles as well.")]
ProfileFile = Annotated[Path, typer.Argument(metavar="FILE", help="The YAML file of a profile.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


@contextmanager
def _reporting() -> Iterator[None]:
    """Print what is wrong as file:line:column and turn it into an exit code."""
    try:
        yield
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_CONFIGURATION) from None


@app.command("list")
def list_profiles(own: OwnFolder = None, *, as_json: Json = False) -> None:
    """Every product: id, name, kind, protocol, and how far its numbers were checked."""
    with _reporting():
        known = known_profiles(own)
    rows = [_row(known[name]) for name in sorted(known)]
    if as_json:
        print(json.dumps([dict(zip(_COLUMNS, row, strict=True)) for row in rows], ensure_ascii=False, indent=1))
        return
    widths = [max(len(row[column]) for row in [_COLUMNS, *rows]) for column in range(len(_COLUMNS))]
    for row in [_COLUMNS, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(profile: LoadedProfile) -> tuple[str, ...]:
    return profile.id, profile.profile.product, profile.kind, protocol_of(profile), profile.profile.source.verified


@app.command()
def show(
    profile_id: Annotated[str, typer.Argument(metavar="ID")], own: OwnFolder = None, *, as_json: Json = False
) -> None:
    """The file of one product, to read or to copy."""
    with _reporting():
        known = known_profiles(own)
    if profile_id not in known:
        typer.echo(f"unknown profile {profile_id!r}{nearest_key(profile_id, list(known))}", err=True)
        raise typer.Exit(EXIT_USAGE)
    found = known[profile_id]
    print(found.profile.model_dump_json(indent=1, exclude_defaults=True) if as_json else found.text.rstrip("\n"))


@app.command()
def check(file: ProfileFile) -> None:
    """Look for mistakes in a profile; each is named with its line and column."""
    with _reporting():
        found = load_profile(file)
    rules = f"state from {', '.join(sorted(found.state_points))}" if found.state_points else "no state rules"
    print(f"{file}: {found.id} is fine: {len(found.points)} points, {rules}")


@app.command("test")
def compare(
    file: ProfileFile,
    dumps: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DUMP]...", help="Recordings or folders of them; else what lies beside FILE."),
    ] = None,
) -> None:
    """Decode recordings with a profile and compare with what they say must come out."""
    paths = [path for given in dumps for path in _dumps_in(given)] if dumps else _dumps_beside(file)
    with _reporting():
        profile = load_profile(file)
        if not paths:
            typer.echo(f"{file} has no recording: expected {file.with_suffix('.json')}", err=True)
            raise typer.Exit(EXIT_USAGE)
        wrong = {path: differences(profile, load_dump(path)) for path in paths}
    for path, found in wrong.items():
        print(f"{path}: {'as expected' if not found else f'{len(found)} differences'}")
        for difference in found:
            print(f"  {difference}")
    if any(wrong.values()):
        raise typer.Exit(EXIT_FAILURE)


def _dumps_in(given: Path) -> list[Path]:
    return sorted(given.glob("*.json")) if given.is_dir() else [given]


def _dumps_beside(file: Path) -> list[Path]:
    """`pump.json` and `pump/*.json` belong to `pump.yaml`."""
    alone = file.with_suffix(".json")
    return [*([alone] if alone.exists() else []), *sorted(file.with_suffix("").glob("*.json"))]


@app.command("reference")
def print_reference(own: OwnFolder = None) -> None:
    """The reference page of all products in Markdown."""
    with _reporting():
        print(reference(known_profiles(own)), end="")
