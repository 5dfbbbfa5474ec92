"""The chain of a ledger's events, walked from its beginning; where it breaks, what happened as far as it tells."""

import sqlite3
from dataclasses import dataclass
from typing import Any

from audit.tables import START, event_hash, seal

_EVENTS = "SELECT id, at, kind, step, body, previous FROM events"


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the ledger is what was written: ``fault`` is empty, or says where it is not.

    ``events``: how many; ``head``: SHA-256 of the last event, 64 hex digits.
    """

    events: int
    head: str
    fault: str


def prove(db: sqlite3.Connection, sealed: str) -> Proof:
    """Walk the chain of events and compare the seal over the run, its records, steps and unlisted keys.

    ``sealed``: as the plan's event has it. Raises sqlite3.Error, TypeError on values that no ledger holds.
    """
    head, count = START, 0
    for row in db.execute(f"{_EVENTS} ORDER BY id"):
        count += 1
        if row[5] != head or row[0] != count:
            why = _break(db, row, count, head)
            return Proof(count, head, f"event {row[0]} does not continue the event before it: {why}")
        head = event_hash(*row)
    if seal(db) != sealed:  # an empty seal: the event that held it is gone
        return Proof(count, head, "run, records, steps or unlisted keys differ from what was sealed with the plan")
    return Proof(count, head, "")


def _break(db: sqlite3.Connection, row: tuple[Any, ...], number: int, head: str) -> str:
    """What happened at the first break of a chain, as far as the hashes tell. ``number``: the event that is due."""
    if row[0] != number:
        return f"event {number} is gone" if row[0] == number + 1 else f"events {number} to {row[0] - 1} are gone"
    due = db.execute(f"{_EVENTS} WHERE previous = ? AND id > ?", (head, number)).fetchone()
    if due is not None:
        moved = event_hash(number, *due[1:]) == row[5]
        return f"the event that is due stands at {due[0]}; {'the order was changed' if moved else 'others were put in'}"
    if number == 1:
        return "it is not the first that was written, or it was changed"
    after = db.execute(f"{_EVENTS} WHERE id = ?", (number + 1,)).fetchone()
    if after is not None and after[5] == event_hash(*row):
        return f"event {number - 1} was changed after it was written"
    return f"event {number} was changed or put in, or event {number - 1} was changed, or some between them are gone"
