"""What the records of an inventory mean: usable keys, each in its place, and rejected records, each with its reason."""

import hashlib
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Self

from audit.cells import unguard
from audit.errors import UsageFault
from audit.inventory.source import Source, quoted
from audit.inventory.table import ANY_KEY_ID, KNOWN_COLUMNS, Table
from audit.model import PROJECT_ID, REGION, Facts, Key, Place, RejectedRecord

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 5_000
"""Records at a time. Four times as many take a third longer: they outlive the garbage collector's young generations."""

_ACCOUNT = re.compile("[^\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_FLAG = re.compile("true|false|1|0", re.ASCII | re.IGNORECASE)
_FORMS: dict[str, tuple[re.Pattern[str], str]] = {
    "key_id": (ANY_KEY_ID, "no key id: 8-4-4-4-12 digits and letters a to z"),
    "region": (REGION, "no region: lower-case words and numbers joined by hyphens, as in cn-north-4"),
    "project_id": (PROJECT_ID, "no project id: 1 to 64 ASCII letters, digits, _ and -"),
    "account": (_ACCOUNT, "no account: text without control characters"),
    "default_key_flag": (_FLAG, "neither true nor false: true, false, 1 or 0"),
    "key_rotation_enabled": (_FLAG, "neither true nor false: true, false, 1 or 0"),
    "rotation_interval": (re.compile("[0-9]{1,9}"), "no number of days: 1 to 9 digits"),
}
"""What a stated value must match in full, and what it is said to be if not; the first fault in this order is told."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a record gets that does not state them: ``--account``, ``--region``, ``--project-id``."""

    account: str = ""
    region: str = ""
    project_id: str = ""


def stated_facts(columns: Sequence[str], cells: Sequence[str]) -> Facts:
    """The facts that a record's cells state, ``columns`` being the inventory's."""
    return Facts.of(dict(zip(columns, cells, strict=False)))


def extra_columns(columns: Sequence[str]) -> tuple[tuple[int, str], ...]:
    """Index and name of the columns that are not the API's own, in order."""
    return tuple((index, name) for index, name in enumerate(columns) if name not in KNOWN_COLUMNS)


def open_inventory(source: str, defaults: Defaults, *, live: bool, stdin: BinaryIO | None = None) -> "Inventory":
    """Open a path, or standard input for ``-``, and read what decides whether it is an inventory at all.

    ``live``: KMS will be read, so that a record without region or project cannot be used. Raises InventoryFault where
    it is no inventory, UsageFault where a default is malformed or two accounts are stated.
    """
    for column in ("account", "region", "project_id"):
        value, (form, fault) = getattr(defaults, column), _FORMS[column]
        if value and not form.fullmatch(value):
            raise UsageFault(f"{_option(column)}: {quoted(value)} is {fault}")
    opened = Source.open(source, stdin)
    try:
        return Inventory(Table(opened), defaults, live=live)
    except BaseException:
        opened.close()
        raise


class Inventory:
    """One opened CSV, read once and in a stream; a context manager, made by ``open_inventory``.

    ``name``: the path as given, or "standard input". ``columns``: the header in order; the API's own names in lower
    case, others as written, a nameless one as ``column_N``. ``encoding``: UTF-8, UTF-16 or GB18030. ``delimiter``: one
    of ``,`` ``;`` and tab. ``account``: the one account of all records, empty where none is named. ``sha256``: hex, of
    the raw bytes. ``warnings``: sentences for the operator.
    """

    def __init__(self, table: Table, defaults: Defaults, *, live: bool) -> None:
        self.name = table.source.name
        self.encoding = table.source.encoding
        self.sha256 = table.source.sha256
        self.warnings = table.source.warnings
        self.columns = table.columns
        self.delimiter = table.delimiter
        self._table = table
        self._defaults = defaults
        self._live = live
        self._first_line: dict[bytes, int] = {}
        self.account = self._decide_account() if "account" in self.columns else defaults.account

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._table.source.close()

    @property
    def blank_lines(self) -> int:
        """Records of nothing but blanks; all are counted when ``chunks`` is exhausted."""
        return self._table.blank_lines

    def chunks(self) -> Iterator[list[Key | RejectedRecord]]:
        """All records in the order of the file, in lists of up to 5,000; to be called once.

        Cells are without surrounding blanks and without our apostrophe. Of a record that cannot be told apart (bad
        quoting, too large) the first physical line is rejected, as its only cell, and reading resumes at the next.
        Raises InventoryFault before the first list where there is no record, after the last where the file has changed
        since it was opened, and wherever it cannot be read on.
        """
        records = self._table.records()
        found = False
        while batch := list(islice(records, _CHUNK)):
            found = True
            rejected = [record for record in batch if isinstance(record, RejectedRecord)]
            judged = self._judge([record for record in batch if not isinstance(record, RejectedRecord)])
            yield sorted([*judged, *rejected], key=lambda record: record.line)
        if not found:
            self._table.source.fail(1, 1, "a header and no records below it; add one line for each key")

    def _decide_account(self) -> str:
        """The account that all records state; raises UsageFault where two are stated."""
        account, where = self._defaults.account, "--account"
        for record in self._table.records():
            if isinstance(record, RejectedRecord):
                continue
            line, row = record
            stated = unguard(row[self.columns.index("account")].strip())
            if stated == account or not _ACCOUNT.fullmatch(stated):
                continue
            if account:
                raise UsageFault(
                    f"{self.name}:{line}: the account is {quoted(stated)}, but {where} says "
                    f"{quoted(account)}; all records must be of one account"
                )
            account, where = stated, f"line {line}"
        return account

    def _judge(self, records: list[tuple[int, list[str]]]) -> Iterator[Key | RejectedRecord]:
        """A key or a rejected record for each record of the right width, in order."""
        import pandas as pd  # noqa: PLC0415 - half a second, which `--help` must not pay

        frame = pd.DataFrame([row for _, row in records], columns=list(self.columns), dtype=object)
        texts = {column: _clean(frame[column]) for column in self.columns}
        faults = self._faults(texts)
        lists = {column: series.tolist() for column, series in texts.items()}
        nowhere = [""] * len(records)
        regions, projects = lists.get("region", nowhere), lists.get("project_id", nowhere)
        lowered = texts["key_id"].str.lower().tolist()
        place_of = cache(self._place)
        rows = zip(records, regions, projects, lowered, zip(*lists.values(), strict=True), strict=True)
        for index, ((line, _), region, project_id, key_id, cells) in enumerate(rows):
            if index in faults:
                yield RejectedRecord(line, *faults[index], cells)
                continue
            place = place_of(region, project_id)
            identity = f"{place.account}\0{place.region}\0{place.project_id}\0{key_id}".encode()
            first = self._first_line.setdefault(hashlib.blake2b(identity, digest_size=12).digest(), line)
            if first != line:
                yield RejectedRecord(line, "key_id", f"duplicate of line {first}", cells)
                continue
            note = "" if key_id == cells[self._table.key] else "key_id lowered from upper case"
            yield Key(line, place, key_id, stated_facts(self.columns, cells), cells, note)

    def _place(self, region: str, project_id: str) -> Place:
        return Place(self.account, region or self._defaults.region, project_id or self._defaults.project_id)

    def _faults(self, texts: "dict[str, pd.Series[str]]") -> dict[Hashable, tuple[str, str]]:
        """Index of a record that cannot be used -> the column at fault, and why."""
        faults: dict[Hashable, tuple[str, str]] = {}
        key_ids = texts["key_id"]
        for index in key_ids.index[key_ids.eq("")]:
            faults[index] = ("key_id", "key_id is not stated")
        for column, (form, fault) in _FORMS.items():
            if column in texts:
                bad = [text for text in texts[column].unique() if text and not form.fullmatch(text)]
                for index, text in texts[column][texts[column].isin(bad)].items() if bad else ():
                    faults.setdefault(index, (column, f"{column} {quoted(text)} is {fault}"))
        for column in ("region", "project_id") if self._live else ():
            if not getattr(self._defaults, column):
                unstated = key_ids.index[texts[column].eq("")] if column in texts else key_ids.index
                for index in unstated:
                    faults.setdefault(index, (column, f"{column} is not stated; state it, or give {_option(column)}"))
        return faults


def _clean(texts: "pd.Series[str]") -> "pd.Series[str]":
    """A column without surrounding blanks and without our apostrophe."""
    changed = {text: clean for text in texts.unique() if (clean := unguard(text.strip())) != text}
    return texts.map(lambda text: changed.get(text, text)).astype(object) if changed else texts


def _option(column: str) -> str:
    return f"--{column.replace('_', '-')}"
