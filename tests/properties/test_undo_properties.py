"""Whatever went wrong in a run and goes wrong in its rollback: what that run changed, and nothing else, is undone."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit import undo
from audit.errors import RunDirFault, RunStopped
from audit.halt import Halt, Tally
from audit.ledger import Ledger
from audit.model import Policy
from audit.outcome import Outcome
from audit.replay import Replay, histories
from audit.scrub import Scrubber
from audit.stages import Stages
from audit.tables import Event, EventKind
from audit.verify import unfinished
from tests.properties.test_laws import (
    DETAILS,
    EARLY,
    FAILURES,
    FAULTS,
    LATE,
    NOW,
    ONE,
    SLOW,
    TERMS,
    FaultyKms,
    Killed,
    but,
    instantly,
    key_id,
    lived,
    reads,
    walks,
)

MEANWHILE = {
    "nothing": {}, "off": {"key_rotation_enabled": "false"}, "another interval": {"rotation_interval": "200"},
    "disabled": {"key_state": "3"}, "gone": None, "on": {"key_rotation_enabled": "true", "rotation_interval": "365"},
}  # fmt: skip
BACK = sorted({*FAULTS, *EARLY, *LATE} - {"somebody else was faster"})
numbers = st.integers(1, 4).map(key_id)
wrongs = st.dictionaries(numbers, st.lists(st.sampled_from(FAULTS), max_size=4))
back_wrongs = st.dictionaries(numbers, st.lists(st.sampled_from(BACK), max_size=4))
meanwhiles = st.lists(st.sampled_from(sorted(MEANWHILE)), min_size=4, max_size=4)


def describe(directory):
    """Note what a run is, as far as undoing it asks."""
    with Ledger(directory / "ledger.sqlite3", lambda: NOW, Scrubber()) as book:
        book.describe(
            id="old", command="remediate", columns=TERMS["columns"], records=4, account="", input={"name": "x"}
        )
        book.append(Event(EventKind.PLANNED, None, {"digest": "", "seal": book.seal()}))


def rolled_back(directory, past, kms, policy, processes=4):
    """A rollback from its plan to its end, taken up again by another process whenever it was killed or stopped."""
    steps = []
    for process in range(processes):
        with Ledger(directory / "ledger.sqlite3", lambda: NOW, Scrubber(), create=not process) as book:
            halt, tally = Halt(instantly), Tally()
            terms = {**TERMS, "again": undo.again}
            stages = Stages(kms.serve(halt, book), book, halt, tally, policy=policy, **terms)
            try:
                if process:
                    left = asyncio.run(stages.again(steps, NOW))
                else:
                    loaded = undo.load(past, undo.check(past), book)
                    book.describe(columns=loaded.columns)
                    left = steps = asyncio.run(stages.survey(loaded, NOW))
                    book.add_steps(steps)
                    sealed = {"digest": "", "seal": book.seal()}
                    book.append(Event(EventKind.PLANNED, None, sealed), Event(EventKind.APPROVED))
                asyncio.run(stages.perform(left, FAILURES, lambda: NOW))
            except Killed:
                continue
            finally:
                kms.reader.close()
            ending = halt.ending or RunStopped("")
            book.append(Event(EventKind.ENDED, None, {"why": str(ending), "exit_code": 0}))
            if not unfinished(histories(book.db)):
                break
    return steps


def changed_since(kms, meanwhile):
    """What somebody does to each key between the run and its rollback."""
    for known, change in zip(list(kms.keys), meanwhile, strict=False):
        if MEANWHILE[change] is None:
            del kms.keys[known]
        else:
            kms.keys[known] = but(kms.keys[known], **MEANWHILE[change])


def restored(facts, was):
    """Whether a key is as it was before the run."""
    return facts is not None and facts.rotates is was.rotates and (not was.rotates or facts.interval == was.interval)


def true_of(outcome, *, facts, was, left, touched, changed):
    """Whether an outcome of a rollback is borne out. ``left``: the key before it; ``facts``: the key now."""
    match outcome:
        case Outcome.ROLLED_BACK:
            return restored(facts, was)
        case Outcome.LEFT_ALONE:
            return not touched and facts == left
        case Outcome.REFUSED:
            return not restored(facts, was)
        case Outcome.MISSING:
            return facts is None
        case Outcome.NOT_ATTEMPTED:
            return not changed
        case _:
            return outcome in {Outcome.UNKNOWN, Outcome.UNVERIFIED}


@settings(max_examples=40)  # each is two whole runs, with every sync of the disk
@given(wrongs, reads, walks, meanwhiles, back_wrongs, st.sampled_from([Policy(), Policy(90, 90)]))
@example({}, {}, [], ["nothing"] * 4, {}, Policy(90, 90))
@example({ONE: ["silent after", "well"]}, {ONE: ["unreadable"]}, [], ["nothing"] * 4, {}, Policy())
@example({ONE: ["500 after", "well"]}, {}, [], ["nothing"] * 4, {}, Policy())
@example({ONE: ["500 before", "somebody else was faster"]}, {}, [], ["nothing"] * 4, {}, Policy())
@example({ONE: ["somebody else was faster"]}, {}, [], ["nothing"] * 4, {}, Policy(90, 90))
@example({ONE: ["silent before"] * 3}, {}, [], ["on", "nothing", "nothing", "nothing"], {}, Policy())
@example({ONE: ["killed after"]}, {}, [], ["nothing"] * 4, {ONE: ["killed after"]}, Policy())
@example({}, {}, [], ["off", "another interval", "disabled", "gone"], {}, Policy(90, 90))
def test_exactly_what_the_run_changed_is_undone(wrong, read, walk, meanwhile, back, policy):
    """A key is written to only if that run changed it and it is as left; what is told of it is true of KMS."""
    start = {key_id(n): DETAILS if n < 4 else SLOW for n in range(1, 5)}
    kms = FaultyKms(start, wrong, read, walk)
    with tempfile.TemporaryDirectory() as old, tempfile.TemporaryDirectory() as new:
        lived(Path(old), kms, policy)
        describe(Path(old))
        ours = kms.changed
        changed_since(kms, meanwhile)
        later = FaultyKms(kms.keys, back, kms.reads, [])
        with Replay(Path(old)) as past:
            keys = {row.n: row.key_id for row in past.rows()}
            reached = {keys[step.record] for step in past.steps.values() if step.reached}
            if not reached:
                assert not ours
                with pytest.raises(RunDirFault, match="nothing was changed"):
                    rolled_back(Path(new), past, later, policy)
                return
            rolled_back(Path(new), past, later, policy)
        with Replay(Path(new)) as replay:
            records, broken = list(replay.records()), replay.proof().fault
    assert not broken
    assert ours <= reached  # nothing that was changed is dropped
    assert [record.key_id for record in records] == sorted(reached)
    assert later.touched <= ours
    assert all(len(sequences) == 1 for sequences in later.sequences.values())
    for record in records:
        known = record.key_id
        assert true_of(
            record.outcome,
            facts=later.keys.get(known),
            was=start[known],
            left=kms.keys.get(known),
            touched=known in later.touched,
            changed=known in later.changed,
        ), record
    if not (wrong or read or walk or back):
        by_key = {record.key_id: record.outcome for record in records}
        left = {key_id(n) for n, change in enumerate(meanwhile, 1) if change == "nothing"}
        assert all(by_key[known] is Outcome.ROLLED_BACK for known in left & reached)
