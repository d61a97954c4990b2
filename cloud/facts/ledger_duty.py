"""When equipment is required, and what stands for what: calendars, redundancy groups, buildings."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from cloud.facts.days import Span, day_bounds, required_spans
from cloud.facts.equipment_policy import GraceH
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.ledger_values import Name, hours_of_day, minutes_of_hours
from devices.document import Mistake, Path_, Section
from devices.point import Id

Hours = tuple[Annotated[str, AfterValidator(hours_of_day)], ...]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ALWAYS = ("00:00-24:00",)


class Building(Section):
    """A building of the site."""

    id: Id
    name: Name


class Calendar(Section):
    """Required hours of local days: `hours`, on days of `week` those, on `holidays` `holiday_hours` (none)."""

    id: Id
    name: Name
    hours: Hours = Field(default=ALWAYS, max_length=24)
    week: dict[Weekday, Annotated[Hours, Field(max_length=24)]] = Field(default_factory=dict)
    holidays: tuple[date, ...] = Field(default=(), max_length=5_000)
    holiday_hours: Hours = Field(default=(), max_length=24)

    def hours_on(self, day: int) -> tuple[tuple[int, int], ...]:
        """Required hours of a local day (its ordinal), in minutes of wall time."""
        on = date.fromordinal(day)
        named = self.holiday_hours if on in self.holidays else self.week.get(WEEKDAYS[on.weekday()], self.hours)
        return tuple(minutes_of_hours(one) for one in named)


class Redundancy(Section):
    """Equipment that stands for each other: the group delivers while `needed` of it work, or would.

    A member that failed stays up in the count for `grace_h` while the group delivers; `property` is 72 h, left out it
    is as the policy says.
    """

    id: Id
    name: Name
    needed: int = Field(default=1, ge=1, le=1_000)
    grace_h: GraceH | None = None


def duty_mistakes(
    equipment: Sequence[Equipment], calendars: Iterable[Calendar], redundancy: Sequence[Redundancy],
    named: Iterable[tuple[Path_, str | None]],
) -> Iterable[Mistake]:  # fmt: skip
    """Calendars and groups that are named and not there; `named` are further places that name a calendar."""
    known = {one.id for one in calendars}
    groups = {one.id: 0 for one in redundancy}
    for place, calendar in named:
        if calendar is not None and calendar not in known:
            yield Mistake(place, f"there is no calendar {calendar!r}")
    for index, one in enumerate(equipment):
        if one.calendar is not None and one.calendar not in known:
            yield Mistake(("equipment", index, "calendar"), f"there is no calendar {one.calendar!r}")
        if one.redundancy is None:
            continue
        if one.redundancy not in groups:
            yield Mistake(("equipment", index, "redundancy"), f"there is no redundancy group {one.redundancy!r}")
        else:
            groups[one.redundancy] += 1
    for index, group in enumerate(redundancy):
        if group.needed > groups[group.id]:
            yield Mistake(("redundancy", index, "needed"), f"needs {group.needed} of {groups[group.id]} members")


def off_duty_spans(calendar: Calendar, days: Iterable[int], zone: ZoneInfo) -> Iterator[Span]:
    """Outside the required hours of these local days; ascending, neighbours may touch."""
    for day in days:
        begin, end = day_bounds(day, zone)
        for required_from, required_to in required_spans(day, calendar.hours_on(day), zone):
            if begin < required_from:
                yield begin, required_from
            begin = max(begin, required_to)
        if begin < end:
            yield begin, end
