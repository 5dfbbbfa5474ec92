"""The rules: which keys cannot rotate, which cannot be changed now, and what a key must satisfy.

One rule is one entry of ``RULES``: a stable id, a kind, a sentence, a citation and one small function that returns
the evidence where the rule matches. ``judge`` puts them in order and fails closed: what is not known never passes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from audit.model import DEFAULT_INTERVAL, Facts, KeyKind, KeyState, Policy, kind_of
from audit.verdict import Blocked, Compliant, Eligible, Finding, Ineligible, Undecided, Verdict


class Kind(StrEnum):
    """What a match means: never possible, not possible now, not known, or a control that fails."""

    NEVER = "never"
    NOT_NOW = "not now"
    UNKNOWN = "unknown"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Rule:
    """``match`` returns the evidence as a phrase, or the empty text where the rule does not match."""

    id: str
    kind: Kind
    sentence: str
    citation: str
    match: Callable[[Facts, Policy], str]


def _default_key(facts: Facts, _: Policy) -> str:
    if facts.default_key_flag == "1":
        return "default key (default_key_flag is 1)"
    if not facts.default_key_flag and facts.key_alias.endswith("/default"):
        return f"default key (alias {facts.key_alias}; default_key_flag is not stated)"
    return ""


def _imported(facts: Facts, _: Policy) -> str:
    return "imported key material (origin is external)" if facts.origin == "external" else ""


def _asymmetric(facts: Facts, _: Policy) -> str:
    return f"asymmetric key ({facts.key_spec})" if kind_of(facts.key_spec) is KeyKind.ASYMMETRIC else ""


def _hmac(facts: Facts, _: Policy) -> str:
    return f"HMAC key ({facts.key_spec})" if kind_of(facts.key_spec) is KeyKind.HMAC else ""


def _custom_keystore(facts: Facts, _: Policy) -> str:
    return f"custom keystore (keystore_id is {facts.keystore_id})" if facts.keystore_id not in {"", "0"} else ""


def _shared(facts: Facts, policy: Policy) -> str:
    if policy.own_domain and facts.domain_id and facts.domain_id != policy.own_domain:
        return f"owned by another account (domain_id is {facts.domain_id})"
    return ""


def _replica(facts: Facts, _: Policy) -> str:
    return "multi-region replica; only its primary can rotate" if facts.multi_region_key_type == "REPLICA" else ""


def _disabled(facts: Facts, _: Policy) -> str:
    return "key is disabled" if facts.key_state == KeyState.DISABLED else ""


def _pending_deletion(facts: Facts, _: Policy) -> str:
    return "key is pending deletion" if facts.key_state == KeyState.PENDING_DELETION else ""


def _pending(facts: Facts, _: Policy) -> str:
    waiting = {
        KeyState.PENDING_IMPORT: "key is pending import",
        KeyState.PENDING_ACTIVATION: "key is pending activation",
    }
    return waiting.get(facts.key_state, "")  # type: ignore[call-overload, no-any-return]  # a StrEnum key equals its text


def _frozen(facts: Facts, _: Policy) -> str:
    return "key is frozen" if facts.key_state == KeyState.FROZEN else ""


_STATES = frozenset(state.value for state in KeyState)


def _not_known(facts: Facts, _: Policy) -> str:
    strange = [
        f"{name} {value!r}"
        for name, value, known in (
            ("key_state", facts.key_state, facts.key_state in _STATES),
            ("key_spec", facts.key_spec, kind_of(facts.key_spec) is not KeyKind.UNKNOWN),
            ("origin", facts.origin, facts.origin in {"kms", "external"}),
            ("default_key_flag", facts.default_key_flag, facts.default_key_flag in {"0", "1"}),
            ("key_rotation_enabled", facts.key_rotation_enabled, facts.rotates is not None),
            (
                "multi_region_key_type",
                facts.multi_region_key_type,
                facts.multi_region_key_type in {"SINGLE", "PRIMARY", "REPLICA"},
            ),
        )
        if value and not known
    ]
    return f"not known to this version: {', '.join(strange)}" if strange else ""


def _off(facts: Facts, _: Policy) -> str:
    return "rotation is off" if facts.rotates is False else ""


def _too_slow(facts: Facts, policy: Policy) -> str:
    if facts.rotates and facts.interval is not None and facts.interval > policy.max_interval:
        return f"rotates every {facts.interval} days, the policy allows {policy.max_interval}"
    return ""


_API = "DEW API reference, "
_GUIDE = "DEW user guide, "

RULES: tuple[Rule, ...] = (
    Rule(
        "E01", Kind.NEVER, "is a default key", _API + "EnableKeyRotation: not for default keys; KMS.0211", _default_key
    ),
    Rule(
        "E02",
        Kind.NEVER,
        "has imported material",
        _API + "EnableKeyRotation: not for imported keys; KMS.0312",
        _imported,
    ),
    Rule(
        "E03",
        Kind.NEVER,
        "is asymmetric",
        _GUIDE + "key rotation overview: symmetric keys only; KMS.0324, KMS.0325",
        _asymmetric,
    ),
    Rule("E04", Kind.NEVER, "is an HMAC key", _API + "error codes: KMS.0341", _hmac),
    Rule("E05", Kind.NEVER, "lives in a custom keystore", _API + "error codes: KMS.0338", _custom_keystore),
    Rule(
        "E06",
        Kind.NEVER,
        "is shared by another account",
        _GUIDE + "key sharing: only the owner enables rotation",
        _shared,
    ),
    Rule("E07", Kind.NEVER, "is a multi-region replica", _GUIDE + "replica keys: the primary only", _replica),
    Rule("E08", Kind.NOT_NOW, "is disabled", _GUIDE + "key rotation overview: enabled keys only; KMS.0209", _disabled),
    Rule(
        "E09",
        Kind.NOT_NOW,
        "is pending deletion",
        _GUIDE + "key rotation overview: enabled keys only; KMS.0210",
        _pending_deletion,
    ),
    Rule("E10", Kind.NOT_NOW, "is pending import or pending activation", _API + "error codes: KMS.1301", _pending),
    Rule("E11", Kind.NOT_NOW, "is frozen", _API + "error codes: KMS.0320", _frozen),
    Rule(
        "E12",
        Kind.UNKNOWN,
        "has a state, spec, origin, flag or multi-region type that we do not know",
        "this tool: fail closed",
        _not_known,
    ),
    Rule("C01", Kind.CONTROL, "has rotation off", "the policy: rotation is on", _off),
    Rule(
        "C02",
        Kind.CONTROL,
        "rotates less often than `--max-interval` days (default 365, allowed 30-365)",
        _API + "UpdateKeyRotationInterval: 30-365 days",
        _too_slow,
    ),
)
"""All rules, in the order in which findings are told."""

_KIND = {rule.id: rule.kind for rule in RULES}


def judge(facts: Facts, policy: Policy) -> Verdict:
    """The verdict on a key, from what is stated of it: never, unknown, not now, then the controls.

    Its waivers are another matter, and come second (``verdict.waive``).
    """
    findings = tuple(Finding(rule.id, evidence) for rule in RULES if (evidence := rule.match(facts, policy)))
    kinds = {_KIND[finding.rule] for finding in findings}
    if Kind.NEVER in kinds:
        return Ineligible(findings)
    missing = _missing(facts, policy)
    if missing or Kind.UNKNOWN in kinds:
        return Undecided(findings, missing)
    if Kind.NOT_NOW in kinds:
        return Blocked(findings)
    return Eligible(findings) if findings else Compliant()


def _missing(facts: Facts, policy: Policy) -> tuple[str, ...]:
    missing = [name for name in ("origin", "key_spec", "key_state", "key_rotation_enabled") if not getattr(facts, name)]
    if not facts.default_key_flag and not facts.key_alias:
        missing.append("default_key_flag")
    assumed_slowest = facts.interval is None and (facts.rotation_interval or policy.max_interval < DEFAULT_INTERVAL)
    if facts.rotates and assumed_slowest:
        missing.append("rotation_interval")
    return tuple(missing)


def table() -> str:
    """All rules as a Markdown table."""
    lines = ["| Id | Kind | Matches when the key ... | Source |", "|---|---|---|---|"]
    lines += [f"| {rule.id} | {rule.kind} | {rule.sentence} | {rule.citation} |" for rule in RULES]
    return "\n".join(lines)
