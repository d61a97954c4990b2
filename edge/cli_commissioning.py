"""`gatehouse edge plan|check|try|scan|explain`: what is asked, whether it fits, what devices answer."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from devices.document import read_text
from devices.errors import ConfigurationError, Permanent
from devices.instants import format_instant
from devices.point import Function
from edge.cli_running import (
    EXIT_CONFIGURATION,
    EXIT_FAILURE,
    EXIT_UNREACHABLE,
    SiteFile,
    reporting,
    run,
)
from edge.commissioning.address import server_at
from edge.commissioning.decodings import Decoding, decodings, text_of
from edge.commissioning.examination import Finding, Weight, examine
from edge.commissioning.forecast import BUSY_WARNED, BusLoad, PlannedRead, bus_loads, planned_reads
from edge.config import BUS_UNIT_MAX, UNIT_MAX, ModbusServer, load_site

if TYPE_CHECKING:
    from edge.commissioning.trial import Tried

SILENT_S = 0.3  # that a unit id may stay silent in a scan; devices that are there answer within 0.1 s
SAME_FOR_ALL_MIN = 4  # so many neighbours that all answer alike are one device
REGISTERS_MAX = 125
PLAUSIBLE = 0.3  # a decoding below that is shown dimmed
WIDTH = 120  # of tables that go into a pipe or a file

commissioning = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
Where = Annotated[str, typer.Argument(metavar="WHERE", help="HOST, HOST:PORT or the path of a serial port.")]
Rtu = Annotated[bool, typer.Option("--rtu", help="HOST is a converter that passes RTU frames on.")]
Baudrate = Annotated[int, typer.Option(min=300, help="Of the serial line.")]


class Parity(StrEnum):
    """Of the serial line."""

    N = "N"
    E = "E"
    O = "O"  # noqa: E741 - the letter that everybody uses


class RegisterTable(StrEnum):
    """The tables of registers."""

    HOLDING = "holding"
    INPUT = "input"


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False))


@commissioning.command()
def plan(site_file: SiteFile, *, as_json: AsJson = False) -> None:
    """Show every request that this site.yaml makes the agent send, and what it costs the bus."""
    with reporting():
        site = load_site(site_file)
        reads = planned_reads(site)
    loads = bus_loads(site.config.connections, reads)
    if as_json:
        _print_json(
            [
                asdict(load) | {"reads": [asdict(read) for read in reads if read.connection == load.connection]}
                for load in loads
            ]
        )
        return
    console = _console()
    if not loads:
        console.print("nothing is polled: every device of this site sends by itself")
    for load in loads:
        console.print(_plan_table(load, [read for read in reads if read.connection == load.connection]))


def _plan_table(load: BusLoad, reads: list[PlannedRead]) -> Table:
    title = f"{load.connection} at {load.where}: {load.requests_per_s:.3g} requests/s, busy {load.busy:.1%}"
    table = Table(title=title, title_justify="left")
    for heading in ("device", "unit", "every", "table", "addresses", "count", "ms", "points"):
        table.add_column(heading, justify="right" if heading in {"unit", "every", "count", "ms"} else "left")
    for read in reads:
        last = read.address + read.count - 1
        table.add_row(
            read.device,
            str(read.unit),
            f"{read.interval_s:g} s",
            read.function,
            f"{read.address}" if read.count == 1 else f"{read.address}-{last}",
            str(read.count),
            f"{1000 * read.takes_s:.0f}",
            ", ".join(read.points),
        )
    return table


@commissioning.command()
def check(site_file: SiteFile, *, as_json: AsJson = False) -> None:
    """Find what is wrong with a site.yaml before it runs: mistakes, and buses that cannot keep their intervals."""
    findings: list[Finding] = []
    loads: list[BusLoad] = []
    devices = 0
    with reporting():
        try:
            site = load_site(site_file)
            findings = examine(site, site_file, read_text(site_file))
            loads = bus_loads(site.config.connections, planned_reads(site))
            devices = len(site.devices)
        except ConfigurationError as error:
            findings = [Finding(Weight.ERROR, problem) for problem in error.problems]
    wrong = any(finding.weight is Weight.ERROR for finding in findings)
    if as_json:
        found = [{"weight": finding.weight, **asdict(finding.problem)} for finding in findings]
        _print_json({"ok": not wrong, "findings": found, "buses": [asdict(load) for load in loads]})
    else:
        for finding in findings:
            typer.echo(f"{finding.weight}: {finding.problem}", err=finding.weight is Weight.ERROR)
        for load in loads:
            room = "" if load.busy <= BUSY_WARNED else "  <- see above"
            typer.echo(f"{load.connection} at {load.where}: busy {load.busy:.1%} of the time{room}")
        if not wrong:
            typer.echo(f"{site_file} can be used: {devices} devices")
    if wrong:
        raise typer.Exit(EXIT_CONFIGURATION)


@commissioning.command("try")
def try_once(
    site_file: SiteFile,
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to wait for messages of MQTT devices.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Read everything once, live, and show it. Nothing is kept, nothing is sent to the cloud."""
    from edge.clock import Clock
    from edge.commissioning.trial import try_site

    with reporting():
        site = load_site(site_file)
        trial = run(lambda: try_site(site, Clock().now, seconds))
    if as_json:
        _print_json(
            {
                "readings": [
                    asdict(tried) | {"time": None if tried.time_ms is None else format_instant(tried.time_ms)}
                    for tried in trial.points
                ],
                "problems": trial.problems,
            }
        )
    else:
        _console().print(_trial_table(trial.points))
    for problem in trial.problems:
        typer.echo(f"gatehouse edge: {problem}", err=True)
    bad = [tried for tried in trial.points if not tried.is_good]
    if bad and not as_json:
        typer.echo(f"gatehouse edge: {len(bad)} of {len(trial.points)} points gave no value", err=True)
    if trial.problems or any(tried.is_silent for tried in bad):
        raise typer.Exit(EXIT_UNREACHABLE)
    if bad:
        raise typer.Exit(EXIT_FAILURE)


