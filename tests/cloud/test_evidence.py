"""An audit package is sound, and whoever forges, drops, swaps or signs frames anew is found out, by name."""

import json
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.evidence.merkle import EMPTY, leaf_hash, root_of
from cloud.evidence.package import HEAD, Scope, Sources, deployment_key, export
from cloud.evidence.recompute import recompute
from cloud.evidence.root_record import RootRecord
from cloud.evidence.spot_checks import Mismatches, mismatches, sample
from cloud.evidence.verify import Contents, Known, Verdict, _covers, unpack, verify
from cloud.facts.database import open_database, writing
from cloud.facts.ledgers import import_ledger
from cloud.facts.store import FactStore
from cloud.indicators.definition import Window
from cloud.indicators.registry import compute_over
from cloud.indicators.results import record
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.log import Received
from cloud.ingest.log_segments import SegmentLog
from cloud.processor import Processor
from devices.columns import Numbers
from devices.errors import Permanent
from devices.frame import Content
from devices.instants import format_instant
from devices.reading import Lane, Series
from tests.cloud.sealed import START_MS, SealingGateway
from tests.cloud.told import SITE, inventory, ledger_text

ROOT = Path(__file__).parent.parent.parent
DAY_MS = 86_400_000
FRAMES = 60
WINDOW = Window(START_MS, START_MS + FRAMES * 1000)
NOW_MS = START_MS + 5 * DAY_MS
EQUIPMENT = "equipment: [{id: pump, name: {en: N, zh-CN: N}, code: P-1, class: pump, criticality: A, device: pump}]"
INDICATORS = ("equipment.intact_rate", "data.coverage")


@dataclass
class Book:
    """A data directory with a minute of a pump that fails in the middle, and its package."""

    package: Path
    key: str
    gateway: SealingGateway
    contents: Contents


def frames_of(gateway: SealingGateway) -> list[bytes]:
    sealed = [gateway.seal(Content(records=inventory(["pump"], START_MS)))]
    for second in range(1, FRAMES):
        at_ms = START_MS + 1000 * second
        series = (Series("pump", "alarm", "", 60), Series("pump", "running", "", 60))
        alarm = float(20 <= second < 30)
        numbers = Numbers.of([0, 1], [at_ms, at_ms], [alarm, 1.0], [0, 0])
        sealed.append(gateway.seal(Content(series=series, numbers=numbers)))
    return [one.data for one in sealed]


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    gateway = SealingGateway()
    log, keys = SegmentLog(tmp_path / "log"), GatewayRegister(tmp_path / "gateways.sqlite")
    engine = open_database(tmp_path / "facts.sqlite")
    keys.add("gw-1", SITE, gateway.key.public_key(), START_MS)
    import_ledger(engine, ledger_text(EQUIPMENT), "ledger.yaml", actor="cli", now_ms=START_MS)
    data = frames_of(gateway)
    received = [Received(START_MS + 1000 * (index + 1), "gw-1", Lane.EVENTS, one) for index, one in enumerate(data)]
    await log.append(received)
    processor = Processor(log, keys, engine)
    while await processor.step():
        pass
    store = FactStore(engine)
    ledger = store.ledger(SITE)
    assert ledger is not None
    found = compute_over(store, ledger, INDICATORS, WINDOW, NOW_MS)
    with writing(engine) as connection:
        record(connection, SITE, found, NOW_MS)
    key = deployment_key(tmp_path / "audit.key")
    sources = Sources(engine, log, keys, key, "0", lambda: NOW_MS)
    package = tmp_path / "package.zip"
    assert export(sources, Scope(SITE, WINDOW.from_ms, WINDOW.to_ms), package) == FRAMES
    yield Book(package, key.public_key().public_bytes_raw().hex(), gateway, unpack(package))
    engine.dispose()
    keys.close()
    log.close()


def test_a_package_of_ours_is_sound_and_its_indicators_come_out_the_same(book: Book) -> None:
    verdict = verify(book.contents, Known(book.key))
    computed = recompute(book.contents, verdict)

    assert verdict.findings == []
    assert (verdict.frames, verdict.days, verdict.results, computed) == (FRAMES, 5, 2, 2)
    rate = json.loads(book.contents.records["results"][1]["body"])
    assert 0 < rate["numerator"] < rate["denominator"]  # else the recomputing would show nothing


def changed(contents: Contents, change: Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]]) -> Verdict:
    """What is found when somebody changed the frames and everything that they could make fit."""
    frames = change(list(contents.frames))
    manifest = {**contents.manifest, "frames": len(frames)}
    return verify(replace(contents, frames=frames, manifest=manifest))


