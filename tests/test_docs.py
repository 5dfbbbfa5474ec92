"""The documents agree with the program: tables are generated from it, commands are executed, links lead somewhere.

``pytest --update tests/test_docs.py`` writes the generated blocks anew. The picture of the report is taken again where
``docs/report.png`` is not there.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import click
import pytest

from audit.cli import cli
from audit.errors import EXIT_CODES, PRECEDENCE
from audit.inventory import KNOWN_COLUMNS
from audit.kms import credentials
from audit.kms.regions import ENDPOINTS
from audit.outcome import ANOTHER_RUN, Outcome, exit_code
from audit.report import controls
from audit.report.language import ENGLISH
from audit.report.rows import COLUMNS
from audit.rules import table
from audit.simulator.faults import FAULT_KINDS, FORM
from audit.tables import EventKind
from audit.waiver import COLUMNS as OF_WAIVERS
from tests.command import SCRIPT

ROOT = Path(__file__).parent.parent
README, EXAMPLE, PICTURE = ROOT / "README.md", ROOT / "inventory.example.csv", ROOT / "docs" / "report.png"
CHINESE = ROOT / "README.zh-CN.md"  # tests/test_docs_zh.py compares it with the README
DOCUMENTS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {CHINESE})
COMMANDS = dict(cli.commands)
WIDTH = "100"  # columns of a help text
LARGEST_PICTURE = 300_000  # bytes

_GENERATED = re.compile(r"(?<=<!-- generated: )(?P<name>[\w ]+) -->\n(?P<text>.*?)(?=<!-- end -->)", re.DOTALL)
_COMPARED = re.compile(r"<!-- compared: (?P<name>[\w ]+) -->\n(?P<table>(?:\|.*\n)+)")
_EXECUTED = re.compile(r"<!-- executed -->\n```sh\n(?P<text>.*?)```", re.DOTALL)
_SAVED = re.compile(r"<!-- executed: (?P<name>[\w.]+) -->\n```python\n(?P<text>.*?)```", re.DOTALL)
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"""(?:\]\(|src=")(?P<target>[^)"\s]+)[)"]""")
_CALLED = re.compile(r"(?:^|`|\$\()kms-rotation ([a-z]+)", re.MULTILINE)
_ENDS_WITH = re.compile(r"\s+# exit code (\d+)$")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def in_a_shell(script: str, folder: Path, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script with the installed commands, an empty home and nothing else of ours in the environment."""
    environ = {"PATH": f"{SCRIPT.parent}:{os.defpath}", "HOME": str(home), "LANG": "C.UTF-8", "COLUMNS": WIDTH}
    command = ["/bin/sh", "-c", script]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=90, check=False)


# What is generated --------------------------------------------------------------------------------------------------


def rows(head: str, lines: Iterator[Sequence[str]]) -> str:
    """A Markdown table."""
    columns = head.count("|") - 1
    return "\n".join([head, "|---" * columns + "|", *(f"| {' | '.join(line)} |" for line in lines)])


def outcomes() -> str:
    told = (
        (f"`{outcome}`", outcome.meaning, str(exit_code({outcome: 1})), "yes" if outcome in ANOTHER_RUN else "")
        for outcome in Outcome
    )
    return rows("| Outcome | Meaning | Exit code | In `failed.csv` |", told)


def exit_codes() -> str:
    told = rows("| Code | Meaning |", ((str(code), meaning) for code, meaning in EXIT_CODES))
    return f"{told}\n\nWhere several apply, the first in this order: {', '.join(map(str, PRECEDENCE))}."


def regions() -> str:
    def endpoint(region: str) -> str:
        return ENDPOINTS[region].replace(region, "{region}")

    grouped = ((url, list(found)) for url, found in groupby(ENDPOINTS, endpoint))
    return rows("| Endpoint | Regions |", ((f"`{url}`", ", ".join(f"`{r}`" for r in found)) for url, found in grouped))


def options() -> Iterator[tuple[str, click.Option]]:
    """Command and option, of all commands."""
    for command, made in COMMANDS.items():
        yield from ((command, option) for option in made.params if isinstance(option, click.Option))


def variables() -> str:
    named: dict[tuple[str, str], list[str]] = {}
    unnamed: dict[str, None] = {}
    for command, option in options():
        long = next(text for text in option.opts if text.startswith("--"))
        if option.envvar is None:
            unnamed[f"`{long}` of `{command}`" if command == "simulator" else f"`{long}`"] = None
        else:
            names = [option.envvar] if isinstance(option.envvar, str) else option.envvar
            named.setdefault((", then ".join(f"`{text}`" for text in names), long), []).append(command)
    told = ((names, f"`{long}`", ", ".join(where)) for (names, long), where in named.items())
    return f"{rows('| Variable | Option | Commands |', told)}\n\nWithout a variable, on purpose: {', '.join(unnamed)}."


def framework_ids() -> str:
    told = ((line.control, line.framework, f"`{line.id}`", line.basis) for line in controls.lines(ENGLISH))
    return rows("| Control | Framework | Supports evidence for | On whose word |", told)


def faults() -> str:
    return rows("| Kind | What the client meets |", ((f"`{kind}`", said) for kind, said in FAULT_KINDS.items()))


def shown_help(command: str) -> str:
    done = in_a_shell(f"kms-rotation {command} --help", ROOT, Path("/nonexistent"))
    assert done.returncode == 0, done.stderr
    return f"```text\n{done.stdout}```"


GENERATED: dict[str, Callable[[], str]] = {
    "rules": table,
    "outcomes": outcomes,
    "exit codes": exit_codes,
    "regions": regions,
    "variables": variables,
    "faults": faults,
    "controls": framework_ids,
    **{f"help {command}": lambda command=command: shown_help(command) for command in COMMANDS},
}


@pytest.mark.parametrize("block", GENERATED)
def test_what_is_generated_equals_the_program(block: str, pytestconfig: pytest.Config) -> None:
    """What the program knows of rules, options, exit codes and the like stands in the documents as it is."""
    (path,) = [path for path in DOCUMENTS if f"<!-- generated: {block} -->" in text(path)]
    whole = f"{block} -->\n{GENERATED[block]()}\n"
    if pytestconfig.getoption("--update"):
        written = _GENERATED.sub(lambda found: whole if found["name"] == block else found[0], text(path))
        path.write_text(written, encoding="utf-8")
    assert [found[0] for found in _GENERATED.finditer(text(path)) if found["name"] == block] == [whole]


def test_every_block_that_says_so_is_generated() -> None:
    """No block of a document claims to be generated or compared when nothing here does so."""
    said = [found for path in DOCUMENTS for found in re.findall(r"<!-- (generated|compared): (.*?) -->", text(path))]
    known = [("generated", block) for block in GENERATED] + [("compared", block) for block in COMPARED]
    assert sorted(said) == sorted(known)


# What is compared ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a simulated run of a copy of the example."""
    home = tmp_path_factory.mktemp("rehearsal")
    shutil.copy(EXAMPLE, home)
    done = in_a_shell(f"LOGNAME=auditor kms-rotation remediate {EXAMPLE.name} --simulate --yes", home, home)
    assert done.returncode == 4, done.stderr
    return home / done.stdout.strip()


def files(rehearsal: Path) -> list[str]:
    sometimes = {"crash.txt", "comparison.csv", "report.xlsx", "SHA256SUMS.sig", "SHA256SUMS.1", "SHA256SUMS.1.sig"}
    return sorted({path.name for path in rehearsal.iterdir()} | sometimes)


def fields(rehearsal: Path) -> list[str]:
    return list(json.loads(text(rehearsal / "run_results.json")))


CLOUD = [getattr(credentials, variable) for variable in ("AK", "SK", "TOKEN", "PROJECT_ID", "DOMAIN_ID")]
COMPARED: dict[str, Callable[[Path], Sequence[str]]] = {
    "inventory columns": lambda _: KNOWN_COLUMNS,
    "waiver columns": lambda _: OF_WAIVERS,
    "report columns": lambda _: COLUMNS,
    "cloud variables": lambda _: [*CLOUD, "HTTPS_PROXY"],
    "events": lambda _: [kind.value for kind in EventKind],
    "files": files,
    "json fields": fields,
}


@pytest.mark.parametrize("block", COMPARED)
def test_what_is_listed_is_what_there_is(block: str, rehearsal: Path) -> None:
    """Columns, fields, files, events and variables are described one by one, all of them and no others."""
    (found,) = [found for path in DOCUMENTS for found in _COMPARED.finditer(text(path)) if found["name"] == block]
    listed = [line.split("`")[1] for line in found["table"].splitlines()[2:]]
    there = list(COMPARED[block](rehearsal))
    assert (sorted(listed) if block == "files" else listed) == there


def test_the_form_of_a_fault_is_the_programs() -> None:
    """The form of ``--faults`` is told in the same characters as in the help."""
    assert f"`{FORM}`" in text(ROOT / "docs" / "simulator.md")


# What is executed ---------------------------------------------------------------------------------------------------


def checked(block: str) -> str:
    """A shell script that ends where a line ends with another exit code than the document states (0 unless stated)."""
    lines = ["trap 'kill $! 2>/dev/null || :' EXIT"]
    for line in block.splitlines():
        stated = _ENDS_WITH.search(line)
        code = stated[1] if stated else "0"
        told = shlex.quote(f"{line}: ended with")
        lines += [_ENDS_WITH.sub("", line), f"code=$?; [ $code -eq {code} ] || {{ echo {told} $code >&2; exit 99; }}"]
    return "\n".join(lines)


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if "<!-- executed" in text(path)], ids=name)
def test_the_commands_of_a_document_work(path: Path, tmp_path: Path) -> None:
    """What is marked as executed ends with the exit codes that are stated: a copy of the example, an empty home."""
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    for example in ROOT.glob("*.example.csv"):
        shutil.copy(example, folder)
    for found in _SAVED.finditer(text(path)):
        (folder / found["name"]).write_text(found["text"], encoding="utf-8")
    blocks = [found["text"] for found in _EXECUTED.finditer(text(path))]
    assert blocks
    for block in blocks:
        done = in_a_shell(checked(block), folder, home)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def test_the_quick_start_ends_with_a_report(rehearsal: Path) -> None:
    """The commands of the quick start are ours, and what they promise to leave behind is there."""
    (quick,) = re.findall(r"\n## Quick start\n(.*?)\n## ", text(README), re.DOTALL)
    (block,) = [found["text"] for found in _EXECUTED.finditer(quick)]
    assert re.findall(r"^kms-rotation (\w+)", block, re.MULTILINE) == ["check", "remediate"]
    assert "SIMULATED" in text(rehearsal / "report.html")


