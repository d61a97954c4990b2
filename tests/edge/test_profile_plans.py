"""The reads that come of every packaged profile keep what the profile says about its device."""

from pathlib import Path

import pytest

from devices.profile import LoadedProfile, load_profiles
from edge.commissioning.examination import Weight, examine
from edge.config import load_site
from edge.drivers.modbus_device import DevicePlan, plans_of
from tests.edge.builders import device

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "site.yaml"
POLLED = [pytest.param(profile, id=profile.id) for profile in load_profiles().values() if not profile.pushes]


def plans(profile: LoadedProfile) -> list[DevicePlan]:
    return plans_of(device(profile))


@pytest.mark.parametrize("profile", POLLED)
def test_every_point_is_in_exactly_one_read(profile: LoadedProfile) -> None:
    read = [point for plan in plans(profile) for request in plan.requests for point in request.read.points]

    assert sorted(read) == sorted(profile.points)


@pytest.mark.parametrize("profile", POLLED)
def test_reads_keep_the_limits_of_the_device(profile: LoadedProfile) -> None:
    modbus = profile.profile.modbus
    assert modbus is not None
    for plan in plans(profile):
        assert plan.pause_s == modbus.frame_pause_ms / 1000
        for request in plan.requests:
            read = request.read
            assert read.count <= (modbus.max_bits if request.function.is_bits else modbus.max_registers)
            wanted = {at for extent in read.extents for at in range(extent.address, extent.end)}
            assert not modbus.no_gap or read.whole or len(wanted) == read.count
            assert not any(first < read.end and read.address < first + count for first, count in modbus.forbidden)
            touched = [(first, n) for first, n in modbus.exact_blocks if first < read.end and read.address < first + n]
            assert all((read.address, read.count) == block for block in touched)


def test_the_bus_habits_of_the_field_are_in_the_profiles() -> None:
    """domain.md: APC 35 ms between frames, DSE at least 1 s, ComAp's ident block whole and no register between."""
    profiles = load_profiles()
    apc, dse, comap = (profiles[name].profile.modbus for name in ("apc-smart-ups", "dse-gencomm", "comap-il4"))

    assert apc is not None
    assert apc.frame_pause_ms >= 35
    assert dse is not None
    assert (dse.timeout_s or 0) >= 1
    assert comap is not None
    assert comap.no_gap
    assert [count for _, count in comap.exact_blocks] == [16]


def test_the_example_site_has_no_errors() -> None:
    findings = examine(load_site(EXAMPLE), EXAMPLE, EXAMPLE.read_text("utf-8"))

    assert [one for one in findings if one.weight is Weight.ERROR] == []
