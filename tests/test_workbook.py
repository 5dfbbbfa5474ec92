"""report.xlsx: the same rows as report.csv, every cell text, nothing that runs, and the same bytes again."""

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook
from openpyxl.utils.escape import unescape

from audit.errors import ReportFault
from audit.outcome import Outcome
from audit.replay import Replay
from audit.report import view, workbook
from audit.report.rows import COLUMNS
from audit.report.shapes import View
from audit.report.workbook import MOST_CHARACTERS
from tests.command import FAST, Operator, begin, results, waiting
from tests.simulated import key
from tests.test_compare import Compared
from tests.test_report import NOW, ON, WAITING, Rendered, Story, full, planned

XLSX = ("csv", "json", "xlsx")
EXCEPTIONS = {"ineligible", "blocked", "waived"}
FORMULA = '=HYPERLINK("http://evil.example")'
begun = begin()


def sheet(directory: Path, name: str) -> list[dict[str, str]]:
    """The rows of a sheet, as pandas reads them; every cell as text, what the file format escapes taken back."""
    frame = pd.read_excel(directory / "report.xlsx", sheet_name=name, dtype=str, keep_default_na=False)
    return [{column: unescape(cell) for column, cell in row.items()} for row in frame.to_dict("records")]


@contextmanager
def opened(run: Path) -> Iterator[View]:
    """The view of one run."""
    with Replay(run) as replay:
        yield view.build([replay], report_id=replay.about["id"], version="0.1.0", now=NOW)


def summary(directory: Path) -> dict[str, list[Any]]:
    """The lines of the summary by their first cell."""
    book = load_workbook(directory / "report.xlsx")
    return {str(first): rest for first, *rest in book["Summary"].iter_rows(values_only=True)}


@pytest.fixture
def whole(tmp_path: Path) -> Rendered:
    return Rendered(tmp_path / "out", full(tmp_path).write(), formats=XLSX)


def test_the_keys_are_those_of_report_csv(whole: Rendered) -> None:
    """All columns, all rows, cell by cell."""
    assert sheet(whole.directory, "Keys") == whole.csv()
    assert whole.written[-2:] == [whole.directory / "failed.csv", whole.directory / "report.xlsx"]


def test_the_sheets_part_the_rows(whole: Rendered) -> None:
    """Changes has the rows with a step, Exceptions those that are set aside, each with its reason."""
    rows = whole.csv()
    assert sheet(whole.directory, "Changes") == [row for row in rows if row["action"]]
    aside = [row for row in rows if row["outcome"] in EXCEPTIONS]
    told = sheet(whole.directory, "Exceptions")
    assert [row["key_id"] for row in told] == [row["key_id"] for row in aside]
    assert list(told[0]) == [
        "line", "account", "region", "project_id", "key_id", "key_alias", "outcome", "rules", "reason",
        "rotation_before", "interval_before", "owner", "inventory_line",
    ]  # fmt: skip
    assert all(row[name] == other[name] for row, other in zip(told, aside, strict=True) for name in row)


def test_the_summary_tells_the_whole(whole: Rendered) -> None:
    """Verdict, run, counts, completeness, cost and controls stand on the first sheet; a count is a number."""
    book = load_workbook(whole.directory / "report.xlsx")
    assert book.sheetnames == ["Summary", "Keys", "Changes", "Exceptions"]
    told = summary(whole.directory)
    assert told["Verdict"][0] == whole.view.verdict
    assert told["Run id"][0] == whole.view.runs[0].id
    assert {outcome: told[outcome.words][0] for outcome in Outcome} == {o: whole.view.counts[o] for o in Outcome}
    assert told["All"][0] == 42
    cells = {cell for row in book["Summary"].iter_rows(values_only=True) for cell in row}
    assert {*whole.view.cost.words, whole.view.completeness.words, "Huawei Cloud Config: kms-rotation-enabled"} <= cells
    assert "Controls: supports evidence for" in told


def test_heads_stay_and_rows_can_be_filtered(whole: Rendered) -> None:
    """Each table has a frozen head, a filter over all its rows and columns, and no column of no width."""
    book = load_workbook(whole.directory / "report.xlsx")
    for name in ("Keys", "Changes", "Exceptions"):
        assert book[name].freeze_panes == "A2"
        assert book[name].auto_filter.ref == book[name].dimensions
        assert all(8 <= dimension.width <= 61 for dimension in book[name].column_dimensions.values())


def test_only_lines_and_counts_are_numbers(whole: Rendered) -> None:
    """Every other cell is text, whatever it looks like."""
    book = load_workbook(whole.directory / "report.xlsx")
    for name in ("Keys", "Changes", "Exceptions"):
        kinds = {(cell.column, cell.data_type) for row in book[name].iter_rows(min_row=2) for cell in row if cell.value}
        assert {kind for column, kind in kinds if column == 1} == {"n"}
        assert {kind for column, kind in kinds if column > 1} == {"s"}


