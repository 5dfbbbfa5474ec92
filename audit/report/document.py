"""run_results.json: the view as data, written piece by piece."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

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
        "verdict": view.english.verdict,
        "detail": view.english.detail,
        "run": {**run, "runs": runs} if view.merged else runs[0],
        "counts": view.counts,
        "policy": _common([run.about.get("policy") or {} for run in view.runs]),
        "arguments": _common([run.about.get("arguments") or {} for run in view.runs]),
    }
    population = {
        "rows": view.table.total,
        "counted": view.table.total - view.older.total,
        "superseded": view.older.total,
        "blank_lines": view.blank_lines,
        "places": [asdict(place) for place in view.english.places],
    }
    yield f'{_encode(head)[:-1]},\n"population":{_encode(population)[:-1]},\n"unlisted":'
    yield from _array(map(asdict, view.unlisted.all))
    yield ',\n"drift":'
    yield from _array(map(asdict, view.drift.all))
    yield '},\n"results":'
    yield from _array(view.table.rows)
    yield "}\n"


def _array(items: Iterable[Any]) -> Iterator[str]:
    before = "[\n"
    for item in items:
        yield before + _encode(item)
        before = ",\n"
    yield "\n]" if before == ",\n" else "[]"


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
