"""Whatever goes wrong on the way: every key that can be switched on is on in the end, and no outcome is untrue."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest

from audit.model import Key
from audit.simulator import Core, parse_faults
from tests.command import (
    DESCRIBE,
    ENABLE,
    FAST,
    Ended,
    Operator,
    begin,
    events,
    fault,
    one_sequence_per_request,
    outcomes,
    rows,
    truthful,
    waiting,
    writes,
)
from tests.simulated import PROJECT, core, key, key_id, reached, running

KEYS = tuple(key(n) for n in range(70))
OTHER = "b" * 32
TWO_PLACES = (*KEYS[:35], *(key(n, project_id=OTHER) for n in range(35)))
# Enough attempts that chance alone uses none up; what happens then has tests of its own.
PRESSURE = ("--rate", "400", "--concurrency", "32", "--max-attempts", "12", "--timeout", "1")
ONE_BY_ONE = ("--rate", "200", "--concurrency", "1")
NO_PATIENCE = (*FAST, "--max-attempts", "2", "--max-failures", "50")


@dataclass(frozen=True)
class Scene:
    """A whole run against a simulated KMS. ``faults``: what goes wrong. ``lag``, ``rate``, ``latency``: its terms."""

    faults: str = ""
    arguments: Sequence[str] = PRESSURE
    keys: Sequence[Key] = KEYS
    lag: float = 0.0
    rate: float | None = None
    latency: float = 0.0


STORMS = {
    "lost on the way": Scene("drop-before:.25"),
    "lost on the way back": Scene("drop-after:.25"),
    "500": Scene("500:.2"),
    "503": Scene("503:.2"),
    "502": Scene("502:.2"),
    "502, though applied": Scene("502-after:.25"),
    "200, and no JSON": Scene("garbage:.25"),
    "half an answer": Scene("cut:.25"),
    "no HTTP": Scene("noise:.25"),
    "later than the time-out": Scene("slow=3:.1"),
    "try again, says a 400": Scene("refuse/writes=KMS.3202@1-8"),
    "429": Scene("throttle:.1"),
    "all at once": Scene(
        "drop-before:.1,drop-after:.1,500:.05,502-after:.05,garbage:.05,cut:.05,noise:.05,throttle:.05", lag=0.3
    ),
}
SILENCES = {
    "reset after the write": Scene("drop-after/writes:.5"),
    "502 after the write": Scene("502-after/writes:.5"),
    "garbage after the write": Scene("garbage/writes:.5"),
    "no answer in time": Scene("slow/writes=3:.2"),
}
REFUSALS = {
    "nothing but 500": (Scene("500/writes@11+", NO_PATIENCE, KEYS[:16]), 2),
    "nothing but resets": (Scene("drop-before/writes@11+", NO_PATIENCE, KEYS[:16]), 2),
    "nothing but a final no": (Scene("refuse/writes=KMS.0209@11+", NO_PATIENCE, KEYS[:16]), 1),
}
begun = begin(4)


def play(operator: Operator, scene: Scene) -> tuple[Core, Ended]:
    """Remediate through a scene; the simulated KMS that saw it, and how it ended."""
    simulated = core(
        scene.keys, lag=scene.lag, rate=scene.rate, latency=scene.latency, faults=parse_faults(scene.faults)
    )
    with running(simulated) as url:
        inventory = operator.inventory(scene.keys)
        arguments = ("--yes", "--endpoint", url, *scene.arguments)
        return simulated, operator.run("remediate", inventory, *arguments, seconds=500)


def statuses(simulated: Core, status: int) -> list[int]:
    """The places in the log of the requests that were answered so."""
    return [n for n, served in enumerate(simulated.log) if served.status == status]


@pytest.mark.parametrize("name", STORMS)
@waiting
def test_a_storm_passes(operator: Operator, name: str) -> None:
    """Lost requests, lost answers, answers that are none: every key is on, told as remediated, by one sequence each."""
    simulated, ended = play(operator, STORMS[name])
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": len(KEYS)}), ended.stderr
    assert not truthful(simulated, rows(ended.directory))
    assert one_sequence_per_request(simulated)
    assert not fault(ended.directory)
    applied = [served.key_id for served in writes(simulated) if served.applied]
    assert sorted(applied) == [one.key_id for one in KEYS]


@pytest.mark.parametrize("name", SILENCES)
@waiting
def test_after_silence_a_key_is_read_before_it_is_asked_again(operator: Operator, name: str) -> None:
    """A request that was applied and not answered is settled by reading the key: it is not sent twice."""
    simulated, ended = play(operator, SILENCES[name])
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": len(KEYS)})
    assert len(writes(simulated)) == len(KEYS)
    silent = [step for _, _, step, body in events(ended.directory, "sent") if body["meaning"] == "silent"]
    assert len(silent) > 3
    assert sum(served.operation == DESCRIBE for served in simulated.log) >= len(silent)


@waiting
def test_a_request_that_was_lost_is_sent_again_as_it_was(operator: Operator) -> None:
    """A request that did not arrive is sent again with the same sequence, after a look that shows no change."""
    simulated, ended = play(operator, Scene("drop-before/writes:.3", keys=KEYS[:20]))
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 20})
    assert len(writes(simulated)) > 20
    assert one_sequence_per_request(simulated)
    for one in KEYS[:20]:
        asked = [served.operation for served in simulated.log if served.key_id == one.key_id]
        assert (ENABLE, ENABLE) not in set(pairwise(asked))


@waiting
def test_a_slow_truth_is_waited_for(operator: Operator) -> None:
    """Where a read shows a write seconds later a key is read up to five times, a second apart, and not written."""
    simulated, ended = play(operator, Scene(lag=2.5))
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": len(KEYS)})
    assert len(writes(simulated)) == len(KEYS)
    reads = [served for served in simulated.log if served.operation == DESCRIBE]
    assert len(reads) > len(KEYS)
    for one in KEYS:
        times = [served.at for served in reads if served.key_id == one.key_id]
        assert len(times) <= 5
        assert all(later - earlier >= 0.95 for earlier, later in pairwise(times))


@waiting
def test_already_on_after_a_lost_answer_is_remediated(operator: Operator) -> None:
    """Already on, says KMS to the second request of a run whose first was answered to nobody: this run did it."""
    simulated, ended = play(operator, Scene("drop-after/writes:.4", lag=2))
    already = [row for row in rows(ended.directory) if row["error_code"] == "KMS.2901"]
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": len(KEYS)})
    assert already
    assert not truthful(simulated, rows(ended.directory))
    assert one_sequence_per_request(simulated)


@waiting
def test_a_throttled_run_finds_the_pace(operator: Operator) -> None:
    """A server that bears fewer requests than asked for is not run into again and again; a 429 uses up no attempt."""
    keys = [key(n) for n in range(150)]
    simulated, ended = play(operator, Scene(rate=80, arguments=("--rate", "120", "--concurrency", "8"), keys=keys))
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 150})
    assert 0 < len(statuses(simulated, 429)) < 50
    assert {row["attempts"] for row in rows(ended.directory)} == {"1"}


# Not everything passes ----------------------------------------------------------------------------------------------


@waiting
def test_one_forbidden_place_of_two(operator: Operator) -> None:
    """Where neither listing nor reading is allowed keys are unknown, 4; the other place is carried through."""
    simulated, ended = play(operator, Scene(f"forbid={OTHER}", keys=TWO_PLACES))
    assert (ended.exit_code, outcomes(ended.directory)) == (4, {"remediated": 35, "unknown": 35})
    assert {served.project_id for served in writes(simulated)} == {PROJECT}
    assert not truthful(simulated, rows(ended.directory))


@pytest.mark.parametrize("name", REFUSALS)
@waiting
def test_what_never_succeeds_is_refused(operator: Operator, name: str) -> None:
    """A final no, or used up attempts after which the last look shows no change: refused, 3, and truly off."""
    scene, requests = REFUSALS[name]
    simulated, ended = play(operator, scene)
    assert (ended.exit_code, outcomes(ended.directory)) == (3, {"remediated": 10, "refused": 6})
    assert not truthful(simulated, rows(ended.directory))
    assert max(sum(served.key_id == one.key_id for served in writes(simulated)) for one in KEYS) == requests


@waiting
def test_a_retry_among_the_few_is_made_twice_at_most(operator: Operator) -> None:
    """Of the codes that say: try again, with status 400, no more than two more attempts are made of one request."""
    simulated, ended = play(operator, Scene("refuse/writes=KMS.3202", keys=KEYS[:3]))
    assert (ended.exit_code, outcomes(ended.directory)) == (3, {"refused": 3})
    assert len(writes(simulated)) == 9


@waiting
def test_a_place_that_is_lost_in_the_middle(operator: Operator) -> None:
    """A place that turns us away while it is written to is given up, 4: nothing more goes there, the rest goes on."""
    simulated, ended = play(operator, Scene("refuse/writes=APIGW.0310@20", ONE_BY_ONE, TWO_PLACES))
    (lost,) = [served for served in simulated.log if served.code == "APIGW.0310"]
    told = rows(ended.directory)
    assert ended.exit_code == 4
    later = simulated.log[simulated.log.index(lost) + 1 :]
    assert not [served for served in later if served.project_id == lost.project_id]
    assert {row["outcome"] for row in told if row["project_id"] != lost.project_id} == {"remediated"}
    there = {row["outcome"] for row in told if row["project_id"] == lost.project_id}
    assert there == {"unverified", "not_attempted"}
    assert not truthful(simulated, told)


@waiting
def test_a_request_that_is_said_to_be_malformed_is_the_last(operator: Operator) -> None:
    """When KMS says that our own request is malformed nothing more is sent by this run, not even a read: 1."""
    simulated, ended = play(operator, Scene("refuse/writes=KMS.0202@20+", ONE_BY_ONE))
    (last,) = [n for n, served in enumerate(simulated.log) if served.code == "KMS.0202"]
    assert ended.exit_code == 1
    assert last == len(simulated.log) - 1
    assert set(outcomes(ended.directory)) == {"unverified", "not_attempted"}
    assert "malformed" in ended.stderr


@pytest.mark.parametrize("kind", ["401", "401-echo"])
@waiting
def test_an_access_key_that_is_refused_in_the_middle(operator: Operator, kind: str) -> None:
    """After a 401 nothing more is sent, not even a read; at the default rate there are never five of them: 1."""
    simulated, ended = play(operator, Scene(f"{kind}@25+", (), latency=0.25))
    refused = statuses(simulated, 401)
    assert ended.exit_code == 1
    assert 1 <= len(refused) < 5
    assert refused == list(range(24, 24 + len(refused)))
    assert len(simulated.log) == 24 + len(refused)
    told = outcomes(ended.directory)
    assert sum(told.values()) == len(KEYS)
    assert set(told) == {"unverified", "not_attempted"}
    assert told["not_attempted"] >= len(KEYS) - 25
    assert "our clock says" in ended.stderr
    assert f"kms-rotation apply {ended.stdout.strip()}" in ended.stderr
    assert not truthful(simulated, rows(ended.directory))


@waiting
def test_keys_that_vanish_meanwhile_are_missing(operator: Operator) -> None:
    """A key that is gone when its request arrives is missing, and asked for no more."""
    _, ended = play(operator, Scene("refuse/writes=KMS.0207@3-4", FAST, KEYS[:10]))
    assert (ended.exit_code, outcomes(ended.directory)) == (3, {"remediated": 8, "missing": 2})


@waiting
def test_a_key_that_is_on_already_when_asked_is_compliant(operator: Operator) -> None:
    """KMS.2901 to the first request of a key that somebody else switched on: compliant, after a look."""
    keys = KEYS[:10]
    simulated = core(keys, lag=0.1)

    async def somebody_else() -> None:
        async with reached(simulated) as caller:
            assert (await caller.ask(ENABLE, {"key_id": key_id(4)})).status_code == 200

    inventory = operator.inventory(keys)
    with running(simulated) as url, operator.at_terminal("remediate", inventory, "--endpoint", url, *FAST) as dialogue:
        dialogue.until("Change 10 keys")
        asyncio.run(somebody_else())
        dialogue.type("y\n")
        ended = dialogue.wait()
    (row,) = [row for row in rows(ended.directory) if row["key_id"] == key_id(4)]
    assert (row["outcome"], row["error_code"]) == ("compliant", "KMS.2901")
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 9, "compliant": 1})


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(25))
def test_a_long_storm_passes(operator: Operator, seed: int) -> None:
    """Five hundred keys, everything at once, many times over: nothing is lost, nothing is untrue."""
    keys = [key(n) for n in range(500)]
    kinds = ("drop-before", "drop-after", "500", "503", "502", "502-after", "garbage", "cut", "noise", "throttle")
    storm = ",".join(f"{kind}:.04" for kind in kinds) + f",slow=3:.02,seed={seed + 1}"
    simulated, ended = play(operator, Scene(storm, keys=keys, lag=0.5))
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 500}), ended.stderr
    assert not truthful(simulated, rows(ended.directory))
    assert one_sequence_per_request(simulated)
    assert not fault(ended.directory)
