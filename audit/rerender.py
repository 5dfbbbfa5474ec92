"""Render the reports of runs again, from what was recorded, into a directory of their own."""

import contextlib
import functools
import secrets
import shutil
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from audit import __version__
from audit.errors import ReportFault, RunDirFault
from audit.order import Screen, stamp
from audit.replay import Replay
from audit.report import render, view
from audit.report.language import ENGLISH, language
from audit.rundir import apart, existing, reading, run_id


def rerender(
    directories: Sequence[Path],
    output_dir: Path,
    formats: Collection[str],
    templates: Path | None,
    screen: Screen,
    lang: str = "en",
    *,
    price: str = "",
    compare: Path | None = None,
) -> Path:
    """The new directory. Never writes into a run directory, and works on a read-only one.

    ``lang``: the language of report.html and report.xlsx. ``price``: of a key version. ``compare``: an earlier run to
    compare with, which is only read as well.

    Raises RunDirFault, LockHeld, LedgerFault, TemplateFault, UsageFault (simulated and real runs) and ReportFault.
    """
    every = [*directories, *([compare] if compare else ())]
    for run in every:
        apart(output_dir, existing(run))
    with contextlib.ExitStack() as stack:
        for directory in every:
            stack.enter_context(reading(directory))
        replays = [stack.enter_context(Replay(directory)) for directory in every]
        for replay in replays:
            if "id" not in replay.about:  # the last that planning notes
                raise RunDirFault(f"{replay.directory} has no complete plan: its run ended before", "begin a new run")
        baseline = replays.pop() if compare else None
        simulated = any(replay.about.get("simulated") for replay in replays)
        name = run_id(datetime.now(UTC), secrets.token_hex(3), simulated=simulated) + "-report"
        say, now = language(lang), stamp()
        build = functools.partial(
            view.build, replays, report_id=name, version=__version__, now=now, baseline=baseline, price=price
        )
        told = build()
        page = told if say is ENGLISH else build(say=say)
        directory = output_dir / name
        try:
            directory.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise ReportFault(f"cannot make {directory}: {error.strerror}") from error
        try:
            render.write(told, directory, formats, templates, page=page)
        except BaseException:  # half a report would be taken for one
            shutil.rmtree(directory, ignore_errors=True)
            raise
        screen.summary(told, directory)
    return directory
