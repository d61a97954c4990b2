"""History for an InfluxDB 2 (or what accepts its writes, such as VictoriaMetrics). Writes only.

Line protocol: measurement `gatehouse`, tags site, device, point; field `value` (float, canonical unit) for
measurements, field `state` (integer) for discrete points, and `quality` (integer) with both. A frame that is
sent again writes the same points again, which InfluxDB keeps once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException

from cloud.history.store import FrameNumbers
from cloud.ingest.log import FIRST_POSITION
from devices.errors import LinkDown, Permanent
from devices.reading import Series
from devices.segments import write_durably

LINES_MAX = 5_000  # of one request: what both servers took fastest
TIMEOUT_MS = 10_000
MEASUREMENT = "gatehouse"
_WAIT_HELPS = frozenset({401, 403, 404, 408, 429})  # set-up that a person mends, or a server that is busy
_log = structlog.get_logger(__name__)
_SPECIAL = str.maketrans({",": r"\,", " ": r"\ ", "=": r"\=", "\n": " "})


class InfluxRefused(Permanent):
    """The server says that the data themselves are wrong: sending them again does not help."""


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """Where to write. The token is a secret: from the environment or a file, never from the command line."""

    url: str
    token: str
    org: str
    bucket: str


class _Position(msgspec.Struct, frozen=True):
    log_id: str
    positions: dict[str, int]


class InfluxHistory:
    """`HistoryWriter` over HTTP. Its own position is kept in a file and lags behind at most one batch."""

    name = "influx"

    def __init__(self, settings: InfluxSettings, position_file: Path, log_id: str) -> None:
        """Connects only when there is something to write."""
        self._settings = settings
        self._file = position_file
        self._log_id = log_id
        self._positions = _load(position_file, log_id)
        self._client: Any = InfluxDBClient(
            url=settings.url, token=settings.token, org=settings.org, timeout=TIMEOUT_MS, retries=False
        )
        self._write_api: Any = self._client.write_api(write_options=SYNCHRONOUS)
        self.refused = 0

    def position(self, stream: str) -> int:
        """See `HistoryWriter.position`."""
        return self._positions.get(stream, FIRST_POSITION)

    def write(self, frames: Sequence[FrameNumbers], positions: Mapping[str, int]) -> None:
        """See `HistoryWriter.write`. Raises LinkDown; lines that the server calls wrong are counted and left out."""
        for lines in _requests(frames):
            try:
                self._send(b"\n".join(lines))
            except InfluxRefused as error:
                self.refused += len(lines)
                _log.error("history loses lines", writer=self.name, lines=len(lines), reason=str(error))
        self._positions = dict(positions)
        write_durably(self._file, msgspec.json.encode(_Position(self._log_id, self._positions)))

    def maintain(self, now_ms: int) -> None:
        """See `HistoryWriter.maintain`: nothing to do."""

    def close(self) -> None:
        """Close the connections."""
        self._write_api.close()
        self._client.close()

    def _send(self, body: bytes) -> None:
        try:
            self._write_api.write(self._settings.bucket, self._settings.org, body, write_precision=WritePrecision.MS)
        except ApiException as error:
            reason = f"{error.status} {error.reason}"
            if error.status is not None and 400 <= error.status < 500 and error.status not in _WAIT_HELPS:
                raise InfluxRefused(f"the server refuses the data: {reason}") from error
            raise LinkDown(f"the server does not take data now: {reason}") from error
        except urllib3.exceptions.HTTPError as error:
            raise LinkDown(f"no answer from {self._settings.url}: {error}") from error


def _requests(frames: Iterable[FrameNumbers]) -> Iterator[list[bytes]]:
    """Lines in lots of at most `LINES_MAX`, small frames together."""
    waiting: list[bytes] = []
    for frame in frames:
        waiting += lines_of(frame)
        while len(waiting) >= LINES_MAX:
            yield waiting[:LINES_MAX]
            del waiting[:LINES_MAX]
    if waiting:
        yield waiting


def lines_of(frame: FrameNumbers) -> list[bytes]:
    """Line protocol of a frame, times in ms UTC. NaN has no value in it, only its quality."""
    heads = [_head(frame.site, series) for series in frame.series]
    discrete = np.array([not series.unit for series in frame.series], bool)
    numbers = frame.numbers
    if not len(numbers):
        return []
    whole = discrete[numbers.series] & (numbers.value == np.rint(numbers.value)) & (np.abs(numbers.value) < 2**53)
    rows = zip(
        numbers.series.tolist(),
        numbers.time_ms.tolist(),
        numbers.value.tolist(),
        numbers.quality.tolist(),
        whole.tolist(),
        np.isfinite(numbers.value).tolist(),
        strict=True,
    )
    return [
        (
            f"{heads[series]}state={int(value)}i,quality={quality}i {time_ms}"
            if is_whole
            else f"{heads[series]}value={value!r},quality={quality}i {time_ms}"
            if is_finite
            else f"{heads[series]}quality={quality}i {time_ms}"
        ).encode()
        for series, time_ms, value, quality, is_whole, is_finite in rows
    ]


def _head(site: str, series: Series) -> str:
    tags = (("site", site), ("device", series.device), ("point", series.point))
    return ",".join((MEASUREMENT, *(f"{name}={value.translate(_SPECIAL)}" for name, value in tags if value))) + " "


def _load(path: Path, log_id: str) -> dict[str, int]:
    try:
        known = msgspec.json.decode(path.read_bytes(), type=_Position)
    except (FileNotFoundError, msgspec.MsgspecError):
        return {}
    return known.positions if known.log_id == log_id else {}
