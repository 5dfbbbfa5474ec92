"""Completeness: whether the records are all keys that there are, and what a run ends with where they are not."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from audit.outcome import Outcome
from audit.report.population import exit_code
from audit.simulator import parse_faults
from audit.tables import UnlistedRow
from tests.command import FAST, Ended, Operator, begin, left_behind, one_message, results, waiting
from tests.simulated import core, key, key_id, running
from tests.test_report import AWAY, HOME, ON, Rendered, Story, planned

ROTATES = {"key_rotation_enabled": "true"}
WHOLE = {"account": "", "readable": True, "counted": True, "why": "", "unlisted": 0, "count_differs": False}
WHOLE |= {"region": HOME.region, "project_id": HOME.project_id, "when": "before", "listed": 1, "total": 1}
THERE = {"region": AWAY.region, "project_id": AWAY.project_id}
begun = begin()


def story(
    directory: Path, *walks: dict[str, Any], name: str = "a-run", unlisted: int = 0, missing: int = 0, **about: object
) -> Story:
    """A run over some keys of one place, walked as given."""
    made = Story(directory, name, **about)
    made.key(1, **ON)
    for number in range(missing):
        made.end(Outcome.MISSING, "KMS does not have this key", f"gone-{number}")
    made.unlisted = [UnlistedRow(*astuple(HOME), f"other-{number}", "") for number in range(unlisted)]
    made.walks = [WHOLE | walk for walk in walks]
    return made


# What is a fault ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("walks", "more", "faults"),
    [
        ([{}], {}, []),
        ([{}, {"when": "after"}, THERE], {}, []),
        ([{"total": None}], {}, []),
        ([{"unlisted": 2}], {"unlisted": 2}, ["no usable record names 2 keys of KMS"]),
        ([{}], {"missing": 1}, ["KMS does not have 1 key of a record"]),
        ([{"count_differs": True}], {}, ["in 1 place the number of keys listed differs from the total that KMS says"]),
        ([{"counted": False}], {}, ["1 place was not counted"]),
        ([{"counted": False, "readable": False}], {}, ["1 place could not be read"]),
        ([{}, {"when": "after", "counted": False}], {}, ["1 place was not counted"]),
        ([{"counted": False}, THERE | {"counted": False}, {}], {}, ["1 place was not counted"]),
        ([{"unlisted": 2}, {"unlisted": 5}], {"unlisted": 2}, [
            "no usable record names 2 keys of KMS", "a reading after the plan counts 3 such keys more",
        ]),
        ([{"unlisted": 2}, {"unlisted": 1}], {"unlisted": 2}, ["no usable record names 2 keys of KMS"]),
        ([], {}, ["no place was read"]),
    ],
)  # fmt: skip
def test_every_gap_is_a_fault_of_its_own(
    tmp_path: Path, walks: list[dict[str, Any]], more: dict[str, Any], faults: list[str]
) -> None:
    """Each kind of gap is told with its number, a mended one is not, and the exit code hangs on being asked."""
    for name, required in (("asked", True), ("free", False)):
        found = Rendered(
            tmp_path / f"of-{name}", story(tmp_path, *walks, **more, name=name, require_complete=required).write()
        )
        told = found.view.completeness
        assert list(told.faults) == faults
        assert told.words.startswith("Not complete: " if faults else "Complete in the ")
        assert exit_code(told) == (4 if faults and required else 0)
        population = found.json["population"]
        assert (population["complete"], population["required"], population["faults"]) == (not faults, required, faults)
        wanted = 4 if exit_code(told) else 3 if "missing" in more else 0
        assert found.json["run"]["exit_code"] == wanted


def test_an_offline_run_knows_nothing_of_it(tmp_path: Path) -> None:
    """Where KMS was not asked, completeness is neither true nor false."""
    found = Rendered(tmp_path / "out", story(tmp_path, live=False).write())
    assert found.view.completeness.words == "Not known: KMS was not asked."
    assert found.json["population"]["complete"] is None
    both = Rendered(tmp_path / "both", tmp_path / "a-run", planned(tmp_path))
    assert both.view.completeness.faults == ()
    assert both.json["population"]["complete"] is None


def test_of_several_runs_the_newest_speaks_for_a_place(tmp_path: Path) -> None:
    """What an older run could not count, a newer one may have; each run's own exit code stays what it was."""
    older = Story(tmp_path, "20261101T000000Z-00000a", require_complete=True)
    older.walks = [WHOLE | {"counted": False}]
    newer = Story(tmp_path, "20261102T000000Z-00000b")
    newer.walks = [WHOLE]
    late = newer.write(clock="2026-11-02T00:00:00Z")
    found = Rendered(tmp_path / "out", late, older.write(clock="2026-11-01T00:00:00Z"))
    assert found.view.completeness.faults == ()
    assert found.view.completeness.required
    assert [run.exit_code for run in found.view.runs] == [0, 4]


