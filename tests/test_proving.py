"""Verifying the evidence of a run: whatever was changed afterwards is found and named; what cannot be known is said."""

import re
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import __version__
from audit.errors import RunDirFault, UsageFault
from audit.evidence import EVIDENCE, SUMS, export
from audit.ledger import Ledger
from audit.proving import Standing, verify
from audit.proving.events import check_evidence
from audit.proving.files import check_signature
from audit.replay import Replay
from audit.scrub import Scrubber
from audit.tables import Event, EventKind
from tests.command import Operator
from tests.evidence import (
    allow,
    altered,
    in_ledger,
    in_process,
    new_key,
    remake_chain,
    remake_evidence,
    remake_reports,
    remake_sums,
    told,
)

EXAMPLE = Path(__file__).parent.parent / "inventory.example.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a signed run (``run``) of the example, its key (``key``) and who may sign (``allowed-key``)."""
    home = tmp_path_factory.mktemp("made")
    allow(home, new_key(home, "key"))
    ended = Operator(home).run("remediate", EXAMPLE, "--simulate", "--yes", "-q", "--sign-key", "key")
    assert ended.exit_code == 4, ended.stderr
    ended.directory.rename(home / "run")
    return home


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def ledger(script: str) -> Callable[[Path], None]:
    return lambda run: in_ledger(run, script)


