"""The options that commands share; each can be set by an environment variable, declared one by one.

click's automatic prefix would put the command's name into the variable's, and a scheduler would have to set five.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from audit.report.language import LANGUAGES

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_FORMATS = ("html", "csv", "json")
FORMATS = (*DEFAULT_FORMATS, "xlsx")


class Commands(click.Group):
    """The commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's
        """As declared below."""
        return list(self.commands)


class WithFaults(click.Command):
    """A command whose help ends with the kinds of faults; they are imported only to show them."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        """The table of faults."""
        from audit.simulator.faults import FAULT_KINDS, FORM  # noqa: PLC0415  # heavy

        with formatter.section(f"Faults, joined with commas: {FORM}"):
            formatter.write_dl(list(FAULT_KINDS.items()))


class Number(click.ParamType[float]):
    """A finite number within bounds."""

    name = "number"

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401  # click's
        """The number; click's way of saying no."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not self._low <= number <= self._high:  # not true of nan either
            self.fail(f"{value!r} is not a number from {self._low:g} to {self._high:g}", param, ctx)
        return number


class _Formats(click.ParamType[frozenset[str]]):
    """Report formats, joined with commas."""

    name = "formats"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:  # noqa: ANN401  # click's
        """The formats; click's way of saying no."""
        if isinstance(value, frozenset):
            return value
        chosen = frozenset(part.strip() for part in str(value).split(",") if part.strip())
        if not chosen or chosen - set(FORMATS):
            self.fail(f"{value!r}: choose among {', '.join(FORMATS)}", param, ctx)
        return chosen


def option(name: str, *more: str, also: tuple[str, ...] = (), env: bool = True, **settings: Any) -> Callable[[F], F]:  # noqa: ANN401
    """A click option that ``KMS_ROTATION_<NAME>`` can set too, then the variables in ``also``; ``env=False``: none."""
    variable = "KMS_ROTATION_" + name.removeprefix("--").replace("-", "_").upper()
    envvar = [variable, *also] if env else None
    return click.option(name, *more, envvar=envvar, show_envvar=env, **settings)


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


INVENTORY = _together(
    click.argument("inventory"),
    option("--region", default="", help="Region of records that do not state one."),
    option(
        "--project-id",
        default="",
        also=("HUAWEICLOUD_SDK_PROJECT_ID",),
        help="Project id of records that do not state one.",
    ),
    option("--account", default="", help="Name of the account we call as, for records that do not state one."),
    option(
        "--max-interval",
        type=int,
        default=365,
        show_default=True,
        metavar="DAYS",
        help="Policy: most days between two rotations, 30 to 365.",
    ),
    option("--waivers", metavar="FILE", help="Waivers, a CSV: which keys are left as they are, why and until when."),
    option(
        "--require-complete",
        is_flag=True,
        help="End with 4 unless KMS and INVENTORY name the same keys in every place, and each place was counted.",
    ),
)
KMS = _together(
    option("--endpoint", metavar="URL", help="KMS endpoint; may contain {region}. Default: the table of regions."),
    option("--simulate", env=False, is_flag=True, help="Rehearse against a simulated KMS; no account, no credentials."),
    option(
        "--rate",
        type=Number(0.1, 1000),
        default=20,
        show_default=True,
        metavar="N",
        help="Requests a second per access key; KMS documents 20.",
    ),
    option(
        "--concurrency",
        type=click.IntRange(1, 200),
        metavar="N",
        help="Requests in flight per access key. Default: rate / 5, at least 4.",
    ),
    option(
        "--timeout",
        type=Number(0.1, 600),
        default=10,
        show_default=True,
        metavar="S",
        help="Seconds, for connecting and for reading.",
    ),
    option(
        "--max-attempts",
        type=click.IntRange(1, 20),
        default=5,
        show_default=True,
        metavar="N",
        help="Attempts per request; a 429 uses up none.",
    ),
)
INTERVAL = option(
    "--interval",
    type=int,
    metavar="DAYS",
    help="Also set this interval on keys that are switched on or rotate too slowly, 30 to 365.",
)
GUARDS = _together(
    option("--max-changes", metavar="N|N%", help="Refuse a plan that changes more keys (N% of the usable records)."),
    option(
        "--max-failures",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        metavar="N",
        help="Stop after so many refused keys in a row (want of permission: 3).",
    ),
    option(
        "--max-new-versions",
        type=click.IntRange(0),
        metavar="N",
        help="Refuse a plan that adds more key versions a year; each is billed like another key.",
    ),
)
OUTPUT_DIR = option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where run directories are made.",
)
SIGN_KEY = option(
    "--sign-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="SSH key that signs SHA256SUMS, through ssh-keygen; a .pub file asks the agent.",
)
QUIET = option("--quiet", "-q", is_flag=True, help="Problems only.")
LOG_FORMAT = option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What standard error carries.",
)
SCREEN = _together(
    option(
        "--format",
        "formats",
        type=_Formats(),
        default=",".join(DEFAULT_FORMATS),
        show_default=True,
        help=f"Reports to write, of {', '.join(FORMATS)}.",
    ),
    option(
        "--version-price",
        metavar="PRICE",
        help="What a key version costs a month, to reckon the cost of rotation: '0.72 USD', 5.",
    ),
    option(
        "--lang",
        type=click.Choice(list(LANGUAGES)),
        default="en",
        show_default=True,
        help="Language of html and xlsx.",
    ),
    option("--verbose", "-v", is_flag=True, help="One line per request."),
    QUIET,
    LOG_FORMAT,
)
