"""An inventory of a million lines through `check`: how long, how much memory, and where the time goes."""

import csv
import os
import random
import sqlite3
import sys
import time
import uuid
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

RECORDS = 1_000_000
_HEADER = (
    "key_id,account,region,project_id,key_alias,domain_id,key_spec,key_state,default_key_flag,origin,"
    "key_rotation_enabled,rotation_interval"
)
_COMMAND = "import sys; sys.argv[0] = 'kms-rotation'; from audit.cli import main; main()"
_REPORTS = ("report.html", "report.csv", "run_results.json", "failed.csv")


def main() -> list[tuple[str, str, float, str]]:
    """Case, figure, value and aim; seconds by the clock, so they depend on the machine."""
    with TemporaryDirectory() as folder:
        inventory = Path(folder, "inventory.csv")
        _write(inventory)
        plain = _read_alone(inventory)
        begun = time.time()
        peak = _check(inventory, folder)
        seconds = time.time() - begun
        (run,) = (path for path in Path(folder).iterdir() if path.is_dir())
        return [
            ("whole run", "seconds", seconds, "at most 60"),
            ("whole run", "of csv.reader alone", seconds / plain, "told, not aimed at"),
            ("whole run", "peak memory, MB", peak, "at most 1,500"),
            *(("of it", name, value, "told, not aimed at") for name, value in _stages(run, begun)),
        ]


def _write(path: Path) -> None:
    chance = random.Random(7)  # noqa: S311  # the same file every time
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEADER + "\n")
        for n in range(RECORDS):
            kind = n % 20
            spec, state = ("RSA_2048" if kind == 3 else "AES_256"), ("3" if kind == 5 else "2")
            origin, rotates = ("external" if kind == 9 else "kms"), ("false" if kind in {7, 8} else "true")
            key_id = uuid.UUID(int=chance.getrandbits(128))
            where = f"prod,cn-north-{1 + n % 4},{'0123456789abcdef' * 2}"
            file.write(f"{key_id},{where},app-{n},d1,{spec},{state},0,{origin},{rotates},365\n")


def _read_alone(path: Path) -> float:
    begun = time.perf_counter()
    with path.open(encoding="utf-8", newline="") as file:
        records = sum(1 for _ in csv.reader(file)) - 1
    assert records == RECORDS
    return time.perf_counter() - begun


def _check(inventory: Path, folder: str) -> float:
    """Run it in a process of its own; its peak memory in MB."""
    arguments = ("check", str(inventory), "--quiet", "--output-dir", folder)
    pid = os.posix_spawn(sys.executable, (sys.executable, "-c", _COMMAND, *arguments), os.environ)
    _, status, used = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 3, "a tenth of the keys is not compliant"
    return used.ru_maxrss / 1024


def _stages(run: Path, begun: float) -> list[tuple[str, float]]:
    """Seconds until the records were in the ledger, until it was sealed, and for each report."""
    with sqlite3.connect(run / "ledger.sqlite3") as ledger:
        events = dict(ledger.execute("SELECT kind, at FROM events").fetchall())
        (records,) = ledger.execute("SELECT COUNT(*) FROM records").fetchone()
    assert records == RECORDS
    loaded, planned = (datetime.fromisoformat(events[kind]).timestamp() for kind in ("started", "planned"))
    told = [("reading and judging, seconds", loaded - begun), ("sealing, seconds", planned - loaded)]
    before = planned
    for name in _REPORTS:
        written = (run / name).stat().st_mtime
        told.append((f"{name}, seconds", written - before))
        before = written
    return told
