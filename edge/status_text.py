"""The status of the agent as lines for a person, and as JSON."""

import msgspec

from devices.words import say
from edge.status import Status

LANGUAGE = "en"
_MIB = 1024 * 1024


def status_json(status: Status) -> str:
    """Indented JSON."""
    return msgspec.json.format(msgspec.json.encode(status), indent=2).decode()


def lines_of(status: Status, language: str = LANGUAGE) -> list[str]:
    """One line for each thing worth knowing, most important first."""
    state = "edge.status.running" if status.running else "edge.status.stopped"
    lines = [
        say(language, state, gateway=status.gateway, site=status.site, devices=status.devices, time=status.time),
    ]
    uplink = status.uplink
    if not uplink.configured:
        lines.append(say(language, "edge.status.no_cloud"))
    elif uplink.connected:
        lines.append(say(language, "edge.status.connected", time=uplink.last_receipt or "-"))
    else:
        lines.append(say(language, "edge.status.disconnected", reason=uplink.problem, time=uplink.last_receipt or "-"))
    for name, lane in status.lanes.items():
        lines.append(
            say(
                language,
                "edge.status.lane",
                lane=name,
                last=lane.last_seq,
                backlog=lane.backlog_frames,
                size=round(lane.bytes_on_disk / _MIB),
            )
        )
    for name, broker in status.brokers.items():
        state = "edge.status.broker_connected" if broker.connected else "edge.status.broker_lost"
        refused = sum(broker.rejected.values())
        lines.append(
            say(language, state, name=name, messages=broker.messages, refused=refused, reason=broker.problem or "-")
        )
    local = status.local_alerts
    for alert in local.active:
        named = {"rule": alert.rule, "thing": alert.thing, "severity": alert.severity, "since": alert.since}
        lines += [say(language, "edge.status.local_alert", **named)]
    failing = {name: telling.problem for name, telling in local.telling.items() if telling.problem}
    lines += [say(language, "edge.status.not_told", name=name, reason=problem) for name, problem in failing.items()]
    trust = "edge.status.clock_trusted" if status.clock.trusted else "edge.status.clock_untrusted"
    lines.append(say(language, trust, source=status.clock.source or "-", uncertainty=status.clock.uncertainty_ms))
    lines += [say(language, "edge.status.alarm", text=alarm) for alarm in status.alarms]
    return lines
