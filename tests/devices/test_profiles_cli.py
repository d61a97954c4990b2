"""`gatehouse profiles`, as a person or a script uses it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from devices.cli import app
from devices.profile import load_profiles
from tests.devices.golden import GOLDEN

ROOT = GOLDEN.parent.parent
DRIVE = ROOT / "devices" / "profiles" / "abb-acs580.yaml"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_list_shows_every_product_with_kind_protocol_and_level() -> None:
    lines = run("list").stdout.splitlines()

    assert lines[0].split() == ["id", "product", "kind", "protocol", "verified"]
    assert [line.split()[0] for line in lines[1:]] == sorted(load_profiles())
    assert any(line.split()[-4:] == ["drive", "equipment", "modbus", "manual"] for line in lines)


def test_the_list_is_there_for_programs() -> None:
    listed = json.loads(run("list", "--json").stdout)

    assert {
        "id": "nwave-nps405",
        "product": "Nwave NPS405 parking sensor",
        "kind": "space",
        "protocol": "mqtt (lorawan)",
        "verified": "implementation",
    } in listed


def test_a_profile_is_shown_as_it_was_written() -> None:
    assert run("show", "abb-acs580").stdout.strip() == DRIVE.read_text("utf-8").strip()
    assert json.loads(run("show", "abb-acs580", "--json").stdout)["id"] == "abb-acs580"


def test_an_unknown_profile_is_met_with_the_nearest_known_one() -> None:
    answer = run("show", "abb-acs850")

    assert answer.exit_code == 2
    assert "did you mean 'abb-acs580'?" in answer.stderr


def test_check_is_content_with_a_good_file() -> None:
    answer = run("check", DRIVE)

    assert answer.exit_code == 0
    assert "abb-acs580 is fine: 3 points, state from speed, status" in answer.stdout


def test_check_names_every_mistake_with_line_and_column(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(DRIVE.read_text("utf-8").replace("unit: percent", "unit: prozent"), "utf-8")

    answer = run("check", bad)

    assert answer.exit_code == 3
    assert answer.stderr.count(f"{bad}:") == 2
    assert "unknown unit 'prozent'" in answer.stderr
    assert run("check", tmp_path / "none.yaml").exit_code == 3


def test_a_profile_is_compared_with_a_folder_of_recordings() -> None:
    answer = run("test", DRIVE, GOLDEN / "abb-acs580")

    assert answer.exit_code == 0
    assert answer.stdout.count("as expected") == len(list((GOLDEN / "abb-acs580").glob("*.json")))


def test_a_recording_that_decodes_to_something_else_is_told_and_fails(tmp_path: Path) -> None:
    recorded = (GOLDEN / "abb-acs580" / "tripped.json").read_text("utf-8")
    (tmp_path / "drive.json").write_text(recorded.replace('"status": 953.0', '"status": 952.0'), "utf-8")
    shutil.copy(DRIVE, tmp_path / "drive.yaml")

    answer = run("test", tmp_path / "drive.yaml")

    assert answer.exit_code == 1
    assert "status: expected 952, found 953" in answer.stdout


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"state": "fault"', '"state": "run"', "state: expected run, found fault"),
        ('"speed": 0.0,', "", "speed: expected no such reading, found 0"),
        ('"speed": 0.0,', '"speed": null,', "speed: expected no value, found 0"),
        ('"speed": 0.0,', '"speed": 0.0, "torque": 1,', "torque: expected 1, found no such reading"),
    ],
)
def test_every_kind_of_difference_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    recorded = (GOLDEN / "abb-acs580" / "tripped.json").read_text("utf-8")
    dump = tmp_path / "changed.json"
    dump.write_text(recorded.replace(old, new), "utf-8")

    answer = run("test", DRIVE, dump)

    assert answer.exit_code == 1
    assert expected in answer.stdout


def test_a_profile_without_recordings_is_no_success(tmp_path: Path) -> None:
    shutil.copy(DRIVE, tmp_path / "drive.yaml")

    answer = run("test", tmp_path / "drive.yaml")

    assert answer.exit_code == 2
    assert f"expected {tmp_path / 'drive.json'}" in answer.stderr


def test_a_recording_that_is_none_is_refused_with_its_place(tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    dump.write_text('{"description": "", "source": "", "state": "run",\n "reads": [{"function": "coil"}]}', "utf-8")

    answer = run("test", DRIVE, dump)

    assert answer.exit_code == 3
    assert f"{dump}:2:" in answer.stderr


def test_the_front_door_leads_here_without_any_extra() -> None:
    program = (
        "import sys, gatehouse\n"
        "try:\n    gatehouse.main(['profiles', 'list'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', sorted(set(sys.modules) & {'pymodbus', 'aiomqtt', 'httpx', 'fastapi', 'duckdb', 'edge'}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )

    assert "eastron-sdm630" in done.stdout
    assert "LOADED []" in done.stdout
