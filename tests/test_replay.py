"""Reading a ledger: the same records today and in a year, nothing written, nothing claimed that no event shows."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import LedgerFault, RunDirFault
from audit.ledger import Ledger
from audit.model import Place
from audit.outcome import Action, Outcome
from audit.plan import Step
from audit.replay import Replay
from audit.scrub import Scrubber
from audit.tables import Event, EventKind, RecordRow, UnlistedRow

HOME, AWAY = Place("acme", "cn-north-4", "p1"), Place("acme", "eu-west-101", "p2")
COLUMNS = ["key_id", "key_alias", "key_state", "key_rotation_enabled", "owner"]
K = EventKind


def attempt(meaning, status=200, code="", at="2026-11-24T03:36:00Z"):
    return {"meaning": meaning, "at": at, "status": status, "code": code, "message": "", "request_id": f"r-{meaning}"}


def back(on, fault="", gone=False, days=""):
    facts = (
        None
        if on is None
        else {"key_rotation_enabled": str(on).lower()} | ({"rotation_interval": days} if days else {})
    )
    return {"at": "2026-11-24T03:38:00Z", "facts": facts, "fault": fault, "gone": gone}


def sent(*attempts):
    return [GO, *((K.SENT, one) for one in attempts)]


def said(*attempts):
    return [*sent(*attempts), (K.ANSWERED, attempts[-1])]


def read(on, **more):
    return K.READ_BACK, back(on, **more)


GO, ENABLE, SET = (K.INTENDED, {}), Action.ENABLE, Action.SET_INTERVAL
DONE, SILENT, BUSY, LATER = attempt("done"), attempt("silent", None), attempt("throttled", 429), attempt("again", 500)
ALREADY, DENIED = attempt("already", 400, "KMS.2901"), attempt("forbidden", 403, "KMS.0306")
GONE, STOPPED = attempt("gone", 404, "KMS.0207"), attempt("stopped", 401)
DISABLED = (K.SUPERSEDED, {"outcome": "blocked", "reason": "key is disabled"})
# Of each step: its key, action and interval, then its events in two processes, the first of which was killed.
STEPS = [
    (1, ENABLE, None, [*said(BUSY, DONE), read(True)], []),
    (2, ENABLE, None, [GO], [read(False), *said(ALREADY), read(True)]),
    (3, ENABLE, None, [*sent(SILENT), read(False), *said(DENIED)], []),
    (4, ENABLE, None, [], [*said(DONE), read(True)]),
    (4, SET, 90, [], [*said(DONE), read(True, days="365")]),
    (5, ENABLE, None, [GO, (K.WITHDRAWN, {})], [DISABLED]),
    (6, ENABLE, None, said(*[LATER] * 5), [read(None, fault="no answer")]),
    (7, ENABLE, None, said(GONE), []),
    (8, ENABLE, None, sent(STOPPED), []),
    (9, ENABLE, None, [], []),
    (10, ENABLE, None, [], [*said(ALREADY), read(True)]),
    (11, ENABLE, None, sent(SILENT), [read(None, fault="HTTP 404 KMS.0207", gone=True)]),
]
RECORDS = 14
EXPECTED = {
    1: "remediated", 2: "remediated", 3: "unknown", 4: "unverified", 5: "blocked", 6: "unknown", 7: "missing",
    8: "not_attempted", 9: "not_attempted", 10: "compliant", 11: "missing", 12: "rejected", 13: "ineligible",
    14: "compliant",
}  # fmt: skip


def key_id(number):
    return f"{number:08x}-0000-4000-8000-000000000000"


def row(n):
    place = AWAY if n == 9 else HOME
    cells = json.dumps([key_id(n), "", "2", "true" if n == 4 else "false", "ops; sec"] if n != 12 else ["not a key id"])
    outcome = {12: "rejected", 13: "ineligible", 14: "compliant"}.get(n, "non_compliant")
    live = "" if n == 12 else json.dumps({"key_alias": f"app/{n}", "key_state": "2", "key_rotation_enabled": "false"})
    return RecordRow(
        n,
        n + 1,
        place.account,
        place.region,
        place.project_id,
        key_id(n),
        outcome,
        "C01",
        f"because of {n}",
        live,
        cells,
    )


def run_events(seal):
    """All events of the run, in order."""
    walk = {"account": "acme", "region": "cn-north-4", "project_id": "p1", "when": "before"}
    yield Event(K.STARTED, None, {"pid": 1})
    yield Event(K.WALKED, None, walk)
    yield Event(K.PLANNED, None, {"digest": "d" * 64, "seal": seal})
    yield Event(K.APPROVED, None, {"how": "--yes"})
    for number, (*_, first, _) in enumerate(STEPS, 1):
        yield from (Event(kind, number, body) for kind, body in first)
    yield Event(K.STARTED, None, {"pid": 2})
    yield Event(K.APPROVED, None, {"how": "question"})
    for number, (*_, second) in enumerate(STEPS, 1):
        yield from (Event(kind, number, body) for kind, body in second)
    yield Event(K.STOPPED, None, {"place": ["acme", "eu-west-101", "p2"], "why": "a redirect"})
    yield Event(K.ENDED, None, {"why": "interrupted by SIGTERM", "exit_code": 130})


def written(directory, keep=10**6):
    """A run directory with the first ``keep`` events of the run, each a second after the one before."""
    clock = (f"2026-11-24T03:{34 + second // 60}:{second % 60:02}Z" for second in range(3000))
    with Ledger(directory / "ledger.sqlite3", lambda: next(clock), Scrubber(), create=True) as book:
        book.describe(id="20261124T033400Z-5d0c2a", columns=COLUMNS, policy={"max_interval": 365})
        book.add_records(map(row, range(1, RECORDS + 1)))
        steps = [
            Step(n, key, HOME, key_id(key), action, days, f"sequence-{n}")
            for n, (key, action, days, *_) in enumerate(STEPS, 1)
        ]
        book.add_steps(steps)
        book.add_unlisted([UnlistedRow("acme", "cn-north-4", "p1", key_id(99), '{"key_alias":"shadow"}')])
        book.append(*list(run_events(book.seal()))[:keep])
    return directory


def test_every_record_ends_as_the_events_tell(tmp_path):
    """Records come in order, each with the outcome that its verdict or its steps give, and the chain is proven."""
    with Replay(written(tmp_path)) as replay:
        records = list(replay.records())
        assert {record.line - 1: record.outcome for record in records} == EXPECTED
        assert [record.line for record in records] == list(range(2, RECORDS + 2))
        proof = replay.proof()
        assert (proof.fault, proof.events) == ("", len(list(run_events(""))))
        assert [row.key_id for row in replay.unlisted()] == [key_id(99)]
        course = replay.course
    assert (course.begun, course.ended, course.exit_code) == (True, "interrupted by SIGTERM", 130)
    assert (course.digest, course.places) == ("d" * 64, {AWAY: "a redirect"})
    assert (len(course.walks), [body["pid"] for body in course.started]) == (1, [1, 2])
    assert course.first_at == "2026-11-24T03:34:00Z"


def test_a_record_shows_what_was_sent_for_it(tmp_path):
    """The columns tell both steps of a key, count no 429, and say nothing of what was never sent."""
    with Replay(written(tmp_path)) as replay:
        shown = {record.line - 1: record for record in replay.records()}
    one, both, dropped, unsent = (shown[n] for n in (1, 4, 5, 9))
    assert (one.attempts, one.http_status, one.request_id, one.sequence) == ("1", "200", "r-done", "sequence-1")
    assert (one.rotation_before, one.rotation_after, one.verified_at) == ("false", "true", "2026-11-24T03:38:00Z")
    assert (both.action, both.sequence, both.attempts) == ("enable;set-interval", "sequence-4;sequence-5", "1;1")
    assert (both.interval_after, both.drift) == ("365", {"key_rotation_enabled": ("true", "false")})
    assert (dropped.action, dropped.sequence, dropped.reason, dropped.changed) == ("", "", "key is disabled", False)
    assert (unsent.attempts, unsent.requested_at, unsent.reason, unsent.changed) == ("", "", "a redirect", False)
    assert (shown[8].http_status, shown[8].changed, shown[3].changed) == ("401", False, True)
    assert (shown[12].key_alias, shown[12].cells, shown[12].rotation_before) == ("", ("not a key id",), "")
    assert (shown[13].key_alias, shown[13].reason) == ("app/13", "because of 13")


def contents(directory):
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) for path in directory.iterdir()
    }


KILLED = """
import os, signal, sys
from pathlib import Path
from audit.ledger import Ledger
from audit.tables import Event, EventKind
from audit.scrub import Scrubber
book = Ledger(Path(sys.argv[1]), lambda: "2026-11-24T04:00:00Z", Scrubber())
book.append(Event(EventKind.STARTED, None, {"pid": 3}))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("killed", [False, True])
def test_reading_leaves_no_trace(tmp_path, killed):
    """A run directory, read-only or as a killed process left it, is read to its last event and not touched."""
    directory = tmp_path / "run #1?"
    directory.mkdir()
    written(directory)
    if killed:
        argv = [sys.executable, "-c", KILLED, directory / "ledger.sqlite3"]
        assert subprocess.run(argv, cwd=Path(__file__).parent.parent, check=False).returncode == -signal.SIGKILL
        assert (directory / "ledger.sqlite3-wal").stat().st_size
    for path in directory.iterdir():
        path.chmod(0o400)
    directory.chmod(0o500)
    os.utime(directory, (0, 0))
    before, at = contents(directory), directory.stat()
    with Replay(directory) as replay:
        read = Path(replay.db.execute("PRAGMA database_list").fetchone()[2])
        assert Counter(record.outcome for record in replay.records()).total() == RECORDS
        assert not replay.proof().fault
        assert len(replay.course.started) == (3 if killed else 2)
        assert (replay.course.ended == "interrupted by SIGTERM", replay.course.last_at[11:13]) == (
            True,
            "04" if killed else "03",
        )
    assert contents(directory) == before
    assert (directory.stat().st_mtime_ns, directory.stat().st_mode) == (at.st_mtime_ns, at.st_mode)
    assert read.exists() == (not killed)  # a copy, where one was needed, is gone


