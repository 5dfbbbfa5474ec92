"""What a run writes as evidence: its events as text, sums in one form, and the sums of before under numbers."""

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest

from audit.errors import LedgerFault, ReportFault, RunStopped
from audit.evidence import EVIDENCE, SIGNATURE, SUMS, export, keep, kept, parsed, ranges, sum_up, written
from audit.ledger import Ledger
from audit.replay import Replay
from audit.scrub import Scrubber
from audit.tables import Event, EventKind
from tests.evidence import in_ledger

NOW = "2026-11-24T03:34:00Z"
A, B = "a" * 64, "b" * 64


def ledger(directory: Path, *bodies: dict[str, object]) -> Path:
    """A ledger with a plan and these bodies."""
    with Ledger(directory / "ledger.sqlite3", lambda: NOW, Scrubber(), create=True) as book:
        book.append(Event(EventKind.PLANNED, None, {"digest": "", "seal": book.seal()}))
        book.append(*(Event(EventKind.DECLINED, None, body) for body in bodies))
    return directory


def test_the_chain_can_be_taken_again_from_the_text_alone(tmp_path: Path) -> None:
    """Whatever stands in a body, ten lines of Python take every hash again, and the last one is the ledger's."""
    bodies = [{}, {"why": 'quotes " and \\ and 密钥 🔑 \u2028'}, {"n": 1.0, "big": 10**30, "deep": [[None, True]]}]
    with Replay(ledger(tmp_path, *bodies)) as replay:
        export(replay.db, tmp_path)
        stored = [body for (body,) in replay.db.execute("SELECT body FROM events ORDER BY id")]
        proof = replay.proof()
    head = "0" * 64
    lines = [json.loads(line) for line in (tmp_path / EVIDENCE).read_text(encoding="utf-8").split("\n")[:-1]]
    for event in lines:
        assert event["previous"] == head
        columns = [event[name] for name in ("id", "at", "kind", "step", "body", "previous")]
        assert event["hash"] == hashlib.sha256(json.dumps(columns).encode()).hexdigest()
        head = event["hash"]
    assert (head, len(lines), [event["body"] for event in lines]) == (proof.head, proof.events, stored)
    assert [json.loads(event["body"]) for event in lines[1:]] == bodies


def test_evidence_that_cannot_be_written_leaves_none(tmp_path: Path) -> None:
    """Neither half of the new one stays nor the one of before, which would tell of an earlier state."""
    with Replay(ledger(tmp_path, {})) as replay:
        db = sqlite3.connect(":memory:")
        db.execute("CREATE TABLE events (id, at, kind, step, body, previous)")
        db.execute("INSERT INTO events VALUES (1, x'00', 'declined', NULL, '{}', '')")
        export(replay.db, tmp_path)
        with pytest.raises(LedgerFault, match="cannot be read"):
            export(db, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite3"]
        export(replay.db, tmp_path)
        (tmp_path / f".{EVIDENCE}.draft").mkdir()
        with pytest.raises(ReportFault):
            export(replay.db, tmp_path)
        assert not (tmp_path / EVIDENCE).exists()
        db.close()


def test_sums_cover_the_files_of_a_run_and_no_others(tmp_path: Path) -> None:
    """Covered is what the program writes, sums of before included; not lock, signature, foreign files and drafts."""
    covered = ["crash.txt", "ledger.sqlite3", "ledger.sqlite3-wal", "report.csv", f"{SUMS}.1", f"{SUMS}.1.sig"]
    for name in (*covered, "lock", SIGNATURE, "notes.txt", ".report.html.draft", f"{SUMS}.01", f"{SUMS}.x"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    sum_up(tmp_path)
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in covered}
    assert parsed((tmp_path / SUMS).read_bytes()) == digests
    assert not (tmp_path / ".report.html.draft").exists()
    (tmp_path / ".report.html.draft").mkdir()
    with pytest.raises(ReportFault, match="cannot write"):
        sum_up(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"\n", f"{A} report.csv\n", f"{A}  report.csv\r\n", f"{A} *report.csv\n", f"{A.upper()}  report.csv\n",
        f"{A}  ../report.csv\n", f"{A}  ..\n", f"{A}  SHA256SUMS\n", f"{A}  lock\n", f"{A}  b\n{A}  a\n",
        f"{A}  a\n{B}  a\n", f"{A}  a", f"{A}  \xe4\n", f"\\{A}  a\n",
    ],
)  # fmt: skip
def test_sums_have_one_form(text: str | bytes) -> None:
    """What the program does not write so is no list of sums: no path, no second form of a line, no other order."""
    with pytest.raises(ValueError, match="this program writes"):
        parsed(text.encode() if isinstance(text, str) else text)


def test_what_is_written_is_read() -> None:
    """Sums come back as they were, by name; none at all are sums too."""
    assert written({"b": B, "a": A}) == f"{A}  a\n{B}  b\n".encode()
    assert parsed(written({"b": B, "a": A})) == {"a": A, "b": B}
    assert parsed(b"") == {}


def test_sums_of_before_are_kept_under_numbers(tmp_path: Path) -> None:
    """Every taking up gives them the next number, with their signature; who was killed in between does it again."""
    keep(tmp_path)
    assert kept(tmp_path) == []
    for number in range(1, 12):
        (tmp_path / SUMS).write_text(str(number), encoding="utf-8")
        if number % 2:
            (tmp_path / SIGNATURE).write_text(str(number), encoding="utf-8")
        keep(tmp_path)
        assert (tmp_path / f"{SUMS}.{number}").read_text(encoding="utf-8") == str(number)
        assert (tmp_path / f"{SUMS}.{number}.sig").exists() == bool(number % 2)
    assert kept(tmp_path)[-2:] == [f"{SUMS}.11", f"{SUMS}.11.sig"]
    (tmp_path / SUMS).touch()
    (tmp_path / f"{SUMS}.12.sig").touch()  # killed between the two
    keep(tmp_path)
    assert kept(tmp_path)[-2:] == [f"{SUMS}.12", f"{SUMS}.12.sig"]
    (tmp_path / SUMS).touch()
    (tmp_path / f"{SUMS}.13").mkdir()
    (tmp_path / f"{SUMS}.13" / "x").touch()
    with pytest.raises(RunStopped, match="cannot keep"):
        keep(tmp_path)


def test_numbers_are_told_in_ranges() -> None:
    """Neighbours stand together, and of many ranges the first ten are told."""
    assert ranges([9, 3, 5, 6, 7]) == "3, 5-7, 9"
    assert ranges(range(0, 30, 2)) == "0, 2, 4, 6, 8, 10, 12, 14, 16, 18, ..."


BREAKS = {
    "the first is not the first": (
        "DELETE FROM events WHERE id = 1; UPDATE events SET id = id - 1;",
        "it is not the first that was written",
    ),
    "several are gone": ("DELETE FROM events WHERE id IN (3, 4);", "events 3 to 4 are gone"),
    "one was changed and the next as well": (
        "UPDATE events SET at = 'x' WHERE id IN (3, 4);",
        "event 4 was changed or put in, or event 3 was changed, or some between them are gone",
    ),
    "one is gone and the rest is numbered anew": (
        "DELETE FROM events WHERE id = 3; UPDATE events SET id = id - 1 WHERE id > 3;",
        "event 3 was changed or put in",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_break_is_told_as_far_as_it_is_known(tmp_path: Path, what: str) -> None:
    """Where the hashes leave more than one story, all of them are told."""
    script, wanted = BREAKS[what]
    in_ledger(ledger(tmp_path, *[{}] * 6), script)
    with Replay(tmp_path) as replay:
        assert wanted in replay.proof().fault
