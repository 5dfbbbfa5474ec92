"""The reports: one row for every record in every format, and nothing in a cell or a page that runs."""

import base64
import csv
import hashlib
import io
import json
import re
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.cells import unguard
from audit.errors import TemplateFault, UsageFault
from audit.inventory import Defaults, open_inventory
from audit.ledger import Ledger
from audit.model import Facts, Key, Place, Policy
from audit.outcome import ANOTHER_RUN, Outcome
from audit.plan import Step, digest, make
from audit.replay import Replay
from audit.report import embedded, render, verdict, view, waived
from audit.report.facets import Change, Comparison, Completeness, ControlLine, Cost, WaiverChange, WaiverLine
from audit.report.language import ENGLISH, Language
from audit.report.lists import SHOWN, STATIC, WHOLE, Shown, Table
from audit.report.procedures import procedure
from audit.report.rows import Again, Owners
from audit.report.shapes import Entry, Section, View
from audit.report.shelf import Shelf
from audit.rules import RULES, Kind, judge
from audit.scrub import Scrubber
from audit.tables import Event, EventKind, RecordRow, UnlistedRow
from audit.verdict import Eligible, verdict_outcome, verdict_reason
from audit.waiver import COLUMNS as OF_WAIVERS
from audit.waiver import Waiver, Waivers

NOW = "2026-11-24T05:00:00Z"
HOME = Place("", "cn-north-4", "0a3cd1c2e5ab49f7a37d1ba2e4a1b9ce")
AWAY = Place("", "eu-west-101", "5f1e0c7d9a4b4a0f8d6c3b2a19087f6e")
OURS = "d78cbac186b744899480f25bd022f468"
GOOD = {
    "domain_id": OURS, "key_spec": "AES_256", "key_state": "2", "default_key_flag": "0", "origin": "kms",
    "keystore_id": "0", "multi_region_key_type": "SINGLE", "key_rotation_enabled": "false",
}  # fmt: skip
ON = {"key_rotation_enabled": "true", "rotation_interval": "365"}
COLUMNS = ("key_id", "region", "project_id", "key_alias", *GOOD, "rotation_interval", "owner", "line")


def key_id(number: int) -> str:
    return f"{number:08x}-4d1f-4b7e-9a53-{number * 7919:012x}"


# What KMS can do to one step: the attempts, the answer, the read-back ------------------------------------------------


def sent(meaning: str, status: int | None = 200, code: str = "", message: str = "") -> dict[str, Any]:
    at, request_id = "2026-11-24T03:35:10Z", f"{status}d2b1c9e84f7a6c53e0a19b4c7d8f2" if status else ""
    return {"meaning": meaning, "at": at, "status": status, "code": code, "message": message, "request_id": request_id}


def shown(*, on: bool) -> dict[str, Any]:
    return {"at": "2026-11-24T03:36:02Z", "facts": {**GOOD, **(ON if on else {})}, "fault": "", "gone": False}


DONE, SILENT = sent("done"), sent("silent", None)
ALREADY = sent("already", 400, "KMS.2901", "rotation is already enabled")
BUSY = sent("throttled", 429, "APIGW.0308", "the throttling threshold has been reached")
LATER = sent("again", 500, "KMS.0101", "internal KMS error")
DENIED = sent("forbidden", 403, "KMS.0307", "no permission; ask the administrator")
GONE = sent("gone", 404, "KMS.0207", "the key does not exist")
UNREAD = {"at": "2026-11-24T03:36:02Z", "facts": None, "fault": "no answer", "gone": False}
Fate = tuple[list[dict[str, Any]], dict[str, Any] | None, dict[str, Any] | None]
CHANGED: Fate = ([DONE], DONE, shown(on=True))
THROTTLED: Fate = ([BUSY, BUSY, DONE], DONE, shown(on=True))
REPEATED: Fate = ([SILENT, ALREADY], ALREADY, shown(on=True))
ALREADY_ON: Fate = ([ALREADY], ALREADY, shown(on=True))
REFUSED: Fate = ([DENIED], DENIED, None)
WORN: Fate = ([LATER] * 5, LATER, shown(on=False))
UNSEEN: Fate = ([DONE], DONE, shown(on=False))
LOST: Fate = ([SILENT] * 5, SILENT, UNREAD)
VANISHED: Fate = ([GONE], GONE, None)
WAITING: Fate = ([], None, None)


def happened(number: int, fate: Fate) -> Iterator[Event]:
    attempts, answer, read_back = fate
    if attempts:
        yield Event(EventKind.INTENDED, number)
    yield from (Event(EventKind.SENT, number, attempt) for attempt in attempts)
    if answer:
        yield Event(EventKind.ANSWERED, number, answer)
    if read_back:
        yield Event(EventKind.READ_BACK, number, read_back)


