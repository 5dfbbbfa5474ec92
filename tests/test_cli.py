"""The door: commands and their help, options and the variables that set them, and what goes to which stream."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from audit import __version__
from audit.cli import _work, cli
from audit.inventory import Defaults
from audit.launch import Job, run_of
from audit.order import Order
from audit.rules import table
from audit.simulator import FAULT_KINDS
from tests.command import CREDENTIALS, FAST, SCRIPT, Operator, begin, left_behind, outcomes, results, rows, waiting
from tests.simulated import PROJECT, REGION, SECRET_KEY, core, key, running

COMMANDS = ("check", "plan", "remediate", "apply", "rollback", "report", "verify", "rules", "simulator")
STATED = {"origin": "kms", "key_spec": "AES_256", "key_state": "2", "default_key_flag": "0"}
ON = {**STATED, "key_rotation_enabled": "true"}
HEAVY = ("pandas", "httpx", "jinja2", "rich", "sqlite3", "asyncio", "h11")
begun = begin()


def options() -> Iterator[tuple[str, click.Option]]:
    """Every option of every command, with the command's name."""
    for name, command in cli.commands.items():
        yield from ((name, option) for option in command.params if isinstance(option, click.Option))


# Help ---------------------------------------------------------------------------------------------------------------


def test_the_commands_are_these() -> None:
    """Nothing is missing and nothing is hidden."""
    assert set(cli.commands) == set(COMMANDS)
    assert not [name for name, command in cli.commands.items() if command.hidden]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(operator: Operator, command: str) -> None:
    """Every command tells on standard output what it does, and what each of its options is for."""
    for option in ("--help", "-h"):
        ended = operator.run(command, option)
        assert (ended.exit_code, ended.stderr) == (0, "")
        assert ended.stdout.startswith(f"Usage: kms-rotation {command}")
        assert (cli.commands[command].help or "").split(".")[0].split("\n")[0][:30] in ended.stdout
        for name, option_ in options():
            if name == command:
                assert all(spelling in ended.stdout for spelling in option_.opts)
    assert command in operator.run("--help").stdout


def test_every_option_says_what_it_is_for() -> None:
    """No option without a help text that ends its sentence."""
    assert not [
        f"{command} {option.name}" for command, option in options() if not (option.help or "").endswith((".", ")"))
    ]


