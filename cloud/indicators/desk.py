"""What is asked about indicators beyond their values: groups, revisions, explanations, targets, benchmarks.

Everything blocks; the routes call it in threads.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import sqlalchemy as sa

from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.inputs import EVERY_SITE, Input
from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from cloud.indicators.assessment import Assessment, assessments_between, assessments_of
from cloud.indicators.benchmarks import Benchmark, Compared, benchmarks_set, compare, enter_benchmark, freeze
from cloud.indicators.definition import Better, Definition, IndicatorResult, UnknownIndicator, Window
from cloud.indicators.entering import NewValue, Word, choose_pack, define, set_target, tell
from cloud.indicators.explain import Json, explain
from cloud.indicators.groups import NONE
from cloud.indicators.guidance import Guidance, guidance
from cloud.indicators.imported import ImportedDefinition
from cloud.indicators.periods import period_around, period_before
from cloud.indicators.portfolio import Line, pooled_over, portfolio
from cloud.indicators.ranking import Place, bottom_cards, ranked
from cloud.indicators.registry import compute_groups, definitions_at
from cloud.indicators.results import Revision, issued, issued_within
from cloud.indicators.targets import PackChoice, TargetEntry, Targets
from cloud.indicators.terms import terms_at

AnyTime = str | tuple[int, int] | None


class IndicatorDesk:
    """Over the store of facts."""

    def __init__(self, store: FactStore, now: Callable[[], int]) -> None:
        self._store = store
        self.now = now

    def ledger(self, site: str) -> Ledger | None:
        """The newest ledger of a site."""
        with asking("ledgers"):
            return self._store.ledger(site)

    def definitions(self, ledger: Ledger) -> list[Definition]:
        """What every indicator of a site is, by id."""
        with asking("indicators"):
            return sorted(definitions_at(self._store, ledger, self.now()).values(), key=lambda one: one.id)

    def groups(self, ledger: Ledger, indicator: str, by: str, window: AnyTime) -> list[IndicatorResult]:
        """An indicator for each group of things. Raises UnknownIndicator, UnknownGrouping, BadWindow."""
        with asking("facts"):
            return compute_groups(self._store, ledger, indicator, window, self.now(), by=by)

    def explain(self, ledger: Ledger, indicator: str, window: AnyTime) -> Json:
        """A number explained. Raises UnknownIndicator, BadWindow."""
        with asking("facts"):
            return explain(self._store, ledger, indicator, window, self.now())

    def revisions(self, ledger: Ledger, indicator: str, window: tuple[int, int]) -> list[Revision]:
        """Every revision of exactly this window, else the newest of every window within it."""
        with asking("results"), self._reading() as connection:
            exact = issued(connection, ledger.site.id, indicator, Window(*window))
            return exact or issued_within(connection, ledger.site.id, indicator, *window)

    def guidance(self, ledger: Ledger) -> list[Guidance]:
        """The signs of the parking groups."""
        with asking("facts"):
            now_ms = self.now()
            return guidance(self._store, ledger, now_ms, terms_at(self._store.engine, ledger, now_ms).policy)

    def targets(self, ledger: Ledger) -> Targets:
        """What holds now."""
        with asking("targets"):
            return terms_at(self._store.engine, ledger, self.now()).targets

    def define(self, site: str, definition: ImportedDefinition, word: Word) -> Input:
        """Raises EntryRefused, InputRefused."""
        with asking("inputs"), self._writing() as connection:
            return define(connection, site, definition, word)

    def tell(self, site: str, indicator: str, values: Sequence[NewValue], word: Word) -> list[Input]:
        """All of them or none. Raises UnknownIndicator, EntryRefused, InputRefused."""
        with asking("inputs"), self._writing() as connection:
            return tell(connection, site, indicator, values, word)

    def set_target(self, site: str, target: TargetEntry, word: Word, valid: tuple[int, int | None]) -> Input:
        """Raises InputRefused."""
        with asking("inputs"), self._writing() as connection:
            return set_target(connection, site, target, word, valid)

    def choose_pack(self, site: str, choice: PackChoice, word: Word, valid: tuple[int, int | None]) -> Input:
        """For one site, or for every one. Raises EntryRefused, InputRefused."""
        with asking("inputs"), self._writing() as connection:
            return choose_pack(connection, site or EVERY_SITE, choice, word, valid)

    def set_benchmark(self, benchmark: Benchmark, word: Word, valid_from_ms: int) -> Input:
        """Raises EntryRefused, InputRefused."""
        with asking("inputs"), self._writing() as connection:
            return enter_benchmark(connection, benchmark, word, valid_from_ms)

    def compared(self, ledger: Ledger) -> list[Compared]:
        """A site against every benchmark, each by its last whole month."""
        with asking("results"), self._reading() as connection:
            return [self._compare(connection, ledger, one) for one in benchmarks_set(connection)]

    def freeze(self, ledger: Ledger, benchmark: str, word: Word) -> Input:
        """Make a benchmark that is reached the site's target. Raises UnknownIndicator, EntryRefused, InputRefused."""
        with asking("inputs"), self._writing() as connection:
            found = next((one for one in benchmarks_set(connection) if one[0].id == benchmark), None)
            if found is None:
                raise UnknownIndicator(f"there is no benchmark {benchmark!r}")
            compared = self._compare(connection, ledger, found)
            return freeze(connection, ledger.site.id, compared, word, self._better(ledger, found[0].indicator))

    def assessments(self, ledger: Ledger, indicator: str | None) -> list[Assessment]:
        """Judged periods of a site, oldest first."""
        with asking("results"), self._reading() as connection:
            return assessments_of(connection, ledger.site.id, indicator)

    def ranking(self, indicator: str, period: str, window: tuple[int, int]) -> tuple[list[Place], list[str]]:
        """Sites by a judged period that begins in the window, and those whose place earns a yellow card."""
        with asking("results"):
            sites = self._store.sites()
            if not sites:
                return [], []
            policy = terms_at(self._store.engine, sites[0], self.now()).policy
            better = self._better(sites[0], indicator)
            zone = sites[0].site.time_zone
            middle = period_around(period, (window[0] + window[1]) // 2, zone)
            rankings = []
            with self._reading() as connection:
                for _ in range(policy.bottom_periods):
                    half_ms = (middle.to_ms - middle.from_ms) // 2
                    found = assessments_between(
                        connection, indicator, period, middle.from_ms - half_ms, middle.from_ms + half_ms
                    )
                    rankings.append(ranked({one.site: one.result for one in found}, policy, better))
                    middle = period_before(period, middle, zone)
            rankings.reverse()
            return rankings[-1], bottom_cards(rankings, policy)

    def portfolio(self) -> dict[str, list[Line]]:
        """The newest issued result of every indicator of every site."""
        with asking("results"):
            return portfolio(self._store.engine)

    def pooled(self, sites: Sequence[str], indicator: str, window: tuple[int, int]) -> IndicatorResult | None:
        """Several sites as one number, from issued results; None where it is not made of sums or nothing was issued."""
        with asking("results"):
            return pooled_over(self._store.engine, sites, indicator, Window(*window), self.now())

    def pooled_by(self, by: str, indicator: str, window: tuple[int, int]) -> list[tuple[str, IndicatorResult]]:
        """Sites of one type, group or company as one number each, by name; from issued results."""
        with asking("results"):
            named: dict[str, list[str]] = {}
            for ledger in self._store.sites():
                names = {"type": ledger.site.type, "group": ledger.site.group, "company": ledger.site.company}
                named.setdefault(names[by] or NONE, []).append(ledger.site.id)
            found = [(name, self.pooled(sites, indicator, window)) for name, sites in sorted(named.items())]
            return [(name, replace(one, group=(by, name))) for name, one in found if one is not None]

    def _compare(self, connection: sa.Connection, ledger: Ledger, set_up: tuple[Benchmark, Input]) -> Compared:
        indicator, zone, now_ms = set_up[0].indicator, ledger.site.time_zone, self.now()
        window = period_before("month", period_around("month", now_ms, zone), zone)
        own = issued(connection, ledger.site.id, indicator, window)
        if not own or not own[-1].result.final:  # the last whole month that is final
            window = period_before("month", window, zone)
            own = issued(connection, ledger.site.id, indicator, window) or own
        return compare(
            connection, ledger.site.id, set_up, own[-1].result if own else None,
            policy=terms_at(self._store.engine, ledger, now_ms).policy, better=self._better(ledger, indicator),
            zone=zone, now_ms=now_ms,
        )  # fmt: skip

    def _better(self, ledger: Ledger, indicator: str) -> Better:
        definition = definitions_at(self._store, ledger, self.now()).get(indicator)
        return definition.better if definition is not None else Better.HIGHER

    def _reading(self) -> AbstractContextManager[sa.Connection]:
        return reading(self._store.engine)

    def _writing(self) -> AbstractContextManager[sa.Connection]:
        return writing(self._store.engine)
