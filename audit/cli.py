"""The door: parse, build the parts, call the run, print, exit.

Standard output carries the command's product alone: a directory, a table, a URL. All else goes to standard error.
What is heavy is imported by the command that needs it, so that ``--help`` answers at once.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from audit import __version__, options
from audit.errors import Interrupted, Stop, UsageFault, no_terminal

if TYPE_CHECKING:
    from audit.order import Finished
    from audit.run import Run
    from audit.terminal import Terminal

_AGAIN = "to go on, give the same command again"


@click.group(cls=options.Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kms-rotation")
def cli() -> None:
    """Prove that KMS keys rotate, and bring it about.

    check reads, plan shows, remediate asks and changes, apply carries a reviewed or interrupted run to its end, report
    renders again from what was recorded. Only remediate and apply write to the cloud.
    """


@cli.command()
@options.INVENTORY
@options.option("--live", is_flag=True, help="Read KMS and judge the live state, instead of what the inventory states.")
@options.KMS
@options.OUTPUT_DIR
@options.SCREEN
def check(inventory: str, **given: Any) -> None:  # noqa: ANN401  # options by name
    """Judge every record of INVENTORY; read only.

    INVENTORY is a CSV, - for standard input. Without --live nothing is asked of KMS.
    """
    live = given["live"] or given["simulate"]
    _new("check", inventory, given, live=live, only_plan=True)


@cli.command()
@options.INVENTORY
@options.INTERVAL
@options.KMS
@options.GUARDS
@options.OUTPUT_DIR
@options.SCREEN
def plan(inventory: str, **given: Any) -> None:  # noqa: ANN401  # options by name
    """Read KMS and record the steps to take.

    The plan has a digest, by which `apply --approve` knows it again. INVENTORY is a CSV, - for standard input.
    """
    _new("plan", inventory, given, live=True, only_plan=True)


@cli.command()
@options.INVENTORY
@options.INTERVAL
@options.option("--dry-run", is_flag=True, help="Stop after the plan.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@options.KMS
@options.GUARDS
@options.OUTPUT_DIR
@options.SCREEN
def remediate(inventory: str, **given: Any) -> None:  # noqa: ANN401  # options by name
    """Plan, ask, enable rotation, read back, report.

    INVENTORY is a CSV, - for standard input.
    """
    if not (given["yes"] or given["dry_run"] or (sys.stdin and sys.stdin.isatty())):
        raise no_terminal()
    _new("remediate", inventory, given, live=True, only_plan=given["dry_run"])


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--approve", default="", metavar="DIGEST", help="Do not ask, but refuse any plan but this one.")
@options.KMS
@options.GUARDS
@options.SCREEN
def apply(run_dir: Path, **given: Any) -> None:  # noqa: ANN401  # options by name
    """Carry a plan or an interrupted run to its end.

    Approve, apply and resume are this one command. Region, project, policy and interval are those of the run.
    """
    from audit.order import Order  # noqa: PLC0415  # heavy
    from audit.rundir import existing  # noqa: PLC0415  # heavy

    def work(screen: "Terminal") -> "Run":
        click.echo(existing(run_dir))
        order = Order(
            command="apply",
            formats=given["formats"],
            arguments=_shown(given),
            only_plan=False,
            yes=given["yes"],
            approve=given["approve"],
            max_changes=given["max_changes"],
            max_failures=given["max_failures"],
        )
        return _run(order, given, screen, max_interval=365, interval=None)

    _finish(given, work, lambda run: run.resume(run_dir), told=True)


@cli.command()
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@options.option(
    "--templates",
    type=click.Path(file_okay=False, path_type=Path),
    help="Your own report.html.j2 or report.csv.j2, in place of the packaged ones.",
)
@options.OUTPUT_DIR
@options.SCREEN
def report(run_dirs: tuple[Path, ...], **given: Any) -> None:  # noqa: ANN401  # options by name
    """Render the reports of runs again.

    Into a directory of their own; several runs give one merged report.
    """
    from audit.rerender import rerender  # noqa: PLC0415  # heavy

    screen = _screen(given)
    try:
        directory = rerender(run_dirs, given["output_dir"], given["formats"], given["templates"], screen)
    except Stop as stop:
        _stopped(screen, stop)
    click.echo(directory)


@cli.command()
def rules() -> None:
    """Print the rules: id, kind, sentence, source."""
    from audit.rules import table  # noqa: PLC0415  # heavy

    click.echo(table())


@cli.command(cls=options.WithFaults, short_help="Serve a simulated KMS on loopback.")
@options.option("--inventory", required=True, metavar="FILE", help="The keys that the simulated KMS holds.")
@options.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; 0 takes a free one.")
@options.option("--region", default="", help="Region of records that do not state one.")
@options.option(
    "--project-id",
    default="",
    also=("HUAWEICLOUD_SDK_PROJECT_ID",),
    help="Project id of records that do not state one.",
)
@click.option("--rate", type=options.Number(0.1, 100_000), metavar="N", help="Answer 429 above N requests a second.")
@options.option(
    "--latency", type=options.Number(0, 600), default=0, metavar="S", help="Seconds that every answer takes."
)
@options.option(
    "--lag",
    type=options.Number(0, 600),
    default=0.5,
    show_default=True,
    metavar="S",
    help="Seconds until a read shows a write.",
)
@options.option("--faults", default="", metavar="FAULTS", help="What to get wrong; see below.")
def simulator(**given: Any) -> None:  # noqa: ANN401  # options by name
    """Serve a simulated KMS on loopback, for rehearsals and for other clients."""
    from audit.simulator.command import serve_forever  # noqa: PLC0415  # heavy

    serve_forever(environ=os.environ, **given)


def _new(command: str, inventory: str, given: dict[str, Any], *, live: bool, only_plan: bool) -> None:
    from audit.inventory import Defaults  # noqa: PLC0415  # heavy
    from audit.order import Order  # noqa: PLC0415  # heavy

    def work(screen: "Terminal") -> "Run":
        order = Order(
            command=command,
            formats=given["formats"],
            arguments=_shown(given),
            live=live,
            only_plan=only_plan,
            yes=given.get("yes", False),
            max_changes=given.get("max_changes"),
            max_failures=given.get("max_failures", 10),
        )
        return _run(order, given, screen, max_interval=given["max_interval"], interval=given.get("interval"))

    def begin(run: "Run") -> "Finished":
        return run.new(inventory, Defaults(given["account"], given["region"], given["project_id"]), given["output_dir"])

    _finish(given, work, begin, told=False)


def _run(order: Any, given: dict[str, Any], screen: "Terminal", *, max_interval: int, interval: int | None) -> "Run":  # noqa: ANN401
    from audit.cloud import Target  # noqa: PLC0415  # heavy
    from audit.kms.credentials import DOMAIN_ID  # noqa: PLC0415  # heavy
    from audit.kms.link import Limits  # noqa: PLC0415  # heavy
    from audit.kms.regions import check_endpoint  # noqa: PLC0415  # heavy
    from audit.model import Policy  # noqa: PLC0415  # heavy
    from audit.plan import check_limit, check_policy  # noqa: PLC0415  # heavy
    from audit.run import Run  # noqa: PLC0415  # heavy

    if given["simulate"] and given["endpoint"]:
        raise UsageFault("--simulate and --endpoint exclude each other")
    if order.max_changes is not None:
        check_limit(order.max_changes)
    endpoint = check_endpoint(given["endpoint"]) if given["endpoint"] else None
    domain = "" if given["simulate"] else os.environ.get(DOMAIN_ID, "").strip()
    policy = check_policy(Policy(max_interval, interval, domain), writes=order.command != "check")
    rate = given["rate"]
    limits = Limits(rate, given["concurrency"] or max(4, int(rate / 5)), given["timeout"], given["max_attempts"])
    target = Target(limits, endpoint, given["simulate"], {} if given["simulate"] else os.environ)
    return Run(order, target, policy, screen, screen.scrub)


def _finish(
    given: dict[str, Any], work: "Callable[[Terminal], Run]", begin: "Callable[[Run], Finished]", *, told: bool
) -> None:
    screen = _screen(given)
    run: Run | None = None
    try:
        run = work(screen)
        finished = begin(run)
    except Stop as stop:
        if run and run.directory and not told:
            click.echo(run.directory)
        _stopped(screen, stop)
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


def _stopped(screen: "Terminal", stop: Stop) -> NoReturn:
    screen.error(str(stop), stop.next_step or (_AGAIN if isinstance(stop, Interrupted) else ""))
    sys.exit(stop.exit_code)


def _screen(given: dict[str, Any]) -> "Terminal":
    from audit.kms.credentials import secrets  # noqa: PLC0415  # heavy
    from audit.scrub import Scrubber  # noqa: PLC0415  # heavy
    from audit.terminal import Terminal  # noqa: PLC0415  # heavy

    if given["verbose"] and given["quiet"]:
        raise UsageFault("-v and -q exclude each other")
    known = () if given.get("simulate") else secrets(os.environ)
    return Terminal(Scrubber(known), level=given["verbose"] - given["quiet"], as_json=given["log_format"] == "json")


def _shown(given: dict[str, Any]) -> dict[str, Any]:
    plain = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in given.items()}
    return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


def main() -> None:
    """The console script. Ends the process; no traceback reaches the operator."""
    try:
        cli.main(standalone_mode=False)
        code = 0
    except Stop as stop:
        _complain(str(stop), stop.next_step)
        code = stop.exit_code
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted", _AGAIN)
        code = Interrupted.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:  # noqa: BLE001  # the last net: one line for the operator
        _complain(f"unforeseen error: {type(error).__name__}", "please report it; nothing was left behind")
        code = 1
    sys.exit(code)


def _complain(message: str, next_step: str) -> None:
    click.echo(f"kms-rotation: {message}", err=True)
    if next_step:
        click.echo(next_step, err=True)
