"""From bytes to text: what can be read again and again, in which encoding, and unchanged between two readings."""

import codecs
import hashlib
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Never, Self, TextIO

from audit.errors import InventoryFault, WaiverFault

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Fault = InventoryFault | WaiverFault
"""What a file can be at fault as."""

_BLOCK = 1 << 20
_SHOWN = 80
_IDEOGRAPH = re.compile("[\u3400-\u9fff]")


class Source:
    """One open handle that is read in several passes; each is hashed, so that a file that changes is noticed.

    ``name``: for people, on one line. ``encoding``: UTF-8, UTF-16 or GB18030. ``sha256``: hex, of all bytes.
    ``warnings``: sentences for the operator. Raises ``kind``, a fault of the inventory unless it is given, where the
    bytes are no text.
    """

    def __init__(self, file: io.RawIOBase | io.BufferedIOBase, name: str, kind: type[Fault] = InventoryFault) -> None:
        self.name = name
        self.sha256 = ""
        self.warnings: list[str] = []
        self._file, self._kind = file, kind
        self._pass = _Hashing(file)
        try:
            self._codec, self.encoding = self._decide_encoding()
        except OSError as error:
            raise self.fault(error) from error

    @classmethod
    def open(cls, source: str, stdin: BinaryIO | None, kind: type[Fault] = InventoryFault) -> Self:
        """Open a path, or standard input (``stdin`` or the process's own) for ``-``; raises ``kind``."""
        name = "standard input" if source == "-" else visible(source)
        try:
            file = _opened(source, stdin)
        except FileNotFoundError:
            raise kind(f"{name}: no such file; check the path, or give - for standard input") from None
        except IsADirectoryError:
            raise kind(f"{name}: this is a folder; give the CSV file in it") from None
        except (OSError, ValueError) as error:
            raise kind(_unreadable(name, error)) from error
        try:
            return cls(file, name, kind)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Close the file; a copy of standard input is gone with it."""
        self._file.close()

    def text(self) -> TextIO:
        """The whole text again, from its beginning. Lines end at LF alone, as editors count them."""
        self._pass = _Hashing(self._file)
        return io.TextIOWrapper(io.BufferedReader(self._pass, _BLOCK), encoding=self._codec, newline="\n")

    def check(self) -> None:
        """Raise the fault where the last pass, read to its end, saw other bytes than the first."""
        if self._pass.sha256.hexdigest() != self.sha256:
            raise self._changed()

    def fault(self, error: OSError | UnicodeDecodeError) -> Fault:
        """What to raise where a pass ended in this error: text that was proven to decode has changed since."""
        return self._kind(_unreadable(self.name, error)) if isinstance(error, OSError) else self._changed()

    def fail(self, line: int, column: int, what: str) -> Never:
        """Raise the fault at a line and a column, both counted from 1, the column in characters."""
        raise self._kind(f"{self.name}:{line}:{column}: {what}")

    def _changed(self) -> Fault:
        return self._kind(f"{self.name}: changed while it was read; run again when it is complete")

    def _decide_encoding(self) -> tuple[str, str]:
        """Python's codec and the label for people."""
        bom = self._file.read(2) or b""
        codec = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(bom)
        flaw = self._first_flaw(codec or "utf-8")
        if flaw is None:
            return (codec, "UTF-16") if codec else ("utf-8", "UTF-8")
        line, column, byte = flaw
        if codec:
            self.fail(line, column, f"byte 0x{byte:02X} is not UTF-16, which the file says it is; save it as UTF-8")
        self._refuse_mixture()
        if self._first_flaw("gb18030"):
            self.fail(line, column, f"byte 0x{byte:02X} is neither UTF-8 nor GB18030; save the file as UTF-8")
        self.warnings.append(
            f"{self.name}: read as GB18030, because line {line} is not UTF-8; if names look wrong, save it as UTF-8"
        )
        return "gb18030", "GB18030"

    def _first_flaw(self, codec: str) -> tuple[int, int, int] | None:
        """Line, column and value of the first byte that is not ``codec``; raises the fault at a NUL."""
        hashing = _Hashing(self._file)
        stream = io.BufferedReader(hashing, _BLOCK)
        decoder = codecs.getincrementaldecoder(codec)()
        line = column = 1
        flaw = None
        block = b"the first is yet to come"
        while block and flaw is None:
            block = stream.read(_BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                text, flaw = error.object[: error.start].decode(codec), error.object[error.start]
            if (line, column) == (1, 1):
                text = text.removeprefix("\ufeff")
            before, nul, _ = text.partition("\0")
            column = len(before) - before.rfind("\n") if "\n" in before else column + len(before)
            line += before.count("\n")
            if nul:
                self.fail(line, column, "binary data (a NUL), not a CSV; save a spreadsheet as CSV UTF-8")
        self.sha256 = hashing.sha256.hexdigest()
        return None if flaw is None else (line, column, flaw)

    def _refuse_mixture(self) -> None:
        """Raise the fault where one line is clearly UTF-8 and another is not."""
        utf8 = other = 0
        for number, line in enumerate(io.BufferedReader(_Hashing(self._file), _BLOCK), 1):
            if line.isascii():
                continue
            try:
                clearly = len(_IDEOGRAPH.findall(line.decode())) > 1
            except UnicodeDecodeError:
                other = other or number
            else:
                utf8 = utf8 or (number if clearly else 0)
            if utf8 and other:
                self.fail(other, 1, f"this line is not UTF-8, line {utf8} is; save the whole file as UTF-8")


class _Hashing(io.RawIOBase):
    """Reads a file from its beginning, hashing what is read, and leaves it open when closed itself."""

    def __init__(self, file: io.RawIOBase | io.BufferedIOBase) -> None:
        file.seek(0)
        self._file = file
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        count = self._file.readinto(buffer) or 0
        self.sha256.update(memoryview(buffer)[:count])
        return count


def _opened(source: str, stdin: BinaryIO | None) -> io.FileIO | io.BufferedRandom:
    """A file that can be read from its beginning again and again: what cannot is copied to a temporary file."""
    if source == "-":
        return _copied(stdin or (sys.stdin.buffer if sys.stdin else io.BytesIO()))
    file = Path(source).open("rb", buffering=0)  # noqa: SIM115 - closed by Source
    if file.seekable():
        return file
    with file:  # a pipe where a file is expected, as in <(command)
        return _copied(file)


def _copied(stream: BinaryIO | io.FileIO) -> io.BufferedRandom:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by Source
    shutil.copyfileobj(stream, file)
    return file


def _unreadable(name: str, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{name}: cannot be read ({reason}); check the path and its permissions"


def quoted(text: str) -> str:
    """A value in quotes for a message: one line, at most 80 of its characters."""
    return f'"{visible(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")}"'


def visible(text: str) -> str:
    """The text on one line: control characters, and those that hide or reorder text, as escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
