"""How well the pace keeps to the documented limit: neither slower than it allows, nor stopped by it.

`kms-rotation remediate` runs as a process of its own against a simulated KMS in this one, over TCP, which answers 429
above the rate that the run is told. Every figure is taken from the simulator's log, by its clock, at arrival.
"""

import os
import subprocess
import sys
from bisect import bisect_left
from pathlib import Path
from tempfile import TemporaryDirectory

from audit.simulator import Served
from audit.simulator.wire import WRITES
from tests.simulated import ACCESS_KEY, PROJECT, REGION, SECRET_KEY, core, key, key_id, running

CASES = ((20, 400), (200, 2000))
"""Requests a second, and keys, each of which needs one write."""
LATENCY, LAG = 0.02, 0.5
"""Seconds until an answer is sent, and until a read shows a write."""

_COMMAND = (sys.executable, "-c", "from audit.cli import main; main()")


def main() -> list[tuple[str, str, float, str]]:
    """Case, figure, value and aim of every case."""
    return [(f"{keys} keys at {rate}/s", *figure) for rate, keys in CASES for figure in _figures(rate, keys)]


def _figures(rate: int, keys: int) -> list[tuple[str, float, str]]:
    log = _remediated(rate, keys)
    writes = [served.at for served in log if served.operation in WRITES]
    throttled = sum(served.status == 429 for served in log)
    others = sum(served.operation != "list-keys" for served in log)
    return [
        ("first to last write, of keys / rate", (writes[-1] - writes[0]) * rate / keys, "1.02, at most 1.05"),
        ("busiest second, of the rate", _busiest(sorted(served.at for served in log)) / rate, "at most 1.1"),
        ("answers 429, of all", throttled / len(log), "0.002, below 0.01"),
        ("requests per key beyond the list pages", others / keys, "1"),
    ]


def _remediated(rate: int, keys: int) -> list[Served]:
    simulated = core((key(number) for number in range(keys)), rate=rate, latency=LATENCY, lag=LAG)
    with TemporaryDirectory() as folder, running(simulated) as base:
        inventory = Path(folder) / "inventory.csv"
        inventory.write_text("key_id\n" + "".join(f"{key_id(number)}\n" for number in range(keys)), encoding="utf-8")
        where = ("--endpoint", base, "--region", REGION, "--project-id", PROJECT, "--output-dir", folder)
        how = ("--yes", "--quiet", "--rate", str(rate), "--format", "json")
        command = (*_COMMAND, "remediate", str(inventory), *where, *how)
        subprocess.run(command, check=True, env=_environment(), stdout=subprocess.DEVNULL)
    assert all(simulated.state(REGION, PROJECT, key_id(number)) == (True, 365) for number in range(keys))
    return simulated.log


def _environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("HUAWEICLOUD_", "KMS_ROTATION_"))}
    return {**ours, "HUAWEICLOUD_SDK_AK": ACCESS_KEY, "HUAWEICLOUD_SDK_SK": SECRET_KEY}


def _busiest(times: list[float]) -> int:
    """The most requests in any second."""
    return max(bisect_left(times, at + 1) - place for place, at in enumerate(times))
