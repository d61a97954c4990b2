"""`gatehouse audit`: packages of evidence, their check, and spot checks."""

from pathlib import Path
from typing import Annotated

import typer

from cloud.cli_reporting import DATA_DIR, EXIT_FAILURE, DataDir, reporting

app = typer.Typer(no_args_is_help=True, help="Evidence that can be taken away, and checked without us.")
SHOWN_MAX = 50
When = Annotated[str, typer.Option(help="RFC 3339, like 2026-05-01T00:00:00+08:00.")]


@app.command("export")
def export_package(
    site: Annotated[str, typer.Argument(help="Id of the site.")],
    from_: Annotated[str, typer.Option("--from", help="Beginning, RFC 3339, like 2026-05-01T00:00:00+08:00.")],
    to: When,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    *,
    days_before: Annotated[
        int | None, typer.Option(help="An excerpt: only what was received since so many days before the window.", min=1)
    ] = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Write a signed package. The aggregator must not be running; a running one gives packages over its API.

    It holds every frame since the first, so that each number can be computed again. An excerpt is smaller; from it
    that may not be possible.
    """
    from cloud.aggregator import server_now_ms
    from cloud.evidence.package import Scope, Sources, deployment_key, export
    from cloud.facts.database import open_database
    from cloud.ingest.gateways import GatewayRegister
    from cloud.ingest.log_segments import SegmentLog
    from cloud.settings import owning
    from devices.instants import parse_instant
    from devices.version import software_version

    try:
        window = parse_instant(from_), parse_instant(to)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if window[0] >= window[1]:
        raise typer.BadParameter("--to must be later than --from")
    with reporting(), owning(data_dir) as places:
        facts, keys, log = open_database(places.facts), GatewayRegister(places.gateways), SegmentLog(places.log)
        try:
            key = deployment_key(places.audit_key)
            sources = Sources(facts, log, keys, key, software_version(), server_now_ms)
            scope = Scope(site, *window, lookback_days=days_before)
            count = export(sources, scope, out)
        finally:
            log.close()
            keys.close()
            facts.dispose()
    typer.echo(f"{count} frames, signed with {key.public_key().public_bytes_raw().hex()}")
    typer.echo(f"Check it anywhere: gatehouse audit verify {out} --key THAT_KEY", err=True)


@app.command("key")
def show_key(data_dir: DataDir = DATA_DIR) -> None:
    """Print the public half of the key that packages are signed with: give it to auditors beforehand."""
    from cloud.evidence.package import deployment_key
    from cloud.settings import Places

    with reporting():
        data_dir.mkdir(parents=True, exist_ok=True)
        typer.echo(deployment_key(Places(data_dir).audit_key).public_key().public_bytes_raw().hex())


@app.command("verify")
def verify_package(
    package: Annotated[Path, typer.Argument(help="The package.", exists=True, dir_okay=False)],
    key: Annotated[str | None, typer.Option(help="The deployment's public key, as you were told it.")] = None,
    root: Annotated[
        list[str] | None, typer.Option(help="A daily root known from elsewhere: 2026-05-01=HEX. Repeatable.")
    ] = None,
    gateway_key: Annotated[
        list[str] | None, typer.Option(help="A public key that a gateway is known to have: GATEWAY=HEX. Repeatable.")
    ] = None,
) -> None:
    """Check a package, without our database and without a network; exit code 1 when anything is wrong.

    Every frame's signature, chain and gaps, daily roots, records; then every indicator is computed again.
    """
    from cloud.evidence.recompute import recompute
    from cloud.evidence.verify import Known, unpack, verify

    with reporting():
        contents = unpack(package)
        verdict = verify(contents, Known(key, _by_gateway(gateway_key or []), dict(map(_pair, root or []))))
        computed = recompute(contents, verdict)
    for finding in verdict.findings[:SHOWN_MAX]:
        typer.echo(finding)
    if len(verdict.findings) > SHOWN_MAX:
        typer.echo(f"and {len(verdict.findings) - SHOWN_MAX} more")
    for gap in verdict.gaps[:SHOWN_MAX]:
        typer.echo(gap, err=True)
    looked = f"{verdict.frames} frames, {verdict.days} days, {verdict.results} records, {computed} indicators computed"
    typer.echo(f"{looked}: {'sound' if verdict.is_sound else 'NOT SOUND'}")
    if key is None:
        typer.echo(f"Signed by {contents.manifest['key']}: compare with the key that you were told.", err=True)
    if not verdict.is_sound:
        raise typer.Exit(EXIT_FAILURE)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise typer.BadParameter(f"{text!r}: expected NAME=HEX")
    return name, value.lower()


def _by_gateway(texts: list[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name, key in map(_pair, texts):
        found.setdefault(name, set()).add(key)
    return {name: frozenset(keys) for name, keys in found.items()}


@app.command("sample")
def draw_sample(
    site: Annotated[str, typer.Argument(help="Id of the site.")],
    seed: Annotated[str, typer.Option(help="Said before anybody looks; the same seed draws the same sample.")],
    percent: Annotated[int, typer.Option(help="Share of the equipment, at least 20.")] = 20,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Print the equipment that is to be looked at in a spot check, in the order of the draw."""
    from cloud.evidence.spot_checks import sample
    from cloud.facts.database import open_database
    from cloud.facts.store import FactStore
    from cloud.settings import Places
    from devices.errors import Permanent

    with reporting():
        facts = open_database(Places(data_dir).facts)
        try:
            ledger = FactStore(facts).ledger(site)
            if ledger is None:
                raise Permanent(f"there is no site {site!r}")
            for thing in sample(seed, [one.id for one in ledger.equipment], percent):
                typer.echo(thing)
        finally:
            facts.dispose()