def test_a_forged_frame_is_named(book: Book) -> None:
    def forge(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        received_ms, data = frames[24]
        place = len(data) // 2
        frames[24] = received_ms, data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        return frames

    verdict = changed(book.contents, forge)

    assert any("forged" in one or "cannot be read" in one for one in verdict.findings)
    assert any("seq 25" in one for one in verdict.findings)


def test_a_frame_signed_by_somebody_else_is_named(book: Book) -> None:
    def sign_anew(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        stranger = SealingGateway()
        sealed = stranger.seal(Content(), seq=25, key=Ed25519PrivateKey.generate())
        frames[24] = frames[24][0], sealed.data
        return frames

    findings = changed(book.contents, sign_anew).findings

    assert any("seq 25" in one and "forged: no gateway of the site had the key" in one for one in findings)


def test_a_frame_of_the_gateway_itself_in_place_of_another_breaks_the_chain(book: Book) -> None:
    def seal_anew(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        frames[24] = frames[24][0], book.gateway.seal(Content(), seq=25).data
        return frames

    findings = changed(book.contents, seal_anew).findings

    assert any("does not continue the frame before it" in one for one in findings)
    assert any("forged or reordered" in one for one in findings)


@pytest.mark.parametrize("place", [30, FRAMES - 1])
def test_a_missing_frame_is_named_and_a_missing_end_shows_in_the_day(book: Book, place: int) -> None:
    findings = changed(book.contents, lambda frames: [*frames[:place], *frames[place + 1 :]]).findings

    assert any("missing" in one for one in findings)
    if place == 30:
        assert any("seq 31 to 31: missing" in one for one in findings)


def test_frames_in_another_order_are_found(book: Book) -> None:
    def swap(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        frames[10], frames[11] = frames[11], frames[10]
        return frames

    def swap_times_too(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        (early, first), (late, second) = frames[10], frames[11]
        frames[10], frames[11] = (early, second), (late, first)
        return frames

    assert any("frame 12: reordered" in one for one in changed(book.contents, swap).findings)
    assert any("forged or reordered" in one for one in changed(book.contents, swap_times_too).findings)


def test_a_result_that_was_changed_is_found_and_so_is_one_that_does_not_follow_from_the_frames(book: Book) -> None:
    rows = json.loads(json.dumps(book.contents.records["results"]))
    rows[0]["body"] = rows[0]["body"].replace('"numerator":', '"numerator":1')
    findings = verify(replace(book.contents, records={**book.contents.records, "results": rows})).findings
    assert any("not what was recorded" in one for one in findings)

    without_fault = [*book.contents.frames[:20], *book.contents.frames[30:]]
    verdict = Verdict()
    recompute(replace(book.contents, frames=without_fault), verdict)
    assert any(one.startswith("equipment.intact_rate") and "computed" in one for one in verdict.findings)


def test_a_revoked_key_vouches_only_for_what_was_received_before(book: Book) -> None:
    keys = json.loads(json.dumps(book.contents.keys))
    keys[0]["keys"][0]["revoked_ms"] = book.contents.frames[50][0]
    findings = verify(replace(book.contents, keys=keys)).findings

    assert len([one for one in findings if "revoked" in one]) == FRAMES - 50


def test_a_file_that_was_changed_in_the_package_and_another_signer_are_found(book: Book, tmp_path: Path) -> None:
    other = tmp_path / "changed.zip"
    with zipfile.ZipFile(book.package) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            body = old.read(name)
            new.writestr(name, body.replace(b"pump", b"pimp") if name == "inputs.json" else body)

    assert verify(unpack(other)).findings == ["inputs.json: not what the manifest says it was"]
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    assert any("not by the deployment" in one for one in verify(book.contents, Known(stranger)).findings)


@pytest.mark.parametrize("body", [b"", b"PK", b"x" * 100])
def test_what_is_no_package_is_refused(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(body)
    with pytest.raises(Permanent):
        unpack(path)


def test_a_package_that_ends_within_a_frame_is_refused(book: Book, tmp_path: Path) -> None:
    other = tmp_path / "cut.zip"
    with zipfile.ZipFile(book.package) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[: -HEAD.size if name == "frames.bin" else None])
    with pytest.raises(Permanent, match="ends within a frame"):
        unpack(other)


def test_a_day_is_recorded_once_and_only_when_it_is_over(tmp_path: Path, book: Book) -> None:
    engine = open_database(tmp_path / "facts.sqlite")
    keys, log = GatewayRegister(tmp_path / "gateways.sqlite"), SegmentLog(tmp_path / "log")
    times = iter([START_MS + 1000, NOW_MS, NOW_MS, NOW_MS, NOW_MS])
    again = RootRecord(engine, log, keys, lambda: next(times))

    assert again.record() == 0  # recorded by the export, and that day was over
    assert [one.day - START_MS // DAY_MS for one in again.between(0, NOW_MS // DAY_MS)] == [0, 1, 2, 3, 4]
    for one in (keys, log):
        one.close()
    engine.dispose()


def without(contents: Contents, **records: object) -> Contents:
    """What an operator with the key could hand out: the manifest would fit again."""
    return replace(contents, records={**contents.records, **records})


@pytest.mark.parametrize("what", ["days", "results", "head", "gateway", "root", "revision", "late key"])
def test_a_package_from_which_something_was_taken_is_not_sound(book: Book, what: str) -> None:
    contents, known = book.contents, Known(book.key)
    rows = json.loads(json.dumps(contents.records["results"]))
    match what:
        case "days":
            contents = without(contents, days=[])
        case "results":
            contents = without(contents, results=[])
        case "head":
            contents = replace(without(contents, days=[]), frames=contents.frames[20:])
        case "gateway":
            known = Known(book.key, gateways={"gw-1": frozenset({"00" * 32})})
        case "root":
            known = Known(book.key, roots={format_instant(START_MS)[:10]: "00" * 32})
        case "revision":
            rows[0]["revision"] = 7
            contents = without(contents, results=rows)
        case _:
            keys = json.loads(json.dumps(contents.keys))
            keys[0]["keys"][0]["valid_from_ms"] = NOW_MS
            contents = replace(contents, keys=keys)

    assert not verify(contents, known).is_sound


def test_two_loss_records_that_adjoin_account_for_one_gap() -> None:
    assert _covers([(11, 15), (6, 10)], 6, 15)
    assert not _covers([(6, 9), (11, 15)], 6, 15)
    assert not _covers([], 6, 6)


def test_a_malformed_package_is_a_finding_not_a_crash(book: Book) -> None:
    records = {"days": [{}], "results": [{"indicator": 1}]}
    contents = replace(book.contents, records=records, inputs={"ledgers": [{"nope": 1}]})
    verdict = verify(contents)
    recompute(contents, verdict)

    assert any("malformed" in one for one in verdict.findings)
    assert any("nothing can be computed" in one for one in verdict.findings)


def test_merkle_roots_match_the_vectors_of_rfc_6962() -> None:
    # the first leaves of the reference implementation of Certificate Transparency
    leaves = [leaf_hash(bytes.fromhex(text)) for text in ("", "00", "10", "2021")]

    assert root_of([]) == EMPTY == bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert root_of(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root_of(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert root_of(leaves[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert root_of(leaves).hex() == "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"


def test_a_sample_is_a_fifth_at_least_drawn_by_its_seed_and_by_nobody() -> None:
    things = [f"pump-{number}" for number in range(41)]

    assert len(sample("2026-05", things)) == 9
    assert sample("2026-05", things) == sample("2026-05", reversed(things))
    assert sample("2026-05", things) != sample("2026-06", things)
    with pytest.raises(Permanent):
        sample("2026-05", things, 19)


def test_the_mismatch_rate_has_an_interval_and_counts_only_what_was_drawn() -> None:
    drawn = [f"pump-{number}" for number in range(10)]
    looked = [("pump-1", False), ("pump-2", True), ("elsewhere", False), ("pump-1", True), ("pump-3", False)]
    found, left = mismatches(drawn, looked)

    assert (found.checked, found.wrong, len(left)) == (3, 1, 7)
    low, high = Mismatches(100, 5).interval or (0.0, 0.0)
    assert (round(low, 4), round(high, 4)) == (0.0215, 0.1118)  # Wilson's interval for 5 of 100
    assert Mismatches(0, 0).interval is None


def audit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "gatehouse", "audit", *map(str, arguments))
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_says_sound_or_not_by_its_exit_code(book: Book) -> None:
    sound = audit("verify", book.package, "--key", book.key)
    other = audit("verify", book.package, "--key", "00" * 32)

    assert (sound.returncode, "sound" in sound.stdout) == (0, True)
    assert (other.returncode, "NOT SOUND" in other.stdout) == (1, True)


def test_a_package_is_exported_from_a_data_directory_by_command(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "facts.sqlite")
    import_ledger(engine, ledger_text(EQUIPMENT), "ledger.yaml", actor="cli", now_ms=START_MS)
    engine.dispose()
    where = ("--data-dir", tmp_path)
    key = audit("key", *where).stdout.strip()
    window = ("--from", "2026-05-01T00:00:00Z", "--to", "2026-05-02T00:00:00Z", "--out", tmp_path / "a.zip")
    exported = audit("export", SITE, *window, *where)
    nowhere = audit("export", "elsewhere", *window, *where)
    drawn = audit("sample", SITE, "--seed", "2026-05", *where)

    assert key in exported.stdout
    assert audit("verify", tmp_path / "a.zip", "--key", key).returncode == 0
    assert (nowhere.returncode, "there is no site" in nowhere.stderr) == (1, True)
    assert drawn.stdout == "pump\n"
    assert (tmp_path / "audit.key").stat().st_mode & 0o777 == 0o600
