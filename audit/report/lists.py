"""Lists of a report: whole ones that are read again and again, and shortened ones."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from audit.report.rows import Again

SHOWN = 5000
"""Rows of one section, or of one list, that report.html shows; a browser stays quick with that."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shown(Generic[T]):
    """A list of which at most ``SHOWN`` rows are kept. ``total``: of ``all``; ``more``: a sentence on the others."""

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
