"""How quickly report.html stands, with every key in it: against a plain table of the same rows, in the same browser.

`kms-rotation check` runs as a process of its own on a made-up inventory; headless Chromium opens what it wrote, and a
page that holds the same rows as plain HTML.
"""

import csv
import html
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

WHOLE, COMPARED = 100_000, 20_000
"""Keys of the page whose figures are told, and of the two that are compared: more plain rows take gigabytes."""

_RUNS = 5
_COMMAND = (sys.executable, "-c", "import sys; sys.argv[0] = 'kms-rotation'; from audit.cli import main; main()")
_IDLE = "new Promise(done => requestAnimationFrame(() => requestIdleCallback(() => done(performance.now()))))"
_HEAP = "(gc(), performance.memory.usedJSHeapSize / 1e6)"
_TIMED = """async () => {
  const begun = performance.now();
  ACT;
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begun;
}"""
"""Milliseconds from an act of the reader to the picture after it."""
_FILTER = (
    "const text = document.getElementById('by-text'); text.value = 'app-777'; text.dispatchEvent(new Event('input'))"
)
_SORT = "document.querySelector('[data-sort=key]').click()"

Figures = dict[str, float]


def main() -> list[tuple[str, str, float, str]]:
    """Case, figure, value and aim; each value is a median over runs in turn."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        whole, compared = (_report(Path(folder), size) for size in (WHOLE, COMPARED))
        plain = _plain(compared)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--js-flags=--expose-gc", *(["--no-sandbox"] if os.geteuid() == 0 else [])],
        )
        page = _medians(browser, whole / "report.html", acts=True)
        one, other = (_medians(browser, path, acts=False) for path in (compared / "report.html", plain))
        browser.close()
    case, against = f"{WHOLE:,} keys", f"{COMPARED:,} keys, of a plain table"
    return [
        (case, "milliseconds until it stands", page["idle"], "below 1,000"),
        (case, "of them the processor's", page["processor"], "told, not aimed at"),
        (case, "JavaScript heap, MB", page["heap"], "below 40"),
        (case, "memory of its process, MB", page["memory"], "below 250"),
        (case, "milliseconds to filter", page["filter"], "below 100"),
        (case, "milliseconds to sort", page["sort"], "below 300"),
        (case, "size of the file, MB", page["size"], "told, not aimed at"),
        (against, "time until it stands", one["idle"] / other["idle"], "below 0.5"),
        (against, "memory of its process", one["memory"] / other["memory"], "below 0.5"),
    ]


def _report(folder: Path, size: int) -> Path:
    """The directory of a run over so many keys, of which some kinds cannot rotate and some are not compliant."""
    inventory, runs = folder / f"{size}.csv", folder / f"{size}"
    with inventory.open("w", encoding="utf-8") as file:
        file.write("key_id,account,region,project_id,key_alias,key_spec,key_state,default_key_flag,origin,")
        file.write("key_rotation_enabled,rotation_interval,owner\n")
        for n in range(size):
            spec, state = ("RSA_2048" if n % 20 == 3 else "AES_256"), ("3" if n % 20 == 5 else "2")
            rotates = "false" if n % 20 == 7 else "true"
            where = f"prod,cn-north-{1 + n % 4},{'0123456789abcdef' * 2}"
            id_ = f"{n * 2654435761 % 2**32:08x}-4d1f-4b7e-9a53-{n:012x}"
            file.write(f"{id_},{where},app-{n},{spec},{state},0,kms,{rotates},365,team-{n % 40}\n")
    arguments = ("check", str(inventory), "--quiet", "--output-dir", str(runs))
    done = subprocess.run((*_COMMAND, *arguments), check=False, stdout=subprocess.DEVNULL)
    assert done.returncode == 3, "a twentieth of the keys is not compliant"
    (run,) = runs.iterdir()
    return run


def _plain(run: Path) -> Path:
    """The rows of a run as a table that is all there, in the columns of the report's own."""
    path = run.parent / "plain.html"
    names = ("key_id", "key_alias", "region", "outcome", "rotation_before", "reason", "line")
    with (run / "report.csv").open(encoding="utf-8-sig", newline="") as file, path.open("w", encoding="utf-8") as page:
        page.write("<!doctype html><meta charset=utf-8><title>Plain</title><table>")
        for row in csv.DictReader(file):
            page.write("<tr>" + "".join(f"<td>{html.escape(row[name])}</td>" for name in names) + "</tr>")
        page.write("</table>")
    return path


def _medians(browser: Browser, path: Path, *, acts: bool) -> Figures:
    found = [_figures(browser, path, acts=acts) for _ in range(_RUNS)]
    return {name: median(each[name] for each in found) for name in found[0]}


def _figures(browser: Browser, path: Path, *, acts: bool) -> Figures:
    """One opening, in a process of its own. ``acts``: it is our page, so filter and sort as well."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    before = _renderers(browser)
    page.goto(path.as_uri(), timeout=300_000)
    figures: Figures = {"idle": page.evaluate(_IDLE), "size": path.stat().st_size / 1e6}
    pid, processor = max(
        ((pid, seconds - before.get(pid, 0)) for pid, seconds in _renderers(browser).items()), key=lambda each: each[1]
    )
    figures |= {"processor": 1000 * processor, "heap": page.evaluate(_HEAP), "memory": _memory(pid)}
    if acts:
        figures |= {"filter": _act(page, _FILTER), "sort": _act(page, _SORT)}
    context.close()
    return figures


def _act(page: Page, act: str) -> float:
    spent: float = page.evaluate(_TIMED.replace("ACT", act))
    return spent


def _renderers(browser: Browser) -> dict[int, float]:
    """Processor seconds of the processes that show pages, by process id."""
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return {process["id"]: process["cpuTime"] for process in told if process["type"] == "renderer"}


def _memory(pid: int) -> float:
    """What a process holds alone, and its part of what it shares, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
