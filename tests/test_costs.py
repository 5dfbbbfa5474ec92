"""The cost in plan, report and guard: what was taken, what may have been, and what is planned, each once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.model import Policy
from audit.simulator import parse_faults
from tests.command import FAST, Operator, begin, events, left_behind, one_message, outcomes, results, waiting
from tests.simulated import core, key, running
from tests.test_report import (
    ALREADY_ON,
    CHANGED,
    DONE,
    GOOD,
    LOST,
    OURS,
    REFUSED,
    UNSEEN,
    VANISHED,
    WAITING,
    WORN,
    Fate,
    Rendered,
    Story,
)

OTHER_STEP: Fate = ([DONE], DONE, {"at": "2026-11-24T03:40:02Z", "fault": "", "gone": False, "facts": {
    **GOOD, "key_rotation_enabled": "true", "rotation_interval": "90"}})  # fmt: skip
begun = begin()


class Fast(Story):
    """A run that sets 90 days: switching on takes two steps, each with a sequence and a fate of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, policy={"max_interval": 90, "interval": 90, "own_domain": OURS})
        self.policy = Policy(90, 90, OURS)

    def write(self, **how: Any) -> Path:
        self.steps = [replace(step, sequence=f"sequence-{step.number}") for step in self.steps]
        return super().write(**how)


@pytest.mark.parametrize(
    ("fates", "words", "versions", "planned"),
    [
        ([CHANGED, CHANGED], ["New key versions a year by steps that were taken: 2."], 2, 0),
        ([UNSEEN, LOST], [
            "New key versions a year by requests that may have been applied, though no read-back shows it: 2.",
        ], 2, 0),
        ([WAITING], ["New key versions a year by planned steps: 1."], 1, 1),
        ([CHANGED, WAITING, LOST], [
            "New key versions a year by steps that were taken: 1.",
            "New key versions a year by requests that may have been applied, though no read-back shows it: 1.",
            "New key versions a year by planned steps: 1.",
        ], 3, 1),
        ([REFUSED, WORN, VANISHED, ALREADY_ON], ["No step adds key versions."], 0, 0),
    ],
)  # fmt: skip
def test_steps_count_by_what_became_of_them(
    tmp_path: Path, fates: list[Fate], words: list[str], versions: int, planned: int
) -> None:
    """Taken, perhaps taken and planned are told apart; what KMS refused or had done before costs nothing."""
    story = Story(tmp_path)
    for number, fate in enumerate(fates):
        story.key(number, fate)
    cost = Rendered(tmp_path / "out", story.write()).view.cost
    assert list(cost.words[: len(words)]) == words
    assert (cost.versions, cost.planned, cost.price, cost.money) == (versions, planned, "", "")
    assert (len(cost.words) > len(words)) == bool(versions)


def test_two_steps_of_a_key_count_one_after_the_other(tmp_path: Path) -> None:
    """Enabling adds one version a year, 90 days make it four: the second step adds what the first did not."""
    story = Fast(tmp_path)
    story.key(1, CHANGED)
    story.fates.append(OTHER_STEP)
    story.key(2, CHANGED)
    story.fates.append(WAITING)
    story.key(3, OTHER_STEP, key_rotation_enabled="true", rotation_interval="180")
    cost = Rendered(tmp_path / "out", story.write()).view.cost
    assert cost.words[0] == "New key versions a year by steps that were taken: 7.08."  # 365/90, 1, and 365/90 - 365/180
    assert cost.words[1] == "New key versions a year by planned steps: 3.06."
    assert (round(cost.versions, 2), round(cost.planned, 2)) == (10.14, 3.06)


def test_a_step_that_needs_another_first_is_not_planned(tmp_path: Path) -> None:
    """Where switching on was refused, its interval is nothing that could still be set."""
    story = Fast(tmp_path)
    story.key(1, REFUSED)
    story.fates.append(WAITING)
    assert Rendered(tmp_path / "out", story.write()).view.cost.versions == 0


def test_a_check_says_what_switching_on_would_add(tmp_path: Path) -> None:
    """Keys that could rotate and do not: their versions are told, and no step is made of them."""
    story = Story(tmp_path, command="check")
    for number in range(4):
        story.key(number)
    story.key(5, key_spec="RSA_2048")
    story.key(6, key_rotation_enabled="true", rotation_interval="400")
    cost = Rendered(tmp_path / "out", story.write(approved=False)).view.cost
    assert cost.words[:2] == (
        "No step adds key versions.",
        "New key versions a year if the keys were switched on that could rotate and have no step: 4.",
    )
    assert cost.versions == 0