@waiting
def test_the_version_is_told(operator: Operator) -> None:
    """--version names program and version."""
    assert operator.run("--version").stdout.split() == ["kms-rotation,", "version", __version__]


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("rules",), ("check", "--help"), ("apply", "--help"), ("verify", "--help"), ("check",)],
)
@waiting
def test_help_and_rules_come_at_once(operator: Operator, arguments: tuple[str, ...]) -> None:
    """Nobody waits for the libraries of a run when all that is asked for is help, the rules, or a correction."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT), *arguments],
        env=operator.environ, cwd=operator.home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "click" in imported
    assert not imported & set(HEAVY) - _always()


def _always() -> set[str]:
    """What coverage measures with, when it does."""
    return {"sqlite3", "asyncio"} if any(name.startswith("COV") for name in os.environ) else set()


@waiting
def test_the_rules_are_printed(operator: Operator) -> None:
    """Rules is a table on standard output, one line for each rule."""
    ended = operator.run("rules")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, table() + "\n", "")
    assert len(re.findall(r"^\| [EC]\d\d \|", ended.stdout, re.MULTILINE)) == 14


# Variables ----------------------------------------------------------------------------------------------------------

NEVER = {"--yes", "--approve", "--simulate"}
OTHER_MEANING = {("simulator", "--rate")}  # what the server bears, not what the client asks


def test_every_option_has_its_variable() -> None:
    """Every option but --yes, --approve and --simulate can be set by KMS_ROTATION_<OPTION>, on every command alike."""
    for command, option in options():
        name = option.opts[0]
        if name in {"--version", "--help"}:
            continue
        named = option.envvar if isinstance(option.envvar, list) else [option.envvar]
        if name in NEVER or (command, name) in OTHER_MEANING:
            assert named == [None], (command, name)
        else:
            assert named[0] == "KMS_ROTATION_" + name.removeprefix("--").replace("-", "_").upper(), (command, name)


VARIABLES = {
    "REGION": (REGION, "region", REGION),
    "PROJECT_ID": (PROJECT, "project_id", PROJECT),
    "ACCOUNT": ("acme", "account", "acme"),
    "MAX_INTERVAL": ("180", "max_interval", 180),
    "INTERVAL": ("90", "interval", 90),
    "ENDPOINT": ("{url}", "endpoint", "{url}"),
    "RATE": ("321.5", "rate", 321.5),
    "CONCURRENCY": ("3", "concurrency", 3),
    "TIMEOUT": ("7.5", "timeout", 7.5),
    "MAX_ATTEMPTS": ("2", "max_attempts", 2),
    "MAX_CHANGES": ("50%", "max_changes", "50%"),
    "MAX_FAILURES": ("4", "max_failures", 4),
    "DRY_RUN": ("1", "dry_run", True),
    "REQUIRE_COMPLETE": ("1", "require_complete", True),
    "MAX_NEW_VERSIONS": ("7000", "max_new_versions", 7000),
    "VERSION_PRICE": ("0.72 USD", "version_price", "0.72 USD"),
    "OUTPUT_DIR": ("elsewhere", "output_dir", "elsewhere"),
    "FORMAT": ("json", "formats", ["json"]),
    "VERBOSE": ("true", "verbose", True),
    "LOG_FORMAT": ("json", "log_format", "json"),
}


@waiting
def test_a_run_can_be_set_up_by_variables_alone(operator: Operator) -> None:
    """A scheduler sets every option once, in its environment; what was taken up stands in the report's data."""
    keys = [key(n, **STATED, key_rotation_enabled="false" if n < 2 else "true") for n in range(6)]
    inventory = operator.inventory(keys, columns=["key_id"])
    with running(core(keys)) as url:
        environ = {f"KMS_ROTATION_{name}": text.replace("{url}", url) for name, (text, _, _) in VARIABLES.items()}
        ended = operator.run("remediate", inventory, **environ)
    told = results(ended.directory)["arguments"]
    wanted = {name: url if value == "{url}" else value for _, name, value in VARIABLES.values()}
    assert {name: told[name] for name in wanted} == wanted
    assert ended.directory.parent == operator.home / "elsewhere"
    assert {path.name for path in ended.directory.glob("report.*")} == set()
    assert ended.exit_code == 5  # 4 of 6 keys would change: 2 are off, 4 too slow; 50% allows 3
    assert all(json.loads(line) for line in ended.stderr.splitlines())


@pytest.mark.parametrize(
    ("variable", "value", "arguments", "exit_code"),
    [
        ("LIVE", "1", "check {inventory}", 1),
        ("SIMULATE", "1", "check {inventory}", 0),
        ("CHECK_LIVE", "1", "check {inventory}", 0),
        ("CHECK_MAX_INTERVAL", "30", "check {inventory}", 0),
        ("YES", "1", "remediate --simulate {inventory}", 2),
        ("REMEDIATE_YES", "1", "remediate --simulate {inventory}", 2),
        ("QUIET", "1", "check {inventory}", 0),
        ("TEMPLATES", "nowhere", "report nowhere-either", 2),
        ("COMPARE", "nowhere", "report nowhere-either", 2),
        ("FORMAT", "pdf", "check {inventory}", 2),
        ("RATE", "fast", "check {inventory}", 2),
        ("FAULTS", "nonsense", "simulator --inventory {inventory}", 2),
        ("PORT", "70000", "simulator --inventory {inventory}", 2),
        ("LATENCY", "-1", "simulator --inventory {inventory}", 2),
        ("LAG", "x", "simulator --inventory {inventory}", 2),
        ("INVENTORY", "nowhere.csv", "simulator", 2),
    ],
)
def test_a_variable_means_what_its_option_means(
    operator: Operator, variable: str, value: str, arguments: str, exit_code: int
) -> None:
    """A variable is taken as its option is; one that is not an option's, or is a command's, means nothing."""
    inventory = operator.inventory([key(1, **ON)])
    nobody = dict.fromkeys(CREDENTIALS, "")
    ended = operator.run(
        *arguments.format(inventory=inventory).split(), **{f"KMS_ROTATION_{variable}": value, **nobody}
    )
    assert ended.exit_code == exit_code, ended.stderr
    assert not [name for name in left_behind(operator.home) if "simulated" in name]


