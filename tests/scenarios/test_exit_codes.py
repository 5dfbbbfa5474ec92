"""Every exit code is reached, for its own reason; standard output carries the directory and nothing else."""

import csv
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from audit.simulator import parse_faults
from tests.command import (
    CREDENTIALS,
    FAST,
    Ended,
    Operator,
    begin,
    calls,
    digest,
    events,
    fault,
    left_behind,
    one_message,
    outcomes,
    rows,
    truthful,
    until,
    waiting,
    writes,
)
from tests.simulated import ACCESS_KEY, PROJECT, REGION, core, key, key_id, running

OTHER = "f" * 32
OFF = [key(n) for n in range(10)]
REJECTED = f"not-a-key-id,,{REGION},{PROJECT},,,,,,,,,,\n"
begun = begin()


def failed_early(ended: Ended, exit_code: int) -> bool:
    """Whether it ended before there was a run: a reason, nothing on standard output, no directory."""
    return (ended.exit_code, ended.stdout, left_behind(ended.home)) == (exit_code, "", []) and one_message(ended.stderr)


# 2: usage -----------------------------------------------------------------------------------------------------------

CONTRADICTIONS = {
    "check --simulate --endpoint https://kms.example.com {inventory}": "exclude each other",
    "check --live --endpoint http://kms.example.com {inventory}": "--endpoint 'http://kms.example.com'",
    "check --live --endpoint http://localhost {inventory}": "--endpoint",
    "check --live --endpoint https://me@kms.example.com {inventory}": "--endpoint",
    "check --live --endpoint https://me:secret@kms.example.com {inventory}": "--endpoint",
    "check --live --endpoint https://kms.example.com/v1.0 {inventory}": "--endpoint",
    "check --live --endpoint https://kms.example.com?x=y {inventory}": "--endpoint",
    "check --live --endpoint https://kms.example.com#x {inventory}": "--endpoint",
    "check --live --endpoint ftp://kms.example.com {inventory}": "--endpoint",
    "check --live --endpoint kms.example.com {inventory}": "--endpoint",
    "check --live --endpoint https://kms.example.com:70000 {inventory}": "--endpoint",
    "check --live --endpoint https://kms.example.com {regions}": "is of one region",
    "check --live {elsewhere}": "no endpoint is known for region zz-nowhere-9",
    "plan --endpoint https://kms.example.com {regions}": "is of one region",
    "plan --max-interval 180 {inventory}": "--max-interval 180 without --interval",
    "remediate --yes --max-interval 364 {inventory}": "--max-interval 364 without --interval",
    "plan --interval 181 --max-interval 180 {inventory}": "longer than --max-interval",
    "plan --interval 29 {inventory}": "30 to 365 days",
    "plan --interval 366 {inventory}": "30 to 365 days",
    "check --max-interval 29 {inventory}": "30 to 365 days",
    "check --max-interval 366 {inventory}": "30 to 365 days",
    "plan --max-changes many {inventory}": "--max-changes",
    "plan --max-changes 101% {inventory}": "--max-changes",
    "remediate {inventory}": "no terminal to ask on",
    "check -v -q {inventory}": "exclude each other",
    "check {accounts}": "all records must be of one account",
    "check --account third {account}": "all records must be of one account",
    "check --region CN_NORTH {inventory}": "--region",
    "check --project-id ../../x {inventory}": "--project-id",
    "apply nowhere --yes": "is not a run directory",
    "apply . --yes": "is not a run directory",
    "report nowhere": "is not a run directory",
    "simulator --inventory {inventory} --faults nonsense": "--faults, column 1",
}


