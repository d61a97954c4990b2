"""The pages about devices are executed: the reference is what the profiles say, the guide does what it promises."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices.cli import app
from devices.dumps import differences, load_dump
from devices.profile import load_profile, load_profiles
from devices.profile_reference import reference
from edge.config import load_site
from tests.devices.golden import GOLDEN

DOCS = GOLDEN.parent.parent / "docs"
GUIDE = (DOCS / "new-device.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of the guide in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as somebody has it who follows the guide."""
    profile, site_yaml = blocks("yaml")
    (dump,) = blocks("json")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "acme-fan.yaml").write_text(profile, "utf-8")
    (tmp_path / "profiles" / "acme-fan.json").write_text(dump, "utf-8")
    (tmp_path / "site.yaml").write_text(site_yaml, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_reference_is_what_the_profiles_say() -> None:
    assert (DOCS / "profiles.md").read_text("utf-8") == reference(load_profiles()), (
        "run: gatehouse profiles reference > docs/profiles.md"
    )


def test_every_command_of_the_guide_succeeds(site: Path) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert commands
    for command in commands:
        program, part, *words = shlex.split(command)
        answer = CliRunner().invoke(app, words)

        assert (program, part) == ("gatehouse", "profiles")
        assert answer.exit_code == 0, answer.output
        assert "acme-fan" in answer.stdout


def test_the_guides_recording_is_a_fault_and_says_so(site: Path) -> None:
    profile = load_profile(site / "profiles" / "acme-fan.yaml")
    dump = load_dump(site / "profiles" / "acme-fan.json")

    assert differences(profile, dump) == []
    assert dump.state == "fault"


def test_the_guides_site_reads_the_new_device(site: Path) -> None:
    (fan,) = load_site(site / "site.yaml").devices

    assert (fan.id, fan.profile.id, fan.unit) == ("fan-1", "acme-fan", 4)
