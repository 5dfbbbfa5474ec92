"""Laws of a whole run, from a CSV to its records, against a KMS that fails in every way and knows the truth."""

import asyncio
import io
import re
import sqlite3
import tempfile
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit.assess import again, load
from audit.errors import RunStopped, Stop
from audit.execute import Journal
from audit.halt import Halt, Tally
from audit.inventory import Defaults, open_inventory
from audit.kms.link import Limits
from audit.ledger import Ledger
from audit.model import Facts, Place, Policy
from audit.outcome import INTERVALS, Action, Attempt, Meaning, Outcome, ReadBack
from audit.plan import Step
from audit.replay import Replay, histories
from audit.rules import judge
from audit.scrub import Scrubber
from audit.stages import Stages
from audit.tables import Event, EventKind
from audit.verdict import Eligible, Waived, verdict_outcome, waive
from audit.verify import Crew, unfinished
from audit.waiver import COLUMNS as OF_WAIVERS
from audit.waiver import NO_WAIVERS, Waiver, Waivers
from audit.walk import Listing

NOW = "2026-11-24T03:34:00Z"
HOME = Place("", "cn-north-4", "p1")
ATTEMPTS, FAILURES = 3, 3
COLUMNS = ("key_id", "region", "project_id")
TERMS = {"again": again, "columns": COLUMNS, "limits": Limits(20, 1, 1, ATTEMPTS)}
DETAILS = Facts(key_spec="AES_256", key_state="2", default_key_flag="0", origin="kms", key_rotation_enabled="false")


def key_id(number):
    return f"{number:08x}-0000-4000-8000-000000000000"


def but(facts, **changed):
    return Facts.of(facts.stated() | changed)


class Killed(Stop):
    """The process is gone: whatever was on its way has happened, and nobody heard of it."""


async def instantly(_):
    await asyncio.sleep(0)


class FaultyKms:
    """A true KMS of one place: the facts of its keys, and for each key what goes wrong, request by request.

    ``touched``: keys that a request of ours reached; ``changed``: those that one of ours changed.
    """

    def __init__(self, keys, writes, reads, walks):
        self.keys = dict(keys)
        self.writes, self.reads = defaultdict(list, writes), defaultdict(list, reads)
        self.walks = list(walks)
        self.touched, self.changed = set(), set()
        self.sequences, self.counted = defaultdict(set), Counter()

    def serve(self, halt, book):
        """Begin to serve a process."""
        self.halt, self.reader = halt, sqlite3.connect(book.path)
        self.counted.clear()
        return self

    async def list_keys(self, place):
        await asyncio.sleep(0)
        if self.halt.held(place):
            return Listing(place, fault="held")
        kind = self.walks.pop(0) if self.walks else ""
        shown = {} if kind else {known: but(facts, rotation_interval="") for known, facts in self.keys.items()}
        return Listing(place, shown, len(self.keys), kind and f"walk {kind}", forbidden=kind == "forbidden")

    async def describe(self, place, asked):
        await asyncio.sleep(0)
        if self.halt.held(place) or (self.reads[asked] and self.reads[asked].pop(0) == "unreadable"):
            return ReadBack(NOW, fault="no answer")
        if asked not in self.keys:
            return ReadBack(NOW, fault="HTTP 404 KMS.0207", gone=True)
        return ReadBack(NOW, but(self.keys[asked], rotation_interval=""))

    async def rotation(self, place, asked):
        back = await self.describe(place, asked)
        return replace(back, facts=self.keys[asked]) if back.facts else back

    async def write(self, step):
        await asyncio.sleep(0)
        kinds = [kind for (kind,) in self.reader.execute("SELECT kind FROM events WHERE step = ?", (step.number,))]
        assert "intended" in kinds, "sent before its intent was on disk"
        assert "answered" not in kinds, "sent although an answer is on record"
        if self.halt.held(step.place):
            return Attempt(Meaning.UNSENT)
        self.sequences[step.number].add(step.sequence)
        fault = self.writes[step.key_id].pop(0) if self.writes[step.key_id] else "well"
        self.counted[step.number] += fault != "throttled"
        assert self.counted[step.number] <= ATTEMPTS
        if fault == "somebody else was faster" and step.key_id in self.keys:
            self.keys[step.key_id] = but(self.keys[step.key_id], key_rotation_enabled="true", rotation_interval="365")
        if fault == "deleted":
            self.keys.pop(step.key_id, None)
        meaning = EARLY.get(fault) or self._apply(step)
        if fault.startswith("killed"):
            raise Killed("killed")
        if fault == "key refused":
            self.halt.stop("access key refused")
        if fault == "place given up":
            self.halt.give_up(step.place, "frozen")
        return Attempt(LATE.get(fault, meaning), NOW, 200, f"because {fault}", retry_after=0.0)

    def _apply(self, step):
        facts = self.keys.get(step.key_id)
        self.touched.add(step.key_id)
        if facts is None:
            return Meaning.GONE
        if facts.rotates is (step.action is Action.ENABLE) and step.action not in INTERVALS:
            return Meaning.ALREADY
        if step.action in INTERVALS and not facts.rotates:
            return Meaning.REFUSED
        self.changed.add(step.key_id)
        if step.action is Action.DISABLE:
            self.keys[step.key_id] = but(facts, key_rotation_enabled="false")
            return Meaning.DONE
        days = "365" if step.action is Action.ENABLE else str(step.interval)
        self.keys[step.key_id] = but(facts, key_rotation_enabled="true", rotation_interval=days)
        return Meaning.DONE