def test_of_several_runs_each_key_costs_once(tmp_path: Path) -> None:
    """What an older run planned and a newer one did is counted where it was done."""
    older, newer = Story(tmp_path, "20261101T000000Z-00000a"), Story(tmp_path, "20261102T000000Z-00000b")
    for number in range(3):
        older.key(number, WAITING)
    newer.key(0, CHANGED)
    runs = [newer.write(clock="2026-11-02T00:00:00Z"), older.write(approved=False, clock="2026-11-01T00:00:00Z")]
    cost = Rendered(tmp_path / "out", *runs).view.cost
    assert (cost.versions, cost.planned) == (3, 2)


# The command --------------------------------------------------------------------------------------------------------


def plan(operator: Operator, *arguments: object, keys: int = 6, **environ: str) -> tuple[int, str, Path]:
    """A simulated plan: exit code, standard error, directory."""
    inventory = operator.inventory([key(n) for n in range(keys)])
    ended = operator.run("plan", inventory, "--simulate", *FAST, *arguments, **environ)
    return ended.exit_code, ended.stderr, ended.directory


@waiting
def test_the_plan_states_what_it_costs(operator: Operator) -> None:
    """Versions a year on the terminal and in the data; with a price the money of the first year and of later ones."""
    _, told, directory = plan(operator)
    assert "New key versions: 6 a year; each stays billed like another key.\n" in told
    assert results(directory)["cost"]["versions"] == results(directory)["cost"]["planned"] == 6
    _, told, directory = plan(operator, "--interval", "73", "--version-price", "0.72 USD")
    money = "129.60 USD in the first year, if they come evenly, and 259.20 USD more in each later year"
    assert (
        f"New key versions: 30 a year; each stays billed like another key. At 0.72 USD for a version and month: {money}"
        in told
    )
    cost = results(directory)["cost"]
    assert (cost["versions"], cost["price"]) == (30, "0.72 USD")
    assert cost["money"].startswith("129.60 USD in the first year")


@waiting
def test_a_price_given_later_is_the_one_that_counts(operator: Operator) -> None:
    """Apply keeps the plan's price unless it is given another; report takes its own, and writes it nowhere."""
    _, _, directory = plan(operator, KMS_ROTATION_VERSION_PRICE="5 CNY")
    assert "At 5 CNY for a version and month: 180.00 CNY" in operator.run("apply", directory, "--yes", *FAST).stderr
    cost = results(directory)["cost"]
    assert (cost["versions"], cost["planned"], cost["price"]) == (6, 0, "5 CNY")
    assert "180.00 CNY in the first year" in cost["money"]
    again = operator.run("report", directory, "--version-price", "7")
    assert results(again.directory)["cost"]["price"] == "7"
    assert results(operator.run("report", directory).directory)["cost"]["price"] == "5 CNY"
    _, _, other = plan(operator, "--version-price", "5 CNY")
    operator.run("apply", other, "--yes", "--version-price", "6 CNY", *FAST)
    assert results(other)["cost"]["price"] == "6 CNY"


@pytest.mark.parametrize("command", ["check", "plan", "remediate --yes", "report", "apply --yes"])
@waiting
def test_a_price_that_is_none_is_a_usage_error(operator: Operator, command: str) -> None:
    """Before anything is read or written."""
    ended = operator.run(*command.split(), "nowhere", "--version-price", "-5")
    assert (ended.exit_code, left_behind(operator.home)) == (2, [])
    assert one_message(ended.stderr)


@waiting
def test_a_plan_that_adds_too_many_versions_is_refused(operator: Operator) -> None:
    """--max-new-versions counts versions, not keys: 5, no request, and the report says what the plan would add."""
    code, told, directory = plan(operator, "--interval", "73", "--max-new-versions", "29")
    assert code == 5
    assert "the plan adds 30 key versions a year, --max-new-versions allows 29" in told
    assert outcomes(directory) == {"not_attempted": 6}
    assert results(directory)["cost"]["planned"] == 30
    assert plan(operator, "--interval", "73", "--max-new-versions", "30")[0] == 3
    assert plan(operator, KMS_ROTATION_MAX_NEW_VERSIONS="5")[0] == 5


@waiting
def test_apply_keeps_the_bound_of_its_plan(operator: Operator) -> None:
    """The run's own bound holds unless another is given; steps that are done do not count against it again."""
    _, _, directory = plan(operator, "--max-new-versions", "5")
    assert operator.run("apply", directory, "--yes", *FAST).exit_code == 5
    assert not events(directory, "sent")
    assert operator.run("apply", directory, "--yes", "--max-new-versions", "6", *FAST).exit_code == 0
    keys = [key(n) for n in range(6)]
    with running(core(keys, faults=parse_faults("refuse/writes=KMS.0306@4+"))) as url:
        there = ("--endpoint", url, *FAST, "--concurrency", "1")
        ended = operator.run("plan", operator.inventory(keys), "--max-new-versions", "6", *there)
        operator.run("apply", ended.directory, "--yes", *there)
        cost = results(ended.directory)["cost"]
        assert (cost["versions"], cost["planned"]) == (3, 0)
