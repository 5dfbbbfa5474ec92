"""The rules, one by one and in order: what is not known never passes, what can never rotate is never anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.model import Facts, Policy
from audit.rules import RULES, judge, table
from audit.verdict import Blocked, Compliant, Eligible, Ineligible, Undecided

OURS = "d78cbac186b744899480f25bd022f468"
GOOD = {
    "key_alias": "app/one", "domain_id": OURS, "key_spec": "AES_256", "key_state": "2", "default_key_flag": "0",
    "origin": "kms", "keystore_id": "0", "multi_region_key_type": "SINGLE", "key_rotation_enabled": "true",
    "rotation_interval": "365",
}  # fmt: skip
YEAR, QUARTER = Policy(own_domain=OURS), Policy(90, 90, OURS)


def judged(policy=YEAR, **changed):
    """The verdict on a compliant key with some facts changed, and the rules that it names."""
    verdict = judge(Facts.of(GOOD | changed), policy)
    return type(verdict), ";".join(finding.rule for finding in verdict.findings)


MATCHES = [
    ("E01", {"default_key_flag": "1"}),
    ("E01", {"default_key_flag": "", "key_alias": "evs/default"}),
    ("E02", {"origin": "EXTERNAL"}),
    ("E03", {"key_spec": "RSA_3072"}),
    ("E03", {"key_spec": "SM2"}),
    ("E04", {"key_spec": "HMAC_SM3"}),
    ("E05", {"keystore_id": "1"}),
    ("E05", {"keystore_id": "b168fe00-ff56-4953-8a17-c81f1e2d3a4b"}),
    ("E06", {"domain_id": "0f" * 16}),
    ("E07", {"multi_region_key_type": "replica"}),
    ("E08", {"key_state": "3"}),
    ("E09", {"key_state": "4"}),
    ("E10", {"key_state": "5"}),
    ("E10", {"key_state": "1"}),
    ("E11", {"key_state": "7"}),
    ("E12", {"key_state": "6"}),
    ("E12", {"key_state": "enabled"}),
    ("E12", {"key_spec": "ML_DSA_65"}),
    ("E12", {"origin": "cloudhsm"}),
    ("E12", {"default_key_flag": "2", "key_alias": "evs/default"}),
    ("E12", {"key_rotation_enabled": "soon"}),
    ("E12", {"multi_region_key_type": "SATELLITE"}),
    ("C01", {"key_rotation_enabled": "false", "rotation_interval": ""}),
    ("C02", {"rotation_interval": "366"}),
]
PASSES = [
    ("E01", {"default_key_flag": "0", "key_alias": "evs/default"}, YEAR),
    ("E01", {"default_key_flag": "", "key_alias": "my/default/key"}, YEAR),
    ("E02", {"origin": "kms"}, YEAR),
    ("E03", {"key_spec": "sm4"}, YEAR),
    ("E04", {"key_spec": "SM4"}, YEAR),
    ("E05", {"keystore_id": ""}, YEAR),
    ("E06", {"domain_id": ""}, YEAR),
    ("E06", {"domain_id": "0f" * 16}, Policy()),
    ("E07", {"multi_region_key_type": "PRIMARY"}, YEAR),
    ("E07", {"multi_region_key_type": ""}, YEAR),
    *((rule, {"key_state": "2"}, YEAR) for rule in ("E08", "E09", "E10", "E11")),
    ("E12", {"keystore_id": "", "domain_id": "", "multi_region_key_type": ""}, YEAR),
    ("C01", {"key_rotation_enabled": "1"}, YEAR),
    ("C02", {"rotation_interval": "90"}, QUARTER),
    ("C02", {"rotation_interval": ""}, YEAR),
]


def test_every_rule_is_tried():
    """Each rule has a key that it matches and one that it lets pass."""
    ids = {rule.id for rule in RULES}
    assert {rule for rule, _ in MATCHES} == {rule for rule, *_ in PASSES} == ids


@pytest.mark.parametrize(("rule", "changed"), MATCHES)
def test_a_rule_matches(rule, changed):
    """One changed fact makes one rule match, and the evidence is a phrase."""
    verdict = judge(Facts.of(GOOD | changed), YEAR)
    assert [finding.rule for finding in verdict.findings] == [rule]
    assert verdict.findings[0].evidence


@pytest.mark.parametrize(("rule", "changed", "policy"), PASSES)
def test_a_rule_lets_pass(rule, changed, policy):
    """A key that comes near to a rule, and is not its business, is compliant."""
    assert judged(policy, **changed) == (Compliant, "")


OFF = {"key_rotation_enabled": "false"}


@pytest.mark.parametrize(
    ("changed", "verdict", "rules"),
    [
        ({"default_key_flag": "1", "origin": "", "key_state": "9", **OFF}, Ineligible, "E01;E12;C01"),
        ({"default_key_flag": "1", "origin": "external", "key_state": "4"}, Ineligible, "E01;E02;E09"),
        ({"domain_id": "0f", "rotation_interval": "400"}, Ineligible, "E06;C02"),
        ({"key_spec": "", "key_state": "3", **OFF}, Undecided, "E08;C01"),
        ({"origin": "mars", "key_state": "7", **OFF}, Undecided, "E11;E12;C01"),
        ({"key_state": "3", **OFF}, Blocked, "E08;C01"),
        ({"key_state": "5", "rotation_interval": "400"}, Blocked, "E10;C02"),
        ({"key_state": "4"}, Blocked, "E09"),
        (OFF, Eligible, "C01"),
        ({"rotation_interval": "400"}, Eligible, "C02"),
        ({}, Compliant, ""),
    ],
)
def test_the_order_of_the_verdict(changed, verdict, rules):
    """Never comes before not known, that before not now, and that before the controls; all that matches is named."""
    assert judged(**changed) == (verdict, rules)


@pytest.mark.parametrize(
    ("missing", "fills"),
    [
        (("origin",), {}),
        (("key_spec",), {}),
        (("key_state",), {}),
        (("key_rotation_enabled",), {}),
        (("default_key_flag",), {"key_alias": ""}),
        (("origin", "key_spec"), {}),
    ],
)
def test_a_required_fact_that_is_not_stated_is_never_guessed(missing, fills):
    """Without origin, spec, state, switch, or one of flag and alias, a key is undecided, and says what is missing."""
    verdict = judge(Facts.of(GOOD | fills | dict.fromkeys(missing, "")), YEAR)
    assert isinstance(verdict, Undecided)
    assert verdict.missing == missing


@pytest.mark.parametrize("fact", ["key_alias", "default_key_flag", "keystore_id", "domain_id", "multi_region_key_type"])
def test_other_facts_may_be_left_out(fact):
    """Alias or flag is enough, and keystore, owner and multi-region type not stated mean default, ours and single."""
    assert judged(**{fact: ""}) == (Compliant, "")


@pytest.mark.parametrize(
    ("days", "max_interval", "verdict"),
    [
        ("", 365, Compliant), ("", 364, Undecided), ("", 30, Undecided), ("0", 365, Undecided), ("364", 364, Compliant),
        ("365", 364, Eligible), ("30", 30, Compliant),
    ],
)  # fmt: skip
def test_an_interval_that_is_not_stated_passes_only_the_longest_policy(days, max_interval, verdict):
    """365 days is the most that KMS sets, so only a policy of 365 days needs no number."""
    assert judged(Policy(max_interval, None, OURS), rotation_interval=days)[0] is verdict
    if not days:
        assert judged(Policy(max_interval, None, OURS), rotation_interval="", **OFF) == (Eligible, "C01")


WORDS = {
    "key_alias": ["", "app", "obs/default"], "domain_id": ["", OURS, "other"], "keystore_id": ["", "0", "2"],
    "key_spec": ["", "AES_256", "RSA_2048", "HMAC_256", "X"], "rotation_interval": ["", "0", "30", "90", "365", "400"],
    "key_state": ["", "1", "2", "3", "4", "5", "7", "6"], "default_key_flag": ["", "0", "1", "x"],
    "origin": ["", "kms", "external", "x"], "key_rotation_enabled": ["", "true", "false", "x"],
    "multi_region_key_type": ["", "SINGLE", "PRIMARY", "REPLICA", "X"],
}  # fmt: skip


@given(
    st.fixed_dictionaries({name: st.sampled_from(words) for name, words in WORDS.items()}),
    st.sampled_from([Policy(), YEAR, QUARTER, Policy(364)]),
)
def test_nothing_passes_by_chance(facts, policy):
    """Only a key that is known to be able to rotate is compliant or gets a step, and the rules stand in table order."""
    verdict = judge(Facts.of(facts), policy)
    rules = [finding.rule for finding in verdict.findings]
    assert rules == [rule.id for rule in RULES if rule.id in rules]
    known = (
        facts["key_spec"] == "AES_256"
        and facts["origin"] == "kms"
        and facts["key_state"] == "2"
        and (facts["default_key_flag"] == "0" or (not facts["default_key_flag"] and facts["key_alias"] == "app"))
        and facts["keystore_id"] in {"", "0"}
        and facts["multi_region_key_type"] in {"", "SINGLE", "PRIMARY"}
        and not (policy.own_domain and facts["domain_id"] == "other")
    )
    on, days = facts["key_rotation_enabled"], int(facts["rotation_interval"] or 0)
    unsaid = not days and (policy.max_interval < 365 or facts["rotation_interval"] == "0")
    compliant = known and on == "true" and not unsaid and days <= policy.max_interval
    eligible = known and (on == "false" or (on == "true" and days > policy.max_interval))
    assert isinstance(verdict, Compliant) == compliant
    assert isinstance(verdict, Eligible) == eligible
    assert isinstance(verdict, Ineligible) == any(
        rule in {"E01", "E02", "E03", "E04", "E05", "E06", "E07"} for rule in rules
    )


def test_the_table_of_rules(golden):
    """`kms-rotation rules` prints this table."""
    golden("rules.md", table() + "\n")