EARLY = {
    "throttled": Meaning.THROTTLED, "unreached": Meaning.UNREACHED, "silent before": Meaning.SILENT,
    "500 before": Meaning.AGAIN, "refused": Meaning.REFUSED, "forbidden": Meaning.FORBIDDEN,
    "key refused": Meaning.STOPPED, "place given up": Meaning.STOPPED, "killed before": Meaning.SILENT,
}  # fmt: skip
LATE = {"silent after": Meaning.SILENT, "500 after": Meaning.AGAIN}
FAULTS = ["well", "somebody else was faster", "deleted", "killed after", *EARLY, *LATE]


def planned(book, keys, policy, stages, waivers=NO_WAIVERS):
    """The steps for an inventory of these keys, in a sealed ledger."""
    text = "key_id,region,project_id\n" + "".join(f"{known},{HOME.region},{HOME.project_id}\n" for known in keys)
    with open_inventory("-", Defaults(), live=True, stdin=io.BytesIO(text.encode())) as inventory:
        loaded = load(inventory, book, policy, Halt(), live=True, waivers=waivers)
        book.describe(columns=inventory.columns)
    steps = asyncio.run(stages.survey(loaded, NOW))
    book.add_steps(steps)
    book.append(Event(EventKind.PLANNED, None, {"digest": "", "seal": book.seal()}), Event(EventKind.APPROVED))
    return steps


def lived(directory, kms, policy, processes=4):
    """A run from its plan to its end, taken up again by another process whenever it was killed or stopped."""
    steps = []
    listed = list(kms.keys)
    for process in range(processes):
        with Ledger(directory / "ledger.sqlite3", lambda: NOW, Scrubber(), create=not process) as book:
            halt, tally = Halt(instantly), Tally()
            stages = Stages(kms.serve(halt, book), book, halt, tally, policy=policy, **TERMS)
            if process:
                left = asyncio.run(stages.again(steps, NOW))
            else:
                left = steps = planned(book, listed, policy, stages)
            try:
                asyncio.run(stages.perform(left, FAILURES, lambda: NOW))
            except Killed:
                continue
            finally:
                kms.reader.close()
            ending = halt.ending or RunStopped("")
            book.append(Event(EventKind.ENDED, None, {"why": str(ending), "exit_code": 0}))
            if not unfinished(histories(book.db)):
                break


