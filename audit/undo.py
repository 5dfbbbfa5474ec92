"""Undoing a run: its recorded changes become the records of a new run, and each is judged by what KMS shows now.

A key is changed back only while it is as that run left it. What was changed otherwise since is left alone, and what
that run may have changed, but is not known to have, is listed and not touched.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from audit.assess import Loaded, Standing, new_sequence, place_of, stated_facts, stored
from audit.errors import LedgerFault, RunDirFault
from audit.ledger import Ledger
from audit.model import Facts, Place, Policy
from audit.outcome import Ending, History, Outcome, ReadBack
from audit.plan import Step, undo
from audit.replay import Replay
from audit.reversal import Doubt, Reversal, reversal, sealed
from audit.rules import judge
from audit.rundir import LEDGER
from audit.tables import RecordRow
from audit.verdict import Blocked, Ineligible, Undecided, Unread, verdict_reason
from audit.verify import unfinished
from audit.walk import Walk

Changes = Mapping[int, Reversal | Doubt]
"""What there is to undo, by the number of the new run's record."""


def check(past: Replay) -> str:
    """The hash of the last event of a run that can be undone: 64 hex digits.

    Raises RunDirFault where it cannot be, LedgerFault where its ledger is not what was written.
    """
    about, where = past.about, past.directory
    if not past.course.seal:
        raise RunDirFault(f"{where} has no complete plan: its run ended before", "nothing was changed")
    if about["command"] == "check":
        raise RunDirFault(f"{where} is a check", "nothing was changed: there is nothing to undo")
    if about["command"] == "rollback":
        raise RunDirFault(
            f"{where} is a rollback, which is not undone",
            "to switch rotation on again: kms-rotation remediate INVENTORY",
        )
    proof = past.proof()
    if proof.fault:
        raise LedgerFault(f"{where / LEDGER} is not what was written: {proof.fault}", "nothing was sent")
    return proof.head


def load(past: Replay, head: str, ledger: Ledger) -> Loaded:
    """Put the records that a run may have changed into a new ledger, in order, with their lines and cells.

    ``head``: of the other ledger, as checked. Raises RunDirFault where nothing was changed.
    """
    about, where = past.about, past.directory
    changes: dict[int, Reversal | Doubt] = {}
    wanted: dict[Place, set[str]] = {}
    ledger.add_records(_rows(past, changes, wanted))
    if not changes:
        raise RunDirFault(f"{where}: nothing was changed by this run", "there is nothing to undo")
    total, held = about["records"], len(changes)
    said = (
        f"This run undoes {about['id']} (last event {head}). Of its {total:,} records {held:,} had a request "
        f"that may have changed the key; for the other {total - held:,} there is nothing to undo."
    )
    go_on = f"{about['id']} is not finished: kms-rotation apply {where} settles what is not known of its keys."
    return Loaded(
        past.columns,
        about["account"],
        functools.partial(assess, ledger, past.columns, changes),
        records=len(changes),
        usable=len(changes),
        wanted=wanted,
        input={**about["input"], "blank_lines": 0, "warnings": [said, *([go_on] if unfinished(past.steps) else [])]},
        undoes={"id": about["id"], "head": head},
    )


def _rows(past: Replay, changes: dict[int, Reversal | Doubt], wanted: dict[Place, set[str]]) -> Iterator[RecordRow]:
    by_record: dict[int, list[History]] = {}
    for step in past.steps.values():
        by_record.setdefault(step.record, []).append(step)
    for row in past.rows():
        before = Facts.of(json.loads(row.live)) if row.live else Facts()
        change = reversal(before, by_record.get(row.n, []))
        if change is None:
            continue
        changes[n := len(changes) + 1] = change
        wanted.setdefault(place_of(row), set()).add(row.key_id)
        left = before  # until the record is judged: what a simulated KMS is seeded with
        if isinstance(change, Reversal):
            left = before._replace(key_rotation_enabled="true", rotation_interval=str(max(change.left)))
        yield row._replace(n=n, outcome=None, rules="", reason="", live=stored(left))


async def assess(ledger: Ledger, columns: Sequence[str], changes: Changes, walk: Walk, policy: Policy) -> list[Step]:
    """Judge every waiting record by what KMS shows, write what is found, and make the steps."""
    steps: list[Step] = []
    for rows in ledger.unjudged():
        sure = {row.n: change for row in rows if isinstance(change := changes[row.n], Reversal)}
        found = await _found([row for row in rows if row.n in sure], columns, sure, walk, policy)
        doubtful = {row.n: (place_of(row), row.key_id) for row in rows if row.n not in sure}
        looks = await walk.look(set(doubtful.values()))
        for row in rows:
            change = changes[row.n]
            if isinstance(change, Doubt):
                found[row.n] = _in_doubt(change, looks[doubtful[row.n]])
            elif found[row.n][0] is None:
                steps.append(undo(row.n, place_of(row), row.key_id, change, new_sequence, len(steps) + 1))
        ledger.judged(_judged(row, *found[row.n]) for row in rows)
    return steps