HOSTILE = (
    FORMULA, "+1+1", "-1+1", "@SUM(A1)", "030", "NA", "null", "1e5", "-2", "http://evil.example/x", "internal:Keys!A1",
    "{=1+1}", "'=1", " blanks ", "two\nlines", "a\tb", "#N/A", "TRUE", "_x0041_", "<t>&amp;</t>", "宇宙 🔑", "x" * 300,
)  # fmt: skip


def with_owners(directory: Path, *owners: str, **more: Any) -> Rendered:
    """A plan of keys whose owners are these."""
    story = Story(directory)
    for number, owner in enumerate(owners):
        story.key(number, WAITING, owner=owner, key_alias=owner)
    return Rendered(directory / "out", story.write(approved=False), formats=XLSX, **more)


def test_hostile_cells_stay_text(tmp_path: Path) -> None:
    """Formulas, links, numbers and errors are the text that they were; what would run carries the quote of text."""
    found = with_owners(tmp_path, *HOSTILE)
    assert [row["owner"] for row in sheet(found.directory, "Keys")] == list(HOSTILE)
    book = load_workbook(found.directory / "report.xlsx")
    at = [cell.value for cell in book["Keys"][1]].index("owner")
    quoted = [row[at].value for row in book["Keys"].iter_rows(min_row=2) if row[at].quotePrefix]
    assert quoted == [FORMULA, "+1+1", "-1+1", "@SUM(A1)", "'=1"]
    with zipfile.ZipFile(found.directory / "report.xlsx") as file:
        for name in file.namelist():
            assert not re.search(rb"<f>|<f |<hyperlink|TargetMode", file.read(name)), name


def test_what_xml_cannot_hold_is_marked(tmp_path: Path) -> None:
    """Control characters are replaced where all can see it; a line break stays one; markup of the library's is none."""
    found = with_owners(tmp_path, "a\x00b\x1b[31mc\x0b\rd\ufffee", "one\r\ntwo", "<r><t>x</t></r>", "<r></c></r>")
    assert [row["owner"] for row in sheet(found.directory, "Keys")] == [
        "a\ufffdb\ufffd[31mc\ufffd\ufffdd\ufffde", "one\ntwo", " <r><t>x</t></r>", " <r></c></r>",
    ]  # fmt: skip


def test_a_cell_that_is_too_long_is_cut_and_says_so(tmp_path: Path) -> None:
    """What Excel cannot hold ends with how long it was; a character of two units is never halved."""
    whole, long, wide = "x" * MOST_CHARACTERS, "y" * (MOST_CHARACTERS + 1), "🔑" * 20_000
    found = with_owners(tmp_path, whole, long, wide)
    told = [row["owner"] for row in sheet(found.directory, "Keys")]
    assert told[0] == whole
    assert told[1].endswith("y [cut, 32,768 characters]")
    assert told[2].endswith("🔑 [cut, 40,000 characters]")
    assert all(len(text.encode("utf-16-le")) // 2 in {MOST_CHARACTERS, MOST_CHARACTERS - 1} for text in told)


@settings(max_examples=30)  # a workbook for each
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, owners: list[str]) -> None:
    """Whatever stands in a cell stands in the workbook, but for what XML cannot hold."""
    found = with_owners(tmp_path_factory.mktemp("any"), *owners)
    told = [row["owner"] for row in sheet(found.directory, "Keys")]
    marked = [re.sub("[\x00-\x08\x0b-\x1f\ufffe\uffff]", "\ufffd", owner.replace("\r\n", "\n")) for owner in owners]
    assert told == marked


def test_the_same_view_gives_the_same_bytes(tmp_path: Path) -> None:
    """Written twice, a file is the same; the date in it is that of the run's last event, not of a clock."""
    with opened(full(tmp_path).write()) as told:
        first, second = (workbook.put(told, tmp_path / name) for name in ("first.xlsx", "second.xlsx"))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as file:
        assert set(re.findall(rb"(20[0-9-]+T[0-9:]+Z)<", file.read("docProps/core.xml"))) == {b"2026-11-24T03:34:00Z"}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["first.xlsx", "second.xlsx"]


def test_its_words_are_in_the_language_that_was_asked_for(operator: Operator) -> None:
    """Names of sheets and the summary are translated; columns and rows are data, the same in every language."""
    inventory = operator.inventory([key(n) for n in range(3)])
    ours, theirs = (
        operator.run("plan", inventory, "--simulate", "--format", "xlsx", "--lang", lang, *FAST).directory
        for lang in ("zh", "en")
    )
    names = load_workbook(ours / "report.xlsx").sheetnames
    assert len(names) == 4
    assert not re.search("[A-Za-z]", "".join(names))
    rows = [row | {"sequence": ""} for row in sheet(theirs, "Keys")]
    assert [row | {"sequence": ""} for row in sheet(ours, names[1])] == rows


