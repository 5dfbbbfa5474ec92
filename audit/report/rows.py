"""Records as rows: which columns, in which order, and which of several runs speaks for a key."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Generic, TypeVar

from audit.errors import UsageFault
from audit.model import FACT_NAMES
from audit.outcome import ANOTHER_RUN, Outcome, Record
from audit.replay import Replay

T = TypeVar("T")

COLUMNS: tuple[str, ...] = (
    "line", "account", "region", "project_id", "key_id", "key_alias", "outcome", "rules", "reason", "action",
    "sequence", "rotation_before", "rotation_after", "interval_before", "interval_after", "attempts", "http_status",
    "error_code", "error_msg", "request_id", "requested_at", "verified_at",
)  # fmt: skip
"""The columns of every report, in order; the names are public."""

_PLACE = ("account", "region", "project_id")
API_NAMES = frozenset({*FACT_NAMES, *_PLACE, "key_id", "key_usage", "last_rotation_time", "number_of_rotations"})
"""Columns of an inventory that are not its own."""
_NOWHERE = sys.maxsize


class Again(Generic[T]):
    """Can be looped over any number of times; every loop reads the ledger anew and keeps nothing."""

    def __init__(self, read: Callable[[], Iterator[T]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[T]:
        return self._read()


class Owners:
    """Of several runs, the one that speaks for a key: the newest, by its last event. Rejected records have no key.

    Raises UsageFault where simulated and real runs, or a run and itself, would be merged.
    """

    def __init__(self, runs: Sequence[Replay]) -> None:
        ids = [str(run.about.get("id", run.directory.name)) for run in runs]
        simulated = [name for name, run in zip(ids, runs, strict=True) if run.about.get("simulated")]
        if simulated and len(simulated) < len(runs):
            raise UsageFault(f"simulated and real runs never merge: {', '.join(simulated)} of these runs are simulated")
        if len(set(ids)) < len(ids):
            raise UsageFault("a run is named twice")
        self._newest: dict[tuple[str, ...], int] = {}
        number = {id(run): n for n, run in enumerate(runs)}
        for run in oldest_first(runs) if len(runs) > 1 else ():
            self._newest.update((_identity(record), number[id(run)]) for record in run.records() if _identity(record))

    def counts(self, run: int, record: Record) -> bool:
        """Whether the record of the run with this number is the one that speaks for its key."""
        return self.speaks(run, _identity(record))

    def speaks(self, run: int, identity: tuple[str, ...]) -> bool:
        """The same by account, region, project and key id."""
        return self._newest.get(identity, run) == run

    def name(self, identity: tuple[str, ...]) -> bool:
        """Whether any of several runs has a record for this account, region, project and key id."""
        return identity in self._newest


def oldest_first(runs: Sequence[Replay]) -> list[Replay]:
    """The runs by their last event."""
    return sorted(runs, key=lambda run: (run.course.last_at, run.course.first_at, str(run.about.get("id", ""))))


def _identity(record: Record) -> tuple[str, ...]:
    rejected = record.outcome is Outcome.REJECTED
    return () if rejected else (record.account, record.region, record.project_id, record.key_id)


def own_columns(runs: Sequence[Replay]) -> dict[str, str]:
    """The inventory's own columns, by the name that they have in the reports: one that is taken gets a prefix."""
    taken = {*COLUMNS, "run_id"} if len(runs) > 1 else set(COLUMNS)
    own = [name for name in dict.fromkeys(name for run in runs for name in run.columns) if name not in API_NAMES]
    names: dict[str, str] = {}
    for name in own:
        shown = name
        while shown in taken or (shown != name and shown in own):
            shown = f"inventory_{shown}"
        names[shown] = name
    return names


def columns(runs: Sequence[Replay], own: Iterable[str]) -> tuple[str, ...]:
    """The header of ``report.csv``; of several runs with ``run_id`` at the end."""
    return (*COLUMNS, *own, *(("run_id",) if len(runs) > 1 else ()))


def rows(runs: Sequence[Replay], own: dict[str, str]) -> Iterator[dict[str, object]]:
    """Every record of every run, in order, by column; all text but ``line``."""
    names, values = columns(runs, own), attrgetter(*COLUMNS)
    for run in runs:
        places = _positions(run, own.values())
        tail = (str(run.about.get("id", "")),) if len(runs) > 1 else ()
        for record in run.records():
            cells = record.cells
            size = len(cells)
            more = [cells[at] if at < size else "" for at in places]
            yield dict(zip(names, (*values(record), *more, *tail), strict=True))


def failed_columns(runs: Sequence[Replay]) -> tuple[str, ...]:
    """The header of ``failed.csv``: the inventory's own; of several runs all of them, and the place."""
    place = _PLACE if len(runs) > 1 else ()
    return tuple(dict.fromkeys([*(name for run in runs for name in run.columns), *place]))


def failed(runs: Sequence[Replay], owners: Owners) -> Iterator[list[str]]:
    """The records that need another run, as cells under ``failed_columns``."""
    names = failed_columns(runs)
    fill = [name if name in _PLACE and len(runs) > 1 else "" for name in names]
    for n, run in enumerate(runs):
        places = _positions(run, names)
        for record in run.records(ANOTHER_RUN):
            if owners.counts(n, record):
                cells = [record.cells[at] if at < len(record.cells) else "" for at in places]
                yield [cell or (getattr(record, name) if name else "") for cell, name in zip(cells, fill, strict=True)]


def _positions(run: Replay, names: Iterable[str]) -> list[int]:
    where = {name: at for at, name in enumerate(run.columns)}
    return [where.get(name, _NOWHERE) for name in names]
