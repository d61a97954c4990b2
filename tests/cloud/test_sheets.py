"""The ledger as a workbook and as CSV: what goes out comes in again, and mistakes have their cell."""

import csv
import io
import zipfile
from pathlib import Path

import openpyxl
import pytest
import xlsxwriter
from typer.testing import CliRunner

from cloud.cli import app
from cloud.facts.ledger import Ledger, parse_ledger
from cloud.sheets import SECTIONS, columns_of, csv_of, text_of_csv, text_of_workbook, workbook_of
from devices.errors import ConfigurationError
from tests.cloud.told import ledger_text

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "ledger.yaml"
NAME = "name: {en: N, zh-CN: N}"
FORMULA = '=HYPERLINK("http://evil")'
LEDGER = ledger_text(
    f"calendars: [{{id: office, {NAME}, hours: ['08:00-18:00'], week: {{sun: []}}, holidays: [2026-05-01]}}]",
    "class_calendars: {pump: office}",
    "targets: {equipment.intact_rate: 0.98}",
    f"redundancy: [{{id: pair, {NAME}, grace_h: property}}]",
    f"equipment: [{{id: p1, name: {{en: '{FORMULA}', zh-CN: '-1'}}, code: '007', class: pump, criticality: A, "
    "device: d1, redundancy: pair, person: '+86', commissioned: 2026-01-01, maintenance_days: 30}]",
)


def cells(book: bytes, sheet: str) -> list[list[object]]:
    return [list(row) for row in openpyxl.load_workbook(io.BytesIO(book))[sheet].iter_rows(values_only=True)]


def workbook(**sheets: list[list[object]]) -> bytes:
    data = io.BytesIO()
    with xlsxwriter.Workbook(data, {"in_memory": True}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return data.getvalue()


SITE_ROWS: list[list[object]] = [["id", "name en", "name zh-CN", "zone"], ["s", "S", "S", "UTC"]]


@pytest.mark.parametrize("text", [LEDGER, EXAMPLE.read_text(encoding="utf-8")], ids=["small", "example"])
def test_a_ledger_that_goes_through_a_workbook_is_the_same(text: str) -> None:
    ledger = parse_ledger(text, "ledger.yaml")

    assert parse_ledger(text_of_workbook(workbook_of(ledger), "l.xlsx"), "l.xlsx") == ledger


@pytest.mark.parametrize("section", ["equipment", "calendars", "settings", "site"])
def test_a_section_that_goes_through_csv_is_the_same(section: str) -> None:
    ledger = parse_ledger(LEDGER, "ledger.yaml")
    again = text_of_csv("\ufeff" + csv_of(ledger, section), "x.csv", section, ledger)

    assert parse_ledger(again, "x.csv") == ledger


def test_nothing_that_is_written_is_a_formula() -> None:
    ledger = parse_ledger(LEDGER, "ledger.yaml")
    book = openpyxl.load_workbook(io.BytesIO(workbook_of(ledger)))
    kinds = {cell.data_type for sheet in book for row in sheet.iter_rows() for cell in row}
    written = [cell for row in csv.reader(io.StringIO(csv_of(ledger, "equipment"))) for cell in row]

    assert "f" not in kinds
    assert [cell for cell in written if cell.startswith(("=", "+", "-", "@"))] == []
    assert "'" + FORMULA in written


def test_codes_keep_their_zeros() -> None:
    rows = cells(workbook_of(parse_ledger(LEDGER, "ledger.yaml")), "equipment")

    assert rows[1][rows[0].index("code")] == "007"


def test_every_section_of_the_ledger_has_a_sheet() -> None:
    lists = {name for name, field in Ledger.model_fields.items() if "tuple" in str(field.annotation)}

    assert lists < set(SECTIONS)
    assert columns_of(SECTIONS["equipment"])[:5] == ["id", "name en", "name zh-CN", "code", "class"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["id", "colour"], ["p1", "red"]], "equipment, B1: there is no column 'colour'"),
        ([["id", "name en", "name zh-CN", "code", "class", "criticality", "device"],
          ["p1", "N", "N", "c", "pump", "A", "d1"], ["p2", "N", "N", "c", "pump", "D", "d2"]],
         "equipment, F3: criticality: 'D'"),
        ([["id", "name en", "name zh-CN", "code", "class", "criticality", "device"],
          ["p1", "N", "N", "c", "pump", "A", "d1"], [], ["p1", "N", "N", "c", "pump", "A", "d2"]],
         "equipment, A4: id: 'p1' stands here twice"),
        ([["id", "name en", "name zh-CN", "code", "class", "criticality", "device"],
          ["p1", "N", "N", "c", "pump", "A", "=1+1"]], "equipment, G2: is a formula"),
        ([["id", "name en", "name zh-CN", "code", "class", "criticality", "device", "commissioned"],
          ["p1", "N", "N", "c", "pump", "A", "d1", "yesterday"]], "equipment, H2: commissioned:"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_sheet_row_and_column(rows: list[list[object]], message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        text_of_workbook(workbook(site=SITE_ROWS, equipment=rows), "l.xlsx")

    assert message in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"id,name"])
