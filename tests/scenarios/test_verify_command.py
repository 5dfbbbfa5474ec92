"""verify at the console: what stands on which stream, which runs it takes, who signed, and what apply leaves for it."""

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from audit.evidence import SUMS
from tests.command import FAST, Ended, Operator, begin, events, one_message, outcomes, rows, snapshot, until, waiting
from tests.evidence import allow, altered, checks, in_ledger, new_key, remake_sums, told
from tests.simulated import core, key, running

KEYS = [key(n) for n in range(6)]
SIGNATURE = f"{SUMS}.sig"
begun = begin()


def verified(operator: Operator, directory: Path, *arguments: object) -> Ended:
    """A verification, told as JSON."""
    return operator.run("verify", directory, "--log-format", "json", *arguments)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def sha256sum(directory: Path) -> bool:
    """Whether the tool that everybody has takes the sums."""
    argv = ["sha256sum", "--check", "--strict", "--quiet", SUMS]
    return subprocess.run(argv, cwd=directory, check=False).returncode == 0


# What is printed ----------------------------------------------------------------------------------------------------


@waiting
def test_one_word_and_an_exit_code(operator: Operator) -> None:
    """Standard output is one word for scripts, standard error a line for each check; -q says problems only."""
    run = operator.run("check", operator.inventory(KEYS)).directory
    ended = operator.run("verify", run)
    assert (ended.exit_code, ended.stdout) == (0, "intact\n")
    assert [line.split()[0] for line in ended.stderr.splitlines()] == [
        "sums", "chain", "evidence", "reports", "signature", "result"
    ]  # fmt: skip
    assert operator.run("verify", run, "-q").stderr == ""
    (run / "report.csv").write_bytes((run / "report.csv").read_bytes().replace(b"unknown", b"compliant"))
    for quiet in ((), ("-q",)):
        ended = operator.run("verify", run, *quiet)
        assert (ended.exit_code, ended.stdout) == (1, "altered\n")
        assert "report.csv was changed after it was summed up" in ended.stderr
        assert "report.csv, line 2, key" in ended.stderr
        assert ended.stderr.splitlines()[-1] == f"{'result':<9} {'altered':<9} altered or damaged: sums, reports"
    (run / SUMS).unlink()
    (run / "report.csv").unlink()
    ended = operator.run("verify", run, "--log-format", "json")
    assert (ended.exit_code, ended.stdout) == (1, "unchecked\n")
    assert told(checks(ended), "result").endswith("but not all could be: sums, reports, signature")


@waiting
def test_what_is_no_run_is_a_usage_error(operator: Operator) -> None:
    """No run directory, no such file of signers, a signer alone: 2, one message, nothing on standard output."""
    run = operator.run("check", operator.inventory(KEYS)).directory
    for arguments in (("runs",), ("nowhere",), (run, "--allowed-signers", "nobody"), (run, "--signer", "me")):
        ended = operator.run("verify", *arguments)
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert one_message(ended.stderr)


# Every kind of run --------------------------------------------------------------------------------------------------

KINDS = {
    "a check": ("check", "{inventory}"),
    "a live check": ("check", "{inventory}", "--live", "--endpoint", "{url}"),
    "a plan": ("plan", "{inventory}", "--endpoint", "{url}"),
    "a refused plan": ("plan", "{inventory}", "--endpoint", "{url}", "--max-changes", "0"),
    "a finished run": ("remediate", "{inventory}", "--yes", "--endpoint", "{url}"),
    "a simulated run": ("remediate", "{inventory}", "--yes", "--simulate"),
    "csv alone": ("check", "{inventory}", "--format", "csv"),
}


@pytest.mark.parametrize("kind", KINDS)
@waiting
def test_every_run_is_intact_when_it_ends(operator: Operator, kind: str) -> None:
    """Whatever the command, a run that ended by itself is intact, and sha256sum says so too."""
    with running(core(KEYS)) as url:
        inventory = operator.inventory(KEYS, extra="bad,,,,,,,,,,,,,\n")
        arguments = [part.format(inventory=inventory, url=url) for part in KINDS[kind]]
        run = operator.run(*arguments, *(FAST if len(arguments) > 3 else ())).directory
    ended = verified(operator, run)
    assert (ended.exit_code, ended.stdout) == (0, "intact\n"), ended.stderr
    assert sha256sum(run)
    assert names(run) - set((run / SUMS).read_text().split()) == {SUMS, "lock"}


