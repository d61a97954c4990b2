"""How alerts were dealt with, as indicators, from the records of real alerts."""

from fractions import Fraction
from pathlib import Path

from cloud.alerts.handling import Acknowledged, Resolved
from cloud.facts.ledger import parse_ledger
from cloud.facts.store import FactStore
from cloud.indicators.alarms import ALARMS
from cloud.indicators.asking import Asked
from cloud.indicators.definition import IndicatorResult, Window
from tests.cloud.desk_world import START_MS, DeskWorld, at_the_desk
from tests.cloud.live_world import LEDGER

MINUTE_MS = 60_000
PUMP = "equipment-fault-a"


def asked(world: DeskWorld, indicator: str, from_ms: int = START_MS) -> IndicatorResult:
    store = FactStore(world.database, eager=False)
    window = Window(from_ms, world.now_ms + 1)
    return ALARMS[indicator](Asked(store, parse_ledger(LEDGER, "ledger.yaml"), window, world.now_ms))


async def a_day(world: DeskWorld) -> None:
    """A red call taken after 5 min and resolved after 40, an orange one after 31 min, a drill, a muted one."""
    red = await world.raised("pump-3", rule=PUMP)
    await world.raised("lamp-1", rule=PUMP, drill=True)
    await world.after(5 * 60)
    await world.done(red, Acknowledged("li"))
    await world.cleared("pump-3", rule=PUMP)
    await world.after(35 * 60)
    await world.done(red, Resolved("li", "wear", "replaced"))
    cause = await world.raised("gw-1", rule="gateway-silent")
    await world.raised("lamp-2", rule="device-silent")
    await world.after(31 * 60, look_s=10 * 60)
    await world.done(cause, Acknowledged("li"))


async def test_the_mean_times_count_each_call_but_no_drill_and_nothing_told_with_its_cause(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite", parents={"lamp-2": "gw-1"}) as world:
        await a_day(world)
        mtta, equipment, resolve = (asked(world, name) for name in ("alarm.mtta", "equipment.mtta", "alarm.mttr"))

    assert (mtta.value, mtta.numerator, mtta.denominator) == (Fraction(18 * MINUTE_MS), 36 * MINUTE_MS, 2)
    assert equipment.value == Fraction(5 * MINUTE_MS)
    assert (resolve.value, resolve.high, resolve.details["open"]) == (Fraction(40 * MINUTE_MS), None, 1)
    assert (mtta.value_unit, mtta.unit) == ("ms", "ms")


async def test_the_share_in_time_judges_each_call_by_the_colour_it_came_in(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite", parents={"lamp-2": "gw-1"}) as world:
        await a_day(world)
        decided = asked(world, "alarm.acknowledged_in_time")
        await world.raised("pump-3", rule=PUMP)
        world.now_ms += 1
        waiting = asked(world, "alarm.acknowledged_in_time")

    assert (decided.value, decided.numerator, decided.denominator) == (Fraction(1, 2), 1, 2)
    assert (waiting.low, waiting.value, waiting.high) == (Fraction(1, 3), Fraction(1, 2), Fraction(2, 3))


async def test_an_alert_that_comes_back_is_a_call_of_its_own(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        for _ in range(3):
            red = await world.raised("pump-3", rule=PUMP)
            await world.after(60)
            await world.done(red, Acknowledged("li"))
            await world.cleared("pump-3", rule=PUMP)
            await world.after(60)
        mtta = asked(world, "alarm.mtta")
        later = asked(world, "alarm.mtta", START_MS + 3 * MINUTE_MS)

    assert (mtta.numerator, mtta.denominator) == (3 * MINUTE_MS, 3)
    assert later.denominator == 1


async def test_a_flood_is_a_share_of_the_time_and_nothing_is_null_not_zero(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        quiet = asked(world, "alarm.mtta")
        await world.raised(*[f"lamp-{n}" for n in range(11)], rule="equipment-fault-b")
        world.now_ms += 100 * MINUTE_MS
        flood = asked(world, "alarm.flood")

    assert (quiet.value, quiet.denominator) == (None, 0)
    assert flood.value == Fraction(10, 100)
