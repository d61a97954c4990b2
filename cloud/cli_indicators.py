"""`gatehouse explain` and what `gatehouse cloud` says of numbers: reinterpret, define, values."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

import typer

from cloud.cli_reporting import DATA_DIR, DataDir, reporting
from devices.errors import Permanent
from devices.instants import parse_instant

if TYPE_CHECKING:
    from cloud.indicators.desk import IndicatorDesk

ANSWER_S = 60.0
EXIT_UNREACHABLE = 4
indicator = typer.Typer(no_args_is_help=True, help="Indicators that people tell. Works while the aggregator runs.")
SiteId = Annotated[str, typer.Argument(metavar="SITE")]
IndicatorId = Annotated[str, typer.Argument(metavar="INDICATOR")]
From = Annotated[str, typer.Option("--from", help="RFC 3339 with a zone, like 2026-05-01T00:00:00+08:00.")]
To = Annotated[str, typer.Option("--to", help="The end, not included.")]
Actor = Annotated[str, typer.Option(help="Who enters it.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the audit trail.")]


class WrongAnswer(Permanent):
    """Something that cannot be asked or read."""


@contextmanager
def _desk(data_dir: Path) -> "Iterator[IndicatorDesk]":
    from cloud.aggregator import server_now_ms
    from cloud.facts.database import open_database
    from cloud.facts.store import FactStore
    from cloud.indicators.desk import IndicatorDesk
    from cloud.settings import Places

    with reporting():
        if not Places(data_dir).facts.exists():
            raise WrongAnswer(f"there is no aggregator's data in {data_dir}")
        facts = open_database(Places(data_dir).facts)
        try:
            yield IndicatorDesk(FactStore(facts, eager=False), server_now_ms)
        finally:
            facts.dispose()


def explain(
    site: SiteId,
    name: IndicatorId,
    *,
    from_: From,
    to: To,
    url: Annotated[str | None, typer.Option(help="A running aggregator, like http://127.0.0.1:8080.")] = None,
    key: Annotated[
        str | None, typer.Option(help="An integration key, where it asks who it is.", envvar="GATEHOUSE_KEY")
    ] = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Print everything a number is made of as JSON: formula, terms, times of every thing, inputs, frames."""
    if url is not None:
        with reporting():
            typer.echo(json.dumps(_asked(url, site, name, (from_, to), key), ensure_ascii=False, indent=1))
        return
    with _desk(data_dir) as desk:
        from cloud.api.indicator_json import outside

        ledger = desk.ledger(site)
        if ledger is None:
            raise WrongAnswer(f"there is no site {site!r}")
        found = desk.explain(ledger, name, (_moment(from_), _moment(to)))
        typer.echo(json.dumps(outside(found), ensure_ascii=False, indent=1))


def _asked(url: str, site: str, name: str, span: tuple[str, str], key: str | None) -> Any:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise WrongAnswer(f"{url!r} is no http address")
    query = urlencode({"from": span[0], "to": span[1]})
    address = f"{url.rstrip('/')}/api/v1/sites/{quote(site, safe='')}/indicators/{quote(name, safe='')}/explain?{query}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urlopen(Request(address, headers=headers), timeout=ANSWER_S) as answer:  # noqa: S310 - http or https, see above
            return json.load(answer)
    except HTTPError as error:
        raise WrongAnswer(_detail(error)) from error
    except (URLError, TimeoutError, ValueError) as error:
        typer.echo(f"gatehouse explain: {url} does not answer: {error}", err=True)
        raise typer.Exit(EXIT_UNREACHABLE) from None


def _detail(error: HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the aggregator answers {error.code}"


def _moment(text: str) -> int:
    try:
        return parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise WrongAnswer(f"{text!r}: {error}") from error


def reinterpret(
    device: Annotated[str, typer.Argument(metavar="DEVICE")],
    *,
    site: Annotated[str, typer.Option(help="The site it belongs to.")],
    profile: Annotated[str, typer.Option(help="A packaged profile's id, or a profile file.")],
    from_: From,
    to: To,
    reason: Reason,
    actor: Actor = "cli",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Read what a device said in a stretch of time by another profile; the aggregator derives those days again."""
    from cloud.aggregator import server_now_ms
    from cloud.facts.database import open_database, writing
    from cloud.facts.reinterpreting import reinterpret as enter_reinterpretation
    from cloud.settings import Places
    from devices.profile import load_profiles

    with reporting():
        path = Path(profile)
        known = load_profiles()
        if profile not in known and not path.is_file():
            raise WrongAnswer(f"there is neither a packaged profile nor a file {profile!r}")
        text = known[profile].text if profile in known else path.read_text(encoding="utf-8")
        facts = open_database(Places(data_dir).facts)
        try:
            with writing(facts) as connection:
                done = enter_reinterpretation(
                    connection, site, device, text, (_moment(from_), _moment(to)), actor=actor, reason=reason,
                    now_ms=server_now_ms(),
                )  # fmt: skip
        finally:
            facts.dispose()
        typer.echo(f"{device} is read by {profile}, version {done.entry.version}")
        for point in done.lacking:
            typer.echo(f"UNKNOWN where it needs {point}: no frame of that time holds it")


@indicator.command("define")
def define_indicator(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)],
    *,
    reason: Reason,
    site: Annotated[str | None, typer.Option(help="For one site; for every one without.")] = None,
    actor: Actor = "cli",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Say what an imported indicator is (YAML, docs/indicators.md)."""
    from cloud.facts.inputs import EVERY_SITE
    from cloud.indicators.entering import Word
    from cloud.indicators.imported import ImportedDefinition
    from devices.document import parse_document

    with _desk(data_dir) as desk:
        definition = parse_document(file.read_text(encoding="utf-8"), str(file), ImportedDefinition)
        entered = desk.define(site or EVERY_SITE, definition, Word(actor, reason, desk.now()))
        typer.echo(f"{entered.id}, version {entered.version}")


@indicator.command("values")
def import_values(
    site: SiteId,
    name: IndicatorId,
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)],
    *,
    reason: Reason,
    actor: Actor = "cli",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Enter values from a CSV file: period (2026-05) or from and to, value or numerator and denominator."""
    from cloud.api.indicator_bodies import rows_of, values_of
    from cloud.indicators.entering import Word

    with _desk(data_dir) as desk:
        ledger = desk.ledger(site)
        if ledger is None:
            raise WrongAnswer(f"there is no site {site!r}")
        _, rows = rows_of("text/csv", file.read_bytes(), {})
        values = values_of(name, rows, ledger.site.time_zone, "imported")
        entered = desk.tell(site, name, values, Word(actor, reason, desk.now()))
        typer.echo(f"{len(entered)} values of {name}")