@waiting
def test_an_interrupted_run_is_intact_and_so_is_its_end(operator: Operator) -> None:
    """Ctrl-C leaves whole evidence; apply keeps the sums of before as history, and ends with whole evidence too."""
    keys = [key(n) for n in range(60)]
    simulated = core(keys, latency=0.02)
    with running(simulated) as url:
        inventory = operator.inventory(keys)
        with operator.start("remediate", inventory, "--yes", "--endpoint", url, "--rate", "60") as started:
            until(lambda: simulated.log and simulated.log[-1].operation == "enable-key-rotation")
            interrupted = started.signal(signal.SIGINT).wait()
        run = interrupted.directory
        assert interrupted.exit_code == 130
        assert verified(operator, run).stdout == "intact\n"
        first = (run / SUMS).read_bytes()
        ended = operator.run("apply", run, "--yes", "--endpoint", url, *FAST)
        assert ended.exit_code == 0
        assert (run / f"{SUMS}.1").read_bytes() == first
        after = verified(operator, run)
        assert after.stdout == "intact\n", after.stderr
        assert "the sums of 1 earlier process are kept, as history" in told(checks(after), "sums")
    (run / f"{SUMS}.1").unlink()
    assert f"{SUMS}.1 is listed and not there" in told(checks(verified(operator, run)), "sums")


# Killed -------------------------------------------------------------------------------------------------------------


@waiting
def test_a_killed_run_has_no_sums_and_apply_makes_them(operator: Operator) -> None:
    """Kill -9 leaves no sums, which is said and is not called tampering; apply finishes the run and makes them."""
    keys = [key(n) for n in range(40)]
    simulated = core(keys)
    with running(simulated) as url:
        run = operator.run("plan", operator.inventory(keys), "--endpoint", url, *FAST).directory
        with operator.start("apply", run, "--yes", "--endpoint", url, "--rate", "60") as started:
            until(lambda: sum(served.operation == "enable-key-rotation" for served in list(simulated.log)) >= 8)
            assert SUMS not in names(run)
            started.signal(signal.SIGKILL).wait()
        assert SUMS not in names(run)
        before = snapshot(run)
        killed = verified(operator, run)
        assert snapshot(run) == before
        assert (killed.exit_code, killed.stdout) == (1, "unchecked\n"), killed.stderr
        found = checks(killed)
        assert not altered(found)
        assert "the last process was killed" in told(found, "sums")
        assert "it is of an earlier process" in told(found, "evidence")
        assert "report.csv is what an earlier process wrote" in told(found, "reports")
        assert operator.run("apply", run, "--yes", "--endpoint", url, *FAST).exit_code == 0
    assert {SUMS, f"{SUMS}.1"} <= names(run)
    assert verified(operator, run).stdout == "intact\n"


@waiting
def test_a_report_altered_in_a_killed_run_is_found(operator: Operator) -> None:
    """Without sums, the reports of an earlier process are held against the sums that were kept."""
    with running(core(KEYS)) as url:
        run = operator.run("plan", operator.inventory(KEYS), "--endpoint", url, *FAST).directory
    (run / SUMS).rename(run / f"{SUMS}.1")
    in_ledger(run, "INSERT INTO events SELECT MAX(id) + 1, at, 'started', NULL, '{}', '' FROM events;")
    assert "report.html is what an earlier process wrote" in told(checks(verified(operator, run)), "reports")
    (run / "report.html").write_bytes(b"")
    (run / "report.csv").write_bytes((run / "report.csv").read_bytes().replace(b"planned", b"missing"))
    found = checks(verified(operator, run))
    assert "report.csv, line 2, key" in told(found, "reports")
    assert "report.html is what" not in told(found, "reports")


