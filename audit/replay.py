"""From the ledger to what became of every record: a pure reading, the same today and in a year.

``Replay`` reads a run directory without writing into it, rebuilds the history of every step from the events, proves the
chain of events, and yields one ``Record`` per row of the inventory.
"""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from audit.chain import Proof, prove
from audit.conclude import conclude, worst
from audit.errors import LedgerFault
from audit.model import Facts, Place, drift
from audit.outcome import Action, Attempt, Ending, History, Meaning, Outcome, ReadBack, Record
from audit.rundir import LEDGER, existing
from audit.tables import EventKind, RecordRow, UnlistedRow, check_version
from audit.waiver import Waivers


@dataclass(slots=True)
class Course:
    """What the events tell of the run as a whole.

    ``begun``: the plan was approved. ``ended``: why the last process ended early, empty where it did not.
    ``exit_code``: of that ending alone, whatever the outcomes say. ``digest``: of the plan, empty before there is one.
    ``places``: those given up, with the reason. ``walks``, ``started``: bodies of these events. ``first_at``,
    ``last_at``: of all events.
    """

    begun: bool = False
    ended: str = ""
    exit_code: int = 0
    digest: str = ""
    seal: str = ""
    places: dict[Place, str] = field(default_factory=dict)
    walks: list[Mapping[str, Any]] = field(default_factory=list)
    started: list[Mapping[str, Any]] = field(default_factory=list)
    first_at: str = ""
    last_kind: EventKind | None = None
    last_at: str = ""


class Replay:
    """The reading side of a ledger. Context manager.

    ``about``: what the run is, by name (see ``run``). ``course``: the run as a whole. ``steps``: histories by step
    number. ``waivers``: those that the run was made with. Raises RunDirFault on a directory or version that cannot be
    read, LedgerFault on a broken file.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = existing(directory)
        path = self.directory / LEDGER
        try:
            with contextlib.ExitStack() as held:
                self.db = _opened(path, held)
                check_version(self.db, path, exact=False)
                self._read()
                self._held = held.pop_all()
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerFault(f"{path} cannot be read: {error}") from error

    def _read(self) -> None:
        self.about: dict[str, Any] = {n: json.loads(v) for n, v in self.db.execute("SELECT name, value FROM run")}
        self.columns: tuple[str, ...] = tuple(self.about.get("columns", ()))
        self.waivers = Waivers.recorded(self.about.get("waivers"))
        self.course, self.steps = Course(), histories(self.db)
        for at, kind, text in self.db.execute("SELECT at, kind, body FROM events WHERE step IS NULL ORDER BY id"):
            self.course.first_at = self.course.first_at or at
            _course_event(self.course, EventKind(kind), json.loads(text))
        (self.course.last_at,) = self.db.execute("SELECT COALESCE(MAX(at), '') FROM events").fetchone()

    def close(self) -> None:
        """Close the file, and remove the copy if there is one."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def proof(self) -> Proof:
        """Walk the chain of events and compare the seal over records, steps and unlisted keys."""
        return prove(self.db, self.course.seal)

    def rows(self) -> Iterator[RecordRow]:
        """Every record as it was sealed, in the order of the inventory."""
        return map(RecordRow._make, self.db.execute("SELECT * FROM records ORDER BY n"))

    def records(self, wanted: Collection[Outcome] = frozenset(Outcome)) -> Iterator[Record]:
        """Every record with one of these outcomes, in the order of the inventory."""
        by_record: dict[int, list[History]] = {}
        for history in self.steps.values():
            by_record.setdefault(history.record, []).append(history)
        for row in self.rows():
            steps = by_record.get(row.n, [])
            if (steps or row.outcome is None or row.outcome in wanted) and (
                record := self._record(row, steps)
            ).outcome in wanted:
                yield record

    def unlisted(self) -> Iterator[UnlistedRow]:
        """The keys that KMS has and the inventory does not name."""
        query = "SELECT account, region, project_id, key_id, live FROM unlisted ORDER BY n"
        return map(UnlistedRow._make, self.db.execute(query))

    def _record(self, row: RecordRow, steps: list[History]) -> Record:
        cells: tuple[str, ...] = tuple(_decode(row.cells)[0])
        outcome = Outcome.UNKNOWN if row.outcome is None else _OUTCOMES[row.outcome]
        whole = len(cells) == len(self.columns)  # a record of another width or with broken quoting has no fields
        stated = Facts.of(dict(zip(self.columns, cells, strict=True))) if whole else Facts()
        live = Facts.of(json.loads(row.live)) if row.live else None
        before = live.over(stated) if live else stated
        ending, after, requests, changed = Ending(outcome, row.reason), _NOTHING, _NO_REQUESTS, False
        if steps:
            ending = self._ending(row, steps)
            shown = [step for step in steps if step.superseded is None]
            after = next((s.read_back.facts for s in reversed(shown) if s.read_back and s.read_back.facts), after)
            requests, changed = _requests(shown), any(step.reached for step in shown)
        return Record(
            row.line,
            row.account,
            row.region,
            row.project_id,
            row.key_id,
            stated.key_alias or (live.key_alias if live else ""),
            ending.outcome,
            row.rules,
            ending.reason,
            requests.action,
            requests.sequence,
            before.key_rotation_enabled,
            after.key_rotation_enabled,
            before.rotation_interval,
            after.rotation_interval,
            requests.attempts,
            requests.http_status,
            requests.error_code,
            requests.error_msg,
            requests.request_id,
            requests.requested_at,
            requests.verified_at,
            changed,
            cells,
            drift(stated, live) if live else {},
        )

    def _ending(self, row: RecordRow, steps: list[History]) -> Ending:
        course, place = self.course, Place(row.account, row.region, row.project_id)
        ended = course.places.get(place) or course.ended
        ending = worst([conclude(step, begun=course.begun or bool(ended), ended=ended) for step in steps])
        return Ending(ending.outcome, ending.reason or row.reason)


