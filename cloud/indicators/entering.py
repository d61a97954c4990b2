"""What people and other systems enter about indicators: definitions, values, targets, choice of a pack, policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import ValidationError

from cloud.facts.days import date_start
from cloud.facts.inputs import EVERY_SITE, Input, enter, in_force, inputs_of
from cloud.indicators.definition import BadWindow, UnknownIndicator, Window
from cloud.indicators.imported import (
    BUILT_IN,
    DEFINITION_KIND,
    DEFINITIONS_MAX,
    VALUE_KIND,
    ImportedDefinition,
    ImportedValue,
    definitions_of,
    value_id,
)
from cloud.indicators.periods import period_around
from cloud.indicators.policy import POLICY_KIND, IndicatorPolicy
from cloud.indicators.targets import CHOICE_ID, CHOICE_KIND, TARGET_KIND, PackChoice, TargetEntry, known_packs
from devices.errors import Permanent

VALUES_MAX = 5_000  # of one request
SINCE_EVER_MS = 0
_QUARTERS = {f"Q{number}": 3 * number - 2 for number in range(1, 5)}
_HALVES = {"H1": 1, "H2": 7}


class EntryRefused(Permanent):
    """Something that cannot be entered; says what and why."""


@dataclass(frozen=True, slots=True)
class Word:
    """Who enters something, and why."""

    actor: str
    reason: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class NewValue:
    """A value for [from_ms, to_ms), Unix ms UTC."""

    window: Window
    value: ImportedValue


def period_named(text: str, zone: ZoneInfo) -> Window:
    """`2026-05-01`, `2026-05`, `2026-Q2` or `2026-H1` in site time. Raises BadWindow."""
    year, _, rest = text.partition("-")
    try:
        if rest in _QUARTERS or rest in _HALVES:
            name, month = ("quarter", _QUARTERS[rest]) if rest in _QUARTERS else ("half-year", _HALVES[rest])
            day = date(int(year), month, 1)
        elif "-" in rest:
            name, day = "day", date.fromisoformat(text)
        else:
            name, day = "month", date(int(year), int(rest), 1)
        return period_around(name, date_start(day, zone), zone)
    except (ValueError, OverflowError) as error:
        raise BadWindow(f"{text!r} is no period; expected 2026-05-01, 2026-05, 2026-Q2 or 2026-H1") from error


def define(connection: sa.Connection, site: str, definition: ImportedDefinition, word: Word) -> Input:
    """Say what an imported indicator is, for one site or for every one (`*`). Raises EntryRefused."""
    if definition.id.startswith(BUILT_IN):
        raise EntryRefused(f"{definition.id}: {', '.join(BUILT_IN)} are computed; choose another beginning")
    known = definitions_of(inputs_of(connection, site, DEFINITION_KIND), ())
    if definition.id not in known and len(known) >= DEFINITIONS_MAX:
        raise EntryRefused(f"there are {DEFINITIONS_MAX} imported indicators already")
    document = definition.model_dump_json(by_alias=True)
    return _enter(connection, site, DEFINITION_KIND, definition.id, document, word=word)


def tell(connection: sa.Connection, site: str, indicator: str, values: Sequence[NewValue], word: Word) -> list[Input]:
    """Enter values of an imported indicator. A second word about one beginning is a further version of it.

    Raises UnknownIndicator, EntryRefused.
    """
    known = definitions_of(
        inputs_of(connection, site, DEFINITION_KIND), inputs_of(connection, EVERY_SITE, DEFINITION_KIND)
    )
    if indicator not in known:
        raise UnknownIndicator(f"there is no imported indicator {indicator!r}")
    if len(values) > VALUES_MAX:
        raise EntryRefused(f"at most {VALUES_MAX} values at once")
    named = [(value_id(indicator, one.window.from_ms), one) for one in values]
    return [
        _enter(
            connection, site, VALUE_KIND, name, one.value.model_dump_json(), word=word,
            valid=(one.window.from_ms, one.window.to_ms),
        )
        for name, one in named
    ]  # fmt: skip


def set_target(
    connection: sa.Connection, site: str, target: TargetEntry, word: Word, valid: tuple[int, int | None]
) -> Input:  # fmt: skip
    """A target of one site that departs from its pack."""
    return _enter(connection, site, TARGET_KIND, target.indicator, target.model_dump_json(), word=word, valid=valid)


def choose_pack(
    connection: sa.Connection, site: str, choice: PackChoice, word: Word, valid: tuple[int, int | None]
) -> Input:  # fmt: skip
    """The pack of a site, or of every site (`*`). Raises EntryRefused."""
    if choice.pack not in known_packs():
        raise EntryRefused(f"there is no pack {choice.pack!r}; there are {', '.join(known_packs())}")
    return _enter(connection, site, CHOICE_KIND, CHOICE_ID, choice.model_dump_json(), word=word, valid=valid)


def set_policy(
    connection: sa.Connection, site: str, policy: IndicatorPolicy, word: Word, valid: tuple[int, int | None]
) -> Input:  # fmt: skip
    """How a site, or every site (`*`), counts and judges."""
    return _enter(connection, site, POLICY_KIND, "policy", policy.model_dump_json(), word=word, valid=valid)


def due_for_revision(connection: sa.Connection, site: str, now_ms: int, zone: ZoneInfo) -> list[Input]:
    """Targets of a site that are older than twelve months (R0-3)."""
    day = datetime.fromtimestamp(now_ms / 1000, zone).date()
    year_ago = date_start(day.replace(year=day.year - 1, day=min(day.day, 28)), zone)
    return [one for one in in_force(inputs_of(connection, site, TARGET_KIND)) if one.valid_from_ms < year_ago]


def read_value(indicator: str, row: dict[str, object], zone: ZoneInfo, origin: str) -> NewValue:
    """A row of a table: `period`, or `from` and `to` (Unix ms UTC); `value`, or `numerator` and `denominator`.

    Raises EntryRefused.
    """
    try:
        if row.get("period"):
            window = period_named(str(row["period"]), zone)
        else:
            window = Window(int(str(row["from_ms"])), int(str(row["to_ms"])))
        told = {name: row[name] for name in ("numerator", "denominator") if row.get(name) not in {None, ""}}
        number = None if row.get("value") in {None, ""} else str(row["value"])
        pair = {name: int(str(count)) for name, count in told.items()}
        value = ImportedValue.model_validate({"indicator": indicator, "origin": origin, "value": number, **pair})
        _ = value.exact
    except KeyError as error:
        raise EntryRefused(f"{error.args[0]} is missing") from error
    except ValidationError as error:
        raise EntryRefused("; ".join(str(one["msg"]) for one in error.errors())) from error
    except (ValueError, BadWindow) as error:
        raise EntryRefused(str(error)) from error
    if window.from_ms >= window.to_ms:
        raise EntryRefused("its period ends before it begins")
    return NewValue(window, value)


def _enter(
    connection: sa.Connection, site: str, kind: str, name: str, document: str, *, word: Word,
    valid: tuple[int, int | None] = (SINCE_EVER_MS, None),
) -> Input:  # fmt: skip
    return enter(
        connection, site, kind, name, document, actor=word.actor, reason=word.reason, recorded_ms=word.now_ms,
        valid_from_ms=valid[0], valid_to_ms=valid[1],
    )  # fmt: skip
