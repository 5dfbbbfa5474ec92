"""The ledger: what was committed is on disk, what is on disk is chained, and what cannot be written is not sent."""

import asyncio
import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit.errors import LedgerFault, RunDirFault
from audit.execute import Journal, execute
from audit.halt import Halt
from audit.ledger import Ledger
from audit.model import Place
from audit.outcome import Action, Attempt, History, Meaning
from audit.plan import Step
from audit.retry import Tries
from audit.scrub import Scrubber
from audit.tables import VERSION, Event, EventKind, RecordRow, UnlistedRow

NOW = "2026-11-24T03:34:00Z"
SECRET = "made-up-secret-key"
HOME = Place("acme", "cn-north-4", "p1")
SENT, WALKED = EventKind.SENT, EventKind.WALKED


def ledger(directory: Path, *, create: bool = True, now=lambda: NOW) -> Ledger:
    return Ledger(directory / "ledger.sqlite3", now, Scrubber([SECRET]), create=create)


def row(n: int, outcome: str | None = "non_compliant", key_id: str = "", **texts: str) -> RecordRow:
    told = {"rules": "C01", "reason": "rotation is off", "live": "", "cells": '["x"]'} | texts
    return RecordRow(n, n + 1, "acme", "cn-north-4", "p1", key_id or f"key-{n}", outcome, *told.values())


def step(number: int, sequence: str = "") -> Step:
    return Step(number, number, HOME, f"key-{number}", Action.ENABLE, None, sequence or f"sequence-{number}")


def events(directory: Path) -> list[tuple]:
    """The events that a reader of its own sees, their chain proven with nothing but the documents."""
    db = sqlite3.connect(directory / "ledger.sqlite3")
    found = db.execute("SELECT id, at, kind, step, body, previous FROM events ORDER BY id").fetchall()
    db.close()
    head = "0" * 64
    for n, event in enumerate(found, 1):
        assert (event[0], event[5]) == (n, head)
        head = hashlib.sha256(json.dumps(list(event)).encode()).hexdigest()
    return found


def test_a_commit_returns_when_others_can_read_it(tmp_path):
    """When commit returns, its events are on disk, in their order, and the chain goes on over closing and renaming."""

    async def scene(book):
        for n in range(3):
            await book.commit(Event(SENT, n, {"n": n}), Event(WALKED, None, {"why": "…"}))
            assert len(events(book.path.parent)) == 2 * n + 2

    (tmp_path / "draft").mkdir()
    with ledger(tmp_path / "draft") as book:
        asyncio.run(scene(book))
        assert book.db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: a power cut forgets nothing either
        book.close()
        assert [path.name for path in book.path.parent.iterdir()] == ["ledger.sqlite3"]
        (tmp_path / "draft").rename(tmp_path / "run")
        book.reopen(tmp_path / "run" / "ledger.sqlite3")
        book.append(Event(EventKind.ENDED))
        assert (tmp_path / "run" / "ledger.sqlite3-wal").exists()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["ledger.sqlite3"]
    told = events(tmp_path / "run")
    assert [(kind, number, json.loads(body)) for _, at, kind, number, body, _ in told if at == NOW] == [
        *(event for n in range(3) for event in (("sent", n, {"n": n}), ("walked", None, {"why": "…"}))),
        ("ended", None, {}),
    ]  # fmt: skip


def test_committers_share_the_disk(tmp_path):
    """A thousand events of five hundred committers take a few syncs, and each committer's stay together."""

    async def scene(book):
        await asyncio.gather(*(book.commit(Event(SENT, n), Event(EventKind.ANSWERED, n)) for n in range(500)))

    with ledger(tmp_path) as book:
        asyncio.run(scene(book))
        assert 1 <= book.fsyncs <= 20
    told = [(kind, number) for _, _, kind, number, _, _ in events(tmp_path)]
    assert told == [pair for n in range(500) for pair in (("sent", n), ("answered", n))]


@pytest.mark.parametrize("statement", ["UPDATE events SET body = '{}'", "DELETE FROM events WHERE id = 1"])
def test_an_event_is_never_changed(tmp_path, statement):
    """The file itself refuses to change or remove an event."""
    with ledger(tmp_path) as book:
        book.append(Event(SENT, 1))
        with pytest.raises(sqlite3.IntegrityError, match="events are only added"):
            book.db.execute(statement)


FULL = {"full": "PRAGMA max_page_count = 1", "read-only": "PRAGMA query_only = 1"}


