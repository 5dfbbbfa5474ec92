"""The records that the page carries for its script: JSON in a script element that nothing in it can close.

Whatever many records have in common is told once, and numbered: ``texts`` (0 is the empty one), ``outcomes`` (label and
tone), ``kinds`` and ``owns``. A row is a list, what is empty at its end left out:

    kind, line, key id, alias, own columns (a number of ``owns``), anchor (of ``texts``, 0: ``key-`` and the key id),
    requests (of ``texts``, eight for each, in the order of ``shapes.Request``)

A kind is an outcome, then numbers of ``texts``: account, region, project id, before, after, reason, rules (joined by
blanks), run id. An entry of ``owns`` is name, value, name, value ... as numbers of ``texts``; entry 0 has none.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from operator import attrgetter

from markupsafe import Markup

from audit.report.shapes import Entry, Request

_ROWS = 500  # of one piece
_of_request = attrgetter(*(field.name for field in fields(Request)))
_of_kind = attrgetter("account", "region", "project_id", "before", "after", "reason")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ESCAPES = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


def records(entries: Sequence[Entry], visible: Callable[[str], str]) -> Iterator[Markup]:
    """The JSON, piece by piece. ``visible``: what a page can show of a text."""
    texts: dict[str, int] = {"": 0}
    outcomes: dict[tuple[str, str], int] = {}
    kinds: dict[tuple[int, ...], int] = {}
    owns: dict[tuple[int, ...], int] = {(): 0}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    def row(entry: Entry) -> list[object]:
        outcome = outcomes.setdefault((entry.label, entry.tone), len(outcomes))
        kind = (outcome, *map(number, (*_of_kind(entry), " ".join(entry.rules), entry.run_id)))
        own = tuple(number(text) for pair in entry.own for text in pair)
        told: list[object] = [
            kinds.setdefault(kind, len(kinds)),
            entry.line,
            visible(entry.key_id),
            visible(entry.key_alias),
            owns.setdefault(own, len(owns)),
            0 if entry.anchor == f"key-{entry.key_id}" else number(entry.anchor),
            [number(text) for request in entry.requests for text in _of_request(request)],
        ]
        while not told[-1]:
            told.pop()
        return told

    yield from _array('{"rows":', map(row, entries))
    yield from _array(',"kinds":', kinds)
    yield from _array(',"owns":', owns)
    yield from _array(',"outcomes":', outcomes)
    yield from _array(',"texts":', map(visible, texts))
    yield Markup("}")


def _array(before: str, items: Iterable[object]) -> Iterator[Markup]:
    """A name and the list under it, some hundred entries at a time."""
    entries, start = iter(items), before + "[\n"
    while some := list(islice(entries, _ROWS)):
        yield _safe(start + ",\n".join(map(_encode, some)))
        start = ",\n"
    yield _safe("\n]" if start != before + "[\n" else before + "[]")


def _safe(text: str) -> Markup:
    """JSON that holds no character with a meaning in HTML, and no line end that JavaScript knows and JSON does not."""
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return Markup(text)  # noqa: S704  # nothing is left in it that could be markup
