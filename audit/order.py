"""What a run is asked for, whom it talks to meanwhile, and how it ends."""

import contextlib
import getpass
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

from audit import __version__
from audit.assess import Loaded
from audit.cloud import Target
from audit.errors import GuardRefused, Stop
from audit.halt import Tally
from audit.model import Policy
from audit.plan import SHORTEST_DIGEST, Proposal
from audit.report.shapes import View
from audit.versions import Price
from audit.waiver import NO_WAIVERS, Waivers

FINISHED = "the run is finished, nothing is left to apply; kms-rotation report renders it again"
"""What is said where `apply` finds nothing to do."""
COMPLETED = "the run was finished but for its SHA256SUMS: reports, evidence and sums were written now, from its ledger"
"""What is said where `apply` finds a run whose last process was killed at its reports, or whose sums were taken."""


class Screen(Protocol):
    """What the operator sees while a run goes on."""

    def watch(self, tally: Tally) -> contextlib.AbstractContextManager[None]:
        """Show what is going on until the context ends."""

    def propose(self, proposal: Proposal) -> None:
        """Show a plan."""

    def can_ask(self) -> bool:
        """Whether there is somebody to ask."""

    def ask(self, proposal: Proposal) -> bool:
        """Whether the operator says yes to a plan."""

    def warn(self, message: str) -> None:
        """One line that the operator should know."""

    def summary(self, told: View, directory: Path) -> None:
        """What became of everything, and where it stands."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator asked of one run, apart from where KMS is (``Target``) and the ``Policy``.

    ``arguments``: the options as given, for the report. ``live``: KMS is read. ``only_plan``: KMS is not written to.
    ``yes``: do not ask. ``approve``: the digest that was reviewed, or its beginning. ``max_failures``: refused steps in
    a row after which no new one is begun. ``waivers``: of a new run; an existing one has its own. ``sign_key``: the SSH
    key that signs the sums. ``require_complete``: it is a fault where the inventory lacks keys. ``max_new_versions``: a
    year, that a plan may add. ``version_price``: of one a month. ``lang``: the language of report.html and
    report.xlsx.
    """

    command: str
    formats: frozenset[str]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    live: bool = True
    only_plan: bool = True
    yes: bool = False
    approve: str = ""
    max_changes: str | None = None
    max_failures: int = 10
    waivers: Waivers = NO_WAIVERS
    sign_key: Path | None = None
    require_complete: bool = False
    max_new_versions: int | None = None
    version_price: Price | None = None
    lang: str = "en"

    def filled(self, **recorded: Any) -> Self:  # noqa: ANN401  # fields of the order by name
        """The same order, with what it does not state as it was recorded."""
        return replace(self, **{name: value for name, value in recorded.items() if getattr(self, name) is None})


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended: where it stands, its exit code, and what to tell the operator."""

    directory: Path
    exit_code: int
    message: str = ""
    next_step: str = ""

    @classmethod
    def after(cls, stop: Stop | None, directory: Path, exit_code: int, digest: str, *, left: bool) -> Self:
        """The end of a run whose reports are written. ``left``: there are steps that `apply` would still take."""
        if stop is None:
            approve = f"--approve {digest[:SHORTEST_DIGEST]}"
            carry_out = f"to carry out what is left: kms-rotation apply {directory} {approve}" if left else ""
            return cls(directory, exit_code, next_step=carry_out)
        go_on = f"to go on: kms-rotation apply {directory}" if left and not isinstance(stop, GuardRefused) else ""
        return cls(directory, exit_code, str(stop), "; ".join(text for text in (stop.next_step, go_on) if text))


def stamp() -> str:
    """UTC now, as the reports write it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def operator() -> str:
    """Who runs this: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def started(order: Order, access_key: str, hosts: Sequence[str]) -> dict[str, Any]:
    """What a process says of itself when it takes up a run. ``access_key``: as it may be shown."""
    return {
        "command": order.command,
        "version": __version__,
        "operator": operator(),
        "pid": os.getpid(),
        "access_key": access_key,
        "hosts": hosts,
        "arguments": dict(order.arguments),
    }


def noted(
    name: str, order: Order, target: Target, policy: Policy, loaded: Loaded, hosts: Sequence[str], access_key: str
) -> dict[str, Any]:
    """What a new run notes of itself in its ledger, to be sealed with the plan. ``access_key``: as it may be shown."""
    return {
        "id": name,
        "version": __version__,
        "command": order.command,
        "live": order.live,
        "simulated": target.simulated,
        "operator": operator(),
        "created_at": stamp(),
        "columns": loaded.columns,
        "account": loaded.account,
        "arguments": order.arguments,
        "records": loaded.records,
        "usable": loaded.usable,
        "max_changes": order.max_changes,
        "require_complete": order.require_complete,
        "max_new_versions": order.max_new_versions,
        "input": loaded.input,
        "policy": asdict(policy),
        "endpoint": target.endpoint,
        "hosts": hosts,
        "proxy": target.proxy_shown,
        "access_key": access_key,
        "waivers": order.waivers.noted(),
        **({"undoes": loaded.undoes} if loaded.undoes else {}),
    }
