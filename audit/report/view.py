"""From ledgers to the view of a report: which record stands where, and every total. No template, no file, no clock."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from audit.model import Facts, Place
from audit.outcome import ANOTHER_RUN, Outcome, exit_code
from audit.replay import Replay
from audit.report import compare, controls, costs, population, verdict, waived, words
from audit.report.language import ENGLISH, Language
from audit.report.lists import Shown, Table, room
from audit.report.rows import Again, Owners, columns, failed, failed_columns, own_columns, rows
from audit.report.shapes import Drift, OutcomeLine, PlaceLine, Run, Unlisted, View
from audit.report.shelf import Shelf, drifts
from audit.rules import RULES

T = TypeVar("T")


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
    shelf = Shelf(runs, owners, say)
    counts, total = shelf.counts, sum(shelf.counts.values())
    told = tuple(_run(run, by, places, say) for run, by, places in zip(runs, shelf.by_run, shelf.places, strict=True))
    unlisted, most = Again(lambda: _unlisted(runs, owners, say)), room(shelf.total)
    listed, others = tuple(islice(unlisted, most)), sum(1 for _ in unlisted)
    walks, whole = [_latest(run) for run in runs], population.completeness(runs, others, counts[Outcome.MISSING], say)
    simulated, broken = bool(runs[0].about.get("simulated")), sum(not run.intact for run in told)
    doubts = verdict.doubts(runs, walks, broken, whole, say)
    return View(
        say=say,
        id=report_id,
        version=version,
        rendered=now,
        merged=len(runs) > 1,
        simulated=simulated,
        verdict=verdict.sentence(counts, doubts, say, simulated=simulated),
        detail=verdict.detail(counts, doubts, say),
        tone=verdict.tone(counts, doubts),
        runs=told,
        blank_lines=sum(run.input["blank_lines"] for run in told),
        counts={outcome.value: counts[outcome] for outcome in Outcome},
        outcomes=tuple(_outcome_lines(counts, total, say)),
        rules=tuple((rule, shelf.rules[rule.id]) for rule in RULES if shelf.rules[rule.id]),
        places=_places(runs, walks, say),
        unlisted=_shown(listed, others, unlisted, say),
        drift=_shown(tuple(shelf.drift[:most]), shelf.drifting, Again(lambda: _drift(runs, owners)), say),
        attention=shelf.section("attention"),
        changed=shelf.section("changed"),
        planned=shelf.section("planned"),
        cannot=shelf.section("cannot"),
        compliant=shelf.section("compliant"),
        older=shelf.section("older"),
        touched=shelf.touched,
        appendix=shelf.appendix(),
        waivers=waived.lines(runs, say),
        completeness=whole,
        cost=costs.cost(runs, owners, price, say),
        controls=controls.lines(say),
        comparison=compare.comparison(runs, owners, baseline, say),
        table=Table(columns(runs, own), Again(lambda: rows(runs, own)), shelf.total),
        failed=Table(failed_columns(runs), Again(lambda: failed(runs, owners)), sum(counts[o] for o in ANOTHER_RUN)),
    )


def _outcome_lines(counts: Mapping[Outcome, int], total: int, say: Language) -> Iterator[OutcomeLine]:
    start, starts = 0.0, {}
    for outcome in sorted(Outcome, key=lambda outcome: _BAR.index(words.TONES[outcome])):
        starts[outcome] = start
        start += 100 * counts[outcome] / (total or 1)
    for outcome in Outcome:
        part = 100 * counts[outcome] / (total or 1)
        told = words.label(outcome, say), say.recorded(outcome.meaning), words.TONES[outcome]
        yield OutcomeLine(*told, counts[outcome], round(starts[outcome], 3), round(part, 3))


_BAR = ("good", "aside", "doubt", "act")
"""The tones in the order in which the bar of all records shows them."""


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


def _run(run: Replay, counts: Mapping[Outcome, int], places: Collection[tuple[str, str, str]], say: Language) -> Run:
    about, course, proof = {**_ABSENT, **run.about}, run.course, run.proof()
    complete = population.completeness([run], sum(1 for _ in run.unlisted()), counts[Outcome.MISSING], ENGLISH)
    return Run(
        id=_id(run),
        about=about,
        input={**_NO_INPUT, **about["input"]},
        places=words.places([str(Place(*place)) for place in places], say),
        looked_at=words.looked_at(about, say),
        policy=words.policy(about, say),
        domain=words.domain(about["policy"], say),
        remarks=words.remarks(about, counts, say),
        processes=tuple(words.process(body, say) for body in course.started),
        arguments=tuple(_arguments(about["arguments"])),
        records=sum(counts.values()),
        started=course.first_at,
        ended=course.last_at,
        ended_early=course.ended,
        exit_code=exit_code({o.value: n for o, n in counts.items()}, course.exit_code, population.exit_code(complete)),
        digest=course.digest,
        events=proof.events,
        head=proof.head,
        seal=course.seal,
        intact=not proof.fault,
        proof=words.proof(proof, course.seal, say),
    )


def _arguments(noted: Mapping[str, Any]) -> Iterator[str]:
    """The options as they were noted; those that were not given are left out."""
    for name, value in sorted(noted.items()):
        option = "--format" if name == "formats" else f"--{name.removeprefix('--').replace('_', '-')}"
        if value is True:
            yield option
        elif value is not None and value is not False and value != "":
            yield f"{option} {','.join(map(str, value)) if isinstance(value, list) else value}"


def _places(runs: Sequence[Replay], walks: Sequence[verdict.Walks], say: Language) -> tuple[PlaceLine, ...]:
    return tuple(
        _place_line(_id(run), walk, say) for run, each in zip(runs, walks, strict=True) for walk in each.values()
    )


def _place_line(run_id: str, walk: Mapping[str, Any], say: Language) -> PlaceLine:
    place = Place(walk["account"], walk["region"], walk["project_id"])
    listed, unlisted = walk.get("listed", 0), walk.get("unlisted", 0)
    return PlaceLine(run_id, str(place), walk["when"], listed, walk.get("total"), unlisted, words.walked(walk, say))


def _unlisted(runs: Sequence[Replay], owners: Owners, say: Language) -> Iterator[Unlisted]:
    seen: set[tuple[str, ...]] = set()
    for run in runs:
        for row in run.unlisted():
            identity, facts = tuple(row[:4]), Facts.of(json.loads(row.live or "{}"))
            if len(runs) > 1 and (identity in seen or owners.name(identity)):
                continue
            seen.update((identity,) if len(runs) > 1 else ())
            rotation = words.rotation(facts.key_rotation_enabled, facts.rotation_interval, say)
            yield Unlisted(str(Place(*row[:3])), *row[:4], facts.key_alias, rotation)


def _drift(runs: Sequence[Replay], owners: Owners) -> Iterator[Drift]:
    for n, run in enumerate(runs):
        run_id = _id(run) if len(runs) > 1 else ""
        for record in run.records():
            if record.drift and owners.counts(n, record):
                yield from drifts(record, run_id)


def _shown(kept: tuple[T, ...], total: int, everything: Again[T], say: Language) -> Shown[T]:
    return Shown(kept, total, words.more(total, len(kept), "run_results.json", say), everything)
