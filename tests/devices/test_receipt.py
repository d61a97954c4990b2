import msgspec
import pytest

from devices.reading import Lane
from devices.receipt import FrameResult, LaneState, Receipt, Status, decode_receipt, encode_receipt


def test_a_receipt_survives_the_wire() -> None:
    receipt = Receipt(
        server_time="2026-05-01T08:00:00.000Z",
        log_id="log-1",
        results=(FrameResult("events", "00" * 8, 7, "ab" * 32, Status.STORED),),
        lanes=(LaneState(Lane.EVENTS, "00" * 8, 7, 11, ((9, 10),)),),
    )

    assert decode_receipt(encode_receipt(receipt)) == receipt


@pytest.mark.parametrize(
    ("status", "final"),
    [("stored", True), ("duplicate", True), ("fork", True), ("retry", False), ("refused", False)],
)
def test_only_frames_the_cloud_keeps_are_done_with(status: str, *, final: bool) -> None:
    assert Status(status).is_final is final


def test_an_answer_that_is_no_receipt_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_receipt(b'{"server_time": 5}')
