"""What is held of a key before anything is sent: findings, and the verdict that follows from them."""

from dataclasses import dataclass
from typing import assert_never

from audit.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that matched, and the evidence: what of the key made it match."""

    rule: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Eligible:
    """Rotation can be switched on or sped up, and a control fails. The only verdict from which a step is made."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Compliant:
    """Every control passes."""

    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Ineligible:
    """A never rule matches."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """A not-now rule matches."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Undecided:
    """Something needed is not stated (``missing``, field names) or not known."""

    findings: tuple[Finding, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """KMS was to be asked and did not tell: it has no such key (``gone``), or the reading failed."""

    why: str
    gone: bool = False
    findings: tuple[Finding, ...] = ()


Verdict = Eligible | Compliant | Ineligible | Blocked | Undecided | Unread


def verdict_outcome(verdict: Verdict) -> Outcome:
    """The outcome of a record that gets no step."""
    match verdict:
        case Eligible():
            return Outcome.NON_COMPLIANT
        case Compliant():
            return Outcome.COMPLIANT
        case Ineligible():
            return Outcome.INELIGIBLE
        case Blocked():
            return Outcome.BLOCKED
        case Undecided():
            return Outcome.UNKNOWN
        case Unread():
            return Outcome.MISSING if verdict.gone else Outcome.UNKNOWN
        case _:
            assert_never(verdict)


def verdict_reason(verdict: Verdict) -> str:
    """One sentence on why: the evidence of the headline rule, or what is not known."""
    match verdict:
        case Undecided(findings=findings, missing=missing):
            strange = [finding.evidence for finding in findings if finding.rule == "E12"]
            return "; ".join([f"not stated: {', '.join(missing)}", *strange] if missing else strange)
        case Unread():
            return verdict.why
        case _:
            return verdict.findings[0].evidence if verdict.findings else ""
