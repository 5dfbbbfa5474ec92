"""The sentences of the reports that are made from data. Headings and fixed text stand in the templates."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from audit.chain import Proof
from audit.model import Place
from audit.outcome import Outcome
from audit.replay import Replay
from audit.rules import RULES

ATTENTION: tuple[Outcome, ...] = (
    Outcome.REFUSED,
    Outcome.UNVERIFIED,
    Outcome.UNKNOWN,
    Outcome.REJECTED,
    Outcome.MISSING,
    Outcome.NOT_ATTEMPTED,
    Outcome.LEFT_ALONE,
    Outcome.NON_COMPLIANT,
)
"""What somebody has to look at, in the order in which it is told."""

TONES: Mapping[Outcome, str] = {
    **dict.fromkeys((Outcome.COMPLIANT, Outcome.REMEDIATED, Outcome.ROLLED_BACK), "good"),
    **dict.fromkeys((Outcome.INELIGIBLE, Outcome.BLOCKED, Outcome.WAIVED), "aside"),
    **dict.fromkeys((Outcome.REFUSED, Outcome.MISSING, Outcome.NON_COMPLIANT, Outcome.PLANNED), "act"),
    Outcome.LEFT_ALONE: "act",
    **dict.fromkeys((Outcome.REJECTED, Outcome.UNKNOWN, Outcome.UNVERIFIED, Outcome.NOT_ATTEMPTED), "doubt"),
}
"""The colour of an outcome, always beside its name: ``good``, ``aside``, ``act`` or ``doubt``."""

_STATUS = {"act": "Action needed", "doubt": "Not everything is known", "good": "In order"}
_NEEDED = ("origin", "key_spec", "key_state", "key_rotation_enabled")
_RULES = {rule.id: rule for rule in RULES}


def group(name: str) -> tuple[str, str, str]:
    """Title, meaning and tone of a group of records: those of an outcome, or of a headline rule."""
    if name in _RULES:
        rule = _RULES[name]
        return f"{name}: {rule.sentence}", f"{rule.kind.value}; {rule.citation}", "aside"
    known = name in set(Outcome)
    return (label(Outcome(name)), Outcome(name).meaning, TONES[Outcome(name)]) if known else (name, "", "aside")


def listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def counted(number: int, noun: str) -> str:
    """``1 record``, ``1,234 records``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def label(outcome: Outcome) -> str:
    """The outcome's name, for readers."""
    return outcome.words


def _detail(counts: Mapping[Outcome, int], outcomes: Collection[Outcome]) -> str:
    return ", ".join(f"{counts[outcome]:,} {label(outcome)}" for outcome in outcomes if counts[outcome])


def status(counts: Mapping[Outcome, int], faults: Sequence[str]) -> tuple[str, str]:
    """The verdict's tone and its two or three words."""
    tones = {TONES[outcome] for outcome, count in counts.items() if count} | {"doubt" if faults else "good"}
    tone = next(tone for tone in _STATUS if tone in tones)
    return tone, _STATUS[tone]


def verdict(counts: Mapping[Outcome, int], faults: Sequence[str], *, simulated: bool) -> str:
    """The whole report in one sentence; ``faults``: what forbids to take the numbers for the whole truth."""
    total, planned = sum(counts.values()), counts[Outcome.PLANNED]
    attention = sum(counts[outcome] for outcome in ATTENTION)
    fine = [outcome for outcome in Outcome if TONES[outcome] in {"good", "aside"}]
    rest = total - attention - planned
    parts = []
    if attention:
        parts.append(f"{attention:,} {'needs' if attention == 1 else 'need'} attention ({_detail(counts, ATTENTION)})")
    if planned:
        parts.append(f"{planned:,} would be changed (planned)")
    if rest:
        parts.append(f"{rest:,} {'needs' if rest == 1 else 'need'} nothing more ({_detail(counts, fine)})")
    whole = f"Of {counted(total, 'record')}, {listed(parts)}" if total else "There are no records"
    return ("SIMULATED: " if simulated else "") + "; ".join([whole, *faults]) + "."


