"""The ledger: what was known, what was planned, and every event since, in one SQLite file.

Records and steps are written until the plan is complete, then sealed by a hash and never changed. What happens after
that is an event, and events are only ever added; each carries the SHA-256 of the one before, so that a changed,
missing or inserted event shows. Everything else - outcomes, reports - is computed from here (``replay``).

``await commit(events)`` returns when they are on disk (WAL, synchronous=FULL). One thread writes: events that gather
while it waits for the disk go together in the next transaction.
"""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Self

from audit.errors import LedgerFault
from audit.plan import Step
from audit.scrub import Scrubber
from audit.tables import (
    START,
    TABLES,
    VERSION,
    Event,
    RecordRow,
    UnlistedRow,
    check_version,
    event_hash,
    seal,
)

Clock = Callable[[], str]
"""UTC now, as ``2026-11-24T03:34:00Z``."""


@dataclass(slots=True)
class _Batch:
    done: "asyncio.Future[None]"
    events: list[Event] = field(default_factory=list)


class Ledger:
    """The writing side. ``now``: UTC time as ``2026-11-24T03:34:00Z``; ``scrub`` passes over every stored text.

    Raises LedgerFault whenever something cannot be written or read; RunDirFault on a ledger of another version.
    """

    def __init__(self, path: Path, now: Clock, scrub: Scrubber, *, create: bool = False) -> None:
        self.path, self._now, self._scrub = path, now, scrub
        self._waiting: _Batch | None = None
        self._draining: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self.fsyncs, self._last_id, self._head = 0, 0, START
        self._open(create=create)

    def _open(self, *, create: bool) -> None:
        try:
            self.db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            with contextlib.ExitStack() as undo:
                undo.callback(self.db.close)
                if create:
                    self.db.executescript(f"{TABLES}PRAGMA user_version={VERSION};")
                check_version(self.db, self.path, exact=True)
                self.db.execute("PRAGMA journal_mode=WAL")
                self.db.execute("PRAGMA synchronous=FULL")
                if last := self.db.execute("SELECT * FROM events ORDER BY id DESC LIMIT 1").fetchone():
                    self._last_id, self._head = last[0], event_hash(*last)
                undo.pop_all()
        except sqlite3.Error as error:
            raise LedgerFault(f"{self.path} cannot be opened: {error}") from error

    def reopen(self, path: Path) -> None:
        """Go on with the same ledger under another name; it must have been closed."""
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._open(create=False)

    def close(self) -> None:
        """Leave one closed file: no WAL beside it."""
        try:
            self._thread.shutdown()
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.db.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.Error as error:
            raise LedgerFault(f"{self.path} cannot be closed: {error}") from error
        finally:
            self.db.close()

    # Until the plan is complete

    def describe(self, **facts: Any) -> None:  # noqa: ANN401  # whatever JSON can hold
        """Note what the run is: names and values that JSON can hold. A name already noted is replaced."""
        self._many("INSERT OR REPLACE INTO run VALUES (?, ?)", ((name, self._clean(facts[name])) for name in facts))

    def add_records(self, rows: Iterable[RecordRow]) -> None:
        """Add rows of ``records``."""
        clean = self._scrub.secrets
        self._many(
            "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            ((*row[:2], *map(clean, row[2:6]), *row[6:8], *map(clean, row[8:])) for row in rows),
        )

    def unjudged(self, size: int = 5000) -> Iterator[list[RecordRow]]:
        """The rows that wait for a verdict, in order, in lists of at most ``size``."""
        return self._pages("outcome IS NULL", size)

    def usable(self) -> Iterator[RecordRow]:
        """Every record that names a key, in order."""
        return chain.from_iterable(self._pages("(outcome IS NULL OR outcome != 'rejected')", 5000))

    def _pages(self, condition: str, size: int) -> Iterator[list[RecordRow]]:
        after = 0
        query = f"SELECT * FROM records WHERE {condition} AND n > ? ORDER BY n LIMIT ?"  # noqa: S608  # from above
        while rows := [RecordRow(*row) for row in self._read(query, (after, size))]:
            after = rows[-1].n
            yield rows

    def outcomes(self) -> list[tuple[str, int]]:
        """How many records have which verdict."""
        return [(o, n) for o, n in self._read("SELECT outcome, COUNT(*) FROM records GROUP BY outcome", ())]

    def judged(self, rows: Iterable[RecordRow]) -> None:
        """Write the verdicts of rows that waited for one."""
        clean = self._scrub.secrets
        self._many(
            "UPDATE records SET outcome = ?, rules = ?, reason = ?, live = ? WHERE n = ?",
            ((row.outcome, row.rules, clean(row.reason), clean(row.live), row.n) for row in rows),
        )

    def add_steps(self, steps: Iterable[Step]) -> None:
        """Add the plan's steps; a sequence that exists already is refused by the table."""
        rows = ((s.number, s.record, s.action, s.interval, s.sequence) for s in steps)
        self._many("INSERT INTO steps VALUES (?,?,?,?,?)", rows)

    def add_unlisted(self, rows: Iterable[UnlistedRow]) -> None:
        """Add keys that KMS has and the inventory does not name."""
        clean = self._scrub.secrets
        self._many(
            "INSERT INTO unlisted (account, region, project_id, key_id, live) VALUES (?,?,?,?,?)",
            ((*row[:4], clean(row.live)) for row in rows),
        )

    def seal(self) -> str:
        """The hash over the run, its records, steps and unlisted keys, to go into the event that ends the planning."""
        return seal(self.db)

    def append(self, *events: Event) -> None:
        """Write events now, after those that are being written."""
        self._thread.submit(self._write, events).result()

    # While requests are in flight

    async def commit(self, *events: Event) -> None:
        """Return when the events are on disk. Raises LedgerFault: then they are not."""
        if self._waiting is None:
            self._waiting = _Batch(asyncio.get_running_loop().create_future())
        batch = self._waiting
        batch.events.extend(events)
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._drain())
        await asyncio.shield(batch.done)

    async def _drain(self) -> None:
        while (batch := self._waiting) is not None:
            self._waiting = None
            writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch.events)
            await asyncio.wait([writing])
            if fault := writing.exception():
                batch.done.set_exception(fault)
                batch.done.exception()  # one waiter may have gone away; the others still see it
            else:
                batch.done.set_result(None)

    def _write(self, events: Iterable[Event]) -> None:
        id_, head, rows = self._last_id, self._head, []
        for event in events:
            id_ += 1
            row = (id_, self._now(), event.kind.value, event.step, self._clean(event.body), head)
            head = event_hash(*row)
            rows.append(row)
        self._many("INSERT INTO events VALUES (?,?,?,?,?,?)", rows)
        self._last_id, self._head = id_, head

    def _clean(self, value: object) -> str:
        text = self._scrub.secrets(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        return text.encode("utf-8", "replace").decode()  # the name of a file need not be text

    def _many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        try:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                self.db.executemany(statement, rows)
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:  # a full disk may have ended it
                    self.db.execute("ROLLBACK")
                raise
            self.fsyncs += 1
        except sqlite3.Error as error:
            raise LedgerFault(
                f"{self.path} cannot be written: {error}", "free the disk; nothing unwritten was sent"
            ) from error

    def _read(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self.db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerFault(f"{self.path} cannot be read: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