class Story:
    """A ledger in the making: records, and what became of them."""

    def __init__(self, directory: Path, run_id: str = "20261124T033400Z-5d0c2a", **about: object) -> None:
        self.directory, self.policy = directory / run_id, Policy(own_domain=OURS)
        self.about: dict[str, Any] = {
            "id": run_id, "version": "0.1.0", "command": "remediate", "live": True, "simulated": False,
            "operator": "ops@bastion", "account": "", "access_key": "6789A", "endpoint": None, "proxy": "",
            "hosts": ["kms.cn-north-4.myhuaweicloud.com"], "created_at": "2026-11-24T03:34:00Z",
            "input": {"name": "inventory.csv", "sha256": "9f86d081" * 8, "encoding": "UTF-8", "delimiter": ",",
                      "blank_lines": 2, "warnings": []},
            "columns": COLUMNS, "arguments": {"--max-interval": "365"},
            "policy": {"max_interval": 365, "interval": None, "own_domain": OURS},
        } | about  # fmt: skip
        self.columns: Sequence[str] = self.about["columns"]
        self.rows: list[RecordRow] = []
        self.steps: list[Step] = []
        self.fates: list[Fate] = []
        self.unlisted: list[UnlistedRow] = []
        self.walks: list[dict[str, Any]] = []
        self.ended = ""

    def key(self, number: int, fate: Fate | None = None, place: Place = HOME, **stated: str) -> None:
        """A usable record, judged by the rules; with a fate it has a step. ``kms_says``: whether rotation is on."""
        live = {"key_alias": f"app/{number:03}", **GOOD, **stated}
        cells = {**live, "key_id": key_id(number), "region": place.region, "project_id": place.project_id, **stated}
        live["key_rotation_enabled"] = stated.get("kms_says", live["key_rotation_enabled"])
        found = judge(Facts.of(live), self.policy)
        rules = ";".join(finding.rule for finding in found.findings)
        texts = [cells.get(name, "") for name in self.columns]
        self._add(place, key_id(number), verdict_outcome(found), rules, verdict_reason(found), json.dumps(live), texts)
        if fate:
            assert isinstance(found, Eligible)
            step = len(self.steps) + 1
            sequence = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.about['id']} {step}"))
            self.steps += make(len(self.rows), place, key_id(number), found, self.policy, lambda: sequence, step)
            self.fates.append(fate)

    def end(self, outcome: Outcome, reason: str, id_: str, cells: Collection[str] = (), place: Place = HOME) -> None:
        """A record that came to its end before anything could be sent for it."""
        self._add(place, id_, outcome, "", reason, "", list(cells) or [id_, *[""] * (len(self.columns) - 1)])

    def _add(
        self, place: Place, id_: str, outcome: Outcome, rules: str, reason: str, live: str, cells: list[str]
    ) -> None:
        n = len(self.rows) + 1
        self.rows.append(RecordRow(n, n + 1, *astuple(place), id_, outcome, rules, reason, live, json.dumps(cells)))

    def write(self, *, approved: bool = True, clock: str = "2026-11-24T03:34:00Z") -> Path:
        """Put it on disk; returns the run directory."""
        self.directory.mkdir(parents=True)
        body = {"command": self.about["command"], "version": "0.1.0", "operator": "ops@bastion", "pid": 4711}
        with Ledger(self.directory / "ledger.sqlite3", lambda: clock, Scrubber(), create=True) as ledger:
            ledger.describe(**self.about)
            ledger.append(Event(EventKind.STARTED, None, {**body, "access_key": "6789A"}))
            ledger.add_records(self.rows)
            ledger.add_steps(self.steps)
            ledger.add_unlisted(self.unlisted)
            ledger.append(*(Event(EventKind.WALKED, None, walk) for walk in self.walks))
            of_plan = digest(self.steps, self.policy, "kms.cn-north-4.myhuaweicloud.com")
            ledger.append(Event(EventKind.PLANNED, None, {"digest": of_plan, "seal": ledger.seal()}))
            if approved:
                ledger.append(Event(EventKind.APPROVED))
                for number, fate in enumerate(self.fates, 1):
                    ledger.append(*happened(number, fate))
            ledger.append(Event(EventKind.ENDED, None, {"why": self.ended, "exit_code": 130 if self.ended else 0}))
        return self.directory


KINDS: Sequence[dict[str, str]] = (
    {"default_key_flag": "1", "key_alias": "obs/default"}, {"origin": "external"}, {"key_spec": "RSA_3072"},
    {"key_spec": "HMAC_256"}, {"keystore_id": "b168fe00-ff56-4953-8a17-c81f1e2d3a4b"}, {"domain_id": "0f" * 16},
    {"multi_region_key_type": "REPLICA"}, {"key_state": "3"}, {"key_state": "4"}, {"key_state": "5"},
    {"key_state": "7"}, {"key_state": "9"}, {"key_spec": ""},
)  # fmt: skip


def full(directory: Path, size: int = 1, **about: object) -> Story:
    """Every outcome that a run with writes can have; two places, drift, keys not in the inventory, an interrupt."""
    story = Story(directory, **about)
    for number in range(1, 3 + 5 * size):
        story.key(number, place=HOME if number % 3 else AWAY, **ON)
    for number, fate in enumerate([*[CHANGED] * (1 + 4 * size), THROTTLED, REPEATED, ALREADY_ON], 30):
        story.key(number, fate, place=HOME if number % 4 else AWAY, owner="payments; cards")
    for number, fate in enumerate((REFUSED, WORN, UNSEEN, LOST, VANISHED, WAITING), 50):
        story.key(number, fate, key_alias=f"billing/ledger-{number}")
    story.key(57, key_rotation_enabled="true", rotation_interval="400")
    for number, kind in enumerate([*KINDS] * size, 60):
        story.key(number, **kind)
    story.end(Outcome.WAIVED, "waived until 2027-01-31 by security", key_id(90))
    story.end(Outcome.MISSING, "KMS does not have this key: HTTP 404 KMS.0207 the key does not exist", key_id(91))
    story.end(Outcome.REJECTED, "column key_id: not a key id", "not-a-key-id")
    story.end(Outcome.REJECTED, "duplicate of line 2", key_id(1))
    story.end(
        Outcome.REJECTED, f"{len(COLUMNS) + 2} fields, the header has {len(COLUMNS)}", "", ["a"] * (len(COLUMNS) + 2)
    )
    story.key(1, place=AWAY, **ON)
    story.key(92, kms_says="true", key_alias="drifted")
    shadow = json.dumps({**GOOD, "key_alias": "shadow/key"})
    story.unlisted = [UnlistedRow(*astuple(AWAY), key_id(number), shadow) for number in (200, 201)]
    walk = {"account": "", "readable": True, "counted": True, "why": "", "unlisted": 0, "count_differs": False}
    home, away = ({"region": place.region, "project_id": place.project_id} for place in (HOME, AWAY))
    denied = {"counted": False, "why": "HTTP 403 KMS.0307 no permission", "listed": 0, "total": None}
    story.walks = [
        {**walk, **home, "when": "before", "listed": 58, "total": 58},
        {**walk, **away, "when": "before", "listed": 9, "total": 10, "unlisted": 2, "count_differs": True},
        {**walk, **home, "when": "after", "listed": 58, "total": 58},
        {**walk, **away, "when": "after", **denied},
    ]
    story.ended = "interrupted by SIGTERM"
    return story


