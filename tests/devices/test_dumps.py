"""Whatever stands in a recording, comparing it ends in an answer."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.document import parse_document
from devices.dumps import Dump, Read, decode_reads, differences
from devices.errors import ConfigurationError
from devices.point import Function
from devices.profile import load_profiles
from tests.devices.golden import dump_paths

PROFILES = load_profiles()
SAMPLES = [dump_paths(name)[0] for name in ("abb-acs580", "sunspec-inverter-103", "nwave-nps405", "vda5050-robot")]
TEXTS = {path: path.read_text("utf-8") for path in SAMPLES}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_a_damaged_recording_is_refused_or_compared(path: Path, data: st.DataObject) -> None:
    text = TEXTS[path]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 40, len(text))))
    piece = data.draw(st.text(st.characters(codec="utf-8"), max_size=8))
    with suppress(ConfigurationError):
        differences(PROFILES[path.parent.name], parse_document(text[:start] + piece + text[end:], "dump", Dump))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 65_535), min_size=42, max_size=42))
def test_any_registers_decode_without_a_warning(words: list[int]) -> None:
    read = Read(function=Function.HOLDING, address=40_070, words=tuple(f"{word:04x}" for word in words))

    values, _ = decode_reads(PROFILES["sunspec-inverter-103"], [read])

    assert len(values) == 15


def test_a_recording_without_its_scale_factors_is_a_difference() -> None:
    part = Read(function=Function.HOLDING, address=40_084, words=("04d2",))
    dump = Dump(description="", source="", reads=(part,), state="run")

    assert differences(PROFILES["sunspec-inverter-103"], dump) == ["the scale factors of power are not in this read"]


@pytest.mark.parametrize(("name", "path"), [("abb-acs580", SAMPLES[2]), ("nwave-nps405", SAMPLES[0])])
def test_a_recording_of_another_kind_of_device_is_a_difference(name: str, path: Path) -> None:
    dump = parse_document(TEXTS[path], "dump", Dump)

    assert differences(PROFILES[name], dump)[0].startswith(f"{name} needs")
