"""rollback turns off exactly what a run turned on, restores the intervals that it changed, and touches nothing else."""

import asyncio
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from audit.ledger import Ledger
from audit.model import Key
from audit.scrub import Scrubber
from audit.simulator import Core, Served, parse_faults
from tests.command import (
    DESCRIBE,
    ENABLE,
    FAST,
    INTERVAL,
    LIST,
    STATUS,
    Ended,
    Operator,
    begin,
    digest,
    events,
    fault,
    left_behind,
    one_message,
    outcomes,
    results,
    rows,
    snapshot,
    until,
    waiting,
)
from tests.simulated import PROJECT, REGION, core, key, key_id, reached, running

DISABLE = "disable-key-rotation"
ON = {"key_rotation_enabled": "true"}
KEYS = [
    *(key(n) for n in range(5)),
    key(5, **ON),
    key(6, origin="external"),
    key(7, key_state="3"),
    key(8, key_spec="RSA_4096"),
]
CHANGED = [key_id(n) for n in range(5)]
SLOW = [*(key(n) for n in range(3)), *(key(n, **ON, rotation_interval="365") for n in range(3, 6)),
        *(key(n, **ON, rotation_interval="60") for n in range(6, 8))]  # fmt: skip
TO_60 = ("--max-interval", "90", "--interval", "60")
PRESSURE = ("--rate", "400", "--concurrency", "32", "--max-attempts", "12", "--timeout", "1")
STORM = "drop-before:.1,drop-after:.1,500:.05,502-after:.05,garbage:.05,cut:.05,noise:.05,throttle:.05"
begun = begin(3)


def remediated(operator: Operator, url: str, keys: Iterable[Key] = KEYS, *arguments: object) -> Path:
    """The directory of a run that switched on what it could."""
    ended = operator.run("remediate", operator.inventory(keys), "--yes", "--endpoint", url, *FAST, *arguments)
    assert ended.exit_code == 0, ended.stderr
    return ended.directory


def rolled_back(operator: Operator, directory: Path, url: str, *arguments: object, **more: object) -> Ended:
    """Roll a run back at an endpoint."""
    return operator.run("rollback", directory, "--endpoint", url, *FAST, *(arguments or ("--yes",)), **more)


def since(simulated: Core, before: int) -> list[Served]:
    """The requests after so many."""
    return list(simulated.log)[before:]


def counted(served: Iterable[Served]) -> dict[str, int]:
    """How many requests there were of each operation."""
    return dict(Counter(one.operation for one in served))


def by_key(served: Iterable[Served], operation: str) -> dict[str, int]:
    """How many requests of one operation there were for each key."""
    return dict(Counter(one.key_id for one in served if one.operation == operation))


def truth(simulated: Core, keys: Iterable[Key]) -> list[tuple[bool, int] | None]:
    """Whether each key truly rotates, and how often."""
    return [simulated.state(one.place.region, one.place.project_id, one.key_id) for one in keys]


def somebody(simulated: Core, *asked: tuple[str, dict[str, object]]) -> None:
    """Somebody else, with our access key, changes something."""

    async def ask() -> None:
        async with reached(simulated) as caller:
            for operation, body in asked:
                assert (await caller.ask(operation, body)).status_code == 200

    asyncio.run(ask())


# There and back again -----------------------------------------------------------------------------------------------


@waiting
def test_there_and_back_and_there_again(operator: Operator) -> None:
    """Every key that was switched on is switched off by one request, no other is asked for, and all can begin anew."""
    simulated = core(KEYS)
    with running(simulated) as url:
        before = truth(simulated, KEYS)
        first = remediated(operator, url)
        untouched, asked = snapshot(first), len(simulated.log)
        ended = rolled_back(operator, first, url)
        back = since(simulated, asked)
        assert truth(simulated, KEYS) == before
        asked = len(simulated.log)
        again = remediated(operator, url)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"rolled_back": 5})
    assert counted(back) == {LIST: 2, STATUS: 5, DISABLE: 5}
    assert by_key(back, DISABLE) == by_key(back, STATUS) == dict.fromkeys(CHANGED, 1)
    assert counted(since(simulated, asked)) == {LIST: 2, ENABLE: 5}
    assert outcomes(again) == outcomes(first)
    assert snapshot(first) == untouched
    others = len(rows(first)) - 5
    for now, before, told in (
        (ended.directory, first, {"changed": 5, "gone": others}),  # switched off again: neither fixed nor as it was
        (again, ended.directory, {"changed": 5, "new": others}),
        (again, first, {"unchanged": 5 + others}),
    ):
        compared = operator.run("report", now, "--compare", before, "--format", "json")
        assert {kind: n for kind, n in results(compared.directory)["comparison"]["counts"].items() if n} == told
    assert not fault(ended.directory)


