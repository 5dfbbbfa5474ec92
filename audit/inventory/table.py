"""From text to records: which delimiter, which columns, and each record with the line on which it begins.

Python's strict CSV reader parses, because pandas loses or moves data in silence where a record is too short, too long
or badly quoted.
"""

import csv
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Self, TextIO

from audit.cells import unguard
from audit.inventory.source import Source, quoted
from audit.model import KEY_ID, RejectedRecord

KNOWN_COLUMNS: tuple[str, ...] = (
    "key_id", "account", "region", "project_id", "key_alias", "domain_id", "key_spec", "key_usage", "key_state",
    "default_key_flag", "origin", "keystore_id", "multi_region_key_type", "key_rotation_enabled", "rotation_interval",
    "last_rotation_time", "number_of_rotations",
)  # fmt: skip
"""The API's own field names that an inventory may use; every other column is carried through to the reports."""

# IGNORECASE never without ASCII: it would let the Kelvin sign pass, which lower() turns into a plain k.
ANY_KEY_ID = re.compile(KEY_ID.pattern, re.ASCII | re.IGNORECASE)

CHARACTERS, _LINES = 65_536, 1_000
"""The largest record: it bounds what a quote that is never closed can cost."""


class Table:
    """A CSV as a table of text. ``columns``, ``delimiter``: from its header. ``key``: the index of column key_id.

    ``blank_lines``: records of nothing but blanks, counted while ``records`` goes on. Raises InventoryFault where the
    first line is no header of an inventory.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.blank_lines = 0
        try:
            header = _Lines(source.text(), self._is_record).header
        except (OSError, UnicodeDecodeError) as error:
            raise source.fault(error) from error
        self.columns, self.delimiter = self._read_header(header)
        self.key = self.columns.index("key_id")

    def records(self) -> Iterator[tuple[int, list[str]] | RejectedRecord]:
        """Every record below the header: its line and its cells, or its rejection where these are in doubt."""
        self.blank_lines = 0
        width = len(self.columns)
        try:
            lines = _Lines(self.source.text(), self._is_record)
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
            while True:
                line = lines.begin()
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    yield RejectedRecord(line, "", bad_record(error), (lines.give_back().rstrip("\r\n"),))
                    continue
                if row is None:
                    break
                if not "".join(row).strip():
                    self.blank_lines += 1
                elif len(row) == width:
                    yield line, row
                else:
                    why = f"has {len(row)} field{'s' * (len(row) > 1)}, the header has {width}"
                    yield RejectedRecord(line, "", why, tuple(unguard(cell.strip()) for cell in row))
            self.source.check()
        except (OSError, UnicodeDecodeError) as error:
            raise self.source.fault(error) from error

    def _is_record(self, line: str) -> bool:
        """Whether a physical line is, on its own, a record of this inventory."""
        cells = line.split(self.delimiter)
        return len(cells) == len(self.columns) and bool(ANY_KEY_ID.fullmatch(cells[self.key].strip('" \t\r\n')))

    def _read_header(self, raw: str) -> tuple[tuple[str, ...], str]:
        """Columns and delimiter, which give a column key_id."""
        if not raw:
            self.source.fail(1, 1, "the file is empty; it needs a header with a column key_id, and a line for each key")
        columns, delimiter = read_header(self.source, raw, KNOWN_COLUMNS, {"key_id"})
        if "key_id" not in columns:
            seen = f"the columns are {quoted(', '.join(columns))}" if columns else "the first line is blank"
            self.source.fail(1, 1, f"no column key_id in the header: {seen}; name the column of key ids key_id")
        refuse_twice(self.source, raw, columns, delimiter)
        return columns, delimiter


def read_header(
    source: Source, raw: str, known: Collection[str], wanted: Collection[str]
) -> tuple[tuple[str, ...], str]:
    """Columns and delimiter: the one that gives the most of the ``wanted`` columns, and of these the most columns.

    A ``known`` name is in lower case, a nameless column is ``column_N``. Raises the source's fault where the first line
    cannot be a header.
    """
    if len(raw) > CHARACTERS:
        source.fail(1, 1, f"the first line is longer than {CHARACTERS:,} characters; it must be the header")
    readings = []
    for delimiter in ",;\t":
        try:
            cells = next(csv.reader([raw], delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        columns = tuple(_column(number, unguard(cell.strip()), known) for number, cell in enumerate(cells, 1))
        readings.append((len(set(wanted) & set(columns)), len(columns), columns, delimiter))
    if not readings:
        source.fail(1, 1, "the header cannot be read: a quote is not closed, or text follows a closing quote")
    _, _, columns, delimiter = max(readings, key=lambda reading: reading[:2])
    return columns, delimiter


def refuse_twice(source: Source, raw: str, columns: Sequence[str], delimiter: str) -> None:
    """Raise the source's fault where two columns of the header have one name."""
    earlier: dict[str, int] = {}
    for number, column in enumerate(columns, 1):
        if (first := earlier.setdefault(column.casefold(), number)) != number:
            begin = begin_of(raw, delimiter, number)
            source.fail(1, begin, f"column {quoted(column)} is there twice: {first} and {number}; keep one")


