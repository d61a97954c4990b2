"""`gatehouse sim`: the simulated site from the command line."""

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from devices.errors import GatehouseError, LinkDown, Permanent, Transient
from devices.instants import parse_instant

EXIT_FAILURE, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 1, 2, 4, 130
DAY_MS = 86_400_000

app = typer.Typer(no_args_is_help=True, help="Devices that are not there: a whole site for tests, demos and drills.")

Seed = Annotated[int, typer.Option(help="The same seed gives the same days again.")]
Folder = Annotated[Path, typer.Option("--folder", help="Gets site.yaml, ledger.yaml and the control socket.")]
BrokerPort = Annotated[int, typer.Option("--mqtt-port", help="Port of the site's broker.")]
BrokerHost = Annotated[str, typer.Option("--mqtt-host", help="Host of the site's broker.")]
ClockRate = Annotated[float, typer.Option("--clock-rate", hidden=True, min=0.1, max=10_000)]
StartTime = Annotated[str | None, typer.Option("--start", hidden=True, help="RFC 3339; now if absent.")]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _instant(text: str | None) -> int:
    """Unix ms of an option, now if absent; exits with a usage error."""
    if text is None:
        return _now_ms()
    try:
        return parse_instant(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def run_until_signal(work: Coroutine[None, None, object]) -> None:
    """Run until done, SIGINT or SIGTERM; a Gatehouse error becomes one line and an exit code."""

    async def guarded() -> object:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return None

    try:
        result = asyncio.run(guarded())
    except (GatehouseError, OSError) as error:
        typer.echo(f"gatehouse sim: {error}", err=True)
        raise typer.Exit(EXIT_UNREACHABLE if isinstance(error, Transient) else EXIT_FAILURE) from error
    if isinstance(result, int) and result:
        raise typer.Exit(result)


@app.command()
def run(
    *,
    folder: Folder,
    mqtt_port: BrokerPort = 1883,
    mqtt_host: BrokerHost = "127.0.0.1",
    seed: Seed = 7,
    host: Annotated[str, typer.Option(help="Address the Modbus servers listen on.")] = "127.0.0.1",
    advertise: Annotated[str, typer.Option(help="Name by which others reach the Modbus servers.")] = "127.0.0.1",
    modbus_port: Annotated[int, typer.Option(help="Port of the first Modbus server; 0: any.")] = 0,
    cloud_url: Annotated[str, typer.Option(help="Goes into site.yaml.")] = "http://127.0.0.1:8080",
    clock_rate: ClockRate = 1.0,
    start: StartTime = None,
) -> None:
    """Simulate the demo site: Modbus TCP servers, robots and parking sensors on a broker."""
    from simulators.mqtt import Broker
    from simulators.running import RunOptions, run_site
    from simulators.site import demo_site

    options = RunOptions(
        folder=folder, broker=Broker(mqtt_port, mqtt_host), seed=seed, start_ms=_instant(start), clock_rate=clock_rate,
        host=host, advertise=advertise, modbus_port_first=modbus_port, cloud_url=cloud_url,
    )  # fmt: skip
    run_until_signal(run_site(demo_site(), options))


@app.command()
def broker(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 1883,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    stand_in: Annotated[bool, typer.Option(help="Use amqtt even where Mosquitto is installed.")] = False,  # noqa: FBT002
) -> None:
    """A broker for the demo: Mosquitto when it is installed, else amqtt."""
    from simulators.broker import run_broker

    run_until_signal(run_broker(port, host, stand_in=stand_in))


@app.command("history")
def write_history(
    output: Annotated[Path, typer.Argument(help="File to write; - is standard output.")] = Path("-"),
    days: Annotated[float, typer.Option(help="How many days.", min=0.001, max=3660)] = 30,
    seed: Seed = 7,
    until: Annotated[str | None, typer.Option(help="RFC 3339; now if absent.")] = None,
) -> None:
    """Write simulated history as JSON lines for `gatehouse edge import`."""
    from devices.profile import load_profiles
    from simulators.history import history
    from simulators.site import demo_site

    to_ms = _instant(until)
    chunks = history(demo_site(), seed, to_ms - round(days * DAY_MS), to_ms, load_profiles())
    try:
        if str(output) == "-":
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        with output.open("wb") as file:
            file.writelines(chunks)
    except OSError as error:
        typer.echo(f"gatehouse sim history: {error}", err=True)
        raise typer.Exit(EXIT_FAILURE) from error


@app.command()
def example(folder: Annotated[Path, typer.Argument(help="Where to write site.yaml and ledger.yaml.")]) -> None:
    """Write the example files of the demo site, with its usual ports."""
    from simulators.documents import example_endpoints
    from simulators.running import write_documents
    from simulators.site import demo_site

    folder.mkdir(parents=True, exist_ok=True)
    site = demo_site()
    write_documents(site, example_endpoints(site), folder)


@app.command("do")
def control_command(
    words: Annotated[list[str], typer.Argument(help="set DEVICE POINT VALUE | fail THING | mend THING | ...")],
    folder: Folder,
) -> None:
    """Do something to a running simulation: set a point, break or mend a thing, silence a device."""
    from simulators.control import command
    from simulators.running import CONTROL_SOCKET

    try:
        command(folder / CONTROL_SOCKET, " ".join(words))
    except GatehouseError as error:
        typer.echo(f"gatehouse sim do: {error}", err=True)
        raise typer.Exit(EXIT_UNREACHABLE if isinstance(error, LinkDown) else EXIT_FAILURE) from error


Share = Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of messages, 0 to 1.")]


class Which(StrEnum):
    """Which messages meet the faults."""

    ANSWERS = "answers"
    REQUESTS = "requests"
    BOTH = "both"


@app.command()
def faults(
    *,
    to: Annotated[str, typer.Option(help="HOST:PORT of the server that clients shall reach through this.")],
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    protocol: Annotated[str, typer.Option(help="raw | modbus | mqtt | http: what counts as one message.")] = "raw",
    seed: Seed = 7,
    on: Annotated[Which, typer.Option(help="Which messages meet the faults.")] = Which.ANSWERS,
    drop: Share = 0.0,
    duplicate: Share = 0.0,
    truncate: Share = 0.0,
    reorder: Share = 0.0,
    reset: Share = 0.0,
    late: Share = 0.0,
    refuse: Share = 0.0,
    lose_ack: Share = 0.0,
    delay_s: Annotated[float, typer.Option(help="Each message waits from 0 to this.", min=0)] = 0.0,
    late_s: Annotated[float, typer.Option(help="How late a late one is.", min=0)] = 2.0,
    status: Annotated[int, typer.Option(help="What a refused HTTP request is told.", min=400, max=599)] = 500,
    bandwidth_bytes_s: Annotated[float | None, typer.Option(help="Of each direction, shared by all.", min=1)] = None,
) -> None:
    """A wire that misbehaves, between any two parts: drops, delays, truncates, doubles, resets, limits bandwidth."""
    from simulators.faults import NO_FAULTS, FaultProxy, Faults, run_fault_proxy
    from simulators.wires import Protocol

    name, _, number = to.rpartition(":")
    try:
        chosen = Faults(
            drop=drop, duplicate=duplicate, truncate=truncate, reorder=reorder, reset=reset, late=late, refuse=refuse,
            lose_ack=lose_ack, delay_s=delay_s, late_s=late_s, status=status,
        )  # fmt: skip
        proxy = FaultProxy(name, int(number), Protocol(protocol), seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    proxy.requests = NO_FAULTS if on is Which.ANSWERS else chosen
    proxy.answers = NO_FAULTS if on is Which.REQUESTS else chosen
    proxy.bandwidth_bytes_s, proxy.listen_port = bandwidth_bytes_s, port
    run_until_signal(run_fault_proxy(proxy, host))


replay = typer.Typer(no_args_is_help=True, help="Play recordings of real devices over the real protocols.")
app.add_typer(replay, name="replay")


@replay.command("robot")
def replay_robot(
    *,
    recording: Annotated[Path, typer.Argument(help="CSV with t_s, x_m, y_m, theta_rad.")],
    mqtt_port: BrokerPort = 1883,
    mqtt_host: BrokerHost = "127.0.0.1",
    serial: Annotated[str, typer.Option(help="Serial number of the robot.")] = "r-01",
    map_id: Annotated[str, typer.Option("--map", help="Map the poses are on.")] = "B1",
    offset: Annotated[tuple[float, float], typer.Option(help="Metres added to x and y.")] = (0.0, 0.0),
    clock_rate: ClockRate = 60.0,
    start: StartTime = None,
) -> None:
    """Play a recorded drive as a VDA 5050 robot."""
    from simulators.mqtt import Broker, publish_recording
    from simulators.replay import drive_poses, robot_drive
    from simulators.site import Robot
    from simulators.world import SimulatedClock

    async def work() -> None:
        start_ms = _instant(start)
        robot = Robot(serial, serial, "acme", serial, 0, 0.0, 0.0)
        messages = robot_drive(drive_poses(recording), robot, start_ms, map_id, offset)
        await publish_recording(messages, SimulatedClock(start_ms, clock_rate), Broker(mqtt_port, mqtt_host))

    run_until_signal(work())


@replay.command("car-park")
def replay_car_park(
    *,
    recording: Annotated[Path, typer.Argument(help="CSV (gzip) with time_utc, place_id, free.")],
    places: Annotated[Path, typer.Argument(help="JSON list of the car parks with their capacity.")],
    place: Annotated[str, typer.Option(help="Which car park.")],
    since: Annotated[str, typer.Option("--from", help="RFC 3339: begin of the stretch.")],
    until: Annotated[str, typer.Option("--to", help="RFC 3339: end of the stretch.")],
    mqtt_port: BrokerPort = 1883,
    mqtt_host: BrokerHost = "127.0.0.1",
    clock_rate: ClockRate = 3600.0,
    start: StartTime = None,
) -> None:
    """Play a recorded car park as parking sensors behind ChirpStack."""
    from simulators.mqtt import Broker, publish_recording
    from simulators.replay import FIRST_EUI, car_parks, park_as_spaces, sensors_of
    from simulators.site import demo_site
    from simulators.world import SimulatedClock

    async def work() -> None:
        start_ms = _instant(start)
        park = car_parks(recording, places).get(place)
        if park is None:
            raise Permanent(f"{recording} has no car park {place!r}")
        sensors = sensors_of(park, demo_site().application, FIRST_EUI)
        messages = park_as_spaces(park, sensors, _instant(since), _instant(until), start_ms)
        await publish_recording(messages, SimulatedClock(start_ms, clock_rate), Broker(mqtt_port, mqtt_host))

    run_until_signal(work())


@replay.command("register")
def replay_register(
    *,
    recording: Annotated[Path, typer.Argument(help="CSV with timestamp, value, every five minutes.")],
    profile: Annotated[str, typer.Option(help="Packaged profile of the device that is simulated.")],
    point: Annotated[str, typer.Option(help="Point that takes the values.")],
    unit: Annotated[int, typer.Option(help="Modbus unit id.", min=1, max=247)] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any.")] = 0,
    from_row: Annotated[int, typer.Option(help="First row, from 0.", min=0)] = 0,
    rows: Annotated[int, typer.Option(help="How many rows.", min=1)] = 1_000_000,
    clock_rate: ClockRate = 3600.0,
    start: StartTime = None,
) -> None:
    """Play a recorded measurement on a register of a Modbus TCP device."""
    from simulators.running import play_register

    start_ms = _instant(start)
    run_until_signal(
        play_register(recording, (from_row, rows), (profile, point, unit), (host, port), (start_ms, clock_rate))
    )
