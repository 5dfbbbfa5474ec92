"""The reports of a run against its ledger: rendered again beside it, and compared to the last byte.

Another version of the program may say the same in other words. Of a run that it wrote, the values of the rows are
compared.
"""

import csv
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from audit import __version__
from audit.evidence import REPORTS
from audit.proving.files import listed
from audit.proving.standing import Check, Standing
from audit.replay import Replay
from audit.report import own, render

_ROWS = 5  # differing rows of a file that are named
_CHUNK = 1 << 20
_RESULTS = '"results":['


def check_reports(replay: Replay, sums: Mapping[str, str], before: Mapping[str, str]) -> Check:
    """Render the reports into a temporary directory and compare. Raises ReportFault where that cannot be written.

    ``sums``: those of the run, empty where there are none. ``before``: the newest that an earlier process left.
    """
    there = [name for name in REPORTS if (replay.directory / name).is_file()]
    version = own.version(replay)
    with tempfile.TemporaryDirectory(prefix="kms-rotation-") as name:
        again = Path(name)
        formats = own.formats(replay)
        told = own.build(replay)
        render.write(told, again, render.FORMATS if formats is None else formats, page=own.page(replay, told))
        compared = _Compared(replay.directory, again, sums, before, same=version == __version__)
        for file in REPORTS:
            if file in there or ((again / file).exists() and formats is not None):
                compared.one(file)
    return compared.check(version)


class _Compared:
    """The reports of a run (``ours``) and those rendered ``again``. ``same``: by the same version."""

    def __init__(
        self, ours: Path, again: Path, sums: Mapping[str, str], before: Mapping[str, str], *, same: bool
    ) -> None:
        self._ours, self._again, self._sums, self._before, self._same = ours, again, sums, before, same
        self._good: list[str] = []
        self._open: list[str] = []
        self._bad: list[str] = []
        self._foreign: list[str] = []

    def one(self, name: str) -> None:
        """Compare one report."""
        ours, again = self._ours / name, self._again / name
        if not ours.is_file():
            self._open.append(f"{name} is not there: it was not written, or was taken away")
        elif not again.exists():
            self._unrendered(name)
        elif _equal(ours, again):
            self._good.append(name)
        elif not self._sums and listed(self._before, ours):
            self._open.append(f"{name} is what an earlier process wrote; the run went on after it")
        elif self._same or name not in _ROWS_OF:
            self._differs(name, list(_differences(ours, again, exact=True)))
        else:
            differences = list(_differences(ours, again, exact=False))
            if differences:
                self._differs(name, differences)
            else:
                self._good.append(f"{name} (its rows)")

    def _differs(self, name: str, differences: list[str]) -> None:
        if self._same or name in _ROWS_OF:
            self._bad += differences
        else:
            self._foreign.append(f"{name} is not compared: another version of the program wrote it")

    def _unrendered(self, name: str) -> None:
        if not self._sums and listed(self._before, self._ours / name):
            self._open.append(f"{name} is what an earlier process wrote; the run went on after it")
        elif self._same:
            self._bad.append(f"{name} is there, and the ledger calls for none")
        else:
            self._foreign.append(f"{name} is not compared: this version of the program does not write it for this run")

    def check(self, version: str) -> Check:
        """What came out. ``version``: of the program that wrote the run."""
        how = (
            ""
            if self._same
            else f"; version {version or 'unknown'} wrote them, this is {__version__}: values were compared"
        )
        more = (*self._open, *self._foreign)
        if self._bad:
            return Check("reports", Standing.ALTERED, f"not what the ledger says{how}", (*self._bad, *more))
        if not self._good and not more:
            return Check("reports", Standing.INTACT, "none was asked for")
        told = f"rendered again from the ledger, the same: {', '.join(self._good)}" if self._good else "none compared"
        standing = Standing.UNCHECKED if self._open or not self._good else Standing.INTACT
        return Check("reports", standing, told + how, more)


def _equal(one: Path, other: Path) -> bool:
    with one.open("rb") as a, other.open("rb") as b:
        while (piece := a.read(_CHUNK)) == b.read(_CHUNK):
            if not piece:
                return True
    return False


