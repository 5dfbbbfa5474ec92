"""The file of waivers: a CSV that is taken as a whole or refused as a whole, before anything is sent.

A waiver that was misread would leave a key unwritten, or write to one that was to be left alone: so nothing is guessed,
and no record is passed over, as in an inventory. A cell holds no line break, so that a record is one physical line.
"""

import csv
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import BinaryIO, NamedTuple

from audit.cells import unguard
from audit.errors import WaiverFault
from audit.inventory.source import Source, quoted
from audit.inventory.table import ANY_KEY_ID, CHARACTERS, bad_record, begin_of, read_header, refuse_twice
from audit.rules import RULES, Kind
from audit.waiver import COLUMNS, NAMING, Waiver, Waivers, is_day

_COMPULSORY = {
    "reason": "say why these keys are left as they are",
    "approver": "name who approved it",
    "expires": "write the last day on which it counts, as in 2026-12-31",
}
_RULES = {rule.id: rule for rule in RULES}
_WAIVABLE = tuple(rule.id for rule in RULES if rule.kind is not Kind.NEVER)
_PLAIN = re.compile("[^\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")


class _Fault(NamedTuple):
    """What is wrong with a line, and at which of its characters, from 1."""

    line: int
    column: int
    what: str


def read_waivers(
    source: str,
    day: str,
    *,
    clean: Callable[[str], str],
    warn: Callable[[str], None],
    stdin: BinaryIO | None = None,
) -> Waivers:
    """The waivers of a path, or of standard input for ``-``, for a run that is made on ``day`` (``2026-11-24``, UTC).

    ``clean`` takes secrets out of every cell; ``warn`` is told what the operator should know of the file. Raises
    WaiverFault where a single line cannot be used; the message names the first, and how many more there are.
    """
    opened = Source.open(source, stdin, WaiverFault)
    try:
        entries, faults = _read(opened, clean)
        if faults:
            first, others = faults[0], len(faults) - 1
            more = f"; {others} more line{' is' if others == 1 else 's are'} at fault" if others else ""
            opened.fail(first.line, first.column, first.what + more)
    finally:
        opened.close()
    for warning in opened.warnings:
        warn(warning)
    return Waivers(entries, day, opened.name, opened.sha256)


def _read(source: Source, clean: Callable[[str], str]) -> tuple[list[Waiver], list[_Fault]]:
    lines = _lines(source)
    _, raw = next(lines, (1, ""))
    columns, delimiter = _header(source, raw)
    entries: list[Waiver] = []
    faults: list[_Fault] = []
    earlier: dict[tuple[str, ...], int] = {}
    for line, raw in lines:
        found = _record(line, raw, columns, delimiter, clean)
        if isinstance(found, Waiver) and (first := earlier.setdefault(found.cells, line)) != line:
            found = _Fault(line, 1, f"states the same as line {first}; keep one of them")
        if isinstance(found, Waiver):
            entries.append(found)
        elif found is not None:
            faults.append(found)
    return entries, faults


def _lines(source: Source) -> Iterator[tuple[int, str]]:
    """Every physical line, with its number from 1."""
    try:
        text = source.text()
        for number in itertools.count(1):
            raw = text.readline(CHARACTERS + 1)
            if not raw:
                break
            if len(raw) > CHARACTERS:
                source.fail(number, 1, f"the line is longer than {CHARACTERS:,} characters; is it a CSV?")
            yield number, raw.removeprefix("\ufeff") if number == 1 else raw
        source.check()
    except (OSError, UnicodeDecodeError) as error:
        raise source.fault(error) from error