numbers = st.integers(1, 4)
faults = st.dictionaries(numbers.map(key_id), st.lists(st.sampled_from(FAULTS), max_size=6))
reads = st.dictionaries(numbers.map(key_id), st.lists(st.sampled_from(["readable", "unreadable"]), max_size=6))
walks = st.lists(st.sampled_from(["", "", "failed", "forbidden"]), max_size=4)
ONE = key_id(1)


@given(faults, reads, walks, st.sampled_from([Policy(), Policy(90, 90)]))
@example({ONE: ["500 after", "refused"]}, {}, [], Policy())
@example({ONE: ["silent after", "forbidden"]}, {ONE: ["unreadable"] * 3}, ["", "failed"], Policy())
@example({ONE: ["throttled", "unreached", "somebody else was faster"]}, {}, [], Policy())
@example({ONE: ["killed after", "well"]}, {}, [], Policy())
@example({ONE: ["killed after", "key refused"]}, {}, [], Policy())
@example({ONE: ["throttled", "killed after"]}, {}, [], Policy())
def test_no_outcome_claims_what_is_not_true(writes, reads, walks, policy):  # noqa: C901  # a case per outcome
    """Whatever KMS, the network and the kernel do, each record has one outcome, and KMS's own state bears it out."""
    kms = FaultyKms({key_id(n): DETAILS for n in range(1, 5)}, writes, reads, walks)
    with tempfile.TemporaryDirectory() as name:
        lived(Path(name), kms, policy)
        with Replay(Path(name)) as replay:
            records, steps = list(replay.records()), replay.steps
            told = Counter(
                dict(replay.db.execute("SELECT kind, COUNT(DISTINCT step) FROM events WHERE step > 0 GROUP BY kind"))
            )
            assert not replay.proof().fault
    assert [record.key_id for record in records] == [key_id(n) for n in range(1, 5)]
    assert told["intended"] >= told["sent"] >= told["answered"]
    for step in steps.values():
        if step.intended:
            assert records[step.record - 1].outcome not in {Outcome.PLANNED, Outcome.NON_COMPLIANT}
    assert all(len(sequences) == 1 for sequences in kms.sequences.values())
    sent = [sequence for sequences in kms.sequences.values() for sequence in sequences]
    assert len(set(sent)) == len(sent)
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", sequence) for sequence in sent)
    for record in records:
        facts = kms.keys.get(record.key_id)
        mine = [step for step in steps.values() if step.record == record.line - 1]
        match record.outcome:
            case Outcome.REMEDIATED:
                assert judge(facts, policy).findings == ()
                assert record.key_id in kms.touched
            case Outcome.COMPLIANT:
                assert facts.rotates
                assert record.key_id not in kms.changed
            case Outcome.REFUSED:
                assert judge(facts, policy).findings
            case Outcome.MISSING:
                assert facts is None
            case Outcome.NOT_ATTEMPTED:
                assert len(mine) > 1 or record.key_id not in kms.changed
            case Outcome.UNVERIFIED:
                assert record.key_id in kms.touched
            case other:
                assert other is Outcome.UNKNOWN
        assert record.key_id not in kms.changed or record.changed
        if len(mine) > 1 and mine[1].attempts:
            assert mine[0].satisfied  # the interval is set only on a key that is known to rotate


def test_a_key_costs_at_most_two_syncs_of_the_disk(tmp_path):
    """One for the intent, one for what came of it; the read-backs of a walk and the walk itself share theirs."""
    keys = {key_id(n): DETAILS for n in range(1, 61)}
    kms = FaultyKms(keys, {}, {}, [])
    with Ledger(tmp_path / "ledger.sqlite3", lambda: NOW, Scrubber(), create=True) as book:
        halt, tally = Halt(instantly), Tally()
        stages = Stages(kms.serve(halt, book), book, halt, tally, policy=Policy(), **TERMS)
        steps = planned(book, list(keys), Policy(), stages)
        before = book.fsyncs
        asyncio.run(stages.perform(steps, FAILURES, lambda: NOW))
        kms.reader.close()
        assert kms.changed == set(keys)
        assert 2 <= book.fsyncs - before <= 2 * len(keys) + 2


