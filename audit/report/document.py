"""run_results.json: the view as data, written piece by piece."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from audit.report.facets import Comparison, WaiverLine
from audit.report.shapes import Run, View

SCHEMA_VERSION = 1

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def pieces(view: View) -> Iterator[str]:
    """The text of run_results.json; every row and every list entry on a line of its own."""
    runs = [_run(run) for run in view.runs]
    run = {
        "id": view.id,
        "version": view.version,
        "command": "report",
        "simulated": view.simulated,
        "rendered_at": view.rendered,
    }
    head = {
        "schema_version": SCHEMA_VERSION,
        "verdict": view.verdict,
        "detail": view.detail,
        "run": {**run, "runs": runs} if view.merged else runs[0],
        "counts": view.counts,
        "policy": _common([run.about.get("policy") or {} for run in view.runs]),
        "arguments": _common([run.about.get("arguments") or {} for run in view.runs]),
        "cost": asdict(view.cost),
        "controls": [asdict(line) for line in view.controls],
    }
    population = {
        "rows": view.table.total,
        "counted": view.table.total - view.older.total,
        "superseded": view.older.total,
        "blank_lines": view.blank_lines,
        "complete": _complete(view),
        "required": view.completeness.required,
        "faults": view.completeness.faults,
        "places": [asdict(place) for place in view.places],
    }
    yield f'{_encode(head)[:-1]},\n"population":{_encode(population)[:-1]},\n"unlisted":'
    yield from _array(map(asdict, view.unlisted.all))
    yield ',\n"drift":'
    yield from _array(map(asdict, view.drift.all))
    yield '},\n"waivers":'
    yield from _array(map(_waiver, view.waivers))
    yield ',\n"comparison":'
    yield from _comparison(view.comparison)
    yield ',\n"results":'
    yield from _array(view.table.rows)
    yield "}\n"


def _waiver(line: WaiverLine) -> dict[str, Any]:
    """A waiver without what is said of it in a report's language."""
    return {name: value for name, value in asdict(line).items() if name not in {"note", "tone"}}


def _comparison(found: Comparison | None) -> Iterator[str]:
    if found is None:
        yield "null"
        return
    waivers = [asdict(waiver) for waiver in found.waivers]
    head = {"baseline": found.baseline, "words": found.words, "counts": found.counts, "waivers": waivers}
    yield f'{_encode(head)[:-1]},\n"changes":'
    yield from _array(map(asdict, found.changes.all))
    yield "}"


def _array(items: Iterable[Any]) -> Iterator[str]:
    before = "[\n"
    for item in items:
        yield before + _encode(item)
        before = ",\n"
    yield "\n]" if before == ",\n" else "[]"


def _complete(view: View) -> bool | None:
    """Whether the records are all keys of their places; None where that is not known: KMS was not asked."""
    known = bool(view.completeness.faults) or all(run.about["live"] for run in view.runs)
    return not view.completeness.faults if known else None


def _common(values: list[Any]) -> Any:  # noqa: ANN401  # JSON
    """What all runs have; None where they differ (each run's own stands in its entry)."""
    return values[0] if all(value == values[0] for value in values) else None


def _run(run: Run) -> dict[str, Any]:
    course = {
        "started_at": run.started,
        "ended_at": run.ended,
        "ended_early": run.ended_early,
        "exit_code": run.exit_code,
        "digest": run.digest,
        "ledger": {"events": run.events, "head": run.head, "seal": run.seal, "intact": run.intact},
    }
    return {**run.about, **course}
