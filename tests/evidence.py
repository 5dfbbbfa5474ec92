"""Somebody who alters a run afterwards, and knows how it is made."""

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from audit.evidence import export, sum_up
from audit.proving import verify
from audit.replay import Replay
from audit.report import own, render
from audit.tables import START, event_hash
from tests.command import Ended

Checks = dict[str, tuple[str, str, list[str]]]
"""By what was checked: how it stands, the sentence, what was found."""


def in_process(directory: Path, signers: Path | None = None) -> Checks:
    """What a verification finds, without a process of its own."""
    found: Checks = {}

    def told(what: str, standing: str, said: str, details: object) -> None:
        found[what] = (standing, said, list(details))  # type: ignore[call-overload]  # a sequence of texts

    verify(directory, signers, "", told)
    return found


def checks(ended: Ended) -> Checks:
    """What ``verify --log-format json`` told on standard error."""
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    return {line["check"]: (line["standing"], line["message"], line["details"]) for line in lines}


def altered(found: Checks) -> set[str]:
    """What is altered, apart from the result."""
    return {what for what, (standing, *_) in found.items() if standing == "altered"} - {"result"}


def told(found: Checks, what: str) -> str:
    """All that was said of one check."""
    return "\n".join([found[what][1], *found[what][2]])


def in_ledger(directory: Path, script: str) -> None:
    """Run statements on a ledger that refuses nothing any more."""
    with closing(sqlite3.connect(directory / "ledger.sqlite3")) as db:
        for trigger in ("events_stay", "events_are_kept"):
            db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        db.executescript(f"PRAGMA foreign_keys = OFF; {script}")


def remake_chain(directory: Path) -> None:
    """Number the events anew and give each the hash of the one before; the triggers must be gone."""
    with closing(sqlite3.connect(directory / "ledger.sqlite3")) as db, db:
        rows = db.execute("SELECT at, kind, step, body FROM events ORDER BY id").fetchall()
        db.execute("DELETE FROM events")
        head = START
        for number, (at, kind, step, body) in enumerate(rows, 1):
            row = (number, at, kind, step, body, head)
            db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
            head = event_hash(*row)


def remake_sums(directory: Path) -> None:
    """Sums that fit what is there now."""
    sum_up(directory)


def remake_evidence(directory: Path) -> None:
    """``evidence.jsonl`` from the ledger as it is now."""
    with Replay(directory) as replay:
        export(replay.db, directory)


def remake_reports(directory: Path) -> None:
    """The reports from the ledger as it is now."""
    with Replay(directory) as replay:
        render.write(own.build(replay), directory, own.formats(replay) or render.FORMATS)


def new_key(home: Path, name: str, passphrase: str = "") -> Path:
    """A new SSH key; its public half lies beside it."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(home / name)]
    subprocess.run(argv, check=True)
    return home / name


def allow(home: Path, key: Path, who: str = "auditor@example.com") -> Path:
    """A file of allowed signers that knows one key."""
    path = home / f"allowed-{key.name}"
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    path.write_text(f'{who} namespaces="kms-rotation" {public}', encoding="utf-8")
    return path