FATES = [
    (["well"], "remediated", 1),
    (["throttled"] * 9, "remediated", 10),
    (["500 before", "unreached", "well"], "remediated", 3),
    (["500 before"] * 9, "refused", ATTEMPTS),
    (["500 before", "500 before", "500 after"], "remediated", ATTEMPTS),
    (["silent after"], "remediated", 1),
    (["silent before"], "remediated", 2),
    (["silent before"] * 9, "refused", ATTEMPTS),
    (["refused"], "refused", 1),
    (["500 after", "refused"], "remediated", 2),
    (["500 before", "forbidden"], "refused", 2),
    (["deleted"], "missing", 1),
    (["place given up"], "not_attempted", 1),
    (["500 after", "place given up"], "unknown", 2),
]  # fmt: skip


@pytest.mark.parametrize(("faults", "outcome", "sent"), FATES)
def test_a_request_is_sent_as_often_as_it_must_be(tmp_path, faults, outcome, sent):
    """Silence is settled by reading, an answer ends the sending, a 429 costs nothing, and attempts are not exceeded."""
    kms = FaultyKms({ONE: DETAILS}, {ONE: [*faults]}, {}, [])
    lived(tmp_path, kms, Policy(), processes=1)
    with Replay(tmp_path) as replay:
        assert [record.outcome for record in replay.records()] == [outcome]
        assert len(replay.steps[1].attempts) == sent


def test_the_closing_walk_answers_for_a_key_that_could_not_be_read(tmp_path):
    """A request that a killed process sent is settled by the walk after the writes, where reading the key failed."""
    kms = FaultyKms({ONE: DETAILS, key_id(2): DETAILS}, {ONE: ["killed after"]}, {ONE: ["unreadable"]}, [])
    lived(tmp_path, kms, Policy(), processes=2)
    with Replay(tmp_path) as replay:
        assert [record.outcome for record in replay.records()] == [Outcome.REMEDIATED] * 2


def test_a_request_that_was_held_back_was_never_sent(tmp_path):
    """Where a place is given up between an intent and its request, the intent is withdrawn: it is not attempted."""
    kms = FaultyKms({ONE: DETAILS, key_id(2): DETAILS}, {ONE: ["place given up"]}, {}, [])
    lived(tmp_path, kms, Policy(), processes=1)
    with Replay(tmp_path) as replay:
        assert [record.outcome for record in replay.records()] == [Outcome.NOT_ATTEMPTED] * 2
        kinds = [kind for (kind,) in replay.db.execute("SELECT kind FROM events WHERE step = 2 ORDER BY id")]
    assert kinds == ["intended", "withdrawn"]


def test_too_many_refusals_in_a_row_end_the_writing(tmp_path):
    """After so many refused keys no new one is begun; when the run is taken up, only its own refusals count."""
    keys = {key_id(n): DETAILS for n in range(3 * FAILURES)}
    kms = FaultyKms(
        keys, {known: ["unreached"] * ATTEMPTS for known in keys}, {known: ["unreadable"] * 9 for known in keys}, []
    )
    lived(tmp_path, kms, Policy(), processes=1)
    with Replay(tmp_path) as replay:
        assert "in a row were refused (--max-failures)" in replay.course.ended
        steps = replay.steps
    begun = {known for known, step in zip(keys, steps.values(), strict=True) if step.attempts}
    assert FAILURES <= len(begun) <= FAILURES + 1  # one was under way
    with Ledger(tmp_path / "ledger.sqlite3", lambda: NOW, Scrubber(), create=False) as book:
        halt = Halt(instantly)
        kms.serve(halt, book).writes.clear()
        hands = Crew(kms, kms, Journal(book, steps), halt, Tally(), width=1, attempts=ATTEMPTS, max_failures=FAILURES)
        again = [Step(n, n, HOME, key_id(n - 1), Action.ENABLE, None, step.sequence) for n, step in steps.items()]
        asyncio.run(hands.carry_out(again))
        kms.reader.close()
    assert halt.ending is None
    assert kms.changed == set(keys) - begun


