"""What users install: the files of the wheel, and that they work away from the checkout."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from audit import __version__

ROOT = Path(__file__).parent.parent
DIST = f"kms_rotation_audit-{__version__}"


def run(*command: str | Path, cwd: Path, expect: int = 0) -> str:
    """Standard output of a command that ends with the expected exit code, in an environment without our variables."""
    env = {"PATH": os.defpath, "HOME": "/nonexistent"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel made from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of an environment that holds the wheel, and borrows the dependencies of this one.

    The dependencies come through a path file. What stands behind such a path is importable, but path files in there are
    not followed: so an editable install of the checkout stays out, and only the wheel can answer for itself.
    """
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    wheel = dist / f"{DIST}-py3-none-any.whl"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return home / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory in which other people's files have our names."""
    for name in ("audit.py", "reports.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')\n", encoding="utf-8")
    (tmp_path / "reports").mkdir()
    return tmp_path


def packaged() -> set[str]:
    """What the packages hold in the checkout."""
    files = [path for package in ("audit", "reports") for path in (ROOT / package).rglob("*") if path.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_packages_and_nothing_else(dist: Path) -> None:
    """Every module and template, the licence, the metadata; no tests, no benchmarks, nothing dropped by .gitignore."""
    with zipfile.ZipFile(dist / f"{DIST}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
    info = {f"{DIST}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    assert names == packaged() | info | {f"{DIST}.dist-info/licenses/LICENSE"}
    assert {"audit/cli.py", "audit/kms/client.py"} <= names
    assert "reports/locale/zh/LC_MESSAGES/messages.mo" in names
    assert any(re.fullmatch(r"reports/templates/[^/]+\.html.*", name) for name in names)


def test_the_sdist_can_be_tested(dist: Path) -> None:
    """The source archive holds what ``make demo`` and ``make test`` need."""
    with tarfile.open(dist / f"{DIST}.tar.gz") as archive:
        names = {name.removeprefix(f"{DIST}/") for name in archive.getnames()}
    wanted = {"LICENSE", "Makefile", "README.md", "README.zh-CN.md", "hatch_build.py", "inventory.example.csv"}
    wanted |= {"pyproject.toml", "tests/conftest.py", "waivers.example.csv"}
    assert wanted | {name for name in packaged() if not name.endswith(".mo")} <= names
    assert not [name for name in names if name.endswith(".mo")]


def test_the_sdist_makes_the_same_wheel(dist: Path, tmp_path: Path) -> None:
    """A wheel built from the source archive holds what that of the checkout does, compiled catalogs too."""
    with tarfile.open(dist / f"{DIST}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path, cwd=tmp_path / DIST)
    contents = []
    for folder in (dist, tmp_path):
        with zipfile.ZipFile(folder / f"{DIST}-py3-none-any.whl") as wheel:
            contents.append({name: wheel.read(name) for name in wheel.namelist()})
    assert contents[0] == contents[1]


def test_the_templates_are_found_from_the_wheel(installed: Path, elsewhere: Path) -> None:
    """jinja2 finds every template, unchanged, through the installed package and from another working directory."""
    script = (
        "import jinja2, reports\n"
        "loader = jinja2.PackageLoader('reports', 'templates')\n"
        "print(reports.__file__)\n"
        "for name in loader.list_templates():\n"
        "    print(name, len(loader.get_source(jinja2.Environment(), name)[0]))\n"
    )
    where, *found = run(installed / "python", "-I", "-c", script, cwd=elsewhere).splitlines()
    templates = [path for path in (ROOT / "reports" / "templates").rglob("*") if path.is_file()]
    assert Path(where).is_relative_to(installed.parent)
    assert templates
    assert sorted(found) == sorted(
        f"{path.relative_to(ROOT / 'reports' / 'templates').as_posix()} {len(path.read_text(encoding='utf-8'))}"
        for path in templates
    )


def test_the_command_is_not_disturbed_by_an_audit_py(installed: Path, elsewhere: Path) -> None:
    """The console script runs our package, whatever stands in the working directory."""
    assert "E01" in run(installed / "kms-rotation", "rules", cwd=elsewhere)


def test_the_installed_command_renders_a_report(installed: Path, elsewhere: Path) -> None:
    """A rehearsal with the wheel alone ends with a report, made from the packaged templates."""
    inventory = ROOT / "inventory.example.csv"
    printed = run(installed / "kms-rotation", "remediate", inventory, "--simulate", "--yes", cwd=elsewhere, expect=4)
    directory = elsewhere / printed.strip()
    assert directory.name.endswith("-simulated")
    assert "SIMULATED" in (directory / "report.html").read_text(encoding="utf-8")
    assert (directory / "report.csv").stat().st_size > 0


def test_the_installed_command_reports_in_chinese(installed: Path, elsewhere: Path) -> None:
    """The wheel holds what a report in another language needs, and says so before it begins where that is missing."""
    command = (installed / "kms-rotation", "check", ROOT / "inventory.example.csv", "--lang", "zh")
    directory = elsewhere / run(*command, cwd=elsewhere, expect=4).strip()
    assert '<html lang="zh-CN">' in (directory / "report.html").read_text(encoding="utf-8")
    (catalog,) = installed.parent.rglob("messages.mo")
    catalog.rename(catalog.with_suffix(".away"))
    try:
        assert run(*command, cwd=elsewhere, expect=1) == ""
        assert len(list((elsewhere / "runs").iterdir())) == 1
    finally:
        catalog.with_suffix(".away").rename(catalog)
