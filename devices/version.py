"""Which Gatehouse this is."""

import importlib.metadata

UNKNOWN = "0"


def software_version() -> str:
    """The version of the installed package, `0` when it runs from a bare checkout or an image of sources."""
    try:
        return importlib.metadata.version("gatehouse")
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
