"""The ledger as a workbook or as CSV, out and in. One sheet for each section, one row for each thing.

Names stand in two columns; what has parts of its own (positions, outlines, hours) stands as JSON in one cell. Nothing
that is written can become a formula, and formulas are refused. Mistakes name sheet, row and column.
"""

import csv
import io
import json
import types
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal, Union, get_args, get_origin
from xml.etree.ElementTree import ParseError

import openpyxl
import xlsxwriter
from openpyxl.utils import get_column_letter
from pydantic import BaseModel, ValidationError

from cloud.facts.ledger import THINGS_MAX, Ledger
from devices.errors import ConfigurationError, Problem
from devices.expectations import describe

WORKBOOK_BYTES_MAX = 64 << 20  # inflated
CELL_LENGTH_MAX = 32_767  # what a cell of a workbook holds
COLUMNS_MAX = 200  # of a sheet; no section has as many
PROBLEMS_MAX = 100
SITE = "site"
SETTINGS = "settings"  # sections that are no lists: a key and its value, as JSON, in each row
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = dict[str, Any]
Place = tuple[str, int, int]  # sheet, row and column, both from 1


def _sections() -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {SITE: Ledger.model_fields[SITE].annotation}  # type: ignore[dict-item]
    for name, field in Ledger.model_fields.items():
        of = get_args(field.annotation)
        if get_origin(field.annotation) is tuple and isinstance(of[0], type) and issubclass(of[0], BaseModel):
            found[name] = of[0]
    return found


SECTIONS = _sections()
OTHERS = tuple(name for name in Ledger.model_fields if name not in SECTIONS)  # targets, class_calendars


def columns_of(model: type[BaseModel]) -> list[str]:
    """Headings of a section's sheet: keys of the ledger, `name` in both languages."""
    return [column for key in _keys(model) for column in (["name en", "name zh-CN"] if key == "name" else [key])]


def workbook_of(ledger: Ledger) -> bytes:
    """The whole ledger as XLSX."""
    return workbook_of_tables(_tables(ledger))


def workbook_of_tables(tables: Iterable[tuple[str, Sequence[Sequence[str | float | None]]]]) -> bytes:
    """Any tables (name, rows with the headings first) as XLSX: numbers are numbers, text is never a formula."""
    data = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(data, options) as book:
        bold = book.add_format({"bold": True})
        for name, rows in tables:
            sheet = book.add_worksheet(name)
            sheet.freeze_panes(1, 1)
            for column, cell in enumerate(rows[0]):
                sheet.write_string(0, column, str(cell), bold)
            for number, row in enumerate(rows[1:], 1):
                for column, cell in enumerate(row):
                    if isinstance(cell, str):
                        sheet.write_string(number, column, cell[:CELL_LENGTH_MAX])
                    elif cell is not None:
                        sheet.write_number(number, column, cell)
    return data.getvalue()


def csv_of_table(rows: Iterable[Sequence[str | float | None]]) -> str:
    """Any rows as CSV; text that a spreadsheet would take for a formula gets an apostrophe."""
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def csv_of(ledger: Ledger, section: str) -> str:
    """One section as CSV. Raises ConfigurationError for a section that is none."""
    tables = dict(_tables(ledger))
    if section not in tables:
        raise _wrong(f"{section}.csv", f"there is no section {section!r}; there are {', '.join(tables)}")
    return csv_of_table(tables[section])


def text_of_workbook(data: bytes, file_name: str) -> str:
    """The ledger document of a workbook, checked. Raises ConfigurationError with sheet, row and column."""
    tables = _read_workbook(data, file_name)
    unknown = [name for name in tables if name not in {*SECTIONS, SETTINGS}]
    if unknown:
        raise _wrong(file_name, f"there is no section {unknown[0]!r}; there are {', '.join((*SECTIONS, SETTINGS))}")
    return _document(tables, {}, file_name)


def text_of_csv(text: str, file_name: str, section: str, ledger: Ledger) -> str:
    """The ledger document with one section of it replaced, checked. Raises ConfigurationError with row and column."""
    if section not in {*SECTIONS, SETTINGS}:
        raise _wrong(file_name, f"there is no section {section!r}; there are {', '.join((*SECTIONS, SETTINGS))}")
    try:
        rows = [[_meant(cell) for cell in row] for row in csv.reader(io.StringIO(text.removeprefix("﻿")))]
    except csv.Error as error:
        raise _wrong(file_name, f"is not CSV: {error}") from error
    dump = ledger.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return _document({section: rows}, dump, file_name)


