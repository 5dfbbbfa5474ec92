"""remediate shows the plan, asks, enables rotation, reads back and reports."""

import re
from collections import Counter

import pytest

from audit.simulator import parse_faults
from tests.command import (
    ENABLE,
    FAST,
    INTERVAL,
    LIST,
    SEQUENCE,
    STATUS,
    Operator,
    begin,
    calls,
    digest,
    events,
    fault,
    one_sequence_per_request,
    outcomes,
    results,
    rows,
    truthful,
    waiting,
    writes,
)
from tests.simulated import core, key, key_id, running

ON = {"key_rotation_enabled": "true"}
KEYS = [
    *(key(n) for n in range(5)),
    key(5, **ON),
    key(6, origin="external"),
    key(7, key_state="3"),
    key(8, key_spec="RSA_4096"),
    key(9, key_alias="obs/default"),
    key(10, multi_region_key_type="REPLICA"),
    key(11, keystore_id="7"),
    key(12, key_state="4", **ON),
    key(13, key_spec="HMAC_256"),
]
ELIGIBLE = [key_id(n) for n in range(5)]
begun = begin()


@waiting
def test_every_eligible_key_is_switched_on_and_no_other_is_touched(operator: Operator) -> None:
    """One request per eligible key, none for any other, and the reports say what KMS then shows."""
    simulated = core(KEYS)
    with running(simulated) as url:
        ended = operator.run("remediate", operator.inventory(KEYS), "--yes", "--endpoint", url, *FAST)
    told = rows(ended.directory)
    assert ended.exit_code == 0
    assert outcomes(ended.directory) == {"remediated": 5, "compliant": 1, "ineligible": 6, "blocked": 2}
    assert sorted(served.key_id for served in writes(simulated)) == ELIGIBLE
    assert calls(simulated) == {LIST: 2, ENABLE: 5}
    assert not truthful(simulated, told)
    assert not [served for served in simulated.log if served.sequence and served not in writes(simulated)]
    changed = [row for row in told if row["outcome"] == "remediated"]
    assert {served.sequence for served in writes(simulated)} == {row["sequence"] for row in changed}
    for row in changed:
        assert SEQUENCE.fullmatch(row["sequence"])
        assert (row["action"], row["rotation_before"], row["rotation_after"]) == ("enable", "false", "true")
        assert (row["rules"], row["attempts"], row["http_status"], row["error_code"]) == ("C01", "1", "200", "")
        assert re.fullmatch(r"[0-9a-f]{32}", row["request_id"])
        for when in ("requested_at", "verified_at"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[when])
    assert all(not row["sequence"] and not row["action"] for row in told if row["outcome"] != "remediated")


@waiting
def test_the_plan_is_shown_before_it_is_carried_out(operator: Operator) -> None:
    """How many keys, on which host, at what cost, with which digest: all of it is said before the first write."""
    simulated = core(KEYS)
    with running(simulated) as url:
        ended = operator.run("remediate", operator.inventory(KEYS), "--yes", "--endpoint", url, *FAST)
    assert f"5 keys on {url.removeprefix('http://')}: 5 x enable" in ended.stderr
    assert f"Digest: {digest(ended.directory)}" in ended.stderr
    assert "billed" in ended.stderr
    assert all(wanted in ended.stderr for wanted in ELIGIBLE)


