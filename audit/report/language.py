"""The language of a report: every sentence that we write passes here, and so do numbers.

English is what the sentences are written in. Any other language reads a gettext catalog, compiled from its ``.po`` when
the package is built (``hatch_build.py``); the standard library is all that is needed to read it.
"""

import gettext
import struct
from dataclasses import dataclass, field
from pathlib import Path

import reports
from audit.errors import ReportFault
from audit.report import forms

LANGUAGES = {"en": "en", "zh": "zh-CN"}
"""The languages that reports can be written in: code, and the tag for ``<html lang>``."""
CATALOGS = Path(reports.__file__).with_name("locale")


@dataclass(frozen=True, slots=True)
class Language:
    """A language that reports can be written in. ``code``: ``en``; ``tag``: the same for ``<html lang>``."""

    code: str = "en"
    tag: str = "en"
    catalog: gettext.NullTranslations = field(default_factory=gettext.NullTranslations, compare=False, repr=False)

    def gettext(self, text: str) -> str:
        """The text in this language, its placeholders untouched."""
        return self.catalog.gettext(text) if text else ""  # a catalog answers the empty text with its own header

    def ngettext(self, one: str, many: str, number: int) -> str:
        """The form of the text for a number, in this language, its placeholders untouched."""
        return self.catalog.ngettext(one, many, number)

    def __call__(self, text: str, /, **values: object) -> str:
        """The text in this language, ``%(name)s`` replaced by values."""
        told = self.gettext(text)
        return told % values if values else told

    def counted(self, one: str, many: str, number: int, /, **values: object) -> str:
        """``one`` or ``many`` by the number, in this language; ``%(n)s`` is the number as written in it."""
        return self.ngettext(one, many, number) % {"n": self.number(number), **values}

    def number(self, number: float) -> str:
        """A number as written in this language."""
        return f"{number:,}"

    def recorded(self, sentence: str) -> str:
        """What the core says in English - in the ledger or in its tables - in this language, as far as it is known."""
        if self.code == ENGLISH.code:
            return sentence
        whole = self.gettext(sentence)
        return whole if whole != sentence else forms.told(sentence, self.gettext)


ENGLISH = Language()


def language(code: str, catalogs: Path = CATALOGS) -> Language:
    """A language by its code, one of ``LANGUAGES``, from the folder of catalogs.

    Raises ReportFault where its catalog is missing or broken.
    """
    if code == ENGLISH.code:
        return ENGLISH
    path = catalogs / code / "LC_MESSAGES" / "messages.mo"
    try:
        with path.open("rb") as file:
            return Language(code, LANGUAGES[code], gettext.GNUTranslations(file))
    except (OSError, ValueError, struct.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ReportFault(
            f"no report can be written in {LANGUAGES[code]}: {path} cannot be read ({why})",
            "install kms-rotation again (in a checkout: make), or leave out --lang",
        ) from error
