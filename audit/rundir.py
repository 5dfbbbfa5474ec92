"""The run directory: its name, its lock, its birth under a dot, and files replaced whole."""

import contextlib
import fcntl
import os
import re
import shutil
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from audit.errors import LockHeld, ReportFault, RunDirFault, RunStopped, UsageFault
from audit.scrub import Scrubber

LEDGER, LOCK = "ledger.sqlite3", "lock"
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}(-simulated)?(-report)?")
_STALE_SECONDS = 3600


def run_id(now: datetime, token: str, *, simulated: bool = False) -> str:
    """``20261124T033400Z-<6 hex>``, marked for good where the run is simulated."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{token}" + ("-simulated" if simulated else "")


class Lock:
    """A kernel lock on a run directory, freed by the kernel however its process ends.

    Raises LockHeld naming the holder's pid, RunStopped where the lock cannot be made. The lock file stays: to unlink it
    would race with the next holder.
    """

    def __init__(self, directory: Path) -> None:
        try:
            self._fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RunStopped(f"cannot lock {directory}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(self._fd)
            os.close(self._fd)
            raise LockHeld(f"{directory} is in use by {holder}", "wait for it to end") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the directory free; a later holder that only reads has no pid to name."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def _holder(fd: int) -> str:
    pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
    return f"process {pid}" if pid.isdigit() else "another process"


@contextlib.contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Keep a directory from being worked in while it is read; several may read. Raises LockHeld.

    Writes nothing: works on a read-only directory, and on one without a lock file.
    """
    try:
        fd = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(f"{directory} is in use by {_holder(fd)}", "wait for it to end") from None
        yield
    finally:
        os.close(fd)


class Nursery:
    """A run directory while its plan is not complete: a dot-directory that nobody takes for a run.

    ``path`` is where it is now. ``publish`` gives it its name; ``discard`` leaves nothing behind.
    """

    def __init__(self, output_dir: Path, name: str) -> None:
        self._final = output_dir / name
        self.path = output_dir / f".{name}"
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
            _clear_stale(output_dir)
            self.path.mkdir(mode=0o700)
            self.lock = Lock(self.path)
        except OSError as error:
            raise RunStopped(f"cannot make a run directory in {output_dir}: {error.strerror}") from error

    def publish(self) -> Path:
        """Rename; no file in it may be open but the lock. Returns the final path."""
        try:
            self.path.rename(self._final)
            sync_directory(self._final.parent)
        except OSError as error:
            raise RunStopped(f"cannot name the run directory {self._final}: {error.strerror}") from error
        self.path = self._final
        return self._final

    def discard(self) -> None:
        """Remove a directory that was never published."""
        if self.path != self._final:
            shutil.rmtree(self.path, ignore_errors=True)
        self.lock.release()


def _clear_stale(output_dir: Path) -> None:
    for path in output_dir.glob(".*Z-*"):
        with contextlib.suppress(LockHeld, RunStopped, OSError):  # its owner may name or remove it meanwhile
            if not _RUN_ID.fullmatch(path.name[1:]) or time.time() - path.stat().st_mtime < _STALE_SECONDS:
                continue
            lock = Lock(path)
            shutil.rmtree(path, ignore_errors=True)
            lock.release()


def existing(directory: Path) -> Path:
    """A directory that holds a ledger, under its final name: under a dot it would be cleared. Raises RunDirFault."""
    if not (directory / LEDGER).is_file():
        why = "is no directory" if not directory.is_dir() else f"holds no {LEDGER}"
        raise RunDirFault(f"{directory} {why}: it is not a run directory")
    name = directory.resolve().name
    if name.startswith(".") and _RUN_ID.fullmatch(name[1:]):
        raise RunDirFault(f"{directory} has no complete plan: its run ended before", "begin a new run")
    return directory


def apart(output_dir: Path, directory: Path) -> None:
    """Raise UsageFault where what is written would come to lie in a run directory that is only read."""
    if output_dir.resolve().is_relative_to(directory.resolve()):
        raise UsageFault(f"--output-dir {output_dir} is inside the run directory {directory}, which is only read")


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file whole or not at all: beside it, synced, then renamed over it. Raises ReportFault."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise ReportFault(
            f"cannot write {path}: {error.strerror}", "the ledger is whole: free the disk, then kms-rotation report"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def note_crash(directory: Path, error: Exception, scrub: Scrubber) -> RunStopped:
    """Put the details of an unforeseen error into ``crash.txt``; the ending that the operator is told of."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    with contextlib.suppress(OSError):
        (directory / "crash.txt").write_text("".join(scrub(line) + "\n" for line in lines), encoding="utf-8")
    return RunStopped(f"unforeseen error: {type(error).__name__}", f"please report it with {directory / 'crash.txt'}")
