"""From what is on record to an outcome: no history ends in a word that it does not show."""

import itertools

import pytest

from audit.conclude import conclude, worst
from audit.model import Facts
from audit.outcome import Action, Attempt, Ending, History, Meaning, Outcome, ReadBack

ON, OFF = Facts(key_rotation_enabled="true"), Facts(key_rotation_enabled="false")
DONE, ALREADY, GONE, REFUSED, FORBIDDEN, AGAIN, UNREACHED, THROTTLED, SILENT, STOPPED, _ = (
    Attempt(meaning, "2026-11-24T03:34:00Z", 400, f"CODE.{meaning}") for meaning in Meaning
)
FIVE = [AGAIN] * 5


def step(*attempts, answer=True, back=None, fault="", gone=False, action=Action.ENABLE, interval=None, intended=True):
    """A step with these attempts, the last of which is its answer; ``back``: the facts of the read-back."""
    history = History(1, action, interval, "sequence", intended=intended, attempts=list(attempts))
    history.answer = attempts[-1] if attempts and answer else None
    if back or fault:
        history.read_back = ReadBack("2026-11-24T03:35:00Z", back, fault, gone)
    return history


def slow(*attempts, days, action=Action.SET_INTERVAL, **more):
    """A step that sets 90 days; the read-back shows ``days``."""
    back = Facts(key_rotation_enabled="true", rotation_interval=days)
    return step(*attempts, back=back, action=action, interval=90, **more)


def back(*attempts, shown=None, **more):
    """A step that turns rotation off; the read-back shows ``shown``."""
    return step(*attempts, back=shown, action=Action.DISABLE, **more)


def cut_off(history):
    """The same step, taken up from a process that ended with a request on its way."""
    history.cut_off = True
    return history


def pending(history):
    """The same step, as a process left it that was killed with a request on its way."""
    history.pending = True
    return history


