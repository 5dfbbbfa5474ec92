"""What a waiver means for a key: whom it matches, when it counts, what it waives and what it never does."""

import hashlib
import re
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.model import Facts, Place, Policy
from audit.outcome import Outcome
from audit.plan import digest
from audit.rules import RULES, judge
from audit.verdict import (
    Blocked,
    Compliant,
    Eligible,
    Ineligible,
    Undecided,
    Unread,
    Waived,
    verdict_outcome,
    verdict_reason,
    waive,
)
from audit.waiver import COLUMNS, NO_WAIVERS, Waiver, Waivers, is_day, line_told

HOME, AWAY = Place("acme", "cn-north-4", "p1"), Place("umbrella", "eu-west-101", "p2")
DAY = "2026-11-24"
GOOD = {
    "key_alias": "app/one", "key_spec": "AES_256", "key_state": "2", "default_key_flag": "0", "origin": "kms",
    "key_rotation_enabled": "true", "rotation_interval": "365",
}  # fmt: skip
OFF = {"key_rotation_enabled": "false"}
STATED = {"reason": "being replaced", "approver": "A. Meier", "ticket": "SEC-7", "expires": "2026-12-31"}


def key_id(number):
    return f"{number:08x}-0000-4000-8000-000000000000"


def waiver(line=2, **stated):
    return Waiver(line, **{**dict.fromkeys(COLUMNS, ""), **STATED, **stated})


def judged(*waivers, place=HOME, key=1, alias="app/one", day=DAY, policy=Policy(), **changed):  # noqa: B008  # frozen
    """The verdict on a compliant key with some facts changed, in the light of waivers."""
    verdict = judge(Facts.of(GOOD | changed), policy)
    return waive(verdict, Waivers(waivers, day), place, key_id(key), alias)


# Whom it matches ----------------------------------------------------------------------------------------------------

MATCHES = [
    ({"key_id": key_id(1)}, True), ({"key_id": key_id(2)}, False), ({"key_alias": "app/one"}, True),
    ({"key_alias": "app/*"}, True), ({"key_alias": "*"}, True), ({"key_alias": "app/on?"}, True),
    ({"key_alias": "app/on"}, False), ({"key_alias": "pp/*"}, False), ({"key_alias": "App/*"}, False),
    ({"key_alias": "app/one?"}, False), ({"key_alias": "app/[o]ne"}, False), ({"key_alias": "app.one"}, False),
    ({"account": "acme"}, True), ({"account": "ac?e"}, True), ({"account": "umbrella"}, False),
    ({"region": "cn-*"}, True), ({"region": "eu-*"}, False), ({"account": "acme", "region": "eu-*"}, False),
    ({"account": "a*", "region": "cn-north-?", "key_alias": "*/*"}, True),
    ({"key_id": key_id(1), "region": "cn-*"}, True), ({"key_id": key_id(1), "region": "eu-*"}, False),
    ({"key_id": key_id(1), "account": "umbrella"}, False),
]  # fmt: skip


@pytest.mark.parametrize(("stated", "covers"), MATCHES)
def test_all_that_a_waiver_states_must_match(stated, covers):
    """Ids are exact, patterns match the whole text and mind the case, and one that does not match is enough."""
    assert isinstance(judged(waiver(**stated), **OFF), Waived) == covers


@given(st.text("ab*?[]", max_size=7), st.text("ab[]", max_size=7))
def test_a_pattern_means_what_is_documented(pattern, alias):
    """A star is any text, a question mark one character, and everything else is itself."""
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    found = Waivers([waiver(key_alias=pattern)], DAY).matching(HOME, key_id(1), alias)
    assert bool(found) == (not pattern or bool(re.fullmatch(expression, alias)))


def test_a_key_without_an_alias_matches_no_alias_but_the_star():
    """An alias that is nowhere stated is empty: only a pattern that allows it matches."""
    assert isinstance(judged(waiver(key_alias="*"), alias="", **OFF), Waived)
    assert isinstance(judged(waiver(key_alias="?*"), alias="", **OFF), Eligible)


def test_the_id_comes_first_and_then_the_line():
    """Of several waivers that cover a key, one that names it by its id is told, else the first of the file."""
    general, exact, alias = waiver(2, region="cn-*"), waiver(9, key_id=key_id(1)), waiver(5, key_alias="app/*")
    assert judged(general, alias, exact, **OFF).by is exact
    assert judged(general, alias, **OFF).by is general
    assert judged(replace(general, line=7), alias, **OFF).by is alias


