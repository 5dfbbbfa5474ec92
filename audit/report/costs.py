"""What a change costs: the key versions a year that it adds, and the money where a price is given."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from audit.conclude import conclude
from audit.model import DEFAULT_INTERVAL
from audit.outcome import History, Outcome
from audit.replay import Replay
from audit.report.facets import Cost
from audit.report.language import Language
from audit.report.rows import Owners, oldest_first
from audit.tables import intervals_before
from audit.verify import unfinished
from audit.versions import Price, added, yearly

_DOUBT = frozenset({Outcome.UNVERIFIED, Outcome.UNKNOWN})
_LEFT = frozenset({Outcome.PLANNED, Outcome.NOT_ATTEMPTED})
_QUERY = """
SELECT n, account, region, project_id, key_id FROM records
WHERE n IN (SELECT record FROM steps) OR (outcome = 'non_compliant' AND instr(rules, 'C01'))
"""


def cost(runs: Sequence[Replay], owners: Owners, price: str, say: Language) -> Cost:
    """What the steps of these runs add, taken or planned; of several runs each key as its newest run has it.

    ``price``: of a version and month, as ``Price.of`` takes it; empty: the last one that a process of a run was given.
    Raises UsageFault where it is no price.
    """
    sums: defaultdict[str, Fraction] = defaultdict(Fraction)
    for n, run in enumerate(runs):
        for part, versions in _parts(run, n, owners):
            sums[part] += versions
    total = sums["made"] + sums["perhaps"] + sums["left"]
    each = Price.of(price) if price else price_given(runs)
    words, money = list(_words(sums, say)), ""
    if any(sums.values()):
        words.append(
            say(
                "Each rotation makes one version of a key, and each version stays billed like another key: after n "
                "rotations n + 1 are billed."
            )
        )
    if each and (every := sum(sums.values(), Fraction(0))):
        told, money = (_money(each, new, say) if new else "" for new in (every, total))
        words.append(say("At %(price)s for a version and month, for all of these: %(money)s.", price=each, money=told))
    return Cost(float(total), str(each or ""), money, tuple(words), float(sums["left"]))


def _words(sums: Mapping[str, Fraction], say: Language) -> Iterator[str]:
    """A sentence for each part that there is; a number below zero is of versions that are taken back."""
    told = {part: _number(versions, say) for part, versions in sums.items() if versions}
    if not told.keys() & {"made", "perhaps", "left"}:
        yield say("No step adds key versions.")
    if "made" in told:
        yield say("New key versions a year by steps that were taken: %(versions)s.", versions=told["made"])
    if "perhaps" in told:
        yield say(
            "New key versions a year by requests that may have been applied, though no read-back shows it: "
            "%(versions)s.",
            versions=told["perhaps"],
        )
    if "left" in told:
        yield say("New key versions a year by planned steps: %(versions)s.", versions=told["left"])
    if "open" in told:
        yield say(
            "New key versions a year if the keys were switched on that could rotate and have no step: %(versions)s.",
            versions=told["open"],
        )


def _money(price: Price, new: Fraction, say: Language) -> str:
    first, later = price.first_year(abs(new)), price.each_later_year(abs(new))
    if new < 0:
        return say(
            "%(first)s less in the first year, if versions come evenly, and %(later)s less with each later year",
            first=first,
            later=later,
        )
    return say(
        "%(first)s in the first year, if versions come evenly, and %(later)s more in each later year than in the one "
        "before",
        first=first,
        later=later,
    )


def _parts(run: Replay, n: int, owners: Owners) -> Iterator[tuple[str, Fraction]]:
    """Each step that counts with what has become of it, and each key that has no step and could be switched on."""
    planned = {step.record for step in run.steps.values()}
    mine: set[int] = set()
    switchable = 0  # a check may have a million of them: they are only counted
    for record, *identity in run.db.execute(_QUERY):
        if owners.speaks(n, tuple(identity)):
            mine.update({record} & planned)
            switchable += record not in planned
    yield "open", switchable * yearly(DEFAULT_INTERVAL)
    open_ = unfinished(run.steps)
    number = {id(step): number for number, step in run.steps.items()}
    for step, versions in added(run.steps.values(), intervals_before(run.db)):
        if step.record in mine and (part := _part(step, left=number[id(step)] in open_)):
            yield part, versions


def _part(step: History, *, left: bool) -> str:
    if step.superseded is not None:
        return ""
    if step.reached and step.satisfied:
        return "made"
    outcome = conclude(step, begun=True, ended="").outcome
    if outcome in _LEFT:
        return "left" if left else ""
    return "perhaps" if step.reached and outcome in _DOUBT else ""


def price_given(runs: Sequence[Replay]) -> Price | None:
    """The price that a process was given last, by the newest run that was given one; None where none was."""
    processes = [process for run in oldest_first(runs) for process in run.course.started]
    prices = [(process.get("arguments") or {}).get("version_price") for process in processes]
    return next((Price.of(price) for price in reversed(prices) if price), None)


def _number(versions: Fraction, say: Language) -> str:
    return say.number(int(versions) if versions.denominator == 1 else round(float(versions), 2))