VALUES = {
    "records": {
        "line": "99", "account": "'other'", "region": "'x'", "project_id": "'x'", "key_id": "'x'", "rules": "''",
        "outcome": "'compliant'", "reason": "''", "live": "''", "cells": """'["a","b","c","d","e"]'""",
    },
    "steps": {"record": "3", "action": "'set-interval'", "interval": "30", "sequence": "'x'"},
    "unlisted": {"account": "''", "region": "'x'", "project_id": "'x'", "key_id": "'x'", "live": "'{}'"},
    "run": {"value": "replace(value, '365', '30')"},
    "events": {"at": "'x'", "kind": "'withdrawn'", "step": "9", "body": "replace(body, '{', '{ ')", "previous": "'x'"},
}  # fmt: skip
WHERE = {"records": "n = 4", "steps": "number = 10", "unlisted": "n = 1", "run": "name = 'policy'", "events": "id = 20"}
TAMPERING = {
    **{
        f"{table}.{column}": f"UPDATE {table} SET {column} = {value} WHERE {WHERE[table]}"  # noqa: S608  # ours
        for table, values in VALUES.items()
        for column, value in values.items()
    },
    **{f"{table} removed": f"DELETE FROM {table} WHERE {where}" for table, where in WHERE.items()},  # noqa: S608
    "record added": "INSERT INTO records SELECT 15, 16, '', '', '', '', NULL, '', '', '', '[]' FROM records LIMIT 1",
    "run added": "INSERT INTO run VALUES ('simulated', 'true')",
    "many events removed": "DELETE FROM events WHERE id > 20 AND id < 30",
    "first event removed": "DELETE FROM events WHERE id = 1",
    "all events removed": "DELETE FROM events",
    "event inserted": "UPDATE events SET id = -id WHERE id > 20; UPDATE events SET id = 1 - id WHERE id < 0;"
    "INSERT INTO events SELECT 21, at, kind, step, body, previous FROM events WHERE id = 20",
    "events reordered": "UPDATE events SET id = -1 WHERE id = 20; UPDATE events SET id = 20 WHERE id = 21;"
    "UPDATE events SET id = 21 WHERE id = -1",
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_shows(tmp_path, what):
    """A value changed, a row taken out, put in or moved, in any table: the proof names a fault."""
    db = sqlite3.connect(written(tmp_path) / "ledger.sqlite3")
    db.executescript(
        f"DROP TRIGGER events_stay; DROP TRIGGER events_are_kept; PRAGMA foreign_keys = OFF; {TAMPERING[what]}"
    )
    db.close()
    with Replay(tmp_path) as replay:
        assert replay.proof().fault


def test_what_cannot_be_read_is_one_message(tmp_path):
    """No run directory, another version, broken bytes or a broken body: each ends as a fault, not as a traceback."""
    with pytest.raises(RunDirFault):
        Replay(tmp_path)
    written(tmp_path)
    shutil.copytree(tmp_path, tmp_path / "newer")
    for directory, statement in (
        (tmp_path, "INSERT INTO events VALUES (999, '', 'planned', NULL, '[]', '')"),
        (tmp_path / "newer", "PRAGMA user_version = 9"),
    ):
        db = sqlite3.connect(directory / "ledger.sqlite3")
        db.execute(statement)
        db.commit()
        db.close()
    (tmp_path / "newer" / "ledger.sqlite3-wal").touch()
    with pytest.raises(RunDirFault, match=r"newer/ledger\.sqlite3 has ledger version 9"):
        Replay(tmp_path / "newer")
    with pytest.raises(LedgerFault, match="cannot be read"):
        Replay(tmp_path)
    (tmp_path / "newer" / "ledger.sqlite3").unlink()
    (tmp_path / "newer" / "ledger.sqlite3").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises((LedgerFault, RunDirFault)):
        Replay(tmp_path / "newer")


GUARDED, DECLINED, STARTED, APPROVED = (
    (K.GUARDED, {"why": "too large"}),
    (K.DECLINED, {}),
    (K.STARTED, {}),
    (K.APPROVED, {}),
)
NO_WORD, NO_GO = "the process ended without a word before this key's turn", "the operator did not approve going on"


def ended(why="", code=0):
    return K.ENDED, {"why": why, "exit_code": code}


ENDINGS = [
    ([], False, "", 0),
    ([GUARDED, ended("too large", 5)], False, "too large", 5),
    ([GUARDED, ended("too large", 5), STARTED], False, "", 5),
    ([DECLINED, ended()], False, "", 0),
    ([APPROVED], True, NO_WORD, 0),
    ([APPROVED, ended()], True, "", 0),
    ([APPROVED, ended("SIGINT", 130), STARTED], True, "SIGINT", 130),
    ([APPROVED, STARTED, DECLINED, ended()], True, NO_GO, 0),
]


@pytest.mark.parametrize(("told", "begun", "why", "code"), ENDINGS)
def test_the_course_of_a_run(tmp_path, told, begun, why, code):
    """Why a run ended is what its last process said, or, where that said nothing, that it said nothing."""
    with Ledger(tmp_path / "ledger.sqlite3", lambda: "t", Scrubber(), create=True) as book:
        book.append(Event(K.STARTED), *(Event(kind, None, body) for kind, body in told))
    with Replay(tmp_path) as replay:
        assert (replay.course.begun, replay.course.ended, replay.course.exit_code) == (begun, why, code)


@given(st.integers(0, len(list(run_events("")))))
def test_any_crash_point_claims_no_more_than_the_events_show(keep):  # noqa: C901, PLR0912  # a case per outcome
    """Wherever a run is cut off, every record has one outcome, and each outcome is borne out by an event."""
    events = list(run_events(""))
    if keep < len(events) and events[keep].kind is K.ANSWERED and events[keep].body["meaning"] != "again":
        keep += 1  # an answer that settles is committed together with its attempt
    with tempfile.TemporaryDirectory() as name, Replay(written(Path(name), keep)) as replay:
        records = list(replay.records())
        assert replay.course.last_at == (f"2026-11-24T03:34:{keep - 1:02}Z" if keep else "")
        happened: dict[int, list[Event]] = {}
        for event in events[:keep]:
            if event.step:
                happened.setdefault(STEPS[event.step - 1][0], []).append(event)
        assert len(records) == RECORDS
        assert all(isinstance(record.outcome, Outcome) for record in records)
    for n, record in enumerate(records[:11], 1):
        events = happened.get(n, [])
        kinds = [event.kind for event in events]
        meanings = {event.body["meaning"] for event in events if event.kind is K.SENT}
        on = [
            e.kind is K.READ_BACK and bool(e.body["facts"]) and e.body["facts"]["key_rotation_enabled"] == "true"
            for e in events
        ]
        match record.outcome:
            case Outcome.REMEDIATED:
                assert any(on)
                assert K.INTENDED in kinds
            case Outcome.COMPLIANT:
                assert any(on)
            case Outcome.REFUSED:
                assert K.ANSWERED in kinds
            case Outcome.UNVERIFIED:
                assert meanings & {"done", "already"}
            case Outcome.MISSING:
                assert "gone" in meanings or any(event.kind is K.READ_BACK and event.body["gone"] for event in events)
            case Outcome.BLOCKED:
                assert K.SUPERSEDED in kinds
            case Outcome.NOT_ATTEMPTED:
                assert n == 4 or not meanings & {"done", "already", "again", "silent"}
            case Outcome.PLANNED:
                assert keep <= 3
            case other:
                assert other is Outcome.UNKNOWN
                assert K.INTENDED in kinds
