"""``kms-rotation verify``: whether what a run left behind is what was written. Offline; writes nothing beside it."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from audit.errors import LedgerFault, ReportFault, RunDirFault, UsageFault
from audit.evidence import SUMS
from audit.proving.events import alone, check_chain, check_evidence
from audit.proving.files import check_signature, check_sums, earlier, read
from audit.proving.reports import check_reports
from audit.proving.standing import Check, Standing, result
from audit.replay import Replay
from audit.report import own, render
from audit.rundir import existing, reading

__all__ = ["Standing", "verify"]

Told = Callable[[str, str, str, Sequence[str]], None]
"""Takes a check as it is done: what, how it stands, one sentence, and what was found."""
_DAMAGE = (
    sqlite3.Error, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError, LedgerFault,
    *render.FAULTS,
)  # fmt: skip
"""What reading a ledger raises that this program did not write so."""


def verify(directory: Path, signers: Path | None, signer: str, told: Told) -> Standing:
    """Check a run directory, which may be read-only. The result is told last, and returned.

    ``signers``: a file of allowed signers, as OpenSSH has it; ``signer``: which of them. Raises RunDirFault, LockHeld,
    UsageFault.
    """
    if signer and signers is None:
        raise UsageFault("--signer needs --allowed-signers", "name the file that says which keys are whose")
    if signers is not None and not signers.is_file():
        raise UsageFault(f"--allowed-signers {signers} is no file", "one line for each: IDENTITY KEYTYPE KEY")
    done: list[Check] = []

    def add(check: Check) -> None:
        done.append(check)
        told(check.what, check.standing, check.said, check.details)

    with reading(existing(directory)):
        add(check_sums(directory))
        to_sign = False
        try:
            with Replay(directory) as replay:
                to_sign = own.signed(replay)
                for check in _of_ledger(replay):
                    add(check)
        except (RunDirFault, LedgerFault) as fault:
            for check in _without_ledger(directory, fault):
                add(check)
        add(check_signature(directory, signers, signer, told_to_sign=to_sign))
    add(result(done))
    return done[-1].standing


def _of_ledger(replay: Replay) -> list[Check]:
    directory = replay.directory
    parts: list[tuple[str, Callable[[], Check]]] = [
        ("chain", lambda: check_chain(replay)),
        ("evidence", lambda: check_evidence(replay, summed=(directory / SUMS).exists())),
        ("reports", lambda: check_reports(replay, read(directory / SUMS), earlier(directory))),
    ]
    return [_guarded(what, check) for what, check in parts]


def _guarded(what: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except ReportFault as fault:  # the temporary directory
        return Check(what, Standing.UNCHECKED, f"could not be checked: {fault}")
    except OSError as error:
        return Check(what, Standing.UNCHECKED, f"could not be checked: {error.strerror}")
    except _DAMAGE as error:
        return Check(what, Standing.ALTERED, f"the ledger holds what this program does not write: {error}")


def _without_ledger(directory: Path, fault: RunDirFault | LedgerFault) -> list[Check]:
    """Where the ledger cannot be read: a broken one, or one of another version."""
    broken = isinstance(fault, LedgerFault) and not isinstance(fault.__cause__, OSError)
    chain = Check("chain", Standing.ALTERED if broken else Standing.UNCHECKED, str(fault))
    found = alone(directory)
    said = "its own chain is broken" if found else "a chain of its own, and no ledger to compare it with"
    evidence = Check("evidence", Standing.ALTERED if found else Standing.UNCHECKED, said, tuple(found))
    return [chain, evidence, Check("reports", Standing.UNCHECKED, "not compared: the ledger cannot be read")]
