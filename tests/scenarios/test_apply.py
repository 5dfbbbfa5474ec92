"""apply approves, applies and resumes: it takes the steps that are not finished, and none that need not be taken."""

import signal
import time
from collections.abc import Iterable
from pathlib import Path

from audit.assess import stored_places, stored_steps
from audit.model import Key
from audit.replay import Replay
from audit.simulator import Core, parse_faults
from tests.command import (
    DESCRIBE,
    ENABLE,
    FAST,
    Ended,
    Operator,
    begin,
    calls,
    digest,
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
from tests.simulated import PROJECT, REGION, core, key, key_id, running

KEYS = [key(n) for n in range(8)]
EXAMPLE = Path(__file__).parents[2] / "inventory.example.csv"
begun = begin()


def planned(operator: Operator, url: str, keys: Iterable[Key] = KEYS, *arguments: object) -> Ended:
    """A plan for these keys, which ends as plans do."""
    ended = operator.run("plan", operator.inventory(keys), "--endpoint", url, *FAST, *arguments)
    assert ended.exit_code in {3, 4}
    return ended


def applied(operator: Operator, ended: Ended, url: str, *arguments: object) -> Ended:
    """The same run, taken up again; its directory is what standard output names."""
    again = operator.run("apply", ended.directory, "--yes", "--endpoint", url, *FAST, *arguments)
    assert again.directory == ended.directory
    return again


# A plan and its digest ----------------------------------------------------------------------------------------------


@waiting
def test_a_plan_made_again_has_the_same_digest(operator: Operator) -> None:
    """The digest is of what will be done and where, not of when: the same for the same plan, another for another."""
    with running(core(KEYS)) as url:
        first, second = (digest(planned(operator, url).directory) for _ in range(2))
        backwards = digest(planned(operator, url, KEYS[::-1]).directory)
        fewer = digest(planned(operator, url, KEYS[1:]).directory)
        slower = digest(planned(operator, url, KEYS, "--interval", "90").directory)
    assert first == second == backwards
    assert len({first, fewer, slower}) == 3


@waiting
def test_a_plan_without_steps_is_known_by_its_digest_too(operator: Operator) -> None:
    """The digest is of all hosts that the inventory names, also of those on which nothing is to be done."""
    on = [key(n, key_rotation_enabled="true") for n in range(3)]
    with running(core(on)) as url:
        plan = operator.run("plan", operator.inventory(on), "--endpoint", url, *FAST)
        ended = operator.run("apply", plan.directory, "--endpoint", url, *FAST, "--approve", digest(plan.directory))
    assert (plan.exit_code, ended.exit_code) == (0, 0)
    assert "nothing is left to apply" in ended.stderr


@waiting
def test_a_plan_names_the_places_without_a_step_too(operator: Operator) -> None:
    """A region in which nothing is to be done is read all the same: it belongs to the hosts that are reviewed."""
    keys = [key(1), key(2, region="cn-east-3", key_rotation_enabled="true")]
    plan = operator.run("plan", operator.inventory(keys), "--simulate")
    with Replay(plan.directory) as past:
        assert {step.place.region for step in stored_steps(past)} == {REGION}
        assert {place.region for place in stored_places(past)} == {REGION, "cn-east-3"}


@waiting
def test_a_reviewed_plan_is_applied_by_its_digest(operator: Operator) -> None:
    """--approve with the digest, or with its first 12 characters in either case, asks nothing and applies."""
    for shown in (lambda whole: whole, lambda whole: whole[:12].upper()):
        simulated = core(KEYS)
        with running(simulated) as url:
            plan = planned(operator, url)
            before = digest(plan.directory)
            arguments = ("--endpoint", url, *FAST, "--approve", shown(before))
            ended = operator.run("apply", plan.directory, *arguments)
        assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 8})
        assert digest(ended.directory) == before
        assert [body["how"] for _, _, _, body in events(ended.directory, "approved")] == ["digest"]
        assert f"Digest: {before}" in ended.stderr
        assert not truthful(simulated, rows(ended.directory))


