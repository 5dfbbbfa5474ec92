"""Whether the records are all keys that there are: what is missing, unlisted, or was not counted."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from audit.replay import Replay
from audit.report.facets import Completeness
from audit.report.language import Language
from audit.report.rows import oldest_first

_Where = tuple[str, str, str]


def completeness(runs: Sequence[Replay], unlisted: int, missing: int, say: Language) -> Completeness:
    """What speaks against the records being all keys of the places that they name.

    ``unlisted``: keys that KMS has and no record names; ``missing``: records whose key KMS does not have. A place is
    looked at as the newest run read it, before its writes and after.
    """
    live = [bool(run.about.get("live")) for run in runs]
    walks, later = _readings(runs)
    unread, uncounted, differing = (
        sum(any(wrong(walk) for walk in each) for each in walks)
        for wrong in (_unread, _uncounted, lambda walk: walk.get("count_differs"))
    )
    clauses = (
        (
            unlisted,
            say.counted(
                "no usable record names %(n)s key of KMS", "no usable record names %(n)s keys of KMS", unlisted
            ),
        ),
        (
            later,
            say.counted(
                "a reading after the plan counts %(n)s such key more",
                "a reading after the plan counts %(n)s such keys more",
                later,
            ),
        ),
        (
            missing,
            say.counted("KMS does not have %(n)s key of a record", "KMS does not have %(n)s keys of records", missing),
        ),
        (unread, say.counted("%(n)s place could not be read", "%(n)s places could not be read", unread)),
        (uncounted, say.counted("%(n)s place was not counted", "%(n)s places were not counted", uncounted)),
        (
            differing,
            say.counted(
                "in %(n)s place the number of keys listed differs from the total that KMS says",
                "in %(n)s places the number of keys listed differs from the total that KMS says",
                differing,
            ),
        ),
        (all(live) and not walks, say("no place was read")),
    )
    faults = tuple(clause for matter, clause in clauses if matter)
    required = any(run.about.get("require_complete") for run in runs)
    return Completeness(required, faults, _sentence(faults, live, len(walks), say))


def exit_code(found: Completeness) -> int:
    """What the completeness asks of the exit code of a run: 4 where it was required and is not there."""
    return 4 if found.required and found.faults else 0


def _sentence(faults: Sequence[str], live: Sequence[bool], places: int, say: Language) -> str:
    if faults:
        return say("Not complete: %(faults)s.", faults="; ".join(faults))
    if not all(live):
        return say("Not known: KMS was not asked.") if not any(live) else say("Not known: not every run asked KMS.")
    return say.counted(
        "Complete in the one place that records name: each key listed there has a record, and KMS says no other total.",
        "Complete in the %(n)s places that records name: each key listed there has a record, and KMS says no other "
        "total.",
        places,
    )


def _readings(runs: Sequence[Replay]) -> tuple[Collection[Collection[Mapping[str, Any]]], int]:
    """The last walks through each place, by the newest run that made one, and the keys that came after its plan."""
    walks: dict[_Where, Collection[Mapping[str, Any]]] = {}
    later: dict[_Where, int] = {}
    for run in oldest_first(runs):
        planned = Counter(row[:3] for row in run.unlisted())
        last: dict[_Where, dict[str, Mapping[str, Any]]] = {}
        for walk in run.course.walks:
            last.setdefault((walk["account"], walk["region"], walk["project_id"]), {})[walk["when"]] = walk
        for where, by_time in last.items():
            walks[where] = by_time.values()
            later[where] = max(0, max(walk.get("unlisted", 0) for walk in walks[where]) - planned[where])
    return walks.values(), sum(later.values())


def _unread(walk: Mapping[str, Any]) -> bool:
    return not walk.get("readable", True)


def _uncounted(walk: Mapping[str, Any]) -> bool:
    return not _unread(walk) and not walk.get("counted", True)