@waiting
def test_every_report_of_a_run_tells_the_same(operator: Operator) -> None:
    """Rows in equal records out, in the page, the table and the data; failed.csv holds what needs another run."""
    keys = [*KEYS, key(20)]
    simulated = core(KEYS)  # key 20 is missing
    with running(simulated) as url:
        inventory = operator.inventory(keys, extra="bad,,,,,,,,,,,,,\n")
        ended = operator.run("remediate", inventory, "--yes", "--endpoint", url, *FAST)
    told, data = rows(ended.directory), results(ended.directory)
    assert len(told) == len(data["results"]) == len(keys) + 1 == sum(data["counts"].values())
    assert data["counts"] == {**dict.fromkeys(data["counts"], 0), **Counter(row["outcome"] for row in told)}
    assert [{name: str(value) for name, value in row.items()} for row in data["results"]] == told
    failed = (ended.directory / "failed.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(failed) == 2
    assert failed[1].startswith(key_id(20))
    again = operator.run("check", ended.directory / "failed.csv")
    assert [row["key_id"] for row in rows(again.directory)] == [key_id(20)]
    page = (ended.directory / "report.html").read_text(encoding="utf-8")
    assert all(f"key-{one.key_id}" in page for one in keys if one.key_id != key_id(5))


# The question -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["y\n", "yes\n", "YES\n"])
@waiting
def test_yes_at_the_question(operator: Operator, answer: str) -> None:
    """At a terminal the plan is carried out after a yes; standard output stays the directory's."""
    simulated = core(KEYS)
    with running(simulated) as url, operator.at_terminal(
        "remediate", operator.inventory(KEYS), "--endpoint", url, *FAST
    ) as dialogue:  # fmt: skip
        dialogue.until("Change 5 keys on 127.0.0.1")
        assert not writes(simulated)
        dialogue.type(answer)
        ended = dialogue.wait()
    assert (ended.exit_code, outcomes(ended.directory)["remediated"]) == (0, 5)
    (approved,) = events(ended.directory, "approved")
    assert approved[3] == {"how": "question", "digest": digest(ended.directory)}


@pytest.mark.parametrize("answer", ["n\n", "\n", "yess\n", "\x04", b"\xff\xfe\n"])
@waiting
def test_anything_but_yes_at_the_question_is_no(operator: Operator, answer: str | bytes) -> None:
    """Anything else, the end of the input and what is no text at all is a no: keys are planned, 3, nothing was sent."""
    simulated = core(KEYS)
    with running(simulated) as url, operator.at_terminal(
        "remediate", operator.inventory(KEYS), "--endpoint", url, *FAST, PYTHONIOENCODING="utf-8:strict"
    ) as dialogue:  # fmt: skip
        dialogue.until("[y/N]")
        dialogue.type(answer)
        ended = dialogue.wait()
    assert (ended.exit_code, outcomes(ended.directory)["planned"]) == (3, 5)
    assert not writes(simulated)
    assert not (ended.directory / "crash.txt").exists()


@waiting
def test_ctrl_c_at_the_question(operator: Operator) -> None:
    """Ctrl-C at the question ends with 130: nothing was sent, reports are there, and apply is named and goes on."""
    simulated = core(KEYS)
    with running(simulated) as url:
        with operator.at_terminal(
            "remediate", operator.inventory(KEYS), "--endpoint", url, *FAST
        ) as dialogue:  # fmt: skip
            dialogue.until("[y/N]")
            dialogue.type("\x03")
            ended = dialogue.wait()
        assert ended.exit_code == 130
        assert outcomes(ended.directory)["not_attempted"] == 5
        assert not writes(simulated)
        assert f"kms-rotation apply {ended.stdout.strip()}" in ended.stderr
        again = operator.run("apply", ended.directory, "--yes", "--endpoint", url, *FAST)
    assert (again.exit_code, outcomes(again.directory)["remediated"]) == (0, 5)


@waiting
def test_a_dry_run_asks_nothing_and_sends_nothing(operator: Operator) -> None:
    """--dry-run stops after the plan, without a terminal, and can be applied."""
    simulated = core(KEYS)
    with running(simulated) as url:
        ended = operator.run("remediate", operator.inventory(KEYS), "--dry-run", "--endpoint", url, *FAST)
        assert (ended.exit_code, outcomes(ended.directory)["planned"]) == (3, 5)
        assert calls(simulated) == {LIST: 1}
        again = operator.run("apply", ended.directory, "--yes", "--endpoint", url, *FAST)
    assert (again.exit_code, outcomes(again.directory)["remediated"]) == (0, 5)


# Intervals ----------------------------------------------------------------------------------------------------------

SLOW = [*(key(n) for n in range(3)), *(key(n, **ON, rotation_interval="365") for n in range(3, 6)),
        *(key(n, **ON, rotation_interval="60") for n in range(6, 8))]  # fmt: skip


@waiting
def test_an_interval_is_a_second_step(operator: Operator) -> None:
    """--interval sets the interval of keys that are switched on, after the enable is confirmed; both steps are told."""
    simulated = core(SLOW, lag=0.3)
    with running(simulated) as url:
        arguments = ("--yes", "--endpoint", url, *FAST, "--max-interval", "90", "--interval", "60")
        ended = operator.run("remediate", operator.inventory(SLOW), *arguments)
    told = rows(ended.directory)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 6, "compliant": 2})
    for row in told[:3]:
        assert row["action"] == "enable;set-interval"
        assert len(set(row["sequence"].split(";"))) == 2
        assert (row["attempts"], row["http_status"]) == ("1;1", "200;200")
        assert (row["rotation_after"], row["interval_after"]) == ("true", "60")
    for row in told[3:6]:
        assert (row["action"], row["rules"]) == ("set-interval", "C02")
        assert (row["interval_before"], row["interval_after"]) == ("365", "60")
    assert all(simulated.state(one.place.region, one.place.project_id, one.key_id) == (True, 60) for one in SLOW)
    assert one_sequence_per_request(simulated)
    sent = {(served.key_id, served.operation): served.at for served in writes(simulated)}
    for n in range(3):  # not before a read could show that rotation is on
        assert sent[key_id(n), INTERVAL] - sent[key_id(n), ENABLE] >= 0.3


