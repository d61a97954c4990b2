"""Cases of domain.md 1.2 and 1.4 by name. Hours; the random histories of test_equipment_reference.py cover the rest."""

import json

import numpy as np

from cloud.facts.days import Span
from cloud.facts.equipment_policy import EQUIPMENT_POLICY, Policies, policies_of
from cloud.facts.equipment_states import Circumstances, Finding, Planned, counted, group_delivers, worked_out
from cloud.facts.inputs import EVERY_SITE, Input
from cloud.facts.timelines import EQUIPMENT_STATES, Timeline
from devices.states import EquipmentState

HOUR_MS = 3_600_000
ALWAYS = (((-(2**62)), 2**62),)
DEFAULT = Policies()


def hours(*spans: Span) -> tuple[Span, ...]:
    return tuple((begin * HOUR_MS, end * HOUR_MS) for begin, end in spans)


def device(*pieces: tuple[str, int]) -> Timeline:
    """State after state, each up to an hour."""
    ends = [end * HOUR_MS for _, end in pieces]
    codes = np.array([EQUIPMENT_STATES.index(EquipmentState(state)) for state, _ in pieces], np.uint8)
    return Timeline(np.array([0, *ends[:-1]], np.int64), codes, ends[-1])


def told(timeline: Timeline) -> list[tuple[str, int]]:
    """The same the other way round."""
    names = [EQUIPMENT_STATES[code].value for code in timeline.codes.tolist()]
    return [(name, end // HOUR_MS) for name, end in zip(names, timeline.ends.tolist(), strict=True)]


def states(said: Timeline | None, **given: object) -> list[tuple[str, int]]:
    circumstances = Circumstances(lives=ALWAYS, **given)  # type: ignore[arg-type]
    return told(worked_out(said, circumstances, DEFAULT, 0, 24 * HOUR_MS).states)


def window(begin: int, end: int, entered: int = 0) -> Planned:
    return Planned(begin * HOUR_MS, end * HOUR_MS, entered * HOUR_MS)


BROKEN = device(("run", 6), ("fault", 12), ("run", 24))


def test_a_window_covers_what_breaks_in_it_and_what_works_in_it() -> None:
    assert states(BROKEN, windows=(window(5, 14),)) == [("run", 5), ("pm", 14), ("run", 24)]


def test_a_window_that_was_entered_after_the_stop_covers_no_fault() -> None:
    assert states(BROKEN, windows=(window(5, 14, entered=8),)) == [("run", 6), ("fault", 12), ("pm", 14), ("run", 24)]


def test_what_overruns_the_planned_end_is_a_fault() -> None:
    assert states(BROKEN, windows=(window(5, 10),)) == [("run", 5), ("pm", 10), ("fault", 12), ("run", 24)]


def test_an_extension_that_was_entered_after_the_stop_covers_nothing_of_it() -> None:
    extended = (window(5, 10), window(10, 14, entered=7))

    assert states(BROKEN, windows=extended) == [("run", 5), ("pm", 10), ("fault", 12), ("pm", 14), ("run", 24)]


def test_windows_that_touch_and_were_planned_beforehand_are_one() -> None:
    assert states(BROKEN, windows=(window(5, 10), window(10, 14))) == [("run", 5), ("pm", 14), ("run", 24)]


def test_silence_that_began_in_a_window_is_a_fault_from_its_planned_end_on() -> None:
    silent = device(("run", 6), ("unknown", 20), ("run", 24))

    assert states(silent, windows=(window(5, 10),)) == [("run", 5), ("pm", 10), ("fault", 20), ("run", 24)]


def test_silence_that_began_before_a_window_stays_unknown_after_it() -> None:
    silent = device(("run", 4), ("unknown", 20), ("run", 24))

    assert states(silent, windows=(window(5, 10),)) == [
        ("run", 4), ("unknown", 5), ("pm", 10), ("unknown", 20), ("run", 24),
    ]  # fmt: skip


def test_a_drill_goes_before_off_duty_and_that_before_maintenance() -> None:
    given = {"windows": (window(2, 20),), "off_duty": hours((4, 16)), "drills": hours((8, 12))}

    assert states(BROKEN, **given) == [
        ("run", 2), ("pm", 4), ("off_duty", 8), ("drill", 12), ("off_duty", 16), ("pm", 20), ("run", 24),
    ]  # fmt: skip


def test_what_has_no_device_is_known_by_inspections_until_the_next_is_overdue() -> None:
    findings = (
        Finding(2 * HOUR_MS, intact=True),
        Finding(8 * HOUR_MS, intact=False),
        Finding(12 * HOUR_MS, intact=True),
    )

    assert states(None, has_device=False, findings=findings, inspected_for_ms=4 * HOUR_MS) == [
        ("unknown", 2), ("standby", 6), ("unknown", 8), ("fault", 12), ("standby", 16), ("unknown", 24),
    ]  # fmt: skip


def test_an_order_makes_a_running_machine_not_intact() -> None:
    findings = (Finding(2 * HOUR_MS, intact=False), Finding(5 * HOUR_MS, intact=True))

    assert states(device(("run", 24)), findings=findings) == [("run", 2), ("fault", 5), ("run", 24)]


def test_a_failed_member_is_up_while_its_group_delivers_and_its_grace_lasts() -> None:
    given = Circumstances(lives=ALWAYS, in_group=True, grace=4)
    failed = worked_out(BROKEN, given, DEFAULT, 0, 24 * HOUR_MS)
    other = worked_out(device(("run", 8), ("unknown", 9), ("run", 24)), given, DEFAULT, 0, 24 * HOUR_MS)
    delivering = group_delivers([(failed.states, ALWAYS), (other.states, ALWAYS)], 1)
    counts = counted(failed, given, DEFAULT, delivering)

    assert [(int(code), int(end) // HOUR_MS) for code, end in zip(counts.codes, counts.ends, strict=True)] == [
        (0, 8), (1, 9), (0, 10), (1, 12), (0, 24),
    ]  # fmt: skip


def test_the_policy_of_a_site_goes_before_that_of_every_site_and_the_later_one_before_the_earlier() -> None:
    def said(site: str, entry: int, debounce_s: int, from_ms: int, to_ms: int | None = None) -> Input:
        document = json.dumps({"debounce_s": debounce_s})
        return Input(site, EQUIPMENT_POLICY, f"p{entry}", 1, entry, entry, "li", "r", from_ms, to_ms, document)

    found = policies_of([said("s", 1, 20, 100, 200), said(EVERY_SITE, 2, 30, 0), said("s", 3, 40, 150)])

    assert [found.at(moment).debounce_s for moment in (-1, 0, 100, 150, 250)] == [10, 30, 20, 40, 40]
