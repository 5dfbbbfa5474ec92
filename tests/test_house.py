"""What no linter says: the house rules of CONTRIBUTING.md that are about names, sizes and the shape of tests."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "audit").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SOURCES = [*MODULES, *TESTS, *sorted((ROOT / "benchmarks").rglob("*.py"))]

CEILING = 320  # lines; a module that needs a table of contents is two modules
VAGUE_MODULES = {"base", "common", "helper", "helpers", "misc", "util", "utils"}
CORE = ("model", "outcome", "conclude", "waiver", "verdict", "rules", "reversal", "versions", "plan", "errors")
VAGUE_CLASS = re.compile(r"(Manager|Service|Handler|Processor)$")
BROAD = {"Exception", "BaseException"}
BARE_SUPPRESSION = re.compile(r"#\s*(type:\s*ignore(?!\[)|noqa(?!:\s*[A-Z]+[0-9]+))", re.IGNORECASE)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))


def test_there_is_something_to_look_at() -> None:
    """The rules below are about files that exist."""
    assert ROOT / "audit" / "rules.py" in MODULES
    assert Path(__file__) in TESTS


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_short(path: Path) -> None:
    """No module of the product is longer than the ceiling."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= CEILING


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_named_for_what_it_holds(path: Path) -> None:
    """No module of the product has a name under which anything could stand."""
    assert not VAGUE_MODULES & {part.strip("_") for part in path.relative_to(ROOT).with_suffix("").parts}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_class_is_named_for_what_it_is(path: Path) -> None:
    """No class of the product has a name that says only that it does something."""
    classes = [node.name for node in nodes(path) if isinstance(node, ast.ClassDef)]
    assert not [known for known in classes if VAGUE_CLASS.search(known)]


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem != "cli"], ids=name)
def test_only_the_door_swallows_everything(path: Path) -> None:
    """``except Exception`` ends in ``audit.cli`` alone; anywhere else it may tidy up, and must raise again."""
    found = []
    for node in nodes(path):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            broad = any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in kinds)
            again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            found += [node.lineno] if broad and not again else []
    assert not found


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_suppression_names_its_rule(path: Path) -> None:
    """No ``noqa`` and no ``type: ignore`` without the rule that it is about."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [f"{number}: {line}" for number, line in enumerate(lines, 1) if BARE_SUPPRESSION.search(line)]


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_nothing_is_mocked(path: Path) -> None:
    """Tests use real parts and small true fakes; none replaces a name inside the product."""
    imported: set[str] = set()
    patched: list[int] = []
    for node in nodes(path):
        match node:
            case ast.Import(names=names):
                imported |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), names=names):
                imported |= {module} | {f"{module}.{alias.name}" for alias in names}
            case ast.Call(func=ast.Attribute(value=ast.Name(id="monkeypatch"), attr="setattr" | "delattr")):
                patched.append(node.lineno)
    assert not {"mock", "unittest.mock", "pytest_mock"} & imported
    assert not patched, f"monkeypatch replaces a name on lines {patched}; hand the part in instead"


@pytest.mark.parametrize("path", [path for path in TESTS if path.stem.startswith("test_")], ids=name)
def test_a_test_says_what_it_promises(path: Path) -> None:
    """Every test has a docstring that ends its sentence."""
    tests = [node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    promises = {node.name: ast.get_docstring(node) or "" for node in tests if node.name.startswith("test_")}
    assert promises, "a file of tests without a test"
    assert not [test for test, promise in promises.items() if not promise.endswith((".", "?", "!"))]


def test_the_core_opens_nothing() -> None:
    """The core reads no clock, no file and no environment through a builtin or a class method."""
    forbidden = {"open", "input", "print", "now", "utcnow", "today", "read_text", "read_bytes", "getenv", "uuid4"}
    found = []
    for path in (ROOT / "audit" / f"{stem}.py" for stem in CORE):
        calls = [node.func for node in nodes(path) if isinstance(node, ast.Call)]
        named = [call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls]
        found += [f"{path.stem}: {called}()" for called in named if called in forbidden]
    assert not found