@pytest.mark.parametrize("arguments", CONTRADICTIONS)
@waiting
def test_a_contradiction_is_a_usage_error(operator: Operator, arguments: str) -> None:
    """What contradicts itself or cannot be meant ends with 2 and one message, before anything is sent or made."""
    inventories = {
        "inventory": operator.inventory(OFF[:2]),
        "regions": operator.inventory([key(1), key(2, region="eu-de")], name="regions.csv"),
        "elsewhere": operator.inventory([key(1, region="zz-nowhere-9")], name="elsewhere.csv"),
        "account": operator.inventory([key(1, account="first")], name="account.csv"),
        "accounts": operator.inventory([key(1, account="first"), key(2, account="second")], name="accounts.csv"),
    }
    ended = operator.run(*arguments.format(**inventories).split())
    assert failed_early(ended, 2), ended
    assert CONTRADICTIONS[arguments] in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "chekc x.csv",
        "check",
        "check x.csv --no-such-option",
        "check x.csv --secret-key abc",
        "check x.csv --format pdf",
        "check x.csv --rate 0",
        "check x.csv --rate nan",
        "check x.csv --concurrency 0",
        "check x.csv --timeout 0",
        "check x.csv --max-attempts 0",
        "check x.csv --max-interval long",
        "check x.csv --log-format xml",
        "check x.csv --interval 90",
        "check x.csv --yes",
        "plan x.csv --max-failures 0",
        "plan x.csv --yes",
        "apply",
        "apply a b",
        "apply a --interval 90",
        "report",
        "simulator",
    ],
)
@waiting
def test_what_no_command_takes_is_a_usage_error(operator: Operator, arguments: str) -> None:
    """An unknown command, an option that it does not have, a value out of range: 2, and nothing on standard output."""
    ended = operator.run(*arguments.split())
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", [])
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip()


@waiting
def test_a_closed_standard_input_is_no_terminal(operator: Operator) -> None:
    """A scheduler that closes standard input is told of --yes like any other."""
    ended = operator.run("remediate", operator.inventory(OFF), "--simulate", typed=None)
    assert failed_early(ended, 2), ended
    assert "--yes" in ended.stderr


@waiting
def test_loopback_may_serve_several_regions(operator: Operator) -> None:
    """One plain endpoint serves all regions if it is on loopback: that is a simulator."""
    keys = [key(1), key(2, region="eu-de")]
    simulated = core(keys)
    with running(simulated) as url:
        ended = operator.run("check", operator.inventory(keys), "--live", "--endpoint", url, *FAST)
    assert (ended.exit_code, calls(simulated)) == (3, {"list-keys": 2})


@waiting
def test_a_check_cannot_be_applied(operator: Operator) -> None:
    """A check has no plan: apply says how to make one, and ends with 2."""
    checked = operator.run("check", operator.inventory(OFF))
    ended = operator.run("apply", checked.directory, "--yes")
    assert (ended.exit_code, ended.directory) == (2, checked.directory)
    assert "kms-rotation plan INVENTORY" in ended.stderr


@waiting
def test_apply_needs_a_terminal_or_a_word(operator: Operator) -> None:
    """Without a terminal, --yes or --approve nothing is applied."""
    planned = operator.run("plan", operator.inventory(OFF), "--simulate", *FAST)
    ended = operator.run("apply", planned.directory)
    assert (ended.exit_code, ended.directory) == (2, planned.directory)
    assert "--yes" in ended.stderr
    assert not events(planned.directory, "approved")


@waiting
def test_a_real_run_is_not_simulated_afterwards(operator: Operator) -> None:
    """--simulate cannot turn a real plan into a rehearsal."""
    simulated = core(OFF)
    with running(simulated) as url:
        planned = operator.run("plan", operator.inventory(OFF), "--endpoint", url, *FAST)
    ended = operator.run("apply", planned.directory, "--yes", "--simulate")
    assert (ended.exit_code, ended.directory) == (2, planned.directory)
    assert outcomes(planned.directory) == {"planned": 10}


@pytest.mark.parametrize("command", ["apply", "report"])
@waiting
def test_a_ledger_of_a_later_version_is_left_alone(operator: Operator, command: str) -> None:
    """A ledger that a later release wrote is neither read nor written: 2, naming the version to use."""
    planned = operator.run("plan", operator.inventory(OFF), "--simulate", *FAST)
    with closing(sqlite3.connect(planned.directory / "ledger.sqlite3")) as ledger:
        ledger.execute("PRAGMA user_version=7")
    ended = operator.run(command, planned.directory, *(["--yes"] if command == "apply" else []))
    assert ended.exit_code == 2
    assert "ledger version 7" in ended.stderr


