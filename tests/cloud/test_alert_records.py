"""The records of alerts: append-only, bound in a chain, taken over from the schema before."""

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command

from cloud.alerts.alert import Entry, Key
from cloud.alerts.chain import breaks, head, linked
from cloud.alerts.handling import Acknowledged, Commented
from cloud.alerts.rectification import Planned
from cloud.alerts.store import AlertStore, Filter, VersionMismatch
from cloud.facts.database import migrations, open_database, reading, writing
from cloud.facts.tables_alerts import alert_chain, alert_entries
from tests.cloud.desk_world import SITE, DeskWorld, at_the_desk


async def written(world: DeskWorld) -> None:
    """Alerts and an item with some entries."""
    alert = await world.raised("fan-1")
    await world.raised("fan-2")
    await world.after(1)
    await world.done(alert, Acknowledged("li"))
    await world.done(alert, Commented("li", "bearing"))
    [item, _] = world.items.open_items(SITE)
    await world.items.handle(item.id, Planned("li", "replace"))


def broken(world: DeskWorld) -> list[int]:
    with reading(world.database) as connection:
        return list(breaks(connection, SITE))


async def test_the_chain_binds_every_entry_of_alerts_and_items(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await written(world)
        with reading(world.database) as connection:
            entries = connection.execute(sa.select(sa.func.count()).select_from(alert_entries)).scalar_one()
            length, digest = head(connection, SITE)

        assert (length, len(digest), broken(world)) == (entries, 32, [])
        assert entries >= 7


@pytest.mark.parametrize(
    ("change", "at"),
    [
        (sa.update(alert_entries).where(alert_entries.c.kind == "acknowledged").values(actor="wang"), [5]),
        (sa.update(alert_entries).where(alert_entries.c.kind == "acknowledged").values(detail='{"a":"b"}'), [5]),
        (sa.delete(alert_entries).where(alert_entries.c.kind == "commented"), [6]),
        (sa.delete(alert_chain).where(alert_chain.c.position == 6), [7]),
        (sa.delete(alert_chain).where(alert_chain.c.position >= 6), [0]),
    ],
)
async def test_nobody_changes_the_records_unseen(
    tmp_path: Path, change: "sa.Delete | sa.Update", at: list[int]
) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await written(world)
        with writing(world.database) as connection:
            assert connection.execute(change).rowcount > 0

        assert broken(world) == at


async def test_two_processes_cannot_write_the_same_version(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        alert = await world.raised("fan-1")
        [opened] = world.store.history(alert)
        with pytest.raises(VersionMismatch):
            world.store.save([(alert, [opened])])

        assert broken(world) == []


async def test_what_another_process_did_meanwhile_counts(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world, at_the_desk(tmp_path / "facts.sqlite") as other:
        alert = await world.raised("fan-1")
        await other.book.load()
        await other.done(alert, Acknowledged("wang"))
        await world.done(alert, Commented("li", "on my way"))
        kinds = [entry.kind for entry in world.store.history(alert)]

        assert kinds == ["opened", "acknowledged", "commented"]
        assert world.alert("fan-1").acknowledged_by == "wang"


def test_alerts_of_the_schema_before_are_taken_over_with_their_history(tmp_path: Path) -> None:
    path = tmp_path / "facts.sqlite"
    old = sa.create_engine(f"sqlite:///{path}")
    body = {
        "id": "al_1", "key": {"site": "s", "rule": "equipment-fault-a", "thing": "pump-3"}, "severity": "red",
        "condition": "active", "handling": "new", "opened_ms": 5, "last_ms": 5, "text": "alert.equipment_fault",
        "parameters": {}, "version": 2,
    }  # fmt: skip
    with old.begin() as connection:
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.execute(
            sa.text(
                "INSERT INTO alert_records (site, id, rule, thing, severity, condition, handling, historical, last_ms,"
                " version, body) VALUES ('s', 'al_1', 'r', 't', 'red', 'active', 'new', 0, 5, 2, :body)"
            ),
            {"body": msgspec.json.encode(body)},
        )
        for version, kind in ((1, "opened"), (2, "acknowledged")):
            connection.execute(
                sa.text("INSERT INTO alert_entries VALUES ('s', 'al_1', :v, :k, 5, 6, '', '水')"),
                {"v": version, "k": kind},
            )
    old.dispose()
    engine = open_database(path)
    store = AlertStore(engine)
    [alert] = store.page(Filter(), 10)
    with reading(engine) as connection:
        found, length = list(breaks(connection, "s")), head(connection, "s")[0]
    history = store.history(alert)
    engine.dispose()

    assert (alert.key, alert.active_by("cloud")) == (Key("s", "equipment-fault-a", "pump-3"), True)
    assert (found, length) == ([], 2)
    assert [entry.note for entry in history] == ["水", "水"]


def test_the_hash_is_what_the_documentation_says() -> None:
    said = b'["s","al_1",1,"opened",5,6,"","",{}]'

    assert linked(b"x", "s", "al_1", Entry(1, "opened", 5, 6)) == sha256(b"x" + said).digest()
