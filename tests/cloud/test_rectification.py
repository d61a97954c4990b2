"""Rectification: five steps, evidence, export; real server and files."""

import csv
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from cloud.alerts.alert import BadRequest
from cloud.alerts.attachments import BYTES_MAX, PER_ITEM_MAX, AttachmentStore, Unacceptable, media_type_of
from cloud.alerts.handling import Acknowledged
from cloud.alerts.rectification import (
    Changed,
    Event,
    Forward,
    Item,
    Late,
    Planned,
    Quadrant,
    Reported,
    SentBack,
    Step,
    Withdrawn,
    WrongStep,
    step,
)
from cloud.facts.database import open_database
from devices.errors import StorageUnavailable
from devices.instants import format_instant
from devices.rules import Severity
from tests.cloud.live_world import SITE
from tests.cloud.test_api import Site, site_served

Json = dict[str, Any]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
DAY_MS = 86_400_000


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with site_served(tmp_path) as one:
        yield one


def lived(*events: tuple[int, Event]) -> tuple[Item, list[str]]:
    item: Item | None = None
    kinds: list[str] = []
    for now_ms, event in events:
        item, entries = step(item, event, now_ms)
        kinds += [entry.kind for entry in entries]
    assert item is not None
    return item, kinds


FRESH = (1, Reported(Item("ri_1", "s", "Lamp", 1)))
ASSIGNED = (3, Forward("li", Step.ASSIGNED, owner="wang", due_ms=100))
TO_ASSIGNED = FRESH, (2, Forward("li", Step.ACCEPTED)), ASSIGNED


def test_an_item_goes_through_its_five_steps_one_by_one() -> None:
    done = (4, Forward("wang", Step.EXECUTED)), (5, Forward("li", Step.VERIFIED))
    item, kinds = lived(*TO_ASSIGNED, *done)
    skipping = Forward("li", Step.EXECUTED)

    assert kinds == ["reported", "accepted", "assigned", "executed", "verified"]
    assert (item.owner, item.executed_by, item.closed_by, item.progress) == ("wang", "wang", "li", 100)
    with pytest.raises(WrongStep):
        lived(FRESH, (2, skipping))
    with pytest.raises(WrongStep):
        lived(*TO_ASSIGNED, *done, (6, Planned("li", "too late")))


def test_assigning_needs_an_owner_and_a_date() -> None:
    accepted = FRESH, (2, Forward("li", Step.ACCEPTED))
    for event in (Forward("li", Step.ASSIGNED, due_ms=9), Forward("li", Step.ASSIGNED, owner="wang")):
        with pytest.raises(BadRequest):
            lived(*accepted, (3, event))
    with pytest.raises(BadRequest):
        lived(*TO_ASSIGNED, (4, Changed("li", {"owner": ""})))


def test_what_is_not_good_enough_goes_back_to_its_owner() -> None:
    executed = *TO_ASSIGNED, (4, Forward("wang", Step.EXECUTED))
    item, kinds = lived(*executed, (5, SentBack("li", "still leaks")))

    assert (item.step, item.executed_ms, kinds[-1]) == (Step.ASSIGNED, None, "sent-back")
    with pytest.raises(BadRequest):
        lived(*executed, (5, SentBack("li", " ")))
    with pytest.raises(WrongStep):
        lived(*TO_ASSIGNED, (5, SentBack("li", "x")))


def test_a_date_passes_once_until_it_is_moved() -> None:
    late = *TO_ASSIGNED, (99, Late()), (100, Late()), (101, Late())
    item, kinds = lived(*late)
    moved, _ = lived(*late, (102, Changed("li", {"due_ms": 200})))
    executed, _ = lived(*TO_ASSIGNED, (4, Forward("wang", Step.EXECUTED)), (101, Late()))

    assert (kinds.count("overdue"), item.overdue) == (1, True)
    assert (moved.overdue, executed.overdue) == (False, False)


def test_what_a_person_withdrew_stays_so_and_what_ended_by_itself_comes_back() -> None:
    by_person, _ = lived(FRESH, (2, Withdrawn("li", "no matter")), (3, FRESH[1]))
    by_itself, kinds = lived(FRESH, (2, Withdrawn()), (3, FRESH[1]))

    assert (by_person.is_closed, by_person.is_planned) == (True, True)
    assert (by_itself.is_closed, kinds) == (False, ["reported", "withdrawn", "reopened"])


