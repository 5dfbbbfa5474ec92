"""What rotation costs: versions a year, exactly, and money without a float."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import GuardRefused, UsageFault
from audit.outcome import Action
from audit.versions import Price, added, guard, shown, yearly

ENABLE, SET = Action.ENABLE, Action.SET_INTERVAL
UNDO, BACK = "disable", "restore-interval"  # what a step is called that takes a change back
days = st.none() | st.integers(30, 365)


@dataclass(frozen=True)
class Asked:
    record: int
    action: str
    interval: int | None = None


@pytest.mark.parametrize(
    ("before", "steps", "versions"),
    [
        (None, [Asked(1, ENABLE)], [1]),
        (None, [Asked(1, ENABLE), Asked(1, SET, 90)], [1, Fraction(365, 90) - 1]),
        (None, [Asked(1, ENABLE), Asked(1, SET, 365)], [1, 0]),
        (365, [Asked(1, SET, 30)], [Fraction(365, 30) - 1]),
        (180, [Asked(1, SET, 90)], [Fraction(365, 90) - Fraction(365, 180)]),
        (365, [Asked(1, UNDO)], [-1]),
        (90, [Asked(1, UNDO)], [-Fraction(365, 90)]),
        (90, [Asked(1, BACK, 365)], [1 - Fraction(365, 90)]),
        (365, [Asked(1, ENABLE)], [0]),
        (None, [Asked(1, ENABLE), Asked(1, SET, 90), Asked(1, UNDO)], [1, Fraction(365, 90) - 1, -Fraction(365, 90)]),
    ],
)
def test_a_step_adds_what_its_key_makes_more_of_a_year(
    before: int | None, steps: list[Asked], versions: list[Fraction]
) -> None:
    """The rate after a step less the rate before it; each step finds what the one before it left."""
    assert [more for _, more in added(steps, {1: before})] == versions


@given(days, st.lists(st.builds(Asked, st.integers(1, 3), st.sampled_from([ENABLE, SET, UNDO, BACK]), days)))
def test_the_sum_is_that_of_the_ends(before: int | None, steps: list[Asked]) -> None:
    """However many steps a key has, together they add the rate at the end less the rate at the beginning."""
    after = {1: before, 2: before, 3: before}
    for step in steps:
        after[step.record] = {ENABLE: 365, UNDO: None}.get(step.action, step.interval)
    total = sum(more for _, more in added(steps, dict.fromkeys((1, 2, 3), before)))
    assert total == sum(yearly(end) for end in after.values()) - 3 * yearly(before)


def test_money_is_exact_until_it_is_shown() -> None:
    """Three thousand versions a year at 0.72: half of them there on average in the first year, then all and more."""
    price = Price.of("0.72 USD")
    assert (price.amount, price.currency, str(price)) == (Decimal("0.72"), "USD", "0.72 USD")
    assert (price.first_year(Fraction(3000)), price.each_later_year(Fraction(3000))) == (
        "12,960.00 USD",
        "25,920.00 USD",
    )
    assert Price.of("0.1").each_later_year(Fraction(1, 3)) == "0.40"
    assert Price.of("0.001").each_later_year(Fraction(5, 12)) == "0.01"  # half a cent goes up


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(30, 365))
def test_a_later_year_costs_twice_the_first(keys: int, millionths: int, interval: int) -> None:
    """The versions of a year are half there in that year and whole in each year after it."""
    price, new = Price(Decimal(millionths) / 10**6, ""), keys * yearly(interval)
    first, later = (Decimal(text.replace(",", "")) for text in (price.first_year(new), price.each_later_year(new)))
    assert abs(later - 2 * first) <= Decimal("0.02")
    assert abs(Fraction(later) - new * 12 * Fraction(price.amount)) <= Fraction(1, 200)


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [("7", "7", ""), ("5 CNY", "5", "CNY"), ("0.72USD", "0.72", "USD"), (" 5 元 ", "5", "元"), ("3.5 €", "3.5", "€")],
)
def test_a_price_is_a_number_and_perhaps_a_currency(text: str, amount: str, currency: str) -> None:
    """A decimal point, a blank or none, letters or one sign."""
    assert Price.of(text) == Price(Decimal(amount), currency)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.0 USD", "-1", "1e3", "nan", "inf", "0,72 USD", "1000000", "1.1234567",
     "USD 5", "5 U S D", "\u0665 CNY",
     "5 =1+1", "5 <b>", "5\nCNY", "5 " + "x" * 13, ".5"],
)  # fmt: skip
def test_an_absurd_price_is_refused(text: str) -> None:
    """A usage fault that shows the form, not a cost that nobody can believe."""
    with pytest.raises(UsageFault, match="--version-price") as raised:
        Price.of(text)
    assert "0.72 USD" in raised.value.next_step


@pytest.mark.parametrize(
    ("new", "limit", "refused"),
    [(Fraction(3), 3, False), (Fraction(301, 100), 3, True), (Fraction(9), None, False), (Fraction(-9), 0, False),
     (Fraction(1, 365), 0, True)],
)  # fmt: skip
def test_a_plan_that_costs_too_much_is_refused(new: Fraction, limit: int | None, refused: bool) -> None:
    """--max-new-versions bounds the versions a year; exactly so many are allowed."""
    if refused:
        with pytest.raises(GuardRefused, match="key versions a year, --max-new-versions allows"):
            guard(new, limit)
    else:
        guard(new, limit)


def test_numbers_are_shown_short() -> None:
    """Two decimals at most, none where there are none."""
    assert [shown(Fraction(n)) for n in ("3000", "1/3", "-5/2", "100")] == ["3,000", "0.33", "-2.5", "100"]
