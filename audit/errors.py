"""Every way a run can end early, on one page: its exit code and what the operator does next.

    Stop                    one line for the operator; never a traceback
    |- UsageFault       2   options that contradict each other or are out of range
    |- InventoryFault   2   the input is not an inventory; names file, line and column
    |- WaiverFault      2   the waivers cannot be used; names file, line and column
    |- RunDirFault      2   the directory is not a run that this command can work on
    |- TemplateFault    2   the user's own templates cannot be rendered
    |- Interrupted    130   Ctrl-C or SIGTERM
    |- CredentialsMissing 1 no access key in the environment
    |- RunStopped       1   the cloud, the network or --max-failures ended the run
    |- LedgerFault      1   the ledger cannot be written or read
    |- LockHeld         1   another process works in the run directory
    |- ReportFault      1   a report cannot be written
    |- GuardRefused     5   a safety guard said no before any write

What happens to one key is never an exception: it is an answer or a record (``outcome``).
"""

from typing import ClassVar


class Stop(Exception):
    """The end of a run. ``str()`` is the message; ``next_step`` says how to go on, or is empty."""

    exit_code: ClassVar[int]

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.next_step = next_step


class UsageFault(Stop):
    """Options or environment that contradict each other or are out of range."""

    exit_code = 2


def no_terminal() -> UsageFault:
    """The fault of a command that would have to ask, with nobody there."""
    return UsageFault("there is no terminal to ask on", "add --yes to go ahead without the question")


class InventoryFault(Stop):
    """The input is no inventory at all. The message begins with ``file:line:column``."""

    exit_code = 2


class WaiverFault(Stop):
    """The file of waivers is none, or states one that cannot be. The message begins with ``file:line:column``."""

    exit_code = 2


class RunDirFault(Stop):
    """The directory is not a run that this command, or this version, can work on."""

    exit_code = 2


class TemplateFault(Stop):
    """A template given with ``--templates`` is missing, broken, or names a field that does not exist."""

    exit_code = 2


class Interrupted(Stop):
    """SIGINT or SIGTERM."""

    exit_code = 130


class CredentialsMissing(Stop):
    """No access key where one is needed."""

    exit_code = 1


class RunStopped(Stop):
    """The access key was refused, the cloud did not answer, or too many keys were refused in a row."""

    exit_code = 1


class LedgerFault(Stop):
    """The ledger cannot be written or read; nothing that could not be written was sent."""

    exit_code = 1


class LockHeld(Stop):
    """Another process holds the run directory."""

    exit_code = 1


class ReportFault(Stop):
    """A report file cannot be written; the ledger is whole and ``report`` can render it again."""

    exit_code = 1


class GuardRefused(Stop):
    """The plan is larger than allowed, or is not the plan that was approved."""

    exit_code = 5


_STOPPED = (
    "the run stopped itself (credentials, network, ledger, lock, `--max-failures`), or a report could not be written. "
    "Schedulers must not restart on it: each failed signature counts towards a lock"
)

_NOT_KNOWN = (
    "something is not known: rejected, unknown, unverified or not attempted, a place could not be read, or "
    "`--require-complete` was asked for and the inventory is not complete"
)

EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "every record is compliant, remediated, rolled back, ineligible, blocked or waived"),
    (1, _STOPPED),
    (2, "usage error, or the input is not an inventory"),
    (3, "keys remain non-compliant, planned, refused or missing, or were left alone by a rollback"),
    (4, _NOT_KNOWN),
    (5, "a safety guard refused before any write (size, cost, digest)"),
    (130, "interrupted; the message says how to go on"),
)
"""Exit code and meaning, ascending. Which one applies is decided by ``outcome.exit_code``."""

PRECEDENCE: tuple[int, ...] = (2, 130, 1, 5, 4, 3, 0)
"""Of several exit codes that apply, the first in this order is the one a run ends with."""
