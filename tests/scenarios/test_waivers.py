"""Waivers from the file to the report: what is left alone, who said so, and that nothing is written to it."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit.assess import load
from audit.halt import Halt
from audit.inventory import Defaults, open_inventory
from audit.ledger import Ledger
from audit.model import Facts, Place, Policy
from audit.plan import digest as digest_of
from audit.plan import make
from audit.replay import Replay
from audit.scrub import Scrubber
from audit.tables import Event, EventKind, RecordRow
from audit.verdict import Eligible, Finding
from audit.waiver import COLUMNS, Waiver, Waivers
from tests.command import (
    FAST,
    STATUS,
    Ended,
    Operator,
    begin,
    calls,
    digest,
    events,
    left_behind,
    one_message,
    outcomes,
    results,
    rows,
    waiting,
    writes,
)
from tests.simulated import PROJECT, REGION, core, key, key_id, running

EXAMPLE = Path(__file__).parents[2] / "inventory.example.csv"
WAIVERS = EXAMPLE.with_name("waivers.example.csv")
KEYS = [key(n, key_alias=f"app/{n}") for n in range(6)]
STATED = {"origin": "kms", "key_spec": "AES_256", "key_state": "2", "default_key_flag": "0"}
begun = begin()


def day(days: int) -> str:
    """So many days from now, in UTC."""
    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"


def waivers(operator: Operator, *stated: dict[str, str], name: str = "waivers.csv") -> str:
    """A file of waivers, each valid for a year unless it says otherwise. Returns its name."""
    default = {"reason": "being replaced", "approver": "A. Meier", "ticket": "SEC-7", "expires": day(365)}
    lines = [",".join({**dict.fromkeys(COLUMNS, ""), **default, **one}.values()) for one in stated]
    return operator.write(name, "\n".join([",".join(COLUMNS), *lines, ""]))


def planned(operator: Operator, url: str, file: str, *arguments: object) -> Ended:
    """A plan with these waivers."""
    return operator.run("plan", operator.inventory(KEYS), "--waivers", file, "--endpoint", url, *FAST, *arguments)


def reasons(directory: Path) -> dict[str, str]:
    """The reason of every row, by key id."""
    return {row["key_id"]: row["reason"] for row in rows(directory)}


# What is left alone -------------------------------------------------------------------------------------------------


@waiting
def test_offline_a_waiver_stands_in_the_report(operator: Operator) -> None:
    """Check judges with waivers too: exit code 0, the rules that match all the same, and nothing in failed.csv."""
    keys = [key(n, **STATED, key_rotation_enabled="false", key_alias=f"app/{n}") for n in range(2)]
    file = waivers(operator, {"key_id": key_id(0).upper(), "rule": "C01"}, {"key_alias": "*/1", "ticket": ""})
    ended = operator.run("check", operator.inventory(keys), "--waivers", file)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"waived": 2})
    assert [row["rules"] for row in rows(ended.directory)] == ["C01", "C01"]
    year = day(365)
    assert reasons(ended.directory) == {
        key_id(0): f"waiver of line 2, valid until {year}: being replaced; approved by A. Meier, ticket SEC-7; waives "
        "C01 (rotation is off)",
        key_id(1): f"waiver of line 3, valid until {year}: being replaced; approved by A. Meier; waives "
        "C01 (rotation is off)",
    }
    assert not (ended.directory / "failed.csv").exists()
    assert "2 waived" in results(ended.directory)["detail"]
    page = (ended.directory / "report.html").read_text("utf-8")
    aside = page[page.index('<section id="cannot"') : page.index('<section id="checking"')]
    assert "an unexpired waiver covers it" in aside
    assert "has rotation off" not in aside  # under a rule it would be taken for a key that cannot rotate


@waiting
def test_a_waiver_comes_second(operator: Operator) -> None:
    """An ineligible key stays so, a compliant one too, and of what is left only what a waiver covers is waived."""
    kinds = [
        {"origin": "external"}, {"key_rotation_enabled": "true"}, {"key_state": "3"}, {"key_state": "9"},
        {"origin": ""}, {}, {"key_alias": "other"},
    ]  # fmt: skip
    keys = [key(n, **{**STATED, "key_rotation_enabled": "false", "key_alias": "app", **k}) for n, k in enumerate(kinds)]
    ended = operator.run("check", operator.inventory(keys), "--waivers", waivers(operator, {"key_alias": "app"}))
    expected = ["ineligible", "compliant", "waived", "waived", "waived", "waived", "non_compliant"]
    assert (ended.exit_code, [row["outcome"] for row in rows(ended.directory)]) == (3, expected)


@waiting
def test_the_example_of_waivers_fits_the_example_of_an_inventory(operator: Operator) -> None:
    """It waives two keys of the example, and shows what an expired waiver comes to."""
    ended = operator.run("check", EXAMPLE, "--waivers", WAIVERS)
    assert (ended.exit_code, outcomes(ended.directory)["waived"]) == (4, 2)
    told = results(ended.directory)["waivers"]
    assert [(one["line"], one["standing"], one["records"]) for one in told] == [
        (2, "in force", 1), (3, "in force", 1), (4, "expired", 0),
    ]  # fmt: skip


@waiting
def test_a_waived_key_is_not_written_to(operator: Operator) -> None:
    """Remediate leaves it alone, and the others are switched on; a simulated run does the same."""
    file = waivers(operator, {"key_id": key_id(2)}, {"key_alias": "app/[3]"}, {"key_alias": "app/4", "region": "cn-*"})
    simulated = core(KEYS)
    with running(simulated) as url:
        real = operator.run(
            "remediate", operator.inventory(KEYS), "--yes", "--endpoint", url, *FAST, KMS_ROTATION_WAIVERS=file
        )
    rehearsed = operator.run("remediate", "inventory.csv", "--yes", "--simulate", "--waivers", file, *FAST)
    for ended in (real, rehearsed):
        assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 4, "waived": 2})
    assert {served.key_id for served in writes(simulated)} == {key_id(n) for n in (0, 1, 3, 5)}


@waiting
def test_live_the_alias_of_the_report_is_matched(operator: Operator) -> None:
    """What the inventory states of an alias counts, else what KMS says: as the row shows it."""
    held = [key(n, key_alias=f"kms/{n}") for n in range(3)]
    lines = [f"{key_id(0)},mine/0", f"{key_id(1)},", f"{key_id(2)},kms/x"]
    inventory = operator.write("ids.csv", "\n".join(["key_id,key_alias", *lines, ""]))
    where = ("--region", REGION, "--project-id", PROJECT)
    with running(core(held)) as url:
        ended = operator.run(
            "check", inventory, "--live", "--endpoint", url, *where, *FAST,
            "--waivers", waivers(operator, {"key_alias": "kms/?"}),
        )  # fmt: skip
    shown = {row["key_alias"]: row["outcome"] for row in rows(ended.directory)}
    assert shown == {"mine/0": "non_compliant", "kms/1": "waived", "kms/x": "waived"}


@waiting
def test_an_interval_is_read_before_a_waiver_is_needed(operator: Operator) -> None:
    """A key of which only the interval is unknown is asked for it: if it is in order, there is nothing to waive."""
    on = {**STATED, "key_rotation_enabled": "true"}
    held = [key(1, **on, rotation_interval="90"), key(2, **on, rotation_interval="365"), key(3, **on)]
    file = waivers(operator, {"region": REGION})
    simulated = core(held[:2])
    with running(simulated) as url:
        arguments = ("--live", "--max-interval", 90, "--endpoint", url, *FAST, "--waivers", file)
        ended = operator.run("check", operator.inventory(held), *arguments)
    assert [row["outcome"] for row in rows(ended.directory)] == ["compliant", "waived", "missing"]
    assert calls(simulated)[STATUS] == 2
    assert results(ended.directory)["waivers"][0]["records"] == 1


# Plan and apply -----------------------------------------------------------------------------------------------------


@waiting
def test_a_plan_is_applied_with_its_own_waivers(operator: Operator) -> None:
    """The waived key has no step, the file is not read again, and the digest that was reviewed is that of the run."""
    file = waivers(operator, {"key_id": key_id(1), "rule": "C01"})
    simulated = core(KEYS)
    with running(simulated) as url:
        plan = planned(operator, url, file)
        assert (plan.exit_code, outcomes(plan.directory)) == (3, {"planned": 5, "waived": 1})
        assert "1 waived" in plan.stderr
        operator.write(file, "no waivers any more")
        ended = operator.run(
            "apply", plan.directory, "--approve", digest(plan.directory), "--endpoint", url, *FAST,
            KMS_ROTATION_WAIVERS=file,
        )  # fmt: skip
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": 5, "waived": 1})
    assert key_id(1) not in {served.key_id for served in writes(simulated)}
    assert "expired since" not in ended.stderr


@waiting
def test_the_digest_is_of_the_waivers_too(operator: Operator) -> None:
    """The same file gives the same digest, in any order of lines; any other gives another, used or not."""
    one, two = {"key_id": key_id(1)}, {"key_alias": "absent"}
    files = [(one, two), (two, one), (one,), (one, {**two, "approver": "B. Meier"}), ()]
    with running(core(KEYS)) as url:
        plain = operator.run("plan", operator.inventory(KEYS), "--endpoint", url, *FAST)
        plans = [planned(operator, url, waivers(operator, *stated)) for stated in (files[0], *files)]
    digests = [digest(plan.directory) for plan in plans]
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests[2:])) == 4
    assert digests[-1] == digest(plain.directory)


@waiting
def test_what_a_new_walk_shows_may_be_waived(operator: Operator) -> None:
    """A key whose alias meanwhile matches a waiver, or whose finding now is one that is waived, loses its step."""
    inventory = operator.write("ids.csv", "\n".join(["key_id", *map(key_id, range(3)), ""]))
    file = waivers(operator, {"key_alias": "legacy/*"}, {"region": "cn-*", "rule": "E08"})
    where = ("--region", REGION, "--project-id", PROJECT)
    with running(core(KEYS[:3])) as url:
        plan = operator.run("plan", inventory, *where, "--waivers", file, "--endpoint", url, *FAST)
        assert outcomes(plan.directory) == {"planned": 3}
    simulated = core([key(0, key_alias="legacy/0"), key(1, key_alias="app/1", key_state="3"), KEYS[2]])
    with running(simulated) as url:
        ended = operator.run("apply", plan.directory, "--yes", "--endpoint", url, *FAST)
    assert (ended.exit_code, [row["outcome"] for row in rows(ended.directory)]) == (
        0, ["waived", "waived", "remediated"],
    )  # fmt: skip
    assert [served.key_id for served in writes(simulated)] == [key_id(2)]
    assert [one["records"] for one in results(ended.directory)["waivers"]] == [1, 1]
    assert reasons(ended.directory)[key_id(1)].endswith("waives E08 (key is disabled)")


def made_before(operator: Operator, held: Waivers) -> Path:
    """A plan of two keys that was made on the day of these waivers, the first of which is waived by the first one."""
    home, policy = Place("", REGION, PROJECT), Policy()
    directory = operator.home / "runs" / "20260101T000000Z-0a0b0c-simulated"
    directory.mkdir(parents=True)
    text = f"key_id,region,project_id\n{key_id(1)},{REGION},{PROJECT}\n{key_id(2)},{REGION},{PROJECT}\n"
    source = operator.home / operator.write("two.csv", text)
    with (
        Ledger(directory / "ledger.sqlite3", lambda: f"{held.day}T00:00:00Z", Scrubber(), create=True) as ledger,
        open_inventory(str(source), Defaults(), live=True) as inventory,
    ):
        load(inventory, ledger, policy, Halt(), live=True)
        off, off_rule = Facts(key_rotation_enabled="false"), (Finding("C01", "rotation is off"),)
        told = [("waived", held.entries[0].told), ("non_compliant", "rotation is off")]
        (waiting_,) = ledger.unjudged()
        ledger.judged(
            RecordRow(*row[:6], outcome, "C01", reason, json.dumps(off.stated()), row.cells)
            for row, (outcome, reason) in zip(waiting_, told, strict=True)
        )
        steps = make(2, home, key_id(2), Eligible(off_rule), policy, lambda: "919c82d4-8046-4722-9094-35c3c6524cff", 1)
        ledger.add_steps(steps)
        ledger.describe(
            id=directory.name, version="0", command="plan", live=True, simulated=True, columns=inventory.columns,
            account="", arguments={}, records=2, usable=2, max_changes=None, endpoint=None, hosts=(), input={},
            policy={"max_interval": 365, "interval": None, "own_domain": ""}, waivers=held.noted(),
        )  # fmt: skip
        planned_ = digest_of(steps, policy, "simulated", held.entries)
        ledger.append(Event(EventKind.PLANNED, None, {"digest": planned_, "seal": ledger.seal()}))
    return directory


def test_a_waiver_that_has_expired_since_the_plan_is_told(operator: Operator) -> None:
    """Apply goes by the day of the plan: the key is not written to, and the operator learns that a new run is due."""
    one = Waiver(2, key_id(1), "", "", "", "", "being replaced", "A. Meier", "", "2026-01-31")
    directory = made_before(operator, Waivers([one, replace(one, line=3, expires=day(99))], "2026-01-01", "w.csv"))
    ended = operator.run("apply", directory, "--yes", *FAST)
    assert (ended.exit_code, outcomes(directory)) == (0, {"waived": 1, "remediated": 1})
    assert len(events(directory, "intended")) == 1
    said = (
        "waivers that counted when this run was made have expired since (line 2 on 2026-01-31); the keys that they "
        "cover are still not written to: only a new run judges them without"
    )
    assert said in ended.stderr
    assert said in operator.run("apply", directory, "--yes").stderr
    assert [one["standing"] for one in results(directory)["waivers"]] == ["expiring", "unused"]


def tampered(directory: Path, change: str) -> None:
    """Change the waivers that a ledger notes: SQL for the new value, in terms of the old."""
    with sqlite3.connect(directory / "ledger.sqlite3") as db:
        db.execute(f"UPDATE run SET value = {change} WHERE name = 'waivers'")  # noqa: S608  # ours
    db.close()


@waiting
def test_waivers_are_not_changed_unseen(operator: Operator) -> None:
    """Other waivers in the ledger are another plan (5); what is none at all is a broken ledger (1), not a traceback."""
    file = waivers(operator, {"key_id": key_id(1), "approver": "Anne"})
    inventory = operator.inventory(KEYS)
    plans = [operator.run("plan", inventory, "--simulate", *FAST, "--waivers", file).directory for _ in range(3)]
    tampered(plans[0], "replace(value, 'Anne', 'Eve')")
    tampered(plans[1], 'replace(value, \'"line":2\', \'"line":"two"\')')
    tampered(plans[2], "replace(value, '\"line\":2', '\"line\":7')")
    ended = [operator.run("apply", plan, "--yes", *FAST) for plan in plans]
    assert [one.exit_code for one in ended] == [5, 1, 1]
    assert "its plan is not the one that was recorded" in ended[0].stderr
    assert "its waivers are not as they were noted" in ended[1].stderr
    assert "differ from what was sealed" in ended[2].stderr
    assert all(one_message(one.stderr) for one in ended)
    again = operator.run("report", plans[1])
    assert again.exit_code == 1
    assert one_message(again.stderr)
    assert not any(events(plan, "intended") for plan in (plans[0], plans[2]))


# What is told of them -----------------------------------------------------------------------------------------------


@waiting
def test_what_needs_a_look_is_told(operator: Operator) -> None:
    """Expired, soon expiring and unused waivers stand in the summary, a few by name; in the data stand all of them."""
    some = [{"key_id": key_id(n), "expires": day(-9)} for n in range(2)]
    some += [{"key_id": key_id(2), "expires": day(15)}, {"key_id": key_id(3), "expires": day(45)}]
    some += [{"key_alias": f"absent-{n}"} for n in range(4)]
    keys = [key(n, **STATED, key_rotation_enabled="false") for n in range(4)]
    inventory, file = operator.inventory(keys), waivers(operator, *some)
    ended = operator.run("check", inventory, "--waivers", file)
    told = results(ended.directory)["waivers"]
    assert [one["standing"] for one in told] == [*["expired"] * 2, "expiring", "in force", *["unused"] * 4]
    assert [one["records"] for one in told] == [0, 0, 1, 1, 0, 0, 0, 0]
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("Waivers")]
    assert line.startswith(f"Waivers to look at, 7 of 8: line 2: expired on {day(-9)}, and waives nothing; line 3: ")
    assert f"line 4: 15 days left, until {day(15)}; line 6: 365 days left" in line
    assert line.endswith("unused: it covers no record; 2 more in run_results.json.")
    assert reasons(ended.directory)[key_id(0)] == (
        f"rotation is off; the waiver of line 2 (approved by A. Meier, ticket SEC-7) expired on {day(-9)}"
    )
    as_json = operator.run("check", inventory, "--waivers", file, "--log-format", "json")
    assert line in json.loads(as_json.stderr.splitlines()[-1])["remarks"]
    assert "Waivers" not in operator.run("check", inventory).stderr


@waiting
def test_the_data_say_all_of_a_waiver(operator: Operator) -> None:
    """run_results.json has every waiver with its standing, and the run notes name, hash and day of the file."""
    file = waivers(operator, {"account": "a*", "region": "cn-north-4", "key_alias": "app/*", "rule": "C01"})
    keys = [key(n, account="acme", **STATED, key_rotation_enabled="false", key_alias="app/1") for n in range(3)]
    told = results(operator.run("check", operator.inventory(keys), "--waivers", file).directory)
    assert told["waivers"] == [{
        "run_id": told["run"]["id"], "line": 2, "keys": "account a*, region cn-north-4, key_alias app/*", "rule": "C01",
        "reason": "being replaced", "approver": "A. Meier", "ticket": "SEC-7", "expires": day(365), "records": 3,
        "standing": "in force",
    }]  # fmt: skip
    noted = told["run"]["waivers"]
    assert (noted["name"], noted["day"], len(noted["sha256"])) == (file, day(0), 64)
    assert told["arguments"]["waivers"] == file


# Files that are none ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("check",), ("check", "--live"), ("plan",), ("remediate", "--yes")])
@waiting
def test_nothing_is_sent_where_a_waiver_cannot_be_used(operator: Operator, command: Iterable[str]) -> None:
    """A bad file ends every command with 2 and one message that begins with file, line and column."""
    file = waivers(operator, {"key_id": key_id(1)}, {"key_id": key_id(2), "expires": "soon"})
    simulated = core(KEYS)
    with running(simulated) as url:
        arguments = (*command, operator.inventory(KEYS), "--waivers", file, "--endpoint", url)
        ended = operator.run(*arguments)
    column = len(f"{key_id(2)},,,,,being replaced,A. Meier,SEC-7,") + 1
    said = f'kms-rotation: waivers.csv:3:{column}: expires "soon" is no day; write YYYY-MM-DD, as in 2026-12-31\n'
    assert (ended.exit_code, ended.stdout, ended.stderr) == (2, "", said)
    assert (left_behind(operator.home), simulated.log) == ([], [])


@waiting
def test_standard_input_is_one_of_both(operator: Operator) -> None:
    """Waivers may come from standard input, but not together with the inventory; a name must be one."""
    keys = [key(1, **STATED, key_rotation_enabled="false")]
    inventory, file = operator.inventory(keys), waivers(operator, {"key_id": key_id(1)})
    text = (operator.home / file).read_text()
    piped = operator.run("check", inventory, "--waivers", "-", typed=text)
    assert outcomes(piped.directory) == {"waived": 1}
    for arguments, said in (
        (("-", "--waivers", "-"), "standard input cannot be both"),
        ((inventory, "--waivers", ""), "--waivers names no file"),
        ((inventory, "--waivers", "."), ".: this is a folder; give the CSV file in it"),
        ((inventory, "--waivers", inventory), "inventory.csv:1:"),
    ):
        ended = operator.run("check", *arguments, typed=text)
        assert ended.exit_code == 2
        assert one_message(ended.stderr)
        assert said in ended.stderr


def test_the_scenarios_above_can_be_replayed(operator: Operator) -> None:
    """A run with waivers is rendered again from its ledger alone: the same rows, the file gone."""
    file = waivers(operator, {"key_id": key_id(1)})
    ended = operator.run("plan", operator.inventory(KEYS), "--simulate", *FAST, "--waivers", file)
    (operator.home / file).unlink()
    again = operator.run("report", ended.directory)
    assert rows(again.directory) == rows(ended.directory)
    assert results(again.directory)["waivers"] == results(ended.directory)["waivers"]
    with Replay(ended.directory) as replay:
        assert [one.key_id for one in replay.waivers.entries] == [key_id(1)]
        assert not replay.proof().fault