@waiting
def test_a_new_endpoint_of_one_region_is_refused_before_the_run_is_touched(operator: Operator) -> None:
    """An endpoint given anew must serve every region of the plan; if not, the run stays as it was."""
    keys = [key(1), key(2, region="eu-de")]
    with running(core(keys)) as url:
        planned = operator.run("plan", operator.inventory(keys), "--endpoint", url, *FAST)
    before = events(planned.directory)
    ended = operator.run("apply", planned.directory, "--yes", "--endpoint", "https://kms.example.com")
    assert (ended.exit_code, ended.directory) == (2, planned.directory)
    assert events(planned.directory) == before


@waiting
def test_a_plan_that_was_never_complete_is_no_run(operator: Operator) -> None:
    """What a killed planning left can be neither applied nor reported, and is said to be no plan."""
    planned = operator.run("plan", operator.inventory(OFF), "--simulate", *FAST)
    with closing(sqlite3.connect(planned.directory / "ledger.sqlite3")) as ledger:
        ledger.executescript("DROP TRIGGER events_are_kept; DELETE FROM events; DELETE FROM run")
    for command in (("apply", "--yes"), ("report",)):
        ended = operator.run(*command, planned.directory)
        assert ended.exit_code == 2
        assert "no complete plan" in ended.stderr


@waiting
def test_a_directory_under_a_dot_is_no_run(operator: Operator) -> None:
    """A run that was killed just before it got its name is taken up by nobody: it would be cleared as left behind."""
    simulated = core(OFF)
    with running(simulated) as url:
        planned = operator.run("plan", operator.inventory(OFF), "--endpoint", url, *FAST)
        unnamed = planned.directory.rename(planned.directory.with_name("." + planned.directory.name))
        for command in (("apply", "--yes", "--endpoint", url), ("report",)):
            ended = operator.run(*command, unnamed)
            assert (ended.exit_code, ended.stdout) == (2, "")
            assert one_message(ended.stderr)
    assert not writes(simulated)
    assert left_behind(operator.home) == [unnamed.name]


# 1: the run stopped itself ------------------------------------------------------------------------------------------


NOBODY = dict.fromkeys(CREDENTIALS, "")


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("check --live", {}),
        ("check --live", {"HUAWEICLOUD_SDK_AK": "A" * 20}),
        ("plan", {"HUAWEICLOUD_SDK_SK": "s" * 40}),
        ("remediate --yes", {}),
    ],
)
@waiting
def test_without_credentials_nothing_is_sent(operator: Operator, command: str, given: dict[str, str]) -> None:
    """No access key: 1, and the variables that were looked for by name."""
    simulated = core(OFF)
    with running(simulated) as url:
        ended = operator.run(*command.split(), operator.inventory(OFF), "--endpoint", url, **{**NOBODY, **given})
    assert failed_early(ended, 1), ended
    assert all(name in ended.stderr for name in CREDENTIALS)
    assert not simulated.log


@waiting
def test_apply_without_credentials_leaves_the_run_as_it_was(operator: Operator) -> None:
    """Credentials are looked for before an interrupted or planned run is taken up."""
    with running(core(OFF)) as url:
        planned = operator.run("plan", operator.inventory(OFF), "--endpoint", url, *FAST)
    before = events(planned.directory)
    ended = operator.run("apply", planned.directory, "--yes", **NOBODY)
    assert (ended.exit_code, ended.directory) == (1, planned.directory)
    assert all(name in ended.stderr for name in CREDENTIALS)
    assert events(planned.directory) == before


@waiting
def test_a_refused_access_key_is_tried_once(operator: Operator) -> None:
    """A 401 at the first request: 1, one request in all, the access key by its last four characters, both clocks."""
    keys = [key(n, project_id=f"{n:032x}") for n in range(12)]
    simulated = core(keys)
    with running(simulated) as url:
        inventory = operator.inventory(keys)
        ended = operator.run("check", inventory, "--live", "--endpoint", url, *FAST, HUAWEICLOUD_SDK_SK="wrong" * 8)
    assert failed_early(ended, 1), ended
    assert len(simulated.log) == 1
    assert f"...{ACCESS_KEY[-4:]}" in ended.stderr
    assert "our clock says" in ended.stderr
    assert "the server's" in ended.stderr


