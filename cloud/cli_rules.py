"""`gatehouse rules`: the alert rules, the check of own ones, and what they would have said of the last days."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from cloud.cli_reporting import DATA_DIR, EXIT_FAILURE, DataDir, reporting
from devices.document import read_text
from devices.errors import Permanent
from devices.expectations import nearest_key
from devices.rules import Rule, known_rules, load_rules, packaged_rules, parse_site_rules, rules_of_site

EXIT_USAGE = 2
DAY_MS = 86_400_000
_COLUMNS = ("id", "severity", "kind", "delay", "at", "mode")

app = typer.Typer(no_args_is_help=True, help="The alert rules, and what they would have said of the last days.")

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A pack, or a site's overrides and own rules.")]


class NotKnown(Permanent):
    """Something was named that is not there."""


@app.command("list")
def list_rules(*, as_json: Json = False) -> None:
    """Every packaged rule: id, colour, kind, on-delay, who evaluates it, mode."""
    rules = list(known_rules().values())
    if as_json:
        typer.echo(json.dumps([json.loads(rule.model_dump_json(exclude_defaults=True)) for rule in rules], indent=1))
        return
    rows = [_row(rule) for rule in rules]
    widths = [max(len(row[column]) for row in [_COLUMNS, *rows]) for column in range(len(_COLUMNS))]
    for row in [_COLUMNS, *rows]:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(rule: Rule) -> tuple[str, ...]:
    return rule.id, rule.severity.value, rule.when.kind, f"{rule.on_delay:g} s", rule.at.value, rule.mode.value


@app.command()
def show(rule_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """One packaged rule with everything in it, as JSON."""
    rules = known_rules()
    if rule_id not in rules:
        typer.echo(f"unknown rule {rule_id!r}{nearest_key(rule_id, list(rules))}", err=True)
        raise typer.Exit(EXIT_USAGE)
    typer.echo(rules[rule_id].model_dump_json(indent=1, exclude_defaults=True))


@app.command()
def check(file: File) -> None:
    """Look for mistakes; each is named with its line and column."""
    with reporting("rules"):
        rules = _rules_in(file)
        unknown, wrong = _unknown_roles(rules), list(_unknown_names(rules))
    for rule, problem in wrong:
        typer.echo(f"{file}: {rule}: {problem}", err=True)
    if wrong:
        raise typer.Exit(EXIT_FAILURE)
    typer.echo(f"{file}: fine: {len(rules)} rules hold")
    for rule, role in unknown:
        typer.echo(f"{file}: {rule}: no packaged profile has {role!r}; a profile of the site must")


@app.command("reference")
def print_reference() -> None:
    """The reference page of the packaged rules in Markdown."""
    from devices.rule_reference import reference

    typer.echo(reference(packaged_rules()), nl=False)


@app.command()
def enter(
    file: File,
    actor: Annotated[str, typer.Option(help="Who enters it.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    site: Annotated[str, typer.Option(help="The site it is for; * is every site.")] = "*",
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Make overrides and own rules those of a site. Works while the aggregator runs, which takes them up in seconds."""
    from cloud.aggregator import server_now_ms
    from cloud.alerts.site_rules import enter_rules
    from cloud.facts.database import open_database, reading
    from cloud.facts.inputs import EVERY_SITE
    from cloud.facts.ledgers import sites_with_ledger
    from cloud.settings import Places

    with reporting("rules"):
        _must_exist(data_dir)
        facts = open_database(Places(data_dir).facts)
        with reading(facts) as connection:
            known = [EVERY_SITE, *sites_with_ledger(connection)]
        if site not in known:
            facts.dispose()
            raise NotKnown(f"there is no site {site!r}{nearest_key(site, known)}")
        text = read_text(file)
        one = enter_rules(facts, site, text, str(file), actor=actor, reason=reason, now_ms=server_now_ms())
        facts.dispose()
    typer.echo(f"rules of {site}: version {one.version}")


@app.command()
def trials(
    rule: Annotated[str, typer.Argument(metavar="ID")],
    site: Annotated[str, typer.Option(help="The site.")],
    data_dir: DataDir = DATA_DIR,
) -> None:
    """What a rule on trial (mode: shadow) has said, newest first. Works while the aggregator runs."""
    from cloud.alerts.trials import TrialRecord
    from cloud.facts.database import open_database
    from cloud.settings import Places
    from devices.instants import format_instant

    with reporting("rules"):
        facts = open_database(Places(data_dir).facts)
        for one in TrialRecord(facts).of_rule(site, rule):
            typer.echo(f"{format_instant(one.since_ms)}  {'begins' if one.active else 'ends':6}  {one.thing}")
        facts.dispose()


