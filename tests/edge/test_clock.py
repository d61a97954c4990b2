"""What the agent's clock promises, on sources that step and drift as told."""

from pathlib import Path

from edge.boot import Boot
from edge.clock import FIXES_MAX, SLEW_PPM, Clock

START_MS = 1_795_000_000_000


class Told:
    """Time sources that say what they are told."""

    def __init__(self, *, wall_ms: int = START_MS, ntp_ms: int | None = None) -> None:
        self.mono, self.wall, self.ntp = 5_000, wall_ms, ntp_ms

    def monotonic_ms(self) -> int:
        return self.mono

    def wall_ms(self) -> int:
        return self.wall

    def ntp_uncertainty_ms(self) -> int | None:
        return self.ntp

    def pass_ms(self, milliseconds: int) -> None:
        self.mono += milliseconds
        self.wall += milliseconds


def test_a_disciplined_system_clock_is_trusted_from_the_start() -> None:
    moment = Clock(Told(ntp_ms=40)).now()

    assert (moment.utc_ms, moment.trusted, moment.uncertainty_ms) == (START_MS, True, 40)


def test_an_undisciplined_clock_is_untrusted_and_does_not_follow_steps_of_the_system() -> None:
    told = Told()
    clock = Clock(told)
    told.pass_ms(1000)
    told.wall += 3_600_000
    clock.check()

    assert clock.now().utc_ms == START_MS + 1000
    assert not clock.now().trusted


def test_an_answer_that_agrees_brings_trust_without_a_seam_and_leaves_a_fix() -> None:
    told = Told()
    clock = Clock(told)
    first = clock.now()
    clock.server_answer(START_MS + 300, 200)
    second = clock.now()

    assert second.trusted
    assert second.run != first.run
    assert second.utc_ms == first.utc_ms
    assert [(fix.run, fix.monotonic_ms, fix.utc_ms, fix.source) for fix in clock.fixes] == [
        (first.run, 5_000, START_MS, "cloud")
    ]


def test_booting_in_1970_the_fix_says_what_time_it_really_was() -> None:
    told = Told(wall_ms=1_000)
    clock = Clock(told)
    told.pass_ms(600_000)
    clock.server_answer(START_MS, 100)

    (fix,) = clock.fixes

    assert clock.now().utc_ms == START_MS + 50
    assert (fix.monotonic_ms, fix.utc_ms, fix.uncertainty_ms) == (605_000, START_MS + 50, 50)


def test_a_slow_answer_says_nothing() -> None:
    clock = Clock(Told())
    clock.server_answer(START_MS + 9_000, 4_001 * 2)

    assert not clock.now().trusted


def test_small_differences_are_slewed_and_large_ones_begin_a_new_run() -> None:
    told = Told(ntp_ms=10)
    clock = Clock(told)
    run = clock.now().run
    told.pass_ms(10_000)
    told.wall += 500
    clock.check()

    assert clock.now().utc_ms == START_MS + 10_000 + 10_000 * SLEW_PPM // 1_000_000
    assert clock.now().run == run

    told.wall += 60_000
    clock.check()

    assert clock.now().utc_ms == told.wall
    assert clock.now().run != run


def test_within_a_run_time_never_goes_back() -> None:
    told = Told(ntp_ms=10)
    clock = Clock(told)
    before = clock.now().utc_ms
    told.pass_ms(10_000)
    told.wall -= 1_000
    clock.check()
    told.mono -= 10_000 - 1

    assert clock.now().utc_ms >= before


def test_a_replayed_clock_runs_faster_and_nobody_moves_it_but_tokens_keep_server_time() -> None:
    told = Told()
    clock = Clock(told, rate=60.0, start_ms=1_000_000)
    clock.server_answer(START_MS + 5_000, 0)
    told.pass_ms(1_000)

    assert clock.now().utc_ms == 1_060_000
    assert clock.now().trusted
    assert clock.server_now_ms() == START_MS + 6_000