@waiting
def test_a_row_of_a_rollback_tells_what_was_done(operator: Operator) -> None:
    """Line and cells are those of the run that is undone; action, sequence and read-back are the rollback's own."""
    simulated = core(KEYS)
    with running(simulated) as url:
        first = remediated(operator, url)
        ended = rolled_back(operator, first, url)
    old = {row["key_id"]: row for row in rows(first)}
    told = rows(ended.directory)
    assert [row["key_id"] for row in told] == CHANGED
    for row in told:
        assert row["line"] == old[row["key_id"]]["line"]
        assert (row["action"], row["rotation_before"], row["rotation_after"]) == ("disable", "true", "false")
        assert (row["interval_before"], row["attempts"], row["http_status"]) == ("365", "1", "200")
        assert row["reason"] == "confirmed by read-back"
    assert len({row["sequence"] for row in [*told, *old.values()] if row["sequence"]}) == 10
    run = results(ended.directory)["run"]
    (_, _, _, last) = events(first)[-1]
    assert last["exit_code"] == 0
    assert (run["command"], run["undoes"]["id"]) == ("rollback", first.name)
    assert run["undoes"]["head"] == results(first)["run"]["ledger"]["head"]
    page = (ended.directory / "report.html").read_text(encoding="utf-8")
    said = "Of its 9 records 5 had a request that may have changed the key; for the other 4 there is nothing to undo."
    assert said in page
    assert said in ended.stderr


@waiting
def test_intervals_are_restored(operator: Operator) -> None:
    """A key that rotated before gets its interval back; one that was switched on as well is simply turned off."""
    simulated = core(SLOW)
    with running(simulated) as url:
        first = remediated(operator, url, SLOW, *TO_60)
        assert set(truth(simulated, SLOW)) == {(True, 60)}
        asked = len(simulated.log)
        ended = rolled_back(operator, first, url)
    back = since(simulated, asked)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"rolled_back": 6})
    assert [state[0] for state in truth(simulated, SLOW) if state] == [False] * 3 + [True] * 5
    assert truth(simulated, SLOW[3:]) == [(True, 365)] * 3 + [(True, 60)] * 2
    assert by_key(back, DISABLE) == dict.fromkeys(map(key_id, range(3)), 1)
    assert by_key(back, INTERVAL) == dict.fromkeys(map(key_id, range(3, 6)), 1)
    assert counted(back) == {LIST: 3, STATUS: 6 + 3, DISABLE: 3, INTERVAL: 3}
    assert [row["action"] for row in rows(ended.directory)] == ["disable"] * 3 + ["restore-interval"] * 3
    assert [row["interval_after"] for row in rows(ended.directory)[3:]] == ["365"] * 3


@waiting
def test_a_run_in_several_places_is_undone_in_each(operator: Operator) -> None:
    """The same key id in two projects is two keys, and each is turned off where it was turned on."""
    keys = [key(1, project_id="a" * 32), key(1, project_id="b" * 32), key(2, project_id="b" * 32, **ON)]
    simulated = core(keys)
    with running(simulated) as url:
        first = remediated(operator, url, keys)
        ended = rolled_back(operator, first, url)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"rolled_back": 2})
    assert [state and state[0] for state in truth(simulated, keys)] == [False, False, True]


@waiting
def test_the_endpoint_is_that_of_the_run(operator: Operator) -> None:
    """Where no endpoint is given a run is undone where it was made."""
    simulated = core(KEYS)
    with running(simulated) as url:
        first = remediated(operator, url)
        ended = operator.run("rollback", first, "--yes", *FAST)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"rolled_back": 5})


