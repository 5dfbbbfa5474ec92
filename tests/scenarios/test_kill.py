"""A process that is killed at any moment loses nothing that was answered, and apply finishes the rest."""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit.model import Key
from audit.simulator import Core, parse_faults
from tests.command import (
    ENABLE,
    FAST,
    INTERVAL,
    Operator,
    begin,
    events,
    fault,
    left_behind,
    one_sequence_per_request,
    outcomes,
    rows,
    truthful,
    until,
    waiting,
    writes,
)
from tests.simulated import core, key, running

ON = {"key_rotation_enabled": "true"}
begun = begin()


def killed_again_and_again(
    operator: Operator, simulated: Core, keys: list[Key], kills: int, seed: int, *options: str
) -> Path:
    """Plan, then apply until it ends by itself; ``kills`` times it does not. Returns the run directory.

    Each time it is killed some while after its first request, before it can have come to its end; what is on disk then
    is compared with what came before.
    """
    moments = random.Random(seed)  # noqa: S311  # repeatable on purpose
    share = len(keys) // (kills + 2)
    pressure = ("--rate", "200", "--concurrency", "8", "--max-attempts", "12")  # chance alone uses none up
    with running(simulated) as url:
        plan = operator.run("plan", operator.inventory(keys), "--endpoint", url, *FAST, *options)
        apply = ("apply", plan.directory, "--yes", "--endpoint", url, *pressure)
        answered: dict[str, int] = {}  # sequence -> how many requests there were when its answer was on disk
        for _ in range(kills):
            before, applied = len(simulated.log), changed(simulated)
            with operator.start(*apply) as started:
                until(lambda before=before: len(simulated.log) > before)
                end = time.monotonic() + moments.uniform(0.0, 0.4)
                while time.monotonic() < end and changed(simulated) - applied < share:
                    time.sleep(0.002)
                assert started.process.poll() is None, started.wait()
                started.signal(signal.SIGKILL).wait()
            settle(simulated)
            assert not fault(plan.directory)
            steps = {step: body["sequence"] for _, _, step, body in events(plan.directory, "intended")}
            for _, _, step, _ in events(plan.directory, "answered"):
                answered.setdefault(steps[step], len(simulated.log))
        ended = operator.run(*apply)
    assert ended.exit_code == 0, ended.stderr
    assert len(answered) < len(steps_of(keys, options)), "the kills came too late to prove anything"
    again = [served for n, served in enumerate(simulated.log) if answered.get(served.sequence, n) < n]
    assert not again, "a request was sent again after its answer was on disk"
    return plan.directory


def changed(simulated: Core) -> int:
    """How many writes have changed a key."""
    return sum(served.applied for served in list(simulated.log))


def settle(simulated: Core) -> None:
    """Wait until the simulated KMS has seen all that the killed process sent."""
    seen = -1
    while seen != len(simulated.log):
        seen = len(simulated.log)
        time.sleep(0.05)


def steps_of(keys: list[Key], options: tuple[str, ...]) -> list[Key]:
    """The keys, once for each step that a plan has for them."""
    return keys * (2 if "--interval" in options else 1)


def right(simulated: Core, directory: Path, keys: list[Key]) -> bool:
    """Whether every row is there, true, and came about by one sequence for each request."""
    told = rows(directory)
    sequences = Counter(sequence for row in told for sequence in row["sequence"].split(";"))
    return (
        [row["key_id"] for row in told] == [one.key_id for one in keys]
        and not truthful(simulated, told)
        and outcomes(directory) == {"remediated": len(keys)}
        and set(sequences.values()) == {1}
        and one_sequence_per_request(simulated)
        and not fault(directory)
        and not (directory / "ledger.sqlite3-wal").exists()
    )


@dataclass(frozen=True)
class Scene:
    """A run of so many keys, killed so many times. ``interval``: whether keys have a second step."""

    seed: int
    size: int
    kills: int
    latency: float = 0.02
    lag: float = 0.0
    faults: str = ""
    interval: bool = False


def play(operator: Operator, scene: Scene) -> tuple[Core, Path, list[Key]]:
    """Plan, kill and finish; what the simulated KMS saw, and where the run is."""
    keys = [key(n) for n in range(scene.size)]
    simulated = core(keys, latency=scene.latency, lag=scene.lag, faults=parse_faults(scene.faults))
    options = ("--interval", "90") if scene.interval else ()
    return simulated, killed_again_and_again(operator, simulated, keys, scene.kills, scene.seed, *options), keys


