"""Scale factors that stand in registers of their own, banks of parking sensors, and a folder of own profiles."""

import math
from pathlib import Path

import numpy as np
import pytest

from devices.errors import ConfigurationError, RegisterError
from devices.known_profiles import known_profiles
from devices.profile import load_profiles, parse_profile
from devices.registers import RegisterDecoder
from devices.states import EquipmentState, equipment_state

SCALED = """\
id: scaled
source: {document: none, verified: unverified}
modbus: {exact_blocks: [[0, 4]]}
points:
  - {id: power, function: holding, address: 0, type: s16, unit: W, scale_from: factor}
  - {id: factor, function: holding, address: 3, type: s16, invalid: [0x8000]}
states: {fault: power < 0}
"""
OWN = """\
id: own
source: {document: none, verified: unverified}
modbus: {}
points:
  - {id: fault, function: coil, address: 0, type: bool}
states: {fault: fault}
"""


def problems(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_profile(text, "scaled.yaml")
    return str(caught.value)


def scaled(power: int, factor: int) -> float:
    decoder = RegisterDecoder(parse_profile(SCALED, "scaled.yaml").profile.points, 0)
    return float(decoder.decode(np.array([power, 0, 0, factor], np.uint16))[0])


@pytest.mark.parametrize(("factor", "watts"), [(0, 1234.0), (2, 123_400.0), (0xFFFE, 12.34), (10, 1234e10)])
def test_a_value_is_scaled_by_the_factor_that_was_read_with_it(factor: int, watts: float) -> None:
    assert scaled(1234, factor) == pytest.approx(watts, rel=1e-12)


@pytest.mark.parametrize("factor", [0x8000, 11, 300, 0x7FFF])
def test_without_a_factor_that_can_be_true_there_is_no_value(factor: int) -> None:
    assert math.isnan(scaled(1234, factor))


def test_a_read_without_the_factor_is_refused() -> None:
    points = parse_profile(SCALED, "scaled.yaml").profile.points
    with pytest.raises(RegisterError, match="scale factors of power"):
        RegisterDecoder(points[:1], 0)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("scale_from: factor", "scale_from: factory", "'factory' is no point without a unit"),
        ("[[0, 4]]", "[[0, 3]]", "power and factor must share function, poll class and one of the exact_blocks"),
        ("unit: W", "unit: K", "needs a unit and no offset"),
        ("unit: W, ", "", "needs a unit and no offset"),
        ("unit: W", "unit: W, offset: 1", "needs a unit and no offset"),
    ],
)
def test_a_factor_that_may_be_missing_is_refused(old: str, new: str, expected: str) -> None:
    assert expected in problems(SCALED.replace(old, new))


def test_a_bank_of_parking_sensors_runs_while_all_of_them_are_heard() -> None:
    bank = load_profiles()["parking-di-bank"]
    heard: dict[str, float | None] = {f"occupied_{number}": 0.0 for number in range(1, 17)}

    assert bank.state_points == heard.keys()
    assert equipment_state(bank, heard) is EquipmentState.RUN
    assert equipment_state(bank, heard | {"occupied_7": None}) is EquipmentState.UNKNOWN


def test_a_bank_needs_its_spaces() -> None:
    text = OWN.replace("id: own\n", "id: own\nkind: space-bank\n").replace("states: {fault: fault}\n", "")

    assert "a space-bank needs points occupied_1" in problems(text)


def test_own_profiles_stand_beside_the_packaged_ones(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN, "utf-8")

    assert known_profiles(tmp_path).keys() == load_profiles().keys() | {"own"}


def test_every_mistake_in_a_folder_of_profiles_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OWN.replace("address: 0", "address: -1"), "utf-8")
    (tmp_path / "b.yaml").write_text(OWN, "utf-8")
    (tmp_path / "c.yaml").write_text(OWN, "utf-8")

    with pytest.raises(ConfigurationError) as caught:
        known_profiles(tmp_path)

    assert f"{tmp_path / 'a.yaml'}:5:" in str(caught.value)
    assert "the id 'own' is that of another file here" in str(caught.value)


def test_an_id_means_one_product(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN.replace("id: own", "id: generic-di"), "utf-8")

    with pytest.raises(ConfigurationError, match="'generic-di' is that of a packaged profile"):
        known_profiles(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no folder of profiles"):
        known_profiles(tmp_path / "none")
