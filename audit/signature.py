"""Signatures over the sums of a run, made and checked by OpenSSH's ``ssh-keygen``; no key is ever read here."""

import base64
import binascii
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from audit.errors import ReportFault, UsageFault
from audit.evidence import SIGNATURE, SUMS
from audit.rundir import replacing

NAMESPACE = "kms-rotation"
"""What a signature is for: one made with the same key for something else does not pass."""
INSTALL = "install the OpenSSH client (Debian: apt-get install openssh-client)"
_AT_TERMINAL, _ALONE = 300, 60  # seconds for somebody to type a passphrase; for an agent, or a token to be touched
_KEY = re.compile(r"with (\S+ key SHA256:\S+)")
_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n"
_COLUMNS = 70  # of base64 in a line


def check_key(key: Path) -> None:
    """Raise UsageFault unless a signature can be tried: ``ssh-keygen`` is here and the file can be read."""
    if shutil.which("ssh-keygen") is None:
        raise UsageFault("--sign-key needs ssh-keygen, which is not on the PATH", INSTALL)
    try:
        with key.open("rb"):
            pass
    except OSError as error:
        raise UsageFault(
            f"--sign-key {key} cannot be read: {error.strerror}",
            "name a private key of OpenSSH, or the public half of one that the agent holds",
        ) from error


def sign(directory: Path, key: Path) -> None:
    """Write the signature over ``SHA256SUMS``. Raises ReportFault, which says how to sign by hand.

    Where there is a terminal ``ssh-keygen`` asks for a passphrase on it; without one it fails. Its environment is ours,
    for the agent. It signs a copy: beside the sums it would ask before it wrote over a signature, and write in pieces.
    """
    asks = _terminal()
    try:
        with tempfile.TemporaryDirectory(prefix="kms-rotation-") as name:
            copy = Path(name, SUMS)
            copy.write_bytes((directory / SUMS).read_bytes())
            done = subprocess.run(  # noqa: S603  # no shell; the key is a file that the operator names
                ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, copy],  # noqa: S607  # the operator's own
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if asks else subprocess.PIPE,
                timeout=_AT_TERMINAL if asks else _ALONE,
                check=False,
            )
            why = " ".join((done.stderr or b"").decode(errors="replace").split()) or f"ended with {done.returncode}"
            signature = Path(name, SIGNATURE).read_bytes() if done.returncode == 0 else b""
    except subprocess.TimeoutExpired:
        signature, why = b"", "did not end in time"
    except OSError as error:
        signature, why = b"", str(error.strerror)
    if not signature:
        by_hand = ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(directory / SUMS)]
        raise ReportFault(f"the sums are not signed: ssh-keygen: {why}", f"to sign them: {shlex.join(by_hand)}")
    with replacing(directory / SIGNATURE) as file:
        file.write(signature)


def _terminal() -> bool:
    """Whether this process has a terminal, whatever standard input is."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature is worth. ``good``: whole, and for these sums; of a known signer where signers were given.

    ``who``: the identity of a known signer. ``key``: type and fingerprint. ``why``: what speaks against it.
    """

    good: bool
    who: str = ""
    key: str = ""
    why: str = ""


def check(sums: bytes, signature: Path, signers: Path | None, signer: str) -> Signed:
    """Check a signature over ``sums``, against a file of allowed signers and an identity where they are given.

    Raises OSError where the signature cannot be read or ``ssh-keygen`` is not here, subprocess.TimeoutExpired.
    """
    if not _armoured(signature.read_bytes()):
        return Signed(good=False, why="it is not the text of an SSH signature")
    given = ["-s", str(signature), "-n", NAMESPACE]
    whole, told = _asked("check-novalidate", given, sums)
    found = _KEY.search(told)
    key = found[1] if found else ""
    if not whole or not signers:
        return Signed(
            whole, key=key, why="" if whole else "it is not over these sums, or not for kms-rotation, or damaged"
        )
    names = [signer]
    if not signer:
        known, told = _asked("find-principals", ["-s", str(signature), "-f", str(signers)], b"")
        names = told.replace(",", "\n").splitlines() if known else []
    for name in names:
        if _asked("verify", [*given, "-f", str(signers), "-I", name], sums)[0]:
            return Signed(good=True, who=name, key=key)
    return Signed(good=False, key=key, why=f"{signers} does not allow it" + (f" for {signer}" if signer else ""))


def _armoured(text: bytes) -> bool:
    """Whether a text is a signature to its last character: ssh-keygen itself reads over some that are not."""
    lines = text.removeprefix(_BEGIN).removesuffix(_END)
    try:
        coded = base64.b64encode(base64.b64decode(lines.replace(b"\n", b""), validate=True))
    except binascii.Error:
        return False
    parts = (coded[at : at + _COLUMNS] + b"\n" for at in range(0, len(coded), _COLUMNS))
    return text == _BEGIN + b"".join(parts) + _END


def _asked(what: str, options: list[str], data: bytes) -> tuple[bool, str]:
    done = subprocess.run(  # noqa: S603  # no shell; files that the operator names
        ["ssh-keygen", "-Y", what, *options],  # noqa: S607  # the operator's own
        input=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=_ALONE,
        check=False,
    )
    return done.returncode == 0, done.stdout.decode(errors="replace")
