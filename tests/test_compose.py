"""docker-compose.yml without a container engine: right by its schema, and everything it names exists."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from edge.config import load_site
from simulators.documents import Endpoints, site_yaml
from simulators.site import demo_site

ROOT = Path(__file__).parent.parent
ROLES = ("cloud", "edge", "simulators")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return dict(compose["services"])


def front_door_commands(services: dict[str, Any]) -> list[list[str]]:
    """Every call of the front door in the file, as words without the interpreter."""
    calls = []
    for service in services.values():
        if "build" not in service:
            continue
        if service.get("entrypoint") == ["sh", "-c"]:
            words = shlex.split(service["command"][0].replace("$$(cat /site/gw-1.pub)", "KEY"))
            text = " ".join("KEY" if word == "KEY" else word for word in words)
            calls += [
                part.split(">")[0].split()[3:] for part in text.split("&&") if part.split()[:3] == PYTHON_GATEHOUSE
            ]
        else:
            calls.append(list(service["command"]))
    return calls


PYTHON_GATEHOUSE = ["python", "-m", "gatehouse"]


def test_it_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/golden/compose/compose_spec.json").read_text(encoding="utf-8"))

    jsonschema.Draft7Validator(schema).validate(compose)


def test_a_key_that_the_specification_does_not_know_would_be_found(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/golden/compose/compose_spec.json").read_text(encoding="utf-8"))
    wrong = {**compose, "services": {**compose["services"], "cloud": {**compose["services"]["cloud"], "portz": []}}}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(wrong)


def test_every_command_and_flag_exists(services: dict[str, Any]) -> None:
    calls = front_door_commands(services)
    assert len(calls) == 6

    for call in calls:
        verbs = [word for word in call if not word.startswith("-")][: 3 if "gateway" in call or "ledger" in call else 2]
        flags = [word.split("=")[0] for word in call if word.startswith("--")]
        shown = subprocess.run(
            [sys.executable, "-m", "gatehouse", *verbs, "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
        )
        assert shown.returncode == 0, f"{verbs}: {shown.stderr}"
        assert [flag for flag in flags if not re.search(rf"{flag}\b", shown.stdout)] == [], verbs


def test_the_gateway_takes_the_site_file_that_the_simulators_write(services: dict[str, Any], tmp_path: Path) -> None:
    flags = dict(word.split("=", 1) for word in services["simulators"]["command"] if "=" in word)
    ports = {name: int(flags["--modbus-port"]) + n for n, name in enumerate(demo_site().connections)}
    endpoints = Endpoints(
        ports, int(flags["--mqtt-port"]), flags["--advertise"], flags["--mqtt-host"], flags["--cloud-url"]
    )
    (tmp_path / "site.yaml").write_text(site_yaml(demo_site(), endpoints), encoding="utf-8")

    site = load_site(tmp_path / "site.yaml")

    assert site.config.cloud is not None
    assert site.config.cloud.url == flags["--cloud-url"]


def test_every_file_that_is_mounted_or_built_exists(services: dict[str, Any]) -> None:
    for service in services.values():
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).is_file()


def test_every_volume_is_declared(compose: dict[str, Any], services: dict[str, Any]) -> None:
    named = {
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }

    assert named == set(compose["volumes"])


def test_every_variable_of_ours_is_read_by_the_code(services: dict[str, Any]) -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "cloud").rglob("*.py"))
    ours = {
        name
        for service in services.values()
        for name in service.get("environment", {})
        if name.startswith("GATEHOUSE_")
    }
    assert ours

    assert [name for name in sorted(ours) if name not in code] == []


def test_ids_and_ports_are_those_of_the_demo_site(services: dict[str, Any]) -> None:
    site = demo_site()
    register = services["register"]["command"][0]
    assert f"gateway add {site.gateway} --site {site.id} " in register
    assert f"/site/{site.gateway}.pub" in register

    simulators = dict(word.split("=") for word in services["simulators"]["command"] if "=" in word)
    broker = (ROOT / "docker/mosquitto.conf").read_text(encoding="utf-8")
    assert f"listener {simulators['--mqtt-port']}" in broker
    assert simulators["--mqtt-host"] in services
    assert simulators["--advertise"] in services
    cloud = dict(word.split("=") for word in services["cloud"]["command"] if "=" in word)
    assert simulators["--cloud-url"] == f"http://cloud:{cloud['--port']}"
    assert services["cloud"]["ports"] == [f"127.0.0.1:{cloud['--port']}:{cloud['--port']}"]


@pytest.mark.parametrize("role", ROLES)
def test_images_run_as_nobody_special_and_hold_only_their_floor(role: str) -> None:
    lines = (ROOT / f"docker/{role}.Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {line.split()[1] for line in lines if line.startswith("COPY")}

    assert "USER gatehouse" in lines
    assert f"requirements/{role}.txt" in copied
    assert copied & set(ROLES) == {role}
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize("role", ROLES)
def test_locked_requirements_have_hashes_and_name_no_index(role: str) -> None:
    text = (ROOT / f"requirements/{role}.txt").read_text(encoding="utf-8")

    pins = re.findall(r"^[a-z0-9_.-]+==\S+ \\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[a-z0-9_.-]+(?:\[|==)", text, re.MULTILINE))
    assert "://" not in text