def test_the_readme_shows_the_example_of_waivers() -> None:
    """What stands in the README is the file that comes along, to the last line."""
    assert f"```csv\n{text(ROOT / 'waivers.example.csv')}```" in text(README)


def test_the_policies_allow_no_more_than_they_must() -> None:
    """Three policies: to read, to switch on, to undo. The second cannot turn rotation off, nor the third turn it on."""
    blocks = [found for path in DOCUMENTS for found in re.findall(r"```json\n(.*?)```", text(path), re.DOTALL)]
    policies = [json.loads(block)["Statement"] for block in blocks]
    allowed, denied = (
        [{action for each in policy if each["Effect"] == effect for action in each["Action"]} for policy in policies]
        for effect in ("Allow", "Deny")
    )
    reading, update = {"kms:cmk:list", "kms:cmk:get", "kms:cmk:getRotation"}, "kms:cmk:updateRotation"
    on, off = "kms:cmk:enableRotation", "kms:cmk:disableRotation"
    assert allowed == [reading, reading | {on, update}, reading | {off, update}]
    assert denied == [set(), {off}, {on}]


# What is said of every command --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_a_section_and_help(command: str) -> None:
    """Every command has its own section, is named in the README, and says what it and each of its options does."""
    assert f"\n## `kms-rotation {command}`\n" in text(ROOT / "docs" / "commands.md")
    assert f"kms-rotation {command}" in text(README)
    assert COMMANDS[command].help
    assert not [option.name for where, option in options() if where == command and not option.help]


