"""The front door: `gatehouse edge|cloud|profiles|sim VERB`. Each package is imported only when its command is used."""

import importlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import typer

HELP = "IoT edge gateway and cloud aggregator for property sites."
EXIT_FAILURE, EXIT_INTERRUPTED = 1, 130


class Part(NamedTuple):
    """A command of the front door: where it is, and its help, which needs no import."""

    module: str
    attribute: str
    help: str


PARTS = {
    "edge": Part("edge.cli", "app", "The agent on a site's gateway: reads devices, keeps, sends."),
    "cloud": Part("cloud.cli", "app", "The aggregator: takes frames, computes indicators, serves the page."),
    "coverage": Part("cloud.cli_coverage", "app", "Where robots were, how often, and what they missed."),
    "audit": Part("cloud.cli_audit", "app", "Evidence that can be taken away, and checked without us."),
    "explain": Part("cloud.cli_indicators", "explain", "Everything that a number is made of."),
    "profiles": Part("devices.cli", "app", "The products that are known, and the check of a new one."),
    "rules": Part("cloud.cli_rules", "app", "The alert rules, and what they would have said of the last days."),
    "sim": Part("simulators.cli", "app", "Devices that are not there: a whole site for tests and demos."),
    "demo": Part("simulators.demo", "demo", "A simulated site, its gateway and the cloud on this machine."),
}


def door(chosen: str) -> typer.Typer:
    """The commands, of which only the chosen part is real; the others are there for the list."""
    app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False)
    for name, part in PARTS.items():
        if name != chosen:
            app.command(name, help=part.help)(_not_asked_for)
            continue
        found = _load(name, part)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, help=part.help)
        else:
            app.command(name)(found)
    return app


def _not_asked_for() -> None:
    """Stand for a part that is not imported."""


def _load(name: str, part: Part) -> Any:
    try:
        return getattr(importlib.import_module(part.module), part.attribute)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in {"edge", "cloud", "simulators", "devices"}:
            raise
        extra = {
            "sim": "simulators",
            "demo": "simulators",
            "coverage": "cloud",
            "explain": "cloud",
            "audit": "cloud",
            "rules": "cloud",
        }.get(name, name)
        sys.exit(f"gatehouse {name} needs {missing}, which is not installed: pip install 'gatehouse[{extra}]'")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `gatehouse` script; `arguments` are those of the process unless given."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        door(words[0] if words else "")(words, prog_name="gatehouse")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
