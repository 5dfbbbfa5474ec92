"""What may be undone: a change that is on record as made, of a key that is on record as it was. Nothing else."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.model import Facts, Place
from audit.outcome import Action, Attempt, Ending, History, Meaning, Outcome, ReadBack
from audit.plan import undo
from audit.reversal import Doubt, Reversal, reversal, sealed

OFF = Facts(key_rotation_enabled="false")
ON = Facts(key_rotation_enabled="true")
SLOW = Facts(key_rotation_enabled="true", rotation_interval="365")
EVERY_90 = Facts(key_rotation_enabled="true", rotation_interval="90")
PERHAPS = {Meaning.DONE, Meaning.AGAIN, Meaning.SILENT}


def step(*meanings, action=Action.ENABLE, shown=None, answered=True, pending=False):
    """A step that was sent and met this; ``shown``: the facts of the read-back."""
    days = 90 if action is Action.SET_INTERVAL else None
    history = History(1, action, days, "sequence", intended=True, pending=pending, attempts=[*map(Attempt, meanings)])
    history.answer = history.attempts[-1] if meanings and answered else None
    history.read_back = ReadBack("", shown) if shown else None
    return history


def interval(*meanings, **more):
    return step(*meanings, action=Action.SET_INTERVAL, **more)


def dropped():
    """A step that a later walk made needless."""
    history = History(1, Action.ENABLE, None, "sequence")
    history.superseded = Ending(Outcome.COMPLIANT, "")
    return history


DONE, ALREADY, REFUSED, AGAIN, SILENT = (
    Meaning.DONE, Meaning.ALREADY, Meaning.REFUSED, Meaning.AGAIN, Meaning.SILENT,
)  # fmt: skip
SWITCHED, BOTH, FASTER = (Reversal(None, frozenset({365})), Reversal(None, frozenset({90})),
                          Reversal(365, frozenset({90})))  # fmt: skip
CASES = [
    # nothing was, or can have been, changed
    (OFF, [], None),
    (OFF, [step(answered=False)], None),
    (OFF, [step(REFUSED)], None),
    (OFF, [step(ALREADY, shown=ON)], None),
    (OFF, [step(Meaning.UNREACHED, Meaning.THROTTLED, shown=ON)], None),
    (OFF, [dropped()], None),
    # switched on
    (OFF, [step(DONE, shown=ON)], SWITCHED),
    (OFF, [step(DONE)], SWITCHED),
    (OFF, [step(DONE, shown=OFF)], SWITCHED),
    (OFF, [step(SILENT, DONE, shown=ON)], SWITCHED),
    (OFF, [step(SILENT, answered=False, shown=ON)], SWITCHED),
    (OFF, [step(AGAIN, REFUSED, shown=ON)], SWITCHED),
    (OFF, [step(pending=True, answered=False, shown=ON)], SWITCHED),
    # switched on, and an interval set
    (OFF, [step(DONE, shown=ON), interval(DONE, shown=EVERY_90)], BOTH),
    (OFF, [step(DONE, shown=ON), interval(answered=False)], SWITCHED),
    (OFF, [step(DONE, shown=ON), interval(REFUSED)], SWITCHED),
    (OFF, [step(DONE, shown=ON), interval(SILENT)], Reversal(None, frozenset({90, 365}))),
    # an interval set on what rotated
    (SLOW, [interval(DONE, shown=EVERY_90)], FASTER),
    (SLOW, [interval(SILENT, answered=False, shown=EVERY_90)], FASTER),
    # not sure
    (OFF, [step(SILENT, ALREADY, shown=ON)], "that run or somebody else"),
    (OFF, [step(AGAIN, ALREADY, shown=ON)], "that run or somebody else"),
    (OFF, [step(SILENT, answered=False)], "neither an answer nor a read-back"),
    (OFF, [step(SILENT, REFUSED, shown=OFF)], "neither an answer nor a read-back"),
    (OFF, [step(pending=True, answered=False)], "neither an answer nor a read-back"),
    (Facts(), [step(DONE, shown=ON)], "that rotation was off before is not on record"),
    (ON, [step(DONE, shown=ON)], "that rotation was off before is not on record"),
    (SLOW, [interval(SILENT, shown=SLOW)], "neither an answer nor a read-back"),
    (ON, [interval(DONE, shown=EVERY_90)], "the interval before is not on record"),
    (OFF, [step(ALREADY, shown=ON), interval(DONE, shown=EVERY_90)], "the interval before is not on record"),
    (OFF, [dropped(), interval(DONE, shown=EVERY_90)], "the interval before is not on record"),
    (ON._replace(rotation_interval="400"), [interval(DONE, shown=EVERY_90)], "400 days, is none that KMS takes"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "steps", "change"), CASES)
def test_only_what_is_known_is_undone(before, steps, change):
    """Accepted, or seen after silence, and recorded as it was before: a change. Else a doubt, or nothing at all."""
    found = reversal(before, steps)
    if isinstance(change, str):
        assert isinstance(found, Doubt)
        assert change in found.why
        assert found.was_off == (before.rotates is False and "interval before" not in found.why)
    else:
        assert found == change


histories = st.builds(
    step,
    action=st.sampled_from([Action.ENABLE, Action.SET_INTERVAL]),
    shown=st.sampled_from([None, OFF, ON, SLOW, EVERY_90]),
    answered=st.booleans(),
    pending=st.booleans(),
).flatmap(
    lambda one: st.lists(st.sampled_from(Meaning), max_size=4).map(
        lambda met: step(*met, action=one.action, shown=one.read_back and one.read_back.facts, answered=bool(met))
    )
)
befores = st.sampled_from([Facts(), OFF, ON, SLOW, EVERY_90])


@given(befores, st.lists(histories, max_size=2))
def test_what_is_undone_was_changed(before, steps):
    """Whatever is on record: a step back is made only of a change that was accepted or seen, to what was before."""
    found = reversal(before, steps)
    reached = [one for one in steps if one.reached]
    assert (found is None) == (not reached)
    if not isinstance(found, Reversal):
        return
    first = reached[0]
    assert not {attempt.meaning for attempt in first.attempts} & {Meaning.ALREADY}
    assert (first.answer is not None and first.answer.meaning is Meaning.DONE) or first.satisfied
    assert {attempt.meaning for attempt in first.attempts} & PERHAPS
    back = undo(7, Place("", "cn-north-4", "p1"), "key", found, itertools.repeat("sequence").__next__, 3)
    if first.action is Action.ENABLE:
        assert before.rotates is False
        assert (back.action, back.interval) == (Action.DISABLE, None)
        assert found.left <= {365, 90}
    else:
        assert before.rotates
        assert (back.action, back.interval) == (Action.RESTORE_INTERVAL, before.interval)
        assert found.left == {90}
    assert (back.number, back.record, back.key_id, back.sequence) == (3, 7, "key", "sequence")


def test_a_sealed_step_says_how_the_key_was_left():
    """A planned rollback needs its own ledger alone: the interval of the step, and the one that was read."""
    assert sealed(SLOW, None) == SWITCHED
    assert sealed(EVERY_90, 365) == FASTER
    assert sealed(ON, None).left == frozenset()
