import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from cloud.alerts.people import KINDS, Roster, parse, roster_of
from cloud.facts.database import open_database, reading, writing
from cloud.facts.inputs import EVERY_SITE, enter

ZONE = ZoneInfo("Asia/Shanghai")
DOCUMENTS = {
    "person": ("li.wei", {"name": "Li Wei", "language": "zh-CN", "channels": ["mail"]}),
    "team": ("leads", {"name": "Leads", "people": ["zhao.min", "li.wei"]}),
    "duty-calendar": (
        "duty",
        {
            "name": "Duty",
            "shifts": [
                {"days": [1, 2, 3, 4, 5], "from": "08:00", "to": "20:00", "people": ["li.wei"]},
                {"days": [5], "from": "20:00", "to": "08:00", "people": ["wang.fang"], "last": "2026-11-20"},
            ],
        },
    ),
    "ladder": (
        "ladder",
        {
            "levels": [{"calendar": "duty"}, {"team": "leads"}, {"people": ["director"]}],
            "red_team": "leads",
            "quiet": {"from": "22:00", "to": "07:00"},
        },
    ),
}


def site_time(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000)


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    """As entered, the person for every site and the rest for one."""
    engine = open_database(tmp_path / "facts.sqlite")
    with writing(engine) as connection:
        for kind, (name, document) in DOCUMENTS.items():
            site = EVERY_SITE if kind == "person" else "s"
            text = json.dumps(document)
            enter(connection, site, kind, name, text, actor="li", reason="first", recorded_ms=1, valid_from_ms=0)
        enter(connection, "s", "team", "odd", "[]", actor="li", reason="x", recorded_ms=1, valid_from_ms=0)
    with reading(engine) as connection:
        found = roster_of(connection, "s", ZONE, site_time("2026-11-20T12:00"))
    engine.dispose()
    return found


def test_who_is_on_duty_follows_the_calendar_in_site_time(roster: Roster) -> None:
    # 2026-11-20 is a Friday; the shift over midnight is Friday's and the last one on the 20th
    moments = ("2026-11-20T07:59", "2026-11-20T08:00", "2026-11-20T20:00", "2026-11-21T07:59", "2026-11-21T09:00")
    on_duty = [roster.on_duty("duty", site_time(moment)) for moment in moments]

    assert on_duty == [(), ("li.wei",), ("wang.fang",), ("wang.fang",), ()]
    assert roster.on_duty("duty", site_time("2026-11-27T21:00")) == ()


def test_each_level_of_the_ladder_adds_people_and_red_its_team(roster: Roster) -> None:
    noon = site_time("2026-11-20T12:00")
    levels = [roster.to_tell(level, noon, red=False, assignee="chen") for level in (1, 2, 3)]

    assert levels[0] == ("chen", "li.wei")
    assert levels[1] == ("chen", "li.wei", "zhao.min")
    assert levels[2] == ("chen", "li.wei", "zhao.min", "director")
    assert roster.to_tell(1, noon, red=True) == ("zhao.min", "li.wei")
    assert Roster().to_tell(3, noon, red=True) == ()


def test_quiet_hours_pass_midnight(roster: Roster) -> None:
    moments = ("21:59", "22:00", "03:00", "06:59", "07:00")
    quiet = [roster.is_quiet(site_time(f"2026-11-20T{moment}")) for moment in moments]

    assert quiet == [False, True, True, True, False]
    assert not Roster(UTC).is_quiet(0)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("ladder", {"levels": []}),
        ("ladder", {"levels": [{}] * 4}),
        ("ladder", {"levels": [{}], "quiet": {"from": "7:00", "to": "24:00"}}),
        ("duty-calendar", {"name": "x", "shifts": [{"days": [8], "from": "08:00", "to": "09:00", "people": []}]}),
        ("person", {"name": ""}),
        ("team", {"name": "x", "poeple": []}),
    ],
)
def test_what_makes_no_sense_is_refused(kind: str, document: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        parse(kind, json.dumps(document))


def test_every_kind_of_input_has_its_example() -> None:
    assert [type(parse(kind, json.dumps(DOCUMENTS[kind][1]))) for kind in KINDS] == list(KINDS.values())
