"""Benchmarks: what a site is compared with, how far it is away, and at which stage it stands (R0-1 to R0-8).

Internal: the best final value among sites of which enough was known, or a site that somebody chose. Industry and
cross-industry: a figure that was entered, with its source and year. The ring: set -> gap -> reached -> frozen; who
freezes a benchmark makes it the site's new target. After twelve months a benchmark has expired.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Literal
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import Field

from cloud.facts.days import date_start
from cloud.facts.inputs import EVERY_SITE, Input, enter, in_force, inputs_of
from cloud.facts.tables_results import result_heads
from cloud.indicators.definition import Better, IndicatorResult, Window
from cloud.indicators.entering import EntryRefused, Word
from cloud.indicators.imported import PLACES_MAX, Number, read_input
from cloud.indicators.periods import months_after
from cloud.indicators.policy import IndicatorPolicy
from cloud.indicators.results import newest_result
from cloud.indicators.targets import TARGET_KIND, IndicatorId, TargetEntry
from devices.document import Section
from devices.point import Id

BENCHMARK_KIND, FREEZE_KIND = "benchmark", "benchmark-frozen"
ZONES_APART_MS = 15 * 3_600_000  # a month of one zone begins within that of the same month of another
PERCENT = 100


class Stage(StrEnum):
    """Where a site stands on the ring."""

    SET = "set"  # nothing final to compare yet
    GAP = "gap"
    REACHED = "reached"
    FROZEN = "frozen"
    EXPIRED = "expired"


class Benchmark(Section):
    """The document of an input of `BENCHMARK_KIND`. `site` chooses a site as the internal benchmark."""

    id: Id
    indicator: IndicatorId
    kind: Literal["internal", "industry", "cross_industry"]
    value: Number | None = None
    site: Id | None = None
    source: str = Field(default="", max_length=500)
    year: int | None = Field(default=None, ge=1990, le=2200)

    def check(self) -> None:
        """Raises EntryRefused where a figure of others lacks its value, source or year."""
        if self.kind != "internal" and (self.value is None or not self.source or self.year is None):
            raise EntryRefused("a benchmark from outside needs a value, a source and a year")


class Freeze(Section):
    """The document of an input of `FREEZE_KIND`: the benchmark became the standard of a site."""

    benchmark: Id
    indicator: IndicatorId
    value: Number


@dataclass(frozen=True, slots=True)
class Compared:
    """A site against a benchmark. `gap` is own minus benchmark: in points for shares, else in the value's unit."""

    benchmark: Benchmark
    best_site: str | None
    value: Fraction | None
    own: Fraction | None
    gap: Fraction | None
    stage: Stage
    expires_ms: int


def enter_benchmark(connection: sa.Connection, benchmark: Benchmark, word: Word, valid_from_ms: int) -> Input:
    """Set a benchmark for every site. Raises EntryRefused."""
    benchmark.check()
    return enter(
        connection, EVERY_SITE, BENCHMARK_KIND, benchmark.id, benchmark.model_dump_json(), actor=word.actor,
        reason=word.reason, recorded_ms=word.now_ms, valid_from_ms=valid_from_ms,
    )  # fmt: skip


def benchmarks_set(connection: sa.Connection) -> list[tuple[Benchmark, Input]]:
    """Every benchmark, by id."""
    entered = in_force(inputs_of(connection, EVERY_SITE, BENCHMARK_KIND))
    return [(benchmark, one) for one in entered if (benchmark := read_input(one, Benchmark)) is not None]


def freeze(connection: sa.Connection, site: str, compared: Compared, word: Word, better: Better) -> Input:
    """Make what was reached the site's new target. Raises EntryRefused."""
    if compared.stage is not Stage.REACHED or compared.value is None:
        raise EntryRefused(f"only a benchmark that is reached can be frozen; this one is at {compared.stage}")
    benchmark, value = compared.benchmark, f"{float(compared.value):.{PLACES_MAX}f}"
    document = Freeze(benchmark=benchmark.id, indicator=benchmark.indicator, value=value)
    target = TargetEntry(
        indicator=benchmark.indicator, value=float(compared.value), better=better,
        source=f"benchmark {benchmark.id} reached",
    )  # fmt: skip
    for kind, name, text in (
        (FREEZE_KIND, benchmark.id, document.model_dump_json()),
        (TARGET_KIND, benchmark.indicator, target.model_dump_json()),
    ):
        last = enter(
            connection, site, kind, name, text, actor=word.actor, reason=word.reason, recorded_ms=word.now_ms,
            valid_from_ms=word.now_ms,
        )  # fmt: skip
    return last