# What it waives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "rule", "verdict"),
    [
        (OFF, "", Waived), (OFF, "C01", Waived), (OFF, "C02", Eligible), (OFF, "E08", Eligible),
        ({"key_state": "3"}, "", Waived), ({"key_state": "3"}, "E08", Waived), ({"key_state": "3"}, "C01", Blocked),
        ({"key_state": "3", **OFF}, "C01", Waived), ({"key_state": "9"}, "E12", Waived),
        ({"key_state": "9"}, "", Waived), ({"key_state": "9"}, "C01", Undecided),
        ({"origin": ""}, "", Waived), ({"origin": ""}, "E12", Undecided), ({"origin": "", **OFF}, "C01", Waived),
        ({"origin": "external", **OFF}, "", Ineligible), ({"key_spec": "RSA_2048", "key_state": "9"}, "", Ineligible),
        ({"rotation_interval": "400"}, "C02", Waived), ({}, "", Compliant), ({}, "C01", Compliant),
    ],
)  # fmt: skip
def test_the_order_of_the_verdict(changed, rule, verdict):
    """Never comes before a waiver, a waiver before all else; what is in order stays so, another rule is not waived."""
    found = judged(waiver(key_id=key_id(1), rule=rule), **changed)
    assert type(found) is verdict
    assert found.findings == judge(Facts.of(GOOD | changed), Policy()).findings


def test_what_could_not_be_read_is_not_waived():
    """A key that KMS does not have, or that could not be read, stays missing or unknown."""
    every = Waivers([waiver(key_id=key_id(1)), waiver(key_alias="*")], DAY)
    for verdict in (Unread("no answer"), Unread("HTTP 404", gone=True)):
        assert waive(verdict, every, HOME, key_id(1), "app/one") is verdict


@pytest.mark.parametrize(
    ("expires", "outcome"),
    [("2026-11-23", "non_compliant"), ("2026-11-24", "waived"), ("2026-11-25", "waived"), ("9999-12-31", "waived")],
)
def test_the_last_day_counts_and_the_day_after_does_not(expires, outcome):
    """A waiver holds through its last day, by the day on which the run was made."""
    assert verdict_outcome(judged(waiver(key_id=key_id(1), expires=expires), **OFF)) == outcome


def test_an_expired_waiver_does_not_hide_one_that_counts():
    """Only where none that counts is left does the finding say that there was one."""
    old, new = waiver(2, key_id=key_id(1), expires="2026-10-01"), waiver(3, key_alias="app/*")
    assert judged(old, new, **OFF).by is new
    assert judged(old, replace(new, expires="2026-10-02"), **OFF).lapsed.line == 3
    assert judged(replace(old, rule="E08"), **OFF).lapsed is None


SAYS = "waiver of line 4, valid until 2026-12-31: being replaced; approved by A. Meier"
OVER = "the waiver of line 4 (approved by A. Meier, ticket SEC-7) expired on 2026-10-01"
BOTH, OLD = {**OFF, "key_state": "3"}, {"expires": "2026-10-01"}
REASONS = [
    ({"rule": "C01"}, OFF, f"{SAYS}, ticket SEC-7; waives C01 (rotation is off)"),
    ({"ticket": ""}, BOTH, f"{SAYS}; waives E08 (key is disabled), C01 (rotation is off)"),
    ({"rule": "E08"}, BOTH, f"{SAYS}, ticket SEC-7; waives E08 (key is disabled)"),
    ({}, {"origin": ""}, f"{SAYS}, ticket SEC-7; waives what is not stated (origin)"),
    (OLD, OFF, f"rotation is off; {OVER}"),
    ({**OLD, "ticket": "", "rule": "C01"}, BOTH, f"key is disabled; {OVER.replace(', ticket SEC-7', '')}"),
    (OLD, {"origin": "", "key_state": "9"}, f"not stated: origin; not known to this version: key_state '9'; {OVER}"),
]


@pytest.mark.parametrize(("stated", "changed", "reason"), REASONS)
def test_the_reason_names_the_waiver(stated, changed, reason):
    """Who reads the row knows which waiver it was, why, on whose word, until when, and what it waives."""
    assert verdict_reason(judged(waiver(4, key_id=key_id(1), **stated), **changed)) == reason


@given(st.integers(2, 999_999_999), st.text(min_size=1), st.text(min_size=1), st.text(), st.dates().map(str), st.text())
def test_a_reason_tells_its_line_again(line, reason, approver, ticket, expires, note):
    """Whatever people write into a waiver, the line of the one that waived a record can be read from its reason."""
    by = waiver(line, key_id=key_id(1), reason=reason, approver=approver, ticket=ticket, expires=expires)
    told = verdict_reason(judged(by, day=expires, **OFF))
    assert line_told(f"{told}; {note}") == line
    assert line_told(note) is None or note.startswith("waiver of line ")


# All of it, against a second opinion --------------------------------------------------------------------------------

