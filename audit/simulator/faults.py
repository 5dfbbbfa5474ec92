"""The misbehaviour that the simulator can be told to show, as text for ``--faults``.

    FAULTS = PART[,PART ...]
    PART   = KIND[/reads | /writes][=ARGUMENT][:PROBABILITY][@FIRST[-LAST | +]]   or   seed=N

    throttle:0.1                 one request in ten is answered with 429
    drop-after/writes@3          the third write is applied, then the connection is reset
    slow=5@10-20                 the tenth to the twentieth request take five seconds more
    500@4+                       everything from the fourth request on fails
    forbid=0a1b2c,drop-before:.2 two faults; where both strike, the first named wins

``@`` counts, from 1, the requests that the part concerns: the reads, the writes, or all. The probability is 1 unless
stated. Each part throws its own dice, seeded by ``seed`` (1 unless stated) and its place in the list, so that the same
requests meet the same faults again.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from audit.errors import UsageFault
from audit.model import PROJECT_ID

FORM = "KIND[/reads|/writes][=ARGUMENT][:PROBABILITY][@FIRST[-LAST|+]]"

FAULT_KINDS: Mapping[str, str] = {
    "throttle": "429 APIGW.0308, not applied",
    "500": "500 KMS.0101, not applied",
    "503": "503 KMS.0104, not applied",
    "502": "502 APIGW.0201, not applied",
    "502-after": "applied, then a 502 with an HTML page, as from a proxy",
    "drop-before": "the connection is reset, not applied",
    "drop-after": "applied, then the connection is reset without an answer",
    "cut": "applied, then half of the body and the end of the connection",
    "garbage": "applied, then a 200 with a body that is no JSON",
    "noise": "applied, then bytes that are no HTTP",
    "slow": "applied, answered slow=SECONDS later (30)",
    "401": "401 APIGW.0301, counted as a failed signature",
    "401-echo": "the same, and the message echoes what was signed, with the security token and the signature",
    "redirect": "302 to another host, not applied",
    "permission": "403 KMS.0306, not applied",
    "policy": "403 PAP5.0001 with an encoded authorization message, not applied",
    "forbid": "403 KMS.0306 to every request of the project in forbid=PROJECT",
    "refuse": "the code in refuse=CODE to writes (refuse/reads=CODE: to reads), with its documented status or 400",
}
"""Kind -> one sentence, for the help."""

_DEFAULT_ARGUMENT = {"slow": "30"}
_ARGUMENT = {
    "slow": re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII),
    "forbid": PROJECT_ID,
    "refuse": re.compile(r"[A-Z][A-Z0-9]*\.\d{4}", re.ASCII),
    "seed": re.compile(r"\d{1,18}", re.ASCII),
}
_PART = re.compile(
    r"(?P<kind>[0-9a-z-]+)(?:/(?P<only>reads|writes))?(?:=(?P<argument>[^:@,]+))?"
    r"(?::(?P<probability>[0-9]*\.?[0-9]+))?(?:@(?P<first>[0-9]{1,9})(?:-(?P<last>[0-9]{1,9})|(?P<on>\+))?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``only``: ``reads``, ``writes`` or empty for both. ``last``: None for no end."""

    kind: str
    only: str = ""
    argument: str = ""
    probability: float = 1.0
    first: int = 1
    last: int | None = None

    def concerns(self, access: str, project_id: str) -> bool:
        """Whether a request is one of those that the fault counts."""
        return self.only in {"", access} and (self.kind != "forbid" or self.argument == project_id)


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults in the order of precedence, and the seed of their dice."""

    faults: tuple[Fault, ...] = ()
    seed: int = 1


NO_FAULTS = Faults()


def parse_faults(text: str) -> Faults:
    """The faults that a text asks for; the empty text asks for none.

    Raises UsageFault naming the column (from 1) and what is allowed there.
    """
    faults: list[Fault] = []
    seed, column = 1, 1
    for part in text.split(",") if text.strip() else []:
        stripped = part.strip()
        start = column + len(part) - len(part.lstrip())
        column += len(part) + 1
        found = _PART.match(stripped)
        if found is None or found.end() < len(stripped):
            raise _unreadable(start + (found.end() if found else 0), f"cannot read {stripped!r}")
        if found["kind"] == "seed":
            if found[0] != f"seed={found['argument']}" or not _ARGUMENT["seed"].fullmatch(found["argument"]):
                raise _unreadable(start, "the seed is seed=N")
            seed = int(found["argument"])
        else:
            faults.append(_fault(found, start))
    return Faults(tuple(faults), seed)


def _fault(found: re.Match[str], column: int) -> Fault:
    kind = found["kind"]
    if kind not in FAULT_KINDS:
        raise _unreadable(column, f"there is no fault {kind!r}")
    argument = found["argument"] or _DEFAULT_ARGUMENT.get(kind, "")
    if kind not in _ARGUMENT and argument:
        raise _unreadable(column + found.start("argument"), f"{kind} takes no argument")
    if kind in _ARGUMENT and not _ARGUMENT[kind].fullmatch(argument):
        raise _unreadable(column, f"{kind} needs an argument: {FAULT_KINDS[kind]}")
    probability = float(found["probability"] or 1)
    if not 0 < probability <= 1:
        raise _unreadable(column + found.start("probability"), "a probability is above 0 and at most 1")
    first = int(found["first"] or 1)
    last = int(found["last"]) if found["last"] else first if found["first"] and not found["on"] else None
    if first < 1 or (last is not None and last < first):
        raise _unreadable(
            column + found.start("first"), "requests are counted from 1, and a range ends after it begins"
        )
    return Fault(kind, found["only"] or ("writes" if kind == "refuse" else ""), argument, probability, first, last)


def _unreadable(column: int, why: str) -> UsageFault:
    return UsageFault(
        f"--faults, column {column}: {why}",
        f"the form is {FORM}; kinds: {', '.join(FAULT_KINDS)}",
    )


class Dice:
    """Which fault strikes which request; counts what every fault concerns."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults.faults
        self._seen = [0] * len(faults.faults)
        # Repeatable on purpose, and nothing secret hangs on it.
        self._random = [random.Random(f"{faults.seed} {place}") for place in range(len(faults.faults))]  # noqa: S311

    def throw(self, access: str, project_id: str) -> Fault | None:
        """The fault that strikes the next request (``access``: ``reads``, ``writes``, empty for neither), if any."""
        struck = [self._strikes(place, fault, access, project_id) for place, fault in enumerate(self._faults)]
        return next((fault for fault, hit in zip(self._faults, struck, strict=True) if hit), None)

    def _strikes(self, place: int, fault: Fault, access: str, project_id: str) -> bool:
        if not fault.concerns(access, project_id):
            return False
        self._seen[place] += 1
        if self._seen[place] < fault.first or (fault.last is not None and self._seen[place] > fault.last):
            return False
        return self._random[place].random() < fault.probability