@app.command("test")
def rehearse_rules(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="As for check; else the packaged rules.")
    ] = None,
    data_dir: DataDir = DATA_DIR,
    site: Annotated[str | None, typer.Option(help="One site; else all.")] = None,
    days: Annotated[int, typer.Option(help="How many days back.", min=1, max=366)] = 7,
    only: Annotated[str | None, typer.Option("--rule", help="One rule.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """List what rules would have raised over the last days, by the frames in the log.

    Calls nobody and writes nothing. The aggregator must not be running.
    """
    with reporting("rules"):
        rules = known_rules() if file is None else _rules_in(file)
        _must_exist(data_dir)
        if only is not None and only not in rules:
            raise NotKnown(f"there is no rule {only!r}{nearest_key(only, list(rules))}")
        if only is not None:
            rules = {name: rule for name, rule in rules.items() if name == only}
        found = _rehearsed(data_dir, rules, site, days)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for one in found:
        ended = one["to"] or "goes on"
        typer.echo(f"{one['from']}  {ended:24}  {one['severity']:6}  {one['site']}  {one['rule']}  {one['thing']}")
    typer.echo(f"{len(found)} alerts in {days} days")
    for name, count in Counter(one["rule"] for one in found).most_common():
        typer.echo(f"  {count:5} {name}")


def _rehearsed(data_dir: Path, rules: Mapping[str, Rule], site: str | None, days: int) -> list[dict[str, str | None]]:
    from cloud.aggregator import server_now_ms
    from cloud.alerts.rehearsal import opened, rehearse
    from cloud.settings import owning
    from devices.instants import format_instant

    with owning(data_dir) as places, opened(places.log, places.gateways, places.facts, places.history) as (past, watch):
        now_ms = server_now_ms()
        sites = [one for one in watch.sites() if site in {None, one}]
        if site is not None and not sites:
            raise NotKnown(f"there is no site {site!r}{nearest_key(site, list(watch.sites()))}")
        found = asyncio.run(rehearse(past, watch, rules, (now_ms - days * DAY_MS, now_ms), sites))
    return [
        {
            "site": one.site, "rule": one.rule, "severity": one.severity, "thing": one.thing,
            "from": format_instant(one.from_ms), "to": None if one.to_ms is None else format_instant(one.to_ms),
        } for one in found
    ]  # fmt: skip


def _rules_in(file: Path) -> dict[str, Rule]:
    """Of a pack its rules; of a site's document the packaged rules with its changes."""
    text = read_text(file)
    if any(line.startswith(("id:", "version:")) for line in text.splitlines()):
        return {rule.id: rule for rule in load_rules(file).rules}
    return rules_of_site(known_rules(), parse_site_rules(text, str(file)))


def _must_exist(data_dir: Path) -> None:
    """Nothing is made by asking. Raises NotKnown."""
    if not data_dir.is_dir():
        raise NotKnown(f"there is no folder {data_dir}")


def _unknown_names(rules: Mapping[str, Rule]) -> Iterator[tuple[str, str]]:
    """What own rules name that is nowhere: rule by rule, with the nearest one that is."""
    from cloud.indicators.registry import indicator_ids
    from cloud.ingest.integrity import IntegrityKind

    kinds, indicators = [kind.value for kind in IntegrityKind], list(indicator_ids())
    every = list({**known_rules(), **rules})
    for rule in rules.values():
        one = getattr(rule.when, "indicator", None)
        asked = [one] if one is not None else getattr(rule.when, "indicators", ())
        for what, named, known in (
            ("rule", getattr(rule.when, "rules", ()), every),
            ("kind of event", getattr(rule.when, "events", ()), kinds),
            ("indicator", asked, indicators),
        ):
            for name in named:
                if name not in known:
                    yield rule.id, f"there is no {what} {name!r}{nearest_key(name, known)}"


def _unknown_roles(rules: Mapping[str, Rule]) -> list[tuple[str, str]]:
    from devices.profile import load_profiles

    profiles = load_profiles().values()
    signals = {name for profile in profiles for name in profile.profile.signals}
    measures = {name for profile in profiles for name in profile.profile.measures}
    packaged = known_rules()
    found = []
    for rule in rules.values():
        if packaged.get(rule.id) is rule:
            continue
        found += [(rule.id, name) for name in getattr(rule.when, "signals", ()) if name not in signals]
        measure = getattr(rule.when, "measure", None)
        found += [(rule.id, measure)] if measure is not None and measure not in measures else []
    return found