def test_a_comparison_is_a_sheet(tmp_path: Path) -> None:
    """Its columns and rows are those of comparison.csv, and the summary has its sentence."""
    before, after = Story(tmp_path, "20261101T000000Z-00000a"), Story(tmp_path, "20261102T000000Z-00000b")
    before.key(1, WAITING)
    after.key(1, **ON)
    after.key(2, **ON)
    found = Compared(tmp_path / "out", before.write(approved=False), after.write(), formats=XLSX)
    assert sheet(found.directory, "Comparison") == found.csv("comparison.csv")
    book = load_workbook(found.directory / "report.xlsx")
    assert book.sheetnames[-1] == "Comparison"
    assert found.found.words in {cell.value for row in book["Summary"] for cell in row}


def test_a_sheet_that_is_full_says_what_is_left(tmp_path: Path) -> None:
    """Rows beyond what Excel can hold are counted on the summary, sheet by sheet, and the others are there."""
    ledger = full(tmp_path).write()
    found = Rendered(tmp_path / "out", ledger, formats=["csv"])
    with opened(ledger) as told:
        workbook.put(told, found.directory / "report.xlsx", most=13)
    rows = found.csv()
    assert sheet(found.directory, "Keys") == rows[:13]
    lines = summary(found.directory)
    assert lines["Keys"][0] == "29 rows do not fit; all stand in the CSV"
    assert len(sheet(found.directory, "Exceptions")) == sum(row["outcome"] in EXCEPTIONS for row in rows) == 12
    assert "Exceptions" not in lines
    assert "Not in this workbook" in lines


def test_without_rows_there_are_heads(tmp_path: Path) -> None:
    """A run in which nothing changed has a sheet of changes all the same, empty under its head."""
    story = Story(tmp_path)
    story.key(1, **ON)
    found = Rendered(tmp_path / "out", story.write(), formats=["xlsx"])
    book = load_workbook(found.directory / "report.xlsx")
    assert [cell.value for cell in book["Changes"][1]][: len(COLUMNS)] == list(COLUMNS)
    assert book["Changes"].max_row == 1
    assert {path.name for path in found.directory.iterdir()} == {"report.xlsx"}


def test_merged_runs_say_which_rows_are_not_counted(tmp_path: Path) -> None:
    """All rows with their run, as in report.csv; those that a newer run supersedes are numbered on the summary."""
    older = Story(tmp_path, "20261101T000000Z-00000a")
    older.key(1, WAITING)
    late = planned(tmp_path)
    early = older.write(approved=False, clock="2026-11-01T00:00:00Z")
    found = Rendered(tmp_path / "out", late, early, formats=XLSX)
    assert sheet(found.directory, "Keys") == found.csv()
    assert [row["run_id"] for row in sheet(found.directory, "Changes")].count("20261101T000000Z-00000a") == 1
    (superseded,) = [rest[0] for first, rest in summary(found.directory).items() if "newer run" in first]
    assert superseded == found.view.older.total == 1


def test_an_older_workbook_does_not_stay(tmp_path: Path) -> None:
    """One that is not asked for again would tell of an earlier state."""
    run = planned(tmp_path)
    assert (Rendered(tmp_path / "out", run, formats=["xlsx"]).directory / "report.xlsx").exists()
    assert not (Rendered(tmp_path / "out", run, formats=["csv"]).directory / "report.xlsx").exists()


def test_a_workbook_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    """Where there is no place for it, a ReportFault says so and nothing is left."""
    with opened(planned(tmp_path)) as told, pytest.raises(ReportFault, match=r"cannot write .*report\.xlsx"):
        workbook.put(told, tmp_path / "nowhere" / "report.xlsx")


# The command --------------------------------------------------------------------------------------------------------


@waiting
def test_a_workbook_is_written_where_asked_for(operator: Operator) -> None:
    """Not by default; of a run and of a report, alone or beside the others, and named in the summary."""
    inventory = operator.inventory([key(n) for n in range(3)])
    ended = operator.run("plan", inventory, "--simulate", *FAST)
    assert not (ended.directory / "report.xlsx").exists()
    again = operator.run("report", ended.directory, "--format", "csv,json,xlsx")
    assert "report.xlsx" in again.stderr
    assert [row["outcome"] for row in sheet(again.directory, "Changes")] == ["planned"] * 3
    assert summary(again.directory)["Verdict"][0].startswith("SIMULATED: ")
    alone = operator.run("remediate", inventory, "--simulate", "--yes", *FAST, KMS_ROTATION_FORMAT="xlsx")
    assert {path.suffix for path in alone.directory.iterdir()} == {".xlsx", ".sqlite3", ".jsonl", ""}
    assert results(again.directory)["counts"]["planned"] == 3


@waiting
def test_a_full_disk_leaves_no_half_workbook(operator: Operator) -> None:
    """A file that cannot grow ends with 1 and one message; neither a draft nor a scratch folder stays."""
    inventory = operator.inventory([key(n) for n in range(15_000)])
    made = operator.run("check", inventory, "--format", "json")
    ended = operator.run("report", made.directory, "--format", "xlsx", "--output-dir", "out", largest=400_000)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "cannot write" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((operator.home / "out").iterdir())