def begin_of(raw: str, delimiter: str, number: int) -> int:
    """The character of a line, from 1, at which its cell with this number, from 1, begins."""
    if number == 1:
        return 1
    ends = [end for end, character in enumerate(raw, 1) if character == delimiter]
    return ends[bisect_left(ends, number, key=lambda end: _width(raw[:end], delimiter))] + 1


class _Lines:
    """Physical lines below the header, for the CSV reader; those of the present record are kept, to be read again.

    The reader asks for a second line only within quotes. Where that line ``is_record`` itself, or the record grows too
    large, a quote is open that should not be: csv.Error.
    """

    def __init__(self, text: TextIO, is_record: Callable[[str], bool]) -> None:
        self._text = text
        self._is_record = is_record
        self.header = self._read().removeprefix("\ufeff")
        self._taken: list[str] = []
        self._again: list[str] = []
        self._line = 2
        self._size = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._read()
        if not line:
            raise StopIteration
        self._taken.append(line)
        self._size += len(line)
        if self._size > CHARACTERS or len(self._taken) > _LINES:
            raise csv.Error(f"more than {CHARACTERS:,} characters or {_LINES:,} lines; is a quote never closed?")
        if len(self._taken) > 1 and self._is_record(line):
            raise csv.Error("a quote is not closed before the next record")
        return line

    def begin(self) -> int:
        """Begin a record: the number of the physical line that comes next."""
        self._line += len(self._taken)
        self._taken, self._size = [], 0
        return self._line

    def give_back(self) -> str:
        """The first line of the record; the others will come again."""
        self._again.extend(reversed(self._taken[1:]))
        del self._taken[1:]
        return self._taken[0]

    def _read(self) -> str:
        line = rest = self._text.readline(CHARACTERS + 1)
        while len(rest) > CHARACTERS and not rest.endswith("\n"):  # no record: its rest is not needed
            rest = self._text.readline(CHARACTERS + 1)
        return line


def _column(number: int, name: str, known: Collection[str]) -> str:
    return name.lower() if name.lower() in known else name or f"column_{number}"


def _width(text: str, delimiter: str) -> int:
    return len(next(csv.reader([text], delimiter=delimiter)))


def bad_record(error: csv.Error) -> str:
    """Why a record cannot be told apart; the CSV reader's own words are for programmers."""
    text = str(error)
    if text.startswith("unexpected end"):
        return "a quote is never closed"
    if text.startswith("new-line"):
        return "a carriage return stands in the middle of the line"
    return "text follows a closing quote; double a quote that belongs to the text" if "expected after" in text else text