@waiting
def test_a_run_in_use_is_left_alone(operator: Operator) -> None:
    """A second process, and a report, are refused while a run is worked on: 1, naming the holder's pid."""
    simulated = core(OFF, latency=0.3)
    with running(simulated) as url:
        planned = operator.run("plan", operator.inventory(OFF), "--endpoint", url)
        with operator.start("apply", planned.directory, "--yes", "--endpoint", url, "--rate", "5") as first:
            assert Path(first.line()) == planned.directory
            until(lambda: len(writes(simulated)) >= 2)
            second = operator.run("apply", planned.directory, "--yes", "--endpoint", url)
            report = operator.run("report", planned.directory)
            ended = first.wait()
    assert (second.exit_code, second.directory) == (1, planned.directory)
    assert f"in use by process {first.process.pid}" in second.stderr
    assert (report.exit_code, report.stdout) == (1, "")
    assert f"process {first.process.pid}" in report.stderr
    assert (ended.exit_code, len(writes(simulated))) == (0, 10)


@waiting
def test_too_many_refusals_in_a_row_end_the_run(operator: Operator) -> None:
    """--max-failures refused keys in a row: 1, the rest was not attempted, and how to go on is said."""
    keys = [key(n) for n in range(40)]
    simulated = core(keys, faults=parse_faults("refuse=KMS.0204"))
    with running(simulated) as url:
        arguments = ("--yes", "--endpoint", url, "--rate", "200", "--concurrency", "1", "--max-failures", "5")
        ended = operator.run("remediate", operator.inventory(keys), *arguments)
    told = outcomes(ended.directory)
    assert ended.exit_code == 1
    assert 5 <= told["refused"] <= 7
    assert told == {"refused": told["refused"], "not_attempted": 40 - told["refused"]}
    assert "--max-failures" in ended.stderr
    assert f"kms-rotation apply {ended.stdout.strip()}" in ended.stderr


@pytest.mark.parametrize("kind", ["permission", "policy"])
@waiting
def test_three_refusals_for_want_of_permission_end_the_run(operator: Operator, kind: str) -> None:
    """Whoever may not write is told after three keys, not after ten."""
    keys = [key(n) for n in range(30)]
    simulated = core(keys, faults=parse_faults(f"{kind}/writes"))
    with running(simulated) as url:
        arguments = ("--yes", "--endpoint", url, "--rate", "200", "--concurrency", "1")
        ended = operator.run("remediate", operator.inventory(keys), *arguments)
    told = outcomes(ended.directory)
    assert ended.exit_code == 1
    assert 3 <= told["refused"] <= 5
    assert told["refused"] + told["not_attempted"] == 30
    assert "permission" in ended.stderr
    assert not truthful(simulated, rows(ended.directory))


@waiting
def test_an_intent_that_cannot_be_written_is_not_sent(operator: Operator) -> None:
    """When the ledger cannot grow the run ends with 1; nothing was sent that is not on disk, and apply goes on."""
    keys = [key(n) for n in range(500)]
    simulated = core(keys)
    with running(simulated) as url:
        planned = operator.run("plan", operator.inventory(keys), "--endpoint", url, *FAST)
        size = (planned.directory / "ledger.sqlite3").stat().st_size
        arguments = ("apply", planned.directory, "--yes", "--endpoint", url, *FAST)
        ended = operator.run(*arguments, largest=max(size, 400_000))
        sent = {served.sequence for served in writes(simulated)}
        on_disk = {body["sequence"] for _, _, _, body in events(planned.directory, "intended")}
        assert (ended.exit_code, ended.directory) == (1, planned.directory)
        assert "cannot be written" in ended.stderr
        assert sent <= on_disk
        assert len(sent) < 500
        again = operator.run(*arguments)
    assert again.exit_code == 0
    assert not fault(planned.directory)
    assert not truthful(simulated, rows(planned.directory))


@waiting
def test_a_report_that_cannot_be_written_is_a_failure(operator: Operator) -> None:
    """A report that cannot be written: 1, though every key is in order, and the ledger is whole."""
    with running(core(OFF)) as url:
        planned = operator.run("plan", operator.inventory(OFF), "--endpoint", url, *FAST)
        (planned.directory / "report.html").unlink()
        (planned.directory / "report.html").mkdir()
        ended = operator.run("apply", planned.directory, "--yes", *FAST)
    assert (ended.exit_code, ended.directory) == (1, planned.directory)
    assert "cannot write" in ended.stderr
    assert not fault(planned.directory)
    (planned.directory / "report.html").rmdir()
    assert outcomes(operator.run("report", planned.directory).directory) == {"remediated": 10}


