"""The console script as its users have it: a real process in a clean environment, and what it leaves behind."""

import csv
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Self

import pytest

from audit.model import FACT_NAMES, Key
from audit.replay import Replay
from audit.simulator import Core
from tests.simulated import ACCESS_KEY, SECRET_KEY

SCRIPT = Path(sys.executable).with_name("kms-rotation")
CREDENTIALS = {"HUAWEICLOUD_SDK_AK": ACCESS_KEY, "HUAWEICLOUD_SDK_SK": SECRET_KEY}
FAST = ("--rate", "1000", "--concurrency", "16")
ENABLE, INTERVAL = "enable-key-rotation", "update-key-rotation-interval"
LIST, DESCRIBE, STATUS = "list-keys", "describe-key", "get-key-rotation-status"
WRITES = frozenset({ENABLE, INTERVAL, "disable-key-rotation"})

# Ctrl-C is the terminal's doing: it sends the signal to whoever it is the terminal of.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
_BOUND_FILES = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2);"
    "os.execv(sys.argv[2], sys.argv[2:])"
)

_CLOSE_INPUT = "import os, sys; os.close(0); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True)
class Ended:
    """How a process ended. ``home``: where it was started."""

    exit_code: int
    stdout: str
    stderr: str
    home: Path

    @property
    def directory(self) -> Path:
        """The directory that standard output names; it must name one and nothing else."""
        (line,) = self.stdout.splitlines()
        assert self.stdout == line + "\n"
        return self.home / line


