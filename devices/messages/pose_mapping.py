"""Where a robot's JSON message says that it is."""

from pydantic import Field

from devices.document import Section


class PoseMapping(Section):
    """json: where a robot's message says that it is: paths of metres on a map, and of the angle in radians.

    The map is named by the message (`map`) or is always the same (`map_id`). Without `localized` a pose is trusted.
    """

    x: str
    y: str
    theta: str | None = None
    map: str | None = None
    map_id: str | None = Field(default=None, min_length=1, max_length=200)
    localized: str | None = None

    @property
    def paths(self) -> dict[str, str]:
        """Every path that is given, by its key."""
        named = {"x": self.x, "y": self.y, "theta": self.theta, "map": self.map, "localized": self.localized}
        return {key: path for key, path in named.items() if path is not None}
