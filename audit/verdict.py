"""What is held of a key before anything is sent: findings, and the verdict that follows from them."""

from dataclasses import dataclass, replace
from typing import assert_never

from audit.model import Place
from audit.outcome import Outcome
from audit.waiver import Waiver, Waivers


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that matched, and the evidence: what of the key made it match."""

    rule: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Eligible:
    """Rotation can be switched on or sped up, and a control fails. The only verdict from which a step is made.

    ``lapsed``, here and elsewhere: a waiver that would cover the key, had it not expired.
    """

    findings: tuple[Finding, ...]
    lapsed: Waiver | None = None


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
    lapsed: Waiver | None = None


@dataclass(frozen=True, slots=True)
class Waived:
    """An unexpired waiver covers the key, ``by``: whatever else is found or not stated, nothing is done to it."""

    findings: tuple[Finding, ...]
    by: Waiver
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undecided:
    """Something needed is not stated (``missing``, field names) or not known."""

    findings: tuple[Finding, ...]
    missing: tuple[str, ...] = ()
    lapsed: Waiver | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """KMS was to be asked and did not tell: it has no such key (``gone``), or the reading failed."""

    why: str
    gone: bool = False
    findings: tuple[Finding, ...] = ()


Verdict = Eligible | Compliant | Ineligible | Blocked | Waived | Undecided | Unread


def waive(verdict: Verdict, waivers: Waivers, place: Place, key_id: str, key_alias: str) -> Verdict:
    """The verdict on a key, once its waivers are looked at: after never, before all else that is found.

    A key that is in order has nothing to waive; of one that KMS does not have or that could not be read nothing is
    known. A waiver for one rule covers a key whose findings name that rule. ``key_alias``: as the report shows it.
    """
    if not waivers.entries:
        return verdict
    match verdict:
        case Compliant() | Ineligible() | Waived() | Unread():
            return verdict
        case Eligible() | Blocked() | Undecided():
            matching = waivers.matching(place, key_id, key_alias)
            if not matching:  # so it is with most of a million keys
                return verdict
            found = {finding.rule for finding in verdict.findings} | {""}
            covering = [waiver for waiver in matching if waiver.rule in found]
            by = next((waiver for waiver in covering if waiver.expires >= waivers.day), None)
            if by is not None:
                return Waived(verdict.findings, by, verdict.missing if isinstance(verdict, Undecided) else ())
            return replace(verdict, lapsed=max(covering, key=lambda waiver: waiver.expires)) if covering else verdict
        case _:
            assert_never(verdict)


def verdict_outcome(verdict: Verdict) -> Outcome:  # noqa: PLR0911  # one for each verdict
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
        case Waived():
            return Outcome.WAIVED
        case Undecided():
            return Outcome.UNKNOWN
        case Unread():
            return Outcome.MISSING if verdict.gone else Outcome.UNKNOWN
        case _:
            assert_never(verdict)


def verdict_reason(verdict: Verdict) -> str:
    """One sentence on why: the evidence of the headline rule, what is not known, or the waiver and what it waives."""
    match verdict:
        case Waived(findings=findings, by=by, missing=missing):
            waives = [f"{finding.rule} ({finding.evidence})" for finding in findings if by.rule in {"", finding.rule}]
            waives += [f"what is not stated ({', '.join(missing)})"] if missing and not by.rule else []
            return f"{by.told}; waives {', '.join(waives)}"
        case Undecided(findings=findings, missing=missing):
            strange = [finding.evidence for finding in findings if finding.rule == "E12"]
            said = [f"not stated: {', '.join(missing)}", *strange] if missing else strange
        case Unread():
            return verdict.why
        case _:
            said = [finding.evidence for finding in verdict.findings[:1]]
    lapsed = verdict.lapsed if isinstance(verdict, Eligible | Blocked | Undecided) else None
    return "; ".join([*said, lapsed.lapse] if lapsed else said)
