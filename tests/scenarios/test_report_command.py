"""report renders again, at any time, from what was recorded; it never writes into a run directory."""

import os
import signal

import pytest

from audit.order import stamp
from tests.command import (
    FAST,
    Operator,
    begin,
    events,
    left_behind,
    one_message,
    outcomes,
    results,
    rows,
    snapshot,
    until,
    waiting,
    writes,
)
from tests.simulated import core, key, key_id, running

KEYS = [key(n) for n in range(6)]
begun = begin()


@waiting
def test_the_same_table_comes_out_again(operator: Operator) -> None:
    """A report rendered again is the same table, byte for byte, in a directory of its own."""
    ended = operator.run("plan", operator.inventory(KEYS, extra="bad,,,,,,,,,,,,,\n"), "--simulate", *FAST)
    again = operator.run("report", ended.directory)
    assert (ended.exit_code, again.exit_code) == (4, 0)
    assert again.directory.name.endswith("-report")
    assert again.directory.parent == operator.home / "runs"
    assert (again.directory / "report.csv").read_bytes() == (ended.directory / "report.csv").read_bytes()
    assert results(again.directory)["results"] == results(ended.directory)["results"]
    assert sorted(path.name for path in again.directory.iterdir()) == [
        "failed.csv", "report.csv", "report.html", "run_results.json"
    ]  # fmt: skip


@waiting
def test_a_report_ends_with_zero_whatever_the_run_says(operator: Operator) -> None:
    """The exit code of report is about the report: 0 after a run that ended with 3, 4 or 5."""
    runs = [
        operator.run("plan", operator.inventory(KEYS), "--simulate", *FAST),
        operator.run("check", operator.inventory(KEYS)),
        operator.run("plan", operator.inventory(KEYS), "--simulate", "--max-changes", "0", *FAST),
    ]
    assert [ended.exit_code for ended in runs] == [3, 4, 5]
    assert [operator.run("report", ended.directory, "--format", "csv").exit_code for ended in runs] == [0, 0, 0]


@waiting
def test_a_run_directory_is_never_written_into(operator: Operator) -> None:
    """Rendering leaves no trace in a run directory, which may be read-only, on its own medium."""
    ended = operator.run("check", operator.inventory(KEYS))
    for path in (*ended.directory.iterdir(), ended.directory):
        path.chmod(0o500 if path.is_dir() else 0o400)
    before = snapshot(ended.directory)
    again = operator.run("report", ended.directory, "--output-dir", "elsewhere")
    assert (again.exit_code, again.directory.parent) == (0, operator.home / "elsewhere")
    assert snapshot(ended.directory) == before
    assert left_behind(operator.home) == [ended.directory.name]


@waiting
def test_a_killed_run_is_reported_without_its_process(operator: Operator) -> None:
    """A run that was killed is reported as far as it came, write-ahead log and all, and is as it was afterwards."""
    keys = [key(n) for n in range(40)]
    simulated = core(keys)
    with running(simulated) as url:
        plan = operator.run("plan", operator.inventory(keys), "--endpoint", url, *FAST)
        with operator.start("apply", plan.directory, "--yes", "--endpoint", url, "--rate", "60") as started:
            until(lambda: len(writes(simulated)) >= 12)
            started.signal(signal.SIGKILL).wait()
        before = snapshot(plan.directory)
        assert "ledger.sqlite3-wal" in before
        report = operator.run("report", plan.directory)
        assert snapshot(plan.directory) == before
        answered = {step for _, _, step, _ in events(plan.directory, "answered")}
    told = outcomes(report.directory)
    assert report.exit_code == 0
    assert sum(told.values()) == 40
    assert set(told) <= {"unverified", "unknown", "not_attempted"}
    assert told["unverified"] == len(answered) > 0
    assert "without a word" in results(report.directory)["detail"]


