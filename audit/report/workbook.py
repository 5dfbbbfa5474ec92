"""report.xlsx: the report for those who work in a spreadsheet. xlsxwriter lives here.

Every cell is text, and stays what it is: no formula, no link, no number but a line and a count. Rows are streamed, so
that the memory does not grow with them; the same view gives the same bytes.
"""

import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from audit.cells import guard
from audit.outcome import Outcome
from audit.report.language import Language
from audit.report.rows import COLUMNS
from audit.report.shapes import Run, View
from audit.rundir import replacing

MOST_ROWS: Final = 1_048_575
"""Rows below the head that a sheet can hold."""
MOST_CHARACTERS: Final = 32_767
"""Of a cell, in UTF-16 code units, as Excel counts."""

_EXCEPTIONS = frozenset({Outcome.INELIGIBLE, Outcome.BLOCKED, Outcome.WAIVED})
_OF_REQUESTS = {"action", "rotation_after", "interval_after", *COLUMNS[COLUMNS.index("attempts") :], "sequence"}
_WIDTHS: Mapping[str, int] = {
    "line": 8, "region": 16, "project_id": 34, "key_id": 38, "key_alias": 28, "outcome": 15, "rules": 10, "reason": 60,
    "sequence": 38, "error_msg": 40, "request_id": 36, "requested_at": 22, "verified_at": 22, "reason_before": 60,
    "reason_after": 60, "outcome_before": 15, "outcome_after": 15, "run_id": 28,
}  # fmt: skip
_WIDTH = 14
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


def put(view: View, path: Path, most: int = MOST_ROWS) -> Path:
    """Write the workbook whole or not at all. ``most``: rows of a sheet. Raises ReportFault."""
    import xlsxwriter  # noqa: PLC0415  # only who asks for a workbook waits for it
    from xlsxwriter.exceptions import FileCreateError  # noqa: PLC0415

    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    # Beside the report: what a temporary folder in memory held would be no constant memory.
    with replacing(path) as file, tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
        book = xlsxwriter.Workbook(file, {**options, "strings_to_numbers": False, "tmpdir": scratch})
        book.use_zip64()
        book.set_properties({"title": view.id, "created": _created(view.runs)})
        _Sheets(book, view, most).fill()
        try:
            book.close()
        except FileCreateError as error:  # holds the OSError
            raise error.args[0] from None
    return path


def _created(runs: Iterable[Run]) -> datetime:
    """The last event of the runs: a clock would make every file another one."""
    ended = max(run.ended for run in runs) or "2000-01-01T00:00:00Z"
    return datetime.strptime(ended, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).replace(tzinfo=None)


class _Sheets:
    """The sheets of one view. ``most``: rows of each."""

    def __init__(self, book: Any, view: View, most: int) -> None:  # noqa: ANN401  # xlsxwriter has no types
        self._view, self._most = view, most
        self._quoted = book.add_format({"quote_prefix": True})
        self._bold = book.add_format({"bold": True})
        self._head = book.add_format({"bold": True, "bottom": 1, "bg_color": "#E8ECF0"})
        self._book = book

    def fill(self) -> None:
        """Write everything; the summary comes last, for it says what did not fit, and stands first."""
        view, say = self._view, self._view.say
        summary = self._book.add_worksheet(_named(say("Summary")))
        columns = view.table.columns
        keys = self._table(say("Keys"), columns)
        changes = self._table(say("Changes"), columns)
        exceptions = self._table(say("Exceptions"), [name for name in columns if name not in _OF_REQUESTS])
        for row in view.table.rows:
            keys.add(row)
            if row["action"]:
                changes.add(row)
            if row["outcome"] in _EXCEPTIONS:
                exceptions.add(row)
        tables = [keys, changes, exceptions]
        if view.comparison:
            tables.append(self._table(say("Comparison"), view.comparison.table.columns))
            for row in view.comparison.table.rows:
                tables[-1].add(row)
        for table in tables:
            table.end()
        self._summary(summary, tables)

    def _table(self, name: str, columns: Collection[str]) -> "_Table":
        return _Table(self._book.add_worksheet(_named(name)), columns, self._most, self._head, self._quoted)

    def _summary(self, sheet: Any, tables: Iterable["_Table"]) -> None:  # noqa: ANN401  # as above
        sheet.set_column(0, 0, 34)
        sheet.set_column(1, 3, 48)
        sheet.freeze_panes(1, 0)
        for row, cells in enumerate(_lines(self._view, tables)):
            for column, cell in enumerate(cells):
                heading = row == 0 or len(cells) == 1
                _write(sheet, row, column, cell, self._quoted, self._bold if heading else None)


_Line = tuple[object, ...]


