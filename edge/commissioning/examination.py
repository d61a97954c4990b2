"""What is wrong with a site.yaml that can be loaded: whether it fits, and what was probably not meant."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from devices.document import Mistake, locate
from devices.errors import Problem
from edge.commissioning.forecast import bus_loads, misfits, planned_reads
from edge.config import Site


class Weight(StrEnum):
    """How bad a finding is: an error means that the site cannot work as it is written."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend or to know, with its place in the file."""

    weight: Weight
    problem: Problem


def examine(site: Site, file: Path, text: str) -> list[Finding]:
    """Everything found, by its place. `text` is the file's. Raises Permanent for profiles that cannot be planned."""
    found = [*_load_mistakes(site), *_likely_mistakes(site)]
    problems = locate(text, str(file), [mistake for _, mistake in found])
    findings = [Finding(weight, problem) for (weight, _), problem in zip(found, problems, strict=True)]
    return sorted(findings, key=lambda finding: (finding.problem.line, finding.problem.column))


def _load_mistakes(site: Site) -> Iterator[tuple[Weight, Mistake]]:
    reads = planned_reads(site)
    places = {connection.id: index for index, connection in enumerate(site.config.connections)}
    for misfit in misfits(bus_loads(site.config.connections, reads), reads):
        where = ("connections", places[misfit.connection], "modbus")
        yield Weight.ERROR if misfit.hopeless else Weight.WARNING, Mistake(where, misfit.message)


def _likely_mistakes(site: Site) -> Iterator[tuple[Weight, Mistake]]:
    for i, connection in enumerate(site.config.connections):
        owners: dict[int, str] = {}
        for j, device in enumerate(connection.devices):
            if device.unit is None:
                continue
            owner = owners.setdefault(device.unit, device.id)
            if owner != device.id:
                message = f"unit {device.unit} is also the device {owner!r}: are they one piece of equipment?"
                yield Weight.WARNING, Mistake(("connections", i, "devices", j, "unit"), message)
        serial = connection.modbus.serial if connection.modbus is not None else None
        if serial is not None and not Path(serial).exists():
            message = f"there is no {serial} on this machine"
            yield Weight.WARNING, Mistake(("connections", i, "modbus", "serial"), message)
    if site.config.cloud is not None and not site.key_path.exists():
        message = f"{site.key_path} does not exist yet: `gatehouse edge key` makes it"
        yield Weight.WARNING, Mistake(("cloud",), message)
