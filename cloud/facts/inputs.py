"""What people and other systems enter, but for the ledger: append-only, with valid time and recorded time.

A thing that was entered is never changed: saying something else about it is a further version, taking it back is
one, too. Any kind of input can be kept here; its document is JSON and belongs to whoever reads that kind.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from cloud.facts.tables_inputs import inputs
from devices.errors import Permanent

EVERY_SITE = "*"  # the "site" of inputs that hold for the whole company
DOCUMENT_BYTES_MAX = 1 << 20
TEXT_LENGTH_MAX = 2_000  # of a reason; names are shorter
NAME_LENGTH_MAX = 200
EARLIEST_MS = -24 * 3_600_000  # 1970-01-01 in every zone
LATEST_MS = 7_258_204_800_000  # 2200-01-02 UTC
SHOWN = "expected a time from 1970-01-01 to 2200-01-01"
EVER_MS = 2**62

Span = tuple[int, int]  # [from_ms, to_ms)


class InputRefused(Permanent):
    """Something that cannot be entered: no actor, an empty validity, a document that is none or too large."""


class InputVersionMismatch(Permanent):
    """Somebody else has changed it meanwhile."""


@dataclass(frozen=True, slots=True)
class Input:
    """One version of one thing. Valid in [valid_from_ms, valid_to_ms), Unix ms UTC; None: until further notice."""

    site: str
    kind: str
    id: str
    version: int
    entry: int
    recorded_ms: int
    actor: str
    reason: str
    valid_from_ms: int
    valid_to_ms: int | None
    document: str
    withdrawn: bool = False

    @property
    def span(self) -> Span:
        """When it is valid."""
        return self.valid_from_ms, EVER_MS if self.valid_to_ms is None else self.valid_to_ms


def enter(
    connection: sa.Connection, site: str, kind: str, name: str, document: str, *, actor: str, reason: str,
    recorded_ms: int, valid_from_ms: int, valid_to_ms: int | None = None, expected_version: int | None = None,
) -> Input:  # fmt: skip
    """Add a version of the thing of this name; the caller's transaction decides when it counts.

    Saying the newest one again adds nothing.
    `expected_version` is the newest one that the writer knows, 0 for none; None does not care.
    Raises InputRefused, InputVersionMismatch.
    """
    known = newest(connection, site, kind, name)
    _check_version(known, expected_version)
    one = Input(
        site, kind, name, known.version + 1 if known else 1, revision(connection, site) + 1, recorded_ms, actor.strip(),
        reason.strip(), valid_from_ms, valid_to_ms, document,
    )  # fmt: skip
    _check(one)
    if not all(is_shown(time_ms) for time_ms in (valid_from_ms, valid_to_ms) if time_ms is not None):
        raise InputRefused(SHOWN)
    if known is not None and not known.withdrawn and (known.document, *known.span) == (document, *one.span):
        return known
    _insert(connection, one)
    return one


def is_shown(time_ms: int) -> bool:
    """Whether a moment that somebody names is one that every zone and page can show. Unix ms UTC."""
    return EARLIEST_MS <= time_ms <= LATEST_MS


def withdraw(
    connection: sa.Connection, site: str, kind: str, name: str, *, actor: str, reason: str, recorded_ms: int,
    expected_version: int | None = None,
) -> Input:  # fmt: skip
    """Take something back. Raises InputRefused (it is not there), InputVersionMismatch."""
    known = newest(connection, site, kind, name)
    _check_version(known, expected_version)
    if known is None or known.withdrawn:
        raise InputRefused(f"there is no {kind} {name!r} to withdraw")
    one = Input(
        site, kind, name, known.version + 1, revision(connection, site) + 1, recorded_ms, actor.strip(), reason.strip(),
        known.valid_from_ms, known.valid_to_ms, known.document, withdrawn=True,
    )  # fmt: skip
    _check(one)
    _insert(connection, one)
    return one


def inputs_of(connection: sa.Connection, site: str, kind: str) -> list[Input]:
    """Everything of a kind, each with all its versions; by id and version."""
    mine = (inputs.c.site == site) & (inputs.c.kind == kind)
    return _found(connection, sa.select(inputs).where(mine).order_by(inputs.c.id, inputs.c.version))


def in_force(versions: Iterable[Input]) -> list[Input]:
    """Of `inputs_of` the newest version of each, without what was withdrawn."""
    last = {one.id: one for one in versions}
    return [one for one in last.values() if not one.withdrawn]


def at_moment(versions: Sequence[Input], time_ms: int) -> list[Input]:
    """What holds at a moment: of each thing the latest entered version that is valid then, unless it was withdrawn.

    For things whose versions follow each other in time, such as policies and targets.
    """
    chosen: dict[str, Input | None] = {}
    for one in versions:
        if one.withdrawn:
            chosen[one.id] = None
        elif one.span[0] <= time_ms < one.span[1]:
            chosen[one.id] = one
    return [one for one in chosen.values() if one is not None]


def newest(connection: sa.Connection, site: str, kind: str, name: str) -> Input | None:
    """The newest version of one thing, also a withdrawal."""
    mine = (inputs.c.site == site) & (inputs.c.kind == kind) & (inputs.c.id == name)
    found = _found(connection, sa.select(inputs).where(mine).order_by(inputs.c.version.desc()).limit(1))
    return found[0] if found else None


def revision(connection: sa.Connection, site: str) -> int:
    """The `entry` of what was last entered for a site, 0 for nothing. Grows with every version of anything."""
    last = connection.execute(sa.select(sa.func.max(inputs.c.entry)).where(inputs.c.site == site)).scalar_one()
    return int(last or 0)


def entered_since(connection: sa.Connection, site: str, entry: int, limit: int | None = None) -> list[Input]:
    """What was entered for a site after an entry, in that order: the audit trail."""
    mine = (inputs.c.site == site) & (inputs.c.entry > entry)
    return _found(connection, sa.select(inputs).where(mine).order_by(inputs.c.entry).limit(limit))


def changed_spans(connection: sa.Connection, site: str, entry: int) -> list[tuple[str, Span]]:
    """Kind and time of what changed after an entry: when each version is valid, and when the one before it was."""
    spans = []
    for one in entered_since(connection, site, entry):
        spans.append((one.kind, one.span))
        mine = (inputs.c.site == site) & (inputs.c.kind == one.kind) & (inputs.c.id == one.id)
        before = _found(connection, sa.select(inputs).where(mine, inputs.c.version == one.version - 1))
        spans.extend((other.kind, other.span) for other in before)
    return spans


def _found(connection: sa.Connection, chosen: "sa.Select[tuple[object, ...]]") -> list[Input]:
    return [Input(**row) for row in connection.execute(chosen).mappings()]


def _insert(connection: sa.Connection, one: Input) -> None:
    row = {name: getattr(one, name) for name in inputs.columns.keys()}  # noqa: SIM118 - not a dict
    connection.execute(sa.insert(inputs), row)


def _check_version(known: Input | None, expected: int | None) -> None:
    version = known.version if known else 0
    if expected is not None and expected != version:
        raise InputVersionMismatch(f"version {version} is the newest, not {expected}")


def _check(one: Input) -> None:
    for name, text, most in (
        ("id", one.id, NAME_LENGTH_MAX), ("kind", one.kind, NAME_LENGTH_MAX), ("actor", one.actor, NAME_LENGTH_MAX),
        ("reason", one.reason, TEXT_LENGTH_MAX),
    ):  # fmt: skip
        if not 0 < len(text) <= most:
            raise InputRefused(f"the {name} must have 1 to {most} characters")
    if not one.span[0] < one.span[1]:
        raise InputRefused("it is valid for no time at all")
    if len(one.document.encode()) > DOCUMENT_BYTES_MAX:
        raise InputRefused(f"the document is larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        json.loads(one.document)
    except ValueError as error:
        raise InputRefused(f"the document is not JSON: {error}") from error