@waiting
def test_a_run_that_apply_ended_is_undone(operator: Operator) -> None:
    """A plan that was applied is undone as a remediation is; before it was applied there is nothing to undo."""
    simulated = core(KEYS)
    with running(simulated) as url:
        plan = operator.run("plan", operator.inventory(KEYS), "--endpoint", url, *FAST)
        refused = rolled_back(operator, plan.directory, url)
        assert operator.run("apply", plan.directory, "--yes", "--endpoint", url, *FAST).exit_code == 0
        ended = rolled_back(operator, plan.directory, url)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "nothing was changed" in refused.stderr
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"rolled_back": 5})


# The question, the guards, what is refused --------------------------------------------------------------------------


@waiting
def test_the_question_names_what_is_turned_off(operator: Operator) -> None:
    """At a terminal the question says how many keys; a no leaves a plan, a yes carries it out."""
    simulated = core(SLOW)
    with running(simulated) as url:
        first = remediated(operator, url, SLOW, *TO_60)
        asked = len(simulated.log)
        for answer, exit_code, told in (("n\n", 3, {"planned": 6}), ("y\n", 0, {"rolled_back": 6})):
            with operator.at_terminal("rollback", first, "--endpoint", url, *FAST) as dialogue:
                dialogue.until("Turn off rotation of 3 keys and restore the interval of 3 keys on 127.0.0.1")
                assert not by_key(since(simulated, asked), DISABLE)
                assert "6 keys on 127.0.0.1" in dialogue.seen
                assert "3 x disable, 3 x restore-interval" in dialogue.seen
                assert "Key versions taken back: " in dialogue.seen
                dialogue.type(answer)
                ended = dialogue.wait()
            assert (ended.exit_code, outcomes(ended.directory)) == (exit_code, told)


@waiting
def test_without_a_terminal_nothing_is_read(operator: Operator) -> None:
    """Nobody to ask and no --yes: a usage error, before KMS or the run is read."""
    simulated = core(KEYS)
    with running(simulated) as url:
        first = remediated(operator, url)
        asked = len(simulated.log)
        ended = operator.run("rollback", first, "--endpoint", url, *FAST)
        nowhere = operator.run("rollback", "nowhere", "--endpoint", url)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (2, nowhere.stdout, nowhere.stderr)
    assert "there is no terminal to ask on" in ended.stderr
    assert len(simulated.log) == asked
    assert left_behind(operator.home) == [first.name]


@pytest.mark.parametrize(("limit", "allowed"), [("4", False), ("5", True), ("99%", False), ("100%", True)])
@waiting
def test_a_guard_bounds_a_rollback(operator: Operator, limit: str, allowed: bool) -> None:
    """--max-changes counts the keys that would be changed back; a percentage is of the records of the rollback."""
    simulated = core(KEYS)
    with running(simulated) as url:
        first = remediated(operator, url)
        ended = rolled_back(operator, first, url, "--yes", "--max-changes", limit)
    assert ended.exit_code == (0 if allowed else 5)
    assert outcomes(ended.directory) == {"rolled_back" if allowed else "not_attempted": 5}
    assert sum(by_key(simulated.log, DISABLE).values()) == (5 if allowed else 0)


@waiting
def test_refusals_in_a_row_end_a_rollback(operator: Operator) -> None:
    """Without the permission to turn rotation off three keys are asked for, and no more."""
    keys = [key(n) for n in range(12)]
    simulated = core(keys, faults=parse_faults("permission/writes@13+"))
    with running(simulated) as url:
        first = remediated(operator, url, keys)
        ended = rolled_back(operator, first, url, "--yes", "--concurrency", "1")
    assert ended.exit_code == 1
    assert outcomes(ended.directory)["refused"] in {3, 4}  # one was under way
    assert sum(outcomes(ended.directory).values()) == 12
    assert [state and state[0] for state in truth(simulated, keys)] == [True] * 12


