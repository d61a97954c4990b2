"""The page docs/profiles.md, made from the profiles themselves."""

from collections.abc import Iterable, Iterator, Mapping

from devices.modbus_habits import Modbus
from devices.point import Point
from devices.profile import LoadedProfile

HEX_FROM = 0x1000  # sentinels from here on are easier to recognise in hexadecimal
HEAD = """\
# Devices that Gatehouse knows

Written by `gatehouse profiles reference > docs/profiles.md` from the files in `devices/profiles/`; a test compares.
[How to add a device](new-device.md) takes ten minutes.

All of them are **read only**: no function that writes exists in the driver. Addresses are those on the wire, counted
from 0. *Verified* says how far the numbers were checked: `spec` is a public specification, `manual` the maker's
manual, `implementation` the code of a maintained project in the field, `unverified` less than that: compare with the
display before you trust it. State rules are asked in the order fault, ext, degraded, run; none of them is standby.
A point that is no longer held makes the fault rule unknown unless the others decide it.
"""


def protocol_of(profile: LoadedProfile) -> str:
    """modbus, or mqtt with the kind of message."""
    mqtt = profile.profile.mqtt
    return "modbus" if mqtt is None else f"mqtt ({mqtt.message})"


def reference(profiles: Mapping[str, LoadedProfile]) -> str:
    """The page in Markdown, ending in a line break."""
    ordered = [profiles[name] for name in sorted(profiles)]
    overview = _table(
        ("id", "product", "kind", "protocol", "verified"),
        (
            (
                f"[{one.id}](#{one.id})",
                one.profile.product,
                one.kind,
                protocol_of(one),
                one.profile.source.verified,
            )
            for one in ordered
        ),
    )
    parts = [HEAD, "\n".join(overview), *("\n".join(_section(one)) for one in ordered)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _section(loaded: LoadedProfile) -> Iterator[str]:
    profile = loaded.profile
    yield f"## {loaded.id}"
    yield ""
    yield f"**{profile.product or loaded.id}.** {_remarks(loaded.text)}".rstrip()
    yield ""
    yield f"- Source: {profile.source.document} ({profile.source.verified})"
    yield f"- Haystack: {' '.join(profile.tags.haystack) or 'none'}; Brick: {profile.tags.brick or 'none'}"
    if profile.modbus is not None:
        yield f"- Bus: {'; '.join(_habits(profile.modbus, loaded.points.values()))}"
    if profile.mqtt is not None and profile.mqtt.codec is not None:
        yield f"- Codec: {profile.mqtt.codec}"
    yield f"- State inputs are held for {loaded.hold_s} s"
    if profile.states is not None:
        yield ""
        rules = {name: getattr(profile.states, name) for name in ("fault", "ext", "degraded", "run")}
        yield from _table(("state", "when"), ((name, f"`{rule}`") for name, rule in rules.items() if rule))
    if profile.signals or profile.measures:
        yield ""
        roles = [*profile.signals.items(), *profile.measures.items()]
        yield from _table(("for alert rules", "is"), ((f"`{name}`", f"`{text}`") for name, text in roles))
    yield ""
    yield from _points(loaded)


def _remarks(text: str) -> str:
    """The comment at the head of a profile's file."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)


def _habits(modbus: Modbus, points: Iterable[Point]) -> Iterator[str]:
    tables = {point.function.is_bits for point in points if point.function is not None}
    if False in tables:
        yield f"at most {modbus.max_registers} registers a read"
    if True in tables:
        yield f"at most {modbus.max_bits} bits a read"
    if modbus.no_gap:
        yield "no read crosses an unused register"
    if modbus.frame_pause_ms:
        yield f"{modbus.frame_pause_ms} ms of silence before each request"
    if modbus.timeout_s is not None:
        yield f"an answer is given at least {modbus.timeout_s:g} s"
    for first, count in modbus.exact_blocks:
        yield f"{first} to {first + count - 1} only as a whole"
    for first, count in modbus.forbidden:
        yield f"{first} to {first + count - 1} never"


def _points(loaded: LoadedProfile) -> Iterator[str]:
    if loaded.pushes:
        rows = ((f"`{one.id}`", one.type.value, one.unit, _values(one)) for one in loaded.points.values())
        yield from _table(("point", "type", "unit", "values"), rows)
        return
    yield from _table(
        ("point", "function", "address", "type", "unit", "every", "values"),
        (
            (
                f"`{one.id}`",
                str(one.function.code if one.function is not None else ""),
                f"{one.address}" + (f".{one.bit}" if one.bit is not None else ""),
                one.type.value + (f"[{one.length}]" if one.length is not None else ""),
                _unit(one),
                f"{loaded.poll_interval_s(one.id):g} s",
                _values(one),
            )
            for one in loaded.points.values()
        ),
    )


def _unit(point: Point) -> str:
    factor = f"{point.scale:g} " if point.scale != 1 else ""
    power = f" x 10^`{point.scale_from}`" if point.scale_from is not None else ""
    moved = f" {point.offset:+g}" if point.offset else ""
    return f"{factor}{point.unit}{power}{moved}".strip()


def _values(point: Point) -> str:
    labels = [f"{number} {label}" for number, label in point.enum.items()]
    if point.invalid:
        none = [f"0x{raw:X}" if raw >= HEX_FROM else str(raw) for raw in point.invalid]
        labels.append(f"no value: {none[0]}" + (f" to {none[-1]}" if len(none) > 1 else ""))
    return ", ".join(labels)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
