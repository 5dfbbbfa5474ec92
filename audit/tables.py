"""What stands in a ledger: its tables, the rows of each, the kinds of events, and the hashes that prove them."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from audit.errors import RunDirFault
from audit.model import DEFAULT_INTERVAL, Facts

VERSION = 1
"""``PRAGMA user_version``: raised with every change of the tables."""

TABLES = """
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    n INTEGER PRIMARY KEY, line INTEGER NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL,
    project_id TEXT NOT NULL, key_id TEXT NOT NULL, outcome TEXT, rules TEXT NOT NULL, reason TEXT NOT NULL,
    live TEXT NOT NULL, cells TEXT NOT NULL
);
CREATE TABLE steps (
    number INTEGER PRIMARY KEY, record INTEGER NOT NULL REFERENCES records (n), action TEXT NOT NULL, interval INTEGER,
    sequence TEXT NOT NULL UNIQUE
);
CREATE TABLE unlisted (
    n INTEGER PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, project_id TEXT NOT NULL, key_id TEXT NOT NULL,
    live TEXT NOT NULL
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL, step INTEGER, body TEXT NOT NULL,
    previous TEXT NOT NULL
);
CREATE TRIGGER events_are_kept BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
"""

START = "0" * 64
"""What the first event carries in place of a hash."""


class EventKind(StrEnum):
    """What can happen in a run."""

    STARTED = "started"  # a process took up the run
    WALKED = "walked"  # one place was read: population, or why not
    PLANNED = "planned"  # the plan is complete: digest, seal
    GUARDED = "guarded"  # a guard refused the plan
    APPROVED = "approved"  # the plan may be carried out
    DECLINED = "declined"  # it may not, for now
    SUPERSEDED = "superseded"  # a later walk made a step needless or impossible
    INTENDED = "intended"  # a request is about to be sent
    WITHDRAWN = "withdrawn"  # it was not sent after all
    SENT = "sent"  # one attempt, and what came of it
    ANSWERED = "answered"  # the attempt that settled the request, or the last one
    READ_BACK = "read_back"  # the key as KMS showed it after the request
    STOPPED = "stopped"  # the run, an access key or a place was given up
    ENDED = "ended"  # the process is done


class Event(NamedTuple):
    """One event before it is written. ``step``: the step's number, None where it concerns no step."""

    kind: EventKind
    step: int | None = None
    body: Mapping[str, Any] = {}


class RecordRow(NamedTuple):
    """One row of ``records``: what the inventory said, what KMS said, and the verdict.

    ``outcome``: None while the record waits to be judged. ``rules``: joined with ``;``. ``live``: the facts that KMS
    stated, as JSON; empty where KMS was not asked. ``cells``: the record's values as JSON, in the order of the header.
    """

    n: int
    line: int
    account: str
    region: str
    project_id: str
    key_id: str
    outcome: str | None
    rules: str
    reason: str
    live: str
    cells: str


class UnlistedRow(NamedTuple):
    """A key that KMS has and the inventory does not name."""

    account: str
    region: str
    project_id: str
    key_id: str
    live: str


def event_hash(id_: int, at: str, kind: str, step: int | None, body: str, previous: str) -> str:
    """The SHA-256 that the next event carries: over all columns of this one."""
    return hashlib.sha256(json.dumps([id_, at, kind, step, body, previous]).encode()).hexdigest()


def seal(connection: sqlite3.Connection) -> str:
    """SHA-256 in hex over what the run is, all records, steps and unlisted keys."""
    digest = hashlib.sha256()
    for table, order in (("run", "name"), ("records", "n"), ("steps", "number"), ("unlisted", "n")):
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY {order}"):  # noqa: S608  # names from this line
            digest.update(repr(row).encode())
    return digest.hexdigest()


def intervals_before(connection: sqlite3.Connection) -> dict[int, int | None]:
    """Of each record with a step: days between two rotations before it, as KMS said; None where rotation was off."""
    rows = connection.execute("SELECT n, live FROM records WHERE n IN (SELECT record FROM steps)")
    facts = ((n, Facts.of(json.loads(live or "{}"))) for n, live in rows)
    return {n: (said.interval or DEFAULT_INTERVAL) if said.rotates else None for n, said in facts}


def check_version(connection: sqlite3.Connection, path: Path, *, exact: bool) -> None:
    """Raise RunDirFault unless the ledger has a version that can be read (``exact``: and written) here."""
    try:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise RunDirFault(f"{path} is not a ledger: {error}") from error
    if not 1 <= found <= VERSION or (exact and found != VERSION):
        raise RunDirFault(
            f"{path} has ledger version {found}, this program writes version {VERSION}",
            f"use the release of kms-rotation that writes ledger version {found}",
        )
