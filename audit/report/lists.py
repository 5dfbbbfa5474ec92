"""Lists of a report: whole ones that are read again and again, and shortened ones."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from audit.report.rows import Again

WHOLE = 1000
"""A report of at most so many records shows every row of every section."""
SHOWN = 100
"""Rows of one section, or of one list, that a larger report shows; all of them stand in the appendix."""
STATIC = 2000
"""Rows of the appendix that are plain HTML: they are there without JavaScript, and on paper."""
EMBEDDED = 100_000
"""Rows of the appendix that the page holds at all. A browser stays quick with that; the rest stands in report.csv."""

T = TypeVar("T")


def room(records: int) -> int:
    """How many rows of one section, or of one list, a report of so many records shows."""
    return WHOLE if records <= WHOLE else SHOWN


@dataclass(frozen=True, slots=True)
class Shown(Generic[T]):
    """A list of which at most ``room`` rows are kept. ``total``: of ``all``; ``more``: a sentence on the others."""

    rows: tuple[T, ...]
    total: int
    more: str
    all: Again[T]


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """A CSV file: the names of its columns, and its rows, which can be read again and again."""

    columns: tuple[str, ...]
    rows: Again[T]
    total: int