def planned(directory: Path, **about: object) -> Path:
    """A plan of two keys that nobody approved, beside one that is in order."""
    story = Story(directory, **{"run_id": "20261124T033500Z-aaaaaa", "command": "plan", **about})
    story.key(1, WAITING)
    story.key(2, WAITING, place=AWAY)
    story.key(3, **ON)
    return story.write(approved=False)


class Rendered:
    """The reports of some runs, written into a directory and read back."""

    def __init__(self, directory: Path, *runs: Path, templates: Path | None = None, **more: Any) -> None:
        directory.mkdir(exist_ok=True)
        replays = [Replay(run) for run in runs]
        report_id = replays[0].about.get("id", "x") if len(runs) == 1 else "20261124T050000Z-0f0f0f-report"
        self.view: View = view.build(replays, report_id=report_id, version="0.1.0", now=NOW)
        self.written = render.write(self.view, directory, more.get("formats", render.FORMATS), templates)
        self.directory = directory
        for replay in replays:
            replay.close()

    def text(self, name: str) -> str:
        return (self.directory / name).read_bytes().decode()

    def csv(self, name: str = "report.csv") -> list[dict[str, str]]:
        lines = csv.DictReader(io.StringIO(self.text(name).removeprefix("\ufeff"), newline=""))
        return [{column: unguard(cell) for column, cell in row.items()} for row in lines]

    @property
    def html(self) -> str:
        return self.text("report.html")

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.text("run_results.json"))


def embedded_in(page: str) -> dict[str, Any]:
    """What the page carries for its script."""
    (text,) = re.findall(r'<script type="application/json" id="records">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def entries(section: Section) -> int:
    return sum(len(group.entries) for group in section.groups)


@pytest.fixture
def whole(tmp_path: Path) -> Rendered:
    return Rendered(tmp_path / "out", full(tmp_path).write())


# Records in = rows out ----------------------------------------------------------------------------------------------


def test_every_record_is_one_row_in_every_format(whole: Rendered) -> None:
    """The counts of the report, of report.csv, of run_results.json and of the page are those of the inventory."""
    counts = Counter(row["outcome"] for row in whole.csv())
    assert set(counts) == set(Outcome) - {Outcome.PLANNED, Outcome.ROLLED_BACK, Outcome.LEFT_ALONE}
    assert Counter(row["outcome"] for row in whole.json["results"]) == counts
    assert whole.json["counts"] == whole.view.counts == {outcome: counts[outcome] for outcome in Outcome}
    anchors = re.findall(r'id="((?:key|line)-[^"]+)"', whole.html)
    assert len(anchors) == len(set(anchors)) == sum(counts.values()) == 42
    assert len(embedded_in(whole.html)["rows"]) == 42
    sections = ("attention", "changed", "planned", "cannot", "compliant", "older")
    assert sum(entries(getattr(whole.view, name)) for name in sections) == 42


def test_what_is_planned_is_counted(tmp_path: Path) -> None:
    """A plan that nobody approved has its keys under what would be changed, and in failed.csv."""
    found = Rendered(tmp_path / "out", planned(tmp_path))
    assert (found.view.counts["planned"], found.view.planned.total, found.view.changed.total) == (2, 2, 0)
    assert found.view.verdict == "Not compliant yet: 2 keys would be changed."
    assert found.view.detail == "3 records: 2 planned, 1 compliant."
    assert [row["key_id"] for row in found.csv("failed.csv")] == [key_id(1), key_id(2)]


def test_a_row_says_what_was_done(whole: Rendered) -> None:
    """Before, after, sequence, request id and times of a changed key stand in its row."""
    row = next(row for row in whole.csv() if row["key_id"] == key_id(36) and row["outcome"] == "remediated")
    assert (row["rotation_before"], row["rotation_after"], row["interval_after"]) == ("false", "true", "365")
    assert (row["action"], row["attempts"], row["error_code"]) == ("enable", "2", "KMS.2901")
    assert uuid.UUID(row["sequence"])
    assert (row["requested_at"], row["verified_at"]) == ("2026-11-24T03:35:10Z", "2026-11-24T03:36:02Z")
    assert row["request_id"] in whole.html


def test_report_csv_has_the_columns_of_the_contract(whole: Rendered) -> None:
    """Columns and order are public; an inventory's own column keeps its name unless the report has one like it."""
    raw = (whole.directory / "report.csv").read_bytes()
    header, rest = raw.split(b"\r\n", 1)
    assert header.decode("utf-8-sig") == (
        "line,account,region,project_id,key_id,key_alias,outcome,rules,reason,action,sequence,rotation_before,"
        "rotation_after,interval_before,interval_after,attempts,http_status,error_code,error_msg,request_id,"
        "requested_at,verified_at,owner,inventory_line"
    )
    assert raw.startswith(b"\xef\xbb\xbf")
    assert rest.count(b"\r\n") == rest.count(b"\n") == 42


def test_a_taken_prefix_is_taken_again(tmp_path: Path) -> None:
    """Two own columns never end under one name."""
    story = Story(tmp_path, columns=["key_id", "inventory_line", "line", "run_id"])
    story.end(Outcome.REJECTED, "because", "x", ["x", "first", "second", "third"])
    (row,) = Rendered(tmp_path / "out", story.write()).csv()
    assert (row["inventory_line"], row["inventory_inventory_line"], row["run_id"]) == ("first", "second", "third")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2))
