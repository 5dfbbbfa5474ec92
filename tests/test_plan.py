"""What will be written: the steps, a digest that anybody can compute again, and the guards that refuse."""

import hashlib
import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import GuardRefused, UsageFault
from audit.model import Place, Policy
from audit.outcome import Action
from audit.plan import Proposal, Step, check_limit, check_policy, digest, guard, make
from audit.verdict import Eligible, Finding

HOME = Place("acme", "cn-north-4", "p1")
ENABLE, SET = Action.ENABLE, Action.SET_INTERVAL


def key_id(number):
    return f"{number:08x}-0000-4000-8000-000000000000"


def steps(failed, policy, number=1):
    """The steps of an eligible key that failed one control."""
    ids = map("sequence-{}".format, itertools.count(1))
    return make(7, HOME, key_id(1), Eligible((Finding(failed, "why"),)), policy, ids.__next__, number)


@pytest.mark.parametrize(
    ("failed", "policy", "actions"),
    [
        ("C01", Policy(365), [(ENABLE, None)]),
        ("C01", Policy(365, 365), [(ENABLE, None)]),
        ("C01", Policy(365, 90), [(ENABLE, None), (SET, 90)]),
        ("C01", Policy(90, 90), [(ENABLE, None), (SET, 90)]),
        ("C02", Policy(90, 30), [(SET, 30)]),
        ("C02", Policy(365, 365), [(SET, 365)]),
        ("C02", Policy(90), []),
    ],
)
def test_a_control_that_fails_makes_its_steps(failed, policy, actions):
    """Enabling gives 365 days, so only another interval is a second step; nothing but --interval cures a slow key."""
    made = steps(failed, policy, 5)
    assert [(step.action, step.interval) for step in made] == actions
    assert [(step.number, step.record, step.place, step.key_id) for step in made] == [
        (5 + n, 7, HOME, key_id(1)) for n in range(len(made))
    ]
    assert len({step.sequence for step in made}) == len(made)


places = st.builds(
    Place, st.sampled_from(["", "acme", "宇宙"]), st.sampled_from(["cn-north-4", "eu-west-101"]), st.just("p1")
)
plans = st.lists(
    st.builds(Step, st.just(1), st.integers(1, 99), places, st.integers(0, 9).map(key_id), st.sampled_from(Action),
              st.none() | st.integers(30, 365), st.uuids().map(str)),
    max_size=6,
)  # fmt: skip
policies = st.builds(Policy, st.integers(30, 365), st.none() | st.integers(30, 365), st.sampled_from(["", "d"]))


@given(plans, policies, st.sampled_from(["simulated", "kms.cn-north-4.myhuaweicloud.com"]), st.randoms())
def test_the_digest_is_the_documented_one(plan, policy, target, random):
    """SHA-256 over a head and one sorted line per step, in UTF-8: no times, no sequences, no order, no numbers."""
    text = [f"{s.place.account}\t{s.place.region}\t{s.place.project_id}\t{s.key_id}\t{s.action.value}\t" for s in plan]
    lines = sorted(
        (line + (str(s.interval) if s.interval else "")).encode() for line, s in zip(text, plan, strict=True)
    )
    head = "\t".join(["kms-rotation plan 1", str(policy.max_interval), str(policy.interval or ""), target]).encode()
    expected = hashlib.sha256(b"".join(line + b"\n" for line in [head, *lines])).hexdigest()
    again = [replace(step, sequence="another", number=9, record=1) for step in plan]
    random.shuffle(again)
    assert digest(plan, policy, target) == digest(again, policy, target) == expected


@given(plans.filter(bool), policies)
def test_another_plan_has_another_digest(plan, policy):
    """A step more, a step less, another place, action, interval, policy or host: each shows in the digest."""
    first, *rest = plan
    changed = [
        rest, [*plan, first], [replace(first, key_id=key_id(77)), *rest],
        [replace(first, place=Place("acme", "cn-north-1", "p1")), *rest], [replace(first, interval=29), *rest],
        [replace(first, action=SET if first.action is ENABLE else ENABLE), *rest],
    ]  # fmt: skip
    digests = {digest(steps, policy, "host") for steps in changed} | {
        digest(plan, replace(policy, max_interval=366), "host"),
        digest(plan, replace(policy, interval=366), "host"),
        digest(plan, policy, "other"),
    }
    assert len(digests) == 9
    assert digest(plan, policy, "host") not in digests


@pytest.mark.parametrize(
    ("changes", "usable", "limit", "refused"),
    [
        (10, 10, None, False), (3, 10, "3", False), (4, 10, "3", True), (1, 10, "0", True), (0, 10, "0", False),
        (1, 19, "10%", False), (2, 19, "10%", True), (1, 9, "10%", True), (9, 9, "100%", False), (1, 5, "0%", True),
    ],
)  # fmt: skip
def test_a_plan_that_is_too_large_is_refused(changes, usable, limit, refused):
    """--max-changes counts keys; a percentage is of the usable records, rounded down."""
    if refused:
        with pytest.raises(GuardRefused, match=f"changes {changes} keys.*{limit}"):
            guard(changes, usable, limit)
    else:
        guard(changes, usable, limit)


@pytest.mark.parametrize("limit", ["", "-1", "101%", "1.5", "5 %", "%", "ten", "\u0665", "1\n", "9999999999"])
def test_a_limit_is_a_number_or_a_percentage(limit):
    """Anything else is a usage error, not a guard that is not there."""
    with pytest.raises(UsageFault, match="--max-changes"):
        check_limit(limit)


@pytest.mark.parametrize(
    ("policy", "writes", "fault"),
    [
        (Policy(365), True, ""), (Policy(30, 30), True, ""), (Policy(365, 365), True, ""), (Policy(90), False, ""),
        (Policy(90), True, "without --interval"), (Policy(29), False, "--max-interval 29"),
        (Policy(366), False, "--max-interval 366"),
        (Policy(365, 29), True, "--interval 29"), (Policy(365, 366), True, "--interval 366"),
        (Policy(90, 91), True, "longer than --max-interval"), (Policy(364), True, "without --interval"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_met_is_refused_before_anything_is_read(policy, writes, fault):
    """30 to 365 days, no interval above the policy's, and no writing that would leave every key too slow."""
    if fault:
        with pytest.raises(UsageFault, match=fault):
            check_policy(policy, writes=writes)
    else:
        assert check_policy(policy, writes=writes) is policy


def test_a_proposal_counts_keys_and_steps_apart():
    """A key with two steps is one key that changes."""
    both = [*steps("C01", Policy(90, 90)), replace(steps("C02", Policy(90, 90))[0], record=8)]
    proposal = Proposal("d", ("host",), both, {}, 0.15, simulated=False)
    assert proposal.keys == 2
    assert proposal.actions == {**dict.fromkeys(Action, 0), ENABLE: 1, SET: 2}
