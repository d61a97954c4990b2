"""What the agent says about itself: a small file, replaced every few seconds, that works without any network."""

from pathlib import Path

import msgspec

from devices.errors import StorageUnavailable
from devices.instants import format_instant
from devices.reading import Lane
from devices.segments import write_durably
from edge.clock import Clock
from edge.collector import Collector
from edge.journal import Journal
from edge.listening import ListeningStatus
from edge.local_alerts_desk import AlertDesk
from edge.uplink import Uplink

STATUS_FILE = "status.json"
FULL_PERCENT = 80  # of the journal's bound: unconfirmed telemetry will be deleted soon


class LaneStatus(msgspec.Struct, frozen=True):
    """One lane of the journal. Counters run since the start of the agent."""

    epoch: str
    last_seq: int
    confirmed_seq: int
    backlog_frames: int
    bytes_on_disk: int
    sealed_frames: int
    sealed_readings: int
    sealed_bytes: int
    dropped_readings: int
    fsync_ms: float


class ClockStatus(msgspec.Struct, frozen=True):
    """The agent's clock."""

    trusted: bool
    source: str
    uncertainty_ms: int
    server_disagrees_ms: int


class UplinkStatus(msgspec.Struct, frozen=True):
    """The way to the cloud."""

    configured: bool
    connected: bool
    last_receipt: str
    delivered_frames: int
    requests: int
    problem: str


class BrokerStatus(msgspec.Struct, frozen=True):
    """One MQTT broker. Counters run since the start of the agent; `rejected` by reason or device."""

    connected: bool
    problem: str
    messages: int
    confirmed: int
    duplicates: int
    lost: int
    overflowed: int
    rejected: dict[str, int]


class ActiveAlert(msgspec.Struct, frozen=True):
    """A local alert that is active, since an RFC 3339 time."""

    rule: str
    thing: str
    severity: str
    since: str


class TellingStatus(msgspec.Struct, frozen=True):
    """One way in which local alerts are told. Counters run since the start of the agent."""

    told: int
    failed: int
    dropped: int
    problem: str


class LocalAlertsStatus(msgspec.Struct, frozen=True):
    """What the gateway warns of by itself, and whom it tells."""

    active: tuple[ActiveAlert, ...] = ()
    telling: dict[str, TellingStatus] = {}


class JournalStatus(msgspec.Struct, frozen=True):
    """What the journal takes of the disk. `unconfirmed_bytes` is what the cloud lacks, by whole segments."""

    bytes_on_disk: int
    bytes_max: int
    unconfirmed_bytes: int
    frames_in_memory: int  # sealed while the disk took nothing
    losses: int  # loss records that are remembered


class Status(msgspec.Struct, frozen=True):
    """Everything, at `time` (RFC 3339, the agent's clock)."""

    time: str
    site: str
    gateway: str
    running: bool
    devices: int
    lanes: dict[str, LaneStatus]
    clock: ClockStatus
    uplink: UplinkStatus
    alarms: tuple[str, ...]
    brokers: dict[str, BrokerStatus] = {}
    local_alerts: LocalAlertsStatus = LocalAlertsStatus()
    journal: JournalStatus | None = None


def status_of(
    site: str, devices: int, journal: Journal, clock: Clock, uplink: Uplink | None, *, running: bool,
    brokers: dict[str, BrokerStatus], local_alerts: LocalAlertsStatus,
) -> Status:  # fmt: skip
    """The present status."""
    now = clock.now()
    state = uplink.state if uplink is not None else None
    space = _journal_status(journal)
    full = 100 * space.unconfirmed_bytes // space.bytes_max
    alarms = [
        journal.problem,
        f"{full} % of the journal is full of what the cloud lacks" if full >= FULL_PERCENT else "",
        uplink.alarms if uplink is not None else "",
        f"the cloud's clock is {clock.server_disagrees_ms} ms ahead of ours" if clock.server_disagrees_ms else "",
    ]
    return Status(
        time=format_instant(now.utc_ms),
        site=site,
        gateway=journal.gateway,
        running=running,
        devices=devices,
        lanes={lane: _lane_status(journal, lane) for lane in Lane},
        clock=ClockStatus(now.trusted, clock.source, now.uncertainty_ms, clock.server_disagrees_ms),
        uplink=UplinkStatus(
            configured=state is not None,
            connected=state is not None and state.connected,
            last_receipt=format_instant(state.last_receipt_ms) if state and state.last_receipt_ms else "",
            delivered_frames=state.delivered_frames if state else 0,
            requests=state.requests if state else 0,
            problem=state.problem if state else "",
        ),
        alarms=tuple(alarm for alarm in alarms if alarm),
        brokers=brokers,
        local_alerts=local_alerts,
        journal=space,
    )


def local_alerts_of(desk: AlertDesk) -> LocalAlertsStatus:
    """Active local alerts, and how the ways of telling are doing."""
    active = tuple(
        ActiveAlert(alert.rule, alert.thing, alert.severity, format_instant(alert.since_ms)) for alert in desk.active
    )
    telling = {
        teller.name: TellingStatus(
            teller.status.told, teller.status.failed, teller.status.dropped, teller.status.problem
        )
        for teller in desk.tellers
    }
    return LocalAlertsStatus(active, telling)


def brokers_of(collector: Collector) -> dict[str, BrokerStatus]:
    """Every broker that is listened to, by the connection's id."""
    return {
        name: BrokerStatus(
            connected=isinstance(state := collector.status[name], ListeningStatus) and state.connected,
            problem=state.error,
            messages=counts.messages,
            confirmed=counts.confirmed,
            duplicates=counts.duplicates,
            lost=counts.lost,
            overflowed=counts.overflowed,
            rejected=dict(counts.rejected),
        )
        for name, counts in collector.counts.items()
    }


def write_status(folder: Path, status: Status) -> None:
    """Replace the file. Raises StorageUnavailable."""
    write_durably(folder / STATUS_FILE, msgspec.json.format(msgspec.json.encode(status), indent=2) + b"\n", 0o644)


def read_status(folder: Path) -> Status | None:
    """What the agent wrote last, None when it never did. Raises StorageUnavailable."""
    try:
        return msgspec.json.decode((folder / STATUS_FILE).read_bytes(), type=Status)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageUnavailable(f"cannot read {folder / STATUS_FILE}: {error}") from error


def _journal_status(journal: Journal) -> JournalStatus:
    space = journal.space
    return JournalStatus(
        bytes_on_disk=space.bytes_on_disk,
        bytes_max=space.bytes_max,
        unconfirmed_bytes=space.unconfirmed_bytes,
        frames_in_memory=sum(len(journal.lane(lane).ram) for lane in Lane),
        losses=len(journal.accounts.losses.entries()),
    )


def _lane_status(journal: Journal, lane: Lane) -> LaneStatus:
    disk = journal.lane(lane)
    counters = journal.sealing[lane].counters
    return LaneStatus(
        epoch=disk.epoch.hex(),
        last_seq=disk.next_seq - 1,
        confirmed_seq=journal.receipts.contiguous(lane, disk.epoch),
        backlog_frames=journal.backlog_frames((lane,)),
        bytes_on_disk=disk.bytes_on_disk,
        sealed_frames=counters.frames,
        sealed_readings=counters.readings,
        sealed_bytes=counters.bytes,
        dropped_readings=counters.dropped_readings,
        fsync_ms=round(counters.fsync_ms_last, 3),
    )