@waiting
def test_no_variable_approves_a_plan(operator: Operator) -> None:
    """What writes to the cloud is said on the command line or at the question, never in an environment."""
    plan = operator.run("plan", operator.inventory([key(1)]), "--simulate", *FAST)
    environ = {"KMS_ROTATION_APPROVE": results(plan.directory)["run"]["digest"], "KMS_ROTATION_YES": "1"}
    assert operator.run("apply", plan.directory, **environ).exit_code == 2
    assert outcomes(plan.directory) == {"planned": 1}


@waiting
def test_an_option_outweighs_its_variable(operator: Operator) -> None:
    """The command line has the last word; what a record states comes before both."""
    keys = [key(1, **ON), key(2, **ON, region="", project_id="", account="acme")]
    environ = {"KMS_ROTATION_REGION": "eu-de", "KMS_ROTATION_PROJECT_ID": "x", "HUAWEICLOUD_SDK_PROJECT_ID": "y"}
    ended = operator.run("check", operator.inventory(keys), "--region", "eu-nl", **environ)
    assert [(row["region"], row["project_id"]) for row in rows(ended.directory)] == [(REGION, PROJECT), ("eu-nl", "x")]
    del environ["KMS_ROTATION_PROJECT_ID"]
    ended = operator.run("check", "inventory.csv", **environ)
    assert [(row["region"], row["project_id"]) for row in rows(ended.directory)] == [(REGION, PROJECT), ("eu-de", "y")]


# Streams ------------------------------------------------------------------------------------------------------------


@waiting
def test_a_plain_run_tells_what_it_does(operator: Operator) -> None:
    """Without a terminal: the plan, plain lines, the summary, and no control sequence, even where colour is forced."""
    inventory = operator.inventory([key(n) for n in range(3)])
    ended = operator.run("remediate", inventory, "--simulate", "--yes", *FAST)
    assert "Plan: 3 keys on a SIMULATED KMS" in ended.stderr
    assert re.search(r"^ *3 +remediated ", ended.stderr, re.MULTILINE)
    assert "\x1b" not in ended.stderr
    assert key(0).key_id in ended.stderr
    forced = operator.run("plan", inventory, "--simulate", *FAST, FORCE_COLOR="1")
    assert not re.search(r"\x1b\[(\?25|\d*[AKJ])", forced.stderr)


@waiting
def test_progress_is_told_every_few_seconds(operator: Operator) -> None:
    """A run that takes longer than a few seconds says how far it is, at what rate, and how long it will take."""
    inventory = operator.inventory([key(n) for n in range(52)])
    ended = operator.run("remediate", inventory, "--simulate", "--yes", "--rate", "9")
    told = re.findall(r"^writing: (\d+)/52, [\d.]+/s, \d+ s left, 0 failed, 0 x 429$", ended.stderr, re.MULTILINE)
    assert told