def test_a_record_reads_back_exactly(cells: list[str]) -> None:
    """Whatever stands in a cell comes back from the file, and nothing that is written runs in a spreadsheet."""
    line = render.record(cells)
    (read,) = csv.reader(io.StringIO(line, newline=""))
    assert [unguard(cell) for cell in read] == cells
    assert not [cell for cell in read if cell[:1] in {"=", "@", "\t", "\r"}]


def test_a_formula_is_text_in_every_csv(tmp_path: Path) -> None:
    """A cell that a spreadsheet would run is written with an apostrophe, in report.csv and in failed.csv."""
    story = Story(tmp_path)
    story.key(1, WAITING, owner='=HYPERLINK("http://evil.example")', key_alias="-2")
    found = Rendered(tmp_path / "out", story.write(approved=False))
    for name in ("report.csv", "failed.csv"):
        assert '''"'=HYPERLINK(""http://evil.example"")"''' in found.text(name)
        assert found.csv(name)[0]["owner"] == '=HYPERLINK("http://evil.example")'
        assert ",-2," in found.text(name)


# failed.csv ---------------------------------------------------------------------------------------------------------


def test_failed_csv_is_an_inventory_of_what_needs_another_run(whole: Rendered) -> None:
    """It holds the original cells of the right records, and the tool's own reader takes every one of them."""
    wanted = [row["key_id"] for row in whole.csv() if row["outcome"] in ANOTHER_RUN]
    assert [row["key_id"] for row in whole.csv("failed.csv")] == wanted
    with open_inventory(
        str(whole.directory / "failed.csv"), Defaults("", HOME.region, HOME.project_id), live=True
    ) as again:
        assert tuple(again.columns) == COLUMNS
        keys = [key for chunk in again.chunks() for key in chunk]
    assert all(isinstance(key, Key) for key in keys)
    assert [key.key_id for key in keys if isinstance(key, Key)] == wanted


def test_an_older_report_does_not_stay(tmp_path: Path) -> None:
    """What was written before and is not written again would tell of an earlier state, so it goes."""
    (tmp_path / "out").mkdir()
    for name in ("failed.csv", "report.html", "ledger.sqlite3"):
        (tmp_path / "out" / name).touch()
    story = Story(tmp_path)
    story.key(1, **ON)
    found = Rendered(tmp_path / "out", story.write(), formats=["json"])
    assert {path.name for path in found.directory.iterdir()} == {"run_results.json", "ledger.sqlite3"}
    assert found.written == [found.directory / "run_results.json"]


# run_results.json ---------------------------------------------------------------------------------------------------


def test_run_results_have_the_shape_of_the_contract(whole: Rendered) -> None:
    """The names are public; the population names what KMS has beyond the inventory, and where both disagree."""
    found = whole.json
    assert list(found) == [
        "schema_version", "verdict", "detail", "run", "counts", "policy", "arguments", "cost", "controls", "population",
        "waivers", "comparison", "results",
    ]  # fmt: skip
    assert (found["schema_version"], found["run"]["simulated"], found["run"]["exit_code"]) == (1, False, 130)
    assert found["policy"] == {"max_interval": 365, "interval": None, "own_domain": OURS}
    assert [key["key_id"] for key in found["population"]["unlisted"]] == [key_id(200), key_id(201)]
    (drift,) = found["population"]["drift"]
    assert (drift["field"], drift["inventory"], drift["kms"]) == ("key_rotation_enabled", "false", "true")
    assert [list(row) for row in found["results"]] == [list(whole.csv()[0])] * 42
    assert found["results"][0]["line"] == 2


# Waivers ------------------------------------------------------------------------------------------------------------


def excused(line: int, expires: str, **stated: str) -> Waiver:
    return Waiver(line, **{**dict.fromkeys(OF_WAIVERS, ""), "approver": "A. Meier", **stated, "expires": expires})


def with_waivers(directory: Path, run_id: str) -> Path:
    """A run of 2026-11-24 with waivers of every standing; two records are waived, by the first one."""
    days = ("2026-12-25", "2026-12-24", "2026-11-24", "2026-11-23", "2026-12-25", "2026-12-24", "2026-11-25")
    held = [excused(line, day, region=f"cn-{line}-*") for line, day in enumerate(days, 2)]
    story = Story(directory, run_id, waivers=Waivers(held, "2026-11-24", "waivers.csv", "9f86d081").noted())
    for number, line in enumerate((2, 2, 3, 4, 8)):
        story.end(Outcome.WAIVED, f"{held[line - 2].told}; waives C01 (rotation is off)", key_id(number))
    story.key(9, CHANGED)
    return story.write()


def test_a_waiver_stands_by_the_day_of_its_run(tmp_path: Path) -> None:
    """From 30 days before its last one on it is soon over, and the day after that it is; each record counts once."""
    found = Rendered(tmp_path / "out", with_waivers(tmp_path, "20261124T033400Z-5d0c2a"))
    assert [(line.line, line.records, line.standing, line.tone, line.note) for line in found.view.waivers] == [
        (2, 2, "in force", "aside", "31 days left, until 2026-12-25"),
        (3, 1, "expiring", "doubt", "30 days left, until 2026-12-24"),
        (4, 1, "expiring", "doubt", "its last day, 2026-11-24, is that of the run"),
        (5, 0, "expired", "act", "expired on 2026-11-23, and waives nothing"),
        (6, 0, "unused", "doubt", "31 days left, until 2026-12-25; unused: it covers no record"),
        (7, 0, "expiring", "doubt", "30 days left, until 2026-12-24; unused: it covers no record"),
        (8, 1, "expiring", "doubt", "1 day left, until 2026-11-25"),
    ]
    assert sum(line.records for line in found.view.waivers) == found.view.counts["waived"] == 5
    assert list(found.json["waivers"][0]) == [
        "run_id", "line", "keys", "rule", "reason", "approver", "ticket", "expires", "records", "standing",
    ]  # fmt: skip
    assert found.view.waivers[0].keys == "region cn-2-*"