class Calls:
    """Writes that accept everything and count what is sent."""

    def __init__(self):
        self.sent = 0

    async def write(self, _):
        self.sent += 1
        return Attempt(Meaning.DONE, NOW, 200)


@pytest.mark.parametrize("state", FULL)
def test_an_intent_that_cannot_be_written_is_not_sent(tmp_path, state):
    """With the disk full or the file read-only nothing leaves, everybody who waits is told, and nothing is believed."""

    async def scene(book, history, writes):
        journal = Journal(book, {1: history})
        work = (
            execute(step(1), Tries(5), writes, journal, Halt()),
            *(book.commit(Event(SENT, 1, {"long": "x" * 9000})) for _ in "ab"),
        )
        return await asyncio.gather(*work, return_exceptions=True)

    history, writes = History(1, Action.ENABLE, None, "sequence-1"), Calls()
    with ledger(tmp_path) as book:
        book.append(Event(EventKind.APPROVED))
        book.db.execute(FULL[state])
        faults = asyncio.run(scene(book, history, writes))
        assert [type(fault) for fault in faults] == [LedgerFault] * 3
        assert "cannot be written" in str(faults[0])
        assert (writes.sent, history.intended, book.db.in_transaction) == (0, False, False)
        book.db.execute("PRAGMA max_page_count = 100000")
        book.db.execute("PRAGMA query_only = 0")
        assert asyncio.run(scene(book, history, writes))[0].meaning is Meaning.DONE
    assert writes.sent == 1
    assert [kind for _, _, kind, *_ in events(tmp_path)] == ["approved", "intended", "sent", "sent", "sent", "answered"]


def test_an_event_that_is_no_json_fails_and_hangs_nobody(tmp_path):
    """Whatever goes wrong in the writer's thread reaches those who wait for it, and the next commit goes through."""

    async def scene(book):
        with pytest.raises(TypeError):
            await book.commit(Event(SENT, 1, {"no": object()}))
        await book.commit(Event(SENT, 2, {"name": "not text: \udcff"}))

    with ledger(tmp_path) as book:
        asyncio.run(asyncio.wait_for(scene(book), 5))
    assert [(number, body) for *_, number, body, _ in events(tmp_path)] == [(2, '{"name":"not text: ?"}')]


def test_an_ending_waits_for_what_is_being_written(tmp_path):
    """A run that is torn down while a commit is on its way to the disk still writes its end, after it."""

    def slow():
        time.sleep(0.05)
        return NOW

    async def scene(book):
        waiting = asyncio.create_task(book.commit(Event(SENT, 1)))
        await asyncio.sleep(0.01)
        assert not waiting.done()  # the loop ends here, and cancels it

    with ledger(tmp_path, now=slow) as book:
        asyncio.run(scene(book))
        book.append(Event(EventKind.ENDED))
    assert [kind for _, _, kind, *_ in events(tmp_path)] == ["sent", "ended"]


def test_secrets_are_in_no_byte_of_the_file(tmp_path):
    """Whatever is stored passes the scrubber: run, records with every cell, verdicts, unlisted keys and events."""
    with ledger(tmp_path) as book:
        book.describe(arguments={"--note": SECRET})
        book.add_records([row(1, "rejected", SECRET, cells=f'["{SECRET}"]', reason=SECRET), row(2, None)])
        book.judged([row(2, "unknown", reason=f"echo {SECRET}", live=f'{{"key_alias":"{SECRET}"}}')])
        book.add_unlisted([UnlistedRow("acme", "cn-north-4", "p1", "key-9", f'{{"key_alias":"{SECRET}"}}')])
        book.append(Event(WALKED, None, {"why": {"deep": [SECRET]}}))
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert "ledger.sqlite3-wal" in files
        assert not [name for name, content in files.items() if SECRET.encode() in content]
    content = (tmp_path / "ledger.sqlite3").read_bytes()
    assert SECRET.encode() not in content
    assert content.count(b"[redacted]") == 8


