"""Reads the golden dumps: `tests/golden/<profile>/*.json`, recorded registers or messages and what they mean."""

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent.parent / "golden"


def dump_paths(profile_id: str) -> list[Path]:
    """The dumps of a profile."""
    return sorted((GOLDEN / profile_id).glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    """One dump."""
    dump: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return dump