@waiting
def test_the_question_is_asked_again(operator: Operator) -> None:
    """At a terminal apply asks as remediate does; after a no the run is still planned."""
    simulated = core(KEYS)
    with running(simulated) as url:
        plan = planned(operator, url)
        for answer, exit_code, told in (("n\n", 3, {"planned": 8}), ("y\n", 0, {"remediated": 8})):
            with operator.at_terminal("apply", plan.directory, "--endpoint", url, *FAST) as dialogue:
                dialogue.until("Change 8 keys")
                dialogue.type(answer)
                ended = dialogue.wait()
            assert (ended.exit_code, ended.directory, outcomes(plan.directory)) == (exit_code, plan.directory, told)


@waiting
def test_apply_reads_no_inventory(operator: Operator) -> None:
    """What was planned stands in the run; the CSV may be gone or changed."""
    with running(core(KEYS)) as url:
        plan = planned(operator, url)
        (operator.home / "inventory.csv").write_text("nonsense", encoding="utf-8")
        assert applied(operator, plan, url).exit_code == 0
        again = planned(operator, url, [key(n) for n in range(9)])
        (operator.home / "inventory.csv").unlink()
        assert applied(operator, again, url).exit_code == 3


@waiting
def test_a_plan_can_be_carried_elsewhere(operator: Operator) -> None:
    """A run directory that was moved is applied from where it is now."""
    with running(core(KEYS)) as url:
        plan = planned(operator, url)
        moved = plan.directory.rename(operator.home / "moved")
        ended = operator.run("apply", "moved", "--yes", "--endpoint", url, *FAST)
    assert (ended.exit_code, ended.directory, outcomes(moved)) == (0, moved, {"remediated": 8})


@waiting
def test_the_endpoint_of_the_plan_is_used_if_none_is_given(operator: Operator) -> None:
    """Endpoint, region, project, policy and interval come from the run."""
    simulated = core(KEYS)
    with running(simulated) as url:
        plan = planned(operator, url, KEYS, "--interval", "60", "--max-interval", "90")
        ended = operator.run("apply", plan.directory, "--yes", *FAST)
    assert (ended.exit_code, outcomes(plan.directory)) == (0, {"remediated": 8})
    assert all(simulated.state(REGION, PROJECT, one.key_id) == (True, 60) for one in KEYS)


# Judged anew --------------------------------------------------------------------------------------------------------


@waiting
def test_every_step_is_judged_again_before_it_is_taken(operator: Operator) -> None:
    """Switched on meanwhile: compliant; disabled meanwhile: by the new verdict; gone: missing; no request for any."""
    with running(core(KEYS)) as url:
        plan = planned(operator, url)
    changed = [
        key(0, key_rotation_enabled="true"),
        key(1, key_state="3"),
        key(2, key_state="4"),
        key(3, key_spec="SM9"),
        *KEYS[5:],
    ]
    simulated = core(changed)
    with running(simulated) as url:
        ended = applied(operator, plan, url)
    told = {row["key_id"]: row["outcome"] for row in rows(plan.directory)}
    assert ended.exit_code == 4
    assert [told[key_id(n)] for n in range(8)] == [
        "compliant", "blocked", "blocked", "unknown", "missing", "remediated", "remediated", "remediated"
    ]  # fmt: skip
    assert {served.key_id for served in writes(simulated)} == {key_id(n) for n in range(5, 8)}
    assert all(row["reason"] for row in rows(plan.directory)[:5])
    assert not any(row["sequence"] for row in rows(plan.directory)[:5])
    assert not truthful(simulated, rows(plan.directory))