def broken(directory: Path) -> None:
    """Change an event behind the ledger's back."""
    with sqlite3.connect(directory / "ledger.sqlite3") as db:
        db.execute("DROP TRIGGER events_stay")
        db.execute("UPDATE events SET body = replace(body, '200', '201') WHERE kind = 'sent'")
    db.close()


@waiting
def test_a_directory_that_cannot_be_undone(operator: Operator) -> None:
    """A check, no run, a rollback, a real run on the simulator, a broken chain: one message, and nothing is sent."""
    simulated = core(KEYS)
    with running(simulated) as url:
        check = operator.run("check", operator.inventory(KEYS), "--live", "--endpoint", url, *FAST)
        first = remediated(operator, url)
        back = rolled_back(operator, first, url)
        idle = operator.run("remediate", operator.inventory([KEYS[5]], name="on.csv"), "--yes", "--endpoint", url)
        copy = shutil.copytree(first, operator.home / "copy")
        broken(copy)
        half = operator.home / "half"
        half.mkdir()
        Ledger(half / "ledger.sqlite3", lambda: "", Scrubber(), create=True).close()
        asked, before = len(simulated.log), left_behind(operator.home)
        cases = [
            (check.directory, (), 2, "is a check"),
            (operator.home, (), 2, "is not a run directory"),
            (half, (), 2, "has no complete plan"),
            (back.directory, (), 2, "kms-rotation remediate INVENTORY"),
            (idle.directory, (), 2, "nothing was changed"),
            (copy, (), 1, "is not what was written"),
            (first, ("--output-dir", first / "more"), 2, "is only read"),
            (first, ("--max-changes", "many"), 2, "--max-changes"),
        ]
        for directory, more, exit_code, said in cases:
            ended = rolled_back(operator, directory, url, "--yes", *more)
            assert (ended.exit_code, ended.stdout) == (exit_code, ""), (directory, ended.stderr)
            assert said in ended.stderr
            assert one_message(ended.stderr)
        ended = operator.run("rollback", first, "--yes", "--simulate")
        assert ended.exit_code == 2
        assert "is not a simulated run" in ended.stderr
    assert len(simulated.log) == asked
    assert left_behind(operator.home) == before


@waiting
def test_a_run_that_is_at_work_is_not_undone(operator: Operator) -> None:
    """While another process works in the directory a rollback is refused, naming it."""
    keys = [key(n) for n in range(200)]
    with running(core(keys)) as url:
        plan = operator.run("plan", operator.inventory(keys), "--endpoint", url, *FAST)
        with operator.start("apply", plan.directory, "--yes", "--endpoint", url, "--rate", "50") as started:
            until(lambda: events(plan.directory, "answered"))
            ended = rolled_back(operator, plan.directory, url)
            assert (ended.exit_code, ended.stdout) == (1, "")
            assert f"in use by process {started.process.pid}" in ended.stderr


# What others did meanwhile ------------------------------------------------------------------------------------------

MEANWHILE = {
    "as it was left": (dict(ON), "rolled_back", "confirmed by read-back"),
    "another interval": ({**ON, "rotation_interval": "90"}, "left_alone", "every 90 days, that run left it at 365"),
    "disabled": ({**ON, "key_state": "3"}, "left_alone", "changed since that run: key is disabled"),
    "pending deletion": ({**ON, "key_state": "4"}, "left_alone", "changed since that run: key is pending deletion"),
    "imported": ({**ON, "origin": "external"}, "left_alone", "imported key material"),
    "off already": ({}, "rolled_back", "rotation was found off, as before that run"),
    "off and disabled": ({"key_state": "3"}, "rolled_back", "rotation was found off, as before that run"),
    "not understood": ({**ON, "key_spec": "LATTICE_9"}, "unknown", "not known to this version"),
    "gone": (None, "left_alone", "KMS does not have this key any more"),
}


