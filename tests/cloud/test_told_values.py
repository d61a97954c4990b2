"""What people and other systems tell as values: bounded, kept apart, and never the end of what others read."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import FastAPI

from cloud.api.indicator_detail_routes import indicator_detail_routes
from cloud.api.problems import install_problems
from cloud.facts.database import writing
from cloud.facts.inputs import EVERY_SITE, Input, enter
from cloud.facts.store import FactStore
from cloud.indicators.benchmarks import BENCHMARK_KIND, benchmarks_set
from cloud.indicators.definition import Window
from cloud.indicators.desk import IndicatorDesk
from cloud.indicators.entering import EntryRefused, Word, define, read_value
from cloud.indicators.imported import (
    DEFINITION_KIND,
    VALUE_KIND,
    ImportedDefinition,
    ImportedValue,
    Told,
    imported_result,
    value_id,
)
from cloud.indicators.recording import Recorder
from cloud.indicators.registry import compute_site_indicators
from tests.cloud.serving import serving
from tests.cloud.test_issued_results import EQUIPMENT, day, issue_all, revisions_of, three_days
from tests.cloud.told import SITE, Cloud, ledger_text, new_cloud
from tests.waiting import until

UTC_ZONE = ZoneInfo("UTC")
MINE = f"/api/v1/sites/{SITE}/indicators"
WORD = Word("li.wei", "agreed", 0)
MADE_UP = ImportedDefinition.model_validate_json('{"id": "c.m", "name": {"en": "C", "zh-CN": "C"}}')
HUGE = '{"indicator": "c.m", "value": "1e-5000"}'


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    one = new_cloud(tmp_path)
    one.ledger(ledger_text(EQUIPMENT))
    one.tell(three_days())
    with writing(one.engine) as connection:
        define(connection, SITE, MADE_UP, WORD)
    yield one
    one.engine.dispose()


@pytest.fixture
async def http(cloud: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    desk = IndicatorDesk(FactStore(cloud.engine, eager=False), lambda: day(13, 1))
    app = FastAPI()
    app.include_router(indicator_detail_routes(desk))
    install_problems(app)
    async with serving(app) as address, httpx.AsyncClient(base_url=address, timeout=20) as client:
        yield client


def keep(cloud: Cloud, kind: str, name: str, document: str, site: str = SITE) -> None:
    """As a version of the software that checked less may have kept it."""
    with writing(cloud.engine) as connection:
        enter(connection, site, kind, name, document, actor="li", reason="x", recorded_ms=0, valid_from_ms=0,
              valid_to_ms=day(31))  # fmt: skip


@pytest.mark.parametrize(
    "value", ["1e-5000", "1e-19", "0." + 19 * "1", "1e+00000000000000000000000000000000000000001", "1e99999999", "1__0",
              "9" * 41, "inf", "nan", "-1"],
)  # fmt: skip
async def test_a_number_that_takes_too_much_to_write_out_is_refused(http: httpx.AsyncClient, value: str) -> None:
    told = await http.post(
        f"{MINE}/c.m/values", json={"actor": "li", "reason": "x", "items": [{"period": "1970-01", "value": value}]}
    )

    assert told.status_code == 422
    with pytest.raises(ValueError, match="minimum"):
        ImportedDefinition.model_validate({"id": "c.m", "name": MADE_UP.name, "minimum": value})


@pytest.mark.parametrize("value", ["0", "1000000000000000", "0.000000000000000001", "12.50", "1e-18", "1e15"])
def test_a_number_within_bounds_is_taken(value: str) -> None:
    assert read_value("c.m", {"period": "1970-01", "value": value}, UTC_ZONE, "manual").value.value == value


def test_a_kept_value_that_cannot_be_read_is_left_out_and_the_others_are_told(cloud: Cloud) -> None:
    keep(cloud, VALUE_KIND, value_id("c.m", 0), HUGE)
    keep(cloud, DEFINITION_KIND, "c.n", '{"id": "c.n", "name": {"en": "C", "zh-CN": "C"}, "maximum": "1e-5000"}')
    keep(cloud, BENCHMARK_KIND, "b", '{"id": "b", "indicator": "c.m", "value": "1e-5000"}', EVERY_SITE)
    issue_all(cloud, day(13, 1))
    ledger = cloud.facts.ledger(SITE)
    assert ledger is not None
    found = {one.id: one.value for one in compute_site_indicators(cloud.facts, ledger, (0, day(31)), day(13, 1))}

    assert found["c.m"] is None
    assert "c.n" not in found
    assert found["equipment.intact_rate"] is not None
    with writing(cloud.engine) as connection:
        assert benchmarks_set(connection) == []


def test_many_unlike_denominators_do_not_make_a_number_that_nobody_can_write(cloud: Cloud) -> None:
    for number in range(1, 300):
        document = f'{{"indicator": "c.m", "numerator": 1, "denominator": {2**53 - 2 * number + 1}}}'
        keep(cloud, VALUE_KIND, f"c.m-{number}", document)
    ledger = cloud.facts.ledger(SITE)
    assert ledger is not None
    [found] = [one for one in compute_site_indicators(cloud.facts, ledger, (0, day(31)), day(40)) if one.id == "c.m"]

    assert found.value is not None
    assert len(str(found.value)) < 100


class BrokenSite(FactStore):
    """A store that cannot tell one of its sites."""

    def first_heard_ms(self, site: str) -> int | None:
        if site == "a-site":
            raise ValueError("this site cannot be worked out")
        return super().first_heard_ms(site)


async def test_a_site_that_cannot_be_worked_out_keeps_no_other_from_being_issued(cloud: Cloud) -> None:
    cloud.ledger(ledger_text(EQUIPMENT, site="a-site"))
    store = BrokenSite(cloud.engine, eager=False)
    ledger = store.ledger(SITE)
    assert ledger is not None
    store.settle(ledger, day(13, 1))
    recorder = asyncio.create_task(Recorder(store, lambda: day(13, 1)).run())
    await until(lambda: recorder.done() or bool(revisions_of(cloud, 12)), "the results of the other site")

    assert not recorder.done()
    recorder.cancel()


def test_a_row_without_a_value_says_so() -> None:
    with pytest.raises(EntryRefused, match="value"):
        read_value("c.m", {"period": "1970-01"}, UTC_ZONE, "manual")


@pytest.mark.parametrize("aggregate", ["last", "ratio"])
def test_what_is_missing_may_weigh_anything_where_time_does_not_weigh_it(aggregate: str) -> None:
    definition = MADE_UP.model_copy(update={"aggregate": aggregate, "minimum": "0", "maximum": "1"})
    entry = Input(SITE, VALUE_KIND, "c.m@0", 1, 1, 0, "li", "x", 0, day(9), "{}")
    one = Told(ImportedValue(indicator="c.m", numerator=9, denominator=10), 0, day(9), entry)
    found = imported_result(definition, [one], Window(0, day(10)), day(99))

    assert found.value == Fraction(9, 10)
    assert found.low == 0
    assert found.high == 1
