"""What accompanies the records of a report: waivers, completeness, cost, controls, and a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass

from audit.report.lists import Shown, Table


@dataclass(frozen=True, slots=True)
class WaiverLine:
    """One waiver of a run, as the waiver file states it.

    ``keys``: which keys it names, in words. ``rule``: the rule that it waives, empty: all. ``expires``: the last day on
    which it counts, ``2026-12-31``. ``records``: how many records it covers. ``standing``: ``in force``, ``expiring``
    (within 30 days of the run), ``expired`` or ``unused``; ``note``: the same in words, with the days that are left.
    """

    run_id: str
    line: int
    keys: str
    rule: str
    reason: str
    approver: str
    ticket: str
    expires: str
    records: int
    standing: str
    note: str
    tone: str


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether the records are all keys that there are.

    ``required``: asked for by ``--require-complete``. ``faults``: what speaks against it, as clauses of a sentence;
    none where it is complete. ``words``: one sentence.
    """

    required: bool
    faults: tuple[str, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What the change costs: every rotation makes one key version that is billed like another key.

    ``versions``: key versions a year that the change adds, made or planned; below zero where it takes some back.
    ``price``: of one version, as given, empty where it was not. ``money``: a year, in words. ``words``: sentences.
    ``planned``: of ``versions``, those of steps that were not taken.
    """

    versions: float
    price: str
    money: str
    words: tuple[str, ...]
    planned: float = 0.0


@dataclass(frozen=True, slots=True)
class ControlLine:
    """One id of a framework that a control supports evidence for. ``basis``: on whose word."""

    control: str
    framework: str
    id: str
    basis: str


@dataclass(frozen=True, slots=True)
class Change:
    """One key in a comparison. ``change``: ``new``, ``fixed``, ``regressed``, ``changed``, ``unchanged`` or ``gone``.

    ``before`` and ``after`` are outcomes, empty where the key is in one report only; so are the reasons.
    """

    change: str
    account: str
    region: str
    project_id: str
    key_id: str
    key_alias: str
    before: str
    after: str
    reason_before: str
    reason_after: str


@dataclass(frozen=True, slots=True)
class WaiverChange:
    """A waiver that differs between two reports. ``change``: ``new``, ``gone`` or ``changed``; ``what``: in words."""

    change: str
    keys: str
    rule: str
    what: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """This report against an earlier run. ``counts``: keys by change. ``words``: one sentence.

    ``changes``: all keys but the unchanged ones; ``table``: these and the waivers, the rows of ``comparison.csv``.
    """

    baseline: str
    words: str
    counts: Mapping[str, int]
    changes: Shown[Change]
    waivers: tuple[WaiverChange, ...]
    table: Table[dict[str, object]]
