"""The verdict of a report: one sentence that answers, and one line of what stands behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.model import Place
from audit.outcome import Outcome, exit_code
from audit.replay import Replay
from audit.report import words
from audit.report.facets import Completeness
from audit.report.language import Language

AGAINST = tuple(outcome for outcome in Outcome if exit_code({outcome: 1}) == 3)
"""What the verdict counts as not compliant."""
OPEN = tuple(outcome for outcome in Outcome if exit_code({outcome: 1}) == 4)
"""Of what the verdict says that it cannot be said."""

Walks = Mapping[tuple[Place, str], Mapping[str, Any]]
"""The last walk through every place, before and after the writes."""


@dataclass(frozen=True, slots=True)
class Doubts:
    """What keeps the counts from being the whole truth.

    ``broken``: ledgers that are not what was written. ``unread``, ``given_up``: places. ``ended``: why runs ended
    early, of several runs with their ids. ``runs``: how many there are. ``incomplete``: that the records are all keys
    was asked for, and is not so. ``undoing``: all of these runs undo other ones.
    """

    broken: int
    unread: int
    given_up: int
    ended: tuple[str, ...]
    runs: int
    incomplete: bool
    undoing: bool


def doubts(runs: Sequence[Replay], walks: Sequence[Walks], broken: int, whole: Completeness, say: Language) -> Doubts:
    """What the ledgers of these runs tell against the counts."""
    unread = {
        (n, place)
        for n, each in enumerate(walks)
        for (place, _), walk in each.items()
        if not walk.get("readable", True)
    }
    given_up = {(n, place) for n, run in enumerate(runs) for place in run.course.places} - unread
    ended = [(run.about.get("id", run.directory.name), run.course.ended) for run in runs if run.course.ended]
    told = (say.recorded(why) if len(runs) == 1 else f"{name}: {say.recorded(why)}" for name, why in ended)
    incomplete, undoing = whole.required and bool(whole.faults), all(run.about.get("undoes") for run in runs)
    return Doubts(broken, len(unread), len(given_up), tuple(told), len(runs), incomplete, undoing)


def tone(counts: Mapping[Outcome, int], doubt: Doubts) -> str:
    """The colour of the verdict: ``good``, ``act`` or ``doubt``."""
    against, total = any(counts[outcome] for outcome in AGAINST), sum(counts.values())
    if against and not doubt.broken:
        return "act"
    sure = total and not any(counts[outcome] for outcome in OPEN)
    sure = sure and (doubt.undoing or not counts[Outcome.ROLLED_BACK])
    in_doubt = doubt.broken or doubt.unread or doubt.given_up or doubt.ended or doubt.incomplete
    return "good" if sure and not in_doubt else "doubt"


def sentence(counts: Mapping[Outcome, int], doubt: Doubts, say: Language, *, simulated: bool) -> str:
    """The answer in one sentence."""
    answer = _answer(counts, doubt, say)
    return say("SIMULATED: %(verdict)s", verdict=answer) if simulated else answer


def _answer(counts: Mapping[Outcome, int], doubt: Doubts, say: Language) -> str:
    against, open_ = sum(counts[o] for o in AGAINST), sum(counts[o] for o in OPEN)
    if doubt.broken:
        return say("Cannot be said: the ledger is not what was written.")
    if doubt.undoing:
        return _undone(counts[Outcome.ROLLED_BACK], sum(counts.values()), say)
    if against:
        return _against(counts, against, open_, say)
    if open_:
        return _open(counts, open_, say)
    return _unhindered(counts, doubt, say)


def _unhindered(counts: Mapping[Outcome, int], doubt: Doubts, say: Language) -> str:
    """The answer where no record speaks against it."""
    if unread := doubt.unread + doubt.given_up:
        return say.counted(
            "Cannot be said: %(n)s place was not read to its end.",
            "Cannot be said: %(n)s places were not read to their end.",
            unread,
        )
    if doubt.ended:
        return say("Cannot be said: the run ended early.")
    if doubt.incomplete:
        return say("Cannot be said: the records may not be all keys.")
    if rolled_back := counts[Outcome.ROLLED_BACK]:
        return say.counted(
            "Cannot be said: %(n)s key was rolled back and not judged since.",
            "Cannot be said: %(n)s keys were rolled back and not judged since.",
            rolled_back,
        )
    return say("Compliant.") if sum(counts.values()) else say("Nothing to judge: there are no records.")


def _undone(number: int, total: int, say: Language) -> str:
    if number == total:
        return say.counted("Rolled back: %(n)s key.", "Rolled back: %(n)s keys.", number)
    done = say.number(number)
    return say.counted("Rolled back: %(done)s of %(n)s key.", "Rolled back: %(done)s of %(n)s keys.", total, done=done)


def _against(counts: Mapping[Outcome, int], number: int, open_: int, say: Language) -> str:
    more = say.number(open_)
    if counts[Outcome.PLANNED] == number and open_:
        return say.counted(
            "Not compliant yet: %(n)s key would be changed; of %(more)s more it cannot be said.",
            "Not compliant yet: %(n)s keys would be changed; of %(more)s more it cannot be said.",
            number,
            more=more,
        )
    if counts[Outcome.PLANNED] == number:
        return say.counted(
            "Not compliant yet: %(n)s key would be changed.",
            "Not compliant yet: %(n)s keys would be changed.",
            number,
        )
    if counts[Outcome.MISSING] == number and not open_:
        return say.counted(
            "Not compliant: %(n)s key is missing in KMS.", "Not compliant: %(n)s keys are missing in KMS.", number
        )
    if open_:
        return say.counted(
            "Not compliant: %(n)s key; of %(more)s more it cannot be said.",
            "Not compliant: %(n)s keys; of %(more)s more it cannot be said.",
            number,
            more=more,
        )
    return say.counted("Not compliant: %(n)s key.", "Not compliant: %(n)s keys.", number)


def _open(counts: Mapping[Outcome, int], number: int, say: Language) -> str:
    only = next((outcome for outcome in OPEN if counts[outcome] == number), None)
    match only:
        case Outcome.REJECTED:
            return say.counted(
                "Cannot be said: %(n)s record is rejected.", "Cannot be said: %(n)s records are rejected.", number
            )
        case Outcome.UNKNOWN:
            return say.counted(
                "Cannot be said: %(n)s key is unknown.", "Cannot be said: %(n)s keys are unknown.", number
            )
        case Outcome.UNVERIFIED:
            return say.counted(
                "Cannot be said: %(n)s key is unverified.", "Cannot be said: %(n)s keys are unverified.", number
            )
        case Outcome.NOT_ATTEMPTED:
            return say.counted(
                "Cannot be said: %(n)s key was not attempted.", "Cannot be said: %(n)s keys were not attempted.", number
            )
        case _:
            return say.counted(
                "Cannot be said: %(n)s record is undecided.", "Cannot be said: %(n)s records are undecided.", number
            )


def detail(counts: Mapping[Outcome, int], doubt: Doubts, say: Language) -> str:
    """What stands behind the verdict, in one line: every count, and what keeps them from being the whole truth."""
    total = sum(counts.values())
    order = (*words.ATTENTION, Outcome.PLANNED, *Outcome)
    told = dict.fromkeys(outcome for outcome in order if counts[outcome])
    parts = words.joined(
        say, [say("%(n)s %(outcome)s", n=say.number(counts[o]), outcome=words.label(o, say)) for o in told]
    )
    said = [say.counted("%(n)s record: %(parts)s.", "%(n)s records: %(parts)s.", total, parts=parts)] if total else []
    if doubt.unread:
        said.append(say.counted("%(n)s place could not be read.", "%(n)s places could not be read.", doubt.unread))
    if doubt.given_up:
        said.append(say.counted("%(n)s place was given up.", "%(n)s places were given up.", doubt.given_up))
    if doubt.ended:
        why = "; ".join(doubt.ended)
        alone = doubt.runs == 1
        said.append(say("The run ended early: %(why)s.", why=why) if alone else say("Ended early: %(why)s.", why=why))
    if doubt.broken:
        said.append(
            say.counted(
                "%(n)s ledger is not what was written: see How to check this report.",
                "%(n)s ledgers are not what was written: see How to check this report.",
                doubt.broken,
            )
        )
    if doubt.incomplete:
        said.append(say("That the records are all keys was asked for, and cannot be said."))
    return " ".join(said)