class Operator:
    """Somebody with a home, credentials and a shell. ``environ``: what is set beside the credentials."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COV")}
        self.environ = {**kept, "HOME": str(home), "LANG": "C.UTF-8", **CREDENTIALS, **environ}

    def inventory(
        self, keys: Iterable[Key], *, name: str = "inventory.csv", columns: Iterable[str] = (), extra: str = ""
    ) -> str:
        """Write an inventory that states place and facts of these keys; ``extra``: lines to add. Returns its name."""
        columns = tuple(columns) or ("key_id", "account", "region", "project_id", *FACT_NAMES)
        with (self.home / name).open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(columns)
            for key in keys:
                place = key.place
                stated = {"key_id": key.key_id, "account": place.account, "region": place.region}
                stated |= {"project_id": place.project_id, **key.facts.stated()}
                lines.writerow([stated.get(column, "") for column in columns])
            file.write(extra)
        return name

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file at home. Returns its name."""
        (self.home / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def run(
        self, *arguments: object, typed: str | bytes | None = "", seconds: float = 60, largest: int = 0, **environ: str
    ) -> Ended:
        """Run a command to its end.

        ``typed``: standard input, which is no terminal; None: it is closed. ``largest``: bytes above which no file can
        grow, as on a full disk; 0 for no such bound.
        """
        command = [str(SCRIPT), *map(str, arguments)]
        if largest:
            command = [sys.executable, "-c", _BOUND_FILES, str(largest), *command]
        if typed is None:
            command = [sys.executable, "-c", _CLOSE_INPUT, *command]
        done = subprocess.run(
            command,
            cwd=self.home,
            env={**self.environ, **environ},
            input=typed.encode() if isinstance(typed, str) else typed or b"",
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode(), self.home)

    @contextmanager
    def start(self, *arguments: object, **environ: str) -> "Iterator[Started]":
        """Start a command and leave it running; it is killed at the end of the block if it runs then."""
        process = subprocess.Popen(
            [str(SCRIPT), *map(str, arguments)],
            cwd=self.home,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                yield Started(process, self.home)
            finally:
                process.kill()

    @contextmanager
    def simulator(self, inventory: str, *arguments: object, **environ: str) -> Iterator[str]:
        """Serve a simulated KMS from a process of its own; yields its URL."""
        with self.start("simulator", "--inventory", inventory, *arguments, **environ) as started:
            yield started.line()
            started.process.terminate()
            assert started.wait().exit_code == 0

    @contextmanager
    def at_terminal(self, *arguments: object, **environ: str) -> "Iterator[Dialogue]":
        """Run a command on a terminal of its own; standard output stays a pipe."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, str(SCRIPT), *map(str, arguments)],
            cwd=self.home,
            env={**self.environ, "TERM": "xterm", "COLUMNS": "120", **environ},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            with process:
                try:
                    yield Dialogue(process, ours, self.home)
                finally:
                    process.kill()
        finally:
            os.close(ours)


@dataclass
class Started:
    """A process that runs."""

    process: "subprocess.Popen[bytes]"
    home: Path

    def line(self) -> str:
        """The next line of standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def signal(self, number: int) -> Self:
        """Send a signal to this process alone."""
        self.process.send_signal(number)
        return self

    def wait(self, seconds: float = 60) -> Ended:
        """Wait for the end."""
        stdout, stderr = self.process.communicate(timeout=seconds)
        return Ended(self.process.returncode, stdout.decode(), stderr.decode(), self.home)


class Dialogue:
    """A process at a terminal. ``seen``: all that the terminal showed so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", terminal: int, home: Path) -> None:
        self.process, self._terminal, self._home = process, terminal, home
        self.seen = ""

    def until(self, text: str, seconds: float = 30) -> None:
        """Read on until the terminal has shown a text."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} never came: {self.seen!r}"
            if not self._read(0.1) and self.process.poll() is not None and not self._read(0.1):
                raise AssertionError(f"the process ended before {text!r}: {self.seen!r}")

    def type(self, text: str | bytes) -> None:
        """Press keys."""
        os.write(self._terminal, text.encode() if isinstance(text, str) else text)

    def wait(self, seconds: float = 60) -> Ended:
        """Read on until the process ends."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"the process does not end: {self.seen!r}"
            self._read(0.1)
        while self._read(0.0):
            pass
        assert self.process.stdout is not None
        return Ended(self.process.returncode, self.process.stdout.read().decode(), self.seen, self._home)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        try:
            told = os.read(self._terminal, 65536)
        except OSError:  # the other side is closed
            return False
        self.seen += told.decode(errors="replace")
        return bool(told)


def until(what: Callable[[], object], seconds: float = 30) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.005)


# Tests that mostly wait ---------------------------------------------------------------------------------------------

_BEGUN: "dict[tuple[str, str], Future[None]]" = {}


def waiting(test: Callable[..., None]) -> Callable[..., None]:
    """A test that mostly waits for processes: ``begin`` begins it with its module, and its turn is only to collect.

    It takes an ``operator`` and what it is parametrised with, nothing else.
    """

    @wraps(test)
    def collect(operator: Operator, **parameters: object) -> None:
        begun = _BEGUN.pop(_named(test, parameters), None)
        if begun is None:
            test(operator=operator, **parameters)
        else:
            begun.result()

    collect.waiting = test  # type: ignore[attr-defined]
    return collect


def begin(hands: int = 2) -> Any:  # a pytest fixture
    """A fixture that begins the waiting tests of its module when the module begins, ``hands`` at a time."""

    @pytest.fixture(scope="module", autouse=True)
    def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with ThreadPoolExecutor(hands) as pool:
            for item in request.session.items:
                if item.module is request.module and hasattr(item.function, "waiting"):
                    parameters = item.callspec.params if hasattr(item, "callspec") else {}
                    home, test = tmp_path_factory.mktemp("begun"), item.function.waiting
                    _BEGUN[_named(test, parameters)] = pool.submit(test, operator=Operator(home), **parameters)
            yield
            pool.shutdown(cancel_futures=True)

    return begun


def _named(test: Callable[..., None], parameters: dict[str, object]) -> tuple[str, str]:
    return f"{test.__module__}.{test.__name__}", repr(sorted(parameters.items()))


# What a run leaves behind -------------------------------------------------------------------------------------------


def rows(directory: Path) -> list[dict[str, str]]:
    """The rows of ``report.csv``."""
    with (directory / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def outcomes(directory: Path) -> dict[str, int]:
    """How many rows of ``report.csv`` have which outcome."""
    return dict(Counter(row["outcome"] for row in rows(directory)))


def results(directory: Path) -> dict[str, Any]:
    """``run_results.json``."""
    told: dict[str, Any] = json.loads((directory / "run_results.json").read_text(encoding="utf-8"))
    return told


def events(directory: Path, kind: str = "") -> list[tuple[int, str, int | None, dict[str, Any]]]:
    """Number, kind, step and body of every event of the ledger, or of those of one kind. Writes nothing."""
    query = "SELECT id, kind, step, body FROM events ORDER BY id"
    with Replay(directory) as replay:
        told = [(number, name, step, json.loads(body)) for number, name, step, body in replay.db.execute(query)]
    return [event for event in told if kind in {"", event[1]}]


def digest(directory: Path) -> str:
    """The digest of the plan."""
    (body,) = [body for _, _, _, body in events(directory, "planned")]
    return str(body["digest"])


def fault(directory: Path) -> str:
    """What is wrong with the ledger's chain and seal; empty where it is whole."""
    with Replay(directory) as replay:
        return replay.proof().fault


def left_behind(home: Path) -> list[str]:
    """The names in the output directory, those that begin with a dot too."""
    return sorted(path.name for path in (home / "runs").iterdir()) if (home / "runs").exists() else []


def one_message(stderr: str) -> bool:
    """Whether standard error holds a message for people: its line, at most one more that says how to go on."""
    lines = stderr.splitlines()
    return 1 <= len(lines) <= 2 and lines[0].startswith("kms-rotation: ") and "Traceback" not in stderr


def snapshot(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything about the files of a directory that writing into it would change."""
    told = {
        path.name: (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes()) for path in directory.iterdir()
    }
    return {**told, ".": (directory.stat().st_mtime_ns, directory.stat().st_mode, b"")}


# What the simulated KMS saw -----------------------------------------------------------------------------------------


def calls(simulated: Core) -> dict[str, int]:
    """How many requests there were of each operation."""
    return dict(Counter(served.operation for served in list(simulated.log)))


def writes(simulated: Core) -> list[Any]:
    """The write requests, in order of arrival."""
    return [served for served in list(simulated.log) if served.operation in WRITES]


def truthful(simulated: Core, told: Iterable[dict[str, str]]) -> list[str]:
    """The rows whose outcome the true state contradicts; there must be none."""
    lies = []
    for row in told:
        state = simulated.state(row["region"], row["project_id"], row["key_id"])
        on = state is not None and state[0]
        if (row["outcome"] in {"remediated", "compliant"} and not on) or (row["outcome"] == "missing" and state):
            lies.append(f"{row['key_id']}: {row['outcome']}, in truth {state}")
        if row["outcome"] in {"refused", "planned", "not_attempted", "non_compliant"} and on:
            lies.append(f"{row['key_id']}: {row['outcome']}, in truth {state}")
    return lies


def one_sequence_per_request(simulated: Core) -> bool:
    """Whether every key and action was only ever asked for with one sequence, and no sequence served for two."""
    asked = {(served.project_id, served.key_id, served.operation, served.sequence) for served in writes(simulated)}
    return len(asked) == len({one[:3] for one in asked}) == len({one[3] for one in asked})


SEQUENCE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
