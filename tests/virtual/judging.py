"""What a virtual day must show, whatever its seed: raises AssertionError with the command that replays it."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from devices.frame import Frame, decode_frame
from devices.profile import parse_profile
from devices.reading import Lane
from devices.records import Loss
from devices.states import EquipmentState
from tests.virtual import reference
from tests.virtual.day import HOLD_S, MACHINE, POLL_S, START_MS, Outcome, Pieces, run_day
from tests.virtual.plan import BROKEN, MACHINES, Plan, plan_of, plan_of_disk

CODES = tuple(EquipmentState)
TOLD_LATE_S = POLL_S + 2.0  # the first poll that fails ends what is confirmed, not the last that did not
SILENT = 0x80  # in a code: a FAULT that is kept although contact was lost
RAM = Path("/dev/shm")  # a day writes to disk some thousand times, and no power cut is part of it


@contextmanager
def day_folder() -> Iterator[Path]:
    """An empty folder, in memory where the machine has room for that."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-day-", dir=RAM if RAM.is_dir() else None) as name:
        yield Path(name)


def judge(seed: int, hours: float, *, of_site: bool) -> str:
    """Run a seeded day and check it; a line about it. AssertionError names seed and command."""
    try:
        return _judge_site(seed, hours) if of_site else _judge_uplink(seed, hours)
    except BaseException as error:
        kind = " --site" if of_site else ""
        error.add_note(f"replay with: python -m tests.virtual {seed} --hours {hours}{kind}")
        raise


def _judge_uplink(seed: int, hours: float) -> str:
    """Faults between agent and cloud, and of the cloud: nothing of them is left in facts or indicators."""
    return judge_plan(plan_of(seed, hours, of_site=False))


def judge_plan(plan: Plan) -> str:
    """As `judge`, for a day whose only faults are those of uplink and cloud."""
    with day_folder() as folder:
        calm = run_day(folder / "calm", plan.without_faults())
        shutil.rmtree(folder / "calm")
        rough = run_day(folder / "rough", plan)
    _all_delivered(rough)
    assert rough.timelines == calm.timelines, _difference(rough.timelines, calm.timelines)
    assert rough.indicators == calm.indicators
    _recomputed(rough)
    _true(plan, rough)
    return f"seed {plan.seed}: {len(rough.accepted)} frames, {len(plan.network)} faults of the network, equal"


def _judge_site(seed: int, hours: float) -> str:
    """Faults of devices and agent too: what is known equals what the accepted readings say, and holds the truth."""
    plan = plan_of(seed, hours, of_site=True)
    with day_folder() as folder:
        found = run_day(folder / "day", plan)
    _all_delivered(found)
    _recomputed(found)
    _silence_is_told(plan, found)
    _true(plan, found)
    silences = sum(map(len, plan.silences.values()))
    return (
        f"seed {seed}: {len(found.accepted)} frames, {silences} silences, {len(plan.kills)} power cuts, as recomputed"
    )


def judge_disk(seed: int, hours: float) -> str:
    """A disk that takes nothing for a while: what was told is delivered or accounted for, and the states follow it."""
    plan = plan_of_disk(seed, hours)
    try:
        with day_folder() as folder:
            found = run_day(folder / "day", plan)
        accepted = {(one.header.lane, one.header.epoch, one.header.seq) for one in found.accepted}
        logged = Counter((one.header.lane, one.header.epoch, one.header.seq) for one in found.logged)
        lost = {
            (Lane(record.lane), record.epoch, seq)
            for frame in found.logged
            for record in frame.content.records
            if isinstance(record, Loss)
            for seq in range(record.first_seq, record.last_seq + 1)
        }
        assert max(logged.values()) == 1, "a frame is in the log twice"
        assert not accepted - set(logged) - lost, f"{len(accepted - set(logged) - lost)} frames are nowhere"
        _recomputed(found, found.logged)
        _true(plan, found)
    except BaseException as error:
        error.add_note(f"replay with: python -m tests.virtual {seed} --hours {hours} --disk")
        raise
    return f"seed {seed}: {len(accepted)} accepted, {len(lost - set(logged))} lost, {len(plan.disk)} faults of the disk"