@waiting
def test_the_bar_moves_on_a_terminal(operator: Operator) -> None:
    """On a terminal a bar tells phase, count, rate, failures and 429s; standard output stays the directory's."""
    with operator.at_terminal(
        "remediate", operator.inventory([key(n) for n in range(20)]), "--simulate", "--yes", "--rate", "20"
    ) as dialogue:
        dialogue.until("writing")
        dialogue.until("x 429")
        ended = dialogue.wait()
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 20})


@waiting
def test_json_lines_and_nothing_else(operator: Operator) -> None:
    """With --log-format json every line of standard error is an object: requests, plan, summary and the last word."""
    inventory = operator.inventory([key(n) for n in range(5)])
    as_json = ("--log-format", "json")
    ended = operator.run("plan", inventory, "--simulate", "-v", *as_json, *FAST)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    assert any(line.get("digest") == results(ended.directory)["run"]["digest"] for line in lines)
    assert [line["counts"]["planned"] for line in lines if "counts" in line] == [5]
    assert [line["message"].split()[0] for line in lines if line["level"] == "debug"] == ["list-keys"]
    for arguments in (
        ("check", "nowhere.csv"),
        ("plan", inventory),
        ("apply", "nowhere", "--yes"),
        ("report", "nowhere"),
    ):
        failed = operator.run(*arguments, *as_json, HUAWEICLOUD_SDK_AK="")
        assert failed.exit_code in {1, 2}
        assert all(json.loads(line)["message"] for line in failed.stderr.splitlines())


@waiting
def test_quiet_and_verbose(operator: Operator) -> None:
    """-q shows problems only; -v shows every request with its request id."""
    keys = [key(n) for n in range(3)]
    inventory = operator.inventory(keys)
    assert operator.run("plan", inventory, "--simulate", "-q", *FAST).stderr == ""
    assert "no such file" in operator.run("check", "nowhere.csv", "-q").stderr
    told = operator.run("remediate", inventory, "--simulate", "--yes", "-v", *FAST).stderr
    assert len(re.findall(r"^enable-key-rotation in \S+: done, HTTP 200 [0-9a-f]{32}$", told, re.MULTILINE)) == 3


@pytest.mark.parametrize("log_format", ["text", "json"])
@waiting
def test_a_run_does_not_end_because_nobody_reads_on(operator: Operator, log_format: str) -> None:
    """When whoever read standard error has gone, the run is carried to its end all the same, and reported."""
    inventory = operator.inventory([key(n) for n in range(3)])
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [SCRIPT, "remediate", inventory, "--simulate", "--yes", "--log-format", log_format, *FAST],
            env=operator.environ, cwd=operator.home, stdout=subprocess.PIPE, stderr=writing, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert outcomes(operator.home / done.stdout.strip()) == {"remediated": 3}