words = {
    "key_spec": ["AES_256", "RSA_2048", "HMAC_256", "X", ""], "key_state": ["2", "3", "4", "7", "9", ""],
    "origin": ["kms", "external", ""], "default_key_flag": ["0", "1", ""], "keystore_id": ["", "0", "2"],
    "multi_region_key_type": ["", "SINGLE", "REPLICA"], "key_alias": ["", "app", "evs/default"],
    "key_rotation_enabled": ["true", "false", "false", ""], "rotation_interval": ["", "30", "90", "365"],
}  # fmt: skip
facts = st.fixed_dictionaries({name: st.sampled_from(texts) for name, texts in words.items()}).map(Facts.of)


@given(
    st.lists(facts, min_size=1, max_size=8),
    st.integers(0, 3),
    st.sampled_from([Policy(), Policy(90, 90), Policy(365, 30)]),
    walks,
)
def test_only_an_eligible_key_gets_a_step(held, absent, policy, walks):
    """Each record of the inventory becomes one of the run, and only a key that can rotate and does not gets a step."""
    kms = FaultyKms({key_id(n): one for n, one in enumerate(held)} | {key_id(90): DETAILS}, {}, {}, walks)
    named = [key_id(n) for n in range(len(held) + absent)]
    with tempfile.TemporaryDirectory() as name:
        halt = Halt(instantly)
        with Ledger(Path(name, "ledger.sqlite3"), lambda: NOW, Scrubber(), create=True) as book:
            stages = Stages(kms.serve(halt, book), book, halt, Tally(), policy=policy, **TERMS)
            steps = planned(book, named, policy, stages)
            kms.reader.close()
        with Replay(Path(name)) as replay:
            outcomes = [record.outcome for record in replay.records()]
            unlisted = [row.key_id for row in replay.unlisted()]
    verdicts = {known: judge(facts, policy) for known, facts in kms.keys.items()}
    cured = {
        known
        for known, verdict in verdicts.items()
        if isinstance(verdict, Eligible) and (verdict.findings[0].rule == "C01" or policy.interval) and known in named
    }
    expected = [verdict_outcome(verdicts[known]) if known in verdicts else Outcome.MISSING for known in named]
    if halt.places:  # the walk failed: nothing is known, and nothing is written
        assert outcomes == [Outcome.UNKNOWN] * len(named)
        assert not steps
    else:
        assert {step.key_id for step in steps} == cured
        by_key = zip(named, expected, strict=True)
        assert outcomes == [Outcome.NOT_ATTEMPTED if known in cured else outcome for known, outcome in by_key]
        assert unlisted in ([key_id(90)], [])


waiver_facts = st.fixed_dictionaries({
    "key_id": st.sampled_from(["", "", key_id(0), key_id(1), key_id(2)]),
    "region": st.sampled_from(["cn-*", "eu-*", HOME.region]), "key_alias": st.sampled_from(["", "app", "a*", "x*"]),
    "rule": st.sampled_from(["", "C01", "C02", "E08", "E12"]),
    "expires": st.sampled_from(["2026-11-23", "2026-11-24", "2027-01-01"]),
})  # fmt: skip
some_waivers = st.lists(waiver_facts, max_size=4).map(
    lambda stated: [
        Waiver(n, **{**dict.fromkeys(OF_WAIVERS, "x"), "account": "", **one}) for n, one in enumerate(stated, 2)
    ]
)


