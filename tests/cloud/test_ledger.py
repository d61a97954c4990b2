"""The ledger: what a site consists of, checked as a whole."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from cloud.facts.days import day_bounds
from cloud.facts.ledger import Ledger, parse_ledger
from cloud.facts.ledger_duty import Calendar, off_duty_spans
from devices.errors import ConfigurationError
from tests.cloud.told import ledger_text

NAME = "name: {en: N, zh-CN: N}"
MACHINE = f"{NAME}, code: P, class: pump, criticality: A"
HOUR_MS = 3_600_000


def machine(name: str, more: str = "device: d") -> str:
    return f"{{id: {name}, {MACHINE}, {more}}}"


def parsed(*parts: str) -> Ledger:
    return parse_ledger(ledger_text(*parts), "ledger.yaml")


def test_equipment_has_the_five_fixed_fields_and_says_which_are_open() -> None:
    fixed = "device: d, person: Li, post: Pump room, duty: keep it running, maintenance_days: 30, standard: GB-1"
    done, open_ = parsed(f"equipment: [{machine('p1', fixed)}, {machine('p2', 'device: e, person: Li')}]").equipment

    assert done.not_fixed == ()
    assert open_.not_fixed == ("post", "duty", "maintenance_days", "standard")


def test_what_has_no_device_is_inspected() -> None:
    extinguisher = parsed(f"equipment: [{machine('x1', 'inspection_days: 31')}]")

    assert extinguisher.equipment[0].device == ""
    assert extinguisher.devices == frozenset()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            f"equipment: [{machine('p1', 'code: P')}]".replace("code: P, class", "class"),
            "needs a device, or inspection",
        ),
        (f"equipment: [{machine('p1', 'device: d, replaces: p1')}]", "no other equipment 'p1'"),
        (f"equipment: [{machine('p1', 'device: d, replaces: p9')}]", "no other equipment 'p9'"),
        (
            f"equipment: [{machine('a', 'device: d, fed_by: b')}, {machine('b', 'device: e, fed_by: a')}]",
            "'a' is fed by itself, by way of 'b'",
        ),
        (f"equipment: [{machine('p1', 'device: d, moved_to: site-2')}]", "has not been retired here"),
        (f"equipment: [{machine('p1', 'device: d, calendar: office')}]", "no calendar 'office'"),
        (f"equipment: [{machine('p1', 'device: d, building: b9')}]", "no building 'b9'"),
        (f"equipment: [{machine('p1', 'device: d, zone: z9')}]", "no zone 'z9'"),
        (f"equipment: [{machine('p1', 'device: d, redundancy: pair')}]", "no redundancy group 'pair'"),
        ("class_calendars: {lift: office}", "no calendar 'office'"),
        (f"calendars: [{{id: c, {NAME}, week: {{mo: []}}}}]", "week"),
        (f"redundancy: [{{id: pair, {NAME}, needed: 1}}]", "needs 1 of 0 members"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_its_place(part: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parsed(part)

    assert message in str(refused.value)
    assert str(refused.value).startswith("ledger.yaml:")


def test_a_calendar_knows_weekdays_holidays_and_the_rest() -> None:
    calendar = parsed(
        f"calendars: [{{id: office, {NAME}, hours: ['08:00-12:00', '13:00-18:00'], week: {{sat: ['09:00-12:00'], "
        "sun: []}, holidays: [2026-05-01], holiday_hours: ['10:00-11:00']}]"
    ).calendars[0]

    assert {day: calendar.hours_on(date(2026, 5, day).toordinal()) for day in (1, 2, 3, 4)} == {
        1: ((600, 660),), 2: ((540, 720),), 3: (), 4: ((480, 720), (780, 1080)),
    }  # fmt: skip


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 5, 4), 24)])
def test_what_is_off_duty_is_the_rest_of_a_day_of_any_length(day: date, hours: int) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    calendar = Calendar.model_validate(
        {"id": "c", "name": {"en": "N", "zh-CN": "N"}, "hours": ("08:00-20:00",)}, strict=False
    )
    spans = list(off_duty_spans(calendar, [day.toordinal()], berlin))
    begin, end = day_bounds(day.toordinal(), berlin)

    assert end - begin == hours * HOUR_MS
    assert sum(to_ms - from_ms for from_ms, to_ms in spans) == (hours - 12) * HOUR_MS
    assert (spans[0][0], spans[-1][1]) == (begin, end)
