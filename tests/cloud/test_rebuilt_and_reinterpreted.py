"""A rebuild gives the same bits and lists what differs; a profile that was wrong is taken back by an audited input."""

import json
import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

import gatehouse
from cloud.facts.database import writing
from cloud.facts.inputs import enter, inputs_of
from cloud.facts.progress import forget_facts
from cloud.facts.reinterpreting import KIND, ReinterpretationRefused, reinterpret
from cloud.facts.store import FactStore
from cloud.facts.tables_results import results
from cloud.indicators.comparing import compared, derived_digests
from cloud.indicators.registry import compute_indicator
from cloud.indicators.targets import TARGET_KIND
from cloud.settings import Places
from devices.errors import ConfigurationError
from tests.cloud.test_issued_results import EQUIPMENT, RATE, day, issue_all, revisions_of, three_days
from tests.cloud.told import MACHINE, SITE, Cloud, Entry, Told, inventory, ledger_text, new_cloud

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
POINTS = ("alarm", "running")
DAYS = 12  # of the "month": scaled down


def a_random_month(seed: int) -> list[Told]:
    """Two pumps over days 0 to 12 in frames of some hours; some frames are said twice."""
    chance = random.Random(seed)
    devices = ("pump-1", "pump-2")
    edges = sorted({0, DAYS * DAY_MS, *(chance.randrange(1, DAYS * 24) * HOUR_MS for _ in range(60))})
    frames = []
    for seq, (begin, end) in enumerate(pairwise(edges), 1):
        entries = [
            Entry(chance.choice(devices), chance.choice(POINTS), chance.randrange(begin, end), chance.randrange(2))
            for _ in range(chance.randrange(4))
        ]
        if seq == 1:
            entries += [Entry(device, "alarm", begin, 0) for device in devices]
        records = inventory(devices, begin) if seq == 1 else ()
        frames.append(
            Told(seq, begin, end, entries=tuple(sorted(entries, key=lambda one: one.changed_ms)), records=records)
        )
    return frames + chance.sample(frames, 10)


def told_in_pieces(cloud: Cloud, frames: list[Told], seed: int) -> None:
    """In any order, a third of it days later than the rest, results issued in between."""
    chance = random.Random(seed)
    chance.shuffle(frames)
    cut = len(frames) * 2 // 3
    cloud.tell(frames[:cut])
    issue_all(cloud, DAYS * DAY_MS + HOUR_MS)
    cloud.tell(frames[cut:])
    issue_all(cloud, (DAYS + 5) * DAY_MS)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_rebuild_of_a_random_month_is_equal_bit_by_bit_and_no_record_differs(tmp_path: Path, seed: int) -> None:
    cloud = new_cloud(tmp_path)
    cloud.ledger(ledger_text(EQUIPMENT))
    frames = a_random_month(seed)
    told_in_pieces(cloud, list(frames), seed)
    before = derived_digests(cloud.engine)
    forget_facts(cloud.engine)
    cloud.tell(sorted(frames, key=lambda one: one.seq))
    found = compared(FactStore(cloud.engine), before, (DAYS + 5) * DAY_MS)

    assert {device for _, _, device in before} == {"pump-1", "pump-2"}
    assert found.changed == ()
    assert found.differences == ()
    assert found.results > DAYS
    cloud.engine.dispose()


