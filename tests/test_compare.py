"""One report against an earlier run: every key is exactly one change, and so is every waiver that differs."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import UsageFault
from audit.outcome import Outcome
from audit.replay import Replay
from audit.report import render, view
from audit.report.compare import CHANGES, COLUMNS, change
from audit.report.facets import Comparison
from audit.report.lists import SHOWN, WHOLE
from tests.command import FAST, Operator, begin, left_behind, one_message, results, snapshot, waiting
from tests.simulated import key
from tests.test_report import (
    AWAY,
    CHANGED,
    HOME,
    NOW,
    ON,
    REFUSED,
    UNSEEN,
    WAITING,
    Rendered,
    Story,
    full,
    key_id,
    planned,
)

GOOD, ASIDE = {"compliant", "remediated"}, {"ineligible", "blocked", "waived", "rolled_back", "left_alone"}
OPEN = {"non_compliant", "planned", "refused", "missing"}
DOUBT = {"rejected", "unknown", "unverified", "not_attempted"}
NAMES = sorted({*Outcome, *GOOD, *ASIDE, *OPEN, *DOUBT})
EARLIER, LATER = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
begun = begin()


class Compared(Rendered):
    """The reports of some runs against an earlier one."""

    def __init__(self, directory: Path, baseline: Path, *runs: Path, formats: Any = render.FORMATS) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        with Replay(baseline) as before:
            replays = [Replay(run) for run in runs]
            self.view = view.build(replays, report_id="x-report", version="0.1.0", now=NOW, baseline=before)
            self.written = render.write(self.view, directory, formats)
            for replay in replays:
                replay.close()

    @property
    def found(self) -> Comparison:
        assert self.view.comparison is not None
        return self.view.comparison


def two(directory: Path, **about: object) -> tuple[Story, Story]:
    """An earlier run and a later one."""
    return Story(directory, "20261101T000000Z-00000a", **about), Story(directory, "20261102T000000Z-00000b", **about)


def compared(directory: Path, before: Story, after: Story) -> Compared:
    old, new = before.write(clock=EARLIER), after.write(clock=LATER)
    return Compared(directory / "out", old, new)


# The change of one key ----------------------------------------------------------------------------------------------


@given(st.sampled_from(["", *NAMES]), st.sampled_from(["", *NAMES]))
def test_every_two_outcomes_are_one_change(before: str, after: str) -> None:
    """In one report only: new or gone; good from bad: fixed; bad from good: regressed; the rest by being the same."""
    told, bad = change(before, after), OPEN | DOUBT
    assert told in CHANGES
    assert (told == "new") == (not before and bool(after))
    assert (told == "fixed") == (before in bad and after in GOOD)
    assert (told == "regressed") == (before in GOOD and after in bad)
    if before and after:
        assert (told == "unchanged") == (before == after or {before, after} <= GOOD)
        assert (told == "changed") == (told not in {"fixed", "regressed", "unchanged"})


def test_every_outcome_that_there_is_has_a_standing() -> None:
    """An outcome that this release adds is none that the comparison takes for doubt by accident."""
    assert {outcome for outcome in Outcome if change("compliant", outcome) == "regressed"} == (OPEN | DOUBT) & set(
        Outcome
    )


# Two runs -----------------------------------------------------------------------------------------------------------


def story(directory: Path) -> Compared:
    """One key for each change, and one that is the same in two places."""
    before, after = two(directory)
    before.key(1, REFUSED)
    after.key(1, CHANGED)  # fixed
    before.key(2, **ON)
    after.key(2, UNSEEN)  # regressed
    before.key(3, WAITING)
    after.key(3, key_spec="RSA_2048")  # changed
    before.key(4, CHANGED)
    after.key(4, **ON)  # unchanged: good both times
    before.key(5, **ON)  # gone
    after.key(5, place=AWAY, **ON)  # new: another place
    before.end(Outcome.REJECTED, "why", key_id(4))
    after.end(Outcome.REJECTED, "why", key_id(1))
    after.end(Outcome.REJECTED, "why", "x")
    return compared(directory, before, after)


def test_every_key_of_both_is_counted_once(tmp_path: Path) -> None:
    """The six changes add up to the union; a key in another place is another key; rejected records are numbered."""
    found = story(tmp_path)
    assert found.found.counts == dict.fromkeys(CHANGES, 1)
    assert list(found.found.counts) == list(CHANGES)
    assert found.found.baseline == "20261101T000000Z-00000a"
    assert "2 here, 1 there" in found.found.words
    assert "1 key is new, 1 is gone, 1 was fixed, 1 regressed, 1 changed otherwise, 1 is as before" in found.found.words


def test_the_table_has_all_but_the_unchanged(tmp_path: Path) -> None:
    """comparison.csv has its columns, a row for each key that differs, with both outcomes and both reasons."""
    found = story(tmp_path)
    assert found.text("comparison.csv").startswith("\ufeff" + ",".join(COLUMNS) + "\r\n")
    rows = {row["change"]: row for row in found.csv("comparison.csv")}
    assert set(rows) == {"fixed", "regressed", "changed", "new", "gone"}
    assert {row["what"] for row in rows.values()} == {"key"}
    one = rows["fixed"]
    assert (one["outcome_before"], one["outcome_after"], one["key_id"]) == ("refused", "remediated", key_id(1))
    assert one["reason_before"].startswith("KMS refused")
    assert one["reason_after"] == "confirmed by read-back"
    assert (rows["new"]["region"], rows["gone"]["region"]) == (AWAY.region, HOME.region)
    assert (rows["new"]["outcome_before"], rows["gone"]["outcome_after"]) == ("", "")
    assert rows["gone"]["key_alias"] == "app/005"


def test_the_data_tells_the_same(tmp_path: Path) -> None:
    """run_results.json has counts, sentence and every change; without a comparison the field is null."""
    found = story(tmp_path)
    told = found.json["comparison"]
    assert told["counts"] == found.found.counts
    assert [one["key_id"] for one in told["changes"]] == [row["key_id"] for row in found.csv("comparison.csv")]
    assert Rendered(tmp_path / "alone", planned(tmp_path)).json["comparison"] is None
    assert not (tmp_path / "alone" / "comparison.csv").exists()


@settings(max_examples=20)  # two ledgers on disk for each
@given(st.data())
def test_the_counts_are_those_of_a_plain_reckoning(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """For any two inventories with any outcomes the counts are what two dictionaries say, and add up to their union."""
    ends = st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.REJECTED])
    pairs = st.dictionaries(st.integers(0, 12), ends, max_size=9)
    old, new = data.draw(pairs), data.draw(pairs)
    home = tmp_path_factory.mktemp("two")
    before, after = two(home)
    for made, ended in ((before, old), (after, new)):
        for number, outcome in ended.items():
            made.end(outcome, f"because {outcome}", key_id(number))
    found = compared(home, before, after)
    wanted = Counter(change(old.get(n, ""), new.get(n, "")) for n in old.keys() | new.keys())
    assert found.found.counts == {name: wanted[name] for name in CHANGES}
    assert len(found.csv("comparison.csv")) == len(old.keys() | new.keys()) - wanted["unchanged"]


def test_several_runs_are_compared_as_they_are_merged(tmp_path: Path) -> None:
    """Each key by its newest run; a key that only an older one of them names is not gone."""
    before, after = two(tmp_path)
    middle = Story(tmp_path, "20261101T120000Z-00000c")
    for number in (1, 2, 3):
        before.key(number, WAITING)
    middle.key(1, REFUSED)
    middle.key(2, CHANGED)
    after.key(1, CHANGED)
    runs = [after.write(clock=LATER), middle.write(clock="2026-11-01T12:00:00Z")]
    found = Compared(tmp_path / "out", before.write(clock=EARLIER), *runs)
    assert {name: n for name, n in found.found.counts.items() if n} == {"fixed": 2, "gone": 1}


def test_a_long_list_is_shortened_and_the_file_is_whole(tmp_path: Path) -> None:
    """The page gets the first rows and a sentence; comparison.csv and the data get all."""
    before, after = two(tmp_path)
    for number in range(WHOLE + 2):
        after.end(Outcome.COMPLIANT, "", key_id(number))
    found = compared(tmp_path, before, after)
    assert (len(found.found.changes.rows), found.found.changes.total) == (SHOWN, WHOLE + 2)
    assert found.found.changes.more == f"{WHOLE + 2 - SHOWN} more of {WHOLE + 2:,} stand in comparison.csv."
    assert len(found.csv("comparison.csv")) == len(found.json["comparison"]["changes"]) == WHOLE + 2


def test_what_makes_a_comparison_doubtful_is_said(tmp_path: Path) -> None:
    """A newer baseline, one that did not ask KMS, and one whose ledger was changed."""
    before, after = two(tmp_path)
    before.about["live"] = False
    old, new = before.write(clock=LATER), after.write(clock=EARLIER)
    words = Compared(tmp_path / "out", old, new).found.words
    assert "The run compared with is the newer one." in words
    assert "Not all of these runs asked KMS" in words
    assert "do not rely" not in words
    ledger = old / "ledger.sqlite3"
    ledger.write_bytes(ledger.read_bytes().replace(b"ops@bastion", b"ops@another"))
    assert "do not rely on this" in Compared(tmp_path / "out", old, new).found.words


def test_what_cannot_be_compared_is_a_usage_fault(tmp_path: Path) -> None:
    """A rehearsal says nothing about the cloud, and a run has not changed against itself."""
    real, rehearsal = full(tmp_path).write(), planned(tmp_path, simulated=True)
    with pytest.raises(UsageFault, match="never compared"):
        Compared(tmp_path / "out", rehearsal, real)
    with pytest.raises(UsageFault, match="never compared"):
        Compared(tmp_path / "out", real, rehearsal)
    with pytest.raises(UsageFault, match="itself"):
        Compared(tmp_path / "out", real, real)


# Waivers ------------------------------------------------------------------------------------------------------------

KEY = f"key {key_id(1)}"
WAIVER_FILE = {"name": "waivers.csv", "sha256": "0" * 64, "day": "2026-11-01"}
WAIVER = {"key_id": key_id(1), "account": "", "region": "", "key_alias": "", "rule": "C01", "reason": "legacy",
          "approver": "Ada", "ticket": "T-1", "expires": "2026-12-31", "line": 4}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([], [{}], [("new", KEY, "rule C01; reason legacy; approver Ada; ticket T-1; expires 2026-12-31")]),
        ([{}], [], [("gone", KEY, "rule C01; reason legacy; approver Ada; ticket T-1; expires 2026-12-31")]),
        ([{}], [{"line": 9}], []),
        ([{}], [{"expires": "2027-06-30", "approver": "Bob"}], [
            ("changed", KEY, "approver was “Ada”, is “Bob”; expires was “2026-12-31”, is “2027-06-30”"),
        ]),
        ([{}], [{"rule": "C02"}], [("gone", KEY, None), ("new", KEY, None)]),
        ([{}, {}], [{}], [("gone", KEY, None)]),
        ([{}, {"reason": "other"}], [{"reason": "other"}, {"reason": "third"}], [("changed", KEY, None)]),
        ([], [{"key_id": "", "key_alias": "app/*", "region": "eu-de", "account": "acme", "ticket": ""}], [
            ("new", "alias app/*, region eu-de, account acme",
             "rule C01; reason legacy; approver Ada; expires 2026-12-31"),
        ]),
    ],
)  # fmt: skip
def test_a_waiver_is_known_by_what_it_names(
    tmp_path: Path, before: list[dict[str, Any]], after: list[dict[str, Any]], told: list[tuple[str, str, str | None]]
) -> None:
    """Same keys and rule: one waiver, whose terms may have changed; the line in the file says nothing."""
    stories = two(tmp_path)
    for made, changes in zip(stories, (before, after), strict=True):
        made.about["waivers"] = {**WAIVER_FILE, "entries": [WAIVER | change_ for change_ in changes]}
    found = compared(tmp_path, *stories)
    assert [(one.change, one.keys) for one in found.found.waivers] == [one[:2] for one in told]
    for one, (_, _, what) in zip(found.found.waivers, told, strict=True):
        assert what in {None, one.what}
    rows = found.csv("comparison.csv")
    assert [(row["what"], row["change"]) for row in rows] == [("waiver", one[0]) for one in told]
    assert len(found.json["comparison"]["waivers"]) == len(told)
    for row in rows:
        assert (bool(row["reason_before"]), bool(row["reason_after"])) == (
            row["change"] != "new",
            row["change"] != "gone",
        )


def test_a_run_without_waivers_is_one_with_none(tmp_path: Path) -> None:
    """A ledger that knows no waivers compares like an empty file."""
    before, after = two(tmp_path)
    after.about["waivers"] = {**WAIVER_FILE, "entries": [WAIVER]}
    (one,) = compared(tmp_path, before, after).found.waivers
    assert (one.change, one.rule) == ("new", "C01")


# The command --------------------------------------------------------------------------------------------------------


@waiting
def test_a_report_compares_with_an_earlier_run(operator: Operator) -> None:
    """--compare, or its variable, tells what was fixed; the earlier run stays as it is."""
    inventory = operator.inventory([key(n) for n in range(4)])
    old = operator.run("plan", inventory, "--simulate", *FAST)
    new = operator.run("remediate", inventory, "--simulate", "--yes", *FAST)
    before = snapshot(old.directory)
    ended = operator.run("report", new.directory, "--compare", old.directory)
    assert (ended.exit_code, snapshot(old.directory)) == (0, before)
    assert results(ended.directory)["comparison"]["counts"]["fixed"] == 4
    assert (ended.directory / "comparison.csv").read_text(encoding="utf-8-sig").count("fixed") == 4
    again = operator.run("report", new.directory, "--format", "json", KMS_ROTATION_COMPARE=str(old.directory))
    assert results(again.directory)["comparison"]["baseline"] == old.directory.name
    assert not (again.directory / "comparison.csv").exists()


@waiting
def test_what_cannot_be_compared_leaves_nothing(operator: Operator) -> None:
    """A run with itself, a directory that is no run, and a report inside the baseline: 2, and no directory more."""
    inventory = operator.inventory([key(1)])
    old, new = (operator.run("plan", inventory, "--simulate", *FAST).directory for _ in range(2))
    there = left_behind(operator.home)
    for arguments in (
        (new, "--compare", new),
        (new, "--compare", "nowhere"),
        (new, "--compare", old, "--output-dir", old / "reports"),
    ):
        ended = operator.run("report", *arguments)
        assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", there)
        assert one_message(ended.stderr)
