"""The end of a run: why it ended goes into the ledger, and the reports are written from there."""

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path

from audit.errors import GuardRefused, LedgerFault, Stop
from audit.evidence import export, sum_up
from audit.halt import Halt
from audit.ledger import Ledger
from audit.order import Finished, Order, Screen
from audit.outcome import exit_code
from audit.replay import Replay
from audit.report import own, population, render
from audit.signature import sign
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

    A report that cannot be written is an ending too: it never hides why the run itself ended. Evidence and sums are
    written all the same, over what is there.
    """
    try:
        with Replay(directory) as replay:
            told = own.build(replay)
            left = bool(unfinished(replay.steps))
            code = exit_code(told.counts, _code(halt, stop), population.exit_code(told.completeness))
            unwritten = _tried(lambda: render.write(told, directory, order.formats, page=own.page(replay, told)))
            faults = unwritten + prove(replay, order.sign_key)
    except LedgerFault:
        cover(directory)
        raise
    if not unwritten:
        screen.summary(told, directory)
    if faults:
        why = "; ".join(str(each) for each in (stop, *faults) if each)
        code = exit_code({}, code, *(fault.exit_code for fault in faults))
        return Finished(directory, code, why, (stop or faults[0]).next_step)
    for place, why in sorted(halt.places.items()):
        screen.warn(f"{place} was given up: {why}")
    return Finished.after(stop, directory, code, digest, left=left)


def complete(replay: Replay, formats: Collection[str], sign_key: Path | None) -> list[Stop]:
    """Write what a process that was killed at its reports did not. Returns what could not be written."""
    told = own.build(replay)
    page = own.page(replay, told)
    return _tried(lambda: render.write(told, replay.directory, formats, page=page)) + prove(replay, sign_key)


def prove(replay: Replay, sign_key: Path | None) -> list[Stop]:
    """Write the evidence, the sums and, with a key, their signature. Returns what could not be written.

    The sums are written whatever went wrong before: the ledger at least is covered.
    """
    directory = replay.directory
    faults = _tried(lambda: export(replay.db, directory), lambda: sum_up(directory))
    return faults if sign_key is None else faults + _tried(lambda: sign(directory, sign_key))


def _tried(*steps: Callable[[], object]) -> list[Stop]:
    faults: list[Stop] = []
    for step in steps:
        try:
            step()
        except Stop as fault:
            faults.append(fault)
    return faults


def cover(directory: Path) -> None:
    """Write the sums alone, where the reports could not even be begun."""
    with contextlib.suppress(Stop):  # the run ends with what came before
        sum_up(directory)


def _code(halt: Halt, stop: Stop | None) -> int:
    return exit_code({}, stop.exit_code if stop else 0, 4 if halt.places else 0)