@waiting
def test_where_no_directory_can_be_made_nothing_is_sent(operator: Operator) -> None:
    """An output directory that cannot be: 1, before anything is read or sent."""
    simulated = core(OFF)
    inventory = operator.inventory(OFF)
    with running(simulated) as url:
        ended = operator.run("plan", inventory, "--endpoint", url, "--output-dir", f"{inventory}/runs")
    assert failed_early(ended, 1), ended
    assert not simulated.log


# 0, 3, 4: the keys --------------------------------------------------------------------------------------------------

_FULL = {"origin": "kms", "key_spec": "AES_256", "key_state": "2", "default_key_flag": "0"}
_ON = {**_FULL, "key_rotation_enabled": "true"}
_OFF = {**_FULL, "key_rotation_enabled": "false"}


VERDICTS = {
    "all on": ([_ON], 0),
    "on, imported, disabled": ([_ON, {**_OFF, "origin": "external"}, {**_OFF, "key_state": "3"}], 0),
    "one is off": ([_ON, _OFF], 3),
    "intervals within policy": ([{**_ON, "rotation_interval": "365"}, {**_ON, "rotation_interval": "364"}], 0),
    "a spec that we do not know": ([_ON, {**_OFF, "key_spec": "AES_512"}], 4),
    "a state that we do not know": ([_OFF, {**_OFF, "key_state": "9"}], 4),
    "an origin that is not stated": ([{**_ON, "origin": ""}], 4),
}


@pytest.mark.parametrize("name", VERDICTS)
@waiting
def test_the_keys_decide_how_a_check_ends(operator: Operator, name: str) -> None:
    """0 if nothing is left to do, 3 if a key does not comply, 4 if something is not known, whatever else is."""
    facts, exit_code = VERDICTS[name]
    ended = operator.run("check", operator.inventory([key(n, **one) for n, one in enumerate(facts)]))
    assert ended.exit_code == exit_code
    assert len(rows(ended.directory)) == len(facts)


@waiting
def test_a_rejected_record_outweighs_one_that_does_not_comply(operator: Operator) -> None:
    """4 comes before 3."""
    ended = operator.run("check", operator.inventory([key(1, **_OFF)], extra=REJECTED))
    assert (ended.exit_code, outcomes(ended.directory)) == (4, {"non_compliant": 1, "rejected": 1})


@pytest.mark.parametrize("command", ["plan", "remediate --dry-run"])
@waiting
def test_a_plan_ends_with_what_is_left_to_do(operator: Operator, command: str) -> None:
    """A plan with steps ends with 3, one without with 0; nothing was written."""
    for keys, expected in ((OFF, 3), ([key(1, key_rotation_enabled="true")], 0)):
        simulated = core(keys)
        with running(simulated) as url:
            ended = operator.run(*command.split(), operator.inventory(keys), "--endpoint", url, *FAST)
        assert ended.exit_code == expected
        assert ended.directory.is_dir()
        assert not writes(simulated)


@waiting
def test_all_in_order_ends_with_zero(operator: Operator) -> None:
    """Every key remediated, ineligible or blocked: 0."""
    keys = [*OFF, key(10, origin="external"), key(11, key_state="4"), key(12, key_rotation_enabled="true")]
    simulated = core(keys)
    with running(simulated) as url:
        ended = operator.run("remediate", operator.inventory(keys), "--yes", "--endpoint", url, *FAST)
    assert ended.exit_code == 0
    assert outcomes(ended.directory) == {"remediated": 10, "ineligible": 1, "blocked": 1, "compliant": 1}
    assert not truthful(simulated, rows(ended.directory))


@waiting
def test_a_missing_and_a_refused_key_leave_work(operator: Operator) -> None:
    """Missing and refused keys end with 3."""
    simulated = core(OFF[:4], faults=parse_faults("refuse=KMS.0204@2"))
    with running(simulated) as url:
        ended = operator.run("remediate", operator.inventory(OFF[:5]), "--yes", "--endpoint", url, *FAST)
    assert (ended.exit_code, outcomes(ended.directory)) == (3, {"remediated": 3, "refused": 1, "missing": 1})
    assert not truthful(simulated, rows(ended.directory))


