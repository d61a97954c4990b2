"""States of equipment second by second, as domain.md 1.2 to 1.4 and docs/ledger.md tell them.

Written from the text; shares no code with the engine and looks at every second by itself. Times are whole seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

GAP_S = 300


@dataclass(frozen=True)
class Rules:
    """A policy, from a second on."""

    since_s: int
    debounce_s: int = 10
    pm: str = "exclude"
    degraded_red: str = "up"
    grace_s: int = 0
    silent_fault_s: int | None = None


@dataclass(frozen=True)
class Version:
    """What was said about a window or a drill at a time."""

    entered_s: int
    from_s: int
    to_s: int
    counts: bool = True  # approved, not withdrawn, and about this machine


@dataclass
class Machine:
    """An equipment and all that is known of it."""

    device: list[str] | None  # its raw state in each second; None: it has no device
    in_ledger: list[bool]
    required: list[bool]
    windows: list[list[Version]] = field(default_factory=list)
    drills: list[list[Version]] = field(default_factory=list)
    findings: list[tuple[int, bool]] = field(default_factory=list)  # second, intact
    inspected_for_s: int = 10**9
    by_hand: list[bool] = field(default_factory=list)
    red: list[bool] = field(default_factory=list)
    heard: list[bool] = field(default_factory=list)
    group: str = ""
    grace_s: int | None = None


@dataclass
class Judged:
    """What came out for a machine."""

    states: list[str]
    stop_of: list[int | None]  # since when it has stood still, in each second of a stop


def said(versions: Sequence[Version], second: int, by_s: int) -> bool:
    """Whether a second was covered by what had been said by then, and is by everything that was said since."""
    known = [index for index, one in enumerate(versions) if one.entered_s <= by_s]
    return bool(known) and all(one.counts and one.from_s <= second < one.to_s for one in versions[known[-1] :])


def runs(values: Sequence[str]) -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []
    for second, value in enumerate(values):
        if found and found[-1][2] == value:
            found[-1] = (found[-1][0], second + 1, value)
        else:
            found.append((second, second + 1, value))
    return found


def without_flicker(states: list[str], policy: Callable[[int], Rules]) -> list[str]:
    pieces = runs(states)
    result: list[str] = []
    for begin, end, state in pieces:
        short = end - begin < policy(begin).debounce_s and begin > 0 and end < len(states)
        result += [result[-1] if short else state] * (end - begin)
    return result


def judged(machine: Machine, policy: Callable[[int], Rules]) -> Judged:
    """States of a machine, without its group."""
    length = len(machine.in_ledger)
    states = ["unknown"] * length if machine.device is None else without_flicker(machine.device, policy)
    ordered = [False] * length
    for second in range(length):
        before = [one for one in machine.findings if one[0] <= second]
        if before and not before[-1][1]:
            states[second], ordered[second] = "fault", True
        elif before and machine.device is None:
            states[second] = "standby" if second < before[-1][0] + machine.inspected_for_s else "unknown"

    def approved(second: int, by_s: int) -> bool:
        return any(said(versions, second, by_s) for versions in machine.windows)

    if machine.device is not None:
        _silence(machine, states, policy)
    quiet = [False] * length
    for begin, end, state in runs(states):
        if state != "unknown" or not approved(begin, begin):
            continue
        late = begin
        while late < end and approved(late, begin):
            late += 1
        for second in range(late, end):
            states[second] = "fault"
        if late < end:
            quiet[begin:end] = [True] * (end - begin)

    stop_of: list[int | None] = [None] * length
    last_stop, last_second = None, -(10**9)
    for second in range(length):
        if states[second] == "fault" or quiet[second] or ordered[second]:
            if last_stop is None or second - last_second - 1 >= GAP_S:
                last_stop = second
            stop_of[second], last_second = last_stop, second

    planned_to: dict[int, int] = {}
    final = list(states)
    for second in range(length):
        stop = stop_of[second] if states[second] == "fault" else None
        if stop is None:
            planned = states[second] != "fault" and approved(second, second)
        else:
            if stop not in planned_to:
                end = stop
                while end < length and approved(end, stop):
                    end += 1
                planned_to[stop] = end
            planned = second < planned_to[stop]
        if planned:
            final[second] = "pm"
        if not machine.required[second]:
            final[second] = "off_duty"
        if any(said(versions, second, second) for versions in machine.drills):
            final[second] = "drill"
    return Judged(final, stop_of)


def _silence(machine: Machine, states: list[str], policy: Callable[[int], Rules]) -> None:
    """Silence of a class whose contact is part of its duty, while its gateway is heard."""
    silent, faulty = 0, False
    for second in range(len(states)):
        if states[second] != "unknown":
            silent, faulty = 0, False
            continue
        limit = policy(second).silent_fault_s
        if not faulty and machine.heard[second] and limit is not None and silent >= limit:
            faulty = True
        silent = silent + 1 if machine.heard[second] else 0
        if faulty:
            states[second] = "fault"


COUNTS = {
    "run": "up", "standby": "up", "degraded": "up", "ext": "up", "fault": "down", "unknown": "unknown",
    "off_duty": "excluded", "drill": "excluded", "pm": "excluded",
}  # fmt: skip


def counts(
    machines: dict[str, Machine], needed: dict[str, int], policy: Callable[[int], Rules]
) -> dict[str, tuple[list[str], list[str]]]:
    """State and what it counts as, in each second, of every machine; "" where it is not in the ledger."""
    told = {name: judged(machine, policy) for name, machine in machines.items()}
    found = {}
    for name, machine in machines.items():
        mates = [mate for mate, other in machines.items() if machine.group and other.group == machine.group]
        states, counted = told[name].states, []
        for second, state in enumerate(states):
            now, means = policy(second), COUNTS[state]
            if state == "pm" and now.pm != "exclude":
                means = now.pm
            if state == "degraded" and now.degraded_red == "down" and machine.red[second]:
                means = "down"
            stop = told[name].stop_of[second]
            grace_s = now.grace_s if machine.grace_s is None else machine.grace_s
            if state == "fault" and mates and stop is not None and second < stop + grace_s:
                working = [
                    mate for mate in mates
                    if machines[mate].in_ledger[second] and told[mate].states[second] in {"run", "standby", "degraded"}
                ]  # fmt: skip
                if len(working) >= needed[machine.group]:
                    means = "up"
            if machine.by_hand[second]:
                means = "by_hand"
            counted.append(means if machine.in_ledger[second] else "")
        found[name] = (states, counted)
    return found
