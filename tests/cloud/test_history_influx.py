import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from cloud.history.influx import InfluxHistory, InfluxSettings, lines_of
from cloud.history.store import FrameNumbers
from devices.columns import Numbers
from devices.errors import LinkDown
from devices.reading import Lane, Quality, Series
from tests.waiting import wait_until

START_MS = 1_790_000_000_000
SERIES = (Series("ahu 1", "speed", "percent"), Series("door", "open", ""))


def numbers(seq: int, rows: Sequence[tuple[int, int, float, int]]) -> FrameNumbers:
    columns = Numbers.of(*zip(*rows, strict=True))
    return FrameNumbers("site", "gw", Lane.TELEMETRY, b"epoch--1", seq, SERIES, columns)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real VictoriaMetrics, which takes InfluxDB's writes."""
    program = shutil.which("victoria-metrics")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("victoria-metrics is not installed: install Debian's package of this name")
        pytest.skip("victoria-metrics is not installed (Debian package of this name)")
    port = free_port()
    folder = tmp_path_factory.mktemp("victoria")
    command = [
        program,
        f"-storageDataPath={folder}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=100y",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"

        def started() -> bool:
            assert process.poll() is None, "victoria-metrics ended"
            return answers(address)

        wait_until(started, "victoria-metrics to answer")
        yield address
        process.terminate()


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=1).is_success
    except httpx.TransportError:
        return False


def exported(address: str, name: str) -> list[tuple[dict[str, str], list[int], list[float]]]:
    """Everything the server holds under a name, once it shows it."""

    def shown() -> str:
        httpx.get(f"{address}/internal/force_flush", timeout=5)
        query = {"match[]": name, "start": str(START_MS // 1000 - 60), "end": str(START_MS // 1000 + 60)}
        return httpx.get(f"{address}/api/v1/export", params=query, timeout=5).text

    found = [json.loads(line) for line in wait_until(shown, f"{name} in the server").splitlines()]
    return [(one["metric"], one["timestamps"], one["values"]) for one in found]


def test_values_arrive_as_floats_states_as_integers_and_bad_values_as_quality_only() -> None:
    bad = Quality.BAD_NO_ANSWER
    frame = numbers(1, [(0, START_MS, 12.5, 0), (1, START_MS + 1, 1.0, 0), (0, START_MS + 2, float("nan"), bad)])

    assert lines_of(frame) == [
        b"gatehouse,site=site,device=ahu\\ 1,point=speed value=12.5,quality=0i 1790000000000",
        b"gatehouse,site=site,device=door,point=open state=1i,quality=0i 1790000000001",
        b"gatehouse,site=site,device=ahu\\ 1,point=speed quality=64i 1790000000002",
    ]


async def test_what_was_written_is_what_a_real_server_holds(victoria: str, tmp_path: Path) -> None:
    history = InfluxHistory(InfluxSettings(victoria, "t", "o", "b"), tmp_path / "position.json", "log")
    rows = [(index % 2, START_MS + index, float(index % 7), 0) for index in range(12_000)]

    await asyncio.to_thread(history.write, [numbers(1, rows)], {Lane.TELEMETRY: 42})

    ((metric, times, values),) = await asyncio.to_thread(exported, victoria, "gatehouse_value")
    assert (metric["site"], metric["device"], metric["point"]) == ("site", "ahu 1", "speed")
    expected = {time_ms: value for series, time_ms, value, _ in rows if series == 0}
    assert dict(zip(times, values, strict=True)) == expected
    ((metric, times, values),) = await asyncio.to_thread(exported, victoria, "gatehouse_state")
    assert metric["device"] == "door"
    assert len(times) == 6_000
    history.close()


def test_the_position_moves_only_with_what_was_taken_and_survives_a_restart(victoria: str, tmp_path: Path) -> None:
    settings = InfluxSettings(victoria, "t", "o", "b")
    gone = InfluxSettings(f"http://127.0.0.1:{free_port()}", "t", "o", "b")
    frame = numbers(1, [(0, START_MS, 1.0, 0)])
    unreachable = InfluxHistory(gone, tmp_path / "position.json", "log")
    with pytest.raises(LinkDown):
        unreachable.write([frame], {Lane.TELEMETRY: 7})
    before = unreachable.position(Lane.TELEMETRY)
    unreachable.close()
    history = InfluxHistory(settings, tmp_path / "position.json", "log")
    history.write([frame], {Lane.TELEMETRY: 7})
    history.close()

    again = InfluxHistory(settings, tmp_path / "position.json", "log")
    other = InfluxHistory(settings, tmp_path / "position.json", "another log")

    assert before == 0
    assert (again.position(Lane.TELEMETRY), other.position(Lane.TELEMETRY)) == (7, 0)
    again.close()
    other.close()