def best_final(
    connection: sa.Connection, indicator: str, window: Window, policy: IndicatorPolicy, better: Better
) -> tuple[str, Fraction] | None:  # fmt: skip
    """The site with the best final value over a period and enough known of it; the first by id of equals.

    The period is the same in site time, so that it begins up to 15 h apart in other zones.
    """
    heads = result_heads
    least = policy.benchmark_coverage_min_percent / PERCENT
    candidates = sa.select(heads).where(
        heads.c.indicator == indicator, heads.c.final.is_(True), heads.c.value.is_not(None), heads.c.coverage >= least,
        heads.c.from_ms.between(window.from_ms - ZONES_APART_MS, window.from_ms + ZONES_APART_MS),
        heads.c.to_ms.between(window.to_ms - ZONES_APART_MS, window.to_ms + ZONES_APART_MS),
    )  # fmt: skip
    order = heads.c.value.desc() if better is Better.HIGHER else heads.c.value.asc()
    row = connection.execute(candidates.order_by(order, heads.c.site).limit(1)).one_or_none()
    if row is None:
        return None
    found = newest_result(connection, row.site, indicator, Window(row.from_ms, row.to_ms))
    return None if found is None or found.result.value is None else (row.site, found.result.value)


def compare(
    connection: sa.Connection, site: str, set_up: tuple[Benchmark, Input], own: IndicatorResult | None, *,
    policy: IndicatorPolicy, better: Better, zone: ZoneInfo, now_ms: int,
) -> Compared:  # fmt: skip
    """A site against a benchmark, `own` being its newest final result."""
    benchmark, entry = set_up
    best_site, value = _value(connection, benchmark, own, policy, better)
    expires_ms = expiry_ms(entry.valid_from_ms, policy, zone)
    own_value = own.value if own is not None else None
    gap = None if value is None or own_value is None else own_value - value
    if gap is not None and own is not None and own.value_unit == "ratio":
        gap *= PERCENT
    frozen = {one.id for one in in_force(inputs_of(connection, site, FREEZE_KIND))}
    stage = stage_of(
        own, value, better, is_frozen=benchmark.id in frozen, is_expired=now_ms >= expires_ms
    )  # fmt: skip
    return Compared(benchmark, best_site, value, own_value, gap, stage, expires_ms)


def stage_of(
    own: IndicatorResult | None, value: Fraction | None, better: Better, *, is_frozen: bool, is_expired: bool
) -> Stage:  # fmt: skip
    """The stage: reached when even the unfavourable bound of a final result is as good as the benchmark."""
    if is_frozen:
        return Stage.FROZEN
    if is_expired:
        return Stage.EXPIRED
    if own is None or not own.final or value is None or own.low is None or own.high is None:
        return Stage.SET
    is_reached = own.low >= value if better is Better.HIGHER else own.high <= value
    return Stage.REACHED if is_reached else Stage.GAP


def expiry_ms(valid_from_ms: int, policy: IndicatorPolicy, zone: ZoneInfo) -> int:
    """When a benchmark is to be set anew: after the policy's months, at local midnight."""
    begin = datetime.fromtimestamp(valid_from_ms / 1000, zone).date()
    return date_start(months_after(begin, policy.benchmark_months), zone)


def expired(
    benchmarks: Iterable[tuple[Benchmark, Input]], policy: IndicatorPolicy, zone: ZoneInfo, now_ms: int
) -> list[str]:
    """Ids of the benchmarks whose time is over (R0-3: once a year)."""
    return [one.id for one, entry in benchmarks if now_ms >= expiry_ms(entry.valid_from_ms, policy, zone)]


def _value(
    connection: sa.Connection, benchmark: Benchmark, own: IndicatorResult | None, policy: IndicatorPolicy,
    better: Better,
) -> tuple[str | None, Fraction | None]:  # fmt: skip
    if benchmark.value is not None:
        return None, Fraction(benchmark.value)
    if own is None:
        return benchmark.site, None
    if benchmark.site is not None:
        heads = result_heads
        near = sa.select(heads).where(
            heads.c.site == benchmark.site, heads.c.indicator == benchmark.indicator, heads.c.final.is_(True),
            heads.c.from_ms.between(own.window.from_ms - ZONES_APART_MS, own.window.from_ms + ZONES_APART_MS),
            heads.c.to_ms.between(own.window.to_ms - ZONES_APART_MS, own.window.to_ms + ZONES_APART_MS),
        )  # fmt: skip
        row = connection.execute(near.limit(1)).one_or_none()
        if row is None:
            return benchmark.site, None
        found = newest_result(connection, benchmark.site, benchmark.indicator, Window(row.from_ms, row.to_ms))
        return benchmark.site, None if found is None else found.result.value
    best = best_final(connection, benchmark.indicator, own.window, policy, better)
    return (None, None) if best is None else best