WORDS = {
    "key_spec": ["AES_256", "RSA_2048", "X", ""], "key_state": ["2", "3", "9", ""], "origin": ["kms", "external", ""],
    "default_key_flag": ["0", "1"], "key_rotation_enabled": ["true", "false", ""],
    "rotation_interval": ["", "90", "400"],
}  # fmt: skip
facts = st.fixed_dictionaries({name: st.sampled_from(texts) for name, texts in WORDS.items()}).map(Facts.of)
waivers = st.lists(
    st.builds(
        waiver,
        st.integers(2, 99),
        key_id=st.sampled_from(["", key_id(1), key_id(2)]),
        account=st.sampled_from(["", "acme", "*", "umb*"]),
        region=st.sampled_from(["", "cn-*", "eu-west-101"]),
        key_alias=st.sampled_from(["", "app/*", "app/one", "ap?/two"]),
        rule=st.sampled_from(["", "C01", "C02", "E08", "E12"]),
        expires=st.sampled_from(["2026-11-23", "2026-11-24", "2027-01-01"]),
    ),
    max_size=6,
    unique_by=lambda one: one.line,
).map(lambda some: sorted(some, key=lambda one: one.line))


def covers(one, place, key, alias, rules):
    """Whether a waiver covers a key, told in another way."""
    texts = {"account": place.account, "region": place.region, "key_alias": alias}
    patterns = {name: re.escape(getattr(one, name)).replace(r"\*", ".*").replace(r"\?", ".") for name in texts}
    matches = all(not form or re.fullmatch(form, texts[name]) for name, form in patterns.items())
    return matches and one.key_id in {"", key} and (not one.rule or one.rule in rules)


@given(waivers, facts, st.sampled_from([HOME, AWAY]), st.sampled_from([1, 2]), st.sampled_from(["app/one", "app/two"]))
def test_a_key_is_waived_where_a_waiver_covers_it_and_nowhere_else(some, stated, place, key, alias):
    """Only what is neither in order nor ineligible is waived, by a waiver that counts, matches and waives a finding."""
    plain = judge(stated, Policy())
    found = waive(plain, Waivers(some, DAY), place, key_id(key), alias)
    rules = {finding.rule for finding in plain.findings}
    covering = [one for one in some if covers(one, place, key_id(key), alias, rules)]
    counting = [one for one in covering if one.expires >= DAY]
    open_ = isinstance(plain, Eligible | Blocked | Undecided)
    assert isinstance(found, Waived) == bool(open_ and counting)
    if isinstance(found, Waived):
        assert found.by in counting
        assert found.by.key_id or not [one for one in counting if one.key_id]
        assert verdict_outcome(found) is Outcome.WAIVED
    elif open_:
        assert type(found) is type(plain)
        assert (found.lapsed in covering) if covering else found.lapsed is None
    else:
        assert found is plain


def test_every_rule_that_is_no_never_rule_can_be_waived():
    """The order of the kinds decides, whatever rules there are: an ineligible key is never waived, the others are."""
    ways = {
        "E01": {"default_key_flag": "1"}, "E02": {"origin": "external"}, "E03": {"key_spec": "SM2"},
        "E04": {"key_spec": "HMAC_256"}, "E05": {"keystore_id": "1"}, "E06": {"domain_id": "other"},
        "E07": {"multi_region_key_type": "REPLICA"}, "E08": {"key_state": "3"}, "E09": {"key_state": "4"},
        "E10": {"key_state": "5"}, "E11": {"key_state": "7"}, "E12": {"origin": "x"}, "C01": OFF,
        "C02": {"rotation_interval": "400"},
    }  # fmt: skip
    assert set(ways) == {rule.id for rule in RULES}
    for rule in RULES:
        found = judged(waiver(key_id=key_id(1), rule=rule.id), policy=Policy(own_domain="ours"), **ways[rule.id])
        assert [finding.rule for finding in found.findings] == [rule.id]
        assert isinstance(found, Ineligible if rule.kind == "never" else Waived)


# The digest, the ledger, the cost -----------------------------------------------------------------------------------


def test_the_digest_names_every_waiver():
    """One line for each, of all that it states and not of its line; without waivers it is what it was."""
    first, second = waiver(2, key_id=key_id(1), rule="C01"), waiver(3, account="acme", key_alias="b*", ticket="")
    plain = digest([], Policy(), "simulated")
    both = digest([], Policy(), "simulated", [first, second])
    assert digest([], Policy(), "simulated", []) == plain != both
    assert digest([], Policy(), "simulated", [replace(second, line=2), replace(first, line=9)]) == both
    others = [replace(first, **{column: f"{getattr(first, column)}x"}) for column in COLUMNS]
    digests = {digest([], Policy(), "simulated", [other, second]) for other in others}
    assert len(digests | {both, plain}) == len(COLUMNS) + 2