@waiting
def test_what_was_changed_since_is_left_alone(operator: Operator) -> None:
    """Only a key that is as the run left it is changed back; of every other one the reason says what differs."""
    keys = [key(n) for n in range(len(MEANWHILE))]
    now = [key(n, **facts) for n, (facts, _, _) in enumerate(MEANWHILE.values()) if facts is not None]
    with running(core(keys)) as url:
        first = remediated(operator, url, keys)
    later = core(now)
    with running(later) as url:
        ended = rolled_back(operator, first, url)
    assert ended.exit_code == 4
    for row, (name, (_, outcome, reason)) in zip(rows(ended.directory), MEANWHILE.items(), strict=True):
        assert (row["outcome"], reason in row["reason"]) == (outcome, True), (name, row)
    assert by_key(later.log, DISABLE) == {key_id(0): 1}
    assert set(by_key(later.log, STATUS)) == {key_id(0), key_id(1)}
    assert by_key(later.log, DESCRIBE) == {key_id(8): 1}
    failed = (ended.directory / "failed.csv").read_text(encoding="utf-8-sig").splitlines()
    assert [line.partition(",")[0] for line in failed[1:]] == [key_id(7)]  # left alone needs no other run


@waiting
def test_left_alone_ends_with_3(operator: Operator) -> None:
    """What somebody gave another interval, or restored already, is not written to; what is left alone ends with 3."""
    simulated = core(SLOW)
    with running(simulated) as url:
        first = remediated(operator, url, SLOW, *TO_60)
        somebody(
            simulated,
            (INTERVAL, {"key_id": key_id(3), "rotation_interval": 365}),
            (INTERVAL, {"key_id": key_id(4), "rotation_interval": 100}),
            (DISABLE, {"key_id": key_id(5)}),
        )
        asked = len(simulated.log)
        ended = rolled_back(operator, first, url)
    told = {row["key_id"]: row for row in rows(ended.directory)}
    assert (ended.exit_code, outcomes(ended.directory)) == (3, {"rolled_back": 4, "left_alone": 2})
    assert told[key_id(3)]["reason"] == "the interval was found at 365 days, as before that run"
    assert "it rotates every 100 days, that run left it at 60" in told[key_id(4)]["reason"]
    assert told[key_id(5)]["reason"] == "changed since that run: rotation is off"
    assert not by_key(since(simulated, asked), INTERVAL)
    assert not (ended.directory / "failed.csv").exists()


@waiting
def test_a_planned_rollback_is_judged_again_by_its_own_standard(operator: Operator) -> None:
    """Between plan and apply: what was turned off is found so, what was changed is left alone, the rest is done."""
    simulated = core(KEYS)
    with running(simulated) as url:
        first = remediated(operator, url)
        plan = rolled_back(operator, first, url, "--dry-run")
        shutil.rmtree(first)  # the rollback needs it no more
        somebody(
            simulated,
            (DISABLE, {"key_id": key_id(0)}),
            (INTERVAL, {"key_id": key_id(1), "rotation_interval": 100}),
        )
        asked = len(simulated.log)
        arguments = ("--endpoint", url, *FAST, "--approve", digest(plan.directory)[:12])
        ended = operator.run("apply", plan.directory, *arguments)
    told = rows(ended.directory)
    assert (plan.exit_code, ended.exit_code) == (3, 3)
    assert [row["outcome"] for row in told] == ["rolled_back", "left_alone", *["rolled_back"] * 3]
    assert told[0]["reason"] == "rotation was found off, as before that run"
    assert counted(since(simulated, asked)) == {LIST: 2, STATUS: 4, DISABLE: 3}


@waiting
def test_off_already_when_the_request_arrives(operator: Operator) -> None:
    """KMS.0313 to the request that turns a key off is confirmed by a look, and the key is as before."""
    simulated = core(KEYS[:3], faults=parse_faults("refuse/writes=KMS.0313@4"))
    with running(simulated) as url:
        first = remediated(operator, url, KEYS[:3])
        ended = rolled_back(operator, first, url, "--yes", "--concurrency", "1")
    told = rows(ended.directory)
    assert ended.exit_code == 4
    (odd,) = [row for row in told if row["error_code"]]
    assert (odd["outcome"], odd["error_code"]) == ("unverified", "KMS.0313")  # here KMS did not tell the truth
    assert "KMS says it is already off" in odd["reason"]
    assert outcomes(ended.directory) == {"rolled_back": 2, "unverified": 1}


# What is not known --------------------------------------------------------------------------------------------------


