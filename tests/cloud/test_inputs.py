"""What people enter: kept with all its versions, valid from a day on, never changed."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from cloud.facts.database import open_database, reading, writing
from cloud.facts.inputs import (
    DOCUMENT_BYTES_MAX,
    Input,
    InputRefused,
    InputVersionMismatch,
    at_moment,
    changed_spans,
    enter,
    entered_since,
    in_force,
    inputs_of,
    revision,
    withdraw,
)
from cloud.facts.ledgers import import_ledger, ledger_history, ledger_text
from cloud.facts.store import FactStore
from tests.cloud.told import SITE
from tests.cloud.told import ledger_text as text_of

DAY_MS = 86_400_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    one = open_database(tmp_path / "facts.sqlite")
    yield one
    one.dispose()


def say(engine: sa.Engine, document: str = "{}", *, name: str = "w-1", valid: tuple[int, int | None] = (0, None),
        actor: str = "li", at_ms: int = 5, expected: int | None = None) -> Input:  # fmt: skip
    with writing(engine) as connection:
        return enter(connection, SITE, "window", name, document, actor=actor, reason="because", recorded_ms=at_ms,
                     valid_from_ms=valid[0], valid_to_ms=valid[1], expected_version=expected)  # fmt: skip


def test_what_is_said_again_differently_is_a_further_version_and_the_old_one_stays(engine: sa.Engine) -> None:
    say(engine, '{"a": 1}')
    say(engine, '{"a": 2}', at_ms=6)
    with reading(engine) as connection:
        found = inputs_of(connection, SITE, "window")

    assert [(one.version, one.document, one.recorded_ms) for one in found] == [(1, '{"a": 1}', 5), (2, '{"a": 2}', 6)]
    assert in_force(found) == found[1:]


def test_saying_the_same_again_adds_nothing(engine: sa.Engine) -> None:
    first = say(engine, '{"a": 1}')

    assert say(engine, '{"a": 1}', actor="wang", at_ms=9) == first


def test_what_is_withdrawn_is_not_in_force_and_can_be_entered_again(engine: sa.Engine) -> None:
    say(engine)
    with writing(engine) as connection:
        withdraw(connection, SITE, "window", "w-1", actor="wang", reason="mistake", recorded_ms=7)
        gone = in_force(inputs_of(connection, SITE, "window"))
        with pytest.raises(InputRefused, match="to withdraw"):
            withdraw(connection, SITE, "window", "w-1", actor="wang", reason="mistake", recorded_ms=8)

    assert gone == []
    assert say(engine).version == 3


def test_who_does_not_know_the_newest_version_is_refused(engine: sa.Engine) -> None:
    say(engine, expected=0)
    with pytest.raises(InputVersionMismatch):
        say(engine, '{"a": 2}', expected=0)
    assert say(engine, '{"a": 2}', expected=1).version == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"actor": "  "}, "the actor must have"),
        ({"valid": (5, 5)}, "no time at all"),
        ({"document": "{"}, "not JSON"),
        ({"document": '"' + "x" * DOCUMENT_BYTES_MAX + '"'}, "larger than"),
    ],
)
def test_what_cannot_be_entered_is_refused(engine: sa.Engine, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        say(engine, **wrong)  # type: ignore[arg-type]
    with reading(engine) as connection:
        assert revision(connection, SITE) == 0


def test_at_a_moment_the_latest_entered_version_that_is_valid_then_holds(engine: sa.Engine) -> None:
    say(engine, '"first"', valid=(0, None))
    say(engine, '"second"', valid=(100, 200))
    with reading(engine) as connection:
        versions = inputs_of(connection, SITE, "window")

    assert [[one.document for one in at_moment(versions, moment)] for moment in (50, 100, 199, 200)] == [
        ['"first"'], ['"second"'], ['"second"'], ['"first"'],
    ]  # fmt: skip


def test_entries_count_everything_of_a_site_and_tell_which_time_changed(engine: sa.Engine) -> None:
    say(engine, valid=(10, 20))
    say(engine, name="w-2", valid=(30, 40))
    say(engine, valid=(12, 18), at_ms=9)
    with reading(engine) as connection:
        assert [(one.entry, one.id) for one in entered_since(connection, SITE, 0)] == [
            (1, "w-1"), (2, "w-2"), (3, "w-1"),
        ]  # fmt: skip
        assert changed_spans(connection, SITE, 2) == [("window", (12, 18)), ("window", (10, 20))]


def test_a_day_is_that_of_the_ledger_that_holds_at_its_end(engine: sa.Engine) -> None:
    for name, valid_from in (("A", None), ("B", date(2026, 5, 10)), ("C", date(2026, 5, 20))):
        text = text_of(zone="Asia/Shanghai").replace("en: S", f"en: {name}")
        import_ledger(engine, text, "ledger.yaml", actor="li", now_ms=7, valid_from=valid_from, reason=f"why {name}")
    store = FactStore(engine)
    names = {}
    for day in (1, 9, 10, 19, 20, 31):
        ledger = store.ledger_on(SITE, date(2026, 5, day).toordinal())
        assert ledger is not None
        names[day] = ledger.site.name.en
    with reading(engine) as connection:
        history = ledger_history(connection, SITE)
        first = ledger_text(connection, SITE, 1)

    assert names == {1: "A", 9: "A", 10: "B", 19: "B", 20: "C", 31: "C"}
    assert [(one.version, one.actor, one.reason) for one in history] == [
        (1, "li", "why A"), (2, "li", "why B"), (3, "li", "why C"),
    ]  # fmt: skip
    assert first is not None
    assert "en: A" in first
    assert store.ledger_on("nowhere", 1) is None


def test_a_version_takes_the_place_of_all_older_ones_from_its_beginning_on(engine: sa.Engine) -> None:
    for name, day in (("A", 1), ("B", 20), ("C", 10)):
        text = text_of().replace("en: S", f"en: {name}")
        import_ledger(engine, text, "ledger.yaml", actor="li", now_ms=7, valid_from=date(2026, 5, day))
    store = FactStore(engine)

    assert [(one.ledger.site.name.en, one.version) for one in store.ledgers(SITE)] == [("A", 1), ("C", 3)]
    newest = store.ledger(SITE)
    assert newest is not None
    assert newest.site.name.en == "C"


def test_a_ledger_without_a_day_is_valid_from_now_on(engine: sa.Engine) -> None:
    now_ms = 20_000 * DAY_MS + 5
    import_ledger(engine, text_of(), "ledger.yaml", actor="li", now_ms=now_ms)
    import_ledger(engine, text_of().replace("en: S", "en: T"), "ledger.yaml", actor="li", now_ms=now_ms)

    assert [one.valid_from_ms for one in FactStore(engine).ledgers(SITE)] == [0, now_ms]
