"""Cells that a spreadsheet would run, and the apostrophe that keeps it from doing so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.cells import guard, unguard

texts = st.text() | st.text(alphabet="'=+-@\t\r15. a")


FORMULAS = ["=1+1", "+cmd", "-legacy", "@sum", "\tx", "\rx", "-", "-5x", "+1.5.2", "-5\n", "-\u0665", "'=1", "''@"]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text):
    """A text that begins as a formula does is written with one apostrophe before it."""
    assert guard(text) == "'" + text


@pytest.mark.parametrize("text", ["", "a", "a=b", "5", "-5", "+1.5", "-0.25", "'quoted'", "''", "'5", "0d0466b0-e727"])
def test_what_is_harmless_stays(text):
    """Plain text and plain numbers are written as they are, whatever their sign."""
    assert guard(text) == text


@pytest.mark.parametrize("text", ["'tis", "'", "''", "=1", "-5", "' =1"])
def test_an_apostrophe_that_guards_nothing_stays(text):
    """Only the apostrophe before what a spreadsheet would run is taken away."""
    assert unguard(text) == text


def test_a_guarded_number_is_a_number():
    """A number that somebody else guarded reads as the number."""
    assert unguard("'-5") == "-5"


@given(texts)
def test_every_text_comes_back(text):
    """What we write is what we read, however many apostrophes it began with."""
    assert unguard(guard(text)) == text


@given(texts)
def test_nothing_that_is_written_runs(text):
    """No cell that we write begins as a formula does, but for a plain number."""
    cell = guard(text)
    if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        float(cell)