def test_the_waivers_of_several_runs_are_told_apart(tmp_path: Path) -> None:
    """A merged report has the waivers of all its runs, each with its run; without waivers nothing is said."""
    names = ["20261124T033400Z-5d0c2a", "20261124T033500Z-5d0c2b"]
    found = Rendered(tmp_path / "out", *(with_waivers(tmp_path, name) for name in names)).view
    assert [(line.run_id, line.line) for line in found.waivers] == [(name, n) for name in names for n in range(2, 9)]
    told = waived.to_look_at(found.waivers, found.say)
    assert told.startswith(
        f"Waivers to look at, 12 of 14: {names[0]} line 5: expired on 2026-11-23, and waives nothing; {names[1]} line 5"
    )
    assert told.endswith("; 7 more in run_results.json.")
    assert not waived.to_look_at(Rendered(tmp_path / "none", full(tmp_path / "none").write()).view.waivers, found.say)


# Several runs -------------------------------------------------------------------------------------------------------


def test_a_merged_report_counts_a_key_by_its_newest_run(tmp_path: Path) -> None:
    """Rows stay in the given order with their run; a key of two runs is counted once, a rejected record always."""
    older, newer = (
        Story(tmp_path, "20261101T000000Z-00000a"),
        Story(tmp_path, "20261102T000000Z-00000b", columns=["key_id", "team"]),
    )
    older.key(1, REFUSED)
    older.key(2, **ON)
    older.end(Outcome.REJECTED, "why", key_id(1))
    newer.key(1, CHANGED)
    newer.key(1, place=AWAY, **ON)
    newer.end(Outcome.REJECTED, "why", key_id(1))
    new = newer.write(clock="2026-11-02T00:00:00Z")
    found = Rendered(tmp_path / "out", new, older.write(clock="2026-11-01T00:00:00Z"))
    rows = found.csv()
    assert list(rows[0])[-4:] == ["team", "owner", "inventory_line", "run_id"]
    assert [row["run_id"][-1] for row in rows] == ["b"] * 3 + ["a"] * 3
    assert {name: count for name, count in found.view.counts.items() if count} == {
        "compliant": 2,
        "remediated": 1,
        "rejected": 2,
    }
    assert (found.json["population"]["rows"], found.json["population"]["superseded"], found.view.older.total) == (
        6,
        1,
        1,
    )
    assert [run["id"][-1] for run in found.json["run"]["runs"]] == ["b", "a"]
    assert "Superseded by a newer run" in found.html


def test_failed_csv_of_a_merged_report_names_the_place(tmp_path: Path) -> None:
    """The runs may have had different options, so every record states where its key lives."""
    story = Story(tmp_path, "20261101T000000Z-00000a", columns=["key_id", "team"])
    story.key(7, REFUSED, place=AWAY)
    found = Rendered(tmp_path / "out", story.write(), planned(tmp_path))
    first, second, _ = found.csv("failed.csv")
    assert (first["key_id"], first["region"], first["project_id"]) == (key_id(7), AWAY.region, AWAY.project_id)
    assert (second["key_id"], second["region"], second["team"]) == (key_id(1), HOME.region, "")


def test_a_key_is_not_unlisted_when_another_run_names_it(tmp_path: Path) -> None:
    """What one inventory lacks, another may hold; a key that two runs miss is listed once."""
    story = Story(tmp_path)
    story.unlisted = [UnlistedRow(*astuple(HOME), key_id(number), "") for number in (1, 8, 8)]
    found = Rendered(tmp_path / "out", story.write(), planned(tmp_path))
    assert [key.key_id for key in found.view.unlisted.rows] == [key_id(8)]


def test_simulated_and_real_runs_never_merge(tmp_path: Path) -> None:
    """A rehearsal proves nothing about the cloud; and a run beside itself proves nothing twice."""
    real, rehearsal = Story(tmp_path).write(), planned(tmp_path, simulated=True)
    with pytest.raises(UsageFault, match="never merge: 20261124T033500Z-aaaaaa"):
        Rendered(tmp_path / "out", real, rehearsal)
    with pytest.raises(UsageFault, match="twice"):
        Rendered(tmp_path / "out", real, real)


# What the page says -------------------------------------------------------------------------------------------------


def test_a_simulated_run_is_marked(tmp_path: Path) -> None:
    """Verdict, header, footer and data of a rehearsal say so."""
    found = Rendered(tmp_path / "out", planned(tmp_path, simulated=True))
    assert found.view.verdict.startswith("SIMULATED: ")
    assert found.html.count("SIMULATED") >= 4
    assert found.json["run"]["simulated"] is True


def test_an_offline_check_says_what_it_lacks_and_what_it_assumed(tmp_path: Path) -> None:
    """Columns that are missing are named, with the option that fills them."""
    policy = {"max_interval": 365, "interval": None, "own_domain": ""}
    story = Story(tmp_path, command="check", live=False, columns=["key_id", "key_spec", "key_state"], policy=policy)
    story.end(Outcome.UNKNOWN, "not stated: origin", key_id(1), [key_id(1), "AES_256", "2"])
    (run,) = Rendered(tmp_path / "out", story.write(approved=False)).view.runs
    assert "origin, key_rotation_enabled, default_key_flag. kms-rotation check --live" in run.remarks[1]
    assert "default keystore" in run.remarks[0]
    assert "E06" in run.domain