def test_the_digest_can_be_taken_by_anybody():
    """The lines of waivers stand among those of the steps, sorted with them, and have ten fields."""
    one = waiver(2, region="cn-*", rule="C01")
    text = (
        "kms-rotation plan 1\t365\t\tsimulated\nwaiver\t\t\tcn-*\t\tC01\tbeing replaced\tA. Meier\tSEC-7\t2026-12-31\n"
    )
    assert digest([], Policy(), "simulated", [one]) == hashlib.sha256(text.encode()).hexdigest()


@given(waivers)
def test_what_a_ledger_notes_is_read_back(some):
    """Waivers, their day, and the name and hash of their file survive the ledger."""
    noted = Waivers(some, DAY, "waivers.csv", "9f86d081").noted()
    again = Waivers.recorded(noted)
    assert (list(again.entries), again.day, again.name, again.sha256) == (some, DAY, "waivers.csv", "9f86d081")
    assert (NO_WAIVERS.noted(), Waivers.recorded(None).entries) == (None, ())


SOUND = Waivers([waiver(key_id=key_id(1))], DAY, "waivers.csv", "9f86d081").noted()
ENTRY = SOUND["entries"][0]
BROKEN = [
    [], "text", 7, {}, {**SOUND, "entries": None}, {**SOUND, "entries": [7]}, {**SOUND, "entries": [{}]},
    {**SOUND, "entries": [{**ENTRY, "more": ""}]}, {**SOUND, "entries": [{**ENTRY, "line": "2"}]},
    {**SOUND, "entries": [{**ENTRY, "line": True}]}, {**SOUND, "entries": [{**ENTRY, "key_id": 7}]},
    {**SOUND, "entries": [{**ENTRY, "expires": "soon"}]}, {**SOUND, "entries": [{**ENTRY, "expires": "2026-W01-1"}]},
    {**SOUND, "day": "2026-02-30"}, {**SOUND, "day": None}, {**SOUND, "name": 7},
]  # fmt: skip


@pytest.mark.parametrize("noted", BROKEN, ids=str)
def test_what_was_never_noted_is_refused(noted):
    """Whatever somebody puts into a ledger, one kind of error comes of it, and it says what is wrong."""
    with pytest.raises(ValueError, match="its waivers are not as they were noted"):
        Waivers.recorded(noted)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-12-31", True), ("2024-02-29", True), ("2026-02-29", False), ("2026-13-01", False), ("20261231", False),
        ("2026-W01-1", False), ("2026-1-1", False), ("", False), (" 2026-12-31", False), ("2026-12-31\n", False),
        ("\u0662026-12-31", False), ("0000-01-01", False),
    ],
)  # fmt: skip
def test_a_day_is_a_day_of_the_calendar(text, day):
    """Only the one form, whose texts sort as the days do."""
    assert is_day(text) is day


def test_who_applies_later_is_told_what_has_expired():
    """A waiver that counted when the run was made and does not any more is named, the first few of many."""
    some = [waiver(n, key_id=key_id(n), expires=f"2026-11-{20 + n}") for n in range(2, 10)]
    held = Waivers(some, DAY)
    assert held.overtaken(DAY) == held.overtaken("2026-11-01") == ""
    assert "(line 4 on 2026-11-24)" in held.overtaken("2026-11-25")
    assert "line 8 on 2026-11-28 and 1 more)" in held.overtaken("2026-12-24")
    assert "not written to" in held.overtaken("2026-12-24")


def calls(work):
    """How many functions are called in the course of some work, those written in C too."""
    count = 0

    def counting(_frame, event, _argument):
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("size", [10, 10_000])
def test_a_key_costs_the_same_however_many_waivers_there_are(size):
    """Ids and whole aliases are looked up, patterns are tried once for each place: no more than a few calls a key."""
    some = [waiver(n, key_id=key_id(n)) for n in range(2, size)]
    some += [waiver(size + n, key_alias=f"alias/{n}") for n in range(size)]
    some += [waiver(3 * size + n, region=f"eu-{n}-*", account="a*") for n in range(100)]
    held, verdict, compliant = Waivers(some, DAY), judge(Facts.of(GOOD | OFF), Policy()), Compliant()
    keys = [f"absent-{n}" for n in range(1000)]
    waive(verdict, held, HOME, key_id(0), "app/0")  # the first of a place tries the patterns
    assert calls(lambda: [waive(verdict, held, HOME, key, "app/0") for key in keys]) <= 5 * len(keys) + 50
    assert calls(lambda: [waive(compliant, held, HOME, key, "app/0") for key in keys]) <= len(keys) + 5
    nothing = [waive(verdict, NO_WAIVERS, HOME, key_id(n), "app/0") for n in range(3)]
    assert nothing == [verdict] * 3


def test_a_pattern_of_many_stars_is_quick():
    """No pattern tries again what it has tried: a few hundred calls, where going back would take years."""
    held = Waivers([waiver(key_alias="*a" * 40 + "b")], DAY)
    assert not held.matching(HOME, key_id(1), "a" * 5000)
