"""A signal ends a run in good order; a second one ends it at once; neither loses anything."""

import random
import signal
import time
from pathlib import Path

import pytest

from audit.simulator import parse_faults
from tests.command import (
    FAST,
    LIST,
    Operator,
    begin,
    calls,
    events,
    fault,
    left_behind,
    one_sequence_per_request,
    outcomes,
    results,
    rows,
    truthful,
    until,
    waiting,
    writes,
)
from tests.simulated import core, key, running

KEYS = [key(n) for n in range(60)]
begun = begin(3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@waiting
def test_a_signal_ends_a_run_in_good_order(operator: Operator, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: 130, no new step, every report, apply by name; and apply finishes, each request sent once."""
    simulated = core(KEYS, latency=0.05)
    with running(simulated) as url:
        inventory = operator.inventory(KEYS)
        with operator.start("remediate", inventory, "--yes", "--endpoint", url, "--rate", "60") as started:
            until(lambda: len(writes(simulated)) >= 15)
            ended = started.signal(number).wait()
        asked = len(writes(simulated))
        told = outcomes(ended.directory)
        assert ended.exit_code == 130
        assert asked < 30
        assert (told["unverified"], told["not_attempted"]) == (asked, 60 - asked)
        assert f"interrupted by {number.name}" in ended.stderr
        assert f"kms-rotation apply {ended.stdout.strip()}" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert {"report.csv", "report.html", "run_results.json", "failed.csv"} <= _names(ended.directory)
        assert results(ended.directory)["run"]["exit_code"] == 130
        assert not truthful(simulated, rows(ended.directory))
        again = operator.run("apply", ended.directory, "--yes", "--endpoint", url, *FAST)
    assert (again.exit_code, outcomes(ended.directory)) == (0, {"remediated": 60})
    assert len(writes(simulated)) == 60
    assert one_sequence_per_request(simulated)
    assert not fault(ended.directory)


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@waiting
def test_after_a_signal_nothing_more_is_sent(operator: Operator) -> None:
    """No new step, no retry, no poll, no closing walk: what is in flight is the last that KMS sees."""
    simulated = core(KEYS, latency=0.3, lag=30, faults=parse_faults("500/writes:.5"))
    with running(simulated) as url:
        inventory = operator.inventory(KEYS)
        arguments = ("--yes", "--endpoint", url, "--rate", "100", "--concurrency", "4")
        with operator.start("remediate", inventory, *arguments) as started:
            until(lambda: len(writes(simulated)) >= 12)
            asked = len(simulated.log)
            ended = started.signal(signal.SIGINT).wait()
    assert ended.exit_code == 130
    assert len(simulated.log) - asked <= 4
    assert calls(simulated)[LIST] == 1
    assert not truthful(simulated, [row for row in rows(ended.directory) if row["outcome"] != "unknown"])


@waiting
def test_answers_in_flight_are_awaited_for_one_time_out(operator: Operator) -> None:
    """An answer that arrives within the time-out is on record; of one that does not, the key is unknown."""
    simulated = core(KEYS, faults=parse_faults("slow/writes=30@10-11,slow/writes=0.8@12-13"))
    with running(simulated) as url:
        inventory = operator.inventory(KEYS)
        arguments = ("--yes", "--endpoint", url, "--rate", "100", "--concurrency", "4", "--timeout", "2")
        with operator.start("remediate", inventory, *arguments) as started:
            until(lambda: len(writes(simulated)) >= 13)
            since = time.monotonic()
            ended = started.signal(signal.SIGTERM).wait()
    assert ended.exit_code == 130
    assert time.monotonic() - since < 6
    told = outcomes(ended.directory)
    assert (told["unverified"], told["unknown"]) == (11, 2)
    assert len(events(ended.directory, "answered")) == 11


@waiting
def test_a_second_signal_ends_at_once(operator: Operator) -> None:
    """A second signal does not wait for answers; the ledger is whole, and apply goes on from there."""
    simulated = core(KEYS, faults=parse_faults("slow/writes=20@10-13"))
    with running(simulated) as url:
        plan = operator.run("plan", operator.inventory(KEYS), "--endpoint", url, *FAST)
        arguments = ("apply", plan.directory, "--yes", "--endpoint", url)
        with operator.start(*arguments, "--rate", "100", "--concurrency", "4", "--timeout", "30") as started:
            until(lambda: len(writes(simulated)) >= 13)
            started.signal(signal.SIGINT)
            time.sleep(0.5)
            assert started.process.poll() is None
            since = time.monotonic()
            ended = started.signal(signal.SIGTERM).wait()
        assert (ended.exit_code, ended.directory) == (130, plan.directory)
        assert time.monotonic() - since < 2
        assert not fault(plan.directory)
        assert len(events(plan.directory, "answered")) == 9
        again = operator.run(*arguments, *FAST)
    assert (again.exit_code, outcomes(plan.directory)) == (0, {"remediated": 60})
    assert len(writes(simulated)) == 60
    assert not truthful(simulated, rows(plan.directory))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["check --live", "plan", "remediate --yes"])
@waiting
def test_a_signal_before_the_plan_leaves_nothing(operator: Operator, command: str, number: signal.Signals) -> None:
    """Interrupted while the places are read: 130, nothing on standard output, no directory, and how to go on."""
    simulated = core([key(n) for n in range(3000)], latency=0.7)
    with running(simulated) as url:
        inventory = operator.inventory(KEYS)
        with operator.start(*command.split(), inventory, "--endpoint", url) as started:
            until(lambda: len(simulated.log) >= 1)
            ended = started.signal(number).wait()
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (130, "", [])
    assert f"interrupted by {number.name}" in ended.stderr
    assert "same command again" in ended.stderr
    assert len(simulated.log) == 1


@waiting
def test_a_signal_while_the_inventory_is_read(operator: Operator) -> None:
    """Interrupted while a large inventory is read: 130, and nothing is left behind."""
    inventory = operator.inventory(key(n) for n in range(150_000))
    with operator.start("check", inventory) as started:
        until(lambda: any(name.startswith(".") for name in left_behind(operator.home)))
        time.sleep(0.3)
        ended = started.signal(signal.SIGTERM).wait()
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (130, "", [])


@waiting
def test_an_interrupt_outweighs_every_other_ending(operator: Operator) -> None:
    """130 comes before 1 and 4: whoever stopped the run learns that, whatever its records say."""
    simulated = core(KEYS, faults=parse_faults("refuse/writes=KMS.0204@1-5,slow/writes=2@6+"))
    with running(simulated) as url:
        inventory = operator.inventory(KEYS, extra="bad,,,,,,,,,,,,,\n")
        arguments = ("--yes", "--endpoint", url, "--rate", "100", "--concurrency", "1", "--max-failures", "5")
        with operator.start("remediate", inventory, *arguments, "--timeout", "10") as started:
            until(lambda: len(writes(simulated)) >= 6)
            ended = started.signal(signal.SIGINT).wait()
    assert ended.exit_code == 130
    assert outcomes(ended.directory)["rejected"] == 1
    assert outcomes(ended.directory)["refused"] == 5


@pytest.mark.parametrize("times", [1, 2])
@waiting
def test_ctrl_c_at_the_terminal(operator: Operator, times: int) -> None:
    """Ctrl-C while the live bar moves ends as a signal does, once or twice; the terminal gets its cursor back."""
    simulated = core(KEYS, latency=0.05, faults=parse_faults("slow/writes=3@9-12"))
    with running(simulated) as url:
        inventory = operator.inventory(KEYS)
        with operator.at_terminal("remediate", inventory, "--yes", "--endpoint", url, "--rate", "40") as dialogue:
            dialogue.until("writing")
            until(lambda: len(writes(simulated)) >= 12)
            for _ in range(times):
                dialogue.type("\x03")
                time.sleep(0.3)
            ended = dialogue.wait()
    assert ended.exit_code == 130
    assert ("interrupted by SIGINT" in ended.stderr) == (times == 1)
    assert ended.stderr.rfind("\x1b[?25h") > ended.stderr.rfind("\x1b[?25l")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_signal_at_any_moment(operator: Operator) -> None:
    """Interrupted two hundred times at random moments, a run either leaves nothing or can be applied to its end."""
    moments, keys = random.Random(7), [key(n) for n in range(200)]  # noqa: S311  # repeatable on purpose
    inventory = operator.inventory(keys)
    for n in range(200):
        simulated = core(keys, latency=0.005)
        with running(simulated) as url:
            before = set(left_behind(operator.home))
            with operator.start("remediate", inventory, "--yes", "--endpoint", url, *FAST) as started:
                time.sleep(moments.uniform(0.2, 1.6))
                ended = started.signal((signal.SIGINT, signal.SIGTERM)[n % 2]).wait()
            new = set(left_behind(operator.home)) - before
            assert ended.exit_code in {0, 130, -signal.SIGTERM}, ended
            assert "Traceback" not in ended.stderr
            assert len(new) == len(ended.stdout.splitlines()) <= 1, ended
            for name in new:
                assert sum(outcomes(operator.home / "runs" / name).values()) == 200
                again = operator.run("apply", f"runs/{name}", "--yes", "--endpoint", url, *FAST)
                assert (again.exit_code, outcomes(again.directory)) == (0, {"remediated": 200})
                assert len(writes(simulated)) == 200
                assert not fault(again.directory)
