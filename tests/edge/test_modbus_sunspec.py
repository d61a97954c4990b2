"""SunSpec devices keep their models where they like: the driver finds them by the chain."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from devices.errors import ConfigurationError
from devices.point import Function
from devices.profile import LoadedProfile, packaged_profile, parse_profile
from devices.reading import Block, Quality, Text
from edge.config import ModbusServer
from edge.drivers.modbus import ModbusDriver, Polled
from edge.drivers.modbus_device import DevicePlan, plans_of
from simulators.modbus import SimulatedDevice, serve
from tests.edge.builders import device, moment

INVERTER = packaged_profile("sunspec-inverter-103")
UNIT = 5
Words = dict[int, int]


def inverter() -> SimulatedDevice:
    served = SimulatedDevice("it", UNIT, INVERTER)
    served.set("model", 103.0)
    served.set("power_sf", 1.0)
    served.set("power", 12_340.0)
    served.set_text("serial", "SN-7")
    return served


def laid_out(
    base: int, *, common: int = 66, others: tuple[tuple[int, int], ...] = (), model: int = 103
) -> SimulatedDevice:
    """The same inverter with its models elsewhere; `others` are models (id, length) in front of its own."""
    served = inverter()
    words = dict(served._words[Function.HOLDING])
    moved: Words = {base: words[40_000], base + 1: words[40_001], base + 2: 1, base + 3: common}
    moved.update({base + 4 + place: words.get(40_004 + place, 0) for place in range(common)})
    at = base + 4 + common
    for number, length in others:
        moved.update({at: number, at + 1: length, **dict.fromkeys(range(at + 2, at + 2 + length), 0)})
        at += 2 + length
    moved.update({at + place: words[40_070 + place] for place in range(42)})
    moved.update({at: model, at + 1: 40, at + 42: 0xFFFF, at + 43: 0})
    served._words[Function.HOLDING] = moved
    return served


def plans() -> Iterator[DevicePlan]:
    yield from plans_of(device(INVERTER, unit=UNIT))


async def polled(served: SimulatedDevice) -> tuple[dict[str, float], dict[str, str], list[Polled]]:
    numbers: dict[str, float] = {}
    texts: dict[str, str] = {}
    async with _serving(served) as port:
        driver = ModbusDriver(ModbusServer(host="127.0.0.1", port=port, timeout_s=5.0), moment)
        await driver.connect()
        answers = [await driver.poll(plan) for plan in plans()]
        for item in (item for answer in answers for item in answer.items):
            if isinstance(item, Block) and item.quality.is_good:
                numbers |= dict(zip(item.points, item.values.tolist(), strict=True))
            elif isinstance(item, Text):
                texts[item.point] = item.text
        driver.close()
    return numbers, texts, answers


def _serving(served: SimulatedDevice) -> AbstractAsyncContextManager[int]:
    return serve([served])


@pytest.mark.parametrize(
    "served",
    [
        laid_out(40_000),
        laid_out(40_000, common=65),
        laid_out(50_000, others=((120, 26), (11, 13))),
        laid_out(0, common=65, others=((1, 66),)),
    ],
    ids=["usual", "short-common", "second-base", "third-base"],
)
async def test_the_models_are_found_wherever_they_are(served: SimulatedDevice) -> None:
    numbers, texts, _ = await polled(served)

    assert (numbers["model"], numbers["power"]) == (103.0, 12_340.0)
    assert texts.keys() == {"manufacturer", "product", "serial"}


async def test_texts_of_the_common_model_are_read_from_where_it_is() -> None:
    _, texts, _ = await polled(laid_out(50_000))

    assert texts["serial"] == "SN-7"


@pytest.mark.parametrize("served", [laid_out(40_000, model=101), laid_out(30_000)], ids=["other-model", "no-marker"])
async def test_a_device_without_the_model_is_told_apart_from_one_that_is_silent(served: SimulatedDevice) -> None:
    numbers, _, answers = await polled(served)

    assert numbers == {}
    found = {item.quality for answer in answers for item in answer.items if isinstance(item, Block)}
    assert found == {Quality.BAD_ILLEGAL_ADDRESS}
    # the second plan of the device does not ask again what the first has found out
    assert answers[0].answered > 0
    assert not any(answer.silent for answer in answers)


def moved_profile(*points: str) -> LoadedProfile:
    """One read class and no exact blocks: the planner may join what it likes."""
    text = (
        "id: own\nsource: {document: d, verified: unverified}\nmodbus: {sunspec: {model: 103}, max_gap: 124}\n"
        "poll: {state: 1s}\npoints:\n  - {id: model, function: holding, address: 40070, type: u16, poll: state}\n"
    )
    return parse_profile(text + "".join(f"  - {{{point}, poll: state}}\n" for point in points), "own.yaml")


async def test_no_read_reaches_from_the_common_model_into_the_other() -> None:
    own = moved_profile("id: options, function: holding, address: 40068, type: u16")
    served = laid_out(50_000, common=65)
    async with _serving(served) as port:
        driver = ModbusDriver(ModbusServer(host="127.0.0.1", port=port, timeout_s=5.0), moment)
        await driver.connect()
        [plan] = plans_of(device(own, unit=UNIT))
        items = (await driver.poll(plan)).items
        driver.close()

    assert len(plan.requests) == 2
    assert {item.points: item.values.tolist() for item in items if isinstance(item, Block)}["model",] == [103.0]


async def test_a_device_without_the_model_is_not_asked_through_its_chain_at_every_poll() -> None:
    async with _serving(laid_out(40_000, model=101)) as port:
        driver = ModbusDriver(ModbusServer(host="127.0.0.1", port=port, timeout_s=5.0), moment)
        await driver.connect()
        [plan, *_] = plans_of(device(INVERTER, unit=UNIT))
        first, second = await driver.poll(plan), await driver.poll(plan)
        driver.close()

    assert (first.answered > 2, second.answered) == (True, 0)
    assert all(not item.quality.is_good for item in second.items if isinstance(item, Block))


async def test_models_that_move_while_the_connection_stands_are_not_read_as_something_else() -> None:
    served, moved = laid_out(40_000), laid_out(40_000, others=((120, 26),))
    async with _serving(served) as port:
        driver = ModbusDriver(ModbusServer(host="127.0.0.1", port=port, timeout_s=5.0), moment)
        await driver.connect()
        plan = next(plan for plan in plans() if plan.interval_s < 60)
        before = await driver.poll(plan)
        for place, word in moved._words[Function.HOLDING].items():
            if place in served._words[Function.HOLDING]:
                served._words[Function.HOLDING][place] = word
        during = await driver.poll(plan)
        driver.close()

    assert any(item.quality.is_good for item in before.items if isinstance(item, Block))
    assert all(not item.quality.is_good for item in during.items if isinstance(item, Block))


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ("id: across, function: holding, address: 40069, type: u32", "reaches from one SunSpec model"),
        ("id: wrong, function: input, address: 40080, type: u16", "holding registers"),
    ],
)
def test_a_sunspec_profile_that_cannot_work_is_refused(point: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        moved_profile(point)


async def test_a_chain_that_runs_in_a_circle_is_given_up() -> None:
    served = laid_out(40_000, model=200)
    served._words[Function.HOLDING][40_071] = 0xFFFF - 42  # its length leads back to the beginning, and beyond the end

    numbers, _, _ = await polled(served)

    assert numbers == {}