@waiting
def test_a_table_may_be_read_in_part(operator: Operator) -> None:
    """A reader of standard output that goes away leaves no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [SCRIPT, "rules"],
            env=operator.environ, cwd=operator.home, stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr


def test_an_unforeseen_error_is_kept_for_us_and_spared_the_operator(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen error in a run: 1, the directory, one line; the details are in crash.txt, without secrets."""
    operator = Operator(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUAWEICLOUD_SDK_SK", SECRET_KEY)
    inventory = operator.inventory([key(1, **ON)])
    given = {
        "simulate": False, "endpoint": None, "rate": 20, "concurrency": None, "timeout": 10, "max_attempts": 5,
        "verbose": False, "quiet": False, "log_format": "text",
    }  # fmt: skip

    def build(screen: object) -> object:
        order = Order(command="check", formats=frozenset({"csv"}), live=False)
        return run_of(order, given, screen, max_interval=365, interval=None)

    def begin(run: object) -> object:
        run.new(inventory, Defaults(), tmp_path / "runs")
        raise ZeroDivisionError(f"nobody thought of this: {SECRET_KEY}")

    with pytest.raises(SystemExit) as ended:
        _work(given, Job(build, begin))
    told = capfd.readouterr()
    directory = Path(told.out.strip())
    crash = (directory / "crash.txt").read_text(encoding="utf-8")
    assert ended.value.code == 1
    assert "ZeroDivisionError: nobody thought of this" in crash
    assert SECRET_KEY not in crash + told.err
    assert "kms-rotation: unforeseen error: ZeroDivisionError" in told.err
    assert str(directory / "crash.txt") in told.err
    assert "Traceback" not in told.err


# The simulator ------------------------------------------------------------------------------------------------------


@waiting
def test_the_simulator_serves_other_processes(operator: Operator) -> None:
    """The simulator prints its URL, holds the inventory's keys, and knows the credentials of the environment."""
    keys = [key(n) for n in range(4)]
    inventory = operator.inventory(keys, extra="bad,,,,,,,,,,,,,\n")
    with operator.simulator(inventory, "--lag", "0") as url:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        wrong = operator.run("check", inventory, "--live", "--endpoint", url, HUAWEICLOUD_SDK_SK="wrong")
        assert wrong.exit_code == 1
        ended = operator.run("remediate", inventory, "--yes", "--endpoint", url, *FAST)
        assert (ended.exit_code, outcomes(ended.directory)) == (4, {"remediated": 4, "rejected": 1})
        again = operator.run("check", inventory, "--live", "--endpoint", url, *FAST)
        assert outcomes(again.directory) == {"compliant": 4, "rejected": 1}


@waiting
def test_the_simulator_lends_credentials(operator: Operator) -> None:
    """Without credentials in the environment the simulator prints a pair of its own on standard error, to be set."""
    inventory = operator.inventory([key(1)])
    nobody = dict.fromkeys(CREDENTIALS, "")
    with operator.start("simulator", "--inventory", inventory, **nobody) as started:
        url = started.line()
        started.process.terminate()
        told = started.wait()
    lent = dict(pair.split("=") for pair in told.stderr.split())
    assert (told.exit_code, told.stdout, set(lent)) == (0, "", set(CREDENTIALS))
    assert url.startswith("http://127.0.0.1:")


@waiting
def test_the_simulator_misbehaves_on_demand(operator: Operator) -> None:
    """--faults makes a rehearsal of a bad day; what can be asked for is told by the help and by the refusal of more."""
    keys = [key(n) for n in range(10)]
    inventory = operator.inventory(keys)
    with operator.simulator(inventory, "--lag", "0", "--faults", "drop-after/writes@2,throttle:.1") as url:
        ended = operator.run("remediate", inventory, "--yes", "--endpoint", url, *FAST)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 10})
    asked = operator.run("simulator", "--inventory", inventory, "--faults", "thunder")
    told = operator.run("simulator", "--help")
    assert (asked.exit_code, told.exit_code) == (2, 0)
    assert all(kind in asked.stderr and kind in told.stdout for kind in FAULT_KINDS)


@waiting
def test_the_simulator_takes_a_place_for_records_without_one(operator: Operator) -> None:
    """--region and --project-id, or their variables, say where keys are whose records do not."""
    inventory = operator.inventory([key(1)], columns=["key_id"])
    environ = {"KMS_ROTATION_REGION": REGION, "HUAWEICLOUD_SDK_PROJECT_ID": PROJECT}
    with operator.simulator(inventory, **environ) as url:
        ended = operator.run("check", inventory, "--live", "--endpoint", url, *FAST, **environ)
    assert (ended.exit_code, outcomes(ended.directory)) == (3, {"non_compliant": 1})


@waiting
def test_a_port_that_is_taken_is_said(operator: Operator) -> None:
    """Two simulators on one port: the second ends with 2."""
    inventory = operator.inventory([key(1)])
    with operator.simulator(inventory) as url:
        second = operator.run("simulator", "--inventory", inventory, "--port", url.rpartition(":")[2])
    assert (second.exit_code, second.stdout) == (2, "")
    assert "cannot listen" in second.stderr