def test_what_a_document_calls_exists() -> None:
    """No document uses a command or a long option that the program does not have."""
    known = {opt for _, option in options() for opt in option.opts} | {"--help", "--version"}
    theirs = {"--update", "--no-cov", "--hypothesis-profile"}  # pytest's
    for path in [path for path in DOCUMENTS if "decisions" not in path.parts]:
        assert {found[1] for found in _CALLED.finditer(text(path))} <= COMMANDS.keys(), name(path)
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text(path))) <= known | theirs, name(path)


def test_the_test_command_is_named() -> None:
    """The README says how the tests are run."""
    assert "`make test`" in text(README)


# The picture, links, and what does not belong here ------------------------------------------------------------------


def test_the_picture_is_small(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> None:
    """The picture of the report is a PNG of reasonable size; with ``--update`` it is taken where there is none."""
    if not PICTURE.exists() and pytestconfig.getoption("--update"):
        take_picture(request)
    picture = PICTURE.read_bytes()
    assert picture.startswith(b"\x89PNG\r\n")
    assert len(picture) < LARGEST_PICTURE


def take_picture(request: pytest.FixtureRequest) -> None:
    """From the top of the report of a rehearsal to the end of its first table, without the name of this machine."""
    browser, directory = request.getfixturevalue("browser"), request.getfixturevalue("rehearsal")
    report = text(directory / "report.html").replace(f"auditor@{socket.gethostname()}", "auditor@example")
    page = browser.new_page(viewport={"width": 1000, "height": 800}, color_scheme="light")
    page.set_content(report)
    box = page.locator("#population table").first.bounding_box()
    page.set_viewport_size({"width": 1000, "height": int(box["y"] + box["height"]) + 24})
    page.screenshot(path=PICTURE)
    page.close()


def anchors(path: Path) -> set[str]:
    """The anchors of the headings of a document, as they are made for a page."""
    headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", text(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link of a document leads to a file that is there, and to a heading that is in it."""
    for found in _LINK.finditer(_FENCED.sub("", text(path))):
        target, _, anchor = found["target"].partition("#")
        if "://" in target:
            continue
        there = path.parent / target if target else path
        assert there.exists(), found[0]
        assert not anchor or anchor in anchors(there), found[0]


FOLDERS = ("audit", "reports", "tests", "benchmarks", "docs", ".ci")
KINDS = {".csv", ".html", ".j2", ".json", ".md", ".py", ".toml"}
ELSEWHERE = re.compile(r"(?<![\w.-])/(?:tmp|work|home|root|Users)/")


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    """No file of the product holds a path that exists only where it was written."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    paths = [path for path in [*ROOT.iterdir(), *inside] if path.suffix in KINDS or path.name in {"Makefile", "run"}]
    assert README in paths
    assert not [name(path) for path in paths if ELSEWHERE.search(text(path))]
