"""The store's rows -> what the timelines are worked out from. Reads only."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa

from cloud.facts.claims import DAY_MS, ClaimRows, FrameKey, decode_claims, decode_info, key_of_rank
from cloud.facts.database import claims, device_infos, profiles, reaches, runs, stops
from cloud.facts.reinterpreting import read_otherwise, readings_of
from cloud.facts.timelines import (
    EQUIPMENT_STATES,
    SPACE_CODES,
    UNKNOWN,
    Carry,
    Claims,
    Confirming,
    Judge,
)
from devices.errors import ConfigurationError
from devices.profile import LoadedProfile, parse_profile
from devices.reading import Int64s
from devices.records import DeviceInfo
from devices.states import equipment_state, space_state

ALWAYS_MS = -(2**62)


@dataclass(slots=True)
class Profiles:
    """Profile texts of a site as rules; parsed once."""

    loaded: dict[tuple[str, str], LoadedProfile | None] = field(default_factory=dict)

    def get(self, connection: sa.Connection, site: str, digest: str) -> LoadedProfile | None:
        """The profile with this hash; None while its text has not arrived or cannot be used by this version."""
        if (site, digest) not in self.loaded:
            where = (profiles.c.site == site) & (profiles.c.hash == digest)
            text = connection.execute(sa.select(profiles.c.text).where(where)).scalar_one_or_none()
            if text is None:
                return None
            try:
                self.loaded[site, digest] = parse_profile(text, f"profile {digest[:12]}")
            except ConfigurationError:
                self.loaded[site, digest] = None  # its devices are unknown, and listed as such
        return self.loaded[site, digest]


@dataclass(frozen=True, slots=True)
class Described:
    """What a device was configured to be, over time: `infos[i]` from `since_ms[i]` on; the first reaches back."""

    since_ms: tuple[int, ...]
    infos: tuple[DeviceInfo, ...]
    profiles: tuple[LoadedProfile | None, ...]

    @property
    def rules(self) -> list[tuple[int, Judge]]:
        """Judges for `timelines.device_day`. A device that nobody described is unknown."""
        if not self.infos:
            return [(ALWAYS_MS, _unknown)]
        return [(since, judge_of(profile)) for since, profile in zip(self.since_ms, self.profiles, strict=True)]

    def pushes(self, times: Int64s) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Whether the device spoke on its own account at each of these times."""
        if not self.infos:
            return np.ones(len(times), np.bool_)  # nothing is known to poll it
        flags = np.array([info.pushes for info in self.infos], np.bool_)
        index = np.searchsorted(np.array(self.since_ms, np.int64), times, "right") - 1
        return np.asarray(flags[np.maximum(index, 0)], np.bool_)


@dataclass(frozen=True, slots=True)
class Run:
    """A gap-free run of events frames."""

    first_seq: int
    last_seq: int
    from_ms: int
    to_ms: int


def judge_of(profile: LoadedProfile | None) -> Judge:
    """Values -> code. Equipment and robots are coded by `EQUIPMENT_STATES`, spaces by `SPACE_CODES`."""
    if profile is None:
        return _unknown
    if profile.kind == "space":
        return lambda values: SPACE_CODES[space_state(values)]
    return lambda values: EQUIPMENT_STATES.index(equipment_state(profile, values))


def _unknown(_: Mapping[str, float | None]) -> int:
    return UNKNOWN


def described(connection: sa.Connection, site: str, devices: Sequence[str], known: Profiles) -> dict[str, Described]:
    """All that inventories said about devices."""
    table = device_infos
    order = (table.c.device, table.c.time_ms, table.c.epoch, table.c.seq)
    chosen = sa.select(table.c.device, table.c.time_ms, table.c.body).where(
        table.c.site == site, table.c.device.in_(devices)
    )
    said: dict[str, list[tuple[int, DeviceInfo]]] = {device: [] for device in devices}
    for row in connection.execute(chosen.order_by(*order)):
        info = decode_info(row.body)
        before = said[row.device]
        if not before or before[-1][1] != info:
            before.append((row.time_ms if before else ALWAYS_MS, info))
    readings = readings_of(connection, site)
    found = {}
    for device, infos in said.items():
        profiles = [known.get(connection, site, info.profile_hash) for _, info in infos]
        steps = [(since, index, profiles[index]) for index, (since, _) in enumerate(infos)]
        if infos and device in readings:
            steps = read_otherwise([since for since, _ in infos], profiles, readings[device])
        found[device] = Described(
            tuple(since for since, _, _ in steps),
            tuple(infos[index][1] for _, index, _ in steps),
            tuple(profile for _, _, profile in steps),
        )
    return found


