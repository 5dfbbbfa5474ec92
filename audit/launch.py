"""From options to a run: what the commands that work on a run have in common.

What is heavy is imported where it is needed, so that ``--help`` answers at once.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from audit.errors import UsageFault

if TYPE_CHECKING:
    from audit.order import Finished, Order
    from audit.run import Run
    from audit.terminal import Terminal
    from audit.versions import Price
    from audit.waiver import Waivers


class Job(NamedTuple):
    """What a command has to do: ``build`` the parts of a run, then ``begin`` it. Both raise Stop."""

    build: "Callable[[Terminal], Run]"
    begin: "Callable[[Run], Finished]"


def new(command: str, inventory: str, given: dict[str, Any], *, live: bool, only_plan: bool) -> Job:
    """A new run on an inventory. Raises UsageFault."""
    from audit.inventory import Defaults  # noqa: PLC0415  # heavy

    if given["require_complete"] and not live:
        raise UsageFault(
            "--require-complete needs KMS to compare with: offline nobody knows which keys there are", "add --live"
        )

    def build(screen: "Terminal") -> "Run":
        waivers, whole = _waivers(given["waivers"], inventory, screen), given["require_complete"]
        order = _order(command, given, live=live, only_plan=only_plan, waivers=waivers, require_complete=whole)
        return run_of(order, given, screen, max_interval=given["max_interval"], interval=given.get("interval"))

    def begin(run: "Run") -> "Finished":
        return run.new(inventory, Defaults(given["account"], given["region"], given["project_id"]), given["output_dir"])

    return Job(build, begin)


def resume(run_dir: Path, given: dict[str, Any]) -> Job:
    """An existing run, taken up again."""

    def build(screen: "Terminal") -> "Run":
        order = _order("apply", given, only_plan=False, approve=given["approve"])
        return run_of(order, given, screen, max_interval=365, interval=None)

    return Job(build, lambda run: run.resume(run_dir))


def undo(run_dir: Path, given: dict[str, Any]) -> Job:
    """A new run that undoes another one."""

    def build(screen: "Terminal") -> "Run":
        order = _order("rollback", given, only_plan=given["dry_run"])
        return run_of(order, given, screen, max_interval=365, interval=None)

    return Job(build, lambda run: run.undo(run_dir, given["output_dir"]))


def _order(command: str, given: dict[str, Any], **more: Any) -> "Order":  # noqa: ANN401  # fields of the order by name
    """What was asked for; ``check`` has no guards and never asks. Raises UsageFault."""
    from audit.order import Order  # noqa: PLC0415  # heavy

    return Order(
        command=command,
        formats=given["formats"],
        arguments=shown(given),
        yes=given.get("yes", False),
        max_changes=given.get("max_changes"),
        max_failures=given.get("max_failures", 10),
        sign_key=given["sign_key"],
        max_new_versions=given.get("max_new_versions"),
        version_price=price_of(given),
        lang=given["lang"],
        **more,
    )


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


def price_of(given: dict[str, Any]) -> "Price | None":
    """The price of a key version, where one is given. Raises UsageFault."""
    from audit.versions import Price  # noqa: PLC0415  # rarely needed

    return None if given["version_price"] is None else Price.of(given["version_price"])


def run_of(
    order: "Order", given: dict[str, Any], screen: "Terminal", *, max_interval: int, interval: int | None
) -> "Run":
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