def _header(source: Source, raw: str) -> tuple[tuple[str, ...], str]:
    """Columns and delimiter, where every column is one of ours and none is lacking."""
    if not raw:
        source.fail(1, 1, f"the file is empty; it needs at least a header: {','.join(COLUMNS)}")
    columns, delimiter = read_header(source, raw, COLUMNS, COLUMNS)
    if not columns:
        source.fail(1, 1, f"the first line is blank; it must be the header: {','.join(COLUMNS)}")
    if not set(columns) & set(COLUMNS):
        seen = quoted(", ".join(columns))
        source.fail(1, 1, f"no column of a waiver in the header: the columns are {seen}; write {','.join(COLUMNS)}")
    for number, column in enumerate(columns, 1):
        if column not in COLUMNS:
            near = get_close_matches(column.lower(), COLUMNS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the columns are {', '.join(COLUMNS)}"
            nameless = column == f"column_{number}"
            said = f"column {number} has no name" if nameless else f"{quoted(column)} is no column of a waiver"
            source.fail(1, begin_of(raw, delimiter, number), f"{said}; {hint}")
    refuse_twice(source, raw, columns, delimiter)
    for column, why in _COMPULSORY.items():
        if column not in columns:
            source.fail(1, 1, f"no column {column} in the header; add it, and in every line {why}")
    if not set(columns) & set(NAMING):
        source.fail(1, 1, f"no column of the header says which keys; add key_id, or any of {', '.join(NAMING[1:])}")
    return columns, delimiter


def _record(
    line: int, raw: str, columns: Sequence[str], delimiter: str, clean: Callable[[str], str]
) -> Waiver | _Fault | None:
    """What one line states; None where that is nothing at all."""
    try:
        row = next(csv.reader([raw], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        what = bad_record(error)
        if what == "a quote is never closed":
            what = "a quote is not closed on this line; close it, and write a cell without line breaks"
        return _Fault(line, 1, what)
    if not "".join(row).strip():
        return None
    if len(row) != len(columns):
        fields = f"has {len(row)} field{'s' * (len(row) > 1)}, the header has {len(columns)}"
        return _Fault(line, 1, f'{fields}; put a text that holds "{delimiter}" into double quotes')
    stated = {column: clean(unguard(cell.strip())) for column, cell in zip(columns, row, strict=True)}
    for number, (column, text) in enumerate(stated.items(), 1):
        if what := _cell_fault(column, text, stated):
            return _Fault(line, begin_of(raw, delimiter, number), what)
    if not any(stated.get(column) for column in NAMING):
        return _Fault(line, 1, f"names no key; state key_id, or a pattern in any of {', '.join(NAMING[1:])}")
    cells = {column: stated.get(column, "") for column in COLUMNS}
    return Waiver(line, **{**cells, "key_id": cells["key_id"].lower()})


def _cell_fault(column: str, text: str, stated: Mapping[str, str]) -> str:  # noqa: PLR0911  # a table, read from the top
    """What is wrong with a cell, and what to write; empty where nothing is."""
    if not _PLAIN.fullmatch(text):
        return f"{column} {quoted(text)} holds a control character; write plain text"
    if column in _COMPULSORY and not text:
        return f"{column} is not stated; {_COMPULSORY[column]}"
    if column == "expires" and not is_day(text):
        return f"expires {quoted(text)} is no day; write YYYY-MM-DD, as in 2026-12-31"
    if column == "key_id" and text and not ANY_KEY_ID.fullmatch(text):
        return (
            f"key_id {quoted(text)} is no key id: 8-4-4-4-12 digits and letters a to z; "
            "a pattern belongs into key_alias, region or account"
        )
    if column == "rule" and text and text not in _WAIVABLE:
        return _rule_fault(text)
    if column == "key_alias" and text and stated.get("key_id"):
        return "key_alias is stated beside key_id, which names one key already; leave one of them empty"
    return ""


def _rule_fault(text: str) -> str:
    if text in _RULES:
        return (
            f"rule {text} ({_RULES[text].sentence}) cannot be waived: such a key can never rotate and is ineligible "
            "without a waiver; take this line out"
        )
    return f"rule {quoted(text)} is none of ours; write one of {', '.join(_WAIVABLE)}, or nothing for every finding"