async def again(ledger: Ledger, columns: Sequence[str], steps: Sequence[Step], walk: Walk, policy: Policy) -> Standing:
    """Judge the steps of a rollback again: one of a key that is not as that run left it any more is over."""
    by_record = {step.record: step for step in steps}
    rows = [row for row in ledger.usable() if row.n in by_record]
    changes = {row.n: sealed(Facts.of(json.loads(row.live)), by_record[row.n].interval) for row in rows}
    found = await _found(rows, columns, changes, walk, policy)
    standing = {by_record[n].number: ending for n, (ending, _) in found.items()}
    return {number: ending for number, ending in standing.items() if not isinstance(ending, Unread)}


_Found = tuple[Ending | Unread | None, Facts]
"""How a record ends without a step, or that its key could not be read; None where it is as left. And the facts."""


def _judged(row: RecordRow, ending: Ending | Unread | None, live: Facts) -> RecordRow:
    if isinstance(ending, Unread):
        ending = Ending(Outcome.UNKNOWN, ending.why)
    ending = ending or Ending(Outcome.PLANNED, "")
    return row._replace(outcome=ending.outcome, reason=ending.reason, live=stored(live) if any(live) else "")


def _in_doubt(change: Doubt, look: ReadBack) -> _Found:
    facts = look.facts or Facts()
    if change.was_off and facts.rotates is False:
        return _FOUND_OFF, facts
    return Ending(Outcome.UNKNOWN, f"not undone: {change.why}"), facts


async def _found(
    rows: Sequence[RecordRow], columns: Sequence[str], changes: Mapping[int, Reversal], walk: Walk, policy: Policy
) -> dict[int, _Found]:
    """Compare each key with how the run left it. The interval of those on which all hangs on it is read one by one."""
    asked = {row.n: (place_of(row), row.key_id) for row in rows}
    stated = {row.n: stated_facts(row, columns)._replace(key_rotation_enabled="", rotation_interval="") for row in rows}
    looks = await walk.look(set(asked.values()))
    found = {n: _by_state(changes[n], looks[asked[n]], stated[n], policy) for n in asked}
    intervals = await walk.rotations({asked[n] for n, (ending, _) in found.items() if ending is None})
    for n, (ending, facts) in found.items():
        if ending is None:
            back = intervals[asked[n]]
            if back.facts is None and not back.gone:
                found[n] = Unread(f"its interval could not be read: {back.fault}"), facts
                continue
            whole = replace(back, facts=back.facts and back.facts.over(facts))
            ended, now = _by_state(changes[n], whole, stated[n], policy)
            found[n] = ended or _by_interval(changes[n], now), now
    return found


_FOUND_OFF = Ending(Outcome.ROLLED_BACK, "rotation was found off, as before that run")


def _by_state(change: Reversal, look: ReadBack, stated: Facts, policy: Policy) -> _Found:
    if look.facts is None:
        gone = Ending(Outcome.LEFT_ALONE, f"KMS does not have this key any more: {look.fault}")
        return gone if look.gone else Unread(look.fault), Facts()
    facts = look.facts
    if change.before is None and facts.rotates is False:
        return _FOUND_OFF, facts
    match verdict := judge(facts.over(stated), policy):
        case Ineligible() | Blocked():
            return _changed(verdict_reason(verdict)), facts
        case Undecided() if verdict.missing != ("rotation_interval",):
            return Ending(Outcome.UNKNOWN, verdict_reason(verdict)), facts
        case _:
            return None if facts.rotates else _changed("rotation is off"), facts


def _by_interval(change: Reversal, facts: Facts) -> Ending | None:
    if facts.interval is None:
        return Ending(Outcome.UNKNOWN, "KMS does not state the interval, so it cannot be compared")
    if facts.interval == change.before:
        return Ending(Outcome.ROLLED_BACK, f"the interval was found at {facts.interval} days, as before that run")
    if facts.interval in change.left:
        return None
    left = " or ".join(map(str, sorted(change.left)))
    return _changed(f"it rotates every {facts.interval} days, that run left it at {left}")


def _changed(what: str) -> Ending:
    return Ending(Outcome.LEFT_ALONE, f"changed since that run: {what}")