@pytest.mark.parametrize("formats", ["csv", "html,json", "csv,html,json"])
@waiting
def test_only_the_formats_asked_for_are_written(operator: Operator, formats: str) -> None:
    """--format chooses among html, csv and json."""
    ended = operator.run("check", operator.inventory(KEYS[:1]), "--format", formats)
    names = {"csv": "report.csv", "html": "report.html", "json": "run_results.json"}
    wanted = {names[one] for one in formats.split(",")}
    always = {"SHA256SUMS", "evidence.jsonl", "ledger.sqlite3", "lock"}
    assert {path.name for path in ended.directory.iterdir()} - {"failed.csv"} == wanted | always
    again = operator.run("report", ended.directory, "--format", formats)
    assert {path.name for path in again.directory.iterdir()} - {"failed.csv"} == wanted


# Several runs -------------------------------------------------------------------------------------------------------


@waiting
def test_a_merged_report_counts_each_key_once(operator: Operator) -> None:
    """All rows of all runs in the given order, run_id last; a key counts once, as its newest run says."""
    with running(core(KEYS)) as url:
        first = operator.run("plan", operator.inventory(KEYS[:4]), "--endpoint", url, *FAST)
        until(lambda: stamp() > results(first.directory)["run"]["ended_at"])  # of one second there is no newer
        second = operator.run("remediate", operator.inventory(KEYS[2:]), "--yes", "--endpoint", url, *FAST)
    for order in ((first, second), (second, first)):
        merged = operator.run("report", *(ended.directory for ended in order))
        told, data = rows(merged.directory), results(merged.directory)
        assert merged.exit_code == 0
        assert list(told[0])[-1] == "run_id"
        assert [row["run_id"] for row in told] == [order[0].directory.name] * 4 + [order[1].directory.name] * 4
        assert data["counts"] == {**dict.fromkeys(data["counts"], 0), "planned": 2, "remediated": 4}
        assert sum(data["counts"].values()) == 6
        assert [row["key_id"] for row in told if row["run_id"] == first.directory.name] == [key_id(n) for n in range(4)]


@waiting
def test_the_newest_run_is_the_one_that_acted_last(operator: Operator) -> None:
    """A plan that was applied after a later check is the newer of the two."""
    with running(core(KEYS)) as url:
        first = operator.run("plan", operator.inventory(KEYS), "--endpoint", url, *FAST)
        until(lambda: stamp() > results(first.directory)["run"]["ended_at"])
        second = operator.run("check", operator.inventory(KEYS), "--live", "--endpoint", url, *FAST)
        before = operator.run("report", first.directory, second.directory)
        until(lambda: stamp() > results(second.directory)["run"]["ended_at"])
        operator.run("apply", first.directory, "--yes", "--endpoint", url, *FAST)
        after = operator.run("report", first.directory, second.directory)
    assert results(before.directory)["counts"]["non_compliant"] == 6
    assert results(after.directory)["counts"]["remediated"] == 6


@waiting
def test_simulated_and_real_runs_never_merge(operator: Operator) -> None:
    """A rehearsal and a real run in one report would make one look like the other: 2, nothing written."""
    simulated = operator.run("plan", operator.inventory(KEYS), "--simulate", *FAST)
    with running(core(KEYS)) as url:
        real = operator.run("plan", operator.inventory(KEYS), "--endpoint", url, *FAST)
    before = left_behind(operator.home)
    ended = operator.run("report", real.directory, simulated.directory)
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", before)
    assert simulated.directory.name in ended.stderr
    both = operator.run("report", simulated.directory, operator.run("check", "inventory.csv", "--simulate").directory)
    assert (both.exit_code, both.directory.name.endswith("-simulated-report")) == (0, True)
    assert "SIMULATED" in (both.directory / "report.html").read_text(encoding="utf-8")


@waiting
def test_a_run_is_not_merged_with_itself(operator: Operator) -> None:
    """The same run twice is a slip: 2."""
    run = operator.run("check", operator.inventory(KEYS)).directory
    ended = operator.run("report", run, run)
    assert (ended.exit_code, ended.stdout) == (2, "")


# Templates of one's own ---------------------------------------------------------------------------------------------


def _templates(operator: Operator, name: str, text: str) -> str:
    (operator.home / "mine").mkdir(exist_ok=True)
    operator.write(f"mine/{name}", text)
    return "mine"


