"""From the view to files: jinja2 lives here.

Templates run in a sandbox: they are handed from one auditor to the next like data, so rendering a report must not be a
way to run a command. What a page cannot show - control characters, and those that hide or reorder text - is
replaced by a visible mark wherever a template puts out a value; a CSV record can only be written as a whole.
"""

import base64
import codecs
import contextlib
import csv
import hashlib
import re
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from audit.cells import guard
from audit.errors import TemplateFault
from audit.outcome import Outcome
from audit.report import embedded, words, workbook
from audit.report.document import pieces
from audit.report.language import Language
from audit.report.shapes import Entry, View
from audit.rundir import replacing

FORMATS: Final = ("html", "csv", "json")
_FILES: Final = {"html": "report.html", "csv": "report.csv", "json": "run_results.json"}

_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U000e0000-\U000e0fff]"
)
FAULTS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What an expression in a template can raise; taken for the template's fault only where the template is the user's."""


def write(
    view: View,
    directory: Path,
    formats: Collection[str],
    templates: Path | None = None,
    *,
    page: View | None = None,
) -> list[Path]:
    """Write the reports asked for, and failed.csv where a record needs another run. Returns what was written.

    An older report that is not asked for, has no record any more, or cannot be replaced, goes: it would tell of an
    earlier state.
    ``templates``: a directory with templates of the user's own; those that it does not hold are the packaged ones.
    ``page``: the same view in the language of report.html and report.xlsx, where that is another; data stays as it is.
    Raises TemplateFault, ReportFault.
    """
    plain = _environment(templates, view.say)
    shown = page or view
    visible = _environment(templates, shown.say).overlay(autoescape=True, finalize=_visible)
    texts = {
        "html": _rendered(visible, "report.html.j2", shown, own=templates is not None),
        "csv": _rendered(plain, "report.csv.j2", view, own=templates is not None),
        "json": pieces(view),
    }
    written: list[Path] = []
    try:
        for name, file in _FILES.items():
            if name in formats:
                written.append(_put(directory / file, texts[name]))
        if view.failed.total:
            written.append(_put(directory / "failed.csv", map(record, chain([view.failed.columns], view.failed.rows))))
        if view.comparison and "csv" in formats:
            compared = view.comparison.table
            written.append(_put(directory / "comparison.csv", map(record, chain([compared.columns], compared.rows))))
        if "xlsx" in formats:
            written.append(workbook.put(shown, directory / "report.xlsx"))
    finally:
        for file in {*_FILES.values(), "failed.csv", "comparison.csv", "report.xlsx"} - {path.name for path in written}:
            with contextlib.suppress(OSError):  # what cannot be written cannot always be removed
                (directory / file).unlink()
    return written


def record(cells: Iterable[object] | Mapping[str, object]) -> str:
    """One record of a CSV with its line ending, every cell guarded and quoted as it needs; of a mapping its values."""
    if isinstance(cells, Mapping):
        cells = cells.values()
    line: str = _lines.writerow([guard(str(cell)) if cell else "" for cell in cells])
    return line


class _Echo:
    """A file for csv.writer, whose ``writerow`` then returns what it would have written."""

    def write(self, text: str) -> str:
        return text


_lines = csv.writer(_Echo())


def _visible(value: object) -> object:
    """A value fit for a page; markup is the template's own and stays."""
    return (
        _UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def _records(rows: Sequence[Entry]) -> Iterator[Markup]:
    return embedded.records(rows, lambda text: _UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", text))


def _css(text: str) -> Markup:
    """A text as a string of a stylesheet; whatever could end it, or the sheet, is escaped."""
    escaped = re.sub(r"[^0-9A-Za-z ._:-]", lambda found: f"\\{ord(found[0]):x} ", text)
    return Markup(f'"{escaped}"')  # noqa: S704  # nothing is left in it that could be markup


def _sha256(text: str) -> str:
    """SHA-256 in base64, as a Content-Security-Policy names an inline stylesheet or script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _environment(templates: Path | None, say: Language) -> ImmutableSandboxedEnvironment:
    packaged = PackageLoader("reports", "templates")
    own = FileSystemLoader(templates) if templates else packaged
    if templates and not set(own.list_templates()) & set(packaged.list_templates()):
        raise TemplateFault(f"{templates} holds none of {', '.join(packaged.list_templates())}")
    environment = ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([own, packaged]),
        undefined=StrictUndefined,
        autoescape=False,  # the CSV's; the page has an overlay
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(say.gettext, say.ngettext, newstyle=True)  # type: ignore[attr-defined]  # i18n
    environment.filters.update(
        record=record,
        records=_records,
        sha256=_sha256,
        css=_css,
        number=say.number,
        recorded=say.recorded,
        outcome=lambda value: words.label(Outcome(value), say) if value else "",
    )
    return environment


def _rendered(environment: Environment, name: str, view: View, *, own: bool) -> Iterator[str]:
    try:
        yield from environment.get_template(name).generate(view=view)
    except FAULTS as error:
        if not own:
            raise
        raise TemplateFault(f"{_where(error)}: {error}") from error


def _where(error: BaseException) -> str:
    """Template and line at which it went wrong, as far as jinja2 knows."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".j2")]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "a template"


def _put(path: Path, text: Iterable[str]) -> Path:
    """Write a text whole, piece by piece; CSV with a byte order mark, so that a spreadsheet sees UTF-8."""
    pieces_ = iter(text)
    with replacing(path) as file:
        if path.suffix == ".csv":
            file.write(codecs.BOM_UTF8)
        while batch := list(islice(pieces_, 2000)):
            file.write("".join(batch).encode())
    return path