@waiting
def test_who_changed_it_must_be_known(operator: Operator) -> None:
    """Where KMS said "already" to a repeated request nobody knows who did it: listed as unknown, 4, and not undone."""
    keys = [key(n) for n in range(40)]
    simulated = core(keys, lag=2, faults=parse_faults("drop-after/writes:.4@1-40"))
    with running(simulated) as url:
        arguments = ("--yes", "--endpoint", url, *PRESSURE)
        first = operator.run("remediate", operator.inventory(keys), *arguments, seconds=120)
        already = {row["key_id"] for row in rows(first.directory) if row["error_code"] == "KMS.2901"}
        ended = rolled_back(operator, first.directory, url, seconds=120)
    assert (first.exit_code, outcomes(first.directory)) == (0, {"remediated": 40})
    assert already
    assert (ended.exit_code, len(rows(ended.directory))) == (4, 40)
    for row in rows(ended.directory):
        doubtful = row["key_id"] in already
        assert row["outcome"] == ("unknown" if doubtful else "rolled_back")
        assert ("that run or somebody else" in row["reason"]) == doubtful
        assert simulated.state(REGION, PROJECT, row["key_id"])[0] == doubtful  # type: ignore[index]  # every key is there
    assert not already & by_key(simulated.log, DISABLE).keys()


@waiting
def test_an_interrupted_run_is_undone_as_far_as_it_went(operator: Operator) -> None:
    """What was switched on before a signal is switched off; the rest had nothing to undo, and the operator is told."""
    keys = [key(n) for n in range(60)]
    simulated = core(keys)
    with running(simulated) as url:
        inventory = operator.inventory(keys)
        with operator.start("remediate", inventory, "--yes", "--endpoint", url, "--rate", "40") as started:
            until(lambda: sum(served.applied for served in list(simulated.log)) > 10)
            first = started.signal(signal.SIGTERM).wait()
        applied = {served.key_id for served in list(simulated.log) if served.applied}
        ended = rolled_back(operator, first.directory, url)
    assert first.exit_code == 130
    assert 10 < len(applied) < 60
    assert "is not finished: kms-rotation apply" in ended.stderr
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"rolled_back": len(applied)})
    assert by_key(simulated.log, DISABLE) == dict.fromkeys(applied, 1)
    assert [state and state[0] for state in truth(simulated, keys)] == [False] * 60


# Storms and kills ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [STORM, "drop-after/writes:.4", "500/writes:.3,throttle:.1", "slow/writes=3:.1"])
@waiting
def test_a_storm_in_both_directions(operator: Operator, faults: str) -> None:
    """Lost requests, lost answers, answers that are none: what is known to be changed is off, by one request."""
    keys = [*(key(n) for n in range(16)), *(key(n, **ON, rotation_interval="365") for n in range(16, 20))]
    simulated = core(keys, faults=parse_faults(faults))
    pressure = ("--yes", "--endpoint", "URL", *PRESSURE)
    with running(simulated) as url:
        arguments = [url if one == "URL" else one for one in pressure]
        first = operator.run("remediate", operator.inventory(keys), *arguments, *TO_60, seconds=300)
        asked = len(simulated.log)
        ended = operator.run("rollback", first.directory, *arguments, seconds=300)
    assert (first.exit_code, outcomes(first.directory)) == (0, {"remediated": 20}), first.stderr
    assert ended.exit_code in {0, 4}, ended.stderr
    told = rows(ended.directory)
    back = since(simulated, asked)
    undone = {row["key_id"] for row in told if row["outcome"] == "rolled_back"}
    doubtful = {row["key_id"] for row in told if row["outcome"] == "unknown"}
    assert undone | doubtful == {one.key_id for one in keys}
    assert len(undone) >= 14
    for one in keys:
        on, days = simulated.state(REGION, PROJECT, one.key_id) or (None, 0)
        if one.key_id in doubtful:
            assert (on, days) == (True, 60)
        else:
            assert (on, days) == ((True, 365) if one.facts.rotates else (False, 60))
    assert Counter(served.key_id for served in back if served.applied) == dict.fromkeys(undone, 1)
    asked_for = {(served.key_id, served.sequence) for served in back if served.sequence}
    assert len(asked_for) == len({known for known, _ in asked_for}) == len({sequence for _, sequence in asked_for})
    assert not fault(ended.directory)