@waiting
def test_a_run_killed_at_its_reports_is_completed(operator: Operator) -> None:
    """A finished run without sums gets reports, evidence and sums from its ledger; one with sums is left alone."""
    with running(core(KEYS)) as url:
        inventory = operator.inventory(KEYS)
        arguments = ("--yes", "--endpoint", url, *FAST, "--format", "csv,json")
        run = operator.run("remediate", inventory, *arguments).directory
    whole, told_ = names(run), events(run)
    for name in (SUMS, "evidence.jsonl", "report.csv"):
        (run / name).unlink()
    (run / ".run_results.json.draft").touch()
    ended = operator.run("apply", run, "--yes")
    assert (ended.exit_code, ended.directory) == (0, run)
    assert "reports, evidence and sums were written now" in ended.stderr
    assert (names(run), events(run)) == (whole, told_)
    assert len(rows(run)) == 6
    assert verified(operator, run).stdout == "intact\n"
    before = snapshot(run)
    assert "reports, evidence" not in operator.run("apply", run, "--yes").stderr
    assert {name: what for name, what in snapshot(run).items() if name != "lock"} == {
        name: what for name, what in before.items() if name != "lock"
    }


@waiting
def test_a_ledger_that_is_not_what_was_written_gets_no_new_sums(operator: Operator) -> None:
    """Apply proves the chain before it completes a finished run: no sums are put under a changed ledger."""
    run = operator.run("remediate", operator.inventory(KEYS), "--yes", "--simulate", *FAST).directory
    (run / SUMS).unlink()
    in_ledger(run, "UPDATE events SET at = '2026-01-01T00:00:00Z' WHERE id = 9;")
    ended = operator.run("apply", run, "--yes")
    assert (ended.exit_code, SUMS in names(run)) == (1, False)
    assert "event 9 was changed after it was written" in ended.stderr


@waiting
def test_a_ledger_that_cannot_be_written_keeps_its_sums(operator: Operator) -> None:
    """Where apply cannot open the ledger for writing, nothing is sent, and there are sums as before."""
    run = operator.run("plan", operator.inventory(KEYS), "--simulate", *FAST).directory
    (run / "ledger.sqlite3-shm").mkdir()
    ended = operator.run("apply", run, "--yes", *FAST)
    assert ended.exit_code == 1
    assert {SUMS, f"{SUMS}.1"} <= names(run)
    (run / "ledger.sqlite3-shm").rmdir()
    assert verified(operator, run).stdout == "intact\n"


@waiting
def test_nothing_is_waited_for(operator: Operator) -> None:
    """A pipe in the place of any file is named, and not read."""
    for name in ("report.csv", "evidence.jsonl", SUMS, SIGNATURE):
        run = operator.run("check", operator.inventory(KEYS), "-q").directory
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)
        ended = verified(operator, run)
        assert (ended.exit_code, ended.stdout) == (1, "altered\n")
        assert "no plain file" in ended.stderr


@waiting
def test_a_full_disk_leaves_sums_over_what_is_there(operator: Operator) -> None:
    """Where a report could not be written the run ends with 1; evidence and sums cover what is there all the same."""
    inventory = operator.inventory([key(n, key_alias="<" * 200) for n in range(100)])  # longer in a page than anywhere
    sizes = {path.name: path.stat().st_size for path in operator.run("check", inventory).directory.iterdir()}
    page = sizes.pop("report.html")
    assert max(sizes.values()) < page
    ended = operator.run("check", inventory, largest=page - 1)
    assert ended.exit_code == 1, ended.stderr
    assert "cannot write" in ended.stderr
    assert sha256sum(ended.directory)
    after = verified(operator, ended.directory)
    assert (after.stdout, altered(checks(after))) == ("unchecked\n", set()), after.stderr
    assert "it was not written, or was taken away" in told(checks(after), "reports")


@waiting
def test_a_read_only_run_is_verified_and_left_as_it_is(operator: Operator) -> None:
    """On a read-only copy, without a lock file even, verify works and leaves no trace."""
    run = operator.run("check", operator.inventory(KEYS)).directory
    (run / "lock").unlink()
    for path in (*run.iterdir(), run):
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    before = snapshot(run)
    assert verified(operator, run).stdout == "intact\n"
    assert snapshot(run) == before
    run.chmod(0o700)


