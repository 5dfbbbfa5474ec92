"""The end of a run: why it ended goes into the ledger, and the reports are written from there."""

import functools
from pathlib import Path

from audit import __version__
from audit.errors import GuardRefused, LedgerFault, Stop
from audit.halt import Halt
from audit.ledger import Ledger
from audit.order import Finished, Order, Screen, stamp
from audit.outcome import exit_code
from audit.replay import Replay
from audit.report import render, view
from audit.report.language import ENGLISH, language
from audit.tables import Event, EventKind
from audit.verify import unfinished


def note_end(ledger: Ledger, halt: Halt, stop: Stop | None) -> Stop | None:
    """Write why the run ends and close the ledger; where that fails, the run ends for that reason."""
    given_up = (
        Event(EventKind.STOPPED, None, {"place": [place.account, place.region, place.project_id], "why": why})
        for place, why in sorted(halt.places.items())
    )
    end = Event(EventKind.ENDED, None, {"why": str(stop or ""), "exit_code": _code(halt, stop)})
    try:
        try:
            ledger.append(*given_up, end)
        finally:
            ledger.close()
    except LedgerFault as fault:
        return stop if stop and not isinstance(stop, GuardRefused) else fault
    return stop


def report(directory: Path, stop: Stop | None, halt: Halt, order: Order, digest: str, screen: Screen) -> Finished:
    """Write the reports of a run whose ledger is closed, show the summary, and say how it ended.

    A report that cannot be written is an ending too: it never hides why the run itself ended.
    """
    with Replay(directory) as replay:
        build = functools.partial(view.build, [replay], report_id=replay.about["id"], version=__version__, now=stamp())
        told = build()
        left = bool(unfinished(replay.steps))
        code = exit_code(told.counts, _code(halt, stop))
        try:
            say = language(order.lang)
            page = told if say is ENGLISH else build(say=say)
            render.write(told, directory, order.formats, page=page)
        except Stop as fault:
            why, code = "; ".join(str(each) for each in (stop, fault) if each), exit_code({}, code, fault.exit_code)
            return Finished(directory, code, why, (stop or fault).next_step)
        screen.summary(told, directory)
    for place, why in sorted(halt.places.items()):
        screen.warn(f"{place} was given up: {why}")
    return Finished.after(stop, directory, code, digest, left=left)


def _code(halt: Halt, stop: Stop | None) -> int:
    return exit_code({}, stop.exit_code if stop else 0, 4 if halt.places else 0)
