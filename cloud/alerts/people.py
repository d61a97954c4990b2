"""Who is told: people, teams, calendars of who is on duty, and the ladder of a site. Inputs that people enter.

Kinds of inputs (cloud/facts/inputs.py), each with its document:

    person          {"name": "Li Wei", "language": "zh-CN", "channels": ["mail-li"]}
    team            {"name": "Night shift", "people": ["li.wei", "wang.fang"]}
    duty-calendar   {"name": "Duty", "shifts": [{"days": [1, 2, 3, 4, 5], "from": "08:00", "to": "20:00",
                     "people": ["li.wei"], "first": "2026-01-01", "last": "2026-12-31"}]}
    ladder          {"levels": [{"calendar": "duty"}, {"team": "leads"}, {"people": ["zhao.min"]}],
                     "red_team": "incident", "quiet": {"from": "22:00", "to": "07:00"}}

Days are 1 (Monday) to 7; hours are those of the site's zone and may pass midnight (the day is that of the beginning).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
import structlog

from cloud.alerts.duties import LEVELS
from cloud.facts.inputs import EVERY_SITE, at_moment, inputs_of

PEOPLE_MAX = 500
SHIFTS_MAX = 500
_log = structlog.get_logger(__name__)

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Ids = Annotated[tuple[Text, ...], msgspec.Meta(max_length=PEOPLE_MAX)]
Clock = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input of these kinds."""


class Person(Document, frozen=True):
    """Somebody who can be told. `channels` are ids of notification channels."""

    name: Text
    language: Literal["en", "zh-CN"] = "en"
    channels: Ids = ()


class Team(Document, frozen=True):
    """Some people."""

    name: Text
    people: Ids = ()


class Hours(Document, frozen=True):
    """A stretch of the day in site time, over midnight when it ends before it begins."""

    from_: Clock = msgspec.field(name="from")
    to: Clock


class Shift(Document, frozen=True):
    """Who is on duty on which days from when to when; `first` and `last` are the first and last day of it."""

    days: Annotated[frozenset[Annotated[int, msgspec.Meta(ge=1, le=7)]], msgspec.Meta(min_length=1)]
    from_: Clock = msgspec.field(name="from")
    to: Clock
    people: Ids
    first: date | None = None
    last: date | None = None


class DutyCalendar(Document, frozen=True):
    """Who is on duty when."""

    name: Text
    shifts: Annotated[tuple[Shift, ...], msgspec.Meta(max_length=SHIFTS_MAX)] = ()


class Rung(Document, frozen=True):
    """Who is told at one level of the ladder: all of these together."""

    calendar: Text | None = None
    team: Text | None = None
    people: Ids = ()


class Ladder(Document, frozen=True):
    """Who is told first and who next, and when yellow alerts wait for the morning."""

    levels: Annotated[tuple[Rung, ...], msgspec.Meta(min_length=1, max_length=LEVELS)]
    red_team: Text | None = None  # told of every red alert at once
    quiet: Hours | None = None


KINDS: Mapping[str, type[Document]] = {
    "person": Person,
    "team": Team,
    "duty-calendar": DutyCalendar,
    "ladder": Ladder,
}
LADDER = "ladder"  # the id of a site's only one


def parse(kind: str, document: str | bytes) -> Document:
    """An input of one of `KINDS`. Raises msgspec.MsgspecError with what is wrong and where."""
    return msgspec.json.decode(document, type=KINDS[kind])


@dataclass(frozen=True, slots=True)
class Roster:
    """Everybody of a site, as entered by one moment."""

    zone: tzinfo = UTC
    people: Mapping[str, Person] = field(default_factory=dict)
    teams: Mapping[str, Team] = field(default_factory=dict)
    calendars: Mapping[str, DutyCalendar] = field(default_factory=dict)
    ladder: Ladder | None = None

    def on_duty(self, calendar: str, time_ms: int) -> tuple[str, ...]:
        """Who a calendar says is on duty at a moment."""
        known = self.calendars.get(calendar)
        if known is None:
            return ()
        moment = self._local(time_ms)
        return _once(name for shift in known.shifts if _is_within(shift, moment) for name in shift.people)

    def to_tell(self, level: int, time_ms: int, *, red: bool, assignee: str | None = None) -> tuple[str, ...]:
        """Whom an alert is told to at a level of the ladder: all levels up to it, and who it is assigned to."""
        named = [assignee] if assignee else []
        if self.ladder is None:
            return _once(named)
        if red and self.ladder.red_team is not None:
            named += self._team(self.ladder.red_team)
        for rung in self.ladder.levels[:level]:
            if rung.calendar is not None:
                named += self.on_duty(rung.calendar, time_ms)
            if rung.team is not None:
                named += self._team(rung.team)
            named += rung.people
        return _once(named)

    def is_quiet(self, time_ms: int) -> bool:
        """Whether yellow alerts wait."""
        if self.ladder is None or self.ladder.quiet is None:
            return False
        begin, end = _minutes(self.ladder.quiet.from_), _minutes(self.ladder.quiet.to)
        moment = self._local(time_ms)
        minute = moment.hour * 60 + moment.minute
        return begin <= minute < end if begin < end else minute >= begin or minute < end

    def _team(self, team: str) -> tuple[str, ...]:
        known = self.teams.get(team)
        return known.people if known is not None else ()

    def _local(self, time_ms: int) -> datetime:
        return datetime.fromtimestamp(time_ms / 1000, self.zone)


def roster_of(connection: sa.Connection, site: str, zone: tzinfo, now_ms: int) -> Roster:
    """Everybody of a site: who was entered for it, and for every site. What cannot be read is left out and logged."""
    found: dict[str, dict[str, Any]] = {}
    for kind, struct in KINDS.items():
        for where in (EVERY_SITE, site):
            for one in at_moment(inputs_of(connection, where, kind), now_ms):
                try:
                    found.setdefault(kind, {})[one.id] = msgspec.json.decode(one.document, type=struct)
                except msgspec.MsgspecError as error:
                    _log.warning("an input cannot be used", site=where, kind=kind, id=one.id, problem=str(error))
    return Roster(
        zone=zone,
        people=found.get("person", {}),
        teams=found.get("team", {}),
        calendars=found.get("duty-calendar", {}),
        ladder=found.get("ladder", {}).get(LADDER),
    )


def ladder_mistake(ladder: Ladder, roster: Roster) -> str | None:
    """What of a ladder would tell nobody, or never anybody of yellow alerts; None when nothing would."""
    if ladder.quiet is not None and ladder.quiet.from_ == ladder.quiet.to:
        return "quiet hours end at another time than they begin"
    named: list[tuple[str, str | None, Mapping[str, Document]]] = [("team", ladder.red_team, roster.teams)]
    for rung in ladder.levels:
        named += [("calendar", rung.calendar, roster.calendars), ("team", rung.team, roster.teams)]
        named += [("person", person, roster.people) for person in rung.people]
    for what, name, known in named:
        if name is not None and name not in known:
            return f"there is no {what} {name!r}"
    return None


def _is_within(shift: Shift, moment: datetime) -> bool:
    begin, end = _minutes(shift.from_), _minutes(shift.to)
    minute = moment.hour * 60 + moment.minute
    today, yesterday = moment.date(), moment.date() - timedelta(days=1)
    if begin < end:
        return _is_on(shift, today) and begin <= minute < end
    return (_is_on(shift, today) and minute >= begin) or (_is_on(shift, yesterday) and minute < end)


def _is_on(shift: Shift, day: date) -> bool:
    if day.isoweekday() not in shift.days:
        return False
    return (shift.first or day) <= day <= (shift.last or day)


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
