"""What one message says about one device, in canonical units."""

from dataclasses import dataclass, field

from devices.reading import PoseFlag

PoseTuple = tuple[float, float, float, str, PoseFlag]


@dataclass(frozen=True, slots=True)
class Observation:
    """Numbers and texts by point id.

    `source_time_ms` is the source's own stamp (Unix ms UTC, not yet judged for plausibility), None when the message
    has none that means anything. A number is NaN where the device said "no value". `pose` is (x_m, y_m, theta_rad,
    map id, flags). `sequence` counts the messages of one `sequence_scope`: a jump means that some were lost.
    `at_receipt`: it holds when it is received, however old its stamp (a last will, a retained connection state).
    `is_estimate`: the stamp was computed from something else than a clock, within minutes.
    """

    source_time_ms: int | None
    numbers: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    pose: PoseTuple | None = None
    sequence: int | None = None
    sequence_scope: str = ""
    at_receipt: bool = False
    is_estimate: bool = False