@pytest.mark.parametrize(
    ("severity", "criticality", "quadrant"),
    [
        (Severity.RED, "C", Quadrant.NOW),
        (Severity.ORANGE, "A", Quadrant.NOW),
        (Severity.ORANGE, "B", Quadrant.HAND_ON),
        (Severity.YELLOW, "A", Quadrant.PLAN),
        (Severity.YELLOW, "", Quadrant.LATER),
    ],
)
def test_colour_and_criticality_give_the_quadrant(severity: Severity, criticality: str, quadrant: Quadrant) -> None:
    assert Item("ri", "s", "", 0, severity=severity, criticality=criticality).quadrant is quadrant


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"%PDF-1.7", "application/pdf"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        ("泵房照片,已更换\r\n".encode(), "text/plain"),
        (b"<script>alert(1)</script>", None),
        (b" \n<svg xmlns='x'>", None),
        (b"PK\x03\x04", None),
        (b"MZ\x90\x00", None),
        (b"", None),
        (b"\xff\xfe\x00", None),
    ],
)
def test_a_file_is_what_its_bytes_say(content: bytes, media_type: str | None) -> None:
    assert media_type_of(content) == media_type


def test_files_are_kept_by_their_hash_and_a_changed_one_is_not_given_out(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "facts.sqlite")
    store = AttachmentStore(engine, tmp_path / "files")
    kept = store.add("s", "ri_1", "../../etc/passwd\r\nX: y.png", PNG, actor="li", now_ms=1)
    again = store.add("s", "ri_1", "other.png", PNG, actor="wang", now_ms=2)
    for content in (b"", bytes(BYTES_MAX + 1), b"MZ\x90\x00"):
        with pytest.raises(Unacceptable):
            store.add("s", "ri_1", "x", content, actor="li", now_ms=3)
    for number in range(PER_ITEM_MAX - 1):
        store.add("s", "ri_1", "note.txt", f"note {number}".encode(), actor="li", now_ms=4)
    with pytest.raises(Unacceptable):
        store.add("s", "ri_1", "note.txt", b"one too many", actor="li", now_ms=5)
    files = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    digest = hashlib.sha256(PNG).hexdigest()

    assert again == kept
    assert (kept.name, kept.sha256, kept.media_type) == ("passwdX y.png", digest, "image/png")
    assert len(files) == PER_ITEM_MAX
    assert store.content(kept) == PNG
    (tmp_path / "files" / digest[:2] / digest).write_bytes(PNG + b"x")
    with pytest.raises(StorageUnavailable):
        store.content(kept)
    engine.dispose()