ENDED = "interrupted by SIGTERM"
CASES = [
    # not sent
    ("planned", step(intended=False), {"begun": False}, ""),
    ("not_attempted", step(intended=False), {"ended": ENDED}, ENDED),
    ("not_attempted", step(intended=False), {}, "could not be read"),
    # answered
    ("remediated", step(DONE, back=ON), {}, ""),
    ("remediated", step(THROTTLED, AGAIN, DONE, back=ON), {}, ""),
    ("unverified", step(DONE), {}, "KMS accepted; it was not read back"),
    ("unverified", step(DONE, back=OFF), {}, "does not show it"),
    ("unverified", step(DONE, back=Facts(key_rotation_enabled="soon")), {}, "does not show it"),
    ("unverified", step(DONE, fault="HTTP 500"), {}, "the read-back failed: HTTP 500"),
    ("remediated", slow(DONE, days="90"), {}, ""),
    ("unverified", slow(DONE, days="365"), {}, "does not show it"),
    ("unverified", slow(DONE, days=""), {}, "does not show it"),
    ("unverified", step(DONE, back=OFF, action=Action.SET_INTERVAL, interval=90), {}, "does not show it"),
    ("compliant", step(ALREADY, back=ON), {}, "already on"),
    ("compliant", step(THROTTLED, UNREACHED, ALREADY, back=ON), {}, "already on"),
    ("remediated", step(SILENT, ALREADY, back=ON), {}, "repeated"),
    ("remediated", step(AGAIN, THROTTLED, ALREADY, back=ON), {}, "repeated"),
    ("unverified", step(ALREADY, back=OFF), {}, "KMS says it is already on; the read-back does not show it"),
    ("unverified", step(SILENT, ALREADY), {}, "it was not read back"),
    ("missing", step(GONE), {}, "does not have this key"),
    ("refused", step(REFUSED), {}, "KMS refused: HTTP 400 CODE.refused"),
    ("refused", step(UNREACHED, THROTTLED, FORBIDDEN), {}, "KMS refused"),
    # refused only when sent again: the first request may have been applied
    ("refused", step(AGAIN, REFUSED, back=OFF), {}, "KMS refused"),
    ("remediated", step(SILENT, FORBIDDEN, back=ON), {}, "refused"),
    ("unknown", step(SILENT, REFUSED), {}, "it was not read back"),
    # attempts used up
    ("refused", step(*FIVE, back=OFF), {}, "5 attempts used up, the last met HTTP 400 CODE.again"),
    ("refused", step(THROTTLED, *FIVE, THROTTLED, AGAIN, back=OFF), {}, "6 attempts used up"),
    ("remediated", step(*FIVE, back=ON), {}, "confirmed by read-back"),
    ("unknown", step(*FIVE), {}, "it was not read back"),
    ("unknown", step(SILENT, fault="no answer"), {}, "the read-back failed: no answer"),
    ("compliant", step(UNREACHED, UNREACHED, back=ON), {}, "no request of this run"),
    ("refused", step(UNREACHED, UNREACHED, back=OFF), {}, "2 attempts used up"),
    # no answer on record
    ("remediated", step(SILENT, answer=False, back=ON), {"ended": ENDED}, "confirmed by read-back"),
    ("unknown", step(SILENT, answer=False, back=OFF), {"ended": ENDED}, "no read-back that shows a change"),
    ("unknown", step(AGAIN, answer=False), {"ended": ENDED}, "the last attempt met HTTP 400 CODE.again"),
    ("unknown", step(SILENT, STOPPED, answer=False), {"ended": ENDED}, "no answer on record"),
    ("unknown", pending(step()), {"ended": ENDED}, "may have been sent"),
    ("unknown", pending(step(THROTTLED, answer=False)), {"ended": ENDED}, "no answer on record"),
    ("not_attempted", step(STOPPED, answer=False), {"ended": ENDED}, f"{ENDED}; this request met HTTP 400"),
    ("not_attempted", step(UNREACHED, THROTTLED, answer=False), {}, "given up; this request met"),
    ("compliant", step(UNREACHED, answer=False, back=ON), {}, "no request of this run"),
    ("missing", step(SILENT, answer=False, fault="HTTP 404", gone=True), {}, "does not have this key"),
    ("missing", step(DONE, fault="HTTP 404", gone=True), {}, "does not have this key"),
    # taken up from a process that was killed with the request on its way
    ("remediated", cut_off(step(answer=False, back=ON)), {}, "confirmed by read-back"),
    ("remediated", cut_off(step(ALREADY, back=ON)), {}, "repeated"),
    ("unknown", cut_off(step(answer=False, back=OFF)), {"ended": ENDED}, "may have been sent"),
    ("unknown", cut_off(step(STOPPED, answer=False)), {"ended": ENDED}, "the last attempt met HTTP 400"),
    # a rollback: off is what was wanted, or the interval that was
    ("planned", back(intended=False), {"begun": False}, ""),
    ("rolled_back", back(DONE, shown=OFF), {}, "confirmed by read-back"),
    ("unverified", back(DONE, shown=ON), {}, "KMS accepted; the read-back does not show it"),
    ("unverified", back(ALREADY, shown=ON), {}, "KMS says it is already off"),
    ("rolled_back", back(ALREADY, shown=OFF), {}, "already off when the request arrived"),
    ("rolled_back", back(SILENT, ALREADY, shown=OFF), {}, "repeated"),
    ("rolled_back", back(SILENT, answer=False, shown=OFF), {}, "no answer on record"),
    ("rolled_back", back(UNREACHED, UNREACHED, shown=OFF), {}, "off when read back, and no request of this run"),
    ("unknown", back(SILENT, answer=False, shown=ON), {}, "no answer on record"),
    ("refused", back(*FIVE, shown=ON), {}, "the last read-back shows no change"),
    ("refused", back(FORBIDDEN), {}, "KMS refused"),
    ("missing", back(GONE), {}, "does not have this key"),
    ("rolled_back", slow(DONE, days="90", action=Action.RESTORE_INTERVAL), {}, "confirmed by read-back"),
    ("unverified", slow(DONE, days="30", action=Action.RESTORE_INTERVAL), {}, "does not show it"),
    ("refused", step(SILENT, REFUSED, back=OFF, action=Action.RESTORE_INTERVAL, interval=90), {}, "KMS refused"),
]  # fmt: skip


@pytest.mark.parametrize(("outcome", "history", "run", "reason"), CASES)
def test_what_is_on_record_decides(outcome, history, run, reason):
    """An answer is believed only with the read-back that shows it, and the reason says what is not known."""
    ending = conclude(history, **{"begun": True, "ended": "", **run})
    assert ending.outcome == outcome
    assert reason in ending.reason


def test_every_outcome_of_a_step_is_reached():
    """The cases above lead to every outcome that a step can have; a later walk can give it any other."""
    assert {outcome for outcome, *_ in CASES} == {
        "planned", "not_attempted", "remediated", "compliant", "unverified", "missing", "refused", "unknown",
        "rolled_back",
    }  # fmt: skip
    later = step(SILENT, answer=False)
    later.superseded = Ending(Outcome.BLOCKED, "key is disabled")
    assert conclude(later, begun=True, ended="") is later.superseded


BEST_FIRST = [
    "compliant", "remediated", "rolled_back", "waived", "blocked", "ineligible", "non_compliant", "left_alone",
    "planned", "not_attempted", "unverified", "unknown", "refused", "missing",
]  # fmt: skip


@pytest.mark.parametrize(("better", "worse"), [*itertools.combinations(BEST_FIRST, 2)])
def test_a_key_ends_with_the_worse_of_its_steps(better, worse):
    """Of two steps the one that went worse speaks for the key, whichever came first."""
    endings = [Ending(Outcome(better), "better"), Ending(Outcome(worse), "worse")]
    assert worst(endings) is worst(endings[::-1]) is endings[1]
