"""The door: parse, build the parts, call the run, print, exit.

Standard output carries the command's product alone: a directory, a table, a URL. All else goes to standard error.
What is heavy is imported by the command that needs it, so that ``--help`` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from audit import __version__, launch, options
from audit.errors import Interrupted, Stop, no_terminal

if TYPE_CHECKING:
    from audit.run import Run
    from audit.terminal import Terminal

_AGAIN = "to go on, give the same command again"


@click.group(cls=options.Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kms-rotation")
def cli() -> None:
    """Prove that KMS keys rotate, and bring it about.

    check reads, plan shows, remediate asks and changes, apply carries a reviewed or interrupted run to its end,
    rollback undoes a run, report renders again from what was recorded, verify checks its evidence. Only remediate,
    apply and rollback write to the cloud.
    """


@cli.command()
@options.INVENTORY
@options.option("--live", is_flag=True, help="Read KMS and judge the live state, instead of what the inventory states.")
@options.KMS
@options.SIGN_KEY
@options.OUTPUT_DIR
@options.SCREEN
def check(inventory: str, **given: Any) -> None:  # noqa: ANN401  # options by name
    """Judge every record of INVENTORY; read only.

    INVENTORY is a CSV, - for standard input. Without --live nothing is asked of KMS.
    """
    live = given["live"] or given["simulate"]
    _work(given, launch.new("check", inventory, given, live=live, only_plan=True))


@cli.command()
@options.INVENTORY
@options.INTERVAL
@options.KMS
@options.GUARDS
@options.SIGN_KEY
@options.OUTPUT_DIR
@options.SCREEN
def plan(inventory: str, **given: Any) -> None:  # noqa: ANN401  # options by name
    """Read KMS and record the steps to take.

    The plan has a digest, by which `apply --approve` knows it again. INVENTORY is a CSV, - for standard input.
    """
    _work(given, launch.new("plan", inventory, given, live=True, only_plan=True))


@cli.command()
@options.INVENTORY
@options.INTERVAL
@options.option("--dry-run", is_flag=True, help="Stop after the plan.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@options.KMS
@options.GUARDS
@options.SIGN_KEY
@options.OUTPUT_DIR
@options.SCREEN
def remediate(inventory: str, **given: Any) -> None:  # noqa: ANN401  # options by name
    """Plan, ask, enable rotation, read back, report.

    INVENTORY is a CSV, - for standard input.
    """
    _check_terminal(given)
    _work(given, launch.new("remediate", inventory, given, live=True, only_plan=given["dry_run"]))


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--approve", default="", metavar="DIGEST", help="Do not ask, but refuse any plan but this one.")
@options.KMS
@options.GUARDS
@options.SIGN_KEY
@options.SCREEN
def apply(run_dir: Path, **given: Any) -> None:  # noqa: ANN401  # options by name
    """Carry a plan or an interrupted run to its end.

    Approve, apply and resume are this one command. Region, project, policy and interval are those of the run.
    """
    from audit.rundir import existing  # noqa: PLC0415  # heavy

    job = launch.resume(run_dir, given)

    def build(screen: "Terminal") -> "Run":
        click.echo(existing(run_dir))
        return job.build(screen)

    _work(given, job._replace(build=build), told=True)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@options.option("--dry-run", is_flag=True, help="Stop after the plan.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@options.KMS
@options.GUARDS
@options.SIGN_KEY
@options.OUTPUT_DIR
@options.SCREEN
def rollback(run_dir: Path, **given: Any) -> None:  # noqa: ANN401  # options by name
    """Undo a run: turn off what it turned on.

    Plan, ask, change back, read back, report, in a run directory of its own. Only what RUN_DIR is known to have
    changed, and only keys that are still as it left them; intervals that it changed are restored.
    """
    _check_terminal(given)
    _work(given, launch.undo(run_dir, given))


@cli.command()
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@options.option(
    "--templates",
    type=click.Path(file_okay=False, path_type=Path),
    help="Your own report.html.j2 or report.csv.j2, in place of the packaged ones.",
)
@options.option(
    "--compare",
    metavar="RUN_DIR",
    type=click.Path(path_type=Path),
    help="An earlier run: say which keys are new, gone, fixed, regressed or otherwise changed since.",
)
@options.OUTPUT_DIR
@options.SCREEN
def report(run_dirs: tuple[Path, ...], **given: Any) -> None:  # noqa: ANN401  # options by name
    """Render the reports of runs again.

    Into a directory of their own; several runs give one merged report.
    """
    from audit.rerender import rerender  # noqa: PLC0415  # heavy

    screen = launch.screen_of(given)
    try:
        price = str(launch.price_of(given) or "")
        where, formats, templates, lang = (given[name] for name in ("output_dir", "formats", "templates", "lang"))
        directory = rerender(run_dirs, where, formats, templates, screen, lang, price=price, compare=given["compare"])
    except Stop as stop:
        _stopped(screen, stop)
    click.echo(directory)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@options.option(
    "--allowed-signers",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Who may sign, as ssh-keygen takes it; without a good signature the run is not intact then.",
)
@options.option("--signer", default="", metavar="IDENTITY", help="The one of them who must have signed.")
@options.QUIET
@options.LOG_FORMAT
def verify(run_dir: Path, allowed_signers: Path | None, signer: str, **given: Any) -> None:  # noqa: ANN401  # options
    """Check the evidence of a run; offline, and nothing is written.

    Prints intact, altered or unchecked. Sums, chain of events, evidence.jsonl, reports and signature are each a line on
    standard error.
    """
    from audit.proving import Standing, verify  # noqa: PLC0415  # heavy

    screen = launch.screen_of({**given, "verbose": False})
    try:
        standing = verify(run_dir, allowed_signers, signer, screen.checked)
    except Stop as stop:
        _stopped(screen, stop)
    click.echo(standing)
    sys.exit(0 if standing is Standing.INTACT else 1)


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


def _check_terminal(given: dict[str, Any]) -> None:
    """Raise UsageFault where somebody would have to be asked and nobody is there."""
    if not (given["yes"] or given["dry_run"] or (sys.stdin and sys.stdin.isatty())):
        raise no_terminal()


def _work(given: dict[str, Any], job: launch.Job, *, told: bool = False) -> NoReturn:
    """Build a run, begin it, print its directory, and end the process. ``told``: the directory is printed already."""
    screen = launch.screen_of(given)
    run: Run | None = None
    try:
        run = job.build(screen)
        finished = job.begin(run)
    except Stop as stop:
        if run and run.directory and not told:
            click.echo(run.directory)
        _stopped(screen, stop)
    except Exception as error:  # unforeseen, with a run that can still be ended
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
    """End the process where no run took place."""
    screen.error(str(stop), stop.next_step or (_AGAIN if isinstance(stop, Interrupted) else ""))
    sys.exit(stop.exit_code)


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
