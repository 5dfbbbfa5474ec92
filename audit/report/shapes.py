"""What templates are written against: the shape of a report, every field of it.

Every text is plain (not escaped), in the language of the report, and empty where there is nothing to say. A list is
shortened to ``lists.room`` rows, with a sentence that says how many more there are and where.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.report.facets import Comparison, Completeness, ControlLine, Cost, WaiverLine
from audit.report.language import Language
from audit.report.lists import Shown, Table
from audit.rules import Rule


@dataclass(frozen=True, slots=True)
class Request:
    """What was sent, or would be, for one step. ``action``: ``enable`` or ``set-interval``; others as in report.csv."""

    action: str
    sequence: str
    attempts: str
    http_status: str
    error_code: str
    request_id: str
    requested_at: str
    verified_at: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the inventory.

    ``anchor``: its id in the page, unique. ``place``: account/region/project in one, and apart. ``label``, ``tone``: of
    its outcome. ``before``, ``after``: the state of its rotation in words. ``rules``: ids. ``own``: name and value of
    the inventory's own columns, where there is a value. ``run_id``: only where several runs are merged.
    """

    anchor: str
    line: int
    key_id: str
    key_alias: str
    place: str
    account: str
    region: str
    project_id: str
    label: str
    tone: str
    rules: tuple[str, ...]
    reason: str
    before: str
    after: str
    requests: tuple[Request, ...]
    own: tuple[tuple[str, str], ...]
    run_id: str


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that share an outcome or a headline rule.

    ``note``: what that means; ``tone``: see ``words.TONES``. ``procedure``: what takes the place of automatic rotation.
    """

    title: str
    note: str
    tone: str
    procedure: str
    total: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: its records in groups. ``total``: of all; ``more``: a sentence on those not shown."""

    groups: tuple[Group, ...]
    total: int
    more: str


@dataclass(frozen=True, slots=True)
class Appendix:
    """All records, in the order of the sections.

    ``entries``: the first ``lists.STATIC``, for rows of the page; ``rows``: the first ``lists.EMBEDDED``, for its
    script (filter ``records``); ``anchored``: the anchors of ``entries``, to which alone a link leads without a script.
    ``total``: of all records; ``plain``, ``more``: sentences on those beyond ``entries``, and beyond ``rows``.
    """

    entries: tuple[Entry, ...]
    rows: Sequence[Entry]
    anchored: frozenset[str]
    total: int
    plain: str
    more: str


@dataclass(frozen=True, slots=True)
class OutcomeLine:
    """One outcome: how many records, what it means, and its part of the bar of all records.

    ``start``, ``percent``: where its part begins and how long it is, from 0 to 100.
    """

    label: str
    meaning: str
    tone: str
    count: int
    start: float
    percent: float


@dataclass(frozen=True, slots=True)
class PlaceLine:
    """One walk through one place. ``when``: before or after the writes; ``total``: what KMS says, None if nothing."""

    run_id: str
    place: str
    when: str
    listed: int
    total: int | None
    unlisted: int
    note: str


@dataclass(frozen=True, slots=True)
class Drift:
    """A field on which the inventory and KMS disagree."""

    run_id: str
    line: int
    key_id: str
    field: str
    inventory: str
    kms: str


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A key that KMS has and no record names. ``place``: account, region and project in one."""

    place: str
    account: str
    region: str
    project_id: str
    key_id: str
    key_alias: str
    rotation: str


@dataclass(frozen=True, slots=True)
class Run:
    """Who, when, against what.

    ``about``: what the ledger notes of the run, by name: version, command, live, simulated, operator, account,
    access_key (its last characters), endpoint, hosts, proxy, policy, arguments, created_at ... ``input``: of the
    inventory the name, sha256, encoding, delimiter, blank_lines, warnings. ``places``, ``looked_at``, ``policy``,
    ``domain``: in words. ``remarks``: assumptions, missing columns, warnings. ``processes``: a sentence for each that
    worked on the run. ``arguments``: as they were noted, redacted. ``records``: of its inventory. ``started``,
    ``ended``: first and last event. ``ended_early``: why, as noted. ``digest``: of the plan. ``events``, ``head``,
    ``seal``: the ledger's chain; ``intact``, ``proof``: whether it holds, and in words.
    """

    id: str
    about: Mapping[str, Any]
    input: Mapping[str, Any]
    places: str
    looked_at: str
    policy: str
    domain: str
    remarks: tuple[str, ...]
    processes: tuple[str, ...]
    arguments: tuple[str, ...]
    records: int
    started: str
    ended: str
    ended_early: str
    exit_code: int
    digest: str
    events: int
    head: str
    seal: str
    intact: bool
    proof: str


@dataclass(frozen=True, slots=True)
class View:
    """A report.

    ``id``, ``version``, ``rendered``: of this report. ``merged``, ``simulated``: whether it is of several runs, of
    simulated ones. ``verdict``: one sentence; ``detail``: what stands behind it; ``tone``: its colour. ``runs``:
    in the given order. ``blank_lines``: of all inventories. ``say``: the language that all sentences here are in.

    ``counts``: how many, by every outcome; ``outcomes``: the same as lines. ``rules``: those that matched, and for how
    many records. ``places``, ``unlisted``, ``drift``: the population.

    ``attention`` ... ``older``: every row is in exactly one of these sections; what a newer run knows better is in
    ``older``, and not counted. ``touched``: how many under attention were sent a request. ``appendix``: all of
    them again.

    ``waivers``: of all runs, in the order of their files. ``completeness``, ``cost``, ``controls``: see there.
    ``comparison``: None where no earlier run was given to compare with.

    ``table``: report.csv, every row a mapping of all columns, in order. ``failed``: failed.csv, every row its cells.
    """

    say: Language
    id: str
    version: str
    rendered: str
    merged: bool
    simulated: bool
    verdict: str
    detail: str
    tone: str
    runs: tuple[Run, ...]
    blank_lines: int
    counts: Mapping[str, int]
    outcomes: tuple[OutcomeLine, ...]
    rules: tuple[tuple[Rule, int], ...]
    places: tuple[PlaceLine, ...]
    unlisted: Shown[Unlisted]
    drift: Shown[Drift]
    attention: Section
    changed: Section
    planned: Section
    cannot: Section
    compliant: Section
    older: Section
    touched: int
    appendix: Appendix
    waivers: tuple[WaiverLine, ...]
    completeness: Completeness
    cost: Cost
    controls: tuple[ControlLine, ...]
    comparison: Comparison | None
    table: Table[dict[str, object]]
    failed: Table[list[str]]
