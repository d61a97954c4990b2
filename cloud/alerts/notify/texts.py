"""What a notification says, in a language: a title and lines, rendered from the catalogue when it is sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from cloud.alerts.outbox import Line, Notification
from cloud.facts.ledger import Ledger
from devices.instants import parse_instant
from devices.words import say

UTC_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Site:
    """What a message must know of a site. `names` are those of its things, by id and language."""

    id: str
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    zone: tzinfo = UTC_ZONE
    address: str = ""  # where our pages are, without a slash at the end; empty: nobody said

    def named(self, thing: str, language: str) -> str:
        """The name of a thing, or its id."""
        return self.names.get(thing, {}).get(language, thing)


@dataclass(frozen=True, slots=True)
class Message:
    """One notification as people read it."""

    id: str
    title: str
    lines: tuple[str, ...]
    link: str = ""

    @property
    def text(self) -> str:
        """The lines below each other, with the link."""
        return "\n".join([*self.lines, *([self.link] if self.link else [])])


def site_of(ledger: Ledger | None, site: str, address: str) -> Site:
    """A site by its ledger; without one things are called by their ids."""
    if ledger is None:
        return Site(site, address=address)
    things = (ledger.equipment, ledger.robots, ledger.parking, ledger.zones)
    names = {one.id: one.name.in_languages() for kind in things for one in kind}
    return Site(site, {**names, site: ledger.site.name.in_languages()}, ledger.site.time_zone, address)


def message_of(notification: Notification, site: Site, language: str) -> Message:
    """The notification in words. A drill says so in its first word."""
    place = site.named(notification.site, language)
    lines = tuple(_lines(notification, site, language))
    if notification.kind == "work-order":
        title = say(language, "notify.title.work_order", site=place)
    else:
        colour = say(language, f"notify.colour.{notification.severity.value}")
        first = notification.lines[0] if notification.lines else None
        what = site.named(first.thing, language) if first is not None else ""
        title = say(language, "notify.title.alerts", colour=colour, site=place, thing=what)
        others = len(notification.lines) + notification.more - 1
        if others > 0:
            title = say(language, "notify.title.more", title=title, n=others)
        if notification.muted:
            title = say(language, "notify.title.muted", title=title, n=notification.muted)
    if notification.drill:
        title = say(language, "notify.title.drill", title=title)
    return Message(notification.id, title, lines, _link(notification, site))


def _lines(notification: Notification, site: Site, language: str) -> Iterable[str]:
    if notification.kind == "work-order":
        yield _order(notification, site, language)
    if notification.flood:
        yield say(language, "notify.flood")
    for line in notification.lines:
        yield _line(line, site, language)
    if notification.more:
        yield say(language, "notify.more", n=notification.more)


def _order(notification: Notification, site: Site, language: str) -> str:
    """What a work order is about, how far it is, and by when it is due."""
    said = {name: str(value) for name, value in notification.data.items() if value is not None}
    thing = site.named(said.get("thing", notification.site), language)
    title = said.get("title", "")
    step = said.get("step")
    text = f"{thing} – {title}" if title else thing
    if step:
        step = say(language, f"rectification.step.{step}")
        text = say(language, "notify.order.step", what=text, step=step)
    if "due" in said:
        text = say(language, "notify.order.due", line=text, due=_clock(parse_instant(said["due"]), site))
    if notification.event.endswith(".overdue"):
        text = say(language, "notify.order.overdue", line=text)
    return text


def _line(line: Line, site: Site, language: str) -> str:
    thing = site.named(line.thing, language)
    said = say(language, line.text, **{**line.parameters, "thing_name": thing})
    parts = {
        "colour": say(language, f"notify.colour.{line.severity.value}"),
        "what": say(language, f"notify.what.{line.what}"),
        "said": said,
        "since": _clock(line.since_ms, site),
    }
    text = say(language, "notify.line", **parts)
    if line.cleared_ms is not None:
        text = say(language, "notify.line.cleared", line=text, until=_clock(line.cleared_ms, site))
    if line.count > 1:
        text = say(language, "notify.line.count", line=text, n=line.count)
    if line.muted:
        text = say(language, "notify.line.muted", line=text, n=line.muted)
    return text


def _clock(time_ms: int, site: Site) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, site.zone).strftime("%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # no calendar has that year
        return f"{time_ms} ms"


def _link(notification: Notification, site: Site) -> str:
    if not site.address:
        return ""
    return f"{site.address}/s/{notification.site}?view=alerts"