# The command --------------------------------------------------------------------------------------------------------


def checked(operator: Operator, *arguments: object, faults: str = "", more: int = 0, **environ: str) -> Ended:
    """A live check of three keys that rotate, with as many more in KMS."""
    keys = [key(n, **ROTATES) for n in range(3)]
    simulated = core([*keys, *(key(50 + n) for n in range(more))], faults=parse_faults(faults))
    with running(simulated) as url:
        inventory = operator.inventory(keys)
        return operator.run("check", inventory, "--live", "--endpoint", url, *FAST, *arguments, **environ)


@waiting
def test_a_complete_inventory_ends_with_zero(operator: Operator) -> None:
    """Where KMS and the inventory name the same keys, the summary says so and the run ends as its keys do."""
    ended = checked(operator, "--require-complete")
    assert ended.exit_code == 0
    assert "Completeness: Complete in the one place that records name" in ended.stderr
    told = results(ended.directory)
    assert (told["population"]["complete"], told["run"]["exit_code"]) == (True, 0)


@waiting
def test_a_key_that_no_record_names_ends_with_four(operator: Operator) -> None:
    """One key more in KMS: 4, the reason in the summary and the data; not asked for, it is said and ends with 0."""
    for arguments, environ, code in (
        (["--require-complete"], {}, 4),
        ([], {"KMS_ROTATION_REQUIRE_COMPLETE": "1"}, 4),
        ([], {}, 0),
    ):
        ended = checked(operator, *arguments, more=1, **environ)
        assert ended.exit_code == code
        assert "Completeness: Not complete: no usable record names 1 key of KMS." in ended.stderr
        told = results(ended.directory)
        assert (told["population"]["complete"], told["run"]["exit_code"]) == (False, code)
        assert "1 key of KMS" in results(operator.run("report", ended.directory).directory)["population"]["faults"][0]


@waiting
def test_a_place_that_may_not_be_listed_is_not_complete(operator: Operator) -> None:
    """Keys can be judged one by one without the permission to list, but nobody knows whether there are others."""
    ended = checked(operator, "--require-complete", faults="permission/reads@1")
    assert ended.exit_code == 4
    assert "1 place was not counted" in ended.stderr


@waiting
def test_apply_requires_what_its_run_required(operator: Operator) -> None:
    """A plan made with --require-complete ends with 4 when it is carried out, and when it is found finished."""
    keys = [key(n) for n in range(3)]
    with running(core([*keys, key(9)])) as url:
        there = ("--endpoint", url, *FAST)
        made = operator.run("plan", operator.inventory(keys), "--require-complete", *there)
        assert made.exit_code == 4
        for _ in range(2):
            assert operator.run("apply", made.directory, "--yes", *there).exit_code == 4
    assert results(made.directory)["counts"]["remediated"] == 3
    assert results(made.directory)["run"]["exit_code"] == 4
    assert [one["key_id"] for one in results(made.directory)["population"]["unlisted"]] == [key_id(9)]


@waiting
def test_offline_nothing_can_be_said(operator: Operator) -> None:
    """Without --live or --simulate the option is a usage error, before the inventory is read."""
    ended = operator.run("check", "nowhere.csv", "--require-complete")
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", [])
    assert one_message(ended.stderr)
    assert "add --live" in ended.stderr
    inventory = operator.inventory([key(1, **ROTATES)])
    assert operator.run("check", inventory, "--require-complete", "--simulate").exit_code == 0
