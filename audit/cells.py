"""Cells that a spreadsheet would run as a formula: the apostrophe that we write and, reading, take away again.

Every CSV that we write goes through ``guard``, every cell that we read through ``unguard``, so that our own files
read back exactly. An apostrophe that is already there gets one more: the way back is never in doubt.
"""

import re

_FIRST = frozenset("'=+-@\t\r")  # a look at one character spares most cells the pattern
_RUNS = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-][0-9]+(\.[0-9]+)?")


def guard(text: str) -> str:
    """The text as a cell to write: an apostrophe before ``=`` ``+`` ``-`` ``@`` tab or CR, but not before a number."""
    return f"'{text}" if text[:1] in _FIRST and _RUNS.match(text) and not _NUMBER.fullmatch(text) else text


def unguard(text: str) -> str:
    """The text of a cell as read; ``unguard(guard(text)) == text`` for every text."""
    return text[1:] if text.startswith("'") and _RUNS.match(text) else text