@pytest.mark.parametrize("wrong", ["500/reads", "redirect", "refuse/reads=APIGW.0310", "refuse/reads=KMS.0321"])
@waiting
def test_a_place_that_cannot_be_read_is_not_known(operator: Operator, wrong: str) -> None:
    """A place that fails, redirects or is not ours is given up: its keys are unknown, and the run ends with 4."""
    simulated = core(OFF, faults=parse_faults(wrong))
    with running(simulated) as url:
        arguments = ("--live", "--endpoint", url, *FAST, "--max-attempts", "2")
        ended = operator.run("check", operator.inventory(OFF), *arguments)
    assert (ended.exit_code, outcomes(ended.directory)) == (4, {"unknown": 10})
    assert len(simulated.log) <= 2
    assert "1 place could not be read" in ended.stderr


@waiting
def test_a_place_where_nobody_answers_is_not_known(operator: Operator) -> None:
    """Where nothing listens the place is given up after its attempts: 4, and why is said."""
    with running(core(OFF)) as url:
        pass  # the port was there, and is no more
    arguments = ("--live", "--endpoint", url, *FAST, "--max-attempts", "2")
    ended = operator.run("check", operator.inventory(OFF), *arguments)
    assert (ended.exit_code, outcomes(ended.directory)) == (4, {"unknown": 10})
    assert "1 place could not be read" in ended.stderr
    assert all("ConnectError" in row["reason"] for row in rows(ended.directory))


# 5: a guard refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "changes", "allowed"),
    [("3", 4, False), ("4", 4, True), ("0", 1, False), ("20%", 3, True), ("20%", 4, False), ("0%", 1, False)],
)
@waiting
def test_a_plan_may_be_too_large(operator: Operator, limit: str, changes: int, allowed: bool) -> None:
    """--max-changes N or N% of the usable records (here 19), rounded down, refuses the whole plan: 5, nothing sent."""
    keys = [key(n, key_rotation_enabled="false" if n < changes else "true") for n in range(19)]
    simulated = core(keys)
    with running(simulated) as url:
        inventory = operator.inventory(keys, extra=REJECTED)
        ended = operator.run("remediate", inventory, "--yes", "--endpoint", url, *FAST, "--max-changes", limit)
    told = outcomes(ended.directory)
    assert told["rejected"] == 1
    if allowed:
        assert (ended.exit_code, told["remediated"], len(writes(simulated))) == (4, changes, changes)
    else:
        assert (ended.exit_code, told["not_attempted"], writes(simulated)) == (5, changes, [])
        assert f"--max-changes {limit}" in ended.stderr


@waiting
def test_a_larger_limit_takes_a_refused_plan_up_again(operator: Operator) -> None:
    """A plan that was too large can be applied with a larger limit."""
    ended = operator.run("remediate", operator.inventory(OFF), "--simulate", "--yes", *FAST, "--max-changes", "50%")
    assert ended.exit_code == 5
    again = operator.run("apply", ended.directory, "--yes", *FAST, "--max-changes", "9")
    assert again.exit_code == 5
    last = operator.run("apply", ended.directory, "--yes", *FAST, "--max-changes", "10")
    assert (last.exit_code, outcomes(last.directory)) == (0, {"remediated": 10})


@pytest.mark.parametrize("given", ["0" * 64, "0" * 12, "{11}", "{wrong}"])
@waiting
def test_only_the_reviewed_plan_is_applied(operator: Operator, given: str) -> None:
    """--approve with another digest, or with fewer than 12 characters of the right one: 5, nothing sent."""
    simulated = core(OFF)
    with running(simulated) as url:
        planned = operator.run("plan", operator.inventory(OFF), "--endpoint", url, *FAST)
        right = digest(planned.directory)
        given = given.replace("{11}", right[:11]).replace("{wrong}", right[:-1] + ("0" if right[-1] != "0" else "1"))
        ended = operator.run("apply", planned.directory, "--endpoint", url, *FAST, "--approve", given)
        assert (ended.exit_code, ended.directory, writes(simulated)) == (5, planned.directory, [])
        assert right in ended.stderr


def _more_steps(ledger: sqlite3.Connection) -> None:
    ledger.execute("INSERT INTO steps SELECT 99, 1, 'set-interval', 30, '00000000-0000-4000-8000-000000000000'")


