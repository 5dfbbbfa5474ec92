"""Waivers: which keys are let off which findings, why, on whose word, and until when.

A waiver is decided by people and handed in as a file (``inventory.waivers``). Here is what it means for a key, without
a file and without a clock: the day on which a run was made is a parameter, and the same for the whole of the run.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self

from audit.model import Place

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TOLD = re.compile(r"waiver of line ([0-9]{1,9}), valid until ", re.ASCII)
_FEW = 5  # waivers named in a sentence


def is_day(text: str) -> bool:
    """Whether a text is a day of the calendar, ``2026-12-31``; such texts sort as their days do."""
    try:
        return bool(_DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Waiver:
    """One waiver, as line ``line`` of its file states it; empty text: not stated.

    ``key_id``: exact, in lower case. ``account``, ``region``, ``key_alias``: patterns, in which ``*`` stands for any
    text and ``?`` for one character; case counts, the whole must match, and so must all that are stated. ``rule``: the
    rule that is waived, empty: every finding. ``expires``: the last day on which it counts, ``2026-12-31``, UTC.
    """

    line: int
    key_id: str
    account: str
    region: str
    key_alias: str
    rule: str
    reason: str
    approver: str
    ticket: str
    expires: str

    @property
    def cells(self) -> tuple[str, ...]:
        """All that it states, in the order of ``COLUMNS``: what the digest of a plan names."""
        return tuple(getattr(self, column) for column in COLUMNS)

    @property
    def keys(self) -> str:
        """Which keys it names: columns and texts as in its file."""
        named = ((column, getattr(self, column)) for column in NAMING)
        return ", ".join(f"{column} {text}" for column, text in named if text)

    @property
    def told(self) -> str:
        """What it is, for the reason of a record; ``line_told`` finds its line there."""
        return f"waiver of line {self.line}, valid until {self.expires}: {self.reason}; approved by {self._whose}"

    @property
    def lapse(self) -> str:
        """That it is over, for the reason of a record that it would cover."""
        return f"the waiver of line {self.line} (approved by {self._whose}) expired on {self.expires}"

    @property
    def _whose(self) -> str:
        return f"{self.approver}, ticket {self.ticket}" if self.ticket else self.approver


NAMING: tuple[str, ...] = ("key_id", "account", "region", "key_alias")
"""The columns that say which keys a waiver is about."""
COLUMNS: tuple[str, ...] = (*NAMING, "rule", "reason", "approver", "ticket", "expires")
"""The columns of a waiver file; the names are public."""


def line_told(reason: str) -> int | None:
    """The line of the waiver that the reason of a waived record names; None where it names none."""
    found = _TOLD.match(reason)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class _Near:
    """The waivers by pattern that match one account and region: for every alias, by its text, by its pattern."""

    every: tuple[Waiver, ...]
    exact: Mapping[str, Sequence[Waiver]]
    globs: tuple[tuple[Waiver, Callable[[str], object]], ...]


class Waivers:
    """The waivers of a run, in the order of their file.

    ``day``: the UTC date on which the run was made, ``2026-11-24``. ``name``, ``sha256``: of the file, empty where none
    was given. Two looks into a dictionary tell for most keys that no waiver is about them.
    """

    def __init__(self, entries: Iterable[Waiver] = (), day: str = "", name: str = "", sha256: str = "") -> None:
        self.entries, self.day, self.name, self.sha256 = tuple(entries), day, name, sha256
        self._named: dict[str, list[Waiver]] = {}
        self._patterns = [waiver for waiver in self.entries if not waiver.key_id]
        for waiver in self.entries:
            if waiver.key_id:
                self._named.setdefault(waiver.key_id, []).append(waiver)
        self._match = {
            pattern: _matcher(pattern)
            for waiver in self.entries
            for pattern in (waiver.account, waiver.region, waiver.key_alias)
        }
        self._near: dict[tuple[str, str], _Near] = {}

    def matching(self, place: Place, key_id: str, key_alias: str) -> Sequence[Waiver]:
        """The waivers that match a key, those that name it by its id first, else in the order of the file."""
        where = (place.account, place.region)
        near = self._near.get(where) or self._look(*where)
        named = self._named.get(key_id)
        exact = near.exact.get(key_alias, ())
        if not (named or exact or near.globs):
            return near.every
        found = [*near.every, *exact, *(waiver for waiver, match in near.globs if match(key_alias))]
        found.sort(key=lambda waiver: waiver.line)
        return [*(waiver for waiver in named or () if self._at(waiver, *where)), *found]

    def _at(self, waiver: Waiver, account: str, region: str) -> bool:
        return bool(self._match[waiver.account](account) and self._match[waiver.region](region))

    def _look(self, account: str, region: str) -> _Near:
        here = [waiver for waiver in self._patterns if self._at(waiver, account, region)]
        exact: dict[str, list[Waiver]] = {}
        for waiver in here:
            if waiver.key_alias and not _is_glob(waiver.key_alias):
                exact.setdefault(waiver.key_alias, []).append(waiver)
        globs = ((waiver, self._match[waiver.key_alias]) for waiver in here if _is_glob(waiver.key_alias))
        near = _Near(tuple(waiver for waiver in here if not waiver.key_alias), exact, tuple(globs))
        self._near[account, region] = near
        return near

    def overtaken(self, today: str) -> str:
        """A sentence on the waivers that counted when the run was made and do not on ``today``; empty: none."""
        over = [waiver for waiver in self.entries if self.day <= waiver.expires < today]
        if not over:
            return ""
        told = [f"line {waiver.line} on {waiver.expires}" for waiver in over[:_FEW]]
        more = f" and {len(over) - _FEW} more" if len(over) > _FEW else ""
        return (
            f"waivers that counted when this run was made have expired since ({', '.join(told)}{more}); "
            "the keys that they cover are still not written to: only a new run judges them without"
        )

    def noted(self) -> dict[str, Any] | None:
        """What a ledger notes; ``recorded`` reads it back. None where no file was given."""
        if not self.name:
            return None
        entries = [asdict(waiver) for waiver in self.entries]
        return {"name": self.name, "sha256": self.sha256, "day": self.day, "entries": entries}

    @classmethod
    def recorded(cls, noted: Any) -> Self:  # noqa: ANN401  # JSON, which somebody may have changed
        """The waivers that a ledger notes. Raises ValueError where that is not what ``noted`` gave."""
        if noted is None:
            return cls()
        try:
            entries = [Waiver(**entry) for entry in noted["entries"]]
            day, name, sha256 = noted["day"], noted["name"], noted["sha256"]
            texts = [day, name, sha256, *(cell for waiver in entries for cell in waiver.cells)]
            sound = all(isinstance(text, str) for text in texts) and all(type(w.line) is int for w in entries)
            sound = sound and all(map(is_day, [day, *(waiver.expires for waiver in entries)]))
        except (TypeError, KeyError) as error:
            raise ValueError("its waivers are not as they were noted") from error
        if not sound:
            raise ValueError("its waivers are not as they were noted")
        return cls(entries, day, name, sha256)


NO_WAIVERS = Waivers()


def _is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def _matcher(pattern: str) -> Callable[[str], object]:
    """Whether a text matches; an empty pattern is not stated, and matches everything."""
    if not pattern:
        return lambda _: True
    if not _is_glob(pattern):
        return pattern.__eq__
    # fnmatch's expressions never go back over a star, so that no pattern takes long; its sets are no part of ours.
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]"))).match