@settings(max_examples=40)  # each with a ledger of its own
@given(st.lists(facts, min_size=1, max_size=6), st.sampled_from([Policy(), Policy(90, 90)]), some_waivers, some_waivers)
def test_a_waived_key_never_gets_a_step(held, policy, some, more):
    """The plan has no step for a key that is waived, and what a later walk finds waived loses its step."""
    keys = {key_id(n): one for n, one in enumerate(held)}
    kms, halt = FaultyKms(keys, {}, {}, []), Halt(instantly)
    both = [Waivers(given, NOW[:10]) for given in (some, some + more)]
    with (
        tempfile.TemporaryDirectory() as name,
        Ledger(Path(name, "ledger.sqlite3"), lambda: NOW, Scrubber(), create=True) as book,
    ):
        kms.serve(halt, book)
        now, later = (
            Stages(kms, book, halt, Tally(), policy=policy, **TERMS | {"again": partial(again, waivers=waivers)})
            for waivers in both
        )
        steps = planned(book, list(keys), policy, now, both[0])
        waived = {row.key_id for row in book.usable() if row.outcome == "waived"}
        left = asyncio.run(later.again(steps, NOW))
        asyncio.run(later.perform(left, FAILURES, lambda: NOW))
        kms.reader.close()
    plain = {known: judge(one, policy) for known, one in keys.items()}
    cured = {
        known
        for known, verdict in plain.items()
        if isinstance(verdict, Eligible) and (verdict.findings[0].rule == "C01" or policy.interval)
    }
    first, second = (
        {n for n, verdict in plain.items() if isinstance(waive(verdict, given, HOME, n, keys[n].key_alias), Waived)}
        for given in both
    )
    assert waived == first
    assert {step.key_id for step in steps} == cured - first
    assert {step.key_id for step in left} == kms.touched == cured - second


SLOW = but(DETAILS, key_rotation_enabled="true", rotation_interval="365")
MEANWHILE = {
    "nothing": {}, "gone": {}, "disabled": {"key_state": "3"}, "imported": {"origin": "external"},
    "off": {"key_rotation_enabled": "false"}, "on": {"key_rotation_enabled": "true", "rotation_interval": "365"},
    "in order": {"key_rotation_enabled": "true", "rotation_interval": "90"},
}  # fmt: skip


@given(st.lists(st.sampled_from(sorted(MEANWHILE)), min_size=4, max_size=4))
@example(["off"] * 4)
@example(["on"] * 4)
def test_a_plan_is_judged_again_before_it_is_carried_out(meanwhile):
    """What changed since the plan decides: a key that is worse off gets no request, one in order is left as it is."""
    policy = Policy(90, 90)
    kms = FaultyKms({key_id(n): DETAILS if n < 3 else SLOW for n in range(1, 5)}, {}, {}, [])
    with tempfile.TemporaryDirectory() as name:
        with Ledger(Path(name, "ledger.sqlite3"), lambda: NOW, Scrubber(), create=True) as book:
            halt = Halt(instantly)
            stages = Stages(kms.serve(halt, book), book, halt, Tally(), policy=policy, **TERMS)
            steps = planned(book, list(kms.keys), policy, stages)
            assert len(steps) == 6
            for known, change in zip(list(kms.keys), meanwhile, strict=True):
                kms.keys[known] = but(kms.keys[known], **MEANWHILE[change])
                if change == "gone":
                    del kms.keys[known]
            verdicts = [
                judge(kms.keys[known], policy) if known in kms.keys else None for known in map(key_id, range(1, 5))
            ]
            asyncio.run(stages.perform(asyncio.run(stages.again(steps, NOW)), FAILURES, lambda: NOW))
            book.append(Event(EventKind.ENDED, None, {"why": "", "exit_code": 0}))
            kms.reader.close()
        with Replay(Path(name)) as replay:
            outcomes = [record.outcome for record in replay.records()]
    for n, (outcome, verdict) in enumerate(zip(outcomes, verdicts, strict=True), 1):
        can = isinstance(verdict, Eligible) and (n < 3 or verdict.findings[0].rule == "C02")
        final = verdict_outcome(verdict) if verdict else Outcome.MISSING
        assert outcome is (Outcome.REMEDIATED if can else final)
        assert (key_id(n) in kms.touched) == can
