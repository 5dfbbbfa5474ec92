"""What can become of a key: attempts, answers, outcomes, and the record of one inventory line.

The way of one key is told by the types: a verdict before anything is sent (``verdict``), then per step the attempts,
the answer and the read-back, and from those alone - never from what the program hoped - the outcome.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from audit.errors import PRECEDENCE
from audit.model import Facts


class Outcome(StrEnum):
    """What became of one record; the values are public."""

    COMPLIANT = "compliant"
    NON_COMPLIANT = "non_compliant"
    PLANNED = "planned"
    REMEDIATED = "remediated"
    INELIGIBLE = "ineligible"
    BLOCKED = "blocked"
    WAIVED = "waived"
    REJECTED = "rejected"
    MISSING = "missing"
    REFUSED = "refused"
    UNVERIFIED = "unverified"
    UNKNOWN = "unknown"
    NOT_ATTEMPTED = "not_attempted"
    ROLLED_BACK = "rolled_back"
    LEFT_ALONE = "left_alone"

    @property
    def meaning(self) -> str:
        """One phrase, for the README and for readers of the report."""
        return MEANINGS[self]

    @property
    def words(self) -> str:
        """The value as people write it: ``not attempted``."""
        return self.value.replace("_", "-" if self is Outcome.NON_COMPLIANT else " ")


MEANINGS: Mapping[Outcome, str] = {
    Outcome.COMPLIANT: "rotation is on and the interval is within policy",
    Outcome.NON_COMPLIANT: "eligible, rotation is off or too slow, and this run had no step for it",
    Outcome.PLANNED: "would be changed (plan, --dry-run, or “no” at the question)",
    Outcome.REMEDIATED: "changed by this run, and the read-back satisfies the policy",
    Outcome.INELIGIBLE: "a never rule matches: this kind of key cannot rotate",
    Outcome.BLOCKED: "a not-now rule matches: its state forbids a change today",
    Outcome.WAIVED: "an unexpired waiver covers it",
    Outcome.REJECTED: "the record cannot be used",
    Outcome.MISSING: "asked for by id, KMS says that it does not have this key",
    Outcome.REFUSED: "KMS gave a final no, or the attempts were used up and the last read-back shows no change",
    Outcome.UNVERIFIED: "KMS accepted, and no read-back within the polls shows it",
    Outcome.UNKNOWN: "not enough information to judge, or no answer and no read-back",
    Outcome.NOT_ATTEMPTED: "the run ended before this key's turn (interrupt, abort, guard)",
    Outcome.ROLLED_BACK: "rotation is again as it was before the run that is undone",
    Outcome.LEFT_ALONE: "not undone: somebody has changed the key since",
}

_EXIT: Mapping[Outcome, int] = {
    **dict.fromkeys((Outcome.COMPLIANT, Outcome.REMEDIATED, Outcome.INELIGIBLE, Outcome.BLOCKED, Outcome.WAIVED), 0),
    **dict.fromkeys((Outcome.NON_COMPLIANT, Outcome.PLANNED, Outcome.REFUSED, Outcome.MISSING), 3),
    Outcome.ROLLED_BACK: 0,
    Outcome.LEFT_ALONE: 3,
    **dict.fromkeys((Outcome.REJECTED, Outcome.UNKNOWN, Outcome.UNVERIFIED, Outcome.NOT_ATTEMPTED), 4),
}

ANOTHER_RUN: frozenset[Outcome] = frozenset(outcome for outcome, code in _EXIT.items() if code) - {
    Outcome.REJECTED,
    Outcome.LEFT_ALONE,
}
"""The outcomes that go into ``failed.csv``: a record that cannot be used needs another inventory, not another run, and
what somebody has changed since would only be left alone again."""


def exit_code(counts: Mapping[str, int], *others: int) -> int:
    """The exit code of a run: of those that its outcomes and its ending (``others``) call for, the first in line."""
    codes = {_EXIT[Outcome(outcome)] for outcome, count in counts.items() if count} | set(others) | {0}
    return next(code for code in PRECEDENCE if code in codes)


# Of one request -----------------------------------------------------------------------------------------------------


class Meaning(StrEnum):
    """What one attempt at a request came to, whatever its status and code were (``kms.codes`` decides)."""

    DONE = "done"
    ALREADY = "already"  # KMS.2901: rotation is already on; to a step that turns it off KMS.0313: it is off
    GONE = "gone"  # 404 KMS.0207
    REFUSED = "refused"
    FORBIDDEN = "forbidden"  # refused for want of permission
    AGAIN = "again"  # an answer that says: later
    UNREACHED = "unreached"  # the request did not leave, so it cannot have been applied
    THROTTLED = "throttled"
    SILENT = "silent"  # it may have been applied; nobody said
    STOPPED = "stopped"  # answered in a way that forbids going on: access key, place or run
    UNSENT = "unsent"  # held back, because something had been stopped before


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request on the wire and what came of it.

    ``at``: when it was sent, UTC ``2026-11-24T03:34:00Z``. ``status``: None without an answer. ``code`` and ``message``
    are scrubbed. ``retry_after``: seconds that the server asked for. ``retries``: at most so many more attempts, None
    for the run's own bound.
    """

    meaning: Meaning
    at: str = ""
    status: int | None = None
    code: str = ""
    message: str = ""
    request_id: str = ""
    retry_after: float = 0.0
    retries: int | None = None

    @property
    def words(self) -> str:
        """Status, code and message, for a sentence."""
        parts = (f"HTTP {self.status}" if self.status else "", self.code, self.message)
        return " ".join(part for part in parts if part) or "no answer"


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What KMS said of a key after the writing: its facts, or why it could not be read (``fault``)."""

    at: str
    facts: Facts | None = None
    fault: str = ""
    gone: bool = False


class Action(StrEnum):
    """What a step does to a key."""

    ENABLE = "enable"
    SET_INTERVAL = "set-interval"
    DISABLE = "disable"
    RESTORE_INTERVAL = "restore-interval"


INTERVALS = frozenset({Action.SET_INTERVAL, Action.RESTORE_INTERVAL})
"""The actions whose effect only the rotation status shows, and no list of keys."""


def shows(action: Action, interval: int | None, facts: Facts) -> bool | None:
    """Whether facts of a key show what a step is for; None where they do not tell.

    Enable needs no look at the interval: it gives 365 days, and a policy below that has a second step.
    """
    if facts.rotates is None:
        return None
    if action is Action.DISABLE:
        return not facts.rotates
    if action is Action.ENABLE or not facts.rotates:
        return facts.rotates
    return None if facts.interval is None else facts.interval == interval


@dataclass(slots=True)
class History:
    """All that is on record of one step.

    ``answer`` is None until KMS answered or the attempts were used up. ``pending``: a request may be on its way.
    ``cut_off``: so it was when its process ended. ``superseded``: what a later walk made of a step that was not sent.
    """

    record: int
    action: Action
    interval: int | None
    sequence: str
    intended: bool = False
    pending: bool = False
    cut_off: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    answer: Attempt | None = None
    read_back: ReadBack | None = None
    superseded: "Ending | None" = None

    @property
    def reached(self) -> bool:
        """Whether a request may have changed the key, whatever was answered to a later one."""
        perhaps = {Meaning.DONE, Meaning.AGAIN, Meaning.SILENT}
        return self.pending or self.cut_off or any(attempt.meaning in perhaps for attempt in self.attempts)

    @property
    def satisfied(self) -> bool | None:
        """Whether the read-back shows what the step was for; None where nothing could be read."""
        facts = self.read_back.facts if self.read_back else None
        return None if facts is None else shows(self.action, self.interval, facts)


@dataclass(frozen=True, slots=True)
class Ending:
    """An outcome and the sentence that says why."""

    outcome: Outcome
    reason: str


# Of one inventory line ----------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """What became of one record of the inventory: one row of every report.

    The fields up to ``verified_at`` are the columns of ``report.csv``, as text except for ``line`` and ``outcome``.
    A key with two steps shows both, joined with ``;``. ``changed``: a request of this run may have changed the key.
    ``cells``: the record's values in the order of the inventory's header. ``drift``: fields on which the inventory and
    KMS disagree, name -> (inventory, KMS).
    """

    line: int
    account: str
    region: str
    project_id: str
    key_id: str
    key_alias: str
    outcome: Outcome
    rules: str
    reason: str
    action: str
    sequence: str
    rotation_before: str
    rotation_after: str
    interval_before: str
    interval_after: str
    attempts: str
    http_status: str
    error_code: str
    error_msg: str
    request_id: str
    requested_at: str
    verified_at: str
    changed: bool
    cells: tuple[str, ...]
    drift: Mapping[str, tuple[str, str]]