def test_a_fix_says_what_the_clock_showed_and_the_next_run_goes_on_where_it_puts_the_old_one() -> None:
    told = Told(wall_ms=1_000)
    clock = Clock(told)
    told.pass_ms(600_000)
    shown = clock.now()
    clock.server_answer(START_MS, 100)
    (fix,) = clock.fixes
    told.pass_ms(10)

    assert (fix.run, fix.shown_ms) == (shown.run, shown.utc_ms)
    assert clock.now().utc_ms == shown.utc_ms + (fix.utc_ms - shown.utc_ms) + 10


def test_a_clock_that_was_half_a_second_off_is_put_right_all_the_same() -> None:
    clock = Clock(Told())
    clock.server_answer(START_MS + 900, 100)

    assert clock.now().utc_ms == START_MS + 950
    assert clock.fixes[0].utc_ms - (clock.fixes[0].shown_ms or 0) == 950


def test_a_step_of_a_trusted_clock_leaves_a_fix_too_and_only_the_last_ones_are_repeated() -> None:
    told = Told(ntp_ms=10)
    clock = Clock(told)
    first = clock.now().run
    told.wall += 86_400_000  # somebody set it a day ahead
    clock.check()
    wrong = clock.now()
    told.wall -= 86_400_000
    clock.check()

    assert [fix.run for fix in clock.fixes] == [first, wrong.run]
    assert clock.fixes[1].utc_ms - (clock.fixes[1].shown_ms or 0) == -86_400_000

    for number in range(2 * FIXES_MAX):
        told.wall += 10_000 * (1 if number % 2 else -1)
        clock.check()

    assert len(clock.fixes) == FIXES_MAX


def test_the_calendar_is_blank_until_the_clock_is_trusted() -> None:
    clock = Clock(Told(wall_ms=1_000))
    before = clock.calendar_ms()
    clock.server_answer(START_MS, 0)

    assert before is None
    assert clock.calendar_ms() == START_MS


def booted(told: Told, folder: Path, boot: str = "boot-1") -> Clock:
    clock = Clock(told)
    clock.remember(Boot.load(folder / "clock-runs", boot))
    return clock


def test_an_agent_that_started_again_before_it_knew_the_time_fixes_its_earlier_runs_too(tmp_path: Path) -> None:
    told = Told(wall_ms=1_000)
    first = booted(told, tmp_path).now()
    told.pass_ms(60_000)
    told.wall += 3_600_000  # somebody corrected the clock by hand, but not enough
    second = booted(told, tmp_path)
    begun = second.now()
    told.pass_ms(60_000)
    second.server_answer(START_MS, 0)
    fixes = {fix.run: fix for fix in second.fixes}

    assert {run: fix.utc_ms - (fix.shown_ms or 0) for run, fix in fixes.items()} == {
        first.run: START_MS - 121_000,
        begun.run: START_MS - 3_600_000 - 121_000,
    }


def test_fixes_are_repeated_by_later_agents_of_the_same_boot_and_by_no_others(tmp_path: Path) -> None:
    told = Told(wall_ms=1_000)
    clock = booted(told, tmp_path)
    clock.server_answer(START_MS, 0)
    again = booted(told, tmp_path)

    assert again.fixes == clock.fixes
    assert booted(told, tmp_path, "boot-2").fixes == ()


def test_a_clock_that_ntp_has_put_right_meanwhile_fixes_the_runs_before(tmp_path: Path) -> None:
    told = Told(wall_ms=1_000)
    first = booted(told, tmp_path).now()
    told.pass_ms(5_000)
    told.wall, told.ntp = START_MS, 10
    clock = booted(told, tmp_path)
    (fix,) = clock.fixes

    assert (fix.run, fix.source, fix.utc_ms - (fix.shown_ms or 0)) == (first.run, "ntp", START_MS - 6_000)


def test_a_file_of_clock_runs_that_cannot_be_read_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "clock-runs").write_bytes(b"nonsense")

    assert not booted(Told(), tmp_path).now().trusted
