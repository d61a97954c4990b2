"""Who may import whom. The house of docs/architecture.md, as a test."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("devices", "edge", "cloud", "simulators")
MAY_IMPORT = {
    "devices": {"devices"},
    "edge": {"edge", "devices"},
    "cloud": {"cloud", "devices"},
    "simulators": {"simulators", "devices"},
}

# Inside cloud a part imports only what stands left of it; the aggregator and the command line see all.
CLOUD_ORDER = (
    "ingest",
    "history",
    "settings",
    "facts",
    "sheets",
    "processor",
    "live",
    "indicators",
    "alerts",
    "evidence",
    "access",
    "api",
    "web",
)
CLOUD_SEES_ALL = ("cloud/aggregator.py", "cloud/cli.py")
SIBLINGS = {frozenset({"history", "facts"})}

# Third-party libraries stay behind one door, so that replacing one touches one place.
DOORS = {
    "aiomqtt": ("edge/drivers/mqtt", "edge/local_alerts", "simulators/", "cloud/alerts/notify"),
    "paho": ("edge/drivers/mqtt", "simulators/"),
    "pymodbus": ("edge/drivers/modbus", "simulators/modbus"),
    "amqtt": ("simulators/broker",),
    "httpx": ("edge/", "tests/", "cloud/alerts/notify"),
    "apprise": ("cloud/alerts/notify",),
    "standardwebhooks": ("cloud/alerts/notify",),
    "argon2": ("cloud/access/",),
    "authlib": ("cloud/api/oidc",),
    "openpyxl": ("cloud/sheets",),
    "xlsxwriter": ("cloud/sheets",),
    "segno": ("cloud/api/",),
    "duckdb": ("cloud/history/embedded",),
    "pyarrow": ("cloud/history/embedded",),
    "influxdb_client": ("cloud/history/influx",),
    "sqlalchemy": ("cloud/facts/", "cloud/indicators/", "cloud/alerts/", "cloud/evidence/", "cloud/access/"),
    "alembic": ("cloud/facts/",),
    "shapely": ("cloud/facts/", "cloud/indicators/", "tests/"),
    "fastapi": ("cloud/ingest/receive", "cloud/api/", "cloud/web/", "cloud/aggregator"),
    "starlette": ("cloud/ingest/receive", "cloud/api/", "cloud/web/", "cloud/aggregator"),
    "uvicorn": ("cloud/aggregator",),
    "ruamel": ("devices/document",),
    "zstandard": ("devices/frame",),
    "typer": ("gatehouse", "edge/cli", "cloud/cli", "simulators/cli", "devices/cli", "simulators/demo"),
}


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return [*found, ROOT / "gatehouse.py"] if "cloud" in folders else found


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every import of a module, also one hidden inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_the_floors_below_it(package: str) -> None:
    wrong = [
        f"{name_of(path)}:{line} imports {module}"
        for path in sources(package)
        for line, module in imports(path)
        if module.split(".")[0] in PACKAGES and module.split(".")[0] not in MAY_IMPORT[package]
    ]

    assert wrong == []


def test_no_import_is_relative() -> None:
    wrong = [
        f"{name_of(path)}:{line}"
        for path in sources(*PACKAGES, "tests")
        for line, module in imports(path)
        if module.startswith(".")
    ]

    assert wrong == []


def test_parts_of_the_cloud_import_leftwards_only() -> None:
    wrong = []
    for path in sources("cloud")[:-1]:
        name = name_of(path)
        part = name.split("/")[1].removesuffix(".py")
        if name in CLOUD_SEES_ALL or part not in CLOUD_ORDER:
            continue
        for line, module in imports(path):
            parts = module.split(".")
            if parts[0] != "cloud" or len(parts) < 2 or parts[1] == part:
                continue
            if parts[1] not in CLOUD_ORDER or CLOUD_ORDER.index(parts[1]) > CLOUD_ORDER.index(part):
                wrong.append(f"{name}:{line} imports {module}")
            elif frozenset({part, parts[1]}) in SIBLINGS:
                wrong.append(f"{name}:{line} imports its sibling {module}")

    assert wrong == []


def test_every_part_of_the_cloud_has_its_place_in_the_order() -> None:
    parts = {name_of(path).split("/")[1].removesuffix(".py") for path in sources("cloud")[:-1]}

    inside = {part for part in parts if not part.startswith("cli")}  # commands are mounted and see all

    assert inside - set(CLOUD_ORDER) - {"__init__", "aggregator"} == set()


def test_third_party_libraries_stay_behind_their_doors() -> None:
    wrong = [
        f"{name_of(path)}:{line} imports {module}"
        for path in sources(*PACKAGES)
        for line, module in imports(path)
        if (door := DOORS.get(module.split(".")[0])) and not name_of(path).removesuffix(".py").startswith(door)
    ]

    assert wrong == []


def test_the_ground_floor_knows_no_sockets_and_no_event_loop() -> None:
    forbidden = {"asyncio", "socket", "selectors", "threading", "subprocess", "http"}
    wrong = [
        f"{name_of(path)}:{line} imports {module}"
        for path in sources("devices")
        for line, module in imports(path)
        if module.split(".")[0] in forbidden
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("edge", ("cloud", "duckdb", "pyarrow", "fastapi", "sqlalchemy", "simulators", "amqtt")),
        ("cloud", ("edge", "pymodbus", "aiomqtt", "simulators", "amqtt")),
    ],
)
def test_the_front_door_loads_only_what_a_command_needs(command: str, absent: tuple[str, ...]) -> None:
    program = (
        "import sys, gatehouse\n"
        f"try:\n    gatehouse.main([{command!r}, 'run', '--help'])\n"
        "except SystemExit:\n    pass\n"
        f"print('LOADED', sorted(set(sys.modules) & set({absent!r})))\n"
        f"print('RAN', {command!r} in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )

    assert "LOADED []" in done.stdout
    assert "RAN True" in done.stdout
