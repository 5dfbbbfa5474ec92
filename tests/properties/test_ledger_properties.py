"""Laws of the ledger: what goes in comes out in order, and whoever changes one value breaks the chain or the seal."""

import asyncio
import hashlib
import json
import sqlite3
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from audit.errors import LedgerFault
from audit.ledger import Ledger
from audit.replay import Replay
from audit.scrub import Scrubber
from audit.tables import START, Event, EventKind, RecordRow, event_hash

NOW, SECRET = "2026-11-24T03:34:00Z", "made-up-secret-key"
texts = st.text(max_size=12) | st.just(SECRET) | st.text(st.characters(categories=["Cs", "Cc", "Lo"]), max_size=4)
bodies = st.dictionaries(
    texts, st.recursive(st.none() | st.booleans() | st.integers() | texts, st.lists, max_leaves=4), max_size=3
)
events = st.builds(
    Event, st.sampled_from([EventKind.WITHDRAWN, EventKind.DECLINED]), st.none() | st.integers(1, 9), bodies
)


def stored(body):
    """A body as it is kept: without secrets, and without what is no text."""
    text = json.dumps(body, ensure_ascii=False).replace(SECRET, "[redacted]")
    return json.loads(text.encode("utf-8", "replace"))


@given(st.lists(st.lists(events, max_size=4), max_size=6), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_what_is_committed_comes_out_in_order(commits, delays):
    """However many commit at once, the events stand in the order of their commits, each whole, and the chain holds."""

    async def committer(book, batch, delay):
        for _ in range(delay):
            await asyncio.sleep(0)
        await book.commit(*batch)
        order.append(batch)

    async def scene(book):
        await asyncio.gather(*map(committer, [book] * 6, commits, delays))

    order: list[list[Event]] = []
    with tempfile.TemporaryDirectory() as name:
        with Ledger(Path(name, "ledger.sqlite3"), lambda: NOW, Scrubber([SECRET]), create=True) as book:
            asyncio.run(scene(book))
        db = sqlite3.connect(Path(name, "ledger.sqlite3"))
        found = db.execute("SELECT id, at, kind, step, body, previous FROM events ORDER BY id").fetchall()
        db.close()
    expected = [(event.kind.value, event.step, stored(event.body)) for batch in order for event in batch]
    assert [(kind, step, json.loads(body)) for _, _, kind, step, body, _ in found] == expected
    head = START
    for n, row in enumerate(found, 1):
        assert (row[0], row[5]) == (n, head)
        head = hashlib.sha256(json.dumps(list(row)).encode()).hexdigest()
        assert head == event_hash(*row)


def row(n):
    return RecordRow(n, n + 1, "", "cn-north-4", "p1", f"key-{n}", "unknown", "", "why", "", '["x"]')


COLUMNS = {
    "events": ["at", "kind", "step", "body", "previous"],
    "records": ["line", "account", "region", "project_id", "key_id", "outcome", "rules", "reason", "live", "cells"],
    "run": ["value"],
}
places = st.sampled_from([(table, column) for table, columns in COLUMNS.items() for column in columns])


@given(places, st.integers(0, 11), st.text(max_size=8) | st.integers(0, 99))
@example(("events", "previous"), 11, "x")
def test_no_value_can_be_changed_unseen(place, number, value):
    """Any other value in any row of run, records and events shows; the last event's own hash stands in the report."""
    table, column = place
    with tempfile.TemporaryDirectory() as name:
        with Ledger(Path(name, "ledger.sqlite3"), lambda: NOW, Scrubber(), create=True) as book:
            book.describe(columns=["key_id"], **{f"fact_{n}": n for n in range(11)})
            book.add_records(map(row, range(1, 13)))
            book.append(
                *[Event(EventKind.DECLINED)] * 6, Event(EventKind.PLANNED, None, {"digest": "", "seal": book.seal()})
            )
            book.append(*[Event(EventKind.DECLINED)] * 6)
        db = sqlite3.connect(Path(name, "ledger.sqlite3"))
        db.execute("DROP TRIGGER events_stay")
        by = {"run": "name", "records": "n", "events": "id"}[table]
        read = f"SELECT {by}, {column} FROM {table} ORDER BY {by}"  # noqa: S608  # from the names above
        identity, before = db.execute(read).fetchall()[number]
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {by} = ?", (value, identity))  # noqa: S608  # as before
        db.commit()
        after = db.execute(read).fetchall()[number][1]
        db.close()
        try:
            with Replay(Path(name)) as replay:
                fault = replay.proof().fault
        except LedgerFault as error:
            fault = str(error)
    assert bool(fault) == (after != before)
