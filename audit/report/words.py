"""The sentences of the reports that are made from data. Headings and fixed text stand in the templates."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from audit.chain import Proof
from audit.outcome import Outcome
from audit.report.language import Language
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

_NEEDED = ("origin", "key_spec", "key_state", "key_rotation_enabled")
_RULES = {rule.id: rule for rule in RULES}


def group(name: str, say: Language) -> tuple[str, str, str]:
    """Title, meaning and tone of a group of records: those of an outcome, or of a headline rule."""
    if name in _RULES:
        rule = _RULES[name]
        kind, source = say.recorded(rule.kind.value), say.recorded(rule.citation)
        return f"{name}: {say.recorded(rule.sentence)}", f"{kind}; {source}", "aside"
    if name in set(Outcome):
        outcome = Outcome(name)
        return label(outcome, say), say.recorded(outcome.meaning), TONES[outcome]
    return name, "", "aside"


def joined(say: Language, parts: Sequence[str]) -> str:
    """``a``, ``a, b``, ``a, b, c``."""
    return say(", ").join(parts)


def label(outcome: Outcome, say: Language) -> str:
    """The outcome's name, for readers."""
    return say.recorded(outcome.words)


def rotation(switch: str, interval: str, say: Language) -> str:
    """The state of a key's rotation; empty where neither is stated."""
    state = {"true": say("on"), "false": say("off")}.get(switch, switch)
    if not interval or switch == "false":
        return state
    if switch == "true":
        return say("on, every %(days)s days", days=interval)
    if not state:
        return say("every %(days)s days", days=interval)
    return say("%(state)s, every %(days)s days", state=state, days=interval)


def policy(about: Mapping[str, Any], say: Language) -> str:
    """What was asked of a key."""
    stated, undoes = about["policy"], about.get("undoes")
    if undoes:
        return say("Rotation is brought back to what it was before run %(run)s.", run=undoes["id"])
    longest, days = stated.get("max_interval") or 365, stated.get("interval")
    if days:
        return say(
            "Rotation is on, with at most %(longest)s days between two rotations; an interval of %(days)s days is set "
            "on keys that are changed.",
            longest=longest,
            days=days,
        )
    return say(
        "Rotation is on, with at most %(longest)s days between two rotations; the interval is left as KMS sets it.",
        longest=longest,
    )


def domain(stated: Mapping[str, Any], say: Language) -> str:
    """Whose keys were taken for ours."""
    own = stated.get("own_domain")
    return str(own) if own else say("not known: rule E06 (is shared by another account) was not judged")


def places(named: Collection[str], say: Language) -> str:
    """Where the usable records lie, the first ten by name."""
    first = joined(say, [place or say("not stated") for place in list(named)[:10]])
    more = len(named) - 10
    if more <= 0:
        return first
    return say.counted("%(places)s and %(n)s more place", "%(places)s and %(n)s more places", more, places=first)


def looked_at(about: Mapping[str, Any], say: Language) -> str:
    """What the run looked at."""
    if about.get("simulated"):
        return say("a simulated KMS, seeded from the inventory: nothing here is true of any cloud")
    return say("the live state in KMS") if about.get("live") else say("what the inventory states; KMS was not asked")


def remarks(about: Mapping[str, Any], counts: Mapping[Outcome, int], say: Language) -> tuple[str, ...]:
    """What a reader must know about the input: assumptions, missing columns, warnings."""
    columns, said = set(about.get("columns", ())), []
    if not about.get("live"):
        said.append(
            say(
                "Where the inventory does not state them, an offline check assumes the default keystore (keystore_id), "
                "ourselves as owner (domain_id) and a single region (multi_region_key_type). An interval that is not "
                "stated passes only a policy of 365 days, the longest that KMS knows."
            )
        )
        missing = [name for name in _NEEDED if name not in columns]
        missing += [] if columns & {"default_key_flag", "key_alias"} else ["default_key_flag"]
        if missing and counts[Outcome.UNKNOWN]:
            said.append(
                say(
                    "The inventory lacks columns without which keys cannot be judged: %(columns)s. "
                    "kms-rotation check --live reads them from KMS.",
                    columns=joined(say, missing),
                )
            )
    return (*said, *(say.recorded(str(warning)) for warning in about.get("input", {}).get("warnings", ())))


def walked(walk: Mapping[str, Any], say: Language) -> str:
    """What is to be said of one walk through one place; empty where it is whole."""
    why = say.recorded(walk.get("why", ""))
    if not walk.get("readable", True):
        return say("could not be read: %(why)s", why=why)
    if not walk.get("counted", True):
        return say("not counted: %(why)s", why=why)
    return say("the number listed differs from the total that KMS says") if walk.get("count_differs") else ""


def process(body: Mapping[str, Any], say: Language) -> str:
    """One process that worked on the run."""
    approved = {
        "question": say("approved at the question"),
        "--yes": say("approved by --yes"),
        "digest": say("approved by the digest of the plan"),
    }.get(body.get("approved", ""), "")
    told = (
        body.get("operator", ""),
        say("process %(pid)s", pid=body["pid"]) if body.get("pid") else "",
        say("version %(version)s", version=body["version"]) if body.get("version") else "",
        say("access key ending in %(end)s", end=body["access_key"]) if body.get("access_key") else "",
        say("against %(hosts)s", hosts=joined(say, body["hosts"])) if body.get("hosts") else "",
        approved,
    )
    parts = joined(say, [part for part in told if part]) or say("nothing noted")
    return say("%(command)s: %(parts)s", command=body.get("command", "run"), parts=parts)


def proof(found: Proof, sealed: str, say: Language) -> str:
    """Whether the ledger is what was written."""
    if found.fault:
        return say("%(fault)s. Do not rely on this report.", fault=say.recorded(found.fault))
    if sealed:
        return say(
            "Every event carries the SHA-256 of the one before, and the run, its records and steps match their seal."
        )
    return say("Every event carries the SHA-256 of the one before; there is no seal, since no plan was completed.")


def more(total: int, shown: int, file: str, say: Language) -> str:
    """What a shortened list leaves out; empty where it is whole."""
    if total <= shown:
        return ""
    return say(
        "%(more)s more of %(total)s stand in %(file)s.",
        more=say.number(total - shown),
        total=say.number(total),
        file=file,
    )


def beyond(total: int, shown: int, say: Language) -> str:
    """What a shortened section leaves out; empty where it is whole."""
    if total <= shown:
        return ""
    return say(
        "%(more)s more of %(total)s stand in the appendix and in report.csv.",
        more=say.number(total - shown),
        total=say.number(total),
    )
