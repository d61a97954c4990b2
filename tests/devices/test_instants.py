import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.instants import format_instant, parse_instant


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_every_millisecond_survives_being_written(time_ms: int) -> None:
    assert parse_instant(format_instant(time_ms)) == time_ms


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-05-01T08:00:00.123456Z", 1_777_622_400_123),
        ("2026-05-01T16:00:00.5+08:00", 1_777_622_400_500),
        ("2026-05-01t08:00:00z", 1_777_622_400_000),
    ],
)
def test_rfc_3339_is_understood(text: str, time_ms: int) -> None:
    assert parse_instant(text) == time_ms


@pytest.mark.parametrize("text", ["2026-05-01T08:00:00", "2026-05-01", "yesterday", "", "2026-13-01T08:00:00Z"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_instant(text)