@waiting
def test_a_run_at_work_is_not_verified(operator: Operator) -> None:
    """While a process works in the directory verify says so, and nothing else."""
    keys = [key(n) for n in range(60)]
    with running(core(keys, latency=0.05)) as url:
        run = operator.run("plan", operator.inventory(keys), "--endpoint", url, *FAST).directory
        with operator.start("apply", run, "--yes", "--endpoint", url, "--rate", "30") as started:
            until(lambda: SUMS not in names(run))
            ended = operator.run("verify", run)
            started.signal(signal.SIGINT).wait()
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "is in use by process" in ended.stderr


# Signed -------------------------------------------------------------------------------------------------------------


def signed(operator: Operator, key: object, *more: str) -> Ended:
    return operator.run("check", operator.inventory(KEYS), "--sign-key", key, *more)


@waiting
def test_a_signature_says_who(operator: Operator) -> None:
    """Signed with a key that is allowed: intact, with identity and fingerprint; ssh-keygen alone agrees."""
    mine = new_key(operator.home, "mine")
    signers, others = allow(operator.home, mine), allow(operator.home, new_key(operator.home, "other"))
    run = signed(operator, "mine").directory
    assert (verified(operator, run).stdout, sha256sum(run)) == ("intact\n", True)
    ended = verified(operator, run, "--allowed-signers", signers)
    assert ended.stdout == "intact\n"
    assert "good signature by auditor@example.com, ED25519 key SHA256:" in told(checks(ended), "signature")
    assert verified(operator, run, "--allowed-signers", signers, "--signer", "auditor@example.com").exit_code == 0
    for arguments in ((signers, "--signer", "boss@example.com"), (others,)):
        ended = verified(operator, run, "--allowed-signers", *arguments)
        assert (ended.stdout, altered(checks(ended))) == ("altered\n", {"signature"})
    several = allow(operator.home, mine, "boss@example.com,auditor@example.com")
    assert verified(operator, run, "--allowed-signers", several).stdout == "intact\n"
    argv = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "auditor@example.com", "-n", "kms-rotation", "-s"]
    with (run / SUMS).open("rb") as sums:
        assert subprocess.run([*argv, run / SIGNATURE], stdin=sums, check=False).returncode == 0


@waiting
def test_a_signature_for_something_else_is_none(operator: Operator) -> None:
    """Another namespace, another key, sums that were made anew after signing: each is altered."""
    mine, other = new_key(operator.home, "mine"), new_key(operator.home, "other")
    signers = allow(operator.home, mine)
    run = signed(operator, "mine").directory
    for who, namespace, good in ((mine, "file", False), (other, "kms-rotation", False), (mine, "kms-rotation", True)):
        (run / SIGNATURE).unlink()
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", who, "-n", namespace, run / SUMS]
        subprocess.run(argv, check=True, capture_output=True)
        ended = verified(operator, run, "--allowed-signers", signers)
        assert ended.exit_code == (0 if good else 1)
        assert altered(checks(ended)) == (set() if good else {"signature"})
    (run / "crash.txt").write_text("added", encoding="utf-8")
    remake_sums(run)
    ended = verified(operator, run)
    assert (ended.stdout, altered(checks(ended))) == ("altered\n", {"signature"})
    assert "not over these sums" in told(checks(ended), "signature")


@waiting
def test_apply_signs_and_keeps_the_signature_of_before(operator: Operator) -> None:
    """The signature of the plan stays with the sums that it is over; the new sums have their own."""
    mine = new_key(operator.home, "mine")
    signers = allow(operator.home, mine)
    plan = operator.run("plan", operator.inventory(KEYS), "--simulate", *FAST, "--sign-key", mine)
    run, first = plan.directory, {name: (plan.directory / name).read_bytes() for name in (SUMS, SIGNATURE)}
    assert operator.run("apply", run, "--yes", *FAST, KMS_ROTATION_SIGN_KEY=str(mine)).exit_code == 0
    assert {SUMS: (run / f"{SUMS}.1").read_bytes(), SIGNATURE: (run / f"{SUMS}.1.sig").read_bytes()} == first
    assert verified(operator, run, "--allowed-signers", signers).stdout == "intact\n"
    assert outcomes(run) == {"remediated": 6}