def _another_interval(ledger: sqlite3.Connection) -> None:
    ledger.execute(
        "UPDATE run SET value = replace(value, '\"interval\":null', '\"interval\":30') WHERE name = 'policy'"
    )


def _another_host(ledger: sqlite3.Connection) -> None:
    ledger.execute("UPDATE run SET value = '[\"kms.example.com\"]' WHERE name = 'hosts'")


def _another_key(ledger: sqlite3.Connection) -> None:
    ledger.execute("UPDATE records SET key_id = ? WHERE n = 1", (key_id(77),))


@pytest.mark.parametrize("tamper", [_more_steps, _another_interval, _another_host, _another_key])
@waiting
def test_a_changed_plan_is_not_applied(operator: Operator, tamper: Callable[[sqlite3.Connection], None]) -> None:
    """A plan that is not the one whose digest was recorded is refused with 5, --yes or not, and nothing is sent."""
    simulated = core(OFF)
    with running(simulated) as url:
        planned = operator.run("plan", operator.inventory(OFF), "--endpoint", url, *FAST)
        asked = len(simulated.log)
        with closing(sqlite3.connect(planned.directory / "ledger.sqlite3")) as ledger, ledger:
            tamper(ledger)
        ended = operator.run("apply", planned.directory, "--yes", "--endpoint", url, *FAST)
    assert (ended.exit_code, ended.directory) == (5, planned.directory)
    assert len(simulated.log) == asked


@waiting
def test_a_broken_ledger_is_not_gone_on_with(operator: Operator) -> None:
    """Where an event or a sequence is not what was written, apply ends with 1 and sends nothing."""
    simulated = core(OFF)
    with running(simulated) as url:
        planned = operator.run("plan", operator.inventory(OFF), "--endpoint", url, *FAST)
        with closing(sqlite3.connect(planned.directory / "ledger.sqlite3")) as ledger, ledger:
            ledger.execute("UPDATE steps SET sequence = '00000000-0000-4000-8000-000000000000' WHERE number = 1")
        ended = operator.run("apply", planned.directory, "--yes", "--endpoint", url, *FAST)
    assert (ended.exit_code, ended.directory, writes(simulated)) == (1, planned.directory, [])
    assert "is not what was written" in ended.stderr


# Precedence ---------------------------------------------------------------------------------------------------------


@waiting
def test_a_stop_outweighs_what_is_not_known(operator: Operator) -> None:
    """1 comes before 4: a run that stopped itself says so, whatever its records are."""
    keys = [key(n) for n in range(20)]
    simulated = core(keys, faults=parse_faults("refuse=KMS.0204"))
    with running(simulated) as url:
        inventory = operator.inventory(keys, extra=REJECTED)
        ended = operator.run("remediate", inventory, "--yes", "--endpoint", url, *FAST, "--max-failures", "1")
    assert ended.exit_code == 1
    assert {"rejected", "refused", "not_attempted"} >= set(outcomes(ended.directory))


@waiting
def test_standard_output_names_the_directory_whatever_the_end(operator: Operator) -> None:
    """A scheduler can take $(kms-rotation ...) for the directory after 0, 3, 4 and 5 alike."""
    seen = {}
    for arguments in ("check {on}", "check {off}", "check {bad}", "plan {off} --simulate --max-changes 0"):
        inventories = {
            "on": operator.inventory([key(1, **_ON)], name="on.csv"),
            "off": operator.inventory([key(1, **_OFF)], name="off.csv"),
            "bad": operator.inventory([key(1, **_OFF)], name="bad.csv", extra=REJECTED),
        }
        ended = operator.run(*arguments.format(**inventories).split(), *(FAST if "plan" in arguments else ()))
        seen[ended.exit_code] = sorted(path.name for path in ended.directory.iterdir())
        with (ended.directory / "report.csv").open(encoding="utf-8-sig", newline="") as file:
            assert len(list(csv.reader(file))) > 1
    assert sorted(seen) == [0, 3, 4, 5]
    always = {"SHA256SUMS", "evidence.jsonl", "ledger.sqlite3", "lock", "report.csv", "report.html", "run_results.json"}
    assert all(set(names) - {"failed.csv"} == always for names in seen.values())
