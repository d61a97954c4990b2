"""Facts: stored once, in any order; the ledger: checked as a whole."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.facts.all_tables import metadata
from cloud.facts.claims import facts_of
from cloud.facts.database import open_database, reading, writing
from cloud.facts.intake import store_facts
from cloud.facts.ledger import parse_ledger
from cloud.facts.timelines import EQUIPMENT_STATES, debounced
from cloud.indicators.definition import BadWindow, UnknownIndicator
from cloud.indicators.registry import (
    compute_indicator,
    compute_site_indicators,
    equipment_overview,
    indicator_ids,
    space_states,
)
from devices.errors import ConfigurationError
from devices.frame import Origin
from devices.states import EquipmentState, SpaceState
from tests.cloud.told import (
    SENSOR,
    SITE,
    Cloud,
    Entry,
    Told,
    Walk,
    bad_link,
    inventory,
    ledger_text,
    new_cloud,
)

DAY_MS = 86_400_000
START_MS = 20_000 * DAY_MS
MINUTE_MS = 60_000
NAME = "name: {en: N, zh-CN: N}"
EQUIPMENT = f"equipment: [{{id: pump, {NAME}, code: P-1, class: pump, criticality: A, device: pump}}]"
FLOOR = f"floors: [{{id: b1, {NAME}, map: B1, width_m: 20.0, height_m: 20.0}}]"
ZONE = (
    f"zones: [{{id: z, {NAME}, floor: b1, geometry: "
    "{type: Polygon, coordinates: [[[0, 0], [20, 0], [20, 20], [0, 20], [0, 0]]]}}]"
)
ROBOT = f"robots: [{{id: r1, {NAME}, device: r1}}]"
PARKING = (
    f"parking: [{{id: cars, {NAME}, floor: b1}}]\n"
    "spaces: [{id: s1, group: cars, device: bay, rect: [0, 0, 3, 5]}, {id: s2, group: cars, rect: [3, 0, 3, 5]}]"
)


def minute(number: int) -> int:
    return START_MS + number * MINUTE_MS


def a_run() -> list[Told]:
    """Two hours around midnight of a pump, a robot and a parking bay, in frames of ten minutes."""
    frames = [
        Told(1, minute(-60), minute(-59), records=inventory(["pump"], minute(-60)), epoch=b"catalog1"),
        Told(2, minute(-59), minute(-58), records=inventory(["bay"], minute(-59), text=SENSOR), epoch=b"catalog1"),
    ]
    for number in range(12):
        begin = minute(-60 + 10 * number)
        entries = [Entry("bay", "occupied", begin + 5000, float(number % 3 == 0))]
        if number % 2 == 0:
            entries.append(Entry("pump", "alarm", begin + 1000, float(number in {4, 6})))
            entries.append(Entry("pump", "running", begin + 1000, float(number % 4 == 0)))
        else:
            entries.append(Entry("pump", "alarm", begin - 599_000, float(number in {5, 7}), begin + 400_000))
        records = (bad_link("pump", begin + 500_000, begin + 440_000),) if number == 9 else ()
        walk = [(begin + 1000 * step, 500 * step % 20_000, 1000 * number) for step in range(20)]
        frames.append(
            Told(number + 1, begin, begin + 10 * MINUTE_MS, tuple(entries), records, (Walk("r1", walk),))
        )  # fmt: skip
    return frames


def results_of(cloud: Cloud) -> list[object]:
    ledger = cloud.ledger(ledger_text(EQUIPMENT, FLOOR, ZONE, ROBOT, PARKING))
    window = (minute(-90), minute(90))
    now_ms = minute(100)
    timelines = cloud.facts.timelines(ledger, *window)
    states = {device: (one.starts.tolist(), one.codes.tolist(), one.end_ms) for device, one in timelines.items()}
    overview = [
        (one.state, one.since_ms, one.strip, one.intact_24h) for one in equipment_overview(cloud.facts, ledger, now_ms)
    ]
    return [
        states, compute_site_indicators(cloud.facts, ledger, window, now_ms), overview,
        space_states(cloud.facts, ledger, now_ms),
    ]  # fmt: skip


@given(st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_repetition_of_frames_gives_the_same_states_and_indicators(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    frames = a_run()
    order = data.draw(st.permutations(range(len(frames))))
    again = data.draw(st.lists(st.sampled_from(range(len(frames))), max_size=6))
    look_after = data.draw(st.integers(0, len(frames)))
    straight = new_cloud(tmp_path_factory.mktemp("straight"))
    straight.tell(frames)
    shuffled = new_cloud(tmp_path_factory.mktemp("shuffled"))
    mixed = [*order, *again]
    shuffled.tell(frames[index] for index in mixed[:look_after])
    results_of(shuffled)  # what was computed too early must not stay
    shuffled.tell(frames[index] for index in mixed[look_after:])

    assert results_of(shuffled) == results_of(straight)
    straight.engine.dispose()
    shuffled.engine.dispose()


HEADLINES = {"equipment.intact_rate", "robot.coverage", "parking.occupancy", "data.coverage"}


def test_the_run_of_the_property_test_says_something(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.tell(a_run())
    ledger = cloud.ledger(ledger_text(EQUIPMENT, FLOOR, ZONE, ROBOT, PARKING))
    found = compute_site_indicators(cloud.facts, ledger, (minute(-60), minute(60)), minute(60))

    assert [result.id for result in found] == list(indicator_ids())
    shares = [result for result in found if result.id in HEADLINES]
    assert len(shares) == len(HEADLINES)
    assert all(result.value is not None and 0 < result.value < 1 for result in shares)
    cloud.engine.dispose()


def test_a_frame_that_is_stored_again_changes_nothing(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "facts.sqlite")
    facts = facts_of(a_run()[3].frame(), 0, SITE)
    with writing(engine) as connection:
        assert store_facts(connection, facts)
        assert not store_facts(connection, facts)
    engine.dispose()


def test_the_migrations_make_the_tables_that_the_code_names(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "facts.sqlite")
    with reading(engine) as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)

    assert difference == []
    assert all(next(iter(table.primary_key.columns)).name == "site" for table in metadata.tables.values())
    engine.dispose()


def pump_states(cloud: Cloud, from_ms: int, to_ms: int) -> list[tuple[int, str]]:
    ledger = cloud.ledger(ledger_text(EQUIPMENT))
    timeline = debounced(cloud.facts.timelines(ledger, from_ms, to_ms)["pump"].clipped(from_ms, to_ms), 0)
    names = [EQUIPMENT_STATES[code].value for code in timeline.codes.tolist()]
    return [((start - START_MS) // 1000, name) for start, name in zip(timeline.starts.tolist(), names, strict=True)]


def test_a_value_is_held_after_the_last_frame_and_then_unknown(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.tell([
        Told(1, minute(0), minute(5), (Entry("pump", "alarm", minute(1), 0.0),), inventory(["pump"], minute(0)))
    ])  # fmt: skip

    assert pump_states(cloud, minute(0), minute(10)) == [(0, "unknown"), (60, "standby"), (360, "unknown")]
    cloud.engine.dispose()


def test_contact_lost_while_in_fault_stays_fault_until_data_prove_it_intact(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    day = 24 * 60
    cloud.tell([
        Told(1, minute(0), minute(5), (Entry("pump", "alarm", minute(1), 1.0),), inventory(["pump"], minute(0))),
        Told(1, minute(3 * day), minute(3 * day + 5), (Entry("pump", "alarm", minute(3 * day), 0.0),),
             epoch=b"epoch--2"),
    ])  # fmt: skip

    assert pump_states(cloud, minute(0), minute(3 * day + 1)) == [
        (0, "unknown"), (60, "fault"), (3 * 86_400, "standby")
    ]  # fmt: skip
    cloud.engine.dispose()


def test_the_first_moments_of_an_agent_before_its_clock_is_trusted_count(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    trusted_ms = minute(0) + 300
    cloud.tell([
        Told(1, minute(0), trusted_ms, (Entry("pump", "alarm", minute(0), 0.0),), inventory(["pump"], minute(0)),
             clock_run=b"untruste", trusted=False),
        Told(2, trusted_ms, minute(5), (Entry("pump", "alarm", minute(0), 0.0, trusted_ms),), clock_run=b"trusted-"),
    ])  # fmt: skip

    assert pump_states(cloud, minute(0), minute(5)) == [(0, "standby")]
    cloud.engine.dispose()


def test_back_filled_frames_replace_unknown(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    first = Told(1, minute(0), minute(5), (Entry("pump", "alarm", minute(1), 0.0),), inventory(["pump"], minute(0)))
    hole, last = Told(2, minute(5), minute(60)), Told(3, minute(60), minute(65))
    cloud.tell([first, last])
    before = pump_states(cloud, minute(0), minute(65))
    cloud.tell([hole])

    assert before[-1] == (360, "unknown")
    assert pump_states(cloud, minute(0), minute(65)) == [(0, "unknown"), (60, "standby")]
    cloud.engine.dispose()


def test_live_goes_before_import_at_one_moment(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    imported = Told(
        9, minute(0), minute(9), (Entry("pump", "alarm", minute(1), 1.0),), epoch=b"imported", origin=Origin.IMPORT
    )
    live = Told(1, minute(0), minute(5), (Entry("pump", "alarm", minute(1), 0.0),), inventory(["pump"], minute(0)))
    cloud.tell([live, imported])

    assert pump_states(cloud, minute(1), minute(3)) == [(60, "standby")]
    cloud.engine.dispose()


def test_a_space_without_a_sensor_is_never_known(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.tell(a_run())
    ledger = cloud.ledger(ledger_text(FLOOR, PARKING))

    states = space_states(cloud.facts, ledger, minute(50) + 30_000)

    assert states == {"s1": SpaceState.FREE, "s2": SpaceState.UNKNOWN}
    cloud.engine.dispose()


def test_the_overview_tells_state_since_and_strip(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.tell([
        Told(1, minute(0), minute(30), (Entry("pump", "alarm", minute(0), 0.0),), inventory(["pump"], minute(0))),
        Told(2, minute(30), minute(40), (Entry("pump", "running", minute(20), 1.0),)),
    ])  # fmt: skip
    found = equipment_overview(cloud.facts, cloud.ledger(ledger_text(EQUIPMENT)), minute(25))[0]

    assert found.state is EquipmentState.RUN
    assert found.since_ms == minute(20)
    assert found.intact_24h == 1
    assert len(found.strip) == 24
    assert found.strip[0] is EquipmentState.UNKNOWN
    cloud.engine.dispose()


def test_unknown_indicators_and_windows_are_refused(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(ledger_text())
    with pytest.raises(UnknownIndicator):
        compute_indicator(cloud.facts, ledger, "equipment.luck", "24h", 0)
    with pytest.raises(BadWindow):
        compute_indicator(cloud.facts, ledger, "equipment.intact_rate", "yesterday", 0)
    with pytest.raises(BadWindow):
        compute_indicator(cloud.facts, ledger, "equipment.intact_rate", (5, 1), 0)
    cloud.engine.dispose()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (EQUIPMENT.replace("device: pump", "device: pump, floor: b9"), "there is no floor 'b9'"),
        (
            EQUIPMENT.replace("]", f", {{id: pump, {NAME}, code: P, class: p, criticality: A, device: q}}]"),
            "stands here twice",
        ),
        (
            EQUIPMENT.replace("]", f", {{id: p2, {NAME}, code: P, class: p, criticality: A, device: pump}}]"),
            "already gives",
        ),
        (FLOOR + "\n" + ZONE.replace("[20, 20], [0, 20]", "[0, 20], [20, 20]"), "Self-intersection"),
        (FLOOR + "\n" + ZONE.replace("[20, 20]", "[20, 25]"), "reaches beyond the floor"),
        (EQUIPMENT.replace("criticality", "criticallity"), "unknown key 'criticallity'"),
        (FLOOR + "\n" + ZONE.replace("floor: b1", 'floor: b1, required_hours: ["08:10-20:00"]'), "quarter hours"),
    ],
)
def test_a_wrong_ledger_is_refused_with_its_place(part: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_ledger(ledger_text(part), "ledger.yaml")

    assert message in str(refused.value)
    assert str(refused.value).startswith("ledger.yaml:")


def test_a_zone_that_nobody_knows_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"^ledger.yaml:\d+:\d+: .*IANA time zone"):
        parse_ledger(ledger_text(zone="Mars/Phobos"), "ledger.yaml")
