"""From an inventory to verdicts and steps: every record goes into the ledger, judged, before anything is written."""

import functools
import json
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from audit.halt import Halt
from audit.inventory import Inventory
from audit.ledger import Ledger
from audit.model import Facts, Key, Place, Policy, RejectedRecord
from audit.outcome import Action, Ending, Outcome, ReadBack
from audit.plan import Step, make
from audit.replay import Replay
from audit.rules import judge
from audit.tables import RecordRow, UnlistedRow
from audit.verdict import Eligible, Undecided, Unread, Verdict, verdict_outcome, verdict_reason, waive
from audit.waiver import NO_WAIVERS, Waivers
from audit.walk import Walk

Assess = Callable[[Walk, Policy], Awaitable[list[Step]]]
"""Judge every waiting record by what a walk shows, write the verdicts, and make the steps."""

Standing = Mapping[int, Ending | None]
"""By step number: how a step ends that is needless or impossible now, None where it stands; no entry: not known."""

Again = Callable[[Ledger, Sequence[str], Sequence[Step], Walk, Policy], Awaitable[Standing]]
"""Judge steps that were not sent by what a walk shows. The texts: the header of the inventory."""


@dataclass(slots=True)
class Loaded:
    """The records of a new run. ``wanted``: the usable ones' key ids by place. ``assess``: how they are judged.

    ``columns``, ``account``, ``input``: of the inventory. ``undoes``: of a rollback, the run that it undoes.
    """

    columns: tuple[str, ...]
    account: str
    assess: Assess
    records: int = 0
    usable: int = 0
    wanted: dict[Place, set[str]] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    undoes: Mapping[str, Any] = field(default_factory=dict)


def load(
    inventory: Inventory, ledger: Ledger, policy: Policy, halt: Halt, *, live: bool, waivers: Waivers = NO_WAIVERS
) -> Loaded:
    """Put every record into the ledger: judged by what it states, or waiting for KMS's word where ``live``.

    Raises what ``halt`` ends with, between two lots of records: a signal never strikes in the middle of a write.
    """
    wanted: dict[Place, set[str]] = {}
    judging = functools.partial(assess, ledger, inventory.columns, wanted, waivers=waivers)
    loaded = Loaded(inventory.columns, inventory.account, judging, wanted=wanted)
    for chunk in inventory.chunks():
        if halt.ending:
            raise halt.ending
        ledger.add_records(list(_rows(chunk, loaded, inventory.columns, policy, waivers, live=live)))
    noted = ("name", "sha256", "encoding", "delimiter", "blank_lines", "warnings")  # complete now
    loaded.input = {name: getattr(inventory, name) for name in noted}
    return loaded


def _rows(
    chunk: Iterable[Key | RejectedRecord],
    loaded: Loaded,
    columns: Sequence[str],
    policy: Policy,
    waivers: Waivers,
    *,
    live: bool,
) -> Iterator[RecordRow]:
    for item in chunk:
        loaded.records += 1
        cells = _encode(item.cells)
        if isinstance(item, RejectedRecord):
            why = item.why if item.why.startswith(item.column) else f"{item.column}: {item.why}"
            shown = dict(zip(columns, item.cells, strict=False)) if len(item.cells) == len(columns) else {}
            place = Place(*(shown.get(name, "") for name in ("account", "region", "project_id")))
            told: tuple[str | None, str, str] = (Outcome.REJECTED, "", why)
            yield _row(loaded.records, item.line, place, shown.get("key_id", ""), told, cells)
            continue
        loaded.usable += 1
        place = item.place
        if live:
            loaded.wanted.setdefault(place, set()).add(item.key_id)
            told = (None, "", item.note)
        else:
            loaded.wanted.setdefault(place, set())
            facts = item.facts
            if facts.default_key_flag:  # then no rule looks at the alias, and most keys are alike
                facts = facts._replace(key_alias="")
            verdict = waive(_judged(facts, policy), waivers, place, item.key_id, item.facts.key_alias)
            told = _told(verdict, item.note)
        yield _row(loaded.records, item.line, place, item.key_id, told, cells)


def _row(
    n: int, line: int, place: Place, key_id: str, told: tuple[str | None, str, str], cells: str, live: str = ""
) -> RecordRow:
    return RecordRow(n, line, place.account, place.region, place.project_id, key_id, *told, live, cells)


_encode = json.JSONEncoder(ensure_ascii=False).encode
_judged = functools.lru_cache(maxsize=1024)(judge)


def _told(verdict: Verdict, note: str) -> tuple[Outcome, str, str]:
    rules = ";".join(finding.rule for finding in verdict.findings)
    return verdict_outcome(verdict), rules, "; ".join(text for text in (verdict_reason(verdict), note) if text)


def place_of(row: RecordRow) -> Place:
    """Where a stored record's key lives."""
    return Place(row.account, row.region, row.project_id)


def stated_facts(row: RecordRow, columns: Sequence[str]) -> Facts:
    """What the inventory stated of a stored record's key."""
    return Facts.of(dict(zip(columns, json.loads(row.cells), strict=True)))


def stored_steps(past: Replay) -> list[Step]:
    """The plan of a run, as it stands in its ledger."""
    planned = {step.record for step in past.steps.values()}
    rows = {row.n: row for row in past.rows() if row.n in planned}
    return [
        Step(number, step.record, place_of(row), row.key_id, step.action, step.interval, step.sequence)
        for number, step in past.steps.items()
        for row in (rows[step.record],)
    ]


def stored_places(past: Replay) -> set[Place]:
    """Every place that a usable record of a run names, whether or not it has a step."""
    return {place_of(row) for row in past.rows() if row.outcome != Outcome.REJECTED}


