"""docs/ledger.md: its tables are those of the models, its examples work."""

import re
from pathlib import Path

import pytest

from cloud.facts.desk import Desk, Wish
from cloud.facts.ledger import parse_ledger
from cloud.facts.ledger_reference import TABLES, with_tables
from tests.cloud.told import new_cloud

PAGE = Path(__file__).parent.parent.parent / "docs" / "ledger.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json ([a-z-]+)\n(.*?)```", TEXT, re.DOTALL)
LEDGER = re.findall(r"```yaml ledger\n(.*?)```", TEXT, re.DOTALL)[0]
NOW_MS = 1_780_000_000_000


def test_the_tables_are_those_of_the_models() -> None:
    assert with_tables(TEXT) == TEXT, "run python -m cloud.facts.ledger_reference docs/ledger.md"
    assert set(re.findall(r"<!-- keys of ([a-z-]+) -->", TEXT)) == set(TABLES)


@pytest.mark.parametrize(("kind", "document"), EXAMPLES, ids=[kind for kind, _ in EXAMPLES])
def test_the_examples_can_be_entered(tmp_path: Path, kind: str, document: str) -> None:
    cloud = new_cloud(tmp_path)
    cloud.ledger(LEDGER)
    wish = Wish(document, "li", "an example", NOW_MS - 1_000, None if kind == "inspection" else NOW_MS)

    assert Desk(cloud.facts).enter("lakeside", kind, "example", wish, NOW_MS).version == 1
    cloud.engine.dispose()


def test_the_ledger_of_the_page_is_one_and_says_what_is_fixed() -> None:
    ledger = parse_ledger(LEDGER, "docs/ledger.md")

    assert [one.id for one in ledger.equipment if not one.not_fixed] == ["drain-1"]
    assert len(EXAMPLES) == 5