_decode = json.JSONDecoder().raw_decode  # a million times: what the ledger wrote needs no look around
_NOTHING = Facts()


def _joined(parts: list[str]) -> str:
    return ";".join(parts) if any(parts) else ""


class _Requests(NamedTuple):
    """The columns of a record that tell of its requests; of two steps both."""

    action: str
    sequence: str
    attempts: str
    http_status: str
    error_code: str
    error_msg: str
    request_id: str
    requested_at: str
    verified_at: str


def _requests(steps: list[History]) -> _Requests:
    last = [step.answer or (step.attempts[-1] if step.attempts else Attempt(Meaning.UNSENT)) for step in steps]
    tries = [sum(attempt.meaning is not Meaning.THROTTLED for attempt in step.attempts) for step in steps]
    return _Requests(
        _joined([step.action.value for step in steps]),
        _joined([step.sequence for step in steps]),
        _joined([str(count or "") for count in tries]),
        _joined([str(attempt.status or "") for attempt in last]),
        _joined([attempt.code for attempt in last]),
        _joined([attempt.message for attempt in last]),
        _joined([attempt.request_id for attempt in last]),
        _joined([attempt.at for attempt in last]),
        _joined([s.read_back.at if s.read_back and s.read_back.facts else "" for s in steps]),
    )


_NO_REQUESTS = _requests([])
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


def _opened(path: Path, held: contextlib.ExitStack) -> sqlite3.Connection:
    """A connection that reads and leaves no trace beside the file."""
    mode = "ro&immutable=1"
    if path.with_name(f"{path.name}-wal").exists():
        # A killed process left its write-ahead log; SQLite would write there to read it, so a copy is read.
        copy = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="kms-rotation-")), path.name)
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
        path, mode = copy, "rw"
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)
    held.callback(db.close)
    return db


def histories(db: sqlite3.Connection) -> dict[int, History]:
    """What is on record of every step, by step number."""
    rows = db.execute("SELECT number, record, action, interval, sequence FROM steps ORDER BY number")
    steps = {number: History(record, Action(action), days, seq) for number, record, action, days, seq in rows}
    for step, kind, text in db.execute("SELECT step, kind, body FROM events WHERE step IS NOT NULL ORDER BY id"):
        step_event(steps[step], EventKind(kind), json.loads(text))
    return steps


def _course_event(course: Course, kind: EventKind, body: Mapping[str, Any]) -> None:
    match kind:
        case EventKind.STARTED:
            course.started.append(body)
            course.places.clear()
            course.ended = course.ended if course.begun else ""
        case EventKind.WALKED:
            course.walks.append(body)
        case EventKind.PLANNED:
            course.digest, course.seal = body.get("digest", ""), body["seal"]
        case EventKind.GUARDED:
            course.ended = body["why"]
        case EventKind.APPROVED:
            course.begun, course.ended = True, "the process ended without a word before this key's turn"
            course.started[-1:] = [{**process, "approved": body.get("how", "")} for process in course.started[-1:]]
        case EventKind.DECLINED if course.begun:
            course.ended = "the operator did not approve going on"
        case EventKind.STOPPED:
            course.places[Place(*body["place"])] = body["why"]
        case EventKind.ENDED:
            declined = course.ended if course.last_kind is EventKind.DECLINED and course.begun else ""
            course.ended, course.exit_code = body["why"] or declined, body["exit_code"]
        case _:
            pass
    course.last_kind = kind


SENT_AGAIN = frozenset({Meaning.AGAIN, Meaning.UNREACHED, Meaning.THROTTLED})
"""What an attempt can come to that is followed by another one, if any are left, and by no read-back in between."""


def step_event(step: History, kind: EventKind, body: Mapping[str, Any]) -> None:
    """Apply one event to the history of its step; live and in a replay alike."""
    match kind:
        case EventKind.INTENDED:
            step.intended = step.pending = True
        case EventKind.WITHDRAWN:
            step.intended, step.pending = bool(step.attempts) or step.cut_off, False
        case EventKind.SENT:
            step.attempts.append(attempt_of(body))
            step.pending = step.attempts[-1].meaning in SENT_AGAIN
            step.read_back = None  # what was read before says nothing about this request
        case EventKind.ANSWERED:
            step.answer, step.pending = attempt_of(body), False
        case EventKind.READ_BACK:
            step.cut_off, step.pending = step.cut_off or step.pending, False  # who sent it would not read before
            facts = Facts.of(body["facts"]) if body["facts"] is not None else None
            step.read_back = ReadBack(body["at"], facts, body["fault"], body["gone"])
        case EventKind.SUPERSEDED:
            step.superseded = Ending(Outcome(body["outcome"]), body["reason"])
        case _:
            pass


def attempt_of(body: Mapping[str, Any]) -> Attempt:
    """An attempt, from the body of its event."""
    return Attempt(**{**body, "meaning": Meaning(body["meaning"])})