def stored_keys(ledger: Ledger, columns: Sequence[str]) -> Iterator[Key]:
    """The usable records of a ledger as keys again, to seed a simulated KMS with: as it said, else as stated."""
    for row in ledger.usable():
        said = Facts.of(json.loads(row.live)) if row.live else Facts()
        yield Key(row.line, place_of(row), row.key_id, said.over(stated_facts(row, columns)), ())


async def judge_live(
    rows: Sequence[RecordRow], columns: Sequence[str], walk: Walk, policy: Policy, waivers: Waivers = NO_WAIVERS
) -> list[tuple[RecordRow, Verdict, Facts]]:
    """The verdict on each row by what KMS says now, and those facts.

    What KMS does not state is taken from the inventory, but never whether and how often the key rotates. Waivers are
    looked at last: a key that turns out to be in order needs none.
    """
    asked = {row.n: (place_of(row), row.key_id) for row in rows}
    said = await walk.look(set(asked.values()))
    verdicts = {row.n: _verdict(row, columns, said[asked[row.n]], policy) for row in rows}
    slow = {
        n
        for n, (verdict, _) in verdicts.items()
        if isinstance(verdict, Undecided) and verdict.missing == ("rotation_interval",)
    }
    intervals = await walk.rotations({asked[n] for n in slow})
    for row in rows:
        if row.n in slow:
            look, more = said[asked[row.n]], intervals[asked[row.n]]
            if more.facts is None or look.facts is None:
                why = f"its interval could not be read: {more.fault}"
                verdicts[row.n] = Unread(why, more.gone), verdicts[row.n][1]
            else:
                merged = replace(look, facts=more.facts.over(look.facts))
                verdicts[row.n] = _verdict(row, columns, merged, policy)
    return [(row, _waived(row, columns, *verdicts[row.n], waivers), verdicts[row.n][1]) for row in rows]


def _waived(row: RecordRow, columns: Sequence[str], verdict: Verdict, live: Facts, waivers: Waivers) -> Verdict:
    if not waivers.entries:
        return verdict
    alias = stated_facts(row, columns).key_alias or live.key_alias  # as the report shows it
    return waive(verdict, waivers, place_of(row), row.key_id, alias)


def _verdict(row: RecordRow, columns: Sequence[str], look: ReadBack, policy: Policy) -> tuple[Verdict, Facts]:
    if look.facts is None:
        why = f"KMS does not have this key: {look.fault}" if look.gone else look.fault
        return Unread(why, look.gone), Facts()
    stated = stated_facts(row, columns)._replace(key_rotation_enabled="", rotation_interval="")
    return judge(look.facts.over(stated), policy), look.facts


def new_sequence() -> str:
    """A sequence that no request has had before."""
    return str(uuid.uuid4())


async def assess(
    ledger: Ledger,
    columns: Sequence[str],
    wanted: Mapping[Place, set[str]],
    walk: Walk,
    policy: Policy,
    *,
    waivers: Waivers = NO_WAIVERS,
) -> list[Step]:
    """Judge every waiting record by what KMS says, write the verdicts, make the steps, and note unlisted keys."""
    steps: list[Step] = []
    for rows in ledger.unjudged():
        judged = await judge_live(rows, columns, walk, policy, waivers)
        ledger.judged(
            _row(row.n, row.line, place_of(row), row.key_id, _told(verdict, row.reason), row.cells, stored(live))
            for row, verdict, live in judged
        )
        for row, verdict, _ in judged:
            if isinstance(verdict, Eligible):
                steps += make(row.n, place_of(row), row.key_id, verdict, policy, new_sequence, len(steps) + 1)
    ledger.add_unlisted(_unlisted(walk, wanted))
    return steps


async def again(
    ledger: Ledger,
    columns: Sequence[str],
    steps: Sequence[Step],
    walk: Walk,
    policy: Policy,
    *,
    waivers: Waivers = NO_WAIVERS,
) -> Standing:
    """Judge steps that bring keys into policy again: one of a key that is in order, or worse off, is over."""
    records = {step.record for step in steps}
    rows = [row for row in ledger.usable() if row.n in records]
    judged = await judge_live(rows, columns, walk, policy, waivers)
    verdicts = {row.n: verdict for row, verdict, _ in judged}
    return {
        step.number: _over(step, verdict)
        for step in steps
        for verdict in (verdicts[step.record],)
        if not isinstance(verdict, Unread) or verdict.gone
    }


def _over(step: Step, verdict: Verdict) -> Ending | None:
    match verdict:
        case Eligible(findings=findings) if (step.action is Action.ENABLE) == (findings[0].rule == "C01"):
            return None
        case Eligible() if step.action is Action.ENABLE:
            outcome = Outcome.COMPLIANT
        case _:
            outcome = verdict_outcome(verdict)
    why = "already in order when read again" if outcome is Outcome.COMPLIANT else verdict_reason(verdict)
    return Ending(outcome, why)


def stored(facts: Facts) -> str:
    """Facts as a ledger holds them."""
    return _encode(facts.stated()) if facts.stated() else ""


def _unlisted(walk: Walk, wanted: Mapping[Place, set[str]]) -> Iterator[UnlistedRow]:
    """The keys that a walk showed and the inventory does not name."""
    for place in sorted(walk.listings):
        listing = walk.listings[place]
        for key_id in sorted(listing.keys.keys() - wanted.get(place, set())):
            yield UnlistedRow(place.account, place.region, place.project_id, key_id, stored(listing.keys[key_id]))
