"""The evidence beside a ledger: its chained events as text, and the sums over the files of a run.

``SHA256SUMS`` is the last file that a process writes. Who takes up the run again moves it away first, so a directory
without one is that of a process that was killed, or somebody took it.
"""

import contextlib
import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from audit.errors import LedgerFault, ReportFault, RunStopped
from audit.rundir import LEDGER, LOCK, replacing, sync_directory
from audit.tables import event_hash

EVIDENCE, SUMS, SIGNATURE = "evidence.jsonl", "SHA256SUMS", "SHA256SUMS.sig"
UNSUMMED = frozenset({LOCK, SUMS, SIGNATURE})
"""Files that the sums do not cover: themselves, their signature, and the lock, which is no record and changes."""
REPORTS = ("report.html", "report.csv", "report.xlsx", "run_results.json", "failed.csv")
_FIXED = (LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", EVIDENCE, *REPORTS, "crash.txt")
_KEPT = re.compile(r"SHA256SUMS\.([1-9][0-9]*)(\.sig)?")
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]+)")

EVENT = ("id", "at", "kind", "step", "body", "previous")
"""Fields of a line of ``evidence.jsonl`` that its ``hash`` is taken over, in order. ``body``: the text as stored."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def events(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """The columns ``EVENT`` of every event, in order."""
    return db.execute("SELECT id, at, kind, step, body, previous FROM events ORDER BY id")


def line(event: Mapping[str, Any]) -> bytes:
    """A line of ``evidence.jsonl``: the fields ``EVENT``, then ``hash``."""
    return _encode(event).encode() + b"\n"


def export(db: sqlite3.Connection, directory: Path) -> None:
    """Write ``evidence.jsonl`` from a ledger, event by event. Raises ReportFault, LedgerFault.

    Where that fails an older one goes: it would tell of an earlier state.
    """
    try:
        with replacing(directory / EVIDENCE) as file:
            for row in events(db):
                file.write(line({**dict(zip(EVENT, row, strict=True)), "hash": event_hash(*row)}))
    except BaseException as error:
        with contextlib.suppress(OSError):
            (directory / EVIDENCE).unlink()
        if isinstance(error, sqlite3.Error | TypeError | UnicodeError):
            raise LedgerFault(f"{directory / LEDGER} cannot be read: {error}") from error
        raise


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sum_up(directory: Path) -> None:
    """Write ``SHA256SUMS`` over the files of the run that are there. Raises ReportFault.

    Drafts that a killed process left go before.
    """
    names = [name for name in _FIXED if (directory / name).is_file()] + kept(directory)
    try:
        for name in (*_FIXED, SUMS, SIGNATURE):
            (directory / f".{name}.draft").unlink(missing_ok=True)
        text = written({name: sha256(directory / name) for name in names})
    except OSError as error:
        raise ReportFault(
            f"cannot write {directory / SUMS}: {error.strerror}", f"kms-rotation apply {directory} writes it"
        ) from error
    with replacing(directory / SUMS) as file:
        file.write(text)


def written(digests: Mapping[str, str]) -> bytes:
    """The one form of sums: as ``sha256sum`` writes and reads them, by name."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def parsed(text: bytes) -> dict[str, str]:
    """File names and their SHA-256. Raises ValueError, naming the line, on anything that ``written`` does not write."""
    digests: dict[str, str] = {}
    for number, line in enumerate(text.decode("ascii", "replace").split("\n")[:-1], 1):
        found = _LINE.fullmatch(line)
        if found is None or found[2] in {*digests, *UNSUMMED, ".", ".."}:
            raise ValueError(f"line {number} is not what this program writes")
        digests[found[2]] = found[1]
    if written(digests) != text:
        raise ValueError("its lines do not end or are not in order as this program writes them")
    return digests


def kept(directory: Path) -> list[str]:
    """Names of the sums, and of their signatures, that earlier processes wrote; oldest first."""
    found = (_KEPT.fullmatch(path.name) for path in directory.glob(f"{SUMS}.*") if path.is_file())
    return [match[0] for match in sorted(filter(None, found), key=lambda match: (int(match[1]), match[2] or ""))]


def keep(directory: Path) -> None:
    """Move ``SHA256SUMS`` and its signature to the next free number, before the run goes on. Raises RunStopped."""
    numbers = [int(name.split(".")[1]) for name in kept(directory) if not name.endswith(".sig")]
    number = max(numbers, default=0) + 1
    try:
        for name, end in ((SIGNATURE, ".sig"), (SUMS, "")):  # sums last: a kill in between leaves them to be kept again
            with contextlib.suppress(FileNotFoundError):
                (directory / name).rename(directory / f"{SUMS}.{number}{end}")
        sync_directory(directory)
    except OSError as error:
        raise RunStopped(f"cannot keep {directory / SUMS}: {error.strerror}", "nothing was sent") from error


def ranges(ids: Iterable[int]) -> str:
    """Numbers as a reader takes them in: ``3, 5-9, 12``; of many the first ten."""
    runs: list[list[int]] = []
    for number in sorted(ids):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    told = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:10]]
    return ", ".join(told) + (", ..." if len(runs) > 10 else "")