def faults(
    runs: Sequence[Replay], walks: Sequence[Mapping[tuple[Place, str], Mapping[str, Any]]], broken: int
) -> list[str]:
    """What keeps the numbers from being the whole truth, as clauses of the verdict. ``broken``: ledgers."""
    unread = {
        (n, place)
        for n, each in enumerate(walks)
        for (place, _), walk in each.items()
        if not walk.get("readable", True)
    }
    given_up = {(n, place) for n, run in enumerate(runs) for place in run.course.places} - unread
    named = [(f"{run.about['id']}: " if len(runs) > 1 else "", run.course.ended) for run in runs]
    ended = [name + why for name, why in named if why]
    was, are = ("was" if len(given_up) == 1 else "were"), ("is" if broken == 1 else "are")
    clauses = (
        (unread, f"{counted(len(unread), 'place')} could not be read"),
        (given_up, f"{counted(len(given_up), 'place')} {was} given up"),
        (ended, f"{'the run' if len(runs) == 1 else counted(len(ended), 'run')} ended early ({'; '.join(ended)})"),
        (broken, f"{counted(broken, 'ledger')} {are} not what was written (see How to check this report)"),
    )
    return [clause for matter, clause in clauses if matter]


def rotation(switch: str, interval: str) -> str:
    """The state of a key's rotation; empty where neither is stated."""
    days = f"every {interval} days" if interval else ""
    state = {"true": "on", "false": "off", "": ""}.get(switch, switch)
    return ", ".join(part for part in (state, days if switch != "false" else "") if part)


def policy(stated: Mapping[str, Any]) -> str:
    """What was asked of a key."""
    longest, days = stated.get("max_interval") or 365, stated.get("interval")
    sets = (
        f"an interval of {days} days is set on keys that are changed" if days else "the interval is left as KMS sets it"
    )
    return f"Rotation is on, with at most {longest} days between two rotations; {sets}."


def domain(stated: Mapping[str, Any]) -> str:
    """Whose keys were taken for ours."""
    own = stated.get("own_domain")
    return str(own) if own else "not known: rule E06 (is shared by another account) was not judged"


def places(named: Collection[str]) -> str:
    """Where the usable records lie, the first ten by name."""
    first = [place or "not stated" for place in list(named)[:10]]
    return listed([*first, counted(len(named) - 10, "more place")] if len(named) > 10 else first)


def looked_at(about: Mapping[str, Any]) -> str:
    """What the run looked at."""
    if about.get("simulated"):
        return "a simulated KMS, seeded from the inventory: nothing here is true of any cloud"
    return "the live state in KMS" if about.get("live") else "what the inventory states; KMS was not asked"


def remarks(about: Mapping[str, Any], counts: Mapping[Outcome, int]) -> tuple[str, ...]:
    """What a reader must know about the input: assumptions, missing columns, warnings."""
    columns, said = set(about.get("columns", ())), []
    if not about.get("live"):
        said.append(
            "Where the inventory does not state them, an offline check assumes the default keystore (keystore_id), "
            "ourselves as owner (domain_id) and a single region (multi_region_key_type). An interval that is not "
            "stated passes only a policy of 365 days, the longest that KMS knows."
        )
        missing = [name for name in _NEEDED if name not in columns]
        missing += [] if columns & {"default_key_flag", "key_alias"} else ["default_key_flag"]
        if missing and counts[Outcome.UNKNOWN]:
            said.append(
                f"The inventory lacks columns without which keys cannot be judged: {', '.join(missing)}. "
                "kms-rotation check --live reads them from KMS."
            )
    return (*said, *map(str, about.get("input", {}).get("warnings", ())))


def walked(walk: Mapping[str, Any]) -> str:
    """What is to be said of one walk through one place; empty where it is whole."""
    if not walk.get("readable", True):
        return f"could not be read: {walk.get('why', '')}"
    if not walk.get("counted", True):
        return f"not counted: {walk.get('why', '')}"
    return "the number listed differs from the total that KMS says" if walk.get("count_differs") else ""


_APPROVED = {"question": "at the question", "--yes": "by --yes", "digest": "by the digest of the plan"}


def process(body: Mapping[str, Any]) -> str:
    """One process that worked on the run."""
    forms = (("operator", "{}"), ("pid", "process {}"), ("version", "version {}"), ("access_key", "access key {}"))
    told = ", ".join(form.format(body[name]) for name, form in forms if body.get(name))
    where = f", against {', '.join(body['hosts'])}" if body.get("hosts") else ""
    approved = f", approved {_APPROVED[body['approved']]}" if body.get("approved") in _APPROVED else ""
    return f"{body.get('command', 'run')}: {told or 'nothing noted'}{where}{approved}"


def proof(found: Proof, sealed: str) -> str:
    """Whether the ledger is what was written."""
    if found.fault:
        return f"{found.fault}. Do not rely on this report."
    tail = (
        ", and the run, its records and steps match their seal"
        if sealed
        else "; there is no seal, since no plan was completed"
    )
    return f"every event carries the SHA-256 of the one before{tail}."


def more(total: int, shown: int, file: str) -> str:
    """What a shortened list leaves out; empty where it is whole."""
    return f"{total - shown:,} more of {total:,} stand in {file}." if total > shown else ""