def test_records_wait_for_their_verdict_in_order(tmp_path):
    """Waiting records are read in lists and in order while others are judged; rejected ones are not usable."""
    with ledger(tmp_path) as book:
        book.add_records(row(n, "rejected" if n % 4 == 0 else None, rules="") for n in range(1, 13))
        seen = []
        for rows in book.unjudged(4):
            seen.append([record.n for record in rows])
            book.judged(record._replace(outcome="compliant", rules="", reason="", live="{}") for record in rows)
        assert seen == [[1, 2, 3, 5], [6, 7, 9, 10], [11]]
        assert not list(book.unjudged())
        assert [record.n for record in book.usable()] == [1, 2, 3, 5, 6, 7, 9, 10, 11]
        assert sorted(book.outcomes()) == [("compliant", 9), ("rejected", 3)]


def test_no_sequence_is_used_twice(tmp_path):
    """The table of steps refuses a sequence that it holds already, and takes none of the steps given with it."""
    with ledger(tmp_path) as book:
        book.add_records(row(n) for n in (1, 2, 3))
        book.add_steps([step(1)])
        with pytest.raises(LedgerFault, match="UNIQUE"):
            book.add_steps([step(2), step(3, "sequence-1")])
        assert book.db.execute("SELECT number FROM steps").fetchall() == [(1,)]


def test_the_seal_covers_all_that_was_known_before(tmp_path):
    """Another value anywhere in run, records, steps or unlisted keys makes another seal; events make none."""
    with ledger(tmp_path) as book:
        seals = [book.seal()]
        for change in (
            lambda: book.describe(policy={"max_interval": 365}), lambda: book.describe(policy={"max_interval": 90}),
            lambda: book.add_records([row(1, None)]), lambda: book.judged([row(1)]), lambda: book.add_steps([step(1)]),
            lambda: book.add_unlisted([UnlistedRow("", "cn-north-4", "p1", "key-9", "{}")]),
        ):  # fmt: skip
            change()
            seals.append(book.seal())
        assert len(set(seals)) == 7
        book.append(Event(WALKED))
        assert book.seal() == seals[-1]


@pytest.mark.parametrize("version", [0, VERSION + 1])
def test_a_ledger_of_another_version_is_left_alone(tmp_path, version):
    """Such a file is refused with exit code 2, naming its version, and not a byte of it changes."""
    with ledger(tmp_path) as book:
        book.db.execute(f"PRAGMA user_version = {version}")
    before = book.path.read_bytes()
    with pytest.raises(RunDirFault, match=f"ledger version {version}, .* version {VERSION}"):
        ledger(tmp_path, create=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"ledger.sqlite3": before}


def test_what_is_no_ledger_is_told_so(tmp_path):
    """A file that is no database, and a folder that is not there, end in one message each."""
    with pytest.raises(LedgerFault, match="cannot be opened"):
        ledger(tmp_path / "nowhere")
    (tmp_path / "ledger.sqlite3").write_text("line,key_id\n" * 400)
    with pytest.raises(RunDirFault, match="is not a ledger"):
        ledger(tmp_path, create=False)


def test_a_closed_ledger_takes_and_gives_nothing(tmp_path):
    """Reading, writing and closing again after the end are faults of the ledger, not of Python."""
    book = ledger(tmp_path)
    book.close()
    for use in (book.close, book.outcomes, lambda: book.describe(late=True)):
        with pytest.raises(LedgerFault):
            use()


CHILD = """
import asyncio, sys
from pathlib import Path
from audit.ledger import Ledger
from audit.tables import Event, EventKind
from audit.scrub import Scrubber

async def committer(book, n):
    while True:
        await book.commit(Event(EventKind.INTENDED, n), Event(EventKind.SENT, n, {"n": n}))
        print(n, flush=True)
        n += 10

async def all(book):
    await asyncio.gather(*(committer(book, n) for n in range(10)))

asyncio.run(all(Ledger(Path(sys.argv[1]), lambda: "2026-11-24T03:34:00Z", Scrubber(), create=True)))
"""


@pytest.mark.parametrize("lines", [1, 57, 400])
def test_a_killed_process_loses_nothing_that_it_was_promised(tmp_path, lines):
    """After SIGKILL in the midst of it the file opens, the chain holds, and every commit that returned is there."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path / "ledger.sqlite3"],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    ) as child:
        promised = [int(child.stdout.readline()) for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        promised += [int(line) for line in child.stdout.read().split(b"\n")[:-1]]
    with ledger(tmp_path, create=False) as book:
        book.append(Event(EventKind.ENDED))
    told = events(tmp_path)
    assert set(promised) <= {number for _, _, kind, number, _, _ in told if kind == "sent"}
    assert [kind for _, _, kind, *_ in told] == ["intended", "sent"] * (len(told) // 2) + ["ended"]
