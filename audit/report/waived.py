"""The waivers of a report: which there are, what they cover, and which are unused, expired or soon will be."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from itertools import islice

from audit.outcome import Outcome
from audit.replay import Replay
from audit.report.facets import WaiverLine
from audit.report.language import Language
from audit.waiver import Waiver, line_told

SOON = 30
"""Days before its last one from which on a waiver is said to expire."""
_FEW = 5  # waivers that the terminal names
_TONES = {"expired": "act", "expiring": "doubt", "unused": "doubt", "in force": "aside"}
"""How a waiver stands -> its colour; those that somebody has to look at come first."""


def lines(runs: Sequence[Replay], say: Language) -> tuple[WaiverLine, ...]:
    """All waivers of these runs, in the order of their files, as they stood on the day of their run.

    A record is counted for the one waiver that its reason names: what was recorded when it was judged.
    """
    return tuple(line for run in runs for line in _of_run(run, say))


def _of_run(run: Replay, say: Language) -> list[WaiverLine]:
    if not run.waivers.entries:
        return []
    covered = Counter(line_told(record.reason) for record in run.records({Outcome.WAIVED}))
    run_id, day = str(run.about.get("id", run.directory.name)), date.fromisoformat(run.waivers.day)
    return [_line(waiver, run_id, day, covered[waiver.line], say) for waiver in run.waivers.entries]


def _line(waiver: Waiver, run_id: str, day: date, records: int, say: Language) -> WaiverLine:
    left = (date.fromisoformat(waiver.expires) - day).days
    standing = "expired" if left < 0 else "expiring" if left <= SOON else "in force" if records else "unused"
    return WaiverLine(
        run_id=run_id,
        line=waiver.line,
        keys=waiver.keys,
        rule=waiver.rule,
        reason=waiver.reason,
        approver=waiver.approver,
        ticket=waiver.ticket,
        expires=waiver.expires,
        records=records,
        standing=standing,
        note=_note(waiver.expires, left, records, say),
        tone=_TONES[standing],
    )


def _note(expires: str, left: int, records: int, say: Language) -> str:
    if left < 0:
        return say("expired on %(day)s, and waives nothing", day=expires)
    until = (
        say("its last day, %(day)s, is that of the run", day=expires)
        if left == 0
        else say.counted("%(n)s day left, until %(day)s", "%(n)s days left, until %(day)s", left, day=expires)
    )
    return until if records else say("%(until)s; unused: it covers no record", until=until)


def to_look_at(waivers: Sequence[WaiverLine], say: Language) -> str:
    """A sentence on the waivers that are expired, soon will be, or are unused; empty where there is none."""
    order = list(_TONES)
    found = sorted(
        (line for line in waivers if line.standing != "in force"), key=lambda line: order.index(line.standing)
    )
    if not found:
        return ""
    merged = len({line.run_id for line in waivers}) > 1
    named = [
        say("%(where)s: %(note)s", where=f"{line.run_id} {where}" if merged else where, note=line.note)
        for line in islice(found, _FEW)
        for where in (say("line %(line)s", line=line.line),)
    ]
    if len(found) > _FEW:
        named.append(say("%(n)s more in run_results.json", n=say.number(len(found) - _FEW)))
    return say(
        "Waivers to look at, %(n)s of %(all)s: %(named)s.",
        n=say.number(len(found)),
        all=say.number(len(waivers)),
        named="; ".join(named),
    )
