"""A site whose alerts are raised by hand: book, desk, items and outbox on real files, and a clock that is moved."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cloud.alerts.alert import Alert, Key, Terms
from cloud.alerts.book import AlertBook
from cloud.alerts.desk import AlertDesk
from cloud.alerts.items import ItemBook, ItemStore
from cloud.alerts.lifecycle import Cleared, Event, Raised
from cloud.alerts.outbox import Notification, Outbox
from cloud.alerts.people import Ladder, Person, Roster, Rung, Team
from cloud.alerts.store import AlertStore
from cloud.alerts.storms import Silences
from cloud.facts.database import open_database
from devices.rules import Severity, known_rules

SITE = "jinji-lake"
START_MS = 1_780_000_000_000
ROSTER = Roster(
    people={"li.wei": Person("Li Wei")},
    teams={"incident": Team("Incident", ("chen.na",))},
    ladder=Ladder((Rung(people=("li.wei",)), Rung(people=("zhao.min",)), Rung(people=("director",))), "incident"),
)


class Around:
    """What depends on what; every thing not named stands alone."""

    def __init__(self, parents: dict[str, str]) -> None:
        self.parents = parents
        self.people = ROSTER

    def upstream(self, _: str, thing: str) -> Iterable[str]:
        return [self.parents[thing]] if thing in self.parents else []

    def behind(self, _: str, thing: str) -> int:
        return sum(parent == thing for parent in self.parents.values())

    def criticality(self, _: str, thing: str) -> str:
        return "A" if thing.startswith("pump") else ""

    def is_due(self, _: str, __: int) -> bool:
        return False

    def refresh(self, site: str, now_ms: int) -> None:
        """Nothing is ever entered here."""

    def roster(self, _: str) -> Roster:
        return self.people


class DeskWorld:
    def __init__(self, database: Path, now_ms: int, parents: dict[str, str]) -> None:
        self.now_ms = now_ms
        self.database = open_database(database)
        self.store = AlertStore(self.database)
        self.book = AlertBook(self.store, lambda: self.now_ms)
        self.outbox = Outbox(self.database)
        self.item_store = ItemStore(self.database, self.outbox)
        self.items = ItemBook(self.item_store, lambda: self.now_ms)
        self.around = Around(parents)
        self.desk = AlertDesk(
            self.database,
            self.book,
            items=self.items,
            outbox=self.outbox,
            places=self.around,
            silences=Silences.of(known_rules()),
            now=lambda: self.now_ms,
        )

    async def after(self, seconds: float, *, look_s: float = 0) -> None:
        """Let time pass; with `look_s` the desk looks that often meanwhile, and at the end in any case."""
        end_ms = self.now_ms + round(seconds * 1000)
        while look_s and self.now_ms + look_s * 1000 < end_ms:
            self.now_ms += round(look_s * 1000)
            await self.desk.attend(SITE)
        self.now_ms = end_ms
        await self.desk.attend(SITE)

    async def raised(self, *things: str, rule: str = "equipment-fault-b", drill: bool = False) -> Alert:
        """Let a packaged rule raise alerts of these things now; the first of them."""
        known = known_rules()[rule]
        terms = Terms(known.severity, known.text, known.latched, known.runbook or "")
        keys = [Key(SITE, rule, thing) for thing in things]
        await self.book.apply([(key, Raised(key, terms, self.now_ms, {}, drill=drill)) for key in keys])
        return self.alert(things[0], rule)

    async def cleared(self, *things: str, rule: str = "equipment-fault-b") -> None:
        await self.book.apply([(Key(SITE, rule, thing), Cleared(self.now_ms)) for thing in things])

    async def done(self, alert: Alert, event: Event) -> Alert:
        return await self.book.handle(alert, event)

    def alert(self, thing: str, rule: str = "equipment-fault-b") -> Alert:
        found = self.book.get(Key(SITE, rule, thing))
        assert found is not None
        return found

    def told(self) -> list[Notification]:
        """Every message about alerts, oldest first."""
        found = self.outbox.of_site(SITE)
        return [one for one in reversed(found) if one.kind == "alerts"]

    def said(self) -> list[tuple[int, str, Sequence[str]]]:
        """Of each message: seconds after the start, what it says first, and to whom."""
        return [((one.at_ms - START_MS) // 1000, one.lines[0].what, one.people) for one in self.told()]


@contextmanager
def at_the_desk(
    database: Path, *, now_ms: int = START_MS, parents: dict[str, str] | None = None
) -> Iterator[DeskWorld]:
    world = DeskWorld(database, now_ms, parents or {})
    try:
        yield world
    finally:
        world.database.dispose()


def severities(messages: Iterable[Notification]) -> list[Severity]:
    return [one.severity for one in messages]