@pytest.mark.parametrize(
    ("counts", "doubt", "tone", "says"),
    [
        ({"compliant": 2, "ineligible": 1, "waived": 1}, {}, "good", "Compliant."),
        ({"non_compliant": 12}, {}, "act", "Not compliant: 12 keys."),
        ({"refused": 1}, {"ended": ("why",)}, "act", "Not compliant: 1 key."),
        ({"refused": 1200, "unknown": 3}, {}, "act", "Not compliant: 1,200 keys; of 3 more it cannot be said."),
        ({"planned": 1}, {}, "act", "Not compliant yet: 1 key would be changed."),
        ({"planned": 4, "rejected": 1}, {}, "act",
         "Not compliant yet: 4 keys would be changed; of 1 more it cannot be said."),
        ({"planned": 4, "missing": 1}, {}, "act", "Not compliant: 5 keys."),
        ({"missing": 2}, {}, "act", "Not compliant: 2 keys are missing in KMS."),
        ({"unknown": 3, "compliant": 9}, {}, "doubt", "Cannot be said: 3 keys are unknown."),
        ({"unverified": 1}, {}, "doubt", "Cannot be said: 1 key is unverified."),
        ({"rejected": 1}, {}, "doubt", "Cannot be said: 1 record is rejected."),
        ({"not_attempted": 2}, {"ended": ("why",)}, "doubt", "Cannot be said: 2 keys were not attempted."),
        ({"not_attempted": 2, "unknown": 1}, {}, "doubt", "Cannot be said: 3 records are undecided."),
        ({"compliant": 9}, {"unread": 1, "given_up": 1}, "doubt",
         "Cannot be said: 2 places were not read to their end."),
        ({"compliant": 9}, {"ended": ("why",)}, "doubt", "Cannot be said: the run ended early."),
        ({"compliant": 9}, {"incomplete": True}, "doubt", "Cannot be said: the records may not be all keys."),
        ({"non_compliant": 9}, {"broken": 1}, "doubt", "Cannot be said: the ledger is not what was written."),
        ({}, {}, "doubt", "Nothing to judge: there are no records."),
    ],
)  # fmt: skip
def test_the_verdict_is_one_sentence(counts: dict[str, int], doubt: dict[str, Any], tone: str, says: str) -> None:
    """Whatever came of the records, the first sentence answers, and claims no more than is known."""
    told = Counter({Outcome(name): count for name, count in counts.items()})
    doubts = replace(verdict.Doubts(0, 0, 0, (), 1, incomplete=False, undoing=False), **doubt)
    assert verdict.sentence(told, doubts, ENGLISH, simulated=False) == says
    assert verdict.sentence(told, doubts, ENGLISH, simulated=True) == f"SIMULATED: {says}"
    assert verdict.tone(told, doubts) == tone


def test_the_detail_names_what_is_not_known(whole: Rendered) -> None:
    """Every count and an early end stand behind the verdict; what could not be listed stands in the population."""
    assert whole.view.verdict == "Not compliant: 5 keys; of 8 more it cannot be said."
    assert whole.view.detail == (
        "42 records: 2 refused, 1 unverified, 3 unknown, 3 rejected, 2 missing, 1 not attempted, 1 non-compliant, "
        "10 compliant, 7 remediated, 7 ineligible, 4 blocked, 1 waived. The run ended early: interrupted by SIGTERM."
    )
    assert whole.json["verdict"] == whole.view.verdict
    assert whole.json["detail"] == whole.view.detail
    assert whole.view.places[3].note == "not counted: HTTP 403 KMS.0307 no permission"


def test_the_page_says_with_what_the_run_was_started(tmp_path: Path) -> None:
    """Arguments stand as they were noted; those that were not given, or are off, are left out."""
    given = {"max_interval": 90, "region": "", "simulate": False, "verbose": True, "formats": ["csv", "html"]}
    (run,) = Rendered(tmp_path / "out", planned(tmp_path, arguments=given)).view.runs
    assert run.arguments == ("--format csv,html", "--max-interval 90", "--verbose")
    assert run.records == 3


def test_a_changed_ledger_shows(tmp_path: Path) -> None:
    """Who alters an event after the fact breaks the chain, and the verdict says that and nothing else."""
    run = full(tmp_path).write()
    with sqlite3.connect(run / "ledger.sqlite3") as db:
        db.execute("DROP TRIGGER events_stay")
        db.execute("UPDATE events SET body = replace(body, 'KMS.0307', 'KMS.0000') WHERE kind = 'answered'")
    db.close()
    found = Rendered(tmp_path / "out", run)
    assert found.view.verdict == "Cannot be said: the ledger is not what was written."
    assert "1 ledger is not what was written" in found.view.detail
    assert "Do not rely on this report" in found.html
    assert found.json["run"]["ledger"]["intact"] is False


def test_a_ledger_that_notes_little_renders(tmp_path: Path) -> None:
    """A report does not depend on what an older release may not have noted."""
    story = Story(tmp_path)
    story.key(1, **ON)
    run = story.write()
    with sqlite3.connect(run / "ledger.sqlite3") as db:
        db.execute("DELETE FROM run WHERE name <> 'columns'")
    db.close()
    assert "not noted" in Rendered(tmp_path / "out", run).html


def test_a_report_of_a_thousand_records_shows_every_row(tmp_path: Path) -> None:
    """Up to there nothing is shortened; beyond, a section shows the first hundred and says where the others are."""
    story = Story(tmp_path)
    for number in range(WHOLE - 2):
        story.key(number, key_spec="RSA_2048")
    story.key(WHOLE, origin="external")
    story.key(WHOLE + 1, origin="external")
    found = Rendered(tmp_path / "out", story.write(), formats=["html"])
    assert entries(found.view.cannot) == WHOLE
    assert (found.view.cannot.more, found.view.appendix.plain, found.view.appendix.more) == ("", "", "")
    larger = Story(tmp_path, "20261124T033400Z-bbbbbb")
    for number in range(WHOLE + 1):
        larger.key(number, **({"key_spec": "RSA_2048"} if number % 500 else {"origin": "external"}))
    found = Rendered(tmp_path / "out", larger.write(), formats=["html"])
    groups = [(group.title[:3], group.total, len(group.entries)) for group in found.view.cannot.groups]
    assert groups == [("E02", 3, 3), ("E03", WHOLE - 2, SHOWN - 3)]
    assert "901 more of 1,001 stand in the appendix and in report.csv." in found.html