@waiting
def test_what_cannot_sign_is_refused_before_anything_is_read(operator: Operator) -> None:
    """No such key, or no ssh-keygen: 2 before the inventory is opened, with what to do."""
    tools = operator.home / "tools"
    tools.mkdir()
    new_key(operator.home, "mine")
    ended = operator.run("check", "nowhere.csv", "--sign-key", "absent")
    assert (ended.exit_code, ended.stdout, one_message(ended.stderr)) == (2, "", True)
    assert "--sign-key absent cannot be read: No such file" in ended.stderr
    ended = operator.run("check", "nowhere.csv", "--sign-key", "mine", PATH=str(tools))
    assert (ended.exit_code, one_message(ended.stderr)) == (2, True)
    assert "apt-get install openssh-client" in ended.stderr
    run = signed(operator, "mine").directory
    ended = operator.run("verify", run, PATH=str(tools))
    assert (ended.exit_code, ended.stdout) == (1, "unchecked\n")
    assert "cannot be checked without ssh-keygen" in ended.stderr


@waiting
def test_a_signature_that_fails_is_the_end_of_a_whole_run(operator: Operator) -> None:
    """A key with a passphrase and nobody to ask: exit 1 with the command that signs by hand; all else is written."""
    new_key(operator.home, "locked", "a passphrase")
    ended = signed(operator, "locked")
    assert ended.exit_code == 1
    assert "the sums are not signed: ssh-keygen: " in ended.stderr
    by_hand = f"ssh-keygen -Y sign -f locked -n kms-rotation {ended.directory.relative_to(operator.home)}/{SUMS}"
    assert f"to sign them: {by_hand}" in ended.stderr
    assert "6  records" in ended.stderr
    assert sha256sum(ended.directory)
    told_ = checks(verified(operator, ended.directory))
    assert told_["signature"][0] == told_["result"][0] == "unchecked"


@waiting
def test_a_passphrase_is_asked_for_at_the_terminal(operator: Operator) -> None:
    """Where there is a terminal ssh-keygen asks there, and signs with what is typed."""
    mine = new_key(operator.home, "locked", "a passphrase")
    signers = allow(operator.home, mine)
    with operator.at_terminal("check", operator.inventory(KEYS), "--sign-key", "locked") as dialogue:
        dialogue.until("passphrase")
        dialogue.type("a passphrase\n")
        ended = dialogue.wait()
    assert ended.exit_code == 4, ended.stderr
    assert verified(operator, ended.directory, "--allowed-signers", signers).stdout == "intact\n"


@waiting
def test_the_agent_signs_for_a_public_key(operator: Operator) -> None:
    """With an agent the public half is enough: no private key need lie where the job runs."""
    mine = new_key(operator.home, "mine")
    signers, socket = allow(operator.home, mine), str(operator.home / "agent")
    serve = ["ssh-agent", "-D", "-a", socket]
    agent = subprocess.Popen(serve, stdout=subprocess.DEVNULL)
    try:
        until((operator.home / "agent").exists)
        add = ["ssh-add", "-q", mine]
        subprocess.run(add, env={**operator.environ, "SSH_AUTH_SOCK": socket}, check=True)
        shutil.move(mine, operator.home / "gone")
        ended = signed(operator, "mine.pub", "-q")
        assert ended.exit_code == 1
        ended = operator.run(
            "check", operator.inventory(KEYS), "--sign-key", "mine.pub", SSH_AUTH_SOCK=socket
        )  # fmt: skip
    finally:
        agent.terminate()
        agent.wait()
    assert ended.exit_code == 4, ended.stderr
    assert verified(operator, ended.directory, "--allowed-signers", signers).stdout == "intact\n"
