"""Assessments: a period judged once, when it is final, with the result as it was then (R0-37, R3-34).

A failed assessment is the verdict FAIL at finality. Two running are a red card, one a yellow one; INDETERMINATE is no
fail. What comes later makes a new revision of the result, never another assessment: the record says what was judged.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from cloud.facts.database import reading, writing
from cloud.facts.days import day_of
from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from cloud.facts.tables_results import assessments
from cloud.indicators.definition import FINAL_AFTER_MS, IndicatorResult, Verdict, Window
from cloud.indicators.issuing import began_ms, frames_of
from cloud.indicators.periods import period_around, period_before
from cloud.indicators.policy import IndicatorPolicy
from cloud.indicators.registry import compute_over, definitions_at
from cloud.indicators.results import newest_result, record
from cloud.indicators.terms import Terms, terms_at
from cloud.indicators.written import read_back, text_of

PERIODS_BACK_MAX = 12  # earlier periods that nobody judged in time stay without an assessment
START = b""


class Card(StrEnum):
    """What an assessment leads to. Not to be taken for a yellow or red alert, which is an event."""

    NONE = "none"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Assessment:
    """One indicator of one site over one period, as it was judged. Unix ms UTC."""

    site: str
    indicator: str
    period: str
    recorded_ms: int
    card: Card
    result: IndicatorResult
    result_hash: str
    target_origin: str
    failed_running: int  # this one and those right before it that failed
    hash: bytes

    @property
    def window(self) -> Window:
        """Which period."""
        return self.result.window


def card_of(verdicts: Sequence[Verdict | None], policy: IndicatorPolicy) -> tuple[Card, int]:
    """The card of the last of these verdicts (oldest first), and how many failed running."""
    if not verdicts or verdicts[-1] is not Verdict.FAIL:
        return Card.NONE, 0
    running = 0
    for verdict in reversed(verdicts):
        if verdict is Verdict.FAIL:
            running += 1
        elif verdict is Verdict.PASS or policy.indeterminate_ends_run:
            break
    return (Card.RED if running >= policy.red_card_fails else Card.YELLOW), running


def below_running(verdicts: Sequence[Verdict | None], policy: IndicatorPolicy) -> bool:
    """Whether so many periods running were below target that a reorganisation is due (R2-34)."""
    last = list(verdicts)[-policy.below_periods :]
    return len(last) == policy.below_periods and all(one is Verdict.FAIL for one in last)


def assess(store: FactStore, ledger: Ledger, now_ms: int) -> int:
    """Judge the periods of a site that are final and were not judged yet; how many assessments. Blocks.

    A period is that of the target pack at its beginning. Only what has a target is judged.
    """
    done = 0
    for window, period in reversed(list(_periods(store, ledger, now_ms))):
        if store.is_settled(ledger, window.to_ms):
            done += _assess(store, ledger, window, period, now_ms)
    return done


def _periods(store: FactStore, ledger: Ledger, now_ms: int) -> list[tuple[Window, str]]:
    """Final periods without an assessment, newest first, not before anything was heard."""
    zone, begin_ms = ledger.site.time_zone, began_ms(store, ledger.site.id)
    if begin_ms is None:
        return []
    terms = terms_at(store.engine, ledger, now_ms)
    window = period_before(terms.targets.period, period_around(terms.targets.period, now_ms, zone), zone)
    found: list[tuple[Window, str]] = []
    for _ in range(PERIODS_BACK_MAX):
        period = terms_at(store.engine, ledger, window.from_ms).targets.period
        window = period_around(period, window.to_ms - 1, zone)
        if window.to_ms <= begin_ms:
            break
        if window.to_ms + FINAL_AFTER_MS <= now_ms:
            found.append((window, period))
        window = period_before(period, window, zone)
    return found


def _assess(store: FactStore, ledger: Ledger, window: Window, period: str, now_ms: int) -> int:
    site = ledger.site.id
    held = store.ledger_on(site, day_of(window.to_ms - 1, ledger.site.time_zone)) or ledger
    terms = terms_at(store.engine, held, window.from_ms)
    known = definitions_at(store, held, now_ms)
    with reading(store.engine) as connection:
        mine = (assessments.c.site == site) & (assessments.c.period == period)
        judged = set(
            connection.execute(
                sa.select(assessments.c.indicator).where(mine, assessments.c.from_ms == window.from_ms)
            ).scalars()
        )
    wanted = [
        one for one, target in terms.targets.by_indicator.items() if target and one in known and one not in judged
    ]
    frames = frames_of(store, held, window)
    results = [
        replace(one, inputs=frames if known[one.id].source == "frames" else ())
        for one in compute_over(store, held, wanted, window, now_ms)
        if one.verdict is not None
    ]
    with writing(store.engine) as connection:
        record(connection, site, results, now_ms)
        for one in results:
            _write(connection, site, one, (period, terms, now_ms))
    return len(results)


def _write(connection: sa.Connection, site: str, one: IndicatorResult, how: tuple[str, Terms, int]) -> None:
    period, terms, now_ms = how
    issued = newest_result(connection, site, one.id, one.window)
    before = assessments_of(connection, site, one.id, period)
    verdicts = [*(other.result.verdict for other in before if other.window.to_ms <= one.window.from_ms), one.verdict]
    card, running = card_of(verdicts, terms.policy)
    target = terms.targets.of(one.id)
    body: dict[str, Any] = {
        "result": text_of(one), "revision": issued.result.revision if issued else 1,
        "result_hash": issued.hash.hex() if issued else "", "failed_running": running,
        "target_origin": target.origin if target else "", "pack": f"{terms.targets.pack}@{terms.targets.pack_version}",
    }  # fmt: skip
    text = msgspec.json.encode(body, order="deterministic").decode()
    previous = before[-1].hash if before else START
    digest = hashlib.sha256(f"{previous.hex()}\n{period}\n{card}\n{now_ms}\n{text}".encode()).digest()
    row = {
        "site": site, "indicator": one.id, "period": period, "from_ms": one.window.from_ms, "to_ms": one.window.to_ms,
        "recorded_ms": now_ms, "verdict": str(one.verdict), "card": card.value, "body": text, "previous": previous,
        "hash": digest,
    }  # fmt: skip
    connection.execute(sa.insert(assessments), row)


def assessments_of(
    connection: sa.Connection, site: str, indicator: str | None = None, period: str | None = None
) -> list[Assessment]:  # fmt: skip
    """Assessments of a site, oldest period first."""
    mine = assessments.c.site == site
    if indicator is not None:
        mine &= assessments.c.indicator == indicator
    if period is not None:
        mine &= assessments.c.period == period
    order = (assessments.c.from_ms, assessments.c.recorded_ms, assessments.c.indicator)
    return [_read(row) for row in connection.execute(sa.select(assessments).where(mine).order_by(*order))]


def assessments_between(
    connection: sa.Connection, indicator: str, period: str, from_ms: int, to_ms: int
) -> list[Assessment]:  # fmt: skip
    """Assessments of every site whose period begins within [from_ms, to_ms), by site."""
    mine = (assessments.c.indicator == indicator) & (assessments.c.period == period)
    mine &= (assessments.c.from_ms >= from_ms) & (assessments.c.from_ms < to_ms)
    rows = connection.execute(sa.select(assessments).where(mine).order_by(assessments.c.site, assessments.c.from_ms))
    return [_read(row) for row in rows]


def _read(row: "sa.Row[tuple[object, ...]]") -> Assessment:
    body = msgspec.json.decode(row.body)
    return Assessment(
        row.site, row.indicator, row.period, row.recorded_ms, Card(row.card),
        read_back(body["result"], revision=body["revision"], final=True), body["result_hash"], body["target_origin"],
        body["failed_running"], row.hash,
    )  # fmt: skip
