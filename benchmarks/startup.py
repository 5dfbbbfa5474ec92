"""What `--help` costs: against an interpreter that does nothing, and against importing everything."""

import subprocess
import sys
import time
from statistics import median

_RUNS = 9
_COMMANDS = {
    "nothing": "pass",
    "help": "import sys; sys.argv = ['kms-rotation', '--help']; from audit.cli import main; main()",
    "eager": "import audit.cli, audit.run, audit.rerender, audit.terminal, audit.simulator, pandas",
}


def main() -> list[tuple[str, str, float, str]]:
    """Case, figure, value and aim; each value is a median over runs in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for _ in range(_RUNS):
        for name, code in _COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run((sys.executable, "-c", code), check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - begun)
    nothing, shown, eager = (median(seconds[name]) for name in ("nothing", "help", "eager"))
    return [
        ("--help", "milliseconds", 1000 * shown, "below 150"),
        ("--help", "of `python -c pass`", shown / nothing, "as near to 1 as click allows"),
        ("--help", "of importing everything", shown / eager, "below 0.5"),
    ]