def _trial_table(points: Sequence["Tried"]) -> Table:
    table = Table()
    for heading in ("device", "point", "value", "unit", "quality", "time"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for (device, _), group in groupby(points, lambda tried: (tried.device, tried.is_silent)):
        rows = list(group)
        if rows[0].is_silent:
            table.add_row(device, f"{len(rows)} points", "", "", rows[0].quality, "", style="red")
            continue
        for tried in rows:
            value = tried.text if tried.value is None else f"{tried.value:.7g}"
            value += f" ({tried.text})" if tried.text and tried.value is not None else ""
            time = "" if tried.time_ms is None else format_instant(tried.time_ms)[11:]
            style = None if tried.is_good else "red"
            table.add_row(device, tried.point, value, tried.unit, tried.quality, time, style=style)
    return table


def _server(
    where: str, *, rtu: bool, baudrate: int, parity: Parity = Parity.N, stopbits: int = 1, timeout_s: float = 1.0
) -> ModbusServer:
    letter: Literal["N", "E", "O"] = parity.value
    bits: Literal[1, 2] = 2 if stopbits == 2 else 1
    try:
        return server_at(where, rtu=rtu, baudrate=baudrate, parity=letter, stopbits=bits, timeout_s=timeout_s)
    except Permanent as error:
        raise typer.BadParameter(str(error), param_hint="WHERE") from error


@commissioning.command()
def scan(
    where: Where,
    *,
    first: Annotated[int, typer.Option("--from", min=0, max=UNIT_MAX, help="The first unit id.")] = 1,
    last: Annotated[int, typer.Option("--to", min=0, max=UNIT_MAX, help="The last unit id.")] = BUS_UNIT_MAX,
    register: Annotated[int, typer.Option(min=0, max=65_535, help="The register that is read.")] = 0,
    timeout: Annotated[float, typer.Option(min=0.01, max=60, help="Seconds that a unit may stay silent.")] = SILENT_S,
    rtu: Rtu = False,
    baudrate: Baudrate = 9600,
    parity: Parity = Parity.N,
    stopbits: Annotated[int, typer.Option(min=1, max=2)] = 1,
    as_json: AsJson = False,
) -> None:
    """Find the unit ids that answer, by reading one register of each. Nothing is ever written."""
    from edge.commissioning.asking import FoundUnit, scan

    if last < first:
        raise typer.BadParameter("--to is less than --from")
    server = _server(where, rtu=rtu, baudrate=baudrate, parity=parity, stopbits=stopbits, timeout_s=timeout)
    units = range(first, last + 1)

    async def search() -> list[FoundUnit]:
        found = []
        async for searched in scan(server, units, register):
            if searched.found is not None:
                found.append(searched.found)
                if not as_json:
                    typer.echo(f"unit {searched.unit}: {searched.found.answer}")
        return found

    if not as_json:
        typer.echo(
            f"asking the units {first} to {last} at {server.name}, at most {len(units) * timeout:.0f} s", err=True
        )
    with reporting():
        found = run(search)
    if as_json:
        _print_json({"where": server.name, "from": first, "to": last, "units": [asdict(one) for one in found]})
    elif found and len(found) == len(units) >= SAME_FOR_ALL_MIN:
        typer.echo("every unit id was answered: this is probably one device that ignores unit ids", err=True)
    if not found:
        typer.echo(f"gatehouse edge: no unit from {first} to {last} answers at {server.name}", err=True)
        raise typer.Exit(EXIT_UNREACHABLE)


@commissioning.command()
def explain(
    where: Where,
    unit: Annotated[int, typer.Argument(metavar="UNIT", min=0, max=UNIT_MAX, help="The device's unit id.")],
    register: Annotated[
        str, typer.Argument(metavar="REGISTER", help="The address as it is sent, from 0: 300 or 0x12C.")
    ],
    *,
    count: Annotated[int, typer.Option(min=1, max=REGISTERS_MAX, help="How many registers are read.")] = 2,
    function: Annotated[RegisterTable, typer.Option(help="The table of the register.")] = RegisterTable.HOLDING,
    rtu: Rtu = False,
    baudrate: Baudrate = 9600,
    parity: Parity = Parity.N,
    stopbits: Annotated[int, typer.Option(min=1, max=2)] = 1,
    as_json: AsJson = False,
) -> None:
    """Read some registers and show every value they can mean; the likely one is marked."""
    from edge.commissioning.asking import read_registers

    address = _address(register, count)
    server = _server(where, rtu=rtu, baudrate=baudrate, parity=parity, stopbits=stopbits)
    with reporting():
        words = run(lambda: read_registers(server, unit, Function(function.value), address, count))
    found = [one for place in _starts(len(words)) for one in decodings(words[place : place + 4], address + place)]
    text = text_of(words)
    if as_json:
        _print_json({"address": address, "words": words, "text": text, "decodings": [_plain(one) for one in found]})
        return
    console = _console()
    console.print(f"{function} {address} to {address + count - 1}: " + " ".join(f"{word:04X}" for word in words))
    if text is not None:
        console.print(f"as text: {text!r}", markup=False)
    console.print(_decoding_table(found))


def _starts(count: int) -> range:
    """Where numbers may begin: a few registers are one number, many are a list of them."""
    return range(1) if count <= 4 else range(count)


def _plain(one: Decoding) -> dict[str, Any]:
    return asdict(replace(one, value=0.0)) | {"value": one.value if one.score > 0 else None}


def _decoding_table(found: list[Decoding]) -> Table:
    table = Table()
    for heading in ("", "register", "type", "order", "value", "why", "in a profile"):
        table.add_column(heading, justify="right" if heading in {"register", "value"} else "left")
    for one in found:
        mark, style = ("->", "bold green") if one.likely else ("", None if one.score >= PLAUSIBLE else "dim")
        value = f"{one.value:.9g}"
        table.add_row(mark, str(one.address), one.type.value, one.order, value, one.reason, _keys(one), style=style)
    return table


def _keys(one: Decoding) -> str:
    keys = [f"type: {one.type.value}"]
    keys += ["word_order: little"] if one.word_order == "little" else []
    keys += ["byte_order: little"] if one.byte_order == "little" else []
    return ", ".join(keys)


def _address(text: str, count: int) -> int:
    try:
        address = int(text, 0)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no register: expected 300 or 0x12C", param_hint="REGISTER") from None
    if not 0 <= address <= 65_536 - count:
        hint = "; documents that count from 40001 mean 0 with --function holding" if address > 65_535 else ""
        raise typer.BadParameter(f"{text} is outside the table (0 to 65535){hint}", param_hint="REGISTER")
    return address
