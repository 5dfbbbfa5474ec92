"""The files of a run against its sums, and the signature over those."""

import errno
import subprocess
from collections.abc import Mapping
from pathlib import Path

from audit.evidence import SIGNATURE, SUMS, UNSUMMED, kept, parsed, sha256
from audit.proving.standing import Check, Standing, first
from audit.rundir import LEDGER
from audit.signature import INSTALL, Signed, check

_NOBODY = "nobody signed these sums: whoever can write the directory can make them anew"


def read(path: Path) -> dict[str, str]:
    """The sums in a file; empty where there are none, or none that this program wrote."""
    try:
        return parsed(_content(path))
    except (OSError, ValueError):
        return {}


def earlier(directory: Path) -> dict[str, str]:
    """The newest sums that were kept: what an earlier process left."""
    names = [name for name in kept(directory) if not name.endswith(".sig")]
    return read(directory / names[-1]) if names else {}


def _content(path: Path) -> bytes:
    """The content of a plain file: to open anything else may wait for good. Raises OSError."""
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "it is no plain file")
    return path.read_bytes()


def check_sums(directory: Path) -> Check:
    """Every file that is listed is there and is that file; every file that is there is listed."""
    if not (directory / SUMS).exists():
        said = f"there is no {SUMS}: the last process was killed before its end, or somebody took it away"
        return Check("sums", Standing.UNCHECKED, said, _strange(directory))
    try:
        digests = parsed(_content(directory / SUMS))
    except (OSError, ValueError) as error:
        return Check("sums", Standing.ALTERED, f"{SUMS} cannot be read: {error}")
    found = [text for name, digest in digests.items() if (text := _differs(directory / name, digest))]
    found += [f"{path.name} {_added(path)}" for path in _there(directory) if path.name not in {*digests, *UNSUMMED}]
    if found:
        return Check("sums", Standing.ALTERED, f"the files are not those that were summed up in {SUMS}", first(found))
    old = sum(name.startswith(SUMS) and not name.endswith(".sig") for name in digests)
    history = (
        f"; the sums of {old} earlier {'process' if old == 1 else 'processes'} are kept, as history" if old else ""
    )
    return Check("sums", Standing.INTACT, f"all {len(digests)} files are those that were summed up{history}")


def _there(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def _differs(path: Path, digest: str) -> str:
    if not path.is_symlink() and not path.exists():
        return f"{path.name} is listed and not there"
    if path.is_symlink() or not path.is_file():
        return f"{path.name} is no plain file"
    try:
        return "" if sha256(path) == digest else f"{path.name} was changed after it was summed up"
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"


def _added(path: Path) -> str:
    if path.name.endswith(".draft"):
        return "is there and not listed: a draft that a killed process left, or somebody added it"
    if path.name.startswith(f"{LEDGER}-"):
        return (
            "is there and not listed: it changes what the ledger says; a killed process left it, or somebody added it"
        )
    return "is there and not listed: it was added after the sums were written"


def _strange(directory: Path) -> tuple[str, ...]:
    """Without sums: what no process leaves, or only one that was killed."""
    drafts = [path.name for path in _there(directory) if path.name.endswith(".draft")]
    signature = [f"{SIGNATURE} is there without them"] if (directory / SIGNATURE).exists() else []
    return (*signature, *(f"{name} is a draft that a killed process left" for name in drafts))


def check_signature(directory: Path, signers: Path | None, signer: str, *, told_to_sign: bool) -> Check:
    """Who signed the sums. Without signers: whether the signature that is there is whole, though nobody's we know."""
    try:
        sums = _content(directory / SUMS)
    except OSError:
        return Check("signature", Standing.UNCHECKED, f"there is no {SUMS} that could be signed")
    if not (directory / SIGNATURE).exists():
        return _unsigned(told_to_sign=told_to_sign, demanded=signers is not None)
    if not (directory / SIGNATURE).is_file():
        return Check("signature", Standing.ALTERED, f"{SIGNATURE} is no plain file")
    try:
        return _worth(check(sums, directory / SIGNATURE, signers, signer), known=signers is not None)
    except FileNotFoundError:
        return Check("signature", Standing.UNCHECKED, f"it cannot be checked without ssh-keygen: {INSTALL}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("signature", Standing.UNCHECKED, f"it cannot be checked: {error}")


def _unsigned(*, told_to_sign: bool, demanded: bool) -> Check:
    if told_to_sign:
        said = f"there is no {SIGNATURE}, though the run was told to sign: that failed, or somebody took it away"
        return Check("signature", Standing.ALTERED if demanded else Standing.UNCHECKED, said)
    return Check("signature", Standing.ALTERED if demanded else Standing.INTACT, _NOBODY)


def _worth(signed: Signed, *, known: bool) -> Check:
    if not signed.good:
        by = f" by {signed.key}" if signed.key else ""
        return Check("signature", Standing.ALTERED, f"the signature{by} is not good: {signed.why}")
    if known:
        said = f"good signature by {signed.who}, {signed.key}; it does not say when"
    else:
        said = f"a whole signature by {signed.key}; nobody said whose key that is: give --allowed-signers"
    return Check("signature", Standing.INTACT, said)


def listed(digests: Mapping[str, str], path: Path) -> bool:
    """Whether a file is the one that these sums tell of."""
    try:
        return digests.get(path.name) == sha256(path)
    except OSError:
        return False