def _document(tables: Mapping[str, Sequence[Sequence[Any]]], document: Row, file_name: str) -> str:
    problems: list[Problem] = []
    rows_of: dict[str, list[int]] = {}
    for section, rows in tables.items():
        things, rows_of[section], wrong = _things(section, rows, file_name)
        problems += wrong
        if section == SETTINGS:
            document |= {one["key"]: one["value"] for one in things if "key" in one and "value" in one}
        else:
            document[section] = things[0] if section == SITE and things else things
    if problems:
        raise ConfigurationError(problems[:PROBLEMS_MAX])
    text = json.dumps(document, ensure_ascii=False, indent=1)
    places = _Places(tables, rows_of, file_name)
    try:
        ledger = Ledger.model_validate_json(text)
    except ValidationError as error:
        raise ConfigurationError([
            places.problem(tuple(one["loc"]), describe(one, Ledger)) for one in error.errors(include_url=False)
        ][:PROBLEMS_MAX]) from error  # fmt: skip
    mistakes = [places.problem(one.path, one.message) for one in ledger.mistakes()]
    if mistakes:
        raise ConfigurationError(mistakes[:PROBLEMS_MAX])
    return text


class _Places:
    """Where in the tables a path of the document stands."""

    def __init__(
        self, tables: Mapping[str, Sequence[Sequence[Any]]], rows_of: Mapping[str, Sequence[int]], file_name: str
    ) -> None:
        self._tables, self._rows_of, self._file_name = tables, rows_of, file_name

    def problem(self, path: Sequence[str | int], message: str) -> Problem:
        section = str(path[0]) if path else ""
        rest = list(path[1:])
        rows = self._rows_of.get(section, ())
        index = 0 if section == SITE else rest.pop(0) if rest and isinstance(rest[0], int) else -1
        row = rows[index] if isinstance(index, int) and 0 <= index < len(rows) else 0
        heading = " ".join(str(one) for one in rest[:2]) if rest and rest[0] == "name" else str(rest[0]) if rest else ""
        headings = [str(one) for one in self._tables.get(section, [[]])[0]]
        column = headings.index(heading) + 1 if heading in headings else 0
        return _at(self._file_name, (section, row, column), f"{heading}: {message}" if heading else message)


def _things(section: str, rows: Sequence[Sequence[Any]], file_name: str) -> tuple[list[Row], list[int], list[Problem]]:
    """Rows as things of a section, the row of each, and what cannot be read."""
    if not rows:
        return [], [], []
    model = SECTIONS.get(section)
    known = ["key", "value"] if model is None else columns_of(model)
    headings = [str(one or "").strip() for one in rows[0]]
    problems = [
        _at(file_name, (section, 1, column), f"there is no column {heading!r}; there are {', '.join(known)}")
        for column, heading in enumerate(headings, 1)
        if heading and heading not in known
    ]
    if len(rows) > THINGS_MAX + 1:
        problems.append(_at(file_name, (section, THINGS_MAX + 2, 0), f"more than {THINGS_MAX} rows"))
        return [], [], problems
    things, places = [], []
    for number, row in enumerate(rows[1:], 2):
        thing: Row = {}
        for column, (heading, cell) in enumerate(zip(headings, row, strict=False), 1):
            if not heading or heading not in known or cell is None or cell == "":
                continue
            try:
                _put(thing, heading, cell, "json" if heading == "value" else _kind(model, heading))
            except ValueError as error:
                problems.append(_at(file_name, (section, number, column), f"{heading}: {error}"))
        if thing:
            things.append(thing)
            places.append(number)
    return things, places, problems


def _put(thing: Row, heading: str, cell: Any, kind: str) -> None:
    value = _value(cell, kind)
    if heading.startswith("name "):
        thing.setdefault("name", {})[heading.removeprefix("name ")] = value
    else:
        thing[heading] = value


