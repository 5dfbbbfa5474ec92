"""What rotation costs: how many key versions a year a step adds, and the money where a price is given.

Each rotation makes one version of a key, and each version is billed like another key (DEW price details): after n
rotations n + 1 are billed. So what counts is the rate at which versions come: 365 / interval a year, none without
rotation. Fractions and decimals throughout: nothing is rounded before it is shown.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Protocol, TypeVar, assert_never

from audit.errors import GuardRefused, UsageFault
from audit.model import DEFAULT_INTERVAL
from audit.outcome import Action

DAYS, MONTHS = 365, 12
"""Of a year, as it is reckoned here."""


class Change(Protocol):
    """What is asked of the steps that are counted: a ``Step`` of a plan, or the ``History`` of one."""

    @property
    def record(self) -> int:
        """The record that it is for."""

    @property
    def action(self) -> Action:
        """What it does."""

    @property
    def interval(self) -> int | None:
        """Days that it sets, None where its action sets none of its own."""


C = TypeVar("C", bound=Change)


def yearly(interval: int | None) -> Fraction:
    """Versions a year that a key with this interval in days gets; None: it does not rotate."""
    return Fraction(DAYS, interval) if interval else Fraction(0)


def added(steps: Iterable[C], before: Mapping[int, int | None]) -> Iterator[tuple[C, Fraction]]:
    """Each step with the versions a year that it adds; below zero where it takes some back.

    ``steps``: all of a plan, in order, for a step finds what the one before it left. ``before``: days between two
    rotations by record, before any step; None where rotation was off.
    """
    now = dict(before)
    for step in steps:
        was, now[step.record] = now.get(step.record), _left(step.action, step.interval)
        yield step, yearly(now[step.record]) - yearly(was)


def _left(action: Action, interval: int | None) -> int | None:
    """The interval that a key has after a step; None where it does not rotate any more."""
    match action:
        case Action.ENABLE:
            return DEFAULT_INTERVAL
        case Action.SET_INTERVAL | Action.RESTORE_INTERVAL:
            return interval
        case Action.DISABLE:
            return None
        case _:
            assert_never(action)


def guard(new: Fraction, limit: int | None) -> None:
    """Refuse a plan that adds more versions a year than ``limit``. Raises GuardRefused."""
    if limit is not None and new > limit:
        raise GuardRefused(
            f"the plan adds {shown(new)} key versions a year, --max-new-versions allows {limit}",
            "nothing was sent; each version is billed like another key: raise --max-new-versions if that is meant",
        )


def shown(number: Fraction) -> str:
    """A number of versions for people, with at most two decimals: ``1,234``, ``4.06``."""
    return f"{float(number):,.2f}".rstrip("0").rstrip(".")


_PRICE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(?: ?([^\W\d_]{1,12}|[$€£¥]))?")


@dataclass(frozen=True, slots=True)
class Price:
    """What one version costs a month. ``currency`` may be empty."""

    amount: Decimal
    currency: str

    @classmethod
    def of(cls, text: str) -> "Price":
        """From ``0.72 USD`` or ``7``. Raises UsageFault."""
        match = _PRICE.fullmatch(text.strip())
        if not match or not Decimal(match[1]):
            raise UsageFault(
                f"--version-price {text!r} is no price",
                "give a number above 0 with a decimal point, and a currency if you like: --version-price '0.72 USD'",
            )
        return cls(Decimal(match[1]), match[2] or "")

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}".rstrip()

    def first_year(self, new: Fraction) -> str:
        """What ``new`` versions cost in the year in which they come evenly: half of them are there on average."""
        return self._money(new * MONTHS / 2)

    def each_later_year(self, new: Fraction) -> str:
        """By how much each later year costs more than the year before, if as many come again."""
        return self._money(new * MONTHS)

    def _money(self, key_months: Fraction) -> str:
        exact = self.amount * key_months.numerator / key_months.denominator
        return f"{exact.quantize(Decimal('0.01'), ROUND_HALF_UP):,} {self.currency}".rstrip()