async def handled(site: Site, path: str, body: Json, **headers: str) -> Json:
    url = f"/api/v1/rectification/{path}".rstrip("/")
    answer = await site.http.post(url, json={"actor": "li", **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def orange_item(site: Site) -> Json:
    """The item that a silent gateway opens."""
    assert site.services.office is not None
    site.world.inventory()
    await site.world.after(200)
    await site.services.office.desk.attend(SITE)
    [item] = (await site.http.get("/api/v1/rectification")).json()["items"]
    found: Json = item
    return found


async def test_an_orange_alert_is_tracked_from_report_to_verification(site: Site) -> None:
    item = await orange_item(site)
    due = format_instant(site.world.now_ms + DAY_MS)
    await handled(site, f"{item['id']}/plan", {"plan": "second uplink over 4G"})
    await handled(site, f"{item['id']}/step", {"to": "accepted"})
    assigned = await handled(site, f"{item['id']}/step", {"to": "assigned", "owner": "wang", "due": due})
    changes = {"actor": "li", "budget": {"amount": 30_000_000, "currency": "CNY"}, "progress": 40, "ticket": "WO-7"}
    path = f"/api/v1/rectification/{item['id']}"
    bare = await site.http.patch(path, json=changes)
    stale = await site.http.patch(path, json=changes, headers={"If-Match": '"1"'})
    changed = await site.http.patch(path, json=changes, headers={"If-Match": f'"{assigned["version"]}"'})
    site.world.now_ms += 3_600_000
    await handled(site, f"{item['id']}/step", {"to": "executed", "note": "installed"})
    site.world.now_ms += DAY_MS
    await handled(site, f"{item['id']}/step", {"to": "verified"})
    detail = (await site.http.get(path)).json()
    listed = (await site.http.get("/api/v1/rectification")).json()["items"]

    assert (item["step"], item["severity"], item["thing"]) == ("reported", "orange", "gw-1")
    assert (bare.status_code, stale.status_code, changed.status_code) == (428, 412, 200)
    assert changed.json()["budget"] == {"amount": 30_000_000, "currency": "CNY"}
    kinds = [entry["kind"] for entry in detail["history"]]
    assert kinds == ["reported", "planned", "accepted", "assigned", "changed", "executed", "verified"]
    assert detail["effect"]["before"]["window"]["to"] <= item["reported_at"]
    assert detail["effect"]["after"]["window"]["from"] == detail["executed_at"]
    assert listed == []


async def test_evidence_comes_back_as_it_was_sent_and_is_in_the_history(site: Site) -> None:
    item = await orange_item(site)
    path = f"/api/v1/rectification/{item['id']}/attachments"
    photo = PNG + bytes(2 * 1024 * 1024)
    sent = await site.http.post(path, params={"name": "泵房.png", "actor": "li"}, content=photo)
    again = await site.http.post(path, params={"name": "泵房.png", "actor": "li"}, content=photo)
    wrong = await site.http.post(path, params={"name": "a.png", "actor": "li"}, content=b"<html>")
    large = await site.http.post(path, params={"name": "a.png", "actor": "li"}, content=PNG + bytes(BYTES_MAX))
    back = await site.http.get(f"{path}/{sent.json()['id']}")
    detail = (await site.http.get(f"/api/v1/rectification/{item['id']}")).json()

    assert (sent.status_code, again.json()) == (200, sent.json())
    assert (wrong.status_code, wrong.json()["code"]) == (422, "unacceptable_file")
    assert large.status_code == 413
    assert back.content == photo
    assert back.headers["x-content-type-options"] == "nosniff"
    assert back.headers["content-disposition"].startswith("attachment")
    assert [entry["detail"] for entry in detail["history"] if entry["kind"] == "noted"] == [
        {"attachment": sent.json()["sha256"]}
    ]
    assert [one["name"] for one in detail["attachments"]] == ["泵房.png"]


async def test_the_table_is_exported_with_numbers_as_numbers_and_no_formula(site: Site) -> None:
    item = await orange_item(site)
    await handled(site, "", {"site": SITE, "title": "=HYPERLINK(evil)", "thing": "pump-3", "severity": "red"})
    etag = {"If-Match": f'"{item["version"]}"'}
    budget = {"actor": "li", "budget": {"amount": 123_456, "currency": "CNY"}}
    await site.http.patch(f"/api/v1/rectification/{item['id']}", json=budget, headers=etag)
    text = (await site.http.get("/api/v1/rectification/export")).content.decode("utf-8-sig")
    book = await site.http.get("/api/v1/rectification/export", params={"format": "xlsx", "language": "zh-CN"})
    rows = list(csv.DictReader(io.StringIO(text)))
    sheet = openpyxl.load_workbook(io.BytesIO(book.content)).active

    assert {row["Thing"]: row["Quadrant"] for row in rows} == {"gw-1": "Urgent", "Fire pump 3": "Urgent and important"}
    assert "'=HYPERLINK(evil)" in [row["Matter"] for row in rows]
    assert sheet is not None
    table = list(sheet.iter_rows(values_only=True))
    headings = list(table[0])
    cells = [dict(zip(headings, row, strict=True)) for row in table[1:]]
    assert {cell["步骤"] for cell in cells} == {"已报告"}
    assert 1234.56 in [cell["预算"] for cell in cells]
    assert "=HYPERLINK(evil)" in [cell["问题"] for cell in cells]


async def test_lists_choose_by_step_owner_and_what_is_overdue(site: Site) -> None:
    item = await orange_item(site)
    await handled(site, "", {"site": SITE, "title": "Bins"})

    async def count(**query: str) -> int:
        return len((await site.http.get("/api/v1/rectification", params=query)).json()["items"])

    before = await count(overdue="true")
    site.world.now_ms += 2 * DAY_MS

    chosen = [await count(**query) for query in ({}, {"step": "accepted"}, {"owner": "wang"}, {"site": "x"})]
    assert chosen == [2, 0, 0, 0]
    assert (before, await count(overdue="true")) == (0, 1)
    assert (await site.http.get("/api/v1/rectification/ri_0")).status_code == 404
    assert (await site.http.get("/api/v1/rectification?step=sixth")).status_code == 422
    await handled(site, f"{item['id']}/plan", {"plan": "x"})
    assert await count(overdue="true") == 0


async def test_each_change_tells_a_work_order_system_once(site: Site) -> None:
    item = await orange_item(site)
    due = format_instant(site.world.now_ms + DAY_MS)
    await handled(site, f"{item['id']}/step", {"to": "accepted"})
    await handled(site, f"{item['id']}/step", {"to": "assigned", "owner": "wang", "due": due})
    site.world.now_ms += DAY_MS
    assert site.services.office is not None
    [alert] = site.world.engine.open_alerts(SITE)
    await site.world.engine.book.handle(alert, Acknowledged("li"))
    for _ in range(2):
        await site.services.office.desk.attend(SITE)
    orders = [one for one in reversed(site.services.office.outbox.of_site(SITE)) if one.kind == "work-order"]
    events = [one.event.removeprefix("io.gatehouse.rectification.") for one in orders]

    assert events[:3] == ["reported", "accepted", "assigned"]
    assert events.count("overdue") == 1
    assert orders[2].people == ("wang",)
    assert orders[2].data["due"] == due
    assert len({one.id for one in orders}) == len(orders)