def _value(cell: Any, kind: str) -> Any:
    """A cell as the document has it. Raises ValueError."""
    if isinstance(cell, datetime):
        cell = cell.date().isoformat()
    elif isinstance(cell, date):
        cell = cell.isoformat()
    if kind == "text":
        return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
    if isinstance(cell, float) and cell.is_integer() and kind == "whole":
        return int(cell)
    if not isinstance(cell, str):
        return cell
    try:
        return json.loads(cell)
    except RecursionError:
        raise ValueError("expected JSON that is not nested that deeply") from None
    except ValueError:
        if kind == "json":
            raise ValueError("expected JSON") from None
        return cell  # the model says what is wrong with it


def _kind(model: type[BaseModel] | None, heading: str) -> str:
    """What a column holds: text, a whole number, or anything else as JSON."""
    if model is None or heading.startswith("name "):
        return "text"
    field = next(one for key, one in model.model_fields.items() if (one.alias or key) == heading)
    kinds = set(_leaves(field.annotation))
    if kinds <= {str, date, type(None)}:
        return "text"
    return "whole" if kinds <= {int, type(None)} else "number" if kinds <= {int, float, type(None), bool} else "any"


def _leaves(annotation: Any) -> Iterable[Any]:
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        for one in get_args(annotation):
            yield from _leaves(one)
    elif origin is Literal:
        yield from {type(one) for one in get_args(annotation)}
    elif hasattr(annotation, "__metadata__"):
        yield from _leaves(get_args(annotation)[0])
    else:
        yield annotation


def _tables(ledger: Ledger) -> Iterable[tuple[str, list[list[Any]]]]:
    document = ledger.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for section, model in SECTIONS.items():
        headings = columns_of(model)
        found = document.get(section, [])
        things = [found] if section == SITE else found
        if things:
            yield section, [headings, *([_cell(thing, heading) for heading in headings] for thing in things)]
    others = [[key, json.dumps(document[key], ensure_ascii=False)] for key in OTHERS if key in document]
    yield SETTINGS, [["key", "value"], *others]


def _cell(thing: Mapping[str, Any], heading: str) -> Any:
    if heading.startswith("name "):
        return thing.get("name", {}).get(heading.removeprefix("name "))
    value = thing.get(heading)
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > CELL_LENGTH_MAX:
        raise _wrong("workbook", f"{heading} of {thing.get('id')!r} is too long for a cell; use YAML")
    return text


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or key for key, field in model.model_fields.items()]


def _harmless(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe, which `_meant` takes away again."""
    return "'" + cell if isinstance(cell, str) and cell.startswith((*_FORMULA, "'")) else cell


def _meant(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA, "'")) else cell


def _read_workbook(data: bytes, file_name: str) -> dict[str, list[list[Any]]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if sum(one.file_size for one in packed.infolist()) > WORKBOOK_BYTES_MAX:
                raise _wrong(file_name, f"is larger than {WORKBOOK_BYTES_MAX} bytes when inflated")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False)
        return {sheet.title: _read_sheet(sheet, file_name) for sheet in book.worksheets}
    except (zipfile.BadZipFile, ParseError, LookupError, ValueError, TypeError, AttributeError, OSError) as error:
        raise _wrong(file_name, f"is not a workbook: {error}") from error


def _read_sheet(sheet: Any, file_name: str) -> list[list[Any]]:
    rows, problems = [], []
    if (sheet.max_column or 0) > COLUMNS_MAX:
        raise ConfigurationError([_at(file_name, (sheet.title, 0, 0), f"more than {COLUMNS_MAX} columns")])
    for number, row in enumerate(sheet.iter_rows(max_row=THINGS_MAX + 2, max_col=COLUMNS_MAX), 1):
        for column, cell in enumerate(row, 1):
            if cell.data_type == "f":
                problems.append(_at(file_name, (sheet.title, number, column), "is a formula; enter the value"))
        rows.append([cell.value for cell in row])
    if problems:
        raise ConfigurationError(problems[:PROBLEMS_MAX])
    while rows and all(cell is None for cell in rows[-1]):
        rows.pop()
    return rows


def _at(file_name: str, place: Place, message: str) -> Problem:
    sheet, row, column = place
    cell = f"{get_column_letter(column)}{row}" if column and row else f"row {row}" if row else "the sheet"
    return Problem(file_name, row, column, f"{sheet}, {cell}: {message}" if sheet else message)


def _wrong(file_name: str, message: str) -> ConfigurationError:
    return ConfigurationError([Problem(file_name, 0, 0, message)])
