"""The language of a report: every sentence that we write passes here, and so do numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """A language that reports can be written in. ``code``: ``en``; ``tag``: the same for ``<html lang>``."""

    code: str = "en"
    tag: str = "en"

    def gettext(self, text: str) -> str:
        """The text in this language, its placeholders untouched."""
        return text

    def ngettext(self, one: str, many: str, number: int) -> str:
        """The form of the text for a number, in this language, its placeholders untouched."""
        return one if number == 1 else many

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
        """A sentence that stands in the ledger, in this language as far as its form is known."""
        return sentence


ENGLISH = Language()
