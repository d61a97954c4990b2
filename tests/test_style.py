"""Rules of the house that a linter does not know. A list of exceptions may only become shorter."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("devices", "edge", "cloud", "simulators")
FUNCTION_LINES_MAX = 60  # fits one screen
MODULE_LINES_MAX = 400  # fits one head
SCRIPT_LINES_MAX = 300  # of a JavaScript module
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}

# Time and chance come in as arguments. Only entry points ask for them.
MAY_ASK_TIME_OR_CHANCE = {
    "edge/clock.py",
    "cloud/aggregator.py",
    "simulators/cli.py",
    "simulators/demo.py",
}
ASKS = re.compile(r"\bdatetime\.(now|utcnow|today)\(|\btime\.time(_ns)?\(|(?<![\w.])random\.\w+\(")


def tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    found = [ROOT / name for name in listed.stdout.split("\n") if name and (ROOT / name).exists()]
    assert found
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def python_files() -> list[Path]:
    return tracked("*.py")


def test_functions_fit_a_screen(python_files: list[Path]) -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name} {node.end_lineno - node.lineno + 1}"
        for path in python_files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert long == []


def test_modules_fit_a_head(python_files: list[Path]) -> None:
    long = [
        f"{name_of(path)} {lines}"
        for path in python_files
        if (lines := path.read_text(encoding="utf-8").count("\n")) > MODULE_LINES_MAX
    ]

    assert long == []


def test_scripts_of_the_page_are_short() -> None:
    long = [
        f"{name_of(path)} {lines}"
        for path in tracked("cloud/web/static/*.js")
        if "vendor" not in path.parts and (lines := path.read_text(encoding="utf-8").count("\n")) > SCRIPT_LINES_MAX
    ]

    assert long == []


def test_names_say_something(python_files: list[Path]) -> None:
    wrong = [
        name_of(path)
        for path in python_files
        if BANNED_NAMES & {part.removesuffix(".py").lower() for part in path.relative_to(ROOT).parts}
    ]
    wrong += [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in python_files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(node.name.lower().endswith(word) for word in BANNED_NAMES if word != "base")
    ]

    assert wrong == []


def test_time_and_chance_are_arguments(python_files: list[Path]) -> None:
    wrong = [
        f"{name_of(path)}:{number}"
        for path in python_files
        if name_of(path).split("/")[0] in PACKAGES and name_of(path) not in MAY_ASK_TIME_OR_CHANCE
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if ASKS.search(line)
    ]

    assert wrong == []


def test_nobody_swallows_errors_wholesale(python_files: list[Path]) -> None:
    wrong = []
    for path in python_files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                reraises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                if caught in {"everything", "Exception", "BaseException"} and not reraises:
                    wrong.append(f"{name_of(path)}:{node.lineno} catches {caught}")

    assert wrong == []


def test_tests_do_not_sleep() -> None:
    """Servers and worlds that stand beside the tests may let time pass; a test waits for a condition."""
    wrong = [
        f"{name_of(path)}:{number}"
        for path in tracked("tests/**/test_*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if re.search(r"\btime\.sleep\((?!0\))|asyncio\.sleep\((?!0\))", line)
    ]

    assert wrong == []


def test_no_committed_file_names_this_machine_or_a_package_index() -> None:
    wrong = []
    options = ("--index" + "-url", "--extra" + "-index", '"resolved' + '":')  # in pieces: this file is searched, too
    needles = re.compile("|".join(re.escape(one) for one in (f"{ROOT}/", f"{Path.home()}/", *options)), re.IGNORECASE)
    for path in tracked("*"):
        if path.suffix in {".png", ".gz", ".pdf", ".bin", ".seg"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        wrong += [name_of(path)] if needles.search(text) else []

    assert wrong == []