def test_the_appendix_holds_the_first_records_of_the_report(tmp_path: Path) -> None:
    """Where a page cannot hold all, what needs attention is there first, in the order of the sections."""
    story = Story(tmp_path)
    for number in range(2500):
        story.key(number, **(ON if number % 2 else {"key_spec": "RSA_2048"}))
    story.key(2500, REFUSED)
    with Replay(story.write()) as replay:
        shelf = Shelf([replay], Owners([replay]), ENGLISH, most=1400)
        appendix = shelf.appendix()
    assert Counter(entry.label for entry in appendix.rows) == {"refused": 1, "ineligible": 1250, "compliant": 149}
    assert [entry.label for entry in appendix.rows][:2] == ["refused", "ineligible"]
    assert appendix.rows == (*appendix.rows[:1], *sorted(appendix.rows[1:1251], key=lambda entry: entry.line),
                             *sorted(appendix.rows[1251:], key=lambda entry: entry.line))  # fmt: skip
    assert appendix.more == "These are 1,400 of 2,501 records; 1,101 more stand only in report.csv."
    assert entries(shelf.section("compliant")) == SHOWN


def test_a_page_without_a_script_says_how_many_rows_it_has(tmp_path: Path) -> None:
    """Beyond the rows that are plain HTML the page names the file that has them all."""
    story = Story(tmp_path)
    for number in range(STATIC + 1):
        story.key(number, **ON)
    found = Rendered(tmp_path / "out", story.write(), formats=["html"])
    assert "These are the first 2,000 of 2,001 records." in found.html
    assert found.html.count('<tr id="key-') == STATIC
    assert len(embedded_in(found.html)["rows"]) == STATIC + 1


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3))
def test_no_text_closes_the_records(texts: list[str]) -> None:
    """Whatever a key is called, its text is in the JSON, and nothing in there means anything in HTML."""
    alias, owner, reason = texts
    entry = Entry(
        anchor="line-2", line=2, key_id="", key_alias=alias, place="", account="", region="", project_id="",
        label="rejected", tone="doubt", rules=(), reason=reason, before="", after="", requests=(),
        own=((owner, alias),), run_id="",
    )  # fmt: skip
    text = "".join(embedded.records([entry], str))
    assert not set("<>&\u2028\u2029") & set(text)
    told = json.loads(text)
    (row,) = told["rows"]
    assert row[3] == alias
    assert [told["texts"][at] for at in told["owns"][row[4]]] == [owner, alias]
    assert told["texts"][told["kinds"][row[0]][6]] == reason


def test_every_kind_of_key_that_cannot_rotate_has_a_procedure(whole: Rendered) -> None:
    """Each of the rules E01 to E11 says what takes the place of automatic rotation; no other rule does."""
    with_one = [rule.id for rule in RULES if procedure(rule.id, ENGLISH)]
    assert with_one == [rule.id for rule in RULES if rule.kind in {Kind.NEVER, Kind.NOT_NOW}]
    told = {group.title[:3]: group.procedure for group in whole.view.cannot.groups}
    assert told == {group: procedure(group, ENGLISH) for group in told}
    assert whole.html.count("By hand:") == len([text for text in told.values() if text]) == 11


def test_the_policy_of_the_page_names_its_style_and_its_script(whole: Rendered) -> None:
    """Nothing else may be loaded or run; the hashes are those of the very texts between the tags."""
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name in ("style", "script")
        for text in re.findall(f"<{name}>(.*?)</{name}>", whole.html, re.DOTALL)
    )
    assert (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; "
        "form-action 'none'"
    ) in whole.html
    assert not re.search(r"style=|https?://| on\w+=|unsafe|eval\(|innerHTML", whole.html)


def test_an_id_cannot_leave_the_stylesheet(tmp_path: Path) -> None:
    """The run's id stands in the footer of every printed page, as a string of the style, whatever it holds."""
    named = Rendered(tmp_path / "out", planned(tmp_path, id='x"; } </style><b>'), formats=["html"])
    assert r'content: "x\22 \3b  \7d  \3c \2f style\3e \3c b\3e "' in named.html
    assert named.html.count("</style>") == 1


# What accompanies the records ---------------------------------------------------------------------------------------

WAIVER = WaiverLine(
    run_id="r", line=3, keys="alias app/*", rule="", reason="vendor <appliance>", approver="A. Approver",
    ticket="SEC-7", expires="2026-12-31", records=2, standing="expiring", note="30 days are left", tone="doubt",
)  # fmt: skip
MOVED = Change("fixed", "prod", "cn-north-4", "p1", "k-1", "app/1", "non_compliant", "compliant", "rotation is off", "")


def accompanied(view_: View) -> View:
    """The view with a waiver, a cost, a control and a comparison."""
    everything = Again(lambda: iter((MOVED,)))
    return replace(
        view_,
        waivers=(WAIVER,),
        completeness=Completeness(required=False, faults=(), words="The records are all keys of their places."),
        cost=Cost(7.0, "0.72", "60.48 USD", ("Seven more key versions a year.",)),
        controls=(ControlLine("C01", "ISO/IEC 27001:2022", "A.8.24", "its text"),),
        comparison=Comparison(
            "20261001T000000Z-aaaaaa", "Since then one key was fixed.", {"fixed": 1, "unchanged": 41},
            Shown((MOVED,), 1, "", everything), (WaiverChange("gone", "k-2", "C01", "no longer there"),),
            Table((), Again(lambda: iter(())), 0),
        ),
    )  # fmt: skip


