"""One report against an earlier one: what is new, fixed, regressed, unchanged, gone."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice, zip_longest
from typing import Any, NamedTuple

from audit.errors import UsageFault
from audit.outcome import Outcome, Record
from audit.replay import Replay
from audit.report.facets import Change, Comparison, WaiverChange
from audit.report.language import Language
from audit.report.lists import Shown, Table, room
from audit.report.rows import Again, Owners, oldest_first

COLUMNS: tuple[str, ...] = (
    "what", "change", "account", "region", "project_id", "key_id", "key_alias", "outcome_before", "outcome_after",
    "reason_before", "reason_after",
)  # fmt: skip
"""The columns of ``comparison.csv``, in order; the names are public. ``what``: ``key`` or ``waiver``."""


class Standing(StrEnum):
    """What an outcome says of a key, where two outcomes are compared."""

    GOOD = "good"
    ASIDE = "aside"
    OPEN = "open"
    DOUBT = "doubt"


_STANDING: Mapping[Outcome, Standing] = {
    **dict.fromkeys((Outcome.COMPLIANT, Outcome.REMEDIATED), Standing.GOOD),
    **dict.fromkeys((Outcome.INELIGIBLE, Outcome.BLOCKED, Outcome.WAIVED), Standing.ASIDE),
    **dict.fromkeys((Outcome.ROLLED_BACK, Outcome.LEFT_ALONE), Standing.ASIDE),  # neither was judged by the policy
    **dict.fromkeys((Outcome.NON_COMPLIANT, Outcome.PLANNED, Outcome.REFUSED, Outcome.MISSING), Standing.OPEN),
    **dict.fromkeys((Outcome.REJECTED, Outcome.UNKNOWN, Outcome.UNVERIFIED, Outcome.NOT_ATTEMPTED), Standing.DOUBT),
}
_BAD = frozenset({Standing.OPEN, Standing.DOUBT})
CHANGES: tuple[str, ...] = ("new", "gone", "fixed", "regressed", "changed", "unchanged")


def change(before: str, after: str) -> str:
    """What became of a key, one of ``CHANGES``, from its two outcomes; empty where it is in one report only."""
    if not before or not after:
        return "new" if after else "gone"
    was, now = (_STANDING[Outcome(outcome)] for outcome in (before, after))
    if before == after or was is now is Standing.GOOD:
        return "unchanged"
    if now is Standing.GOOD and was in _BAD:
        return "fixed"
    return "regressed" if was is Standing.GOOD and now in _BAD else "changed"


def comparison(runs: Sequence[Replay], owners: Owners, baseline: Replay | None, say: Language) -> Comparison | None:
    """The comparison, None without a baseline.

    Of each key only a hash, its outcome and its reason are held. Raises UsageFault where the two cannot be compared.
    """
    if baseline is None:
        return None
    _check(runs, baseline)
    two, waivers = _Two(runs, owners, baseline), tuple(_waivers(runs, baseline))
    every = sum(two.counts.values())
    kept, total = tuple(islice(two.changes(), room(every))), every - two.counts["unchanged"]
    more = ""
    if total > len(kept):
        left, of_all = say.number(total - len(kept)), say.number(total)
        more = say("%(n)s more of %(total)s stand in comparison.csv.", n=left, total=of_all)
    return Comparison(
        baseline=_id(baseline),
        words=_sentence(two, runs, baseline, say),
        counts={name: two.counts[name] for name in CHANGES},
        changes=Shown(kept, total, more, Again(two.changes)),
        waivers=tuple(WaiverChange(w.change, w.keys(say), w.any["rule"], w.what(say)) for w in waivers),
        table=Table(COLUMNS, Again(lambda: _rows(two, waivers)), total + len(waivers)),
    )


def _check(runs: Sequence[Replay], baseline: Replay) -> None:
    if _id(baseline) in map(_id, runs):
        raise UsageFault(f"--compare {_id(baseline)} is the run that is reported: nothing is compared with itself")
    if any(bool(run.about.get("simulated")) != bool(baseline.about.get("simulated")) for run in runs):
        raise UsageFault("simulated and real runs are never compared", f"look at what --compare {_id(baseline)} is")


def _id(run: Replay) -> str:
    return str(run.about.get("id", run.directory.name))


class _Two:
    """Two reports side by side. ``counts``: keys by change. ``rejected``: records without a key, now and before."""

    def __init__(self, runs: Sequence[Replay], owners: Owners, baseline: Replay) -> None:
        self._runs, self._owners, self._baseline = runs, owners, baseline
        self.counts: Counter[str] = Counter()
        self.rejected = [0, 0]
        self._before: dict[bytes, tuple[str, str]] = {}
        alike: dict[tuple[str, str], tuple[str, str]] = {}  # many keys, few outcomes and reasons
        for record in baseline.records():
            if record.outcome is Outcome.REJECTED:
                self.rejected[1] += 1
            else:
                pair = (record.outcome.value, record.reason)
                self._before[_hash(record)] = alike.setdefault(pair, pair)
        seen: set[bytes] = set()
        for run in runs:
            self.rejected[0] += sum(1 for _ in run.records({Outcome.REJECTED}))
        for record in self._now():
            hashed = _hash(record)
            self.counts[change(self._before.get(hashed, _NOTHING)[0], record.outcome)] += 1
            if hashed in self._before:
                seen.add(hashed)
        self._gone = self._before.keys() - seen
        self.counts["gone"] = len(self._gone)

    def _now(self) -> Iterator[Record]:
        for n, run in enumerate(self._runs):
            for record in run.records():
                if record.outcome is not Outcome.REJECTED and self._owners.counts(n, record):
                    yield record

    def changes(self) -> Iterator[Change]:
        """Every key but the unchanged ones: those of this report in its order, then those that are gone."""
        for record in self._now():
            before = self._before.get(_hash(record), _NOTHING)
            if (kind := change(before[0], record.outcome)) != "unchanged":
                yield _change(kind, record, before, (record.outcome.value, record.reason))
        for record in self._baseline.records() if self._gone else ():
            if record.outcome is not Outcome.REJECTED and _hash(record) in self._gone:
                yield _change("gone", record, (record.outcome.value, record.reason), _NOTHING)


_NOTHING = ("", "")


def _hash(record: Record) -> bytes:
    identity = f"{record.account}\0{record.region}\0{record.project_id}\0{record.key_id}"
    return hashlib.blake2b(identity.encode(), digest_size=12).digest()


def _change(kind: str, record: Record, before: tuple[str, str], after: tuple[str, str]) -> Change:
    key = (record.account, record.region, record.project_id, record.key_id, record.key_alias)
    return Change(kind, *key, before[0], after[0], before[1], after[1])


def _rows(two: _Two, waivers: Sequence["_Waiver"]) -> Iterator[dict[str, object]]:
    """Rows of ``comparison.csv``: data, in English."""
    for key in two.changes():
        where = (key.account, key.region, key.project_id, key.key_id, key.key_alias)
        told = (key.before, key.after, key.reason_before, key.reason_after)
        yield dict(zip(COLUMNS, ("key", key.change, *where, *told), strict=True))
    for waiver in waivers:
        one = waiver.any
        where = (one["account"], one["region"], "", one["key_id"], one["key_alias"])
        told = ("", "", _stated(waiver.before), _stated(waiver.after))
        yield dict(zip(COLUMNS, ("waiver", waiver.change, *where, *told), strict=True))


def _sentence(two: _Two, runs: Sequence[Replay], baseline: Replay, say: Language) -> str:
    count = two.counts
    parts = (
        say.counted("%(n)s key is new", "%(n)s keys are new", count["new"]),
        say.counted("%(n)s is gone", "%(n)s are gone", count["gone"]),
        say.counted("%(n)s was fixed", "%(n)s were fixed", count["fixed"]),
        say.counted("%(n)s regressed", "%(n)s regressed", count["regressed"]),
        say.counted("%(n)s changed otherwise", "%(n)s changed otherwise", count["changed"]),
        say.counted("%(n)s is as before", "%(n)s are as before", count["unchanged"]),
    )
    at, told = baseline.course.last_at, ", ".join(parts)
    said = [say("Compared with %(run)s, which ended at %(at)s: %(told)s.", run=_id(baseline), at=at, told=told)]
    if any(two.rejected):
        now, before = map(say.number, two.rejected)
        said.append(
            say(
                "Rejected records name no key and are not compared: %(now)s here, %(before)s there.",
                now=now,
                before=before,
            )
        )
    if at > max(run.course.last_at for run in runs):
        said.append(say("The run compared with is the newer one."))
    if any(bool(run.about.get("live")) != bool(baseline.about.get("live")) for run in runs):
        said.append(say("Not all of these runs asked KMS: where one did not, its inventory speaks."))
    if baseline.proof().fault:
        said.append(say("The ledger of the run compared with is not what was written: do not rely on this."))
    return " ".join(said)


# Waivers ------------------------------------------------------------------------------------------------------------

_SELECTORS = ("account", "region", "key_id", "key_alias", "rule")
_TERMS = ("reason", "approver", "ticket", "expires")
_Entry = Mapping[str, str]


class _Waiver(NamedTuple):
    """A waiver that differs: as it was, None where it is new, and as it is, None where it is gone."""

    before: _Entry | None
    after: _Entry | None

    @property
    def change(self) -> str:
        return "new" if self.before is None else "gone" if self.after is None else "changed"

    @property
    def any(self) -> _Entry:
        return self.after or self.before or {}

    def keys(self, say: Language) -> str:
        """Which keys it names."""
        one = self.any
        parts = (
            one["key_id"] and say("key %(name)s", name=one["key_id"]),
            one["key_alias"] and say("alias %(name)s", name=one["key_alias"]),
            one["region"] and say("region %(name)s", name=one["region"]),
            one["account"] and say("account %(name)s", name=one["account"]),
        )
        return ", ".join(filter(None, parts)) or say("every key")

    def what(self, say: Language) -> str:
        """What it states, or which of its terms are others now."""
        if self.before is None or self.after is None:
            return _stated(self.any)
        terms = ((name, self.before[name], self.after[name]) for name in _TERMS)
        return "; ".join(
            say("%(name)s was “%(old)s”, is “%(new)s”", name=name, old=old, new=new)
            for name, old, new in terms
            if old != new
        )


def _stated(entry: _Entry | None) -> str:
    if entry is None:
        return ""
    return "; ".join(f"{name} {entry[name]}" for name in ("rule", *_TERMS) if entry[name])


def _waivers(runs: Sequence[Replay], baseline: Replay) -> Iterator[_Waiver]:
    """The waivers that differ, by what they name; of several runs each as the newest that has it states it."""
    before, after = _entries(baseline), {}
    for run in oldest_first(runs):
        after.update(_entries(run))
    for selectors in sorted(before.keys() | after.keys()):
        old, new = before.get(selectors, []), after.get(selectors, [])
        for one in tuple(old):
            if one in new:
                old, new = _without(old, one), _without(new, one)
        yield from (_Waiver(was, is_) for was, is_ in zip_longest(old, new))


def _without(entries: Sequence[_Entry], one: _Entry) -> list[_Entry]:
    at = entries.index(one)
    return [*entries[:at], *entries[at + 1 :]]


def _entries(run: Replay) -> dict[tuple[str, ...], list[_Entry]]:
    stated: Sequence[Mapping[str, Any]] = (run.about.get("waivers") or {}).get("entries") or ()
    found: defaultdict[tuple[str, ...], list[_Entry]] = defaultdict(list)
    for one in stated:
        entry = {name: str(one.get(name) or "") for name in (*_SELECTORS, *_TERMS)}
        found[tuple(entry[name] for name in _SELECTORS)].append(entry)
    return dict(found)