def runs_from(connection: sa.Connection, site: str, from_ms: int) -> dict[bytes, list[Run]]:
    """Runs that end at or after a moment, by epoch, ascending."""
    found = connection.execute(
        sa.select(runs.c.epoch, runs.c.first_seq, runs.c.last_seq, runs.c.from_ms, runs.c.to_ms)
        .where((runs.c.site == site) & (runs.c.to_ms >= from_ms))
        .order_by(runs.c.epoch, runs.c.first_seq)
    )
    by_epoch: dict[bytes, list[Run]] = defaultdict(list)
    for row in found:
        by_epoch[row.epoch].append(Run(row.first_seq, row.last_seq, row.from_ms, row.to_ms))
    return by_epoch


def first_run_ms(connection: sa.Connection, site: str) -> int | None:
    """Where the first span of a site begins."""
    earliest = connection.execute(sa.select(sa.func.min(runs.c.from_ms)).where(runs.c.site == site)).scalar_one()
    return None if earliest is None else int(earliest)


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """The facts about one device in [from_ms, to_ms), loaded once for many days."""

    device: str
    blocks: Mapping[int, Sequence[ClaimRows]]  # by UTC day
    crossing: Sequence["sa.Row[tuple[object, ...]]"]
    stops: Sequence[tuple[str, int, int]]  # point, time_ms, stop_ms; by time
    described: Described
    runs: Mapping[bytes, Sequence[Run]]

    def day(self, carry: Carry, from_ms: int, to_ms: int) -> tuple[Claims, Confirming]:
        """What `timelines.device_day` needs for one day."""
        utc_days = range(from_ms // DAY_MS, (to_ms - 1) // DAY_MS + 1)
        blocks = [block for utc_day in utc_days for block in self.blocks.get(utc_day, ())]
        crossing = [row for row in self.crossing if row.from_ms < to_ms and row.to_ms >= from_ms]
        columns = _assemble(blocks, crossing, carry, self.described, from_ms)
        return columns, self._confirming(columns, from_ms, to_ms)

    def _confirming(self, columns: Claims, from_ms: int, to_ms: int) -> Confirming:
        found = [self._run(key) for key in columns.frames]
        scopes: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for point, time_ms, stop_ms in self.stops:
            if stop_ms < to_ms and time_ms >= from_ms:
                scopes[point].append((time_ms, stop_ms))
        pairs = {point: np.array(rows, np.int64) for point, rows in scopes.items()}
        return Confirming(
            np.array([run.from_ms if run else -1 for run in found], np.int64),
            np.array([run.to_ms if run else -1 for run in found], np.int64),
            {point: (rows[:, 0], rows[:, 1]) for point, rows in pairs.items()},
        )

    def _run(self, key: FrameKey) -> Run | None:
        of_epoch = self.runs.get(key.epoch, ())
        index = bisect_right(of_epoch, key.seq, key=_first_seq) - 1
        return of_epoch[index] if index >= 0 and of_epoch[index].last_seq >= key.seq else None


def _first_seq(run: Run) -> int:
    return run.first_seq


def load_devices(
    connection: sa.Connection,
    site: str,
    devices: Sequence[str],
    window: tuple[int, int],
    *,
    known: Profiles,
    by_epoch: Mapping[bytes, Sequence[Run]],
) -> dict[str, DeviceFacts]:
    """Everything about these devices that bears on [window[0], window[1])."""
    from_ms, to_ms = window
    within = claims.c.utc_day.between(from_ms // DAY_MS, (to_ms - 1) // DAY_MS)
    chosen = sa.select(claims.c.device, claims.c.utc_day, claims.c.body).where(
        claims.c.site == site, claims.c.device.in_(devices), within
    )
    blocks: dict[str, dict[int, list[ClaimRows]]] = {device: defaultdict(list) for device in devices}
    for device, utc_day, body in connection.execute(chosen):
        blocks[device][utc_day].append(decode_claims(body))
    crossing = defaultdict(list)
    reaching = sa.select(reaches).where(
        reaches.c.site == site, reaches.c.device.in_(devices), reaches.c.from_ms < to_ms, reaches.c.to_ms >= from_ms
    )
    for row in connection.execute(reaching):
        crossing[row.device].append(row)
    stopped = defaultdict(list)
    stopping = sa.select(stops.c.device, stops.c.point, stops.c.time_ms, stops.c.stop_ms).where(
        stops.c.site == site, stops.c.device.in_(devices), stops.c.stop_ms < to_ms, stops.c.time_ms >= from_ms
    )
    for row in connection.execute(stopping.order_by(stops.c.time_ms, stops.c.stop_ms)):
        stopped[row.device].append((row.point, row.time_ms, row.stop_ms))
    descriptions = described(connection, site, devices, known)
    return {
        device: DeviceFacts(device, blocks[device], crossing[device], stopped[device], descriptions[device], by_epoch)
        for device in devices
    }


def _assemble(
    blocks: Sequence[ClaimRows], crossing: Iterable["sa.Row[tuple[object, ...]]"], carry: Carry,
    description: Described, from_ms: int,
) -> Claims:  # fmt: skip
    """Blocks, crossing claims and the carry as one set of columns, frames sorted by key."""
    loose = [(one.point, one.from_ms, one.to_ms, one.value, one.hold_ms, one.key, one.lasting) for one in carry.claims]
    loose += [
        (row.point, row.from_ms, row.to_ms, row.value, row.hold_ms, key_of_rank(row.rank), False) for row in crossing
    ]
    frames = sorted({block.key for block in blocks} | {one[5] for one in loose})
    rank = {key: index for index, key in enumerate(frames)}
    names = [name for block in blocks for name in block.points] + [one[0] for one in loose]
    points = tuple(sorted(set(names)))
    code = {name: index for index, name in enumerate(points)}
    coded = np.array([code[name] for name in names], np.int64)
    sizes = np.array([len(block.value) // 8 for block in blocks], np.int64)
    widths = np.array([len(block.points) for block in blocks], np.int64)
    local = _ints([block.point for block in blocks], "<u2") + np.repeat(np.cumsum(widths) - widths, sizes)
    starts = _ints([block.from_ms for block in blocks], "<i8")
    values = np.frombuffer(b"".join(block.value for block in blocks), "<f8")
    frame_of = np.repeat(np.array([rank[block.key] for block in blocks], np.int64), sizes)
    merged = Claims(
        points=points,
        frames=tuple(frames),
        point=np.concatenate([coded[local], coded[len(coded) - len(loose) :]]),
        from_ms=np.concatenate([starts, _whole(one[1] for one in loose)]),
        to_ms=np.concatenate([_ints([one.to_ms for one in blocks], "<i8"), _whole(one[2] for one in loose)]),
        value=np.concatenate([values, np.array([one[3] for one in loose], np.float64)]),
        hold_ms=np.concatenate([_ints([one.hold_ms for one in blocks], "<i8"), _whole(one[4] for one in loose)]),
        frame=np.concatenate([frame_of, _whole(rank[one[5]] for one in loose)]),
        lasting=np.concatenate([~description.pushes(starts), np.array([one[6] for one in loose], np.bool_)]),
    )
    carried = np.arange(len(merged.point)) >= len(starts)
    return _where(merged, carried | (merged.to_ms >= from_ms))


def _ints(parts: Sequence[bytes], kind: str) -> Int64s:
    return np.frombuffer(b"".join(parts), kind).astype(np.int64)


def _whole(numbers: Iterable[int]) -> Int64s:
    return np.array(list(numbers), np.int64)


def _where(claimed: Claims, keep: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Claims:
    if keep.all():
        return claimed
    return Claims(
        claimed.points, claimed.frames, claimed.point[keep], claimed.from_ms[keep], claimed.to_ms[keep],
        claimed.value[keep], claimed.hold_ms[keep], claimed.frame[keep], claimed.lasting[keep],
    )  # fmt: skip