def test_what_accompanies_the_records_has_its_sections(tmp_path: Path) -> None:
    """Waivers, a comparison, cost and controls are shown where there are any, and nothing stands in for them."""
    with Replay(full(tmp_path).write()) as replay:
        plain = view.build([replay], report_id="x", version="0.1.0", now=NOW)
        render.write(plain, tmp_path, ["html"])
        without = (tmp_path / "report.html").read_text("utf-8")
        render.write(accompanied(plain), tmp_path, ["html"])
    page = (tmp_path / "report.html").read_text("utf-8")
    sections = {"waivers", "comparison"}
    assert (
        set(re.findall('<section id="([a-z]+)"', page)) - set(re.findall('<section id="([a-z]+)"', without)) == sections
    )
    assert "no waivers" in without
    assert "no waivers" not in page
    for text in (
        "vendor &lt;appliance&gt;", "SEC-7", "30 days are left", "1 waiver",
        "The records are all keys of their places.", "+7.0", "Seven more key versions a year.",
        "supports evidence for", "A.8.24",
        "Since then one key was fixed.", "non-compliant", "no longer there",
    ):  # fmt: skip
        assert text in page, text
    assert "certified" not in page.lower()


DATA = """
app billing drifted ledger obs default owner payments cards north west shadow inventory line remediate ops bastion kms
myhuaweicloud com csv not key enable false true sqlite rotation report cbac
alias vendor appliance Approver days are left its text The records all keys their places Seven more versions year Since
then one was fixed prod longer there
"""
"""Words of a page that are data: of the run, of the program's own names, and of what accompanies the records here."""


class Marked(Language):
    """A language in which every text that passes it is put in brackets."""

    def gettext(self, text: str) -> str:
        return f"\u27e6{text}\u27e7"

    def ngettext(self, one: str, many: str, number: int) -> str:
        return f"\u27e6{one if number == 1 else many}\u27e7"

    def recorded(self, sentence: str) -> str:
        return f"\u27e6{sentence}\u27e7" if sentence else ""


def test_every_text_of_the_page_can_be_translated(tmp_path: Path) -> None:
    """What does not pass the language is data: ids, names, values, commands, and names of the product's own files."""
    with Replay(full(tmp_path, simulated=True, live=False).write()) as replay:
        plain, told = (
            accompanied(view.build([replay], report_id=replay.about["id"], version="0.1.0", now=NOW, say=say))
            for say in (ENGLISH, Marked())
        )
        render.write(plain, tmp_path, render.FORMATS, page=told)
    page = (tmp_path / "report.html").read_text("utf-8")
    texts = re.sub(r"<(style|script)\b.*?</\1>|<code.*?</code>|<[^>]+>", " ", page, flags=re.DOTALL)
    while (less := re.sub("\u27e6[^\u27e6\u27e7]*\u27e7", " ", texts)) != texts:
        texts = less
    words = set(re.findall(r"[A-Za-z][a-z]{2,}", texts))
    data = set(DATA.split())
    assert sorted(words - data) == []
    found = json.loads((tmp_path / "run_results.json").read_text("utf-8"))
    assert "\u27e6" not in json.dumps(found, ensure_ascii=False)
    assert found["verdict"].startswith("SIMULATED: Not compliant")


# Templates of the user's own ----------------------------------------------------------------------------------------


def test_an_own_template_takes_the_place_of_the_packaged(tmp_path: Path) -> None:
    """One file is enough; what the directory lacks is packaged, and an include works either way."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "report.csv.j2").write_text(
        "{% for row in view.table.rows %}{{ [row.key_id, row.outcome] | record }}{% endfor %}"
    )
    (own / "report.css.j2").write_text("body { color: teal; }")
    found = Rendered(tmp_path / "out", planned(tmp_path), templates=own)
    assert found.text("report.csv").splitlines()[1] == f"{key_id(2)},planned"
    assert "<style>body { color: teal; }</style>" in found.html


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n\n{{ view.nothing }}", "report.html.j2, line 3: .* has no attribute 'nothing'"),
        ("\n{% for x in %}", "report.html.j2, line 2: "),
        ("\n{{ view.counts + 1 }}", "report.html.j2, line 2: unsupported operand"),
        ("{% include 'absent.j2' %}", "report.html.j2, line 1: .*absent.j2"),
        ("{{ view.__class__.__mro__ }}", "report.html.j2, line 1: .*unsafe"),
        ("{% for group in view.attention.groups %}{{ group.entries.append(1) }}{% endfor %}", "report.html.j2, line 1"),
    ],
)
def test_a_broken_template_is_named(tmp_path: Path, text: str, says: str) -> None:
    """Template and line are told, nothing half written stays, and the sandbox holds."""
    (tmp_path / "report.html.j2").write_text(text)
    with pytest.raises(TemplateFault, match=says):
        Rendered(tmp_path / "out", full(tmp_path).write(), templates=tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_a_directory_without_templates_is_refused(tmp_path: Path) -> None:
    """A wrong path is not answered with the packaged templates."""
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(TemplateFault, match=r"none of report.css.j2, report.csv.j2, report.html.j2, report.js.j2"):
            Rendered(tmp_path / "out", planned(tmp_path / directory.name), templates=directory)


# As a whole ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report.html", "report.csv", "run_results.json"])
def test_the_reports_are_as_before(whole: Rendered, golden: Callable[[str, str], None], name: str) -> None:
    """The same ledger gives the same reports, to the byte."""
    golden(name if name.startswith("report") else "report.json", whole.text(name))