@waiting
def test_a_rollback_survives_being_killed(operator: Operator) -> None:
    """Killed again and again, a rollback ends right by apply, and no request is sent again after its answer."""
    keys: Sequence[Key] = [key(n) for n in range(300)]
    moments = random.Random(7)  # noqa: S311  # repeatable on purpose
    simulated = core(keys, latency=0.02)
    with running(simulated) as url:
        first = remediated(operator, url, keys)
        plan = rolled_back(operator, first, url, "--dry-run")
        apply = ("apply", plan.directory, "--yes", "--endpoint", url, "--rate", "200", "--concurrency", "8")
        answered: dict[str, int] = {}
        for _ in range(4):
            off = sum(served.applied for served in list(simulated.log))
            with operator.start(*apply) as started:
                until(lambda off=off: sum(served.applied for served in list(simulated.log)) > off)
                time.sleep(moments.uniform(0.05, 0.2))
                assert started.process.poll() is None
                started.signal(signal.SIGKILL).wait()
            seen = -1
            while seen != len(simulated.log):
                seen = len(simulated.log)
                time.sleep(0.05)
            sequences = {step: body["sequence"] for _, _, step, body in events(plan.directory, "intended")}
            for _, _, step, _ in events(plan.directory, "answered"):
                answered.setdefault(sequences[step], seen)
        ended = operator.run(*apply)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"rolled_back": 300}), ended.stderr
    assert 0 < len(answered) < 300
    assert not [served for n, served in enumerate(simulated.log) if answered.get(served.sequence, n) < n]
    assert Counter(served.key_id for served in simulated.log if served.applied) == {one.key_id: 2 for one in keys}
    assert [state and state[0] for state in truth(simulated, keys)] == [False] * 300
    assert not fault(ended.directory)


# Rehearsals ---------------------------------------------------------------------------------------------------------


@waiting
def test_a_rehearsal_is_undone_on_the_simulator(operator: Operator) -> None:
    """A simulated run needs no credentials and no --simulate to be undone, in one go or by apply; it asks no cloud."""
    simulated = core(SLOW)
    nobody = {"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": ""}
    with running(simulated) as url:
        first = operator.run("remediate", operator.inventory(SLOW), "--simulate", "--yes", *FAST, *TO_60)
        ended = rolled_back(operator, first.directory, url, "--yes", **nobody)
        plan = rolled_back(operator, first.directory, url, "--dry-run", **nobody)
        again = operator.run("apply", plan.directory, "--yes", *FAST, **nobody)
    assert first.exit_code == 0
    for done in (ended, again):
        assert (done.exit_code, outcomes(done.directory)) == (0, {"rolled_back": 6}), done.stderr
        assert done.directory.name.endswith("-simulated")
        assert results(done.directory)["run"]["simulated"] is True
        assert {row["reason"] for row in rows(done.directory)} == {"confirmed by read-back"}
    assert not simulated.log


@waiting
def test_an_interrupted_rehearsal_of_a_rollback_goes_on(operator: Operator) -> None:
    """What a simulated rollback turned off before a signal is still off when apply takes it up."""
    keys = [key(n) for n in range(60)]
    first = operator.run("remediate", operator.inventory(keys), "--simulate", "--yes", *FAST)
    with operator.start("rollback", first.directory, "--yes", "--rate", "60") as started:
        until(lambda: [name for name in left_behind(operator.home) if name != first.directory.name and name[0] != "."])
        (name,) = [name for name in left_behind(operator.home) if name != first.directory.name]
        until(lambda: len(events(operator.home / "runs" / name, "answered")) > 5)
        ended = started.signal(signal.SIGTERM).wait()
    assert ended.exit_code == 130
    again = operator.run("apply", ended.directory, "--yes", *FAST)
    assert (again.exit_code, outcomes(ended.directory)) == (0, {"rolled_back": 60})
    assert len(events(ended.directory, "answered")) == 60
