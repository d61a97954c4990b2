"""docs/complaints.md: every complaint has a test, and the test is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = [line for line in (ROOT / "docs" / "complaints.md").read_text("utf-8").splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[2].strip().split(",")[0] for row in ROWS])
def test_a_complaint_names_a_test_that_exists(row: str) -> None:
    found = re.search(r"`(tests/\S+\.py)::(test_\w+)`", row)
    assert found, row

    tree = ast.parse((ROOT / found[1]).read_text("utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert found[2] in names, f"{found[1]} has no {found[2]}"
