"""A run directory is born under a dot, held by one process, and its files are whole or not there."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from audit.errors import LockHeld, ReportFault, RunDirFault, RunStopped
from audit.rundir import LEDGER, LOCK, Lock, Nursery, existing, note_crash, reading, replacing, run_id
from audit.scrub import Scrubber

HOLDER = """
import sys
from pathlib import Path
from audit.rundir import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def refuse_if_held(directory: Path) -> None:
    with reading(directory):
        pass


@contextlib.contextmanager
def held_elsewhere(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A second process that holds the lock until it ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        try:
            yield holder
        finally:
            holder.kill()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_one_process_works_at_a_time(tmp_path, ending):
    """A second process is refused, told who holds the directory, and let in however the first one ends."""
    with held_elsewhere(tmp_path) as holder:
        for attempt in (Lock, refuse_if_held):
            with pytest.raises(LockHeld, match=f"in use by process {holder.pid}$"):
                attempt(tmp_path)
        holder.send_signal(ending)
        holder.wait()
        refuse_if_held(tmp_path)
        Lock(tmp_path).release()


def test_a_lock_is_taken_again_after_it_was_released(tmp_path):
    """The lock file stays, and the next holder writes its own pid into it."""
    (tmp_path / LOCK).write_text("99999999999999999999\n")
    lock = Lock(tmp_path)
    assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"
    with pytest.raises(LockHeld, match=f"process {os.getpid()}"):
        Lock(tmp_path)
    lock.release()
    Lock(tmp_path).release()


def test_looking_for_a_holder_leaves_nothing_behind(tmp_path):
    """A directory that nobody ever locked stays without a lock file, so that one on a read-only disk can be read."""
    refuse_if_held(tmp_path)
    assert not list(tmp_path.iterdir())
    lock = Lock(tmp_path)
    (tmp_path / LOCK).write_bytes(b"")  # its holder has not written its pid yet
    with pytest.raises(LockHeld, match="in use by another process"):
        refuse_if_held(tmp_path)
    lock.release()


def test_a_directory_that_is_read_is_not_worked_in(tmp_path):
    """Several may read at once; who would write is refused meanwhile, and let in afterwards."""
    Lock(tmp_path).release()
    with reading(tmp_path), reading(tmp_path), pytest.raises(LockHeld, match="in use by another process"):
        Lock(tmp_path)
    Lock(tmp_path).release()


def test_a_run_is_named_by_its_second_and_marked_when_simulated():
    """Run ids sort by time, in UTC, and tell a rehearsal from a run for good."""
    at = datetime(2026, 11, 24, 11, 34, tzinfo=timezone(timedelta(hours=8)))
    assert run_id(at, "5d0c2a") == "20261124T033400Z-5d0c2a"
    assert run_id(at.astimezone(UTC), "5d0c2a", simulated=True) == "20261124T033400Z-5d0c2a-simulated"


def test_a_run_directory_appears_when_it_is_complete(tmp_path):
    """Under a dot until it is published, mode 0700, locked throughout; afterwards it is not discarded any more."""
    nursery = Nursery(tmp_path / "new" / "runs", "20261124T033400Z-5d0c2a")
    assert nursery.path.name == ".20261124T033400Z-5d0c2a"
    assert nursery.path.stat().st_mode & 0o777 == 0o700
    (nursery.path / LEDGER).write_text("whole")
    final = nursery.publish()
    assert [path.name for path in (tmp_path / "new" / "runs").iterdir()] == ["20261124T033400Z-5d0c2a"]
    with pytest.raises(LockHeld):
        refuse_if_held(final)
    nursery.discard()
    refuse_if_held(final)
    assert (existing(final) / LEDGER).read_text() == "whole"


def test_a_run_that_fails_before_its_plan_leaves_nothing(tmp_path):
    """Discarded before it was published, a run directory is gone with all that is in it."""
    nursery = Nursery(tmp_path, "20261124T033400Z-5d0c2a")
    (nursery.path / LEDGER).write_text("half")
    nursery.discard()
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    """Neither a file in the way nor a directory of the same name ends in a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(RunStopped, match="file: "):
        Nursery(tmp_path / "file", "20261124T033400Z-5d0c2a")
    nursery = Nursery(tmp_path, "20261124T033400Z-5d0c2a")
    (tmp_path / "20261124T033400Z-5d0c2a").mkdir()
    (tmp_path / "20261124T033400Z-5d0c2a" / "evidence").touch()
    with pytest.raises(RunStopped, match="20261124T033400Z-5d0c2a: "):
        nursery.publish()
    nursery.discard()
    with pytest.raises(RunDirFault, match=f"holds no {re.escape(LEDGER)}"):
        existing(tmp_path)
    with pytest.raises(RunDirFault, match="is no directory"):
        existing(tmp_path / "nowhere")


def test_only_what_nobody_holds_any_more_is_cleared(tmp_path):
    """Cleared are unlocked dot-directories of runs, older than an hour; no other file, however old, and no run."""
    hours_ago = datetime.now(UTC).timestamp() - 3700
    names = {
        "left behind": ".20261124T033400Z-00000a", "rehearsal": ".20261124T033400Z-00000b-simulated",
        "held": ".20261124T033400Z-00000c", "young": ".20261124T033400Z-00000d", "a run": "20261124T033400Z-00000e",
        "not ours": ".20261124T033400Z-backup", "hidden": ".git", "a file": ".20261124T033400Z-00000f",
    }  # fmt: skip
    for what, name in names.items():
        (tmp_path / name).touch() if what == "a file" else (tmp_path / name).mkdir()
    (tmp_path / names["left behind"] / LEDGER).touch()
    (tmp_path / ".20261124T033400Z-000010").symlink_to(tmp_path / "gone")
    with held_elsewhere(tmp_path / names["held"]):
        for name in set(names.values()) - {names["young"]}:
            os.utime(tmp_path / name, (hours_ago, hours_ago))
        Nursery(tmp_path, "20261124T043400Z-5d0c2a").discard()
    left = {path.name for path in tmp_path.iterdir()} - {".20261124T033400Z-000010"}
    assert left == set(names.values()) - {names["left behind"], names["rehearsal"]}


def fail(file, error):
    file.write(b"half of the new")
    raise error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a template broke")])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, error):
    """When writing fails half-way the old file is whole, and no draft is left."""
    path = tmp_path / "report.csv"
    path.write_bytes(b"old")
    with pytest.raises(ReportFault if isinstance(error, OSError) else ValueError), replacing(path) as file:
        fail(file, error)
    assert path.read_bytes() == b"old"
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("report.csv", b"new")]


def test_a_folder_that_is_not_there_is_a_report_that_cannot_be_written(tmp_path):
    """Whatever the system says to opening or removing the draft, the ending is the one that operators know."""
    (tmp_path / "file").touch()
    for folder in ("nowhere", "file"):
        with (
            pytest.raises(ReportFault, match=r"cannot write .*report\.csv: .*directory"),
            replacing(tmp_path / folder / "report.csv"),
        ):
            pass


def test_a_crash_is_noted_without_secrets(tmp_path):
    """An unforeseen error leaves its details in crash.txt, scrubbed, and one line for the operator."""
    with pytest.raises(KeyError) as caught:
        {}["s3cret-and-more"]
    ending = note_crash(tmp_path, caught.value, Scrubber(["s3cret"]))
    text = (tmp_path / "crash.txt").read_text()
    assert str(ending) == "unforeseen error: KeyError"
    assert ending.exit_code == 1
    assert "crash.txt" in ending.next_step
    assert "[redacted]-and-more" in text
    assert "s3cret" not in text
    assert "test_rundir.py" in text
