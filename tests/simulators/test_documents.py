from pathlib import Path

from devices.profile import load_profiles
from edge.config import load_site
from simulators.documents import example_endpoints, ledger_yaml, site_yaml
from simulators.running import LEDGER_FILE, SITE_FILE, write_documents
from simulators.site import demo_site

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SITE = demo_site()


def test_the_example_files_are_those_of_the_demo_site() -> None:
    assert (EXAMPLES / SITE_FILE).read_text("utf-8") == site_yaml(SITE, example_endpoints(SITE))
    assert (EXAMPLES / LEDGER_FILE).read_text("utf-8") == ledger_yaml(SITE)


def test_the_edge_reads_what_the_simulation_wrote(tmp_path: Path) -> None:
    write_documents(SITE, example_endpoints(SITE), tmp_path)
    found = load_site(tmp_path / SITE_FILE)

    assert found is not None


def test_every_device_of_the_site_has_a_packaged_profile() -> None:
    assert {one.profile for one in SITE.equipment} <= set(load_profiles())


def test_ids_and_units_are_unique() -> None:
    ids = [one.id for one in SITE.equipment] + [space.device for space in SITE.sensed_spaces]
    ids += [robot.id for robot in SITE.robots]
    units = [(one.connection, one.unit) for one in SITE.equipment]

    assert len(set(ids)) == len(ids)
    assert len(set(units)) == len(units)
    assert len(SITE.equipment) == 40