@waiting
def test_an_interval_changes_no_key_that_is_within_policy(operator: Operator) -> None:
    """--interval alone leaves keys that rotate within policy as they are, and costs no look at their interval."""
    simulated = core(SLOW)
    with running(simulated) as url:
        arguments = ("--yes", "--endpoint", url, *FAST, "--interval", "90")
        ended = operator.run("remediate", operator.inventory(SLOW), *arguments)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 3, "compliant": 5})
    assert calls(simulated)[STATUS] == 3
    assert {served.key_id for served in writes(simulated)} == {key_id(n) for n in range(3)}


@waiting
def test_an_interval_is_not_sent_for_a_key_that_is_not_on(operator: Operator) -> None:
    """Where the enable was refused the interval is not sent, and the key ends with the outcome of the worse."""
    simulated = core(SLOW[:3], faults=parse_faults("refuse=KMS.0204@1"))
    with running(simulated) as url:
        arguments = ("--yes", "--endpoint", url, "--rate", "200", "--concurrency", "1", "--interval", "90")
        ended = operator.run("remediate", operator.inventory(SLOW[:3]), *arguments)
    assert (ended.exit_code, outcomes(ended.directory)) == (3, {"refused": 1, "remediated": 2})
    assert calls(simulated)[ENABLE] == 3
    assert calls(simulated)[INTERVAL] == 2
    (refused,) = [row for row in rows(ended.directory) if row["outcome"] == "refused"]
    assert (refused["action"], refused["error_code"]) == ("enable;set-interval", "KMS.0204;")


# What it costs ------------------------------------------------------------------------------------------------------


@waiting
def test_a_key_costs_one_request_and_its_share_of_the_pages(operator: Operator) -> None:
    """2,500 keys: three pages before, one request each, three pages after - and four events each in the ledger."""
    keys = [key(n) for n in range(2500)]
    simulated = core(keys)
    with running(simulated) as url:
        ended = operator.run("remediate", operator.inventory(keys), "--yes", "--endpoint", url, *FAST)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 2500})
    assert calls(simulated) == {LIST: 6, ENABLE: 2500}
    assert one_sequence_per_request(simulated)
    kinds = Counter(kind for _, kind, step, _ in events(ended.directory) if step is not None)
    assert kinds == dict.fromkeys(("intended", "sent", "answered", "read_back"), 2500)
    assert not fault(ended.directory)
    assert not (ended.directory / "ledger.sqlite3-wal").exists()


@waiting
def test_the_configured_rate_is_kept(operator: Operator) -> None:
    """At 20 requests a second a run takes at least its requests / 20, the default's promise to KMS."""
    keys = [key(n) for n in range(60)]
    simulated = core(keys)
    with running(simulated) as url:
        ended = operator.run("remediate", operator.inventory(keys), "--yes", "--endpoint", url)
    times = [served.at for served in simulated.log]
    assert ended.exit_code == 0
    assert len(times) <= 20 * (times[-1] - times[0]) + 2
    assert times[-1] - times[0] >= 60 / 20 - 0.2


@waiting
def test_the_same_id_in_two_places_is_two_keys(operator: Operator) -> None:
    """A key id that two projects have is changed in both, each with its own sequence."""
    keys = [key(1, project_id="a" * 32), key(1, project_id="b" * 32)]
    simulated = core(keys)
    with running(simulated) as url:
        ended = operator.run("remediate", operator.inventory(keys), "--yes", "--endpoint", url, *FAST)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 2})
    assert {served.project_id for served in writes(simulated)} == {"a" * 32, "b" * 32}
    assert len({row["sequence"] for row in rows(ended.directory)}) == 2


@waiting
def test_the_run_directory_is_the_owners_alone(operator: Operator) -> None:
    """Nobody else can read a run directory; its name tells when it was made."""
    ended = operator.run("remediate", operator.inventory(KEYS), "--yes", "--simulate", *FAST)
    assert ended.directory.stat().st_mode & 0o777 == 0o700
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}-simulated", ended.directory.name)