def lines(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def act(run: Path) -> None:
        path = run / name
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return act


def then(*acts: Callable[[Path], None]) -> Callable[[Path], None]:
    def act(run: Path) -> None:
        for one in acts:
            one(run)

    return act


def flip(name: str) -> Callable[[Path], None]:
    """Change one byte in the middle of a file."""

    def act(run: Path) -> None:
        content = bytearray((run / name).read_bytes())
        content[len(content) // 2] ^= 1
        (run / name).write_bytes(content)

    return act


def swap(before: bytes, after: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda old: [line.replace(before, after) for line in old]


CHANGED = "UPDATE events SET body = replace(body, '\"pid\":', '\"pid\":1') WHERE id = 1;"
LATE = "UPDATE events SET at = '2026-01-01T00:00:00Z' WHERE id = 20;"
# By what was done: the act, which checks say altered (unsigned eyes), and what is said, check by check.
FILES = {
    "ledger.sqlite3": set(),
    EVIDENCE: {"evidence"},
    **{name: {"reports"} for name in ("report.html", "report.csv", "run_results.json", "failed.csv")},
}
TAMPERING: dict[str, tuple[Callable[[Path], None], set[str], dict[str, str]]] = {
    **{
        f"a byte of {name}": (flip(name), {"sums", *also}, {"sums": f"^{name} was changed after"})
        for name, also in FILES.items()
    },
    "a byte of the sums": (flip(SUMS), {"sums", "signature"}, {"signature": "not over these sums"}),
    "a byte of the signature": (flip(f"{SUMS}.sig"), {"signature"}, {}),
    "an event changed": (
        ledger(LATE),
        {"sums", "chain", "evidence", "reports"},
        {"chain": "event 20 was changed after it was written", "evidence": "^event 20: evidence.jsonl and the ledger"},
    ),
    "the last event changed": (
        ledger("UPDATE events SET body = replace(body, '\"exit_code\":0', '\"exit_code\":1') WHERE kind = 'ended';"),
        {"sums", "evidence", "reports"},
        {"chain": "events, each with the hash", "evidence": "^event 36: evidence.jsonl and the ledger differ"},
    ),
    "an event dropped": (
        ledger("DELETE FROM events WHERE id = 20;"),
        {"sums", "chain", "evidence", "reports"},
        {"chain": "event 20 is gone", "evidence": "^event 20: in evidence.jsonl, and not in the ledger"},
    ),
    "the end cut off": (
        ledger("DELETE FROM events WHERE id > 30;"),
        {"sums", "evidence", "reports"},
        {"chain": "30 events, each", "evidence": "^events 31-36: in evidence.jsonl, and beyond the end of the ledger"},
    ),
    "an event put in": (
        ledger(
            "UPDATE events SET id = -id WHERE id > 20; UPDATE events SET id = 1 - id WHERE id < 0;"
            "INSERT INTO events SELECT 21, at, kind, step, body, previous FROM events WHERE id = 20;"
        ),
        {"sums", "chain", "evidence", "reports"},
        {"chain": "stands at 22; others were put in", "evidence": "the ledger goes on to event 37"},
    ),
    "events in another order": (
        ledger(
            "UPDATE events SET id = -1 WHERE id = 20; UPDATE events SET id = 20 WHERE id = 21;"
            "UPDATE events SET id = 21 WHERE id = -1;"
        ),
        {"sums", "chain", "evidence", "reports"},
        {"chain": "stands at 21; the order was changed", "evidence": "^events 20-21: evidence.jsonl and the ledger"},
    ),
    "a record changed": (
        ledger("UPDATE records SET outcome = 'compliant' WHERE outcome = 'ineligible';"),
        {"sums", "chain", "reports"},
        {"chain": "records, steps or unlisted keys differ", "reports": r"report.csv, line \d+, key \S+: outcome"},
    ),
    "the whole chain made anew, and the sums": (
        then(ledger(CHANGED), remake_chain, remake_sums),
        {"evidence", "reports", "signature"},
        {
            "chain": "36 events, each with",
            "evidence": "^event 1: evidence.jsonl and the ledger differ\nevents 2-36: the same but for the hash",
            "signature": "not over these sums",
        },
    ),
    "everything made anew": (
        then(ledger(CHANGED), remake_chain, remake_evidence, remake_reports, remake_sums),
        {"signature"},
        {"signature": "not over these sums"},
    ),
    "a dropped event, everything made anew": (
        then(ledger("DELETE FROM events WHERE id = 20;"), remake_chain, remake_evidence, remake_reports, remake_sums),
        {"signature"},
        {},
    ),
    "a line of the evidence dropped": (
        then(lines(EVIDENCE, lambda old: old[:9] + old[10:]), remake_sums),
        {"evidence", "signature"},
        {"evidence": "^event 10: in the ledger, and not in evidence.jsonl\n.*event 11: not continuing the line before"},
    ),
    "the evidence cut off": (
        then(lines(EVIDENCE, lambda old: old[:30]), remake_sums),
        {"evidence", "signature"},
        {"evidence": "the ledger goes on to event 36, evidence.jsonl ends with event 30"},
    ),
    "a line of the evidence twice": (
        then(lines(EVIDENCE, lambda old: [*old[:10], old[9], *old[10:]]), remake_sums),
        {"evidence", "signature"},
        {"evidence": "^event 10: more than once"},
    ),
    "lines of the evidence in another order": (
        then(lines(EVIDENCE, lambda old: [*old[:9], old[10], old[9], *old[11:]]), remake_sums),
        {"evidence", "signature"},
        {"evidence": "^event 10: out of order"},
    ),
    "a line of the evidence changed": (
        then(lines(EVIDENCE, swap(b'"kind":"approved"', b'"kind":"declined"')), remake_sums),
        {"evidence", "signature"},
        {"evidence": r"^event \d+: evidence.jsonl and the ledger differ\n.*not continuing"},
    ),
    "a line of the evidence added": (
        then(lines(EVIDENCE, lambda old: [*old, old[-1].replace(b'"id":36', b'"id":37')]), remake_sums),
        {"evidence", "signature"},
        {"evidence": "^event 37: in evidence.jsonl, and beyond the end"},
    ),
    "a line of the evidence that is none": (
        then(lines(EVIDENCE, lambda old: [*old[:4], b"{}\n", *old[4:]]), remake_sums),
        {"evidence", "signature"},
        {"evidence": "^line 5 cannot be read"},
    ),
    "a row of report.csv changed": (
        then(lines("report.csv", swap(b"ineligible", b"compliant")), remake_sums),
        {"reports", "signature"},
        {"reports": r"^report.csv, line \d+, key [0-9a-f-]{36}: outcome$"},
    ),
    "a row of report.csv dropped": (
        then(lines("report.csv", lambda old: old[:-1]), remake_sums),
        {"reports", "signature"},
        {"reports": r"^report.csv, the end: the row of key \S* is missing$"},
    ),
    "a row of failed.csv added": (
        then(lines("failed.csv", lambda old: [*old, old[-1]]), remake_sums),
        {"reports", "signature"},
        {"reports": "^failed.csv, line 3, key .*: a row that the ledger does not have$"},
    ),
    "a quote in report.csv": (
        then(lines("report.csv", lambda old: [*old, b'"']), remake_sums),
        {"reports", "signature"},
        {"reports": "^report.csv, line"},
    ),
    "a field of run_results.json changed": (
        then(lines("run_results.json", swap(b'"outcome":"remediated"', b'"outcome":"compliant"')), remake_sums),
        {"reports", "signature"},
        {"reports": r"^run_results.json, result \d+, key \S+: outcome$"},
    ),
    "the counts of run_results.json changed": (
        then(lines("run_results.json", swap(b'"remediated":6', b'"remediated":7')), remake_sums),
        {"reports", "signature"},
        {"reports": "^run_results.json, field counts$"},
    ),
    "run_results.json laid out otherwise": (
        then(lines("run_results.json", swap(b'"results":[', b'"results": [')), remake_sums),
        {"reports", "signature"},
        {"reports": r"^run_results.json, line \d+ is not what"},
    ),
    "a word of report.html changed": (
        then(lines("report.html", swap(b"SIMULATED", b"PRODUCTIVE")), remake_sums),
        {"reports", "signature"},
        {"reports": r"^report.html, line \d+ is not what the ledger says$"},
    ),
    "a file added": (
        lambda run: (run / "notes.txt").write_text("."),
        {"sums"},
        {"sums": "^notes.txt is there and not listed: it was added"},
    ),
    "a write-ahead log added": (
        lambda run: (run / "ledger.sqlite3-wal").write_bytes(b""),
        {"sums"},
        {"sums": "^ledger.sqlite3-wal is there and not listed: it changes what the ledger says"},
    ),
    "a draft added": (lambda run: (run / ".report.csv.draft").touch(), {"sums"}, {"sums": "^.report.csv.draft is"}),
    "a file removed": (
        lambda run: (run / "failed.csv").unlink(),
        {"sums"},
        {"sums": "^failed.csv is listed and not there$", "reports": "failed.csv is not there"},
    ),
    "a file in the place of another": (
        lambda run: (run / "report.csv").replace(run / "failed.csv"),
        {"sums", "reports"},
        {"sums": "failed.csv was changed.*\nreport.csv is listed"},
    ),
    "a link in the place of a file": (
        lambda run: (run / "report.csv").symlink_to((run / "report.csv").rename(run.parent / "elsewhere.csv")),
        {"sums"},
        {"sums": "^report.csv is no plain file$"},
    ),
    "sums that are none": (
        lambda run: (run / SUMS).write_bytes((run / SUMS).read_bytes().replace(b"  report.csv", b"  ../report.csv")),
        {"sums", "signature"},
        {"sums": "line 4 is not what this program writes"},
    ),
    "a line of the sums twice": (
        lines(SUMS, lambda old: [*old, old[-1]]),
        {"sums", "signature"},
        {"sums": "line 7 is not what this program writes"},
    ),
    "sums and the end of their last line": (
        lambda run: (run / SUMS).write_bytes((run / SUMS).read_bytes()[:-1]),
        {"sums", "signature"},
        {"sums": "do not end"},
    ),
    "a ledger that is none": (
        then(lambda run: (run / "ledger.sqlite3").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000), remake_sums),
        {"signature"},
        {"evidence": "no ledger to compare it with", "reports": "not compared"},
    ),
    "a body that is none": (
        then(ledger("UPDATE events SET body = '[' WHERE id = 3;"), remake_sums),
        {"chain", "signature"},
        {"chain": "cannot be read"},
    ),
    "bytes where there is text": (
        then(ledger("UPDATE events SET at = x'00ff' WHERE id = 30;"), remake_sums),
        {"chain", "evidence", "reports", "signature"},
        {"chain": "what this program does not write"},
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_found_and_named(run: Path, what: str) -> None:
    """Each kind of tampering is found by exactly the checks that can see it, which name what was touched."""
    act, wanted, sentences = TAMPERING[what]
    act(run)
    found = in_process(run)
    assert altered(found) == wanted, found
    for check, pattern in sentences.items():
        assert re.search(pattern, told(found, check), re.MULTILINE | re.DOTALL), told(found, check)
    assert found["result"][0] == ("altered" if wanted else "unchecked")


def test_a_run_that_nobody_touched_is_intact(made: Path, run: Path) -> None:
    """All checks pass; who signed is named only where the keys of signers are known."""
    found = in_process(run)
    assert {standing for standing, *_ in found.values()} == {"intact"}
    assert list(found) == ["sums", "chain", "evidence", "reports", "signature", "result"]
    assert "report.html, report.csv, run_results.json, failed.csv" in told(found, "reports")
    assert "nobody said whose key" in told(found, "signature")
    known = in_process(run, made / "allowed-key")
    assert "good signature by auditor@example.com, ED25519 key SHA256:" in told(known, "signature")
    assert known["result"][0] == "intact"


def remade(run: Path) -> None:
    """Change an event, and make everything anew that would tell."""
    in_ledger(run, CHANGED)
    for remake in (remake_chain, remake_evidence, remake_reports, remake_sums):
        remake(run)


def test_an_unsigned_run_says_what_that_means(tmp_path: Path, made: Path) -> None:
    """Without a signature a run that was made anew as a whole passes, and the line says that it would."""
    run = Operator(tmp_path).run("check", EXAMPLE, "-q").directory
    nobody = "nobody signed these sums: whoever can write the directory can make them anew"
    for _ in range(2):
        found = in_process(run)
        assert found["signature"][:2] == ("intact", nobody)
        assert found["result"][0] == "intact"
        assert altered(in_process(run, made / "allowed-key")) == {"signature"}
        remade(run)


def test_a_signature_that_was_taken_away_is_missed(run: Path) -> None:
    """The ledger knows that the run was told to sign; a run made anew without its signature is not called intact."""
    remade(run)
    (run / f"{SUMS}.sig").unlink()
    found = in_process(run)
    assert not altered(found)
    assert found["signature"][0] == found["result"][0] == "unchecked"
    assert "told to sign" in told(found, "signature")


def test_every_row_of_a_changed_report_is_counted_up_to_five(run: Path) -> None:
    """Many differing rows are named up to the fifth of each file."""
    lines("report.csv", swap(b"cn-north-4", b"cn-north-9"))(run)
    found = in_process(run)
    assert len(found["reports"][2]) == 5
    assert all(re.fullmatch(r"report.csv, line \d+, key \S*: region", text) for text in found["reports"][2])


OTHER_VERSION = """UPDATE events SET body = replace(body, '"version":"NOW"', '"version":"0.0.9"');"""


def test_another_version_may_use_other_words(run: Path) -> None:
    """Of a run that another version wrote, the rows of CSV and JSON are compared, and the page is not."""
    in_ledger(run, OTHER_VERSION.replace("NOW", __version__))
    remake_chain(run)
    remake_evidence(run)
    lines("report.html", swap(b"Records", b"Lines"))(run)
    remake_sums(run)
    (run / f"{SUMS}.sig").unlink()
    found = in_process(run)
    assert found["reports"][0] == "intact", found
    assert "report.csv, run_results.json (its rows), failed.csv" in told(found, "reports")
    assert f"version 0.0.9 wrote them, this is {__version__}" in told(found, "reports")
    assert "report.html is not compared: another version" in told(found, "reports")
    lines("run_results.json", swap(b'"outcome":"remediated"', b'"outcome":"compliant"'))(run)
    lines("report.csv", swap(b"ineligible", b"compliant"))(run)
    found = in_process(run)
    assert re.search(r"result \d+, key \S+: outcome", told(found, "reports"))
    assert re.search(r"report.csv, line \d+, key \S+: outcome", told(found, "reports"))
    (run / "run_results.json").write_text("{", encoding="utf-8")
    assert "run_results.json, line 1 is not what" in told(in_process(run), "reports")


def test_without_sums_a_run_is_not_called_intact(run: Path) -> None:
    """A run without sums was killed, or robbed of them; what is there is looked at all the same."""
    (run / SUMS).unlink()
    found = in_process(run)
    assert (found["sums"][0], found["signature"][0], found["result"][0]) == ("unchecked",) * 3
    assert "killed before its end, or somebody took it away" in told(found, "sums")
    assert found["reports"][0] == found["chain"][0] == found["evidence"][0] == "intact"
    lines("report.csv", swap(b"ineligible", b"compliant"))(run)
    assert altered(in_process(run)) == {"reports"}


def test_evidence_that_was_taken_away_is_missed(run: Path) -> None:
    """No evidence, sums made anew: nothing contradicts, and it is said that there is nothing to compare with."""
    (run / EVIDENCE).unlink()
    remake_sums(run)
    found = in_process(run)
    assert found["evidence"][0] == "unchecked"
    (run / "report.csv").unlink()
    remake_sums(run)
    assert "report.csv is not there" in told(in_process(run), "reports")


def test_no_run_directory_and_no_signers_are_usage_errors(run: Path, tmp_path: Path) -> None:
    """What cannot be begun ends as a fault, not as a verdict."""
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunDirFault):
            in_process(directory)
    with pytest.raises(UsageFault, match="no file"):
        in_process(run, tmp_path / "nobody")
    with pytest.raises(UsageFault, match="--signer needs"):
        verify(run, None, "auditor@example.com", lambda *_: None)


SUMMED = (*FILES, SUMS, f"{SUMS}.sig")


@settings(max_examples=30)
@given(st.sampled_from(SUMMED), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_any_byte_changed_in_any_file_is_found(made: Path, name: str, where: float, other: int) -> None:
    """Whatever single byte of a signed run is another one: the run is not intact."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(shutil.copytree(made / "run", Path(folder, "run")))
        content = bytearray((run / name).read_bytes())
        content[int(where * len(content))] ^= other
        (run / name).write_bytes(content)
        found = in_process(run)
    assert found["result"][0] == "altered"
    assert altered(found) & {"sums", "signature"}


def test_every_byte_of_sums_and_signature_counts(made: Path, tmp_path: Path) -> None:
    """No byte of the signature can be another one, not even where ssh-keygen itself would read over it."""
    run = Path(shutil.copytree(made / "run", tmp_path / "run"))
    path = run / f"{SUMS}.sig"
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        assert check_signature(run, None, "", told_to_sign=True).standing is Standing.ALTERED, at


def test_many_events_take_no_memory(tmp_path: Path) -> None:
    """Evidence is written and compared event by event: 20,000 of them take no more room than a few."""
    with Ledger(tmp_path / "ledger.sqlite3", lambda: "2026-11-24T03:34:00Z", Scrubber(), create=True) as book:
        book.append(Event(EventKind.PLANNED, None, {"digest": "", "seal": book.seal()}))
        book.append(*[Event(EventKind.DECLINED, None, {"why": "x" * 100})] * 20_000)
    tracemalloc.start()
    try:
        with Replay(tmp_path) as replay:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            export(replay.db, tmp_path)
            found = check_evidence(replay, summed=True)
            peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert (found.standing, found.said[:12]) == (Standing.INTACT, "20,001 lines")
    assert (tmp_path / EVIDENCE).stat().st_size > 6_000_000
    assert peak < 1_000_000