def test_what_a_rebuild_finds_otherwise_is_listed_and_kept_as_it_was(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.ledger(ledger_text(EQUIPMENT))
    cloud.tell(three_days())
    issue_all(cloud, day(13, 1))
    with writing(cloud.engine) as connection:
        enter(
            connection, SITE, TARGET_KIND, RATE, '{"indicator": "equipment.intact_rate", "value": 0.5}', actor="li",
            reason="later", recorded_ms=day(14), valid_from_ms=day(11), valid_to_ms=day(12),
        )  # fmt: skip
        kept = connection.execute(sa.select(sa.func.count()).select_from(results)).scalar_one()
    before = derived_digests(cloud.engine)
    forget_facts(cloud.engine)
    cloud.tell([frame for frame in three_days() if frame.seq != 2])  # the log lost a frame
    found = compared(FactStore(cloud.engine), before, day(13, 1))
    differing = {(one.indicator, one.window.from_ms): one.values for one in found.differences}
    with writing(cloud.engine) as connection:
        still = connection.execute(sa.select(sa.func.count()).select_from(results)).scalar_one()

    assert ("device_days", SITE, "pump-1") in found.changed
    assert differing[RATE, day(11)] == (Fraction(42, 48), Fraction(1))
    assert (RATE, day(10)) not in differing
    assert kept == still
    cloud.engine.dispose()


NEW = MACHINE.replace("id: machine", "id: machine-2").replace("fault: alarm == 1", "fault: alarm == 0")
NEEDS_MORE = MACHINE.replace("fault: alarm == 1", "fault: alarm == 1 or warning == 1")


def test_a_reinterpreted_stretch_is_read_by_the_new_profile_and_gives_a_revision(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.ledger(ledger_text(EQUIPMENT))
    cloud.tell(three_days())
    issue_all(cloud, day(13, 1))
    with writing(cloud.engine) as connection:
        done = reinterpret(
            connection,
            SITE,
            "pump-1",
            NEW,
            (day(11), day(12)),
            actor="li",
            reason="alarm is inverted",
            now_ms=day(13, 1),
        )
        [entered] = inputs_of(connection, SITE, KIND)
    issue_all(cloud, day(13, 2))

    assert done.lacking == ("warning",)
    assert (entered.actor, entered.reason, json.loads(entered.document)["profile"]) == (
        "li",
        "alarm is inverted",
        "machine-2",
    )
    assert [value for _, value, _ in revisions_of(cloud, 11)] == [Fraction(42, 48), Fraction(30, 48)]
    assert [revision for revision, _, _ in revisions_of(cloud, 10)] == [1]
    before = derived_digests(cloud.engine)
    forget_facts(cloud.engine)
    cloud.tell(three_days())
    assert compared(FactStore(cloud.engine), before, day(13, 2)).changed == ()
    cloud.engine.dispose()


def test_what_the_frames_lack_is_unknown_and_listed(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(ledger_text(EQUIPMENT))
    cloud.tell(three_days())
    with writing(cloud.engine) as connection:
        done = reinterpret(
            connection, SITE, "pump-1", NEEDS_MORE, (day(11), day(12)), actor="li", reason="x", now_ms=day(13)
        )
    found = compute_indicator(cloud.facts, ledger, RATE, (day(11), day(12)), day(13))

    assert done.lacking == ("warning",)
    # while the alarm is on it is a fault whatever the warning says, and stays one until data prove it intact
    assert (found.parts["unknown"], found.parts["down"]) == (6 * HOUR_MS, 18 * HOUR_MS)
    cloud.engine.dispose()


def test_nothing_can_be_read_otherwise_that_was_never_heard_or_by_what_is_no_profile(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.ledger(ledger_text(EQUIPMENT))
    cloud.tell(three_days())
    with writing(cloud.engine) as connection:
        with pytest.raises(ReinterpretationRefused):
            reinterpret(connection, SITE, "nobody", NEW, (0, 1), actor="li", reason="x", now_ms=1)
        with pytest.raises(ConfigurationError):
            reinterpret(connection, SITE, "pump-1", "id: x", (0, 1), actor="li", reason="x", now_ms=1)
    cloud.engine.dispose()


def test_the_command_line_explains_and_reinterprets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = Places(tmp_path)
    cloud = new_cloud(tmp_path)
    assert places.facts == tmp_path / "facts.sqlite"
    ledger = cloud.ledger(ledger_text(EQUIPMENT))
    cloud.tell(three_days())
    cloud.facts.settle(ledger, day(13))
    cloud.engine.dispose()
    profile = str(tmp_path / "new.yaml")
    Path(profile).write_text(NEW, encoding="utf-8")
    span = ("--from", "1970-01-12T00:00:00Z", "--to", "1970-01-13T00:00:00Z", "--data-dir", str(tmp_path))

    statuses, said = [], []
    for words in (
        ("explain", SITE, RATE, *span),
        ("cloud", "reinterpret", "pump-1", "--site", SITE, "--profile", profile, "--reason", "inverted", *span),
        ("explain", "nope", RATE, *span),
    ):
        with pytest.raises(SystemExit) as ended:
            gatehouse.main(words)
        statuses.append(ended.value.code)
        said.append(capsys.readouterr())

    assert statuses == [0, 0, 1]
    assert json.loads(said[0].out)["result"]["value"] == "7/8"
    assert "UNKNOWN where it needs warning" in said[1].out
    assert (said[2].out, "there is no site 'nope'" in said[2].err) == ("", True)