def test_what_is_no_workbook_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match="not a workbook"):
        text_of_workbook(data, "l.xlsx")


def test_an_unknown_sheet_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no section 'extra'"):
        text_of_workbook(workbook(site=SITE_ROWS, extra=[]), "l.xlsx")


def test_a_cell_far_away_is_refused_and_not_filled_up_to() -> None:
    data = io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        book.add_worksheet("equipment").write_string(49_999, 16_383, "far")  # XFD50000
    with pytest.raises(ConfigurationError, match="more than 200 columns"):
        text_of_workbook(data.getvalue(), "l")


@pytest.mark.parametrize("cell", ["x" * 200_000, '"' + "[" * 100_000 + '"'])
def test_a_csv_that_cannot_be_read_is_refused(cell: str) -> None:
    ledger = parse_ledger(LEDGER, "l")
    with pytest.raises(ConfigurationError):
        text_of_csv(f"id,positions\np1,{cell}\n", "equipment.csv", "equipment", ledger)


def test_a_workbook_with_broken_xml_is_refused() -> None:
    data, whole = io.BytesIO(), io.BytesIO(workbook(equipment=[["id"]]))
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(data, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"<broken" if name.endswith("workbook.xml") else old.read(name))
    with pytest.raises(ConfigurationError, match="not a workbook"):
        text_of_workbook(data.getvalue(), "l")


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_a_ledger_is_imported_changed_in_a_sheet_and_told_with_its_history(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "cloud"))
    first, book, sheet = tmp_path / "ledger.yaml", tmp_path / "ledger.xlsx", tmp_path / "equipment.csv"
    first.write_text(LEDGER, encoding="utf-8")
    run("ledger", "import", str(first), *data)
    run("ledger", "export", "site-1", str(book), *data)
    run("ledger", "export", "site-1", str(sheet), *data)
    sheet.write_text(sheet.read_text("utf-8-sig").replace("007", "008"), "utf-8")
    run("ledger", "import", str(sheet), "--site", "site-1", "--valid-from", "2026-05-01", "--reason", "typo", *data)
    versions = run("ledger", "versions", "site-1", *data)
    silent = run("ledger", "not-monitored", "site-1", *data)

    assert parse_ledger(text_of_workbook(book.read_bytes(), "l"), "l") == parse_ledger(LEDGER, "l")
    assert "valid from 2026-05-01T00:00:00.000Z\tcli\ttypo" in versions
    assert silent == "equipment\tp1\td1\tnever-heard\n"


def test_a_window_is_entered_listed_and_withdrawn_from_the_command_line(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "cloud"))
    ledger = tmp_path / "ledger.yaml"
    ledger.write_text(LEDGER, encoding="utf-8")
    run("ledger", "import", str(ledger), *data)
    who = ("--actor", "li", "--reason", "bearings")
    times = ("--from", "2026-05-01T08:00:00Z", "--to", "2026-05-01T10:00:00Z")
    planned = ("--document", '{"equipment": ["p1"], "work": "w", "approved_by": "wang"}')
    run("input", "enter", "site-1", "maintenance-window", "w-1", *planned, *times, *who, *data)
    run("input", "withdraw", "site-1", "maintenance-window", "w-1", *who, *data)
    listed = run("input", "list", "site-1", *data).splitlines()

    assert [line.split("\t")[2] for line in listed] == ["1", "2"]
    assert listed[0].startswith("maintenance-window\tw-1\t1\t2026-05-01T08:00:00.000Z/2026-05-01T10:00:00.000Z\t")
    assert listed[1].endswith("withdrawn")
