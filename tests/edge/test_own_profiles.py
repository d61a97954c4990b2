"""A site's own profiles: `profiles: FOLDER` in site.yaml, relative to the file."""

from pathlib import Path

import pytest

from devices.errors import ConfigurationError
from edge.config import load_site

SITE = """\
site: jinji-lake
gateway: gw-1
profiles: ours
connections:
  - id: plant-room
    modbus: {host: 127.0.0.1, port: 5020}
    devices:
      - {id: fan-1, profile: our-fan, unit: 1}
      - {id: ahu-1, profile: abb-acs580, unit: 2}
"""
FAN = """\
id: our-fan
source: {document: none, verified: unverified}
modbus: {}
points:
  - {id: fault, function: coil, address: 0, type: bool}
states: {fault: fault}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "our-fan.yaml").write_text(FAN, "utf-8")
    return tmp_path


def written(folder: Path, text: str = SITE) -> Path:
    path = folder / "site.yaml"
    path.write_text(text, "utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_site(path)
    return str(caught.value)


def test_a_device_may_have_a_profile_of_the_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")

    fan, drive = load_site(written(folder)).devices

    assert (fan.profile.id, fan.profile.text) == ("our-fan", FAN)
    assert drive.profile.id == "abb-acs580"


def test_without_the_folder_an_own_profile_is_unknown(folder: Path) -> None:
    path = written(folder, SITE.replace("profiles: ours\n", ""))

    assert f"{path}:7:30: unknown profile 'our-fan'" in refused(path)


def test_a_folder_that_is_not_there_is_refused_with_its_place(folder: Path) -> None:
    path = written(folder, SITE.replace("profiles: ours", "profiles: theirs"))

    assert refused(path) == f"{path}:3:11: {folder / 'theirs'} is no folder"


def test_a_mistake_in_an_own_profile_is_named_in_that_file(folder: Path) -> None:
    own = folder / "ours" / "our-fan.yaml"
    own.write_text(FAN.replace("address: 0", "address: nowhere"), "utf-8")

    assert f"{own}:5:" in refused(written(folder))
