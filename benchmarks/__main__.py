"""`python -m benchmarks [NAME ...]`: measure, print one table, keep the figures in `benchmarks/results/NAME.json`."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from audit import __version__
from benchmarks import million, pacing, page, startup

MEASURED: dict[str, Callable[[], list[tuple[str, str, float, str]]]] = {
    "pacing": pacing.main,
    "startup": startup.main,
    "page": page.main,
    "million": million.main,
}
"""Every benchmark by name. Each returns rows of case, figure, value and aim."""

RESULTS = Path(__file__).parent / "results"
_LIBRARIES = ("httpx", "httpcore", "h11", "anyio", "pandas", "jinja2", "click")


def run(names: list[str]) -> None:
    """Run the benchmarks named, all of them where none is."""
    if unknown := set(names) - MEASURED.keys():
        sys.exit(f"there is no benchmark {', '.join(sorted(unknown))}; there is {', '.join(MEASURED)}")
    for name in names or MEASURED:
        rows = MEASURED[name]()
        wide = [max(len(row[place]) for row in rows) for place in (0, 1)]
        print(f"{name}:")
        for case, figure, value, aim in rows:
            print(f"  {case:{wide[0]}}  {figure:{wide[1]}}  {value:8.4g}  (aim: {aim})", flush=True)
        told = {"benchmark": name, **surroundings(), "figures": [dict(zip(FIELDS, row, strict=True)) for row in rows]}
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


FIELDS = ("case", "figure", "value", "aim")


def surroundings() -> dict[str, object]:
    """What the figures depend on: commit, machine, versions."""
    git = ("git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty", "--abbrev=40")
    commit = subprocess.run(git, check=False, capture_output=True, text=True).stdout.strip()
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "commit": commit or "unknown",
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
        "versions": {
            "kms-rotation": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    run(sys.argv[1:])
