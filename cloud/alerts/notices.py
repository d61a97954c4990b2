"""When people are told of what, and who. Pure: what was told is an argument and a result.

Red is told at once. Yellow and orange wait `FIRST_MS` for what belongs to them, then come as one message a site, and
changes at most every `CHANGES_MS`; yellow waits for the end of the quiet hours. An alert that comes and goes is told
again only after `CHANGES_MS`, or when it is worse. Reminders come by the table of duties. Times are Unix ms UTC.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from cloud.alerts.alert import Alert, Handling
from cloud.alerts.duties import DUTIES, LEVELS, level
from cloud.alerts.outbox import LINES_MAX, Line, Notification, notification_id
from cloud.alerts.people import Roster
from devices.rules import Severity

FIRST_MS = 30_000
CHANGES_MS = 5 * 60_000


class Told(msgspec.Struct, frozen=True):
    """What was last told of an alert."""

    at_ms: int
    new_ms: int  # which time of being new it was
    rank: int  # the severity told
    over: bool = False  # that it had ended, or there was no more to tell
    missed: int = 0  # how many of the things not done in time were told
    assignee: str = ""  # who knows that it is theirs
    noticed: bool = False  # that somebody acknowledged it since


class SiteTold(msgspec.Struct, frozen=True):
    """What was told of a site: alerts by id, and when the last message that was not urgent went."""

    grouped_ms: int = 0
    alerts: dict[str, Told] = {}


class Want(msgspec.Struct, frozen=True):
    """One alert that has to be told of."""

    alert: Alert
    what: str
    reason: str = ""

    @property
    def urgent(self) -> bool:
        """Whether nobody waits for more of the kind."""
        return self.what == "assigned" or (self.alert.severity is Severity.RED and self.what != "cleared")


def decide(
    site: str,
    alerts: Iterable[Alert],
    told: SiteTold,
    roster: Roster,
    now_ms: int,
    *,
    muted: Callable[[Alert], int] = lambda _: 0,
    flood: bool = False,
) -> tuple[list[Notification], SiteTold]:
    """The messages that are due, and what was told when they are kept.

    `alerts` are those open, and those closed that something was told of.
    """
    kept = {alert.id: _known(told.alerts.get(alert.id), alert) for alert in alerts}
    wants = [
        want
        for alert in alerts
        if not (roster.is_quiet(now_ms) and alert.severity is Severity.YELLOW)
        and (want := wanted(alert, kept[alert.id], now_ms)) is not None
    ]
    urgent = [want for want in wants if want.urgent]
    others = [want for want in wants if not want.urgent]
    grouped_ms = told.grouped_ms
    if others and _is_due(others, grouped_ms, now_ms):
        grouped_ms = now_ms
    else:
        others = []
    chosen = urgent + others
    after = {name: one for name, one in kept.items() if one is not None}
    after |= {want.alert.id: _told(want, kept[want.alert.id], now_ms) for want in chosen}
    messages = [
        message
        for part in (urgent, others)
        for message in _messages(site, part, roster, now_ms, muted=muted, flood=flood)
    ]
    return messages, SiteTold(grouped_ms, after)


def wanted(alert: Alert, told: Told | None, now_ms: int) -> Want | None:
    """What has to be told of an alert, None for nothing (yet)."""
    if alert.historical or alert.is_quiet:
        return None
    if not alert.is_active and told is not None and not told.over:
        return Want(alert, "cleared")
    assigned = bool(alert.is_open and alert.assignee and (told is None or told.assignee != alert.assignee))
    news = _wanted_by_all(alert, told, now_ms)
    return Want(alert, "assigned") if news is None and assigned else news


def _wanted_by_all(alert: Alert, told: Told | None, now_ms: int) -> Want | None:
    """What everybody has to be told of an alert that goes on, or is latched."""
    if not alert.is_open or (not alert.is_active and not alert.latched):
        return None
    fresh = told is None or told.new_ms != alert.new_ms
    if fresh and alert.handling is Handling.NEW:
        again_soon = told is not None and now_ms - told.at_ms < CHANGES_MS and alert.severity.rank <= told.rank
        if told is not None and told.noticed and alert.severity is Severity.RED:
            again_soon = False  # who acknowledged the last time takes it for done
        return None if again_soon else Want(alert, _news(alert, told), alert.escalated_for)
    if told is not None and len(alert.missed) > told.missed:
        return Want(alert, "missed", alert.missed[-1])
    remind_ms = DUTIES[alert.severity].remind_ms
    if alert.handling is Handling.NEW and told is not None and now_ms - told.at_ms >= remind_ms:
        return Want(alert, "reminder")
    return None


def _news(alert: Alert, told: Told | None) -> str:
    if told is None:
        return "opened"
    if alert.severity.rank > told.rank:
        return "escalated"
    return "reopened" if told.over else "back"


def _known(told: Told | None, alert: Alert) -> Told | None:
    """What was told, and what people did since."""
    if told is None:
        return None
    assignee = told.assignee if alert.assignee else ""
    return msgspec.structs.replace(told, assignee=assignee, noticed=told.noticed or alert.handling is not Handling.NEW)


def _told(want: Want, before: Told | None, now_ms: int) -> Told:
    alert, assignee = want.alert, want.alert.assignee or ""
    if want.what == "assigned" and before is not None:  # one person was told, the others still wait
        return msgspec.structs.replace(before, assignee=assignee)
    return Told(now_ms, alert.new_ms, alert.severity.rank, not alert.is_active, len(alert.missed), assignee)


def _is_due(wants: Sequence[Want], grouped_ms: int, now_ms: int) -> bool:
    first_ms = min(want.alert.new_ms for want in wants)
    return now_ms >= max(first_ms + FIRST_MS, grouped_ms + CHANGES_MS if grouped_ms else 0)


def _messages(
    site: str, wants: Sequence[Want], roster: Roster, now_ms: int, *, muted: Callable[[Alert], int], flood: bool
) -> Iterable[Notification]:
    """One message for everybody who is told the same; a drill never shares one with what is real."""
    groups: dict[tuple[int, tuple[str, ...], bool], list[Want]] = {}
    for want in wants:
        up_to = LEVELS if want.what == "missed" else level(want.alert, now_ms)
        red = want.alert.severity is Severity.RED
        assignee = want.alert.assignee
        if want.what == "assigned" and assignee:
            people: tuple[str, ...] = (assignee,)
        else:
            people = roster.to_tell(up_to, now_ms, red=red, assignee=assignee)
        groups.setdefault((up_to, people, want.alert.drill), []).append(want)
    for (up_to, people, drill), group in groups.items():
        worst = sorted(group, key=lambda want: (-want.alert.severity.rank, want.alert.opened_ms, want.alert.id))
        names = [f"{want.alert.id}.{want.alert.version}.{want.what}" for want in worst]
        yield Notification(
            id=notification_id(site, now_ms, *names),
            site=site,
            kind="alerts",
            at_ms=now_ms,
            severity=worst[0].alert.severity,
            level=up_to,
            people=people,
            lines=tuple(_line(want, muted(want.alert)) for want in worst[:LINES_MAX]),
            more=max(len(worst) - LINES_MAX, 0),
            drill=drill,
            flood=flood,
        )


def _line(want: Want, muted: int) -> Line:
    alert = want.alert
    return Line(
        alert=alert.id,
        rule=alert.key.rule,
        thing=alert.key.thing,
        severity=alert.severity,
        what=want.what,
        since_ms=alert.opened_ms,
        text=alert.text,
        parameters=alert.parameters,
        count=alert.count,
        muted=muted,
        reason=want.reason,
        cleared_ms=alert.cleared_ms,
        runbook=alert.runbook,
    )
