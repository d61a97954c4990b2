"""`gatehouse cloud ledger` and `gatehouse cloud input`: what people enter, from the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.cli_reporting import DATA_DIR, DataDir, reporting
from devices.errors import Permanent

if TYPE_CHECKING:
    from cloud.facts.desk import Desk
    from cloud.facts.inputs import Input

ledger = typer.Typer(no_args_is_help=True, help="What there is at a site. Works while the aggregator runs.")
entering = typer.Typer(
    no_args_is_help=True,
    help="What people enter: windows, exclusions, drills, inspections, policies. Works while the aggregator runs.",
)

Actor = Annotated[str, typer.Option(help="Who enters it.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the audit trail.")]
SiteId = Annotated[str, typer.Argument(metavar="SITE")]
Kind = Annotated[str, typer.Argument(metavar="KIND")]
Name = Annotated[str, typer.Argument(metavar="ID")]
Day = Annotated[datetime | None, typer.Option("--valid-from", formats=["%Y-%m-%d"], help="From this local day on.")]


class WrongOption(Permanent):
    """An option that cannot be read."""


@contextmanager
def _desk(data_dir: Path) -> "Iterator[Desk]":
    from cloud.facts.database import open_database
    from cloud.facts.desk import Desk
    from cloud.facts.store import FactStore
    from cloud.settings import Places

    with reporting():
        data_dir.mkdir(parents=True, exist_ok=True)
        facts = open_database(Places(data_dir).facts)
        try:
            yield Desk(FactStore(facts))
        finally:
            facts.dispose()


@ledger.command("import")
def import_ledger_file(
    file: Annotated[Path, typer.Argument(help="ledger.yaml, ledger.xlsx, or NAME.csv", exists=True, dir_okay=False)],
    *,
    data_dir: DataDir = DATA_DIR,
    actor: Actor = "cli",
    reason: Reason = "",
    valid_from: Day = None,
    site: Annotated[str, typer.Option(help="Of a NAME.csv: whose newest ledger it changes.")] = "",
) -> None:
    """Make a ledger document the site's newest version.

    A workbook holds the whole ledger. A CSV file holds one section, named by the file (equipment.csv), and takes the
    place of that section in the newest ledger of --site.
    """
    from cloud.aggregator import server_now_ms
    from cloud.facts.ledgers import import_ledger
    from cloud.sheets import text_of_csv, text_of_workbook
    from devices.document import read_text

    with _desk(data_dir) as desk:
        if file.suffix == ".xlsx":
            text = text_of_workbook(file.read_bytes(), str(file))
        elif file.suffix == ".csv":
            text = text_of_csv(read_text(file), str(file), file.stem, desk.ledger(site))
        else:
            text = read_text(file)
        entered = import_ledger(
            desk.engine,
            text,
            str(file),
            actor=actor,
            now_ms=server_now_ms(),
            reason=reason,
            valid_from=_day(valid_from),
        )
        typer.echo(f"ledger of {entered.site.id}: {len(entered.equipment)} equipment, {len(entered.spaces)} spaces")


@ledger.command("export")
def export_ledger(
    site: SiteId,
    file: Annotated[Path, typer.Argument(help="ledger.yaml, ledger.xlsx, or NAME.csv for one section")],
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Write the newest ledger of a site to a file."""
    from cloud.sheets import csv_of, workbook_of

    with _desk(data_dir) as desk:
        if file.suffix == ".xlsx":
            file.write_bytes(workbook_of(desk.ledger(site)))
        elif file.suffix == ".csv":
            file.write_text(csv_of(desk.ledger(site), file.stem), "utf-8-sig", newline="")
        else:
            file.write_text(desk.ledger_text(site), "utf-8")


@ledger.command("versions")
def list_versions(site: SiteId, data_dir: DataDir = DATA_DIR) -> None:
    """Who entered which version of a site's ledger when and why."""
    from devices.instants import format_instant

    with _desk(data_dir) as desk:
        for one in desk.ledger_history(site):
            times = f"{format_instant(one.recorded_ms)}\tvalid from {format_instant(one.valid_from_ms)}"
            typer.echo(f"{one.version}\t{times}\t{one.actor}\t{one.reason}")


@ledger.command("not-monitored")
def list_not_monitored(site: SiteId, data_dir: DataDir = DATA_DIR) -> None:
    """Entries of the ledger that never reported, and devices that no ledger names."""
    with _desk(data_dir) as desk:
        found = desk.not_monitored(site)
        for silent in found.silent:
            typer.echo(f"{silent.kind}\t{silent.id}\t{silent.device or '-'}\t{silent.why}")
        for device in found.unlisted:
            typer.echo(f"device\t{device.device}\t{device.gateway}\tin-no-ledger")


@entering.command("enter")
def enter_input(
    site: SiteId, kind: Kind, name: Name, *,
    document: Annotated[str, typer.Option(help="JSON, or @FILE.")],
    from_: Annotated[str, typer.Option("--from", help="RFC 3339.")],
    actor: Actor,
    reason: Reason,
    to: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    data_dir: DataDir = DATA_DIR,
) -> None:  # fmt: skip
    """Enter a thing, or a further version of it: docs/ledger.md says what each kind is about."""
    from cloud.aggregator import server_now_ms
    from cloud.facts.desk import Wish
    from devices.document import read_text

    with _desk(data_dir) as desk:
        text = read_text(Path(document[1:])) if document.startswith("@") else document
        wish = Wish(text, actor, reason, _instant(from_), None if to is None else _instant(to))
        typer.echo(_line(desk.enter(site, kind, name, wish, server_now_ms())))


@entering.command("withdraw")
def withdraw_input(
    site: SiteId, kind: Kind, name: Name, *, actor: Actor, reason: Reason, data_dir: DataDir = DATA_DIR
) -> None:
    """Take a thing back; its versions stay in the trail."""
    from cloud.aggregator import server_now_ms

    with _desk(data_dir) as desk:
        typer.echo(_line(desk.withdraw(site, kind, name, actor=actor, reason=reason, now_ms=server_now_ms())))


@entering.command("list")
def list_inputs(site: SiteId, data_dir: DataDir = DATA_DIR) -> None:
    """The audit trail of a site: everything that was entered, oldest first."""
    with _desk(data_dir) as desk:
        after = 0
        while page := desk.trail(site, after, 500):
            for one in page:
                typer.echo(_line(one))
            after = page[-1].entry


def _line(one: "Input") -> str:
    from devices.instants import format_instant

    until = "" if one.valid_to_ms is None else format_instant(one.valid_to_ms)
    valid = f"{format_instant(one.valid_from_ms)}/{until}"
    what = "withdrawn" if one.withdrawn else one.document
    who = f"{format_instant(one.recorded_ms)}\t{one.actor}\t{one.reason}"
    return f"{one.kind}\t{one.id}\t{one.version}\t{valid}\t{who}\t{what}"


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _instant(text: str) -> int:
    from devices.instants import parse_instant

    try:
        return parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise WrongOption(str(error)) from error
