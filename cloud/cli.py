"""`gatehouse cloud`: the aggregator from the command line."""

import os
import sys
from typing import Annotated

import typer

from cloud.cli_access import key, user
from cloud.cli_indicators import indicator, reinterpret
from cloud.cli_ledger import entering, ledger
from cloud.cli_reporting import DATA_DIR, DataDir, reporting

PUBLIC_URL = "GATEHOUSE_PUBLIC_URL"

app = typer.Typer(no_args_is_help=True, help="The aggregator: takes frames, computes indicators, serves the page.")
gateway = typer.Typer(no_args_is_help=True, help="Gateways and their keys. Works while the aggregator runs.")
set_aside = typer.Typer(no_args_is_help=True, help="Frames in the log that could not be used.")
parked = typer.Typer(no_args_is_help=True, help="Frames whose times wait for the fix of their clock run.")
app.add_typer(gateway, name="gateway")
app.add_typer(ledger, name="ledger")
app.add_typer(entering, name="input")
app.add_typer(indicator, name="indicator")
app.add_typer(set_aside, name="set-aside")
app.add_typer(parked, name="parked")
app.add_typer(user, name="user")
app.add_typer(key, name="key")


@app.command("run")
def run_aggregator(
    data_dir: DataDir = DATA_DIR,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 lets the system choose.", min=0, max=65535)] = 8080,
    sign_in: Annotated[
        bool | None,
        typer.Option("--sign-in/--open", help="Ask who it is. Left out: everywhere but on a loopback address."),
    ] = None,
) -> None:
    """Run the aggregator until SIGINT or SIGTERM.

    Who may sign in is said with `gatehouse cloud user add`. GATEHOUSE_PUBLIC_URL is where people find the pages:
    messages to them then carry links.

    With GATEHOUSE_INFLUX_URL (and GATEHOUSE_INFLUX_TOKEN, _ORG, _BUCKET) in the environment history is written
    to an InfluxDB 2 as well.
    """
    from cloud.aggregator import run
    from cloud.settings import Settings, influx_from

    with reporting():
        run(Settings(data_dir, host, port, influx_from(os.environ), sign_in, os.environ.get(PUBLIC_URL, "")))


app.command("reinterpret")(reinterpret)


@app.command("rebuild")
def rebuild_derived(data_dir: DataDir = DATA_DIR) -> None:
    """Compute all that is derived from the log again, and list where kept results differ.

    The aggregator must not be running.
    """
    from cloud.aggregator import rebuild
    from devices.instants import format_instant

    with reporting():
        frames, found = rebuild(data_dir)
        typer.echo(f"{frames} frames read from the log")
        for table, site, device in found.changed:
            typer.echo(f"not as it was before: {table} of {device} at {site}")
        for one in found.differences:
            kept, now = ("null" if value is None else f"{float(value):.6f}" for value in one.values)
            window = f"{format_instant(one.window.from_ms)} to {format_instant(one.window.to_ms)}"
            typer.echo(f"differs: {one.indicator} of {one.site}, {window}: kept {kept}, computed {now}")
        typer.echo(f"{found.results} kept results, {len(found.differences)} differ")


@gateway.command("add")
def add_gateway(
    name: Annotated[str, typer.Argument(metavar="GATEWAY", help="The id in the gateway's site.yaml.")],
    site: Annotated[str, typer.Option(help="The site it belongs to.")],
    public_key: Annotated[str, typer.Option(help="What `gatehouse edge key` printed.")],
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Let a gateway deliver, or give it a further key."""
    from cloud.aggregator import server_now_ms
    from cloud.ingest.gateways import GatewayRegister, parse_public_key
    from cloud.settings import Places

    with reporting():
        key = parse_public_key(public_key)
        register = GatewayRegister(Places(data_dir).gateways)
        try:
            register.add(name, site, key, server_now_ms())
        finally:
            register.close()


@gateway.command("list")
def list_gateways(data_dir: DataDir = DATA_DIR) -> None:
    """Gateways with their sites and the ids of their keys."""
    from cloud.ingest.gateways import GatewayRegister
    from cloud.settings import Places

    register = GatewayRegister(Places(data_dir).gateways)
    for one in register.all():
        keys = " ".join(f"{key.id}{'' if key.revoked_ms is None else ' (revoked)'}" for key in one.keys)
        typer.echo(f"{one.id}\t{one.site}\t{keys}")
    register.close()


@set_aside.command("list")
def list_set_aside(data_dir: DataDir = DATA_DIR) -> None:
    """Frames that are in the log but not in the facts, and why."""
    from cloud.facts.database import open_database
    from cloud.facts.progress import frames_set_aside
    from cloud.settings import Places
    from devices.instants import format_instant

    with reporting():
        data_dir.mkdir(parents=True, exist_ok=True)
        facts = open_database(Places(data_dir).facts)
        for one in frames_set_aside(facts):
            name = f"{one.gateway or '?'} {one.lane} {one.epoch.hex() or '?'} {'?' if one.seq is None else one.seq}"
            typer.echo(f"{format_instant(one.received_ms)}\t{name}\t{one.reason}")
        facts.dispose()


@parked.command("list")
def list_parked(data_dir: DataDir = DATA_DIR) -> None:
    """Frames that are stored but say nothing yet, because it is not known when they were sealed, and why not."""
    from cloud.facts.database import open_database
    from cloud.facts.parked import parked_frames
    from cloud.settings import Places
    from devices.instants import format_instant

    with reporting():
        data_dir.mkdir(parents=True, exist_ok=True)
        facts = open_database(Places(data_dir).facts)
        for one in parked_frames(facts):
            name = one.identity
            why = one.problem or f"waits for the fix of clock run {one.clock_run.hex()}"
            frame = f"{name.gateway} {name.lane} {name.epoch.hex()} {name.seq}"
            typer.echo(f"{format_instant(one.received_ms)}\t{frame}\t{why}")
        facts.dispose()


if __name__ == "__main__":
    sys.exit(app())
