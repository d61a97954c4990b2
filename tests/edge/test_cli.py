"""What the edge's commands promise to a person and to a script."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SITE = """
site: jinji-lake
gateway: gw-1
cloud: {{url: "{url}"}}
connections:
  - id: plant
    modbus: {{host: 127.0.0.1, port: 9}}
    devices: [{{id: ahu-1, profile: abb-acs580, unit: 1}}]
"""


def edge(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gatehouse", "edge", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(url="http://127.0.0.1:9"), "utf-8")
    return path


def test_key_prints_the_public_half_alone_and_the_same_again(site_file: Path) -> None:
    first, second = edge("key", str(site_file)), edge("key", str(site_file))

    assert first.returncode == 0
    assert first.stdout == second.stdout
    assert len(first.stdout.split()) == 1


def test_a_wrong_configuration_ends_with_3_and_starts_nothing(site_file: Path) -> None:
    site_file.write_text(site_file.read_text("utf-8").replace("unit: 1", "unitt: 1"), "utf-8")
    done = edge("run", str(site_file))

    assert done.returncode == 3
    assert "site.yaml:" in done.stderr
    assert "unit" in done.stderr
    assert not (site_file.parent / "edge-data").exists()


def test_a_missing_key_ends_with_3_and_says_how_to_make_one(site_file: Path) -> None:
    done = edge("run", str(site_file))

    assert done.returncode == 3
    assert "gatehouse edge key" in done.stderr


def test_a_false_clock_is_refused_for_a_cloud_elsewhere(site_file: Path) -> None:
    site_file.write_text(SITE.format(url="https://cloud.example"), "utf-8")

    assert edge("run", str(site_file), "--clock-rate", "60").returncode == 2


def test_the_agent_runs_without_cloud_and_devices_and_ends_soon(site_file: Path) -> None:
    edge("key", str(site_file))
    status = site_file.parent / "edge-data" / "status.json"
    command = [sys.executable, "-m", "gatehouse", "edge", "run", str(site_file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as agent:
        assert agent.stderr is not None
        while "running" not in agent.stderr.readline():
            pass
        deadline = time.monotonic() + 15
        while not status.exists() and time.monotonic() < deadline:
            agent.stderr.readline()
        shown = edge("status", str(site_file))
        started = time.monotonic()
        agent.send_signal(signal.SIGTERM)
        code = agent.wait(15)
        took_s = time.monotonic() - started
        agent.stderr.read()

    assert "running with 1 devices" in shown.stdout
    assert "NOT connected" in shown.stdout
    assert code == 0
    assert took_s < 10.0  # five times what is asked: the machine may be busy
    assert "stopped" in edge("status", str(site_file)).stdout
