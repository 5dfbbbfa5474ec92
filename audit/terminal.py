"""What the operator sees, all of it on standard error: progress, the plan, the question, the summary.

On a terminal a live bar; otherwise a plain line every few seconds; with ``--log-format json`` one JSON object per line.
"""

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from audit.halt import Tally
from audit.outcome import Action, Outcome
from audit.plan import Proposal
from audit.report import waived
from audit.report.shapes import View
from audit.scrub import Scrubber
from audit.versions import shown

PLAIN_SECONDS = 5.0
"""Seconds between two plain lines of progress."""
_LOOK_SECONDS = 0.2  # between two looks at how far it is, from which the rate follows
_WIDTH = 200  # columns of a table where there is no terminal: a key id must not be folded in a log
_SHOWN = 20  # keys of a plan that are shown; all stand in the report
_GOOD = frozenset({Outcome.COMPLIANT, Outcome.REMEDIATED, Outcome.ROLLED_BACK})
_QUIET = frozenset({Outcome.INELIGIBLE, Outcome.BLOCKED, Outcome.WAIVED})
_STEPS = frozenset({Outcome.NON_COMPLIANT, Outcome.PLANNED})  # what the records with a step are held for before it


class _Console(Console):
    """Goes on in silence where nobody reads standard error any more: the run matters, not its telling."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class Terminal:
    """Standard error. ``level``: -1 problems only, 0 normal, 1 every request. ``as_json``: one object per line."""

    def __init__(self, scrub: Scrubber, *, level: int = 0, as_json: bool = False) -> None:
        self.scrub, self._level, self._json = scrub, level, as_json
        self._tty = sys.stderr.isatty()  # rich is no judge of that: FORCE_COLOR makes it take a pipe for a terminal
        self._console = _Console(
            stderr=True, highlight=False, soft_wrap=not self._tty, width=None if self._tty else _WIDTH
        )
        logger = logging.getLogger("kms_rotation")
        logger.handlers = [_Lines(self)]
        logger.propagate = False
        logger.setLevel(logging.DEBUG if level > 0 else logging.WARNING)

    def line(self, level: str, message: str, **more: Any) -> None:  # noqa: ANN401  # whatever JSON can hold
        """One line; the message passes the scrubber."""
        message = self.scrub(message, 2000)
        if self._json:
            told = {"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "level": level, "message": message, **more}
            self._console.out(json.dumps(told, ensure_ascii=False, default=str), highlight=False)
        else:
            style = {"error": "bold red", "warning": "yellow"}.get(level, "")
            self._console.print(Text(message, style=style))

    def warn(self, message: str) -> None:
        """One line that the operator should know."""
        self.line("warning", message)

    def error(self, message: str, next_step: str = "") -> None:
        """Why the command ends, and what to do."""
        self.line("error", f"kms-rotation: {message}")
        if next_step:
            self.line("info", next_step)

    def checked(self, what: str, standing: str, said: str, details: Sequence[str]) -> None:
        """One line of a verification, and a line for each thing that was found."""
        level = "info" if standing == "intact" else "warning"
        if self._json:
            self.line(level, said, check=what, standing=standing, details=[self.scrub(text, 2000) for text in details])
        elif self._level >= 0 or level == "warning":
            self.line(level, f"{what:<9} {standing:<9} {said}")
            for text in details:
                self.line(level, f"{'':20}{text}")

    # Progress

    @contextlib.contextmanager
    def watch(self, tally: Tally) -> Iterator[None]:
        """Show what is going on until the context ends."""
        if self._level < 0:
            yield
            return
        done = threading.Event()
        live = self._tty and not self._json
        thread = threading.Thread(target=self._live if live else self._plain, args=(tally, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _plain(self, tally: Tally, done: threading.Event) -> None:
        said = time.monotonic()
        while not done.wait(_LOOK_SECONDS):
            told = _told(tally)
            if time.monotonic() - said >= PLAIN_SECONDS:
                said = time.monotonic()
                self.line("info", _sentence(tally, told), progress=told)

    def _live(self, tally: Tally, done: threading.Event) -> None:
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[told]}"),
            console=self._console, transient=True,
        )  # fmt: skip
        with bar:
            task = bar.add_task("", total=None, told="")
            while not done.wait(_LOOK_SECONDS):
                told = _numbers(tally, _told(tally))
                bar.update(task, description=tally.phase, total=tally.total or None, completed=tally.done, told=told)

    # The plan

    def propose(self, proposal: Proposal) -> None:
        """Show a plan."""
        if self._json:
            actions = {action.value: n for action, n in _actions(proposal).items()}
            new = float(proposal.new_versions)
            self.line(
                "info", "plan", digest=proposal.digest, keys=proposal.keys, steps=actions, hosts=proposal.hosts,
                new_versions=new,
            )  # fmt: skip
            return
        if self._level >= 0:
            self._show(proposal)

    def _show(self, proposal: Proposal) -> None:
        where = "a SIMULATED KMS" if proposal.simulated else ", ".join(proposal.hosts)
        if not proposal.steps:
            self.line("info", f"Plan: nothing to change on {where}.")
            return
        self._steps_table(proposal)
        steps = ", ".join(f"{n} x {action}" for action, n in _actions(proposal).items() if n)
        self.line(
            "info",
            f"Plan: {_keys(proposal.keys)} on {where}: {steps}; at least {_duration(proposal.seconds)} of requests.",
        )
        rest = ", ".join(f"{count} {o.words}" for o in Outcome if o not in _STEPS and (count := proposal.counts.get(o)))
        if rest:
            self.line("info", f"{'Without a step' if _undoes(proposal) else 'Left alone'}: {rest}.")
        self.line("info", _cost(proposal))
        self.line("info", f"Digest: {proposal.digest}")

    def _steps_table(self, proposal: Proposal) -> None:
        table = Table(box=None, pad_edge=False)
        for name in ("action", "key id", "place"):
            table.add_column(name, overflow="fold", no_wrap=name == "key id")
        for step in proposal.steps[:_SHOWN]:
            days = f" {step.interval}" if step.interval else ""
            table.add_row(Text(f"{step.action}{days}"), Text(step.key_id), Text(self.scrub(str(step.place))))
        self._console.print(table)
        if (more := len(proposal.steps) - _SHOWN) > 0:
            self.line("info", f"... and {more} more steps; all of them stand in the report")

    def can_ask(self) -> bool:
        """Whether standard input is a terminal; None where the caller has closed it."""
        return sys.stdin is not None and sys.stdin.isatty()

    def ask(self, proposal: Proposal) -> bool:
        """Whether the operator says yes to a plan, shown in any case. No answer is no, and so is what is no text."""
        if self._level < 0 and not self._json:
            self._show(proposal)
        target = "the SIMULATED KMS" if proposal.simulated else ", ".join(proposal.hosts)
        change = _undoes(proposal) or f"Change {_keys(proposal.keys)}"
        self._console.print(Text(f"{change} on {target}? [y/N] ", style="bold"), end="")
        try:
            answer = sys.stdin.readline()
        except UnicodeDecodeError:
            return False
        return answer.strip().lower() in {"y", "yes"}

    # The end

    def summary(self, told: View, directory: Path) -> None:
        """What became of everything."""
        warnings = {text for run in told.runs for text in run.input["warnings"]}
        said = dict.fromkeys(text for run in told.runs for text in run.remarks)
        remarks = [text for text in said if text not in warnings]
        if told.blank_lines:
            remarks.append(f"Blank lines of the inventory, which are no records: {told.blank_lines:,}.")
        if waivers := waived.to_look_at(told.waivers, told.say):
            remarks.append(waivers)
        if self._json:
            counts = dict(told.counts)
            whole, detail = told.completeness.words, told.detail
            self.line(
                "info",
                told.verdict,
                detail=detail,
                counts=counts,
                completeness=whole,
                directory=str(directory),
                remarks=remarks,
            )
            return
        if self._level < 0:
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(justify="right")
        table.add_column()
        table.add_column(style="dim")
        for outcome in Outcome:
            if count := told.counts[outcome]:
                style = "green" if outcome in _GOOD else "dim" if outcome in _QUIET else "yellow"
                table.add_row(str(count), Text(outcome.words, style=style), Text(outcome.meaning))
        table.add_row(str(sum(told.counts.values())), Text("records", style="bold"), "")
        self._console.print(table)
        self._console.print(Text(told.verdict, style="bold"))
        self.line("info", told.detail)
        if told.completeness.required or told.completeness.faults:
            self.line("info", f"Completeness: {told.completeness.words}")
        for remark in remarks:
            self.line("info", remark)
        names = sorted(path.name for path in directory.iterdir() if path.suffix in {".html", ".csv", ".json", ".xlsx"})
        self.line("info", f"In {directory}: {', '.join(names)}")


class _Lines(logging.Handler):
    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.line(record.levelname.lower(), record.getMessage())


def _told(tally: Tally) -> dict[str, Any]:
    """Rate and remaining time, over the phase that is going on."""
    seconds = time.monotonic() - tally.began
    rate = tally.done / seconds if seconds > 1 else 0.0
    eta = (tally.total - tally.done) / rate if rate and tally.total else None
    return {
        "phase": tally.phase,
        "done": tally.done,
        "total": tally.total,
        "rate": round(rate, 1),
        "eta_seconds": eta and round(eta),
        "failed": tally.failed,
        "throttled": tally.throttled,
    }


def _sentence(tally: Tally, told: dict[str, Any]) -> str:
    return f"{tally.phase}: {_numbers(tally, told)}"


def _numbers(tally: Tally, told: dict[str, Any]) -> str:
    parts = [f"{tally.done}/{tally.total}" if tally.total else f"{tally.done}"]
    if told["rate"]:
        parts.append(f"{told['rate']}/s")
    if told["eta_seconds"] is not None:
        parts.append(f"{_duration(told['eta_seconds'])} left")
    return ", ".join([*parts, f"{tally.failed} failed", f"{tally.throttled} x 429"])


def _actions(proposal: Proposal) -> dict[Action, int]:
    return {action: sum(step.action is action for step in proposal.steps) for action in Action}


def _undoes(proposal: Proposal) -> str:
    """What a plan that undoes a run would do, as the question names it; empty for any other plan."""
    counts = _actions(proposal)
    off, back = counts[Action.DISABLE], counts[Action.RESTORE_INTERVAL]
    parts = [
        f"turn off rotation of {_keys(off)}" if off else "",
        f"restore the interval of {_keys(back)}" if back else "",
    ]
    told = " and ".join(filter(None, parts))
    return told[:1].upper() + told[1:]


_NO_COST = "This plan adds no key versions."


def _cost(proposal: Proposal) -> str:
    new, price = proposal.new_versions, proposal.price
    if new <= 0:
        return f"Key versions taken back: {shown(-new)} a year; those that exist stay billed." if new else _NO_COST
    told = f"New key versions: {shown(new)} a year; each stays billed like another key."
    if price is None:
        return told
    return (
        f"{told} At {price} for a version and month: {price.first_year(new)} in the first year, if they come evenly, "
        f"and {price.each_later_year(new)} more in each later year than in the one before."
    )


def _keys(count: int) -> str:
    return f"{count:,} key" if count == 1 else f"{count:,} keys"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
