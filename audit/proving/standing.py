"""What a check of the evidence can come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MOST = 20
"""Things found by one check that are told one by one."""


class Standing(StrEnum):
    """How a run stands, or one part of it; ``UNCHECKED``: nothing speaks against it, and not all could be looked at."""

    INTACT = "intact"
    UNCHECKED = "unchecked"
    ALTERED = "altered"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``said``: one sentence, no more than is known. ``details``: what was found, one thing each."""

    what: str
    standing: Standing
    said: str
    details: tuple[str, ...] = ()


def result(checks: Sequence[Check]) -> Check:
    """How the whole stands: as its worst part."""
    order = list(Standing)
    standing = max((check.standing for check in checks), key=order.index)
    parts = ", ".join(check.what for check in checks if check.standing is standing)
    said = {
        Standing.INTACT: "nothing speaks against this run",
        Standing.UNCHECKED: f"nothing that was looked at speaks against this run, but not all could be: {parts}",
        Standing.ALTERED: f"altered or damaged: {parts}",
    }
    return Check("result", standing, said[standing])


def first(found: list[str]) -> tuple[str, ...]:
    """The first ``MOST`` things that were found, and how many more there are."""
    more = len(found) - MOST
    return (*found[:MOST], *([f"and {more:,} more"] if more > 0 else []))
