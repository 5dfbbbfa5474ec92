"""The records that the page carries for its script: JSON in a script element that nothing in it can close.

``{"outcomes": [[label, tone], ...], "rows": [...], "texts": [...]}``; a row is a list, what is empty at its end left out:

    outcome (a number of ``outcomes``), line, key id, alias, then numbers of ``texts``: account, region, project id,
    before, after, reason, rules (joined by blanks), run id, anchor (0 where it is ``key-`` and the key id), then two
    lists of such numbers: eight for each request, in the order of ``shapes.Request``, and name and value of own columns.

Number 0 of ``texts`` is the empty text.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter

from markupsafe import Markup

from audit.report.shapes import Entry, Request

_ROWS = 500  # of one piece
_of_request = attrgetter(*(field.name for field in fields(Request)))
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ESCAPES = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


def records(rows: Sequence[Entry], visible: Callable[[str], str]) -> Iterator[Markup]:
    """The JSON, piece by piece. ``visible``: what a page can show of a text."""
    outcomes: dict[tuple[str, str], int] = {}
    texts: dict[str, int] = {"": 0}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    def row(entry: Entry) -> list[object]:
        known = entry.anchor == f"key-{entry.key_id}"
        told: list[object] = [
            outcomes.setdefault((entry.label, entry.tone), len(outcomes)),
            entry.line,
            visible(entry.key_id),
            visible(entry.key_alias),
            number(entry.account),
            number(entry.region),
            number(entry.project_id),
            number(entry.before),
            number(entry.after),
            number(entry.reason),
            number(" ".join(entry.rules)),
            number(entry.run_id),
            0 if known else number(entry.anchor),
            [number(text) for request in entry.requests for text in _of_request(request)],
            [number(text) for pair in entry.own for text in pair],
        ]
        while not told[-1]:
            told.pop()
        return told

    yield Markup('{"rows":[\n')  # noqa: S704  # ours
    for at in range(0, len(rows), _ROWS):
        piece = ",\n".join(_encode(row(entry)) for entry in rows[at : at + _ROWS])
        yield _safe(piece + (",\n" if at + _ROWS < len(rows) else ""))
    yield Markup('\n],"texts":[\n')  # noqa: S704  # ours
    yield from _list(list(map(visible, texts)))
    yield _safe(f'\n],"outcomes":{_encode(list(outcomes))}}}')


def _list(texts: Sequence[str]) -> Iterator[Markup]:
    for at in range(0, len(texts), _ROWS):
        piece = ",\n".join(map(_encode, texts[at : at + _ROWS]))
        yield _safe(piece + (",\n" if at + _ROWS < len(texts) else ""))


def _safe(text: str) -> Markup:
    """JSON that holds no character with a meaning in HTML, and no line end that JavaScript knows and JSON does not."""
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return Markup(text)  # noqa: S704  # nothing is left in it that could be markup
