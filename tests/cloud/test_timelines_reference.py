"""States of a device against a brute-force reading of design.md section 8 on a grid of whole seconds.

The reference below shares no code with the engine. It looks at every second by itself.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from cloud.facts.timelines import EQUIPMENT_STATES, STATE_BITS, Timeline, debounced
from devices.frame import Origin
from devices.records import Link
from tests.cloud.told import Entry, Told, bad_link, inventory, ledger_text, new_cloud

DEVICE = "pump-1"
HOLD_S = 60
LENGTH_S = 1500
HISTORIES = 160
CHUNKS = 16
DAY_MS = 86_400_000
# Histories lie around local midnight of Shanghai (16:00 UTC) or around midnight UTC, so that days are crossed.
BASES_MS = (
    1_780_000_000_000 // DAY_MS * DAY_MS + 16 * 3_600_000 - 700_000,
    1_780_000_000_000 // DAY_MS * DAY_MS - 600_000,
)


def random_history(rng: random.Random, base_ms: int) -> list[Told]:
    """Frames of one device: changes, keyframes, bad links, restarts, and frames that never arrive."""
    frames: list[Told] = []
    epoch, run, seq = 1, 1, 1
    now_s = rng.randrange(0, 60)
    values = {"alarm": 0.0, "running": 0.0}
    changed: dict[str, int] = {}
    while now_s < LENGTH_S - 60:
        length_s = rng.choice([1, 5, 30, 30, 60])
        begin, end = now_s, now_s + length_s
        entries, records = [], []
        for point, value in values.items():
            if rng.random() < 0.25 or point not in changed:
                at = rng.randrange(begin, end)
                values[point] = float(rng.random() < 0.5) if point in changed else value
                changed[point] = at
                entries.append(Entry(DEVICE, point, base_ms + at * 1000, values[point]))
            elif rng.random() < 0.15:
                confirmed = rng.randrange(max(changed[point], begin - 20), end)
                if confirmed >= changed[point]:
                    entries.append(
                        Entry(DEVICE, point, base_ms + changed[point] * 1000, value, base_ms + confirmed * 1000)
                    )
        if rng.random() < 0.08:
            at = rng.randrange(begin, end)
            last = rng.choice([None, base_ms + max(at - 60, 0) * 1000])
            records.append(bad_link(DEVICE, base_ms + at * 1000, last, rng.choice(["", "", "alarm", "running"])))
        if rng.random() < 0.05:
            entries.append(Entry(DEVICE, "alarm", base_ms + rng.randrange(begin, end) * 1000, float("nan"), quality=64))
        origin = Origin.IMPORT if rng.random() < 0.1 else Origin.LIVE
        frames.append(
            Told(
                seq, base_ms + begin * 1000, base_ms + end * 1000, tuple(entries), tuple(records),
                epoch=f"epoch-{epoch:02}".encode(), clock_run=f"run-{run:04}".encode(), origin=origin, hold_s=HOLD_S,
            )
        )  # fmt: skip
        seq, now_s = seq + 1, end
        chance = rng.random()
        if chance < 0.04:
            epoch, seq, run = epoch + 1, 1, run + 1
            now_s += rng.choice([0, 10, 200])
        elif chance < 0.08:
            run += 1
        elif chance < 0.1:
            now_s += rng.choice([1, 100])
    return [frame for frame in frames if rng.random() > 0.08]


def reference(frames: Sequence[Told], base_ms: int) -> list[str]:
    """State of each second, written from the text."""
    where = {(told.epoch, told.seq): told for told in frames}

    def run_of(told: Told) -> tuple[int, int]:
        begin = end = told
        while (n := where.get((end.epoch, end.seq + 1))) and n.from_ms == end.to_ms and n.clock_run == end.clock_run:
            end = n
        while (
            (p := where.get((begin.epoch, begin.seq - 1)))
            and p.to_ms == begin.from_ms
            and p.clock_run == begin.clock_run
        ):
            begin = p
        return begin.from_ms, end.to_ms

    bad = []
    for told in frames:
        for record in told.records:
            if isinstance(record, Link):
                last = record.time_ms if record.last_ok_ms is None else record.last_ok_ms
                bad.append((record.point, record.time_ms, last))
        bad += [(one.point, one.changed_ms, one.changed_ms) for one in told.entries if one.quality]
    claims = []
    for told in frames:
        run_from, run_to = run_of(told)
        for entry in told.entries:
            if entry.quality:
                continue
            to_ms = entry.changed_ms if entry.confirmed_ms is None else entry.confirmed_ms
            end = to_ms
            if to_ms + HOLD_S * 1000 >= run_from:
                limit = [last for point, at, last in bad if point in {"", entry.point} and at > to_ms]
                end = max(to_ms, min([run_to, *limit]))
            order = (told.origin is not Origin.IMPORT, told.to_ms, told.epoch, told.seq, entry.confirmed_ms is not None)
            claims.append((entry.point, entry.changed_ms, order, entry.value, end))

    def value(point: str, at_ms: int) -> float | None:
        said = [claim for claim in claims if claim[0] == point and claim[1] <= at_ms]
        if not said:
            return None
        latest = max(claim[1] for claim in said)
        winner = max((claim for claim in said if claim[1] == latest), key=lambda claim: claim[2])
        end = max(claim[4] for claim in said if claim[1] == latest and claim[3] == winner[3])
        return winner[3] if at_ms < end + HOLD_S * 1000 else None

    states: list[str] = []
    faulty = False
    for second in range(LENGTH_S):
        alarm, running = (value(point, base_ms + second * 1000) for point in ("alarm", "running"))
        state = "unknown" if alarm is None else "fault" if alarm else "run" if running else "standby"
        if state == "unknown" and faulty:
            state = "fault"
        elif state != "unknown":
            faulty = state == "fault"
        states.append(state)
    return states


def merged_reference(states: Sequence[str], shortest_s: int) -> list[str]:
    """States that last less take the state before them; the first and last stay."""
    pieces: list[list[str]] = []
    for state in states:
        if pieces and pieces[-1][0] == state:
            pieces[-1].append(state)
        else:
            pieces.append([state])
    result: list[str] = []
    for index, piece in enumerate(pieces):
        keep = len(piece) >= shortest_s or index in {0, len(pieces) - 1}
        result += [piece[0] if keep else result[-1]] * len(piece)
    return result


def by_second(timeline: Timeline, base_ms: int) -> list[str]:
    states = []
    for second in range(LENGTH_S):
        code, _ = timeline.code_at(base_ms + second * 1000)
        states.append(EQUIPMENT_STATES[code & STATE_BITS].value)
    return states


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_states_equal_the_reference_second_by_second_on_random_histories(tmp_path: Path, chunk: int) -> None:
    cloud = new_cloud(tmp_path)
    for seed in range(chunk, HISTORIES, CHUNKS):
        rng = random.Random(seed)
        site, base_ms = f"site-{seed}", BASES_MS[rng.randrange(2)]
        frames = random_history(rng, base_ms)
        end_ms = base_ms + LENGTH_S * 1000
        ledger = cloud.ledger(ledger_text(zone="Asia/Shanghai", site=site))
        shuffled = [*frames, *rng.sample(frames, len(frames) // 4)]
        shuffled.append(Told(1, 0, 1, records=inventory([DEVICE], 0), epoch=b"catalog!"))
        rng.shuffle(shuffled)
        for place in range(0, len(shuffled), 8):
            cloud.tell(shuffled[place : place + 8], site)
            if rng.random() < 0.3:  # somebody looks before everything has arrived
                cloud.facts.timelines(ledger, base_ms, end_ms + DAY_MS)

        timeline = cloud.facts.timelines(ledger, base_ms, end_ms)[DEVICE].clipped(base_ms, end_ms)
        expected = reference(frames, base_ms)

        assert by_second(timeline, base_ms) == expected, f"seed {seed}"
        assert by_second(debounced(timeline, 10_000), base_ms) == merged_reference(expected, 10), f"seed {seed}"
    cloud.engine.dispose()