@waiting
def test_a_key_that_cannot_be_read_again_is_not_written_to(operator: Operator) -> None:
    """A place that was read when planning and cannot be read when applying gets no request; the rest goes on."""
    other = [key(n, project_id="b" * 32) for n in range(3)]
    with running(core([*KEYS, *other])) as url:
        plan = planned(operator, url, [*KEYS, *other])
    simulated = core([*KEYS, *other], faults=parse_faults(f"forbid={'b' * 32}"))
    with running(simulated) as url:
        ended = applied(operator, plan, url)
    assert ended.exit_code == 4
    assert outcomes(plan.directory) == {"remediated": 8, "not_attempted": 3}
    assert {served.project_id for served in writes(simulated)} == {PROJECT}


# Taken up again -----------------------------------------------------------------------------------------------------


def killed_in_the_middle(operator: Operator, simulated: Core, url: str, at: int) -> Ended:
    """A plan whose apply was killed when the simulated KMS had seen ``at`` writes."""
    plan = planned(operator, url, [key(n) for n in range(40)])
    with operator.start("apply", plan.directory, "--yes", "--endpoint", url, "--rate", "60") as started:
        until(lambda: len(writes(simulated)) >= at)
        started.signal(signal.SIGKILL).wait()
    return plan


@waiting
def test_a_request_without_an_answer_is_read_before_it_is_sent_again(operator: Operator) -> None:
    """What a killed process may have sent is asked for with describe-key first; on means done, off means once more."""
    keys = [key(n) for n in range(40)]
    simulated = core(keys, faults=parse_faults("slow/writes=2@10+"))
    with running(simulated) as url:
        plan = killed_in_the_middle(operator, simulated, url, 11)
    answered = {step for _, _, step, _ in events(plan.directory, "answered")}
    open_ = {step for _, _, step, _ in events(plan.directory, "intended")} - answered
    sent = {served.key_id for served in writes(simulated)}
    assert open_
    fresh = core([key(n, **({"key_rotation_enabled": "true"} if key_id(n) in sent else {})) for n in range(40)])
    with running(fresh) as url:
        ended = applied(operator, plan, url)
    assert (ended.exit_code, outcomes(plan.directory)) == (0, {"remediated": 40})
    assert calls(fresh)[DESCRIBE] == len(open_)
    assert {served.key_id for served in writes(fresh)} == {one.key_id for one in keys} - sent
    described = {one.key_id: n for n, one in enumerate(fresh.log) if one.operation == DESCRIBE}
    assert all(
        described[one.key_id] < n
        for n, one in enumerate(fresh.log)
        if one.operation == ENABLE and one.key_id in described
    )
    assert not fault(plan.directory)


@waiting
def test_a_resumed_run_keeps_its_digest_and_its_sequences(operator: Operator) -> None:
    """The plan of a resumed run is the plan: same digest, and each request keeps its sequence over all processes."""
    keys = [key(n) for n in range(40)]
    simulated = core(keys, faults=parse_faults("drop-before/writes@15-20"))
    with running(simulated) as url:
        plan = killed_in_the_middle(operator, simulated, url, 14)
        before = digest(plan.directory)
        ended = applied(operator, plan, url, "--approve", before)
    assert (ended.exit_code, outcomes(plan.directory), digest(plan.directory)) == (0, {"remediated": 40}, before)
    assert one_sequence_per_request(simulated)
    assert {row["sequence"] for row in rows(plan.directory)} == {served.sequence for served in writes(simulated)}


@waiting
def test_what_was_not_seen_yet_is_confirmed_later_without_a_request(operator: Operator) -> None:
    """An accepted change that no read-back shows is unverified, 4; apply reads it again and sends nothing."""
    simulated = core(KEYS[:3], lag=7)
    with running(simulated) as url:
        inventory = operator.inventory(KEYS[:3])
        ended = operator.run("remediate", inventory, "--yes", "--endpoint", url, *FAST)
        assert (ended.exit_code, outcomes(ended.directory)) == (4, {"unverified": 3})
        assert calls(simulated)[DESCRIBE] == 15
        until(lambda: time.monotonic() - writes(simulated)[-1].at > 7)
        again = applied(operator, ended, url)
    assert (again.exit_code, outcomes(ended.directory)) == (0, {"remediated": 3})
    assert len(writes(simulated)) == 3


