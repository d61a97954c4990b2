"""The bookkeeping of the soak finds what is missing and what is there twice."""

from pathlib import Path

from devices.frame import Content, Frame, decode_frame
from devices.records import Loss, LossReason
from tests.cloud.sealed import SealingGateway, now_ms
from tests.scenarios.accounts import accounts_of
from tests.scenarios.site import SmallSite


class Books(SmallSite):
    """A site that never ran: frames in its journal and in the cloud's log."""

    def __init__(self, folder: Path, journal: list[Frame], log: list[Frame]) -> None:
        self.folder, self._journal, self._log = folder, journal, log

    def journal_frames(self) -> list[Frame]:
        return self._journal

    def log_frames(self) -> list[Frame]:
        return self._log


def frames(count: int) -> tuple[SealingGateway, list[Frame]]:
    gateway = SealingGateway(start_ms=now_ms())
    return gateway, [decode_frame(gateway.seal(Content()).data) for _ in range(count)]


def test_what_arrived_once_balances(tmp_path: Path) -> None:
    _, sealed = frames(5)

    assert accounts_of(Books(tmp_path, sealed, sealed)).balanced


def test_a_missing_frame_and_a_double_are_found_and_a_loss_record_counts(tmp_path: Path) -> None:
    gateway, sealed = frames(6)
    header = sealed[0].header
    loss = Loss(header.lane, header.epoch, 5, 6, 0, 1, LossReason.SPACE)
    last = decode_frame(gateway.seal(Content(records=(loss,))).data)

    found = accounts_of(Books(tmp_path, sealed, [sealed[0], sealed[1], sealed[1], sealed[3], last]))

    assert (found.accepted, found.delivered, found.lost, found.doubles) == (7, 4, 2, 1)
    assert [seq for _, _, seq in found.missing] == [3]
    assert not found.balanced


def test_frames_that_the_journal_deleted_still_count(tmp_path: Path) -> None:
    _, sealed = frames(5)

    found = accounts_of(Books(tmp_path, sealed[4:], [sealed[0], sealed[4]]))

    assert (found.accepted, len(found.missing)) == (5, 3)
