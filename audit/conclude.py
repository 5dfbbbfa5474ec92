"""From what is on record of a step to its outcome: never from what the program hoped."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from audit.outcome import Action, Attempt, Ending, History, Meaning, Outcome


class _Goal(NamedTuple):
    """What a step is for: the outcome where it changed its key, where the key was so without it, and the state."""

    changed: Outcome
    found: Outcome
    state: str


_GOALS: Mapping[Action, _Goal] = {
    Action.ENABLE: _Goal(Outcome.REMEDIATED, Outcome.COMPLIANT, "on"),
    Action.SET_INTERVAL: _Goal(Outcome.REMEDIATED, Outcome.COMPLIANT, "on"),
    Action.DISABLE: _Goal(Outcome.ROLLED_BACK, Outcome.ROLLED_BACK, "off"),
    Action.RESTORE_INTERVAL: _Goal(Outcome.ROLLED_BACK, Outcome.ROLLED_BACK, "as before"),
}


def conclude(step: History, *, begun: bool, ended: str) -> Ending:  # noqa: PLR0911  # a table, read from the top
    """What became of one step, from what is on record alone.

    ``begun``: the plan was approved. ``ended``: why the run ended early, empty where it did not.
    """
    if step.superseded is not None:
        return step.superseded
    answer = step.answer
    if step.read_back is not None and step.read_back.gone:
        return Ending(Outcome.MISSING, f"KMS does not have this key: {step.read_back.fault}")
    if answer is None:
        return _unanswered(step, begun=begun, ended=ended)
    match answer.meaning:
        case Meaning.GONE:
            return Ending(Outcome.MISSING, f"KMS does not have this key: {answer.words}")
        case Meaning.REFUSED | Meaning.FORBIDDEN:
            return _refused(step, f"KMS refused: {answer.words}")
        case Meaning.DONE | Meaning.ALREADY:
            return _accepted(step, answer)
        case _:
            return _used_up(step, answer)


def _unanswered(step: History, *, begun: bool, ended: str) -> Ending:
    if not step.intended:
        if not begun:
            return Ending(Outcome.PLANNED, "")
        return Ending(
            Outcome.NOT_ATTEMPTED, ended or "the key could not be read, or its first step not confirmed, before this"
        )
    if step.satisfied:
        return _shown(step, "no answer on record")
    if step.attempts and not step.reached:
        return Ending(Outcome.NOT_ATTEMPTED, f"{ended or 'given up'}; this request met {step.attempts[-1].words}")
    said = f"the last attempt met {step.attempts[-1].words}" if step.attempts else "it may have been sent"
    return Ending(Outcome.UNKNOWN, f"no answer on record and no read-back that shows a change; {said}")


def _accepted(step: History, answer: Attempt) -> Ending:
    already, goal = answer.meaning is Meaning.ALREADY, _GOALS[step.action]
    if step.satisfied:
        if already and not step.reached:
            return Ending(goal.found, f"already {goal.state} when the request arrived, confirmed by read-back")
        return Ending(goal.changed, "confirmed by read-back" + (" after a repeated request" if already else ""))
    said = f"KMS says it is already {goal.state}" if already else "KMS accepted"
    return Ending(Outcome.UNVERIFIED, f"{said}; {_unseen(step)}")


def _used_up(step: History, answer: Attempt) -> Ending:
    count = sum(attempt.meaning is not Meaning.THROTTLED for attempt in step.attempts)
    tries = f"{count} attempts used up, the last met {answer.words}"
    if step.satisfied:
        return _shown(step, tries)
    if step.satisfied is False:
        return Ending(Outcome.REFUSED, f"{tries}; the last read-back shows no change")
    return Ending(Outcome.UNKNOWN, f"{tries}; {_unseen(step)}")


def _refused(step: History, said: str) -> Ending:
    if not step.reached or step.satisfied is False:
        return Ending(Outcome.REFUSED, said)
    said = f"{said}, when a request that nobody answered for was sent again"
    return _shown(step, said) if step.satisfied else Ending(Outcome.UNKNOWN, f"{said}; {_unseen(step)}")


def _shown(step: History, but: str) -> Ending:
    goal = _GOALS[step.action]
    if step.reached:
        return Ending(goal.changed, f"confirmed by read-back; {but}")
    return Ending(goal.found, f"{goal.state} when read back, and no request of this run can have done it; {but}")


def _unseen(step: History) -> str:
    if step.read_back is None:
        return "it was not read back"
    if step.read_back.facts is None:
        return f"the read-back failed: {step.read_back.fault}"
    return "the read-back does not show it"


_WORSE: Sequence[Outcome] = (
    Outcome.COMPLIANT,
    Outcome.REMEDIATED,
    Outcome.ROLLED_BACK,
    Outcome.WAIVED,
    Outcome.BLOCKED,
    Outcome.INELIGIBLE,
    Outcome.NON_COMPLIANT,
    Outcome.LEFT_ALONE,
    Outcome.PLANNED,
    Outcome.NOT_ATTEMPTED,
    Outcome.UNVERIFIED,
    Outcome.UNKNOWN,
    Outcome.REFUSED,
    Outcome.MISSING,
)


def worst(endings: Sequence[Ending]) -> Ending:
    """Of the endings of a key's steps, the one that the key ends with."""
    return max(endings, key=lambda ending: _WORSE.index(ending.outcome))
