"""The chain of a ledger, and its copy in ``evidence.jsonl``, event by event."""

import json
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from audit.evidence import EVENT, EVIDENCE, line, ranges
from audit.proving.standing import Check, Standing, first
from audit.replay import Replay
from audit.tables import START, event_hash

_FIELDS = (*EVENT, "hash")
_MOST_BYTES = 1 << 26  # of a line: a body holds one answer, or one list of hosts


def check_chain(replay: Replay) -> Check:
    """Every event of the ledger continues the one before, and the records are those that were sealed."""
    proof = replay.proof()
    if proof.fault:
        return Check("chain", Standing.ALTERED, f"the ledger is not what was written: {proof.fault}")
    said = (
        f"{proof.events:,} events, each with the hash of the one before; last {proof.head}; the records are as sealed"
    )
    return Check("chain", Standing.INTACT, said)


class _Copy:
    """``evidence.jsonl`` while it is read beside the ledger. Ids of events by what is wrong with them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db, self._head = db, START
        (last,) = db.execute("SELECT COALESCE(MAX(id), 0) FROM events").fetchone()
        self.last = int(last)
        self.at = 0  # the newest event of the ledger that was met
        self.unreadable: list[int] = []  # lines
        self.broken: list[int] = []
        self.changed: list[int] = []
        self.rehashed: list[int] = []
        self.added: list[int] = []
        self.twice: list[int] = []
        self.moved: list[int] = []
        self.missing: set[int] = set()

    def take(self, number: int, text: bytes) -> None:
        event = _event(text)
        if event is None:
            self.unreadable.append(number)
            return
        row, hash_ = event
        id_ = row[0]
        if row[-1] != self._head or event_hash(*row) != hash_:
            self.broken.append(id_)
        self._head = hash_
        held = self._db.execute("SELECT id, at, kind, step, body, previous FROM events WHERE id = ?", (id_,)).fetchone()
        if held is None:
            self.added.append(id_)
            return
        if tuple(held[:-1]) != row[:-1]:
            self.changed.append(id_)
        elif held[-1] != row[-1]:
            self.rehashed.append(id_)
        if id_ > self.at:
            passed = "SELECT id FROM events WHERE id > ? AND id < ?"
            self.missing.update(skipped for (skipped,) in self._db.execute(passed, (self.at, id_)))
            self.at = id_
        elif id_ in self.missing:
            self.missing.remove(id_)
            self.moved.append(id_)
        else:
            self.twice.append(id_)

    def findings(self) -> list[str]:
        """What is wrong, but for the end."""
        told = [
            (self.unreadable, "{} cannot be read: not as this program writes them", "line"),
            (self.changed, "{}: evidence.jsonl and the ledger differ", "event"),
            (
                self.rehashed,
                "{}: the same but for the hash of the one before: one of the chains was made anew",
                "event",
            ),
            (self.missing, "{}: in the ledger, and not in evidence.jsonl", "event"),
            (self.moved, "{}: out of order in evidence.jsonl", "event"),
            (self.twice, "{}: more than once in evidence.jsonl", "event"),
        ]
        return [form.format(_named(ids, what)) for ids, form, what in told if ids] + self._more()

    def _more(self) -> list[str]:
        beyond = [id_ for id_ in self.added if id_ > self.last]
        within = [id_ for id_ in self.added if id_ <= self.last]
        found = [f"{_named(within, 'event')}: in evidence.jsonl, and not in the ledger"] if within else []
        if beyond:
            found.append(
                f"{_named(beyond, 'event')}: in evidence.jsonl, and beyond the end of the ledger: its end was cut off, "
                "or lines were added"
            )
        if self.broken:
            found.append(f"{_named(self.broken, 'event')}: not continuing the line before in evidence.jsonl itself")
        return found


def check_evidence(replay: Replay, *, summed: bool) -> Check:
    """``evidence.jsonl`` is the ledger's chain. ``summed``: there are sums, so that it was written to its end."""
    if not (replay.directory / EVIDENCE).is_file():
        return Check("evidence", Standing.UNCHECKED, f"there is no {EVIDENCE}: it was never written, or was taken away")
    try:
        copy, lines = _Copy(replay.db), 0
        for lines, text in enumerate(_lines(replay.directory / EVIDENCE), 1):
            copy.take(lines, text)
    except OSError as error:
        return Check("evidence", Standing.UNCHECKED, f"{EVIDENCE} cannot be read: {error.strerror}")
    found = copy.findings()
    behind = copy.last - copy.at
    if found or (behind and summed):
        if behind:
            found.append(f"the ledger goes on to event {copy.last}, {EVIDENCE} ends with event {copy.at}")
        return Check("evidence", Standing.ALTERED, f"{EVIDENCE} is not what the ledger holds", first(found))
    if behind:
        said = (
            f"{EVIDENCE} is whole up to event {copy.at}; the ledger goes on to {copy.last}: it is of an earlier process"
        )
        return Check("evidence", Standing.UNCHECKED, said)
    return Check("evidence", Standing.INTACT, f"{lines:,} lines, a chain of their own, the same events as the ledger")


def alone(directory: Path) -> list[str]:
    """What is wrong with the chain of ``evidence.jsonl`` in itself, where there is no ledger to compare it with."""
    if not (directory / EVIDENCE).is_file():
        return [f"there is no {EVIDENCE}"]
    head, found = START, []
    try:
        for number, text in enumerate(_lines(directory / EVIDENCE), 1):
            event = _event(text)
            if event is None or event[0][-1] != head or event_hash(*event[0]) != event[1]:
                return [f"line {number} of {EVIDENCE} does not continue the line before"]
            head = event[1]
    except OSError as error:
        found.append(f"{EVIDENCE} cannot be read: {error.strerror}")
    return found


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while text := file.readline(_MOST_BYTES):
            yield text


def _event(text: bytes) -> tuple[tuple[Any, ...], str] | None:
    """The columns of an event and its hash; None where the line is not what this program writes."""
    try:
        told = json.loads(text)
        same = tuple(told) == _FIELDS and text == line(told)
    except (ValueError, TypeError, RecursionError):
        return None
    kinds = same and [type(told[name]) for name in _FIELDS] in (_WITH_STEP, _WITHOUT_STEP)
    return (tuple(told[name] for name in EVENT), told["hash"]) if kinds and abs(told["id"]) < 1 << 62 else None


_WITH_STEP = [int, str, str, int, str, str, str]
_WITHOUT_STEP = [int, str, str, type(None), str, str, str]


def _named(ids: Collection[int], what: str) -> str:
    return f"{what if len(ids) == 1 else what + 's'} {ranges(ids)}"
