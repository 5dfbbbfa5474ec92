"""One pass over all records: everything is counted, and of every group as many entries are kept as a page can hold."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, zip_longest

from audit.model import KEY_ID, Place
from audit.outcome import Outcome, Record
from audit.replay import Replay
from audit.report import words
from audit.report.language import Language
from audit.report.lists import EMBEDDED, SHOWN, STATIC, WHOLE, room
from audit.report.procedures import procedure
from audit.report.rows import API_NAMES, Owners
from audit.report.shapes import Appendix, Drift, Entry, Group, Request, Section
from audit.rules import RULES

SECTIONS: tuple[str, ...] = ("attention", "changed", "planned", "cannot", "compliant", "older")
"""The sections of records, in the order in which a report tells them."""

_SECTIONS: Mapping[Outcome, str] = {
    **dict.fromkeys(words.ATTENTION, "attention"),
    **dict.fromkeys((Outcome.REMEDIATED, Outcome.ROLLED_BACK), "changed"),
    Outcome.PLANNED: "planned",
    **dict.fromkeys((Outcome.INELIGIBLE, Outcome.BLOCKED, Outcome.WAIVED), "cannot"),
    Outcome.COMPLIANT: "compliant",
}
_BY_RULE = frozenset({Outcome.INELIGIBLE, Outcome.BLOCKED})
"""Outcomes that their headline rule explains; a waived key is told apart by its waiver, whatever else matches."""
_ORDER = dict.fromkeys((*words.ATTENTION, *(rule.id for rule in RULES), *Outcome))
_PLACES: Mapping[str, int] = {str(name): place for place, name in enumerate(_ORDER)}
"""Groups of a section: by outcome, those of what cannot rotate by the headline rule."""

_Group = tuple[int, int, str]
"""A group of records; sorts as a report tells them. Number of its section, its place in there, its outcome or rule."""


def _group(section: str, rule: str, outcome: Outcome) -> _Group:
    name = rule or outcome.value
    return SECTIONS.index(section), _PLACES.get(name, len(_PLACES)), name


class Shelf:
    """What became of every record, counted and in part kept.

    ``counts``: records by outcome, each key once; ``by_run``: of every run. ``rules``: how often each matched.
    ``places``: of the usable records of every run. ``total``: all records. ``touched``: how many that need attention
    were sent a request. ``drift``: the first fields on which inventory and KMS disagree, of ``drifting`` in all.
    ``most``: how many entries are kept, beside the first ``SHOWN`` of every group.
    """

    def __init__(self, runs: Sequence[Replay], owners: Owners, say: Language, most: int = EMBEDDED) -> None:
        self.counts: Counter[Outcome] = Counter()
        self.rules: Counter[str] = Counter()
        self.by_run: list[Counter[Outcome]] = [Counter() for _ in runs]
        self.places: list[dict[tuple[str, str, str], None]] = [{} for _ in runs]
        self.total = self.drifting = self.touched = 0
        self.drift: list[Drift] = []
        self._say, self._most = say, most
        self._sizes: Counter[_Group] = Counter()
        self._entries: defaultdict[_Group, list[Entry]] = defaultdict(list)
        self._kept = 0
        for n, run in enumerate(runs):
            enter = _entering(run, str(run.about.get("id", run.directory.name)) if len(runs) > 1 else "", say)
            for record in run.records():
                self.by_run[n][record.outcome] += 1
                if record.outcome is not Outcome.REJECTED:
                    self.places[n][record.account, record.region, record.project_id] = None
                section = self._count(record, n, runs) if owners.counts(n, record) else "older"
                rule = record.rules.partition(";")[0] if record.outcome in _BY_RULE and section == "cannot" else ""
                group = _group(section, rule, record.outcome)
                self.total += 1
                self._sizes[group] += 1
                if self._has_room(group):
                    self._entries[group].append(enter(record))
                    self._kept += 1
        self._entries = defaultdict(list, {group: self._entries[group] for group in sorted(self._entries)})
        self._number()

    def _count(self, record: Record, n: int, runs: Sequence[Replay]) -> str:
        self.counts[record.outcome] += 1
        if record.drift:
            self.drifting += len(record.drift)
            run_id = str(runs[n].about.get("id", "")) if len(runs) > 1 else ""
            self.drift.extend(islice(drifts(record, run_id), max(0, WHOLE - len(self.drift))))
        section = _SECTIONS[record.outcome]
        if record.rules:
            self.rules.update(record.rules.split(";"))
        self.touched += record.changed and section == "attention"
        return section

    def _has_room(self, group: _Group) -> bool:
        """Whether one more of a group is kept; where the page is full, the last group that has many gives way."""
        if self._kept < self._most or len(self._entries[group]) < SHOWN:
            return True
        last = max((other for other, kept in self._entries.items() if len(kept) > SHOWN), default=group)
        if last <= group:
            return False
        self._entries[last].pop()
        self._kept -= 1
        return True

    def _number(self) -> None:
        """Give an anchor that is taken a number, in the order of the page."""
        taken: Counter[str] = Counter()
        for entries in self._entries.values():
            for at, entry in enumerate(entries):
                taken[entry.anchor] += 1
                if (again := taken[entry.anchor]) > 1:
                    entries[at] = replace(entry, anchor=f"{entry.anchor}-{again}")

    def section(self, name: str) -> Section:
        """A section as shown: its groups in order, shortened as a whole."""
        whole, groups = room(self.total), []
        left = whole
        for group, kept in self._entries.items():
            if SECTIONS[group[0]] == name:
                entries = tuple(kept[:left])
                left -= len(entries)
                title, note, tone = words.group(group[2], self._say)
                by_hand = procedure(group[2], self._say) if name == "cannot" else ""
                groups.append(Group(title, note, tone, by_hand, self._sizes[group], entries))
        total = sum(group.total for group in groups)
        return Section(tuple(groups), total, words.beyond(total, whole - left, self._say))

    def appendix(self) -> Appendix:
        """All sections again as one list, as much of it as a page can hold."""
        everything = (entry for kept in self._entries.values() for entry in kept)
        rows, say = tuple(islice(everything, self._most)), self._say
        entries = rows[:STATIC]
        plain = more = ""
        if self.total > len(entries):
            plain = say(
                "These are the first %(shown)s of %(total)s records. A browser that runs the script of this page shows "
                "more; all of them stand in report.csv.",
                shown=say.number(len(entries)),
                total=say.number(self.total),
            )
        if self.total > len(rows):
            more = say(
                "These are %(shown)s of %(total)s records; %(more)s more stand only in report.csv.",
                shown=say.number(len(rows)),
                total=say.number(self.total),
                more=say.number(self.total - len(rows)),
            )
        return Appendix(entries, rows, frozenset(entry.anchor for entry in entries), self.total, plain, more)


def drifts(record: Record, run_id: str) -> Iterator[Drift]:
    """The fields of a record on which the inventory and KMS disagree."""
    for name, (stated, live) in record.drift.items():
        yield Drift(run_id, record.line, record.key_id, name, stated, live)


def _entering(run: Replay, run_id: str, say: Language) -> Callable[[Record], Entry]:
    """What makes an entry of a record; texts that many records have are made once."""
    own = [(at, name) for at, name in enumerate(run.columns) if name not in API_NAMES]
    places: dict[tuple[str, str, str], str] = {}
    states: dict[tuple[str, str], str] = {}
    reasons: dict[str, str] = {}
    rules: dict[str, tuple[str, ...]] = {"": ()}
    cells: dict[str, str] = {}
    labels = {outcome: words.label(outcome, say) for outcome in Outcome}

    def place(record: Record) -> str:
        key = (record.account, record.region, record.project_id)
        return places.get(key) or places.setdefault(key, str(Place(*key)))

    def state(switch: str, interval: str) -> str:
        key = (switch, interval)
        return states[key] if key in states else states.setdefault(key, words.rotation(switch, interval, say))

    def reason(text: str) -> str:
        return reasons[text] if text in reasons else reasons.setdefault(text, say.recorded(text))

    def enter(record: Record) -> Entry:
        usable = record.outcome is not Outcome.REJECTED and KEY_ID.fullmatch(record.key_id)
        return Entry(
            anchor=f"key-{record.key_id}" if usable else f"line-{record.line}",
            line=record.line,
            key_id=record.key_id,
            key_alias=record.key_alias,
            place=place(record),
            account=record.account,
            region=record.region,
            project_id=record.project_id,
            label=labels[record.outcome],
            tone=words.TONES[record.outcome],
            rules=rules.get(record.rules) or rules.setdefault(record.rules, tuple(record.rules.split(";"))),
            reason=reason(record.reason),
            before=state(record.rotation_before, record.interval_before),
            after=state(record.rotation_after, record.interval_after),
            requests=_requests(record) if record.action else (),
            own=tuple(
                (name, cells.setdefault(text, text))
                for at, name in own
                if at < len(record.cells) and (text := record.cells[at])
            ),
            run_id=run_id,
        )

    return enter


def _requests(record: Record) -> tuple[Request, ...]:
    """The steps of a record, apart again; texts of the server are not taken apart, they may hold a semicolon."""
    texts = (record.sequence, record.attempts, record.http_status, record.error_code, record.request_id)
    times = (record.requested_at, record.verified_at)
    actions = record.action.split(";")
    parts = [text.split(";") if text else [""] * len(actions) for text in (*texts, *times)]
    return tuple(Request(*step) for step in islice(zip_longest(actions, *parts, fillvalue=""), len(actions)))
