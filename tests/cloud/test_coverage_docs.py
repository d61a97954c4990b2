"""The worked example of docs/coverage.md is true: its ledger and its drives give its numbers."""

import re
from fractions import Fraction
from pathlib import Path

from cloud.facts.ledger import Ledger
from cloud.indicators.patrol import PATROL
from cloud.indicators.registry import compute_indicator
from devices.instants import parse_instant
from tests.cloud.told import Told, Walk, new_cloud

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
FROM, TO = parse_instant("2026-05-01T00:00:00Z"), parse_instant("2026-05-01T10:00:00Z")


def block(kind: str) -> str:
    found = re.search(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def drives() -> list[Walk]:
    """`robot,from,to,x1,y1,x2,y2` as a pose a second."""
    walks = []
    for line in block("csv").splitlines()[1:]:
        robot, begin, end, *places = line.split(",")
        x1, y1, x2, y2 = (round(float(part) * 1000) for part in places)
        begin_ms, end_ms = parse_instant(f"2026-05-01T{begin}Z"), parse_instant(f"2026-05-01T{end}Z")
        count = (end_ms - begin_ms) // 1000
        steps = [
            (begin_ms + s * 1000, x1 + (x2 - x1) * s // count, y1 + (y2 - y1) * s // count) for s in range(count + 1)
        ]
        walks.append(Walk(robot, steps))
    return walks


def expected() -> dict[str, tuple[int, int]]:
    """Rows `| id | numerator / denominator | ... |` of the page."""
    rows = re.findall(r"^\| `(robot\.\w+)` \| ([\d,]+) / ([\d,]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: (int(one.replace(",", "")), int(two.replace(",", ""))) for name, one, two in rows}


def test_the_worked_example_gives_its_numbers(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger: Ledger = cloud.ledger(block("yaml"))
    cloud.tell([Told(seq, FROM, TO, walks=(walk,)) for seq, walk in enumerate(drives(), 1)], ledger.site.id)
    told = expected()

    assert len(told) >= 8
    for name, (numerator, denominator) in told.items():
        found = compute_indicator(cloud.facts, ledger, name, (FROM, TO), TO)
        assert found.value == Fraction(numerator, denominator), (name, found.numerator, found.denominator)
    cloud.engine.dispose()


def test_the_page_tells_of_every_indicator() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert [name for name in ("robot.coverage", *PATROL) if f"`{name}`" not in text] == []