@waiting
def test_a_run_survives_being_killed(operator: Operator) -> None:
    """Killed ten times at random moments, a run of 400 keys ends right: no answered request was sent again."""
    simulated, directory, keys = play(operator, Scene(1, 400, 10, lag=0.1))
    assert right(simulated, directory, keys)
    assert {served.operation for served in writes(simulated)} == {ENABLE}


@waiting
def test_two_steps_survive_being_killed(operator: Operator) -> None:
    """The same with an interval to set: every key ends with both steps, each by one sequence."""
    simulated, directory, keys = play(operator, Scene(3, 120, 6, interval=True))
    assert right(simulated, directory, keys)
    assert all(simulated.state(one.place.region, one.place.project_id, one.key_id) == (True, 90) for one in keys)
    assert set(Counter(served.operation for served in writes(simulated) if served.applied)) == {ENABLE, INTERVAL}


@waiting
def test_a_storm_and_kills_together(operator: Operator) -> None:
    """Killed in a storm of lost answers, a run still ends right."""
    assert right(*play(operator, Scene(4, 120, 6, 0.01, 0.2, "drop-after/writes:.2,drop-before:.1,500:.1")))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100, 110))
def test_a_run_survives_a_hundred_kills(operator: Operator, seed: int) -> None:
    """A hundred kills, ten times over."""
    assert right(*play(operator, Scene(seed, 3000, 100, 0.01, 0.1)))


def planning_killed(operator: Operator, times: int, seed: int) -> None:
    """Kill ``times`` plannings at random moments; what each leaves behind is nobody's, or a run that can be applied."""
    moments = random.Random(seed)  # noqa: S311  # repeatable on purpose
    keys = [key(n) for n in range(300)]
    inventory = operator.inventory(keys)
    seen: set[str] = set()
    started_at = time.monotonic()
    simulated = core(keys)
    with running(simulated) as url:
        whole = operator.run("plan", inventory, "--endpoint", url, *FAST)
        lasts = time.monotonic() - started_at
        seen = {whole.directory.name}
        for _ in range(times):
            with operator.start("plan", inventory, "--endpoint", url, *FAST) as started:
                time.sleep(moments.uniform(0.4 * lasts, 1.1 * lasts))
                started.signal(signal.SIGKILL).wait()
            for name in set(left_behind(operator.home)) - seen:
                if name.startswith("."):
                    for command in (("apply", "--yes", "--endpoint", url), ("report",)):
                        ended = operator.run(*command, f"runs/{name}")
                        assert ended.exit_code == 2, ended.stderr
                    assert not writes(simulated)
                else:
                    ended = operator.run(
                        "apply", f"runs/{name}", "--yes", "--endpoint", url, "--max-changes", "0", *FAST
                    )
                    assert (ended.exit_code, outcomes(ended.directory)) == (5, {"not_attempted": 300})
                    assert not fault(ended.directory)
            seen |= set(left_behind(operator.home))
        last = operator.run("remediate", inventory, "--yes", "--endpoint", url, *FAST)
    assert (last.exit_code, outcomes(last.directory)) == (0, {"remediated": 300})


@waiting
def test_a_killed_planning_leaves_no_half_of_a_run(operator: Operator) -> None:
    """Killed before its plan is complete a run is a dot-directory and cannot be applied; after that it can."""
    planning_killed(operator, 6, 1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_killed_plannings_leave_no_half_of_a_run(operator: Operator) -> None:
    """The same, three hundred times."""
    planning_killed(operator, 300, 2)


def test_only_what_was_left_long_ago_is_cleared(operator: Operator) -> None:
    """A dot-directory of a run, older than an hour and held by nobody, is cleared by the next run; nothing else is."""
    runs = operator.home / "runs"
    old, young, other = (runs / name for name in (".20261124T033400Z-aaaaaa", ".20261124T033400Z-bbbbbb", ".mine"))
    for path in (old, young, other):
        path.mkdir(parents=True)
        (path / "ledger.sqlite3").write_bytes(b"")
    for path in (old, other):
        os.utime(path, (time.time() - 3700,) * 2)
    ended = operator.run("check", operator.inventory([key(1, **ON)]))
    assert left_behind(operator.home) == sorted([young.name, other.name, ended.directory.name])