def _differences(ours: Path, again: Path, *, exact: bool) -> Iterator[str]:
    """The first rows that differ; where the rows are the same and ``exact``, the first line that differs."""
    found = 0
    with suppress(UnicodeDecodeError, csv.Error, ValueError):  # then it is told by the line
        for text in _ROWS_OF[ours.name](ours, again, exact) if ours.name in _ROWS_OF else ():
            yield f"{ours.name}, {text}"
            found += 1
            if found == _ROWS:
                return
    if not found and (exact or not _read(ours)):
        yield f"{ours.name}, {_first_line(ours, again)}"


def _read(path: Path) -> bool:
    try:
        for _ in _table(path) if path.suffix == ".csv" else _parts(path):
            pass
    except (UnicodeDecodeError, csv.Error, ValueError):
        return False
    return True


def _first_line(ours: Path, again: Path) -> str:
    if ours.suffix == ".xlsx":  # it has no lines
        return "not what the ledger says"
    with ours.open("rb") as a, again.open("rb") as b:
        for number, (one, other) in enumerate(zip_longest(a, b), 1):
            if one != other:
                return f"line {number} is not what the ledger says"
    return "is not what the ledger says"


def _csv(ours: Path, again: Path, exact: bool) -> Iterator[str]:  # noqa: FBT001  # in one table with _json
    """Line, key and columns of every row that differs."""
    for (number, one), (_, other) in zip_longest(_table(ours), _table(again), fillvalue=(0, None)):
        if one is None or other is None:
            yield _missing(f"line {number}", one, other)
        elif columns := _fields(one, other, exact=exact):
            yield f"line {number}, key {other.get('key_id', '')}: {', '.join(columns)}"


def _json(ours: Path, again: Path, exact: bool) -> Iterator[str]:  # noqa: FBT001  # in one table with _csv
    """Number, key and fields of every result that differs; where it is to be exact, then every other field."""
    mine, theirs = _parts(ours), _parts(again)
    heads = next(mine), next(theirs)
    for number, (one, other) in enumerate(zip_longest(mine, theirs), 1):
        if one is None or other is None:
            yield _missing(f"result {number}", one, other)
        elif fields := _fields(one, other, exact=exact):
            yield f"result {number}, key {other.get('key_id', '')}: {', '.join(fields)}"
    if exact and heads[0] != heads[1]:
        yield from (f"field {field}" for field in _fields(*(json.loads(head) for head in heads), exact=True))


_ROWS_OF = {"report.csv": _csv, "failed.csv": _csv, "run_results.json": _json}


def _missing(where: str, one: Any, other: Any) -> str:  # noqa: ANN401  # a row of either kind
    key = (one if other is None else other).get("key_id", "")
    if other is None:
        return f"{where}, key {key}: a row that the ledger does not have"
    return f"the end: the row of key {key} is missing"


def _fields(one: Mapping[str, Any], other: Mapping[str, Any], *, exact: bool) -> list[str]:
    """Names of what differs; where it is to be exact, also what only one of them has."""
    names = dict.fromkeys((*other, *one)) if exact else [name for name in other if name in one]
    return [name for name in names if one.get(name, ...) != other.get(name, ...)]


def _table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """First line and cells by column of every row. Raises UnicodeDecodeError, csv.Error."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        header = next(lines, [])
        before = lines.line_num
        for cells in lines:
            row: dict[str, Any] = dict(zip(header, cells, strict=False))
            if len(cells) != len(header):
                row["number of cells"] = len(cells)
            yield before + 1, row
            before = lines.line_num


def _parts(path: Path) -> Iterator[Any]:
    """A ``run_results.json``, read on as it is taken: its text without the results, then each of those.

    Raises ValueError where it is not laid out as this program does it.
    """
    head: list[str] = []
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if line.startswith(_RESULTS):
                break
            head.append(line)
        yield "".join(head) + f"{_RESULTS}]}}"
        if line == f"{_RESULTS}]}}\n":
            return
        for line in file:
            if line == "]}\n":
                return
            if not line.startswith("{"):
                raise ValueError("a result is no object")
            yield json.loads(line.rstrip("\n").removesuffix(","))
    raise ValueError("it does not end")