def _all_delivered(outcome: Outcome) -> None:
    identities = [(one.header.lane, one.header.epoch, one.header.seq) for one in outcome.accepted]
    assert len(set(identities)) == len(identities), "a frame was accepted twice"
    assert outcome.backlog_frames == 0, f"{outcome.backlog_frames} frames still wait"
    assert outcome.stored_frames >= len(identities), f"{outcome.stored_frames} stored of {len(identities)} accepted"


def _recomputed(outcome: Outcome, known: Sequence[Frame] = ()) -> None:
    frames = known or [decode_frame(one.data) for one in outcome.accepted]
    profile = parse_profile(MACHINE, "machine.yaml")
    for machine in MACHINES:
        spans = reference.states(frames, machine, profile, outcome.window)
        expected = {machine: [(start, CODES.index(state) | (SILENT if kept else 0)) for start, state, kept in spans]}
        assert outcome.timelines[machine] == expected[machine], _difference(outcome.timelines, expected)


def _silence_is_told(plan: Plan, outcome: Outcome) -> None:
    """Who did not answer for longer than hold_s is unknown, or still in the FAULT in which it was heard last."""
    from_ms, to_ms = outcome.window
    for machine in MACHINES:
        for silence in [*plan.silences.get(machine, []), *plan.connection_losses, *plan.kills]:
            last_ms = START_MS + round(silence.to_s * 1000) - 1
            if silence.to_s - silence.from_s > HOLD_S + TOLD_LATE_S and from_ms <= last_ms < to_ms:
                code = [code for start, code in outcome.timelines[machine] if start <= last_ms][-1]
                state = CODES[code & ~SILENT]
                assert code & SILENT or state is EquipmentState.UNKNOWN, f"{machine} {state} after {silence}"


def _true(plan: Plan, outcome: Outcome) -> None:
    """The true rate lies within the bounds, widened by a poll for each change and by what silence leaves open.

    After the last good answer a value is believed for hold_s, and a FAULT until the device answers again.
    """
    from_ms, to_ms = outcome.window
    total_ms = (to_ms - from_ms) * len(MACHINES)
    up_ms, slack_ms = 0, 0
    for machine in MACHINES:
        truth = [
            (max(START_MS + round(one.from_s * 1000), from_ms), min(START_MS + round(one.to_s * 1000), to_ms), one.what)
            for one in plan.truth[machine]
        ]
        up_ms += sum(end - begin for begin, end, what in truth if begin < end and what != BROKEN)
        slack_ms += POLL_S * 1000 * sum(begin < end for begin, end, _ in truth)
        silences = len(plan.silences.get(machine, [])) + len(plan.connection_losses) + len(plan.kills)
        slack_ms += HOLD_S * 1000 * silences + _kept_ms(outcome.timelines[machine], to_ms)
    found = outcome.indicators[0]
    slack, true = Fraction(slack_ms, total_ms), Fraction(up_ms, total_ms)
    assert found["low"] - slack <= true <= found["high"] + slack, f"true {float(true)}, found {found}, slack {slack}"


def _kept_ms(timeline: Pieces, to_ms: int) -> int:
    ends = [*(start for start, _ in timeline[1:]), to_ms]
    return sum(end - start for (start, code), end in zip(timeline, ends, strict=True) if code & SILENT)


def _difference(found: dict[str, Pieces], expected: dict[str, Pieces]) -> str:
    def words(pieces: Pieces) -> list[str]:
        return [f"{(start - START_MS) / 1000:.3f} s {CODES[code & 0x7F]}{'!' * (code >> 7)}" for start, code in pieces]

    lines = []
    for name, pieces in expected.items():
        ours, theirs = set(words(found.get(name, []))), set(words(pieces))
        lines.append(f"{name}: only found {sorted(ours - theirs)}, only expected {sorted(theirs - ours)}")
    return "\n".join(lines)
