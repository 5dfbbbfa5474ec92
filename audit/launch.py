"""From options to a run, and from its end to an exit code: what the commands that work on a run have in common.

What is heavy is imported where it is needed, so that ``--help`` answers at once.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from audit.errors import Interrupted, Stop, UsageFault

if TYPE_CHECKING:
    from audit.order import Finished
    from audit.run import Run
    from audit.terminal import Terminal
    from audit.versions import Price
    from audit.waiver import Waivers

AGAIN = "to go on, give the same command again"
"""What is said to an operator whose interrupt left nothing behind."""


def new(command: str, inventory: str, given: dict[str, Any], *, live: bool, only_plan: bool) -> None:
    """Begin a run of a command on an inventory, and end the process with its exit code."""
    from audit.inventory import Defaults  # noqa: PLC0415  # heavy
    from audit.order import Order  # noqa: PLC0415  # heavy

    if given["require_complete"] and not live:
        raise UsageFault(
            "--require-complete needs KMS to compare with: offline nobody knows which keys there are", "add --live"
        )

    def work(screen: "Terminal") -> "Run":
        waivers = _waivers(given["waivers"], inventory, screen)
        order = Order(
            command=command,
            formats=given["formats"],
            arguments=shown(given),
            live=live,
            only_plan=only_plan,
            yes=given.get("yes", False),
            max_changes=given.get("max_changes"),
            max_failures=given.get("max_failures", 10),
            waivers=waivers,
            sign_key=given["sign_key"],
            require_complete=given["require_complete"],
            max_new_versions=given.get("max_new_versions"),
            version_price=price_of(given),
            lang=given["lang"],
        )
        return run_of(order, given, screen, max_interval=given["max_interval"], interval=given.get("interval"))

    def begin(run: "Run") -> "Finished":
        return run.new(inventory, Defaults(given["account"], given["region"], given["project_id"]), given["output_dir"])

    finish(given, work, begin, told=False)


def _waivers(source: str | None, inventory: str, screen: "Terminal") -> "Waivers":
    """The waivers that were given, on the day that it is. Raises WaiverFault, UsageFault."""
    from audit.inventory.waivers import read_waivers  # noqa: PLC0415  # heavy
    from audit.order import stamp  # noqa: PLC0415  # heavy
    from audit.waiver import NO_WAIVERS  # noqa: PLC0415  # heavy

    if source is None:
        return NO_WAIVERS
    if not source.strip():
        raise UsageFault("--waivers names no file", "name it, or leave the option out")
    if source == inventory == "-":
        raise UsageFault("standard input cannot be both the inventory and the waivers", "give a path for one of them")
    return read_waivers(source, stamp()[:10], clean=screen.scrub.secrets, warn=screen.warn)


def undo(run_dir: Path, given: dict[str, Any]) -> None:
    """Begin a run that undoes another one, and end the process with its exit code."""
    from audit.order import Order  # noqa: PLC0415  # heavy

    def work(screen: "Terminal") -> "Run":
        order = Order(
            command="rollback",
            formats=given["formats"],
            arguments=shown(given),
            only_plan=given["dry_run"],
            yes=given["yes"],
            max_changes=given["max_changes"],
            max_failures=given["max_failures"],
            sign_key=given["sign_key"],
            max_new_versions=given["max_new_versions"],
            version_price=price_of(given),
            lang=given["lang"],
        )
        return run_of(order, given, screen, max_interval=365, interval=None)

    finish(given, work, lambda run: run.undo(run_dir, given["output_dir"]), told=False)


def price_of(given: dict[str, Any]) -> "Price | None":
    """The price of a key version, where one is given. Raises UsageFault."""
    from audit.versions import Price  # noqa: PLC0415  # rarely needed

    return None if given["version_price"] is None else Price.of(given["version_price"])


def run_of(order: Any, given: dict[str, Any], screen: "Terminal", *, max_interval: int, interval: int | None) -> "Run":  # noqa: ANN401
    """The parts of a run, from the options as given. Raises UsageFault, ReportFault."""
    from audit.cloud import Target  # noqa: PLC0415  # heavy
    from audit.kms.credentials import DOMAIN_ID  # noqa: PLC0415  # heavy
    from audit.kms.link import Limits  # noqa: PLC0415  # heavy
    from audit.kms.regions import check_endpoint  # noqa: PLC0415  # heavy
    from audit.model import Policy  # noqa: PLC0415  # heavy
    from audit.plan import check_limit, check_policy  # noqa: PLC0415  # heavy
    from audit.report.language import language  # noqa: PLC0415  # heavy
    from audit.run import Run  # noqa: PLC0415  # heavy

    if order.sign_key is not None:
        from audit.signature import check_key  # noqa: PLC0415  # rarely needed

        check_key(order.sign_key)
    if given["simulate"] and given["endpoint"]:
        raise UsageFault("--simulate and --endpoint exclude each other")
    if order.max_changes is not None:
        check_limit(order.max_changes)
    language(order.lang)  # one that is missing must not be found out by the last line of a run
    endpoint = check_endpoint(given["endpoint"]) if given["endpoint"] else None
    domain = "" if given["simulate"] else os.environ.get(DOMAIN_ID, "").strip()
    policy = check_policy(Policy(max_interval, interval, domain), writes=order.command != "check")
    rate = given["rate"]
    limits = Limits(rate, given["concurrency"] or max(4, int(rate / 5)), given["timeout"], given["max_attempts"])
    target = Target(limits, endpoint, given["simulate"], {} if given["simulate"] else os.environ)
    return Run(order, target, policy, screen, screen.scrub)


def finish(
    given: dict[str, Any], work: "Callable[[Terminal], Run]", begin: "Callable[[Run], Finished]", *, told: bool
) -> None:
    """Build a run, begin it, print its directory, and end the process. ``told``: the directory is printed already."""
    screen = screen_of(given)
    run: Run | None = None
    try:
        run = work(screen)
        finished = begin(run)
    except Stop as stop:
        if run and run.directory and not told:
            click.echo(run.directory)
        stopped(screen, stop)
    except Exception as error:  # the one place where anything unforeseen may arrive
        if run is None or run.directory is None:
            raise
        from audit.rundir import note_crash  # noqa: PLC0415  # rarely needed

        finished = run.finish(note_crash(run.directory, error, screen.scrub))
    if not told:
        click.echo(finished.directory)
    if finished.message:
        screen.error(finished.message, finished.next_step)
    elif finished.next_step and not given["quiet"]:
        screen.line("info", finished.next_step)
    sys.exit(finished.exit_code)


def stopped(screen: "Terminal", stop: Stop) -> NoReturn:
    """End the process where no run took place."""
    screen.error(str(stop), stop.next_step or (AGAIN if isinstance(stop, Interrupted) else ""))
    sys.exit(stop.exit_code)


def screen_of(given: dict[str, Any]) -> "Terminal":
    """What the operator sees, as the options ask for it."""
    from audit.kms.credentials import secrets  # noqa: PLC0415  # heavy
    from audit.scrub import Scrubber  # noqa: PLC0415  # heavy
    from audit.terminal import Terminal  # noqa: PLC0415  # heavy

    if given["verbose"] and given["quiet"]:
        raise UsageFault("-v and -q exclude each other")
    known = () if given.get("simulate") else secrets(os.environ)
    return Terminal(Scrubber(known), level=given["verbose"] - given["quiet"], as_json=given["log_format"] == "json")


def shown(given: dict[str, Any]) -> dict[str, Any]:
    """The options as the ledger can note them."""
    plain = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in given.items()}
    return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}