@waiting
def test_a_finished_run_is_left_alone(operator: Operator) -> None:
    """On a finished run apply does nothing and says so: no request, no event, no credentials, the same reports."""
    simulated = core(KEYS)
    with running(simulated) as url:
        ended = operator.run("remediate", operator.inventory(KEYS), "--yes", "--endpoint", url, *FAST)
        asked, told = len(simulated.log), events(ended.directory)
        page = (ended.directory / "report.html").read_bytes()
        for environ in ({}, {"HUAWEICLOUD_SDK_AK": ""}):
            again = operator.run("apply", ended.directory, "--yes", **environ)
            assert (again.exit_code, again.directory) == (0, ended.directory)
            assert "finished" in again.stderr
    assert (len(simulated.log), events(ended.directory)) == (asked, told)
    assert (ended.directory / "report.html").read_bytes() == page


@waiting
def test_a_finished_run_ends_as_its_keys_do(operator: Operator) -> None:
    """With nothing left to take apply ends with what the keys call for, not with how an earlier process ended."""
    simulated = core(KEYS, faults=parse_faults("refuse=KMS.0204"))
    with running(simulated) as url:
        arguments = ("--yes", "--endpoint", url, *FAST, "--max-failures", "8")
        ended = operator.run("remediate", operator.inventory(KEYS), *arguments)
        assert (ended.exit_code, outcomes(ended.directory)) == (1, {"refused": 8})
        again = applied(operator, ended, url)
    assert (again.exit_code, len(writes(simulated))) == (3, 8)
    assert "finished" in again.stderr


# Simulated runs -----------------------------------------------------------------------------------------------------


@waiting
def test_a_simulated_run_is_applied_in_the_simulator_only(operator: Operator) -> None:
    """A rehearsal stays one: apply of it re-seeds the simulator from the ledger and asks no endpoint, given or not."""
    simulated = core(KEYS)
    with running(simulated) as url:
        plan = operator.run("plan", EXAMPLE, "--simulate", *FAST)
        ended = operator.run("apply", plan.directory, "--yes", *FAST, KMS_ROTATION_ENDPOINT=url)
    assert not simulated.log
    assert ended.directory == plan.directory
    assert outcomes(plan.directory)["remediated"] == 6
    assert results(plan.directory)["run"]["simulated"] is True
    assert left_behind(operator.home) == [plan.directory.name]


@waiting
def test_an_interrupted_rehearsal_goes_on_where_it_was(operator: Operator) -> None:
    """What a rehearsal changed before it was interrupted is still changed when it is taken up again."""
    inventory = operator.inventory([key(n) for n in range(60)])
    with operator.start("remediate", inventory, "--simulate", "--yes", "--rate", "30") as started:
        until(lambda: [name for name in left_behind(operator.home) if not name.startswith(".")])
        (name,) = left_behind(operator.home)
        until(lambda: len(events(operator.home / "runs" / name, "answered")) > 10)
        ended = started.signal(signal.SIGTERM).wait()
    assert ended.exit_code == 130
    again = operator.run("apply", ended.directory, "--yes", *FAST, HUAWEICLOUD_SDK_AK="")
    assert (again.exit_code, outcomes(ended.directory)) == (0, {"remediated": 60})
    assert len(events(ended.directory, "answered")) == 60
    assert len(events(ended.directory, "intended")) - len(events(ended.directory, "withdrawn")) == 60


@waiting
def test_a_rehearsal_takes_no_endpoint(operator: Operator) -> None:
    """--simulate and --endpoint exclude each other for apply too."""
    plan = operator.run("plan", operator.inventory(KEYS), "--simulate", *FAST)
    ended = operator.run("apply", plan.directory, "--yes", "--simulate", "--endpoint", "https://kms.example.com")
    assert (ended.exit_code, ended.directory) == (2, plan.directory)
    assert outcomes(plan.directory) == {"planned": 8}