def _lines(view: View, tables: Iterable["_Table"]) -> Iterator[_Line]:
    """The summary, line by line; a line of one cell is a heading."""
    say = view.say
    yield say("KMS key rotation report"), view.id
    yield say("Verdict"), view.verdict
    yield say("In numbers"), view.detail
    yield say("Rendered"), view.rendered, say("by version %(version)s", version=view.version)
    for run in view.runs:
        yield (say("Run"),)
        yield from _run(run, say)
    yield from _records(view, say)
    yield from _facets(view, say)
    cut = [table for table in tables if table.left]
    if cut:
        yield (say("Not in this workbook"),)
    for table in cut:
        yield table.name, say("%(n)s rows do not fit; all stand in the CSV", n=say.number(table.left))


def _records(view: View, say: Language) -> Iterator[_Line]:
    yield (say("Records by outcome"),)
    for line in view.outcomes:
        yield line.label, line.count, line.meaning
    yield say("All"), sum(view.counts.values())
    if view.older.total:
        newer = say("A newer run knows these better: their rows stand in the sheets, and are not counted")
        yield newer, view.older.total
    yield (say("Completeness"),)
    yield "", view.completeness.words


def _facets(view: View, say: Language) -> Iterator[_Line]:
    yield (say("Cost"),)
    for words in view.cost.words:
        yield "", words
    if view.waivers:
        yield (say("Waivers"),)
    for waiver in view.waivers:
        terms = (waiver.rule, waiver.reason, waiver.approver, waiver.ticket, waiver.expires)
        yield waiver.keys, waiver.note, "; ".join(filter(None, terms))
    yield (say("Controls: supports evidence for"),)
    for control in view.controls:
        yield control.control, f"{control.framework}: {control.id}", control.basis
    if view.comparison:
        yield (say("Comparison"),)
        yield "", view.comparison.words
        for change in view.comparison.waivers:
            yield change.keys, change.change, change.what


def _run(run: Run, say: Language) -> Iterator[_Line]:
    about = run.about
    yield say("Run id"), run.id
    yield say("Command"), about["command"]
    yield say("Operator"), about["operator"]
    yield say("Account"), about["account"]
    yield say("Looked at"), run.looked_at
    yield say("Places"), run.places
    yield say("Policy"), run.policy
    yield say("Inventory"), run.input["name"], run.input["sha256"]
    yield say("First and last event"), run.started, run.ended
    yield say("Ended early"), say.recorded(run.ended_early)
    yield say("Exit code"), run.exit_code
    yield say("Digest of the plan"), run.digest
    yield say("SHA-256 of the last event"), run.head
    yield say("Ledger"), run.proof


class _Table:
    """A sheet with a head, to which rows are added one by one. ``left``: rows that did not fit."""

    def __init__(self, sheet: Any, columns: Collection[str], most: int, head: Any, quoted: Any) -> None:  # noqa: ANN401
        self._sheet, self._columns, self._most, self._quoted = sheet, tuple(columns), most, quoted
        self._rows, self.left, self.name = 0, 0, sheet.get_name()
        for at, name in enumerate(self._columns):
            sheet.set_column(at, at, _WIDTHS.get(name, _WIDTH))
            _write(sheet, 0, at, name, quoted, head)
        sheet.freeze_panes(1, 0)

    def add(self, row: Mapping[str, object]) -> None:
        """Write a row, or count it where the sheet is full."""
        if self._rows == self._most:
            self.left += 1
            return
        self._rows += 1
        for at, name in enumerate(self._columns):
            _write(self._sheet, self._rows, at, row[name], self._quoted)

    def end(self) -> None:
        """Let the reader filter what is there."""
        self._sheet.autofilter(0, 0, self._rows, len(self._columns) - 1)


def _write(sheet: Any, row: int, column: int, value: object, quoted: Any, form: Any = None) -> None:  # noqa: ANN401
    if isinstance(value, int):
        sheet.write_number(row, column, value, form)
    elif value:
        text = _text(str(value))
        sheet.write_string(row, column, text, form or (quoted if guard(text) != text else None))


def _text(text: str) -> str:
    """A text as a cell can hold it: what XML cannot hold is marked, and so is what is cut off."""
    text = _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
    if text.startswith("<r>") and text.endswith("</r>"):
        text = f" {text}"  # xlsxwriter takes it for markup of its own, and writes it as it is
    if len(text) > MOST_CHARACTERS // 2 and (size := _units(text)) > MOST_CHARACTERS:
        mark = f" [cut, {size:,} characters]"
        kept = text.encode("utf-16-le")[: 2 * (MOST_CHARACTERS - len(mark))]
        text = kept.decode("utf-16-le", "ignore") + mark
    return text


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _named(name: str) -> str:
    """A name that a sheet may have: 31 characters, and none that Excel keeps for itself."""
    return re.sub(r"[\[\]:*?/\\]", "_", name)[:31]