@waiting
def test_own_templates_replace_the_packaged_ones(operator: Operator) -> None:
    """--templates DIR: those that it holds are used, the others are the packaged ones; values are escaped as ever."""
    keys = [key(1, key_alias="<script>alert(1)</script>")]
    run = operator.run("check", operator.inventory(keys)).directory
    text = "<h1>{{ view.verdict }}</h1>{% for row in view.table.rows %}{{ row.key_alias }}{% endfor %}"
    ended = operator.run("report", run, "--templates", _templates(operator, "report.html.j2", text))
    page = (ended.directory / "report.html").read_text(encoding="utf-8")
    assert ended.exit_code == 0
    assert page.startswith("<h1>")
    assert "&lt;script&gt;" in page
    assert (ended.directory / "report.csv").read_bytes() == (run / "report.csv").read_bytes()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{% for %}", "report.html.j2, line 1"),
        ("\n\n{{ view.nothing_of_the_kind }}", "report.html.j2, line 3"),
        ("{{ 1 / 0 }}", "report.html.j2, line 1"),
        ("{{ ''.__class__.__mro__ }}", "report.html.j2, line 1"),
        ("{% include '/etc/passwd' %}", "/etc/passwd"),
    ],
)
@waiting
def test_a_template_that_does_not_work_is_named(operator: Operator, text: str, told: str) -> None:
    """A template that is broken, or reaches for what is not its own, ends with 2, template and line."""
    run = operator.run("check", operator.inventory(KEYS)).directory
    ended = operator.run("report", run, "--templates", _templates(operator, "report.html.j2", text))
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", [run.name])
    assert told in ended.stderr
    assert one_message(ended.stderr)


@waiting
def test_a_folder_without_templates_is_a_slip(operator: Operator) -> None:
    """A folder that holds no template, or is not there, ends with 2."""
    run = operator.run("check", operator.inventory(KEYS)).directory
    for folder in (_templates(operator, "report.txt", ""), "nowhere"):
        ended = operator.run("report", run, "--templates", folder)
        assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", [run.name])


@waiting
def test_an_unforeseen_error_leaves_one_line_and_nothing_else(operator: Operator) -> None:
    """A template that asks for more memory than there is: 1, one line, no traceback, no half of a report."""
    run = operator.run("check", operator.inventory(KEYS)).directory
    text = "{{ 'x' * 10 ** 18 }}"
    ended = operator.run("report", run, "--templates", _templates(operator, "report.html.j2", text))
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (1, "", [run.name])
    assert one_message(ended.stderr)
    assert "MemoryError" in ended.stderr


@waiting
def test_a_report_that_cannot_be_written_says_so(operator: Operator) -> None:
    """Where no directory can be made the report ends with 1."""
    run = operator.run("check", operator.inventory(KEYS)).directory
    ended = operator.run("report", run, "--output-dir", operator.home / "inventory.csv" / "x")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert one_message(ended.stderr)


@waiting
def test_a_file_that_is_no_ledger_is_no_run(operator: Operator) -> None:
    """A folder whose ledger is something else is named, and ends with 1 or 2, never with a traceback."""
    folder = operator.home / "folder"
    folder.mkdir()
    for content in (b"", b"not a database at all" * 100, os.urandom(5000)):
        (folder / "ledger.sqlite3").write_bytes(content)
        for command in (("report",), ("apply", "--yes")):
            ended = operator.run(*command, folder)
            assert ended.exit_code in {1, 2}
            assert one_message(ended.stderr)


@waiting
def test_a_report_is_never_put_into_a_run_directory(operator: Operator) -> None:
    """--output-dir inside a run that is rendered is a usage error, and the run stays as it was."""
    ran = operator.run("plan", operator.inventory([key(1)]), "--simulate", *FAST)
    before = sorted(path.name for path in ran.directory.iterdir())
    ended = operator.run("report", ran.directory, "--output-dir", ran.directory)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert sorted(path.name for path in ran.directory.iterdir()) == before
    assert "is inside the run directory" in ended.stderr
    above = operator.run("report", "runs")
    assert (above.exit_code, above.stdout) == (2, "")
    assert "it is not a run directory" in above.stderr
