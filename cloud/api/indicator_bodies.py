"""What requests about indicators carry, and how values arrive: as JSON, as CSV, or from a form."""

import csv
import io
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from cloud.api import schema
from cloud.api.asking import instant
from cloud.api.problems import Problem, unusable
from cloud.indicators.benchmarks import Benchmark
from cloud.indicators.entering import VALUES_MAX, EntryRefused, NewValue, read_value
from cloud.indicators.imported import ImportedDefinition
from cloud.indicators.targets import PackChoice, TargetEntry
from devices.document import parse_document

ROW_ERRORS_MAX = 50
Reason = Annotated[str, Field(min_length=1, max_length=2_000)]


class Words(BaseModel):
    """Who enters something, and why."""

    model_config = ConfigDict(extra="forbid")
    actor: str | None = Field(default=None, max_length=100)
    reason: Reason


class DefinitionBody(Words):
    """An imported indicator, for one site or (without `site`) for every one."""

    site: str | None = None
    definition: dict[str, Any]


class TargetBody(Words):
    """A target of one site; `value` null: none."""

    value: float | None
    better: str | None = None
    source: str = ""
    valid_from: schema.Time
    valid_to: schema.Time | None = None


class PackBody(Words):
    """Which pack holds, for one site or (without `site`) for every one."""

    site: str | None = None
    pack: str
    period: str | None = None
    valid_from: schema.Time
    valid_to: schema.Time | None = None


class BenchmarkBody(Words):
    """A benchmark; internal without a value: the best site of each period."""

    benchmark: dict[str, Any]
    valid_from: schema.Time


class ValuesBody(Words):
    """Values of an imported indicator, each with `period` (2026-05) or `from` and `to`."""

    items: list[dict[str, Any]] = Field(max_length=VALUES_MAX)


def definition_of(body: DefinitionBody) -> ImportedDefinition:
    """The definition, checked. Raises ConfigurationError."""
    return parse_document(msgspec.json.encode(body.definition).decode(), "definition", ImportedDefinition)


def definition_from_yaml(text: str) -> ImportedDefinition:
    """A definition as a document of its own. Raises ConfigurationError."""
    return parse_document(text, "definition", ImportedDefinition)


def benchmark_of(body: BenchmarkBody) -> Benchmark:
    """The benchmark, checked. Raises ConfigurationError."""
    return parse_document(msgspec.json.encode(body.benchmark).decode(), "benchmark", Benchmark)


def target_of(indicator: str, body: TargetBody) -> TargetEntry:
    """The target, checked. Raises ConfigurationError."""
    document = {"indicator": indicator, "value": body.value, "better": body.better, "source": body.source}
    return parse_document(msgspec.json.encode(document).decode(), "target", TargetEntry)


def choice_of(body: PackBody) -> PackChoice:
    """The choice, checked. Raises ConfigurationError."""
    document = {"pack": body.pack, "period": body.period}
    return parse_document(msgspec.json.encode(document).decode(), "choice", PackChoice)


def validity(body: TargetBody | PackBody) -> tuple[int, int | None]:
    """[from, to) of what a body says."""
    return instant("valid_from", body.valid_from), instant("valid_to", body.valid_to) if body.valid_to else None


def rows_of(content_type: str, body: bytes, query: Mapping[str, str]) -> tuple[Words, list[dict[str, Any]]]:
    """Who and why, and the rows; CSV and forms carry `actor` and `reason` in the query or in the form."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind in {"text/csv", "application/csv"}:
            reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig")), strict=True)
            rows = [{key: cell for key, cell in row.items() if key and cell not in {None, ""}} for row in reader]
            return Words(actor=query.get("actor"), reason=query.get("reason") or "imported from CSV"), rows
        if kind == "application/x-www-form-urlencoded":
            form = dict(parse_qsl(body.decode(), strict_parsing=True, max_num_fields=20))
            words = Words(actor=form.get("actor"), reason=form.get("reason") or "entered by form")
            return words, [{name: told for name, told in form.items() if name not in {"actor", "reason"}}]
        if kind == "application/json":
            values = ValuesBody.model_validate_json(body)
            return Words(actor=values.actor, reason=values.reason), values.items
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError and pydantic's ValidationError are ValueErrors
        raise unusable("/body", f"it cannot be read as {kind}: {error}", "unreadable") from error
    detail = "expected application/json, text/csv or application/x-www-form-urlencoded"
    raise Problem(415, "unsupported_media_type", detail)


def values_of(indicator: str, rows: list[dict[str, Any]], zone: ZoneInfo, origin: str) -> list[NewValue]:
    """The rows as values; every bad row is named. Raises Problem (422)."""
    if not 0 < len(rows) <= VALUES_MAX:
        raise unusable("/body/items", f"1 to {VALUES_MAX} values at once", "too_many")
    found, errors = [], []
    for index, row in enumerate(rows):
        try:
            found.append(read_value(indicator, _with_moments(row), zone, origin))
        except EntryRefused as error:
            errors.append({"pointer": f"/body/items/{index}", "detail": str(error), "code": "bad_value"})
    if errors:
        detail = f"{len(errors)} of {len(rows)} values cannot be used; nothing was entered."
        raise Problem(422, "bad_value", detail, errors=errors[:ROW_ERRORS_MAX])
    return found


def _with_moments(row: dict[str, Any]) -> dict[str, object]:
    unknown = set(row) - {"period", "from", "to", "value", "numerator", "denominator"}
    if unknown:
        raise EntryRefused(f"unknown column {min(unknown)!r}")
    moments = {f"{name}_ms": instant(name, str(row[name])) for name in ("from", "to") if row.get(name)}
    return {**row, **moments}
