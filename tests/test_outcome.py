"""What can become of a key: every outcome has its code, its meaning, and its place among the reports."""

import itertools

import pytest

from audit.errors import EXIT_CODES, PRECEDENCE
from audit.outcome import ANOTHER_RUN, MEANINGS, Outcome, exit_code
from audit.verdict import (
    Blocked,
    Compliant,
    Eligible,
    Finding,
    Ineligible,
    Undecided,
    Unread,
    Waived,
    verdict_outcome,
    verdict_reason,
)
from audit.waiver import Waiver

CODES = {
    0: {"compliant", "remediated", "ineligible", "blocked", "waived", "rolled_back"},
    3: {"non_compliant", "planned", "refused", "missing", "left_alone"},
    4: {"rejected", "unknown", "unverified", "not_attempted"},
}


def test_every_outcome_has_a_code_and_a_meaning():
    """No outcome is left out of the exit codes, of the meanings, or of the choice for another run."""
    assert {outcome: exit_code({outcome: 1}) for outcome in Outcome} == {
        Outcome(outcome): code for code, outcomes in CODES.items() for outcome in outcomes
    }
    assert {outcome.meaning for outcome in Outcome} == set(MEANINGS.values())
    assert (CODES[3] | CODES[4]) - {"rejected", "left_alone"} == set(ANOTHER_RUN)
    assert [Outcome.NON_COMPLIANT.words, Outcome.NOT_ATTEMPTED.words] == ["non-compliant", "not attempted"]


@pytest.mark.parametrize(("first", "then"), [*itertools.product([2, 130, 1, 5, 4, 3, 0], repeat=2)])
def test_of_two_exit_codes_the_first_in_line_wins(first, then):
    """2 before 130 before 1 before 5 before 4 before 3 before 0, whether an outcome or an ending calls for it."""
    line = [2, 130, 1, 5, 4, 3, 0]
    expected = min(first, then, key=line.index)
    assert exit_code({}, first, then) == expected
    if first in CODES:
        assert exit_code(dict.fromkeys(CODES[first], 7) | {"waived": 0}, then) == expected
    assert tuple(line) == PRECEDENCE
    assert sorted(line) == [code for code, _ in EXIT_CODES]


def test_an_outcome_that_nothing_has_counts_for_nothing():
    """A zero among the counts calls for no exit code."""
    assert exit_code({"unknown": 0, "refused": 0, "compliant": 3}) == 0


WAIVER = Waiver(4, "", "", "cn-*", "", "", "being replaced", "A. Meier", "", "2026-12-31")
E12 = Finding("E12", "not known to this version: origin 'mars'")
VERDICTS = [
    (Eligible((Finding("C01", "rotation is off"),)), "non_compliant", "rotation is off"),
    (Compliant(), "compliant", ""),
    (Ineligible((Finding("E01", "default key"), Finding("C01", "rotation is off"))), "ineligible", "default key"),
    (Blocked((Finding("E08", "key is disabled"),)), "blocked", "key is disabled"),
    (Undecided((), ("origin", "key_state")), "unknown", "not stated: origin, key_state"),
    (Undecided((E12,)), "unknown", "not known to this version: origin 'mars'"),
    (Undecided((Finding("E08", "key is disabled"), E12)), "unknown", "not known to this version: origin 'mars'"),
    (Undecided((E12,), ("key_state",)), "unknown", "not stated: key_state; not known to this version: origin 'mars'"),
    (Unread("HTTP 404 KMS.0207", gone=True), "missing", "HTTP 404 KMS.0207"),
    (Unread("no answer"), "unknown", "no answer"),
    (Waived((Finding("C01", "rotation is off"),), WAIVER), "waived", f"{WAIVER.told}; waives C01 (rotation is off)"),
]


@pytest.mark.parametrize(("verdict", "outcome", "reason"), VERDICTS)
def test_a_key_without_a_step_ends_with_its_verdict(verdict, outcome, reason):
    """A verdict is told by its headline rule, and one that could not be made by everything that was in its way."""
    assert verdict_outcome(verdict) == outcome
    assert verdict_reason(verdict) == reason
