"""From ledgers to the view of a report: which record stands where, and every total. No template, no file, no clock."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any, TypeVar

from audit.model import KEY_ID, Facts, Place
from audit.outcome import ANOTHER_RUN, Outcome, Record, exit_code
from audit.replay import Replay
from audit.report import compare, controls, costs, population, waived, words
from audit.report.language import ENGLISH, Language
from audit.report.lists import SHOWN, Shown, Table
from audit.report.rows import API_NAMES, Again, Owners, columns, failed, failed_columns, own_columns, rows
from audit.report.shapes import (
    Drift,
    Entry,
    Group,
    OutcomeLine,
    PlaceLine,
    Request,
    Run,
    Section,
    Unlisted,
    View,
)
from audit.rules import RULES

T = TypeVar("T")

_RULES = {rule.id: rule for rule in RULES}


def build(
    runs: Sequence[Replay],
    *,
    report_id: str,
    version: str,
    now: str,
    say: Language = ENGLISH,
    baseline: Replay | None = None,
    price: str = "",
) -> View:
    """The view of one run, or of several merged in the given order, each key counted by its newest run.

    ``say``: the language of its sentences. ``baseline``: an earlier run to compare with. ``price``: see ``costs.cost``.

    ``report_id``, ``version``, ``now``: what the report calls itself, who renders it, and when (UTC, as in the ledger).
    Raises UsageFault where the runs cannot be merged.
    """
    owners, own = Owners(runs), own_columns(runs)
    shelf = _Shelf(runs, owners)
    counts, told = shelf.counts, tuple(map(_run, runs, shelf.by_run, shelf.places))
    walks = [_latest(run) for run in runs]
    faults = words.faults(runs, walks, sum(not run.intact for run in told))
    simulated, longest = bool(runs[0].about.get("simulated")), max(counts.values(), default=0) or 1
    tone, status = words.status(counts, faults)
    others = Again(lambda: _unlisted(runs, owners))
    unlisted = _shown(tuple(islice(others, SHOWN)), sum(1 for _ in others), others)
    return View(
        say=say,
        id=report_id,
        version=version,
        rendered=now,
        merged=len(runs) > 1,
        simulated=simulated,
        verdict=words.verdict(counts, faults, simulated=simulated),
        status=status,
        tone=tone,
        runs=told,
        blank_lines=sum(run.input["blank_lines"] for run in told),
        counts={outcome.value: counts[outcome] for outcome in Outcome},
        outcomes=tuple(
            OutcomeLine(words.label(o), o.meaning, words.TONES[o], counts[o], round(100 * counts[o] / longest, 2))
            for o in Outcome
        ),
        rules=tuple((rule, shelf.rules[rule.id]) for rule in RULES if shelf.rules[rule.id]),
        places=tuple(
            _place_line(_id(run), walk) for run, each in zip(runs, walks, strict=True) for walk in each.values()
        ),
        unlisted=unlisted,
        drift=_shown(tuple(shelf.drift), shelf.drifting, Again(lambda: _drift(runs, owners))),
        attention=shelf.section("attention"),
        changed=shelf.section("changed"),
        planned=shelf.section("planned"),
        cannot=shelf.section("cannot"),
        compliant=shelf.section("compliant"),
        older=shelf.section("older"),
        touched=shelf.touched,
        waivers=waived.lines(runs, say),
        completeness=population.completeness(runs, unlisted.total, counts[Outcome.MISSING], say),
        cost=costs.cost(runs, owners, price, say),
        controls=controls.lines(say),
        comparison=compare.comparison(runs, owners, baseline, say),
        table=Table(columns(runs, own), Again(lambda: rows(runs, own)), shelf.total),
        failed=Table(failed_columns(runs), Again(lambda: failed(runs, owners)), sum(counts[o] for o in ANOTHER_RUN)),
    )


_SECTIONS: Mapping[Outcome, str] = {
    **dict.fromkeys(words.ATTENTION, "attention"),
    Outcome.REMEDIATED: "changed",
    Outcome.ROLLED_BACK: "changed",
    Outcome.PLANNED: "planned",
    **dict.fromkeys((Outcome.INELIGIBLE, Outcome.BLOCKED, Outcome.WAIVED), "cannot"),
    Outcome.COMPLIANT: "compliant",
}
_ORDER: tuple[str, ...] = (*words.ATTENTION, *_RULES, *Outcome)
"""Groups of a section: by outcome, those of what cannot rotate by the headline rule."""


class _Shelf:
    """One pass over all records: everything is counted, and of every group the first ``SHOWN`` are kept."""

    def __init__(self, runs: Sequence[Replay], owners: Owners) -> None:
        self.counts: Counter[Outcome] = Counter()
        self.rules: Counter[str] = Counter()
        self.by_run: list[Counter[Outcome]] = [Counter() for _ in runs]
        self.places: list[dict[tuple[str, str, str], None]] = [{} for _ in runs]
        self.total = self.drifting = self.touched = 0
        self.drift: list[Drift] = []
        self._sizes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._entries: defaultdict[str, defaultdict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
        self._anchors: Counter[str] = Counter()
        for n, run in enumerate(runs):
            own = [(at, name) for at, name in enumerate(run.columns) if name not in API_NAMES]
            run_id = _id(run) if len(runs) > 1 else ""
            for record in run.records():
                self.by_run[n][record.outcome] += 1
                if record.outcome is not Outcome.REJECTED:
                    self.places[n][record.account, record.region, record.project_id] = None
                section = self._count(record, run_id) if owners.counts(n, record) else "older"
                group = record.rules.partition(";")[0] if section == "cannot" else ""
                group = group or record.outcome.value
                self.total += 1
                self._sizes[section][group] += 1
                if self._sizes[section][group] <= SHOWN:
                    self._entries[section][group].append(self._entry(record, own, run_id))

    def _count(self, record: Record, run_id: str) -> str:
        self.counts[record.outcome] += 1
        if record.drift:
            self.drifting += len(record.drift)
            self.drift.extend(islice(_drifts(record, run_id), max(0, SHOWN - len(self.drift))))
        section = _SECTIONS[record.outcome]
        if record.rules:
            self.rules.update(record.rules.split(";"))
        self.touched += record.changed and section == "attention"
        return section

    def _entry(self, record: Record, own: list[tuple[int, str]], run_id: str) -> Entry:
        anchor = f"key-{record.key_id}" if KEY_ID.fullmatch(record.key_id) else f"line-{record.line}"
        self._anchors[anchor] += 1
        again = self._anchors[anchor]
        return Entry(
            anchor=anchor if again == 1 else f"{anchor}-{again}",
            line=record.line,
            key_id=record.key_id,
            key_alias=record.key_alias,
            place=str(Place(record.account, record.region, record.project_id)),
            label=words.label(record.outcome),
            tone=words.TONES[record.outcome],
            rules=tuple(record.rules.split(";")) if record.rules else (),
            reason=record.reason,
            before=words.rotation(record.rotation_before, record.interval_before),
            after=words.rotation(record.rotation_after, record.interval_after),
            requests=_requests(record),
            own=tuple((name, record.cells[at]) for at, name in own if at < len(record.cells) and record.cells[at]),
            run_id=run_id,
        )

    def section(self, name: str) -> Section:
        """A section as shown: its groups in order, shortened as a whole."""
        sizes, left, groups = self._sizes[name], SHOWN, []
        for group in sorted(sizes, key=lambda group: _ORDER.index(group) if group in _ORDER else len(_ORDER)):
            entries = tuple(self._entries[name][group][:left])
            left -= len(entries)
            title, note, tone = words.group(group)
            groups.append(Group(title, note, tone, sizes[group], entries))
        total = sum(sizes.values())
        return Section(tuple(groups), total, words.more(total, SHOWN - left, "report.csv"))


def _requests(record: Record) -> tuple[Request, ...]:
    """The steps of a record, apart again; texts of the server are not taken apart, they may hold a semicolon."""
    texts = (record.sequence, record.attempts, record.http_status, record.error_code, record.request_id)
    times = (record.requested_at, record.verified_at)
    actions = record.action.split(";") if record.action else []
    parts = [text.split(";") if text else [""] * len(actions) for text in (*texts, *times)]
    return tuple(Request(*step) for step in islice(zip_longest(actions, *parts, fillvalue=""), len(actions)))


def _id(run: Replay) -> str:
    return str(run.about.get("id", run.directory.name))


_ABSENT: dict[str, Any] = dict.fromkeys(
    ("version", "command", "operator", "account", "access_key", "endpoint", "proxy", "created_at"), ""
) | {"live": False, "simulated": False, "hosts": (), "input": {}, "policy": {}, "arguments": {}}
_NO_INPUT: Mapping[str, Any] = {
    "name": "",
    "sha256": "",
    "encoding": "",
    "delimiter": "",
    "blank_lines": 0,
    "warnings": [],
}
"""What a ledger need not have noted."""


def _latest(run: Replay) -> dict[tuple[Place, str], Mapping[str, Any]]:
    """The last walk through every place, before and after the writes."""
    return {
        (Place(walk["account"], walk["region"], walk["project_id"]), walk["when"]): walk for walk in run.course.walks
    }


def _run(run: Replay, counts: Mapping[Outcome, int], places: Collection[tuple[str, str, str]]) -> Run:
    about, course, proof = {**_ABSENT, **run.about}, run.course, run.proof()
    complete = population.completeness([run], sum(1 for _ in run.unlisted()), counts[Outcome.MISSING], ENGLISH)
    return Run(
        id=_id(run),
        about=about,
        input={**_NO_INPUT, **about["input"]},
        places=words.places([str(Place(*place)) for place in places]),
        looked_at=words.looked_at(about),
        policy=words.policy(about["policy"]),
        domain=words.domain(about["policy"]),
        remarks=words.remarks(about, counts),
        processes=tuple(map(words.process, course.started)),
        started=course.first_at,
        ended=course.last_at,
        ended_early=course.ended,
        exit_code=exit_code({o.value: n for o, n in counts.items()}, course.exit_code, population.exit_code(complete)),
        digest=course.digest,
        events=proof.events,
        head=proof.head,
        seal=course.seal,
        intact=not proof.fault,
        proof=words.proof(proof, course.seal),
    )


def _place_line(run_id: str, walk: Mapping[str, Any]) -> PlaceLine:
    place = Place(walk["account"], walk["region"], walk["project_id"])
    listed, unlisted = walk.get("listed", 0), walk.get("unlisted", 0)
    return PlaceLine(run_id, str(place), walk["when"], listed, walk.get("total"), unlisted, words.walked(walk))


def _unlisted(runs: Sequence[Replay], owners: Owners) -> Iterator[Unlisted]:
    seen: set[tuple[str, ...]] = set()
    for run in runs:
        for row in run.unlisted():
            identity, facts = tuple(row[:4]), Facts.of(json.loads(row.live or "{}"))
            if len(runs) > 1 and (identity in seen or owners.name(identity)):
                continue
            seen.update((identity,) if len(runs) > 1 else ())
            rotation = words.rotation(facts.key_rotation_enabled, facts.rotation_interval)
            yield Unlisted(str(Place(*row[:3])), *row[:4], facts.key_alias, rotation)


def _drift(runs: Sequence[Replay], owners: Owners) -> Iterator[Drift]:
    for n, run in enumerate(runs):
        run_id = _id(run) if len(runs) > 1 else ""
        for record in run.records():
            if record.drift and owners.counts(n, record):
                yield from _drifts(record, run_id)


def _drifts(record: Record, run_id: str) -> Iterator[Drift]:
    for name, (stated, live) in record.drift.items():
        yield Drift(run_id, record.line, record.key_id, name, stated, live)


def _shown(kept: tuple[T, ...], total: int, everything: Again[T]) -> Shown[T]:
    more = words.more(total, len(kept), "run_results.json")
    return Shown(kept, total, more, everything if more else Again(lambda: iter(kept)))
